"""Clients that mean harm: what a normal one notices of them, what memory they cost, and that every node lives.

For each attack a normal producer (acks=all, a record at a time) is measured quiet, then under the attack. Attackers run in
processes of their own that take what time is left, as if they came from another machine, so that what counts is the work that
they make for the nodes. Environment: SECONDS (4) of each measurement, ROUNDS (3; a line each, and the median of their ratios
counts), CONNECTIONS (10000, as far as descriptors allow), ATTACKS (names, all).

Attackers, client and nodes share this machine's cores and its loopback. What the attack costs by itself is measured too: the
same against a program that takes what comes, does nothing with it and answers with zeros where the attack waits for an answer,
while the normal client uses the nodes as ever. The ratio to that is what the nodes add.
"""

import gzip
import multiprocessing
import os
import random
import resource
import selectors
import socket
import statistics
import struct
import sys
import threading
import time

from confluent_kafka import Producer

from cluster import Cluster, create_topic
from rawkafka import batch, fetch, find_coordinator, join, metadata, produce, varint

SECONDS = float(os.environ.get("SECONDS", "4"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "10000"))
RATE = 200
# What a node may hold beyond what it held before: the budgets of crates/types/src/limits.rs (requests 256 + 64 MiB, fetched
# 256 MiB, unread answers 64 MiB; groups 256 MiB a shard), zstd windows of 128 MiB (two of each shard's pool, one of the
# outsized), and read buffers of its connections.
RSS_MAX_MIB = 256 + 64 + 256 + 64 + 2 * 256 + 3 * 128 + 16_000 * 16 // 1024 + 100


def bomb(mebibytes):
    """A gzip batch whose one record is all zeros; it claims two, so it is read to its end and not stored."""
    value = bytes(mebibytes << 20)
    record = bytes([0]) + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
    return batch(gzip.compress(varint(len(record)) + record, 9), 1, 2)


# --- attacks: functions of the nodes' ports that end when `stop` is set -------------------------------------

def connect(port, timeout=5):
    s = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def send(port, data, answer=False):
    try:
        with connect(port) as s:
            s.sendall(data)
            if answer:
                return s.recv(65536)
    except OSError:
        return None


def noise(ports, stop):
    rng = random.Random(1)
    while not stop.is_set():
        send(rng.choice(ports), rng.randbytes(rng.randrange(1, 4000)))


def flipped_bits(ports, stop):
    rng = random.Random(2)
    valid = [metadata(), produce("target", 0, batch(b"\x0e\x00\x00\x00\x01\x02v\x00", 0, 1)), fetch("target", 3, 1 << 20)]
    while not stop.is_set():
        bad = bytearray(rng.choice(valid))
        for _ in range(rng.randrange(1, 4)):
            bad[rng.randrange(4, len(bad))] ^= 1 << rng.randrange(8)
        send(rng.choice(ports), bytes(bad))


def huge_lengths(ports, stop):
    """Announces 100 MiB on many connections and sends next to nothing of it."""
    open_sockets = []
    while not stop.is_set():
        for port in ports:
            try:
                s = connect(port)
                s.sendall(struct.pack(">ih", 100 << 20, 0) + bytes(1000))
                open_sockets.append(s)
            except OSError:
                pass
        for s in open_sockets[:-600]:
            s.close()
        del open_sockets[:-600]
        stop.wait(0.01)


def one_byte_a_second(ports, stop):
    sockets = [(connect(port), bytearray(metadata())) for port in ports for _ in range(300)]
    while not stop.is_set():
        for s, left in sockets:
            try:
                if left:
                    s.send(left[:1])
                    del left[:1]
            except OSError:
                pass
        stop.wait(1)


