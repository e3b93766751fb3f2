#!/usr/bin/env bash
# What a call costs: processor time and memory of one friend in a two-person call between real processes on this
# machine, talking, listening, in a quiet room, and muted. Usage: scripts/cost.sh [SECONDS] [voicechat options]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-20}
shift || true
bin=${VOICECHAT:-target/release/voicechat}
work=$(mktemp -d)
touch "$work"/{serve,a,b}
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
# Nothing that a person has set for calls of theirs is to be measured.
for name in $(compgen -e VOICECHAT_); do unset "$name"; done
export XDG_CONFIG_HOME=$work XDG_STATE_HOME=$work XDG_RUNTIME_DIR=$work HOME=$work

# The first line of `$1` with event `$2`, as soon as it is there.
event() { timeout 30 tail -n +1 -f --pid=$$ "$1" | grep -m1 "\"event\":\"$2\"" || true; }
field() { sed -E "s/.*\"$1\":\"([^\"]*)\".*/\1/"; }
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }

"$bin" serve --listen 127.0.0.1:0 --json --key-file "$work/key" >"$work/serve" &
place=$(event "$work/serve" serving | field place)

call() { # a label, what the measured friend is started with, the input of the other, options of both
    local label=$1 second=$3
    local -a first=($2)
    shift 3
    "$bin" create --json --server "$place" --output null --input "${first[@]}" "$@" >"$work/a" 2>/dev/null </dev/null &
    local a=$!
    local code
    code=$(event "$work/a" invite | field code)
    echo "$code" >"$work/code"
    "$bin" join --json --server "$place" --input "$second" --output null "$@" >"$work/b" 2>/dev/null <"$work/code" &
    local b=$!
    event "$work/b" joined >/dev/null
    sleep 3
    local from until
    from=$(ticks $a)
    sleep "$seconds"
    until=$(ticks $a)
    awk -v label="$label" -v t=$((until - from)) -v hz="$(getconf CLK_TCK)" -v s="$seconds" \
        -v hwm="$(awk '/VmHWM/ {print $2}' /proc/$a/status)" -v rss="$(awk '/VmRSS/ {print $2}' /proc/$a/status)" \
        'BEGIN { printf "%-28s %6.2f %% of a core   resident %5.1f MiB   peak %5.1f MiB\n", label, 100 * t / hz / s, rss / 1024, hwm / 1024 }'
    kill $a $b
    wait $a $b 2>/dev/null || true
    : >"$work/a"
    : >"$work/b"
}

speech="wav:$PWD/client/assets/bob.wav,loop"
call "talking and listening" "$speech" "$speech" "$@"
call "talking to a quiet friend" "$speech" silence "$@"
call "listening, muted" "silence --muted" "$speech" "$@"
call "a quiet room" silence silence "$@"
call "a quiet room, muted" "silence --muted" silence "$@"
ls -l "$bin" | awk '{ printf "program, stripped              %6.2f MiB\n", $5 / 1048576 }'
