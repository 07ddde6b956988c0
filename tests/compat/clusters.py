"""What the clients are tested against: Ottla, Apache Kafka, or a cluster that runs already."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "clients"))

import cluster  # noqa: E402
from clients import KAFKA  # noqa: E402


class Ottla:
    name = "Ottla"

    def __init__(self):
        self.cluster = cluster.Cluster().start()
        self.bootstrap = self.cluster.bootstrap

    def kill(self, node):
        self.cluster.kill(node)

    def start(self, node):
        self.cluster.start(node)

    @property
    def directory(self):
        return self.cluster.directory

    def stop(self, keep):
        self.cluster.stop(keep=True)
        self.cluster.assert_no_panic()
        if not keep:
            shutil.rmtree(self.cluster.directory, ignore_errors=True)


class Apache:
    """Apache Kafka 4.3.1, to try the scenarios themselves on."""

    name = "Apache Kafka 4.3.1"

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="compat-kafka-")
        self.ports = cluster.free_port_block(3)
        self.bootstrap = ",".join(f"localhost:{port}" for port in self.ports)
        self.run("up")

    def run(self, *arguments):
        env = {"HEAP": "600M", "KAFKA": str(KAFKA), **os.environ, "ROOT": f"{self.directory}/nodes", "PORTS": " ".join(map(str, self.ports))}
        subprocess.run([str(HERE.parent / "kafka" / "cluster.sh"), *map(str, arguments)], env=env, check=True)

    def kill(self, node):
        self.run("kill9", node)

    def start(self, node):
        self.run("start", node)

    def stop(self, keep):
        self.run("down")
        # A node without a quorum does not end by itself.
        processes = [pathlib.Path("/proc") / pid.read_text().strip() for pid in pathlib.Path(self.directory).glob("nodes/*/pid")]
        end = time.monotonic() + 20
        while any(map(self.runs, processes)) and time.monotonic() < end:
            time.sleep(0.1)
        for process in filter(self.runs, processes):
            os.kill(int(process.name), signal.SIGKILL)
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def runs(self, process):
        """Whether it is still one of this cluster's."""
        try:
            return self.directory.encode() in (process / "cmdline").read_bytes()
        except OSError:
            return False


class Running:
    """A cluster of somebody else: nothing is killed."""

    name = "a running cluster"
    directory = "nowhere"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def stop(self, keep):
        pass


STARTED = {"ottla": Ottla, "apache": Apache}
