"""The file system of `crates/powerloss` under nodes' data: it forgets on command what was not synced."""

import json
import os
import pathlib
import select
import shutil
import socket
import subprocess

POWERLOSS = os.environ.get("POWERLOSS") or str(pathlib.Path(os.environ.get("OTTLA", "ottla")).with_name("powerloss"))


def missing():
    """Why the layer cannot be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    if not os.access(POWERLOSS, os.X_OK):
        return f"{POWERLOSS} is not there: cargo build --release -p powerloss, or POWERLOSS=file"
    return None


class Layer:
    """Mounted at `home`/disk, with the node's log directory and Raft directory on it. Ends when this process does."""

    def __init__(self, home):
        self.control = home / "control"
        disk = home / "disk"
        disk.mkdir()
        self.process = subprocess.Popen(
            [POWERLOSS, "mount", str(disk), "--backing", str(home / "backing"), "--control", str(self.control)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ready, _, _ = select.select([self.process.stdout], [], [], 20)
        if not ready or self.process.stdout.readline() != b"ready\n":
            self.process.kill()
            raise RuntimeError(f"{disk}: the layer does not mount")
        # The machine's owner made these and mounted the disk, long before the node came.
        for name in ("data", "raft"):
            (disk / name).mkdir()
            (home / name).symlink_to(disk / name)
        handle = os.open(disk, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

    def tell(self, *words):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(120)
            connection.connect(str(self.control))
            connection.sendall((" ".join(map(str, words)) + "\n").encode())
            answer = json.loads(connection.makefile().readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def unmount(self):
        self.process.stdin.close()
        self.process.wait(30)


class Layers:
    """One under each node of a cluster that has not been started yet."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.layers = []

    def __enter__(self):
        try:
            for index in range(len(self.cluster.ports)):
                self.layers.append(Layer(self.cluster.home(index)))
        except BaseException:
            self.__exit__(None)
            raise
        return self

    def __getitem__(self, index):
        return self.layers[index]

    def __exit__(self, kind, *_):
        self.cluster.stop(keep=True)
        for index, layer in enumerate(self.layers):
            if kind is not None:
                # For whoever looks for the cause: what is behind a mount ends with it.
                home = self.cluster.home(index)
                shutil.copytree(home / "disk", home / "left")
            layer.unmount()

    def lose_power(self, nodes, seed):
        """These machines lose power at once. What it took, summed up."""
        for node in nodes:
            self.cluster.processes[node].kill()
        for node in nodes:
            self.cluster.processes.pop(node).wait(60)
        total = {}
        for node in nodes:
            for name, count in self.layers[node].tell("lose", seed * 10 + node).items():
                total[name] = total.get(name, 0) + count
        return total
