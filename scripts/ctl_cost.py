#!/usr/bin/env python3
"""How long `voicechat ctl` takes while two friends talk: the whole command, and the answer of the call alone.
Usage: scripts/ctl_cost.py [PROGRAM] [TIMES]"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/voicechat")
TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 500
SPEECH = [f"wav:{ROOT}/client/assets/{name}.wav,loop" for name in ("alice", "bob")]
ORDERS = ["status", "toggle", "ptt down", "ptt up"]


def main():
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, "VOICECHAT_STATE": home, "VOICECHAT_CONFIG": "/dev/null"}
        env |= {"LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": home}
        server = start(env, "serve", "--listen", "127.0.0.1:0", "--json")
        env |= {"VOICECHAT_SERVER": told(server, "serving")["place"]}
        bob = start(env, "create", "--json", "--input", SPEECH[1], "--output", "null")
        code = told(bob, "invite")["code"]
        ada = start(env, "join", code, "--json", "--input", SPEECH[0], "--output", "null")
        told(ada, "path")
        for process in (ada, bob):
            threading.Thread(target=process.stdout.read, daemon=True).start()
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


def start(env, *args):
    pipe = subprocess.PIPE
    return subprocess.Popen([PROGRAM, *args], env=env, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def told(process, event):
    for line in process.stdout:
        said = json.loads(line)
        if said["event"] == event:
            return said
    raise SystemExit(f"{event} was never told")


main()
