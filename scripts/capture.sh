#!/usr/bin/env bash
# The tables of docs/SOUND.md, "Capture". Usage: scripts/capture.sh [TABLE...] (echo, noise, clean, levels, detection, cost,
# encoder). PESQ is ITU-T P.862.2 as the Python package `pesq` has it; it is fetched into target/, for measuring only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo run --quiet --release -p audio --example capture -- "$out" "$@" >"$out/tables"
venv=target/sound/venv
if ! "$venv/bin/python" -c 'import pesq, scipy' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check numpy scipy pesq
fi
"$venv/bin/python" - "$out" <<'PY'
import re, sys
import numpy as np
from pesq import pesq
from scipy.io import wavfile
from scipy.signal import correlate

PIECE, REACH = 8 * 16000, 800

def score(said, heard):
    scores = []
    pieces = max(1, len(said) // PIECE)
    size = len(said) // pieces
    for start in range(0, pieces * size, size):
        a = said[start:start + size]
        b = np.pad(heard, (0, REACH))[start:start + size + REACH]
        lag = int(np.clip(np.argmax(correlate(b, a, "full")) - len(a) + 1, 0, REACH))
        scores.append(pesq(16000, a, b[lag:lag + size], "wb"))
    return np.mean(scores)

def filled(found):
    name = f"{sys.argv[1]}/{found[1]}"
    said, heard = (wavfile.read(name + kind)[1] / 32768 for kind in (".said.wav", ".heard.wav"))
    return f"{score(said, heard):.2f}"

print(re.sub(r"\{([^}]*)\}", filled, open(sys.argv[1] + "/tables").read()), end="")
PY
