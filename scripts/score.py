"""Scores what `sound_lab quality DIR` wrote: PESQ-WB (ITU-T P.862.2), mean and spread per cell, as tables."""
import collections
import multiprocessing
import sys
import wave

import numpy
from pesq import pesq

directory = sys.argv[1]


def read(name):
    with wave.open(f"{directory}/{name}.wav") as wav:
        return numpy.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2")


def scored(line):
    cell, player, voice, name, estoi, size, delay = line.rstrip("\n").split("\t")
    score = pesq(16000, read(f"said-{voice}"), read(name), "wb")
    return cell, player, voice, (score, float(estoi), float(size), float(delay))


def spelled(cell):
    frame, loss, jitter = cell.split("-")
    kind = loss.rstrip("0123456789")
    share = loss[len(kind):]
    kind = {"long": "runs of 300 ms"}.get(kind, kind)
    return f"{'none' if share == '0' else share + ' % ' + kind} | {frame} | {jitter}"


def main():
    lines = open(f"{directory}/cells.tsv").read().splitlines()
    with multiprocessing.Pool(2) as pool:
        results = pool.map(scored, lines, chunksize=8)
    cells = collections.OrderedDict()
    voices = collections.OrderedDict()
    for cell, player, voice, figures in results:
        cells.setdefault(cell, {}).setdefault(player, []).append(figures)
        voices.setdefault(cell, {}).setdefault((player, voice), []).append(figures[0])

    print("| loss | frames, ms | jitter, ms | as adapted | bytes | delay, ms | fixed, as late | fixed, 60 ms "
          "| usual bits | bytes | plain |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for cell, row in cells.items():
        mean = {player: numpy.mean(figures, axis=0) for player, figures in row.items()}
        spread = {player: numpy.std([f[0] for f in figures]) for player, figures in row.items()}

        def score(player):
            if player not in mean:
                return "the same"
            return "{:.2f} ± {:.2f} / {:.3f}".format(mean[player][0], spread[player], mean[player][1])

        size, delay = mean["ours"][2:]
        usual = f"{mean['usual'][2]:.0f}" if "usual" in mean else ""
        print(f"| {spelled(cell)} | {score('ours')} | {size:.0f} | {delay:.0f} | {score('alike')} | {score('fixed')} "
              f"| {score('usual')} | {usual} | {score('plain')} |")

    names = sorted({voice for row in voices.values() for _, voice in row})
    print()
    print("| as adapted | frames, ms | jitter, ms | " + " | ".join(names) + " |")
    print("|---|---|---|" + "---|" * len(names))
    for cell, row in voices.items():
        print(f"| {spelled(cell)} | " + " | ".join(f"{numpy.mean(row['ours', name]):.2f}" for name in names) + " |")


if __name__ == "__main__":
    main()
