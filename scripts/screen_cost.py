#!/usr/bin/env python3
"""What the call screen costs: processor time of its thread while two friends talk, and the time from the start of the
program to a prompt that takes keys. Usage: scripts/screen_cost.py [PROGRAM] [SECONDS]"""

import os
import pty
import select
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from friends import ROOT, SPEECH, at, listened_to, serve, start, told

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/voicechat")
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 20


def main():
    with tempfile.TemporaryDirectory() as home:
        env = at(home) | {"TERM": "xterm-256color"}
        times = sorted(prompt(env) * 1000 for _ in range(20))
        print(f"start to prompt       {statistics.median(times):6.1f} ms median, {times[-2]:.1f} ms 95th percentile of 20")
        call(env)


def spawn(env, *args):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM, *args], env)
    return pid, terminal


def prompt(env):
    """Until `Code:` stands there."""
    begin = time.perf_counter()
    pid, terminal = spawn(env, "join")
    text = b""
    while b"Code: " not in text:
        select.select([terminal], [], [], 10)
        text += os.read(terminal, 4096)
    took = time.perf_counter() - begin
    os.write(terminal, b"\x03")
    drain(terminal)
    os.waitpid(pid, 0)
    return took


def drain(terminal):
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


def call(env):
    server, env = serve(PROGRAM, env)
    bob = start(PROGRAM, env, "create", "--json", "--input", SPEECH[1], "--output", "null")
    code = told(bob, "invite")["code"]
    pid, terminal = spawn(env, "join", "--input", SPEECH[0], "--output", "null")
    os.write(terminal, code.encode() + b"\r")
    written = []
    threading.Thread(target=lambda: count(terminal, written), daemon=True).start()
    told(bob, "path")
    listened_to(bob)
    time.sleep(3)
    before, bytes_before = spent(pid), sum(written)
    time.sleep(SECONDS)
    after, bytes_after = spent(pid), sum(written)
    share = lambda name: (after.get(name, 0) - before.get(name, 0)) / 1e7 / SECONDS
    print(f"screen, both talking  {share('screen'):6.3f} % of a core, {(bytes_after - bytes_before) / SECONDS / 1024:.1f} KiB/s to the terminal")
    print(f"keys                  {share('keys'):6.3f} % of a core")
    print(f"the whole program     {sum(share(name) for name in after):6.3f} % of a core")
    os.kill(pid, 15)
    for process in (bob, server):
        process.terminate()


def count(terminal, written):
    try:
        while piece := os.read(terminal, 65536):
            written.append(len(piece))
    except OSError:
        pass


def spent(pid):
    """Processor time of each thread in nanoseconds, by its name."""
    threads = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        threads[name] = threads.get(name, 0) + int((task / "schedstat").read_text().split()[0])
    return threads


main()
