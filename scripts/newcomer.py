#!/usr/bin/env python3
"""What somebody does who has read nothing but the README, each step as it stands there: install, open a room, join it,
talk, mute by a key of the desktop, leave. In real terminals (tmux) with a clean environment; speech comes from a file.
Usage: scripts/newcomer.py [PROGRAM], which is installed from here unless it is given."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from friends import ROOT, SPEECH, Terminal

README = (ROOT / "README.md").read_text()


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        terminals = []
        try:
            visit(Path(place), terminals)
        finally:
            for terminal in terminals:
                terminal.close()


def visit(place, terminals):
    program = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else installed(place / "installed")
    said("bare", "two commands", ran(program, {"HOME": str(place)}, r"voicechat create[\s\S]*voicechat join"))
    ada = person(place, program, "ada", SPEECH[0], terminals)
    bob = person(place, program, "bob", SPEECH[1], terminals)

    told("voicechat create")
    ada.types("voicechat create --name Ada")
    code = ada.shows(r"\n +(\d+-[a-z]+-[a-z]+-[a-z]+@\S+)\n")
    said("create", "a code", code)
    told("voicechat join")
    bob.types("voicechat join --name Bob")
    bob.shows(r"(?i)(code)")
    bob.types(code)
    said("join", "asks for it", bob.shows(r"(You are in)"))
    for one, friend in [(ada, "Bob"), (bob, "Ada")]:
        said("talk", friend, one.shows(rf"(▸ {friend} .*to ear)"))
    bob.types("hello there")
    said("chat", "arrives", ada.shows(r"(Bob: hello there)"))
    mute_by_a_key(place, ada, bob)
    bob.types("/quit")
    said("leave", "seen", ada.shows(r"(Bob.*left)"))
    ada.types("/quit")
    # The router may just be asked for a port, which is given back first.
    said("leave", "said", ada.shows(r"(You left the call.*)"))
    ada.types("echo the status is $?")
    said("leave", "status", ada.shows(r"(the status is 0)"))


def installed(root):
    told("cargo install --path client")
    subprocess.run(["cargo", "install", "--quiet", "--path", "client", "--root", root], cwd=ROOT, check=True)
    program = root / "bin/voicechat"
    said("install", "there", f"{program.stat().st_size >> 20} MiB")
    return program


def person(place, program, name, speech, terminals):
    """A home with nothing in it, a PATH with nothing but the system and the program, and nothing else."""
    home = place / name
    (home / "run").mkdir(parents=True, mode=0o700)
    env = {
        "HOME": str(home),
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "XDG_RUNTIME_DIR": str(home / "run"),
        "LC_ALL": "C.UTF-8",
        "VOICECHAT_INPUT": speech,
        "VOICECHAT_OUTPUT": "null",
    }
    terminals.append(Terminal(home, env, 100, 30))
    return terminals[-1]


def mute_by_a_key(place, ada, bob):
    line = re.search(r"`(bindsym Pause exec voicechat ctl toggle)`", README)[1]
    if missing := [tool for tool in ("Xvfb", "i3", "xdotool") if not shutil.which(tool)]:
        print(f"SKIPPED  mute by a key of the desktop: no {', no '.join(missing)} here")
        return
    config = place / "i3"
    config.write_text(line + "\n")
    shown, number = os.pipe()
    screen = subprocess.Popen(["Xvfb", "-displayfd", str(number), "-nolisten", "tcp"], pass_fds=[number], stderr=subprocess.DEVNULL)
    os.close(number)
    desktop = None
    try:
        env = ada.env | {"DISPLAY": f":{os.read(shown, 16).decode().strip()}"}
        desktop = subprocess.Popen(["i3", "-c", config], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for expected in [r"(Ada .*muted)", r"(▸ Ada .*to ear)"]:
            pressed(env, bob, expected)
    finally:
        for process in filter(None, [desktop, screen]):
            process.terminate()
            process.wait()


def pressed(env, bob, expected):
    # A key that is pressed before the desktop has started is nobody's.
    for _ in range(10):
        subprocess.run(["xdotool", "key", "Pause"], env=env, check=True)
        for _ in range(20):
            if found := re.search(expected, bob.tmux("capture-pane", "-p")):
                said("key", "Pause", found[1])
                return
            time.sleep(0.1)
    raise SystemExit(f"the key changes nothing: {expected}\n{bob.tmux('capture-pane', '-p')}")


def told(command):
    if command not in README:
        raise SystemExit(f"the README does not say `{command}`")


def ran(program, env, expected):
    output = subprocess.run([program], env=env, capture_output=True, text=True)
    found = re.search(expected, output.stdout + output.stderr)
    return found[0].split("\n")[0] if found else sys.exit(f"`voicechat` alone says {output}")


def said(step, what, seen):
    print(f"ok  {step:<8} {what:<12} {seen}")


main()
