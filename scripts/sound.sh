#!/usr/bin/env bash
# The tables of docs/SOUND.md about loss, delay and drift. Usage: scripts/sound.sh [SEEDS]
# PESQ is ITU-T P.862.2 as the Python package `pesq` has it; it is fetched into target/, for measuring only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seeds=${1:-3}
cargo build --release --quiet -p sound_lab
lab=${CARGO_TARGET_DIR:-target}/release/sound_lab
venv=target/sound/venv
if ! "$venv/bin/python" -c 'import pesq' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check numpy pesq
fi
"$lab" quality target/sound/heard "$seeds" >/dev/null
echo "### Quality against loss"
"$venv/bin/python" scripts/score.py target/sound/heard
echo "### Delay"
"$lab" delay
echo "### Drift, four hours"
"$lab" drift
