#!/usr/bin/env python3
"""How long `voicechat ctl` takes while two friends talk: the whole command, and the answer of the call alone.
Usage: scripts/ctl_cost.py [PROGRAM] [TIMES]"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from friends import ROOT, SPEECH, at, listened_to, serve, start, told

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/voicechat")
TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 500
# With push-to-talk off, its key is refused while the microphone is muted.
ORDERS = ["status", "toggle", "toggle", "ptt down", "ptt up"]


def main():
    with tempfile.TemporaryDirectory() as home:
        server, env = serve(PROGRAM, at(home))
        bob = start(PROGRAM, env, "create", "--json", "--input", SPEECH[1], "--output", "null")
        code = told(bob, "invite")["code"]
        ada = start(PROGRAM, env, "join", code, "--json", "--input", SPEECH[0], "--output", "null")
        told(ada, "path")
        for process in (ada, bob):
            listened_to(process)
        told_apart("voicechat ctl ORDER", [timed(lambda: command(env, ada.pid, order)) for order in orders()])
        place = f"{home}/voicechat/call-{ada.pid}"
        told_apart("the call's answer  ", [timed(lambda: ask(place, order)) for order in orders()])
        for process in (ada, bob, server):
            process.terminate()


def orders():
    return (ORDERS[n % len(ORDERS)] for n in range(TIMES))


def command(env, pid, order):
    words = [PROGRAM, "ctl", "--json", "--call", str(pid), *order.split()]
    subprocess.run(words, env=env, stdout=subprocess.DEVNULL, check=True)


def ask(place, order):
    with socket.socket(socket.AF_UNIX) as call:
        call.connect(place)
        call.sendall(f"{order}\n".encode())
        answer = call.makefile().readline()
        assert json.loads(answer).get("done", True), answer


def timed(action):
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1000


def told_apart(what, times):
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    print(f"{what}  p50 {cuts[49]:6.2f} ms   p99 {cuts[98]:6.2f} ms   worst {max(times):6.2f} ms   of {len(times)}")


main()
