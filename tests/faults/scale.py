"""Many partitions, and clients that mean harm. Faults 45 to 50."""

import os
import resource
import socket
import struct
import time

import hostile
from catalogue import fault
from scene import ACKNOWLEDGED_MIN, Stage, Trial, until

# A replica keeps its active segment open: with 20,000 descriptors a node may have so many and as many connections.
PARTITIONS = int(os.environ.get("PARTITIONS", "10000"))
TOPICS = 10
LIMIT = 600  # seconds for making and recovering so many on this machine


@fault(45, stage=None)
def many_partitions():
    """Thousands of partitions are made (PARTITIONS=10000, as far as descriptors allow), and a broker dies before its replicas
    are: all are led again, who was there before is acknowledged meanwhile; it comes back, all are in sync."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(PARTITIONS, (hard - 2_000) // 2)
    with Stage() as stage, Trial(stage, "beside", rate=200) as trial:
        cluster = stage.cluster
        began = time.monotonic()
        names = [f"many-{n}" for n in range(TOPICS)]
        for name in names:
            cluster.cli("topic", "create", name, "--partitions", str(count // TOPICS), timeout=LIMIT)
        for name in names:
            cluster.wait_in_sync(name, LIMIT)
        trial.note(f"{count} partitions made in {time.monotonic() - began:.0f} s")
        victim = (cluster.raft_leader() + 1) % 3
        descriptors = len(os.listdir(f"/proc/{cluster.pid(victim)}/fd"))
        acknowledged = time.monotonic()
        cluster.kill(victim)
        until("every partition is led", lambda: led(cluster, names, victim))
        trial.note(f"{descriptors} descriptors; all led again {time.monotonic() - acknowledged:.1f} s after kill -9")
        until("acknowledged", lambda: trial.acknowledged(range(6), acknowledged) > ACKNOWLEDGED_MIN)
        began = time.monotonic()
        cluster.start(victim, wait=False)
        cluster.wait_ready(victim, LIMIT)
        for name in names:
            cluster.wait_in_sync(name, LIMIT)
        trial.note(f"in sync {time.monotonic() - began:.0f} s after its start")
    return trial.summary()


def led(cluster, names, victim):
    return all(p["leader"] not in (-1, victim) for name in names for p in cluster.topic(name)["partitions"])


def attacked(*attacks):
    os.environ["ATTACKS"] = " ".join(attacks)
    hostile.main()


@fault(46, stage=None)
def connections():
    """10,000 connections, and some hundred that send a byte a second: tests/clients/hostile.py."""
    attacked("connections", "one_byte_a_second", "churn")


@fault(47, 49, stage=None)
def malformed():
    """Noise, flipped bits, wrong counts and CRCs, compression bombs: tests/clients/hostile.py."""
    attacked("noise", "flipped_bits", "many_batches", "bombs", "small_bombs")


@fault(50, stage=None)
def floods():
    """Fetches without end and answers that nobody reads, joins without end: tests/clients/hostile.py."""
    attacked("pipelining", "unread_fetches", "joining", "silent_members")


@fault(48)
def length_prefixes(stage):
    """Frames that claim 2 GiB, less than nothing, or a byte more than is allowed: refused before anything is allocated."""
    with Trial(stage, "prefixes") as trial:
        node = trial.broker()
        place = (trial.cluster.hosts[node], trial.cluster.ports[node])
        before = hostile.rss_mib(trial.cluster.pid(node))
        for length in (2**31 - 1, 100 * 2**20 + 1, -1, -2**31, 0):
            for _ in range(50):
                with socket.create_connection(place, 5) as client:
                    client.settimeout(10)
                    client.sendall(struct.pack(">i", length) + b"\0\3\0\1" * 10)
                    try:
                        assert client.recv(100) == b"", f"a frame of {length} bytes is answered"
                    except ConnectionResetError:
                        pass
        grown = hostile.rss_mib(trial.cluster.pid(node)) - before
        assert grown < 64, f"{grown} MiB more after frames that claim too much"
    return trial.summary()
