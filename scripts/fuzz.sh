#!/bin/sh
# Every fuzz target for SECONDS (60) each, from its committed corpus. Needs cargo-fuzz and a nightly toolchain.
# One line per target; a crashing input stays in fuzz/artifacts and makes the whole fail.
set -eu
seconds=${1:-60}
cd "$(dirname "$0")/.."
# The versions that ship are the versions that are fuzzed.
cp Cargo.lock fuzz/Cargo.lock
cargo +nightly fuzz build --fuzz-dir fuzz >/dev/null
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
for target in $(cargo +nightly fuzz list --fuzz-dir fuzz); do
    mkdir "$scratch/$target"
    status=0
    # New finds go to the scratch directory, so that the committed corpus stays small.
    cargo +nightly fuzz run --fuzz-dir fuzz "$target" "$scratch/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        >"$scratch/log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/log" | tail -1)
    crashes=0
    if [ "$status" -ne 0 ]; then
        crashes=1
        failed=1
        tail -n 40 "$scratch/log" >&2
    fi
    printf '%-22s %10s runs  %s crashes\n' "$target" "${runs:-0}" "$crashes"
done
exit $failed
