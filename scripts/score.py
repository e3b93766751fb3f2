"""Scores what `sound_lab quality DIR` wrote: PESQ-WB (ITU-T P.862.2) of each piece, means per cell, as a table."""
import collections
import sys
import wave

import numpy
from pesq import pesq

directory = sys.argv[1]


def read(name):
    with wave.open(f"{directory}/{name}.wav") as wav:
        return numpy.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2")


said = [read(f"said-{piece}") for piece in range(3)]
cells = collections.OrderedDict()
for line in open(f"{directory}/cells.tsv"):
    setting, loss, jitter, player, name, estoi, size, delay = line.rstrip("\n").split("\t")[:8]
    scores = [pesq(16000, said[piece], read(f"{name}-{piece}"), "wb") for piece in range(3)]
    figures = (numpy.mean(scores), float(estoi), float(size), float(delay))
    cells.setdefault((loss, jitter), {}).setdefault(f"{setting}-{player}", []).append(figures)

print("| loss | jitter, ms | as adapted | bytes per packet | delay, ms | within 32 kbit/s | fixed buffer | plain |")
print("|---|---|---|---|---|---|---|---|")
for (loss, jitter), row in cells.items():
    mean = {name: numpy.mean(figures, axis=0) for name, figures in row.items()}

    def score(name):
        return "{:.2f} / {:.3f}".format(*mean[name][:2]) if name in mean else "the same"

    size, delay = mean["adapted-ours"][2:] if "adapted-ours" in mean else (0, 0)
    print(f"| {loss} % | {jitter} | {score('adapted-ours')} | {size:.0f} | {delay:.0f} | {score('fec32-ours')} "
          f"| {score('adapted-fixed')} | {score('none-plain')} |")
