"""The history of a load, as docs/history.md describes it, and `ottla verify --history` on it."""

import functools
import json
import subprocess
import threading
import time

from cluster import OTTLA


class History:
    """Lines of one run. Threads of this process share it."""

    def __init__(self, path, **about):
        self.path, self.lock = path, threading.Lock()
        self.file = open(path, "w", buffering=1 << 20)
        self.write({"history": 1, **about})

    def write(self, line):
        text = json.dumps(line, separators=(",", ":")) + "\n"
        with self.lock:
            self.file.write(text)

    def line(self, operation, kind, worker, **more):
        self.write({"o": operation, "k": kind, "t": time.monotonic_ns(), "w": worker, **more})

    def check(self):
        """What the checker says, in a few words; an assertion where that is not `clean`."""
        with self.lock:
            self.file.flush()
        if not verifies():
            return "history not checked: this ottla has no verify"
        done = subprocess.run([OTTLA, "verify", "--history", str(self.path)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"ottla verify --history {self.path}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return "history clean"


@functools.cache
def verifies():
    return subprocess.run([OTTLA, "verify", "--help"], capture_output=True).returncode == 0
