"""A cluster of real `ottla` processes on loopback, for tests that kill them."""

import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

OTTLA = os.environ.get("OTTLA", "ottla")


RESERVED = {}


def reserve(port):
    """Whether no other test run has this port, which it may not listen on yet. It is ours while this process lives."""
    if port in RESERVED:
        return True
    places = pathlib.Path(tempfile.gettempdir(), "ottla-ports")
    places.mkdir(exist_ok=True)
    place = open(places / str(port), "w")
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        place.close()
        return False
    RESERVED[port] = place
    return True


def free_port_block(count):
    """`count` Kafka ports whose control (+10000) and replica (+20000) ports are free too."""
    found = []
    for port in range(21000, 30000, 3):
        if not reserve(port):
            continue
        sockets = []
        try:
            for p in (port, port + 10000, port + 20000):
                s = socket.socket()
                sockets.append(s)
                s.bind(("127.0.0.1", p))
            found.append(port)
        except OSError:
            pass
        finally:
            for s in sockets:
                s.close()
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


class Cluster:
    """`advertise` maps a node's index to the port its clients are told, for proxies in between. `hosts` are the nodes'
    addresses, and `within` the command that starts a program on a node's machine, where those are not this one."""

    def __init__(self, nodes=3, properties=(), advertise=None, racks=None, hosts=None, within=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ottla-test-"))
        self.ports = [9092] * nodes if hosts else free_port_block(nodes)
        self.hosts = hosts or ["localhost"] * nodes
        self.within = within or [[]] * nodes
        self.processes = {}
        self.logs = {}
        self.secret_used = hosts is not None
        secret = self.directory / "secret"
        secret.write_text("between the nodes of a test only: 0123456789abcdef\n")
        secret.chmod(0o600)
        join = ",".join(f"{h}:{p + 10000}" for h, p in zip(self.hosts, self.ports))
        for index, port in enumerate(self.ports):
            home = self.home(index)
            home.mkdir()
            advertised = advertise[index] if advertise else port
            lines = [
                f"node.id={index}",
                f"listeners=PLAINTEXT://{hosts[index] if hosts else '127.0.0.1'}:{port}",
                f"advertised.listeners=PLAINTEXT://{self.hosts[index]}:{advertised}",
                f"log.dirs={home / 'data'}",
                f"metadata.log.dir={home / 'raft'}",
                f"join={join}",
                "num.shards=1",
                *([f"cluster.secret={secret}"] if hosts else []),
                *([f"broker.rack={racks[index]}"] if racks else []),
                *properties,
            ]
            (home / "server.properties").write_text("\n".join(lines) + "\n")

    def home(self, index):
        return self.directory / f"node-{index}"

    @property
    def bootstrap(self):
        return ",".join(f"{h}:{p}" for h, p in zip(self.hosts, self.ports))

    def start(self, *indexes, wait=True):
        indexes = indexes or range(len(self.ports))
        for index in indexes:
            log = open(self.home(index) / "ottla.log", "ab")
            self.processes[index] = subprocess.Popen(
                [*self.within[index], OTTLA, "start", "--config", str(self.home(index) / "server.properties"), "--announce-ready", "--die-with-parent"],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
            log.close()
        if wait:
            for index in indexes:
                self.wait_ready(index)
        return self

    def wait_ready(self, index, timeout=60):
        process = self.processes[index]
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        line = process.stdout.readline() if ready else b""
        if line.strip() != b"ready":
            raise RuntimeError(f"node {index} did not become ready; its log ends:\n{self.log_end(index)}")

    def log_end(self, index, lines=25):
        text = (self.home(index) / "ottla.log").read_text(errors="replace").splitlines()
        return "\n".join(text[-lines:])

    def kill(self, index, sig=signal.SIGKILL):
        process = self.processes.pop(index)
        process.send_signal(sig)
        process.wait(30)

    def signal(self, index, sig):
        self.processes[index].send_signal(sig)

    def pid(self, index):
        return self.processes[index].pid

    def cli(self, *arguments, timeout=60, **more):
        command = [OTTLA, *arguments]
        if "--bootstrap" not in arguments:
            command += ["--bootstrap", self.bootstrap]
        if self.secret_used:
            more.setdefault("env", {**os.environ, "OTTLA_CLUSTER_SECRET": str(self.directory / "secret")})
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **more)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr}")
        return result.stdout

    def status(self):
        return json.loads(self.cli("cluster", "status", "--format", "json"))

    def raft_leader(self):
        for _ in range(100):
            try:
                leader = self.status().get("controller")
                if leader is not None and leader >= 0:
                    return leader
            except (RuntimeError, subprocess.TimeoutExpired):
                pass
            time.sleep(0.1)
        raise RuntimeError("no Raft leader")

    def topic(self, name, node=None):
        """As whoever answers first knows it, or this node."""
        of = [] if node is None else ["--bootstrap", f"{self.hosts[node]}:{self.ports[node]}"]
        return json.loads(self.cli("topic", "describe", name, "--format", "json", *of))[0]

    def wait_in_sync(self, topic, timeout=60):
        """Until every partition of the topic has a leader and all its replicas in the ISR."""
        end = time.monotonic() + timeout
        last = None
        while time.monotonic() < end:
            try:
                last = self.topic(topic)
                if all(p["leader"] >= 0 and len(p["isr"]) == len(p["replicas"]) for p in last["partitions"]):
                    return last
            except RuntimeError as error:
                last = error
            time.sleep(0.1)
        raise AssertionError(f"{topic} is not in sync after {timeout} s: {last}")

    def log_bytes(self, index, topic, partition):
        """All bytes of a replica's segments, in order."""
        home = self.home(index) / "data" / f"{topic}-{partition}"
        return b"".join(f.read_bytes() for f in sorted(home.glob("*.log")))

    def assert_no_panic(self):
        for index in range(len(self.ports)):
            text = (self.home(index) / "ottla.log").read_text(errors="replace")
            for word in ("panicked", "RUST_BACKTRACE"):
                assert word not in text, f"node {index} panicked:\n{self.log_end(index, 60)}"

    def stop(self, keep=False):
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop(keep=kind is not None)
        if kind is not None:
            print(f"  the nodes' data and logs are kept in {self.directory}")


def create_topic(cluster, name, partitions=6, configs=()):
    arguments = ["topic", "create", name, "--partitions", str(partitions)]
    for config in configs:
        arguments += ["--config", config]
    cluster.cli(*arguments)
    cluster.wait_in_sync(name)
