"""Real voicechat programs for the scripts beside this file: started at a home of their own, heard by their events."""

import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPEECH = [f"wav:{ROOT}/client/assets/{name}.wav,loop" for name in ("alice", "bob")]


def at(home):
    """An environment without anything that a person has set for calls of theirs."""
    env = {"PATH": os.environ["PATH"], "HOME": home, "VOICECHAT_STATE": home, "VOICECHAT_CONFIG": "/dev/null"}
    return env | {"LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": home}


def start(program, env, *args):
    pipe = subprocess.PIPE
    return subprocess.Popen([program, *args], env=env, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def serve(program, env):
    """A server, and an environment in which it is the one to meet at."""
    server = start(program, env, "serve", "--listen", "127.0.0.1:0", "--json")
    return server, env | {"VOICECHAT_SERVER": told(server, "serving")["place"]}


def told(process, event):
    for line in process.stdout:
        said = json.loads(line)
        if said["event"] == event:
            return said
    raise SystemExit(f"{event} was never told")


def listened_to(process):
    """A program whose output nobody reads loses lines, and says so."""
    threading.Thread(target=process.stdout.read, daemon=True).start()


class Terminal:
    """A real terminal (tmux) with a shell in it, whose files are in `home`."""

    def __init__(self, home, env, columns, rows):
        self.socket, self.env = f"{home}/tmux", env
        command = ["new-session", "-d", "-x", str(columns), "-y", str(rows)]
        for name, value in (env | {"PS1": "$ ", "ENV": "/dev/null"}).items():
            command += ["-e", f"{name}={value}"]
        self.tmux("-u", "-f", "/dev/null", *command, "bash", "--norc", "--noprofile")

    def tmux(self, *args, check=True):
        command = ["tmux", "-S", self.socket, *args]
        return subprocess.run(command, check=check, capture_output=True, text=True, env=self.env).stdout

    def types(self, line):
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def shows(self, pattern):
        """Waits for it; what its first group matched."""
        for _ in range(600):
            found = re.search(pattern, self.tmux("capture-pane", "-p"))
            if found:
                return found[1]
            time.sleep(0.05)
        raise SystemExit(f"{pattern} was never seen:\n{self.tmux('capture-pane', '-p')}")

    def close(self):
        self.tmux("kill-server", check=False)
