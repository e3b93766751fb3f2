"""Makes the voices that `sound_lab quality` is measured with, of prompts in G.722: DIRECTORY OF PACKAGES, DIRECTORY."""
import pathlib
import sys
import wave

from G722 import G722

packages, directory = map(pathlib.Path, sys.argv[1:])
for prompt in sorted(packages.glob("usr/share/asterisk/sounds/*/demo-instruct.g722")):
    language, country, _, name = prompt.parent.name.split("_")
    # 18 s from the third on; two bytes hold four samples.
    coded = prompt.read_bytes()[2 * 8000:20 * 8000]
    with wave.open(str(directory / f"{language}-{name}.wav"), "wb") as wav:
        wav.setparams((1, 2, 16000, 0, "NONE", ""))
        wav.writeframes(bytes(memoryview(G722(16000, 64000).decode(coded)).cast("B")))