def bombs(ports, stop, mebibytes=100):
    """Decompresses to a hundred MiB, again and again, on four connections to each node."""
    bad = produce("target", 0, bomb(mebibytes))

    def throw(port):
        while not stop.is_set():
            send(port, bad, answer=True)

    threads = [threading.Thread(target=throw, args=(port,), daemon=True) for port in ports for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(SECONDS + 30)


def small_bombs(ports, stop):
    """The same with what an honest batch may just still become: crates/types/src/limits.rs, DECOMPRESSED_BYTES_ON_POOL."""
    bombs(ports, stop, 15)


def many_batches(ports, stop):
    """Two batches where one is allowed, wrong counts, wrong CRCs."""
    good = batch(b"\x0e\x00\x00\x00\x01\x02v\x00", 0, 1)
    wrong_crc = good[:-1] + b"\x01"
    bad = [produce("target", 0, r) for r in (good + good, batch(b"\x0e\x00\x00\x00\x01\x02v\x00", 0, 1000), wrong_crc, good[:50])]
    sockets = [connect(port) for port in ports]
    while not stop.is_set():
        for s in sockets:
            for data in bad:
                s.sendall(data)
            for _ in bad:
                length = struct.unpack(">i", s.recv(4, socket.MSG_WAITALL))[0]
                s.recv(length, socket.MSG_WAITALL)


def pipelining(ports, stop):
    """Asks without end on a hundred connections, and reads no answer."""
    sockets = []
    data = metadata() * 500
    while not stop.is_set():
        while len(sockets) < 100:
            s = connect(random.choice(ports))
            s.settimeout(0.01)
            sockets.append(s)
        for s in list(sockets):
            try:
                s.send(data)
            except TimeoutError:
                pass
            except OSError:
                sockets.remove(s)


def unread_fetches(ports, stop):
    """Fetches all of a topic on thirty connections to each node, and reads nothing."""
    sockets = []
    while not stop.is_set():
        for port in ports:
            while sum(s.getpeername()[1] == port for s in sockets) < 30:
                s = connect(port)
                s.sendall(fetch("full", 3, 50 << 20) * 3)
                sockets.append(s)
        stop.wait(1)


def connections(ports, stop):
    """As many connections as descriptors allow, all to the first node."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets = []
    while not stop.is_set() and len(sockets) < min(CONNECTIONS, hard - 100):
        try:
            s = connect(ports[0])
            s.sendall(metadata())
            sockets.append(s)
        except OSError:
            break
    print(f"  {len(sockets)} connections are open", flush=True)
    stop.wait()


def churn(ports, stop):
    """Connects and leaves, as fast as it goes."""
    while not stop.is_set():
        for port in ports:
            try:
                connect(port).close()
            except OSError:
                pass


def joining(ports, stop):
    """Joins groups without end: new groups, large metadata, and ids that are never used."""
    rng = random.Random(5)
    coordinators = [connect(port) for port in ports]
    metadata_bytes = rng.randbytes(100_000)
    while not stop.is_set():
        for index, s in enumerate(coordinators):
            group, size = f"flood-{rng.randrange(1_000_000)}", rng.choice([10, 1_000, 100_000])
            try:
                s.sendall(join(group, "", metadata_bytes[:size], version=5))
                s.recv(65536)
            except OSError:
                coordinators[index] = connect(ports[index])


def silent_members(ports, stop):
    """Two hundred members of one group that join and never ask for their assignment."""
    sockets = []
    while not stop.is_set():
        for port in ports:
            while sum(s.getpeername()[1] == port for s in sockets) < 200:
                s = connect(port)
                s.sendall(join("silent", "", b"\0\0\0\0\0\0", version=3))
                sockets.append(s)
        stop.wait(1)


ATTACKS = [joining, silent_members, noise, flipped_bits, huge_lengths, one_byte_a_second, bombs, small_bombs, many_batches, pipelining, unread_fetches, connections, churn]


def give_way():
    """Takes what time nobody else wants. In a session of its own: where the kernel groups by session
    (`sched_autogroup_enabled`), a policy counts within its group, and the kernel's threads would share a core with it. A
    niceness is not enough: who has one is left on a core by itself while all others crowd on the next."""
    os.setsid()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        with open("/proc/self/autogroup", "w") as group:
            group.write("19")
    except OSError:
        pass  # No such groups here.


def attacker(attack, ports, stop):
    give_way()
    attack(ports, stop)


def sink(ports, ready, stop, answers):
    """Takes what comes, on ports of its own. Gives each request an empty answer, or none: then it closes what has sent enough
    for one."""
    give_way()
    waiting = selectors.DefaultSelector()
    for index in range(len(ports)):
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        listener.setblocking(False)
        ports[index] = listener.getsockname()[1]
        waiting.register(listener, selectors.EVENT_READ, None)
    ready.set()
    while not stop.is_set():
        for key, _ in waiting.select(0.1):
            try:
                if key.data is None:
                    taken = key.fileobj.accept()[0]
                    taken.setblocking(False)
                    waiting.register(taken, selectors.EVENT_READ, bytearray())
                    continue
                received, unread = key.fileobj.recv(1 << 20), key.data
                if received and answers:
                    unread += received
                    while len(unread) >= 4 and len(unread) >= (end := 4 + int.from_bytes(unread[:4])):
                        key.fileobj.sendall(struct.pack(">i", 60) + bytes(60))
                        del unread[:end]
                    continue
                if len(received) > 100:
                    key.fileobj.shutdown(socket.SHUT_WR)
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            waiting.unregister(key.fileobj)
            key.fileobj.close()


class Attack:
    """A process that attacks these ports."""

    def __init__(self, attack, ports):
        self.attack = attack
        self.stop = multiprocessing.Event()
        self.process = multiprocessing.Process(target=attacker, args=(attack, ports, self.stop), daemon=True)

    def __enter__(self):
        self.process.start()
        time.sleep(1 if self.attack is not connections else 5)
        return self

    def __exit__(self, kind, *_):
        assert kind or self.process.is_alive(), f"the attack {self.attack.__name__} ended by itself: see its traceback"
        self.stop.set()
        self.process.join(10)
        self.process.kill()


def into_nothing(attack, victim):
    """The normal client's p99 while nobody serves the attack."""
    ports, ready, stop = multiprocessing.Array("i", 3), multiprocessing.Event(), multiprocessing.Event()
    process = multiprocessing.Process(target=sink, args=(ports, ready, stop, attack in ANSWERED), daemon=True)
    process.start()
    assert ready.wait(20)
    try:
        with Attack(attack, list(ports)):
            return victim.measure(SECONDS)[1]
    finally:
        stop.set()
        process.join(10)
        process.kill()


# These wait for answers.
ANSWERED = [many_batches, joining]


# --- the normal client --------------------------------------------------------------------------------------

class Victim:
    def __init__(self, bootstrap):
        self.producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0})
        self.errors = 0
        self.measure(2)

    def measure(self, seconds):
        """p50 and p99 in milliseconds of a record's acknowledgement."""
        latencies = []
        started = time.monotonic()
        value = bytes(1000)
        sent = 0
        while (now := time.monotonic()) < started + seconds:
            at = started + sent / RATE
            if at > now:
                self.producer.poll(at - now)
                continue
            sent += 1
            begun = time.monotonic()

            def acknowledged(error, _, begun=begun):
                self.errors += error is not None
                latencies.append(time.monotonic() - begun)

            self.producer.produce("victim", value, partition=sent % 3, on_delivery=acknowledged)
            self.producer.poll(0)
        self.producer.flush(60)
        latencies.sort()
        assert len(latencies) == sent, f"{sent - len(latencies)} records were never answered"
        return latencies[len(latencies) // 2] * 1000, latencies[len(latencies) * 99 // 100] * 1000


def rss_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]) // 1024


