#!/usr/bin/env python3
"""docs/call.svg: a real call between four programs on this machine, seen in a real terminal (tmux), as a picture.
Usage: scripts/picture.py [PROGRAM]"""

import html
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from friends import ROOT, SPEECH, at, serve, start, told

PROGRAM = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/voicechat").resolve()
COLUMNS, ROWS = 86, 27
CELL, LINE, MARGIN = 8.4, 18, 14
# The foreground colours 0 to 7, on a dark ground.
COLOURS = ["#484f58", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#c9d1d9"]
TALK = [
    ("Bob", "evening! is the server up?"),
    ("Ada", "yes, same map as yesterday"),
    ("Cem", "two minutes, making tea"),
    ("Ada", "/volume Cem 130"),
    ("Ada", "/verify"),
]


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        friends = {}
        started = []
        try:
            server, env = serve(PROGRAM, at(home) | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"})
            started.append(server)
            call(home, env, friends, started)
        finally:
            tmux(home, "kill-server", check=False)
            for process in started:
                process.kill()
                process.wait()


def call(home, env, friends, started):
    command = ["new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS)]
    sound = {"VOICECHAT_INPUT": SPEECH[0], "VOICECHAT_OUTPUT": "null"}
    for name, value in (env | sound | {"PS1": "$ ", "ENV": "/dev/null"}).items():
        command += ["-e", f"{name}={value}"]
    tmux(home, "-u", "-f", "/dev/null", *command, "bash", "--norc", "--noprofile")
    typed(home, "clear")
    typed(home, "voicechat create --name Ada")
    code = seen(home, r"\n +(\d+-[a-z]+-[a-z]+-[a-z]+)\n")
    for name, source in [("Bob", SPEECH[1]), ("Cem", "silence"), ("Dora", "silence")]:
        muted = ["--muted"] if name == "Dora" else []
        path = ["--path", "relay"] if name == "Cem" else []
        friend = start(PROGRAM, env, "join", "--json", "--name", name, "--input", source, "--output", "null", *muted, *path)
        started.append(friend)
        friends[name] = friend
        print(code, file=friend.stdin, flush=True)
        told(friend, "path")
        seen(home, f"({name}) is here")
    for who, line in TALK:
        if who == "Ada":
            typed(home, line)
        else:
            print(line, file=friends[who].stdin, flush=True)
            seen(home, f"({who}): {re.escape(line[:20])}")
        time.sleep(0.5)
    tmux(home, "send-keys", "-l", "on my way to the north gat")
    # Levels move; wait for a moment when somebody talks.
    seen(home, "(▸ Bob)")
    picture(tmux(home, "capture-pane", "-p", "-e"))


def tmux(home, *args, check=True):
    command = ["tmux", "-S", f"{home}/tmux", *args]
    return subprocess.run(command, check=check, capture_output=True, text=True, env={"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}).stdout


def typed(home, line):
    tmux(home, "send-keys", "-l", line)
    tmux(home, "send-keys", "Enter")


def seen(home, pattern):
    for _ in range(600):
        found = re.search(pattern, tmux(home, "capture-pane", "-p"))
        if found:
            return found[1]
        time.sleep(0.05)
    raise SystemExit(f"{pattern} was never seen")


def picture(screen):
    lines = screen.rstrip("\n").split("\n")
    width, height = COLUMNS * CELL + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" role="img"'
        ' aria-label="A call in a terminal: the conversation, below it a line for each friend, and the input line">',
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>',
        '<g font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14" fill="#c9d1d9">',
    ]
    style = {}
    for row, line in enumerate(lines):
        column, y = 0, MARGIN + (row + 0.8) * LINE
        for codes, text in re.findall(r"((?:\x1b\[[0-9;]*m)*)([^\x1b]*)", line):
            for code in re.findall(r"\x1b\[([0-9;]*)m", codes):
                style = styled(style, [int(n or 0) for n in code.split(";")])
            if text.strip():
                shown = "".join(f' {name}="{value}"' for name, value in style.items())
                x, length = MARGIN + column * CELL, len(text) * CELL
                out.append(f'<text xml:space="preserve" x="{x:.1f}" y="{y:.1f}" textLength="{length:.1f}"{shown}>{html.escape(text)}</text>')
            column += len(text)
    out += ["</g>", "</svg>", ""]
    (ROOT / "docs/call.svg").write_text("\n".join(out))


def styled(style, codes):
    for code in codes:
        if code == 0:
            style = {}
        elif code == 1:
            style = style | {"font-weight": "bold"}
        elif code == 2:
            style = style | {"opacity": "0.6"}
        elif 30 <= code <= 37:
            style = style | {"fill": COLOURS[code - 30]}
        elif code == 39:
            style = {name: value for name, value in style.items() if name != "fill"}
    return style


main()
