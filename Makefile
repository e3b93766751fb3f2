# Everything a person or CI runs. `make help` lists it.

CARGO ?= cargo
# Passed on to the program: make demo ARGS="--help"
ARGS ?=
# Of the fourteen tests that need sound in real time, so many may be left unjudged by a busy machine, which is said: with
# more, none was. A quiet machine judges all: make unit NOT_JUDGED_AT_MOST=0
NOT_JUDGED_AT_MOST ?= 13

# As in scripts/setup.sh: rustup's directory in bare shells, and cmake where only Python could fetch it.
export PATH := $(PATH):$(HOME)/.cargo/bin:$(CURDIR)/target/tools/cmake/data/bin:/usr/sbin:/sbin

# One cargo at a time: they would only wait for each other.
.NOTPARALLEL:
.DEFAULT_GOAL := help

##@ Use
.PHONY: demo
demo: tools ## two friends talk over this machine, with real speech; nothing leaves it
	$(CARGO) run --release -p voicechat -- demo $(ARGS)

.PHONY: build
build: tools ## the programs, in target/release
	$(CARGO) build --release --workspace

##@ Check
.PHONY: test
# The tests come last: their closing lines are the result.
test: test-tools fmt clippy doc deny unit ## all that CI runs

.PHONY: fmt
fmt: ## formatting
	$(CARGO) fmt --all --check

.PHONY: clippy
clippy: tools ## lints, none forgiven
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: doc
doc: tools ## documentation, no broken links
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

.PHONY: deny
deny: ## licences, banned crates and sources of all dependencies
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny check licenses bans sources; \
	else \
		echo "SKIPPED: licences, bans and sources, for cargo-deny is not installed ('cargo install cargo-deny')."; \
	fi

.PHONY: unit
unit: test-tools ## every test of the workspace; says which of them a machine that stalls could not judge
	@mkdir -p target && rm -f target/not-judged
	NOT_JUDGED=$(CURDIR)/target/not-judged $(CARGO) test --workspace
	@if [ -s target/not-judged ]; then \
		sort target/not-judged; \
		n=$$(cut -d, -f1 target/not-judged | sort -u | wc -l); \
		echo "$$n tests of sound in real time were not judged, at most $(NOT_JUDGED_AT_MOST) may be: run them on a quieter machine."; \
		[ $$n -le $(NOT_JUDGED_AT_MOST) ]; \
	fi

##@ Try
.PHONY: newcomer
newcomer: ## what the README tells a newcomer, step by step: install, create, join, talk, mute by a key, leave
	@scripts/setup.sh newcomer
	scripts/newcomer.py $(ARGS)

##@ Measure
.PHONY: bench
bench: tools ## what each step costs (docs/PERFORMANCE.md)
	$(CARGO) bench -p vc_core --bench seal -- $(ARGS)
	$(CARGO) bench -p audio --bench voice -- $(ARGS)
	$(CARGO) bench -p sim --bench engine -- $(ARGS)

.PHONY: cost
cost: build ## processor time and memory of a call, and the size of the program
	scripts/cost.sh $(ARGS)

.PHONY: screen-cost
screen-cost: build ## processor time of the call screen, and the time to its prompt
	scripts/screen_cost.py $(ARGS)

.PHONY: ctl-cost
ctl-cost: build ## how long `voicechat ctl` takes during a call, median and 99th percentile
	scripts/ctl_cost.py $(ARGS)

.PHONY: mouth
mouth: test-tools ## mouth to ear with two real programs on a sound server of their own (docs/SOUND.md); eleven minutes
	$(CARGO) build --release -p voicechat -p sound_lab
	target/release/sound_lab mouth target/release/voicechat client/assets/alice.wav client/assets/bob.wav

.PHONY: recovery
recovery: test-tools ## how soon sound is back once the sound server or a device is (docs/SOUND.md); ARGS=TIMES
	$(CARGO) run --release -p sound_lab -- recovery $(or $(ARGS),20)

.PHONY: sound-soak
sound-soak: test-tools ## an hour's call in real time, with drift and stalls (needs faketime): nothing may grow
	$(CARGO) build --release -p voicechat -p sound_lab
	target/release/sound_lab soak target/release/voicechat client/assets/alice.wav $(or $(ARGS),60)

.PHONY: sound
sound: tools ## quality against loss, delay, drift (docs/SOUND.md); fetches PESQ into target/
	scripts/sound.sh $(ARGS)

.PHONY: join-time
join-time: tools ## from the code to the first voice, in the simulator
	$(CARGO) run --release -p sim --bin join_time

.PHONY: punching
punching: tools ## how often and how soon prediction and spray lead to a direct path, in the simulator; ARGS=PAIRS
	$(CARGO) run --release -p sim --bin punching -- $(ARGS)

.PHONY: lab
lab: tools lab-tools ## real programs behind every kind of router (docs/CONNECTIVITY.md); needs Linux, takes a quarter of an hour
	$(CARGO) build --release -p voicechat -p signaling -p relay -p lab
	target/release/lab $(ARGS)

.PHONY: lab-room
lab-room: ## what a room of up to 16 friends costs each of them
	@$(MAKE) lab ARGS=room

.PHONY: soak
soak: tools ## ten thousand simulated evenings
	$(CARGO) run --release -p sim --bin soak -- $(ARGS)

.PHONY: cuts
cuts: tools ## a thousand silent cuts of each kind of path (docs/CONNECTIVITY.md)
	CUTS=$(or $(ARGS),1000) $(CARGO) test --release -p sim --test rungs --test ladder -- --nocapture voice_is_back restarts leaves quits next_friend without_signaling

.PHONY: fuzz
fuzz: tools ## every parser under a fuzzer, a minute each; needs cargo-fuzz and a nightly toolchain
	scripts/fuzz.sh $(or $(ARGS),60)

##@ Hand on
.PHONY: dist
dist: tools ## what people install: an archive and, with cargo-deb, a Debian package, in target/dist; then unpacked and tried
	scripts/package.sh all $(ARGS)

##@ Show
.PHONY: picture
picture: build test-tools ## docs/call.svg, the picture of a real call in the README
	scripts/picture.py

##@ Set up
.PHONY: tools
tools: ## what building needs
	@scripts/setup.sh build

.PHONY: test-tools
test-tools: ## what the tests need
	@scripts/setup.sh test

.PHONY: lab-tools
lab-tools: ## what the lab needs
	@scripts/setup.sh lab

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