class Memory(threading.Thread):
    """The most that any node holds while this runs."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.pids, self.peak, self.done = [cluster.pid(i) for i in range(3)], 0, threading.Event()

    def run(self):
        while not self.done.wait(0.05):
            self.peak = max([self.peak, *map(rss_mib, self.pids)])


def log_lines(cluster):
    return sum((cluster.home(i) / "ottla.log").read_bytes().count(b"\n") for i in range(3))


def attacked(cluster, victim, attack):
    """Prints what one attack does; how much of the normal client's p99 is the nodes' doing."""
    quiet = victim.measure(SECONDS)
    nothing = into_nothing(attack, victim)
    before, lines = max(rss_mib(cluster.pid(i)) for i in range(3)), log_lines(cluster)
    memory = Memory(cluster)
    memory.start()
    with Attack(attack, cluster.ports):
        under = victim.measure(SECONDS)
    memory.done.set()
    time.sleep(1)
    after, lines = max(rss_mib(cluster.pid(i)) for i in range(3)), log_lines(cluster) - lines
    ratio = under[1] / max(quiet[1], nothing)
    print(f"  {attack.__name__:20} {quiet[0]:7.1f}/{quiet[1]:8.1f} {nothing:12.1f} {under[0]:7.1f}/{under[1]:8.1f} {ratio:6.2f} "
          f"{before:9}/{memory.peak:8}/{after:8} {lines:10}", flush=True)
    assert memory.peak - before <= RSS_MAX_MIB, f"{attack.__name__}: a node took {memory.peak - before} MiB more"
    # A line per node, address and interval, for each reason, and no more.
    assert lines <= 3 * 10 * (SECONDS / 10 + 1), f"{attack.__name__}: {lines} lines in the log"
    for index in range(3):
        assert cluster.processes[index].poll() is None, f"node {index} died:\n{cluster.log_end(index)}"
    return ratio


def main():
    names = os.environ.get("ATTACKS", "").replace(",", " ").split()
    if unknown := set(names) - {a.__name__ for a in ATTACKS}:
        sys.exit(f"ATTACKS names {', '.join(unknown)}; there are: {' '.join(a.__name__ for a in ATTACKS)}")
    attacks = [a for a in ATTACKS if not names or a.__name__ in names]
    multiprocessing.set_start_method("spawn", force=True)
    with Cluster() as cluster:
        cluster.start()
        for topic in ("victim", "target", "full"):
            create_topic(cluster, topic, 3)
        # The lines that its making leaves in the log are no attack's.
        send(cluster.ports[0], find_coordinator("any"), answer=True)
        cluster.wait_in_sync("__consumer_offsets")
        filler = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
        for index in range(60):
            filler.produce("full", random.randbytes(900_000), partition=index % 3)
            filler.poll(0)
        assert filler.flush(120) == 0
        victim = Victim(cluster.bootstrap)
        print(f"  {'attack':20} {'quiet p50/p99':>16} {'nothing p99':>12} {'under p50/p99':>16} {'ratio':>6} {'RSS MiB before/peak/after':>27} {'log lines':>10}", flush=True)
        missed = []
        for attack in attacks:
            ratios = [attacked(cluster, victim, attack) for _ in range(ROUNDS)]
            if (ratio := statistics.median(ratios)) >= 2:
                missed.append(f"{attack.__name__} {ratio:.1f}x")
        cluster.assert_no_panic()
        assert victim.errors == 0, f"{victim.errors} records of the normal client failed"
        quiet = victim.measure(SECONDS)
        print(f"  at last, quiet: p50 {quiet[0]:.1f} ms, p99 {quiet[1]:.1f} ms; every node lives")
        print(f"  p99 at least doubled by the nodes, in the median, under: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
