"""Instructions of one node for each batch that is produced, and for each that is fetched: figures that do not depend on the
machine's mood. A node of its own runs under valgrind (callgrind); what its start, its idling and the clients' connections cost is
taken off by running each load twice, once with twice as many batches.

BATCHES=2000 (of the smaller run). Wants valgrind; skips without it.
"""

import os
import pathlib
import re
import shutil
import socket
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "clients"))

from cluster import Cluster, create_topic  # noqa: E402
from rawkafka import batch, fetch, produce, record  # noqa: E402

BATCHES = int(os.environ.get("BATCHES", "2000"))
UNFLUSHED = f"flush.messages={2**63 - 1}"
PATIENT = ("broker.session.timeout.ms=60000", "log.flush.stall.ms=60000")
NOT_LEADER_OR_FOLLOWER = 6
# Batches of how many records of how many bytes.
SHAPES = ((1, 100), (1, 1024), (16, 1024), (64, 1024))


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)

    def ask(self, frame):
        self.socket.sendall(frame)
        length = struct.unpack(">i", self.exactly(4))[0]
        return self.exactly(length)

    def exactly(self, count):
        parts = []
        while count:
            part = self.socket.recv(count)
            assert part, "the node closed the connection"
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def shaped(count, size):
    return batch(b"".join(record(n, None, bytes(size)) for n in range(count)), 0, count)


def produced(cluster, request, count):
    connection = Connection(cluster.ports[0])

    def error():
        # Behind the correlation id and the one topic's name: the one partition's index and error.
        return struct.unpack_from(">h", connection.ask(request), 4 + 4 + (2 + len("t")) + 4 + 4)[0]

    # A leader that was only just chosen may not know it yet.
    while error() == NOT_LEADER_OR_FOLLOWER:
        pass
    for _ in range(count):
        code = error()
        assert code == 0, f"a batch is answered with error {code}"


def instructions(load):
    """Of a node's whole life, in which `load` does something with it."""
    # Under valgrind everything takes fifty times as long.
    with Cluster(nodes=1, properties=PATIENT, within=[["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]]) as cluster:
        cluster.start()
        create_topic(cluster, "t", 1, configs=(UNFLUSHED,))
        load(cluster)
        cluster.stop(keep=True)
        log = (cluster.home(0) / "ottla.log").read_text(errors="replace")
        shutil.rmtree(cluster.directory, ignore_errors=True)
    return int(re.findall(r"Collected : (\d+)", log)[-1])


def per_time(load):
    """What one more of BATCHES costs."""
    once, twice = instructions(lambda cluster: load(cluster, BATCHES)), instructions(lambda cluster: load(cluster, 2 * BATCHES))
    return (twice - once) / BATCHES


def main():
    if not shutil.which("valgrind"):
        print("skipped: valgrind is not installed")
        return
    for count, size in SHAPES:
        request = produce("t", 0, shaped(count, size))

        def write(cluster, times):
            produced(cluster, request, times)

        def read(cluster, times):
            produced(cluster, request, 1)
            connection = Connection(cluster.ports[0])
            for _ in range(times):
                assert len(connection.ask(fetch("t", 1, 1 << 20))) > count * size, "nothing was fetched"

        print(f"{count} records of {size} bytes: {per_time(write):,.0f} instructions to produce a batch, {per_time(read):,.0f} to fetch it", flush=True)


if __name__ == "__main__":
    main()
