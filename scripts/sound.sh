#!/usr/bin/env bash
# The tables of docs/SOUND.md about loss, delay and drift. Usage: scripts/sound.sh [SEEDS]
# PESQ is ITU-T P.862.2 as the Python package `pesq` has it. The voices are prompts of Asterisk (Debian packages
# asterisk-core-sounds-*-g722, CC-BY-SA-3.0 and CC-BY-3.0). Both are fetched into target/, for measuring only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seeds=${1:-3}
cargo build --release --quiet -p sound_lab
lab=${CARGO_TARGET_DIR:-target}/release/sound_lab
work=$PWD/target/sound
mkdir -p "$work/packages" "$work/voices"
if ! "$work/venv/bin/python" -c 'import pesq, G722' 2>/dev/null; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy pesq G722
fi
# None of these was listened to or measured while rates, waits and thresholds were chosen, but for the copies within
# the usual bits.
for language in it fr ru; do
    package=asterisk-core-sounds-$language-g722
    ls "$work/packages/$package"_*.deb >/dev/null 2>&1 ||
        (cd "$work/packages" && apt-get download --quiet "$package" 2>/dev/null) ||
        echo "$package cannot be had: one voice less" >&2
done
for package in "$work"/packages/*.deb; do
    [ -e "$package" ] && dpkg-deb --extract "$package" "$work/packages"
done
"$work/venv/bin/python" scripts/voices.py "$work/packages" "$work/voices"
voices=("$work"/voices/*.wav)
[ -e "${voices[0]}" ] || voices=(client/assets/bob.wav)
rm -rf "$work/heard"
"$lab" quality "$work/heard" "$seeds" "${voices[@]}"
echo "### Quality against loss"
"$work/venv/bin/python" scripts/score.py "$work/heard"
echo "### A way that changes"
"$lab" loop
echo "### Delay"
"$lab" delay
echo "### Back after a disturbance"
"$lab" back
echo "### Drift, four hours"
"$lab" drift
