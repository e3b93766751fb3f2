#!/usr/bin/env bash
# The tables of docs/SOUND.md, "Capture": prints what the tool measures, then PESQ-WB of what it wrote.
# The scorer is a Python package, installed into the build directory when it is not there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo run --quiet --release -p audio --example capture -- "$out"
venv=target/tools/pesq
if ! "$venv/bin/python" -c 'import pesq' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet numpy scipy pesq
fi
"$venv/bin/python" - "$out" <<'PY'
import glob, sys
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

print("\n## PESQ-WB\n")
for path in sorted(glob.glob(sys.argv[1] + "/*.said.wav")):
    name = path[:-len(".said.wav")]
    said, heard = (wavfile.read(name + kind)[1] / 32768 for kind in (".said.wav", ".heard.wav"))
    print(f"| {name.rsplit('/', 1)[1]} | {score(said, heard):.2f} |")
PY
