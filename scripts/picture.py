#!/usr/bin/env python3
"""docs/call.svg: a real call between four programs on this machine, seen in a real terminal (tmux), as a picture.
Usage: scripts/picture.py [PROGRAM]"""

import html
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from friends import ROOT, SPEECH, Terminal, at, serve, start, told

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
        started = []
        try:
            server, env = serve(PROGRAM, at(home) | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"})
            started.append(server)
            sound = {"VOICECHAT_INPUT": SPEECH[0], "VOICECHAT_OUTPUT": "null"}
            terminal = Terminal(home, env | sound, COLUMNS, ROWS)
            started.append(terminal)
            call(terminal, env, started)
        finally:
            for process in reversed(started):
                ended(process)


def ended(process):
    if isinstance(process, Terminal):
        process.close()
    else:
        process.kill()
        process.wait()


def call(terminal, env, started):
    friends = {}
    terminal.types("clear")
    terminal.types("voicechat create --name Ada")
    code = terminal.shows(r"\n +(\d+-[a-z]+-[a-z]+-[a-z]+)\n")
    for name, source in [("Bob", SPEECH[1]), ("Cem", "silence"), ("Dora", "silence")]:
        muted = ["--muted"] if name == "Dora" else []
        path = ["--path", "relay"] if name == "Cem" else []
        friend = start(PROGRAM, env, "join", "--json", "--name", name, "--input", source, "--output", "null", *muted, *path)
        started.append(friend)
        friends[name] = friend
        print(code, file=friend.stdin, flush=True)
        told(friend, "path")
        terminal.shows(f"({name}) is here")
    for who, line in TALK:
        if who == "Ada":
            terminal.types(line)
        else:
            print(line, file=friends[who].stdin, flush=True)
            terminal.shows(f"({who}): {re.escape(line[:20])}")
        time.sleep(0.5)
    terminal.tmux("send-keys", "-l", "on my way to the north gat")
    # Levels move; wait for a moment when somebody talks.
    terminal.shows("(▸ Bob)")
    picture(terminal.tmux("capture-pane", "-p", "-e"))


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
