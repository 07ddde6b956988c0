"""The rows of benches/rows.py for which a broker is killed with -9.

FAILOVER: a librdkafka producer with acks=all and nothing else set writes 50 records a second to each of 6 partitions, few enough
for Kafka to flush one by one on two cores. For each partition led by the victim: from the kill to the first acknowledgement of a
record sent after it (benches/failover.py). Each kill meets a topic of its own, so that leaders are spread, and a cluster that is
in sync. Victims are in turn a broker that is not the Raft leader and the one that is: two figures, since with the latter a Raft
leader must be found first. Before each kill the same load runs for SECONDS, since JVMs that were just started are slow; `delay_s`
in the results says how late its acknowledgements were in the end: with seconds there, a side was not able to carry the load, and
its gaps are those of a queue.

RESTART: 1,000 partitions that hold 2 GiB (times three replicas, all of it synced before, so that no write-back of the fill is
measured) and are written by nobody. A broker is killed, and once it is out of every ISR it is started again: from just before
its process is made until a broker that lived through says of every partition that all three replicas are in sync. That is asked
every 50 ms, so a figure is too large by at most that and an answer's few ms. How long a death takes to be noticed, FAILOVER's
matter, is not in it.

KILLS=3 (of each kind in FAILOVER; in RESTART of the brokers in turn)  SECONDS=10  RESTART_PARTITIONS=1000  RESTART_MIB=2048
"""

import os
import socket
import statistics
import struct
import subprocess
import time

import confluent_kafka

import failover
import rawkafka

WARM_S = float(os.environ.get("SECONDS", "10"))
KILLS = int(os.environ.get("KILLS", "3"))
RESTART_PARTITIONS = int(os.environ.get("RESTART_PARTITIONS", "1000"))
RESTART_MIB = int(os.environ.get("RESTART_MIB", "2048"))
NODES = 3
EVERY_S = 0.02
POLL_S = 0.05
PATIENCE_S = 300


class Broker:
    """One connection, which asks what this broker knows of a topic."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.answers = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answers.close()
        self.socket.close()

    def partitions(self, topic):
        """(leader, ISR) by partition, from Metadata of version 1."""
        self.socket.sendall(rawkafka.request(3, 1, struct.pack(">i", 1) + rawkafka.string(topic)))
        head = self.answers.read(4)
        if len(head) < 4:
            raise ConnectionError("a broker hangs up")
        data = self.answers.read(*struct.unpack(">i", head))

        def skip_string(at):
            length, = struct.unpack_from(">h", data, at)
            return at + 2 + max(length, 0)

        brokers, = struct.unpack_from(">i", data, 4)
        at = 8
        for _ in range(brokers):
            at = skip_string(skip_string(at + 4) + 4)
        at = skip_string(at + 4 + 4 + 2) + 1  # the controller, the number of topics, the error
        count, = struct.unpack_from(">i", data, at)
        at += 4
        found = {}
        for _ in range(count):
            _, index, leader, replicas = struct.unpack_from(">hiii", data, at)
            at += 14 + 4 * replicas
            in_sync, = struct.unpack_from(">i", data, at)
            found[index] = leader, struct.unpack_from(f">{in_sync}i", data, at + 4)
            at += 4 + 4 * in_sync
        return found


def full(partitions, count):
    return len(partitions) == count and all(leader >= 0 and len(isr) == NODES for leader, isr in partitions.values())


def wait_in_sync(side, topic, count):
    """Until every broker says so of every partition; answers what they say."""
    deadline = time.monotonic() + PATIENCE_S
    for port in side.ports:
        while True:
            try:
                with Broker(port) as broker:
                    partitions = broker.partitions(topic)
                if full(partitions, count):
                    break
            except OSError:
                pass  # it is only just starting
            assert time.monotonic() < deadline, f"{side.name}: {topic} is not in sync after {PATIENCE_S} s"
            time.sleep(0.2)
    return partitions


def poll(broker, topic, done):
    deadline = time.monotonic() + PATIENCE_S
    while not done(broker.partitions(topic)):
        assert time.monotonic() < deadline, f"{topic} is not as it should be after {PATIENCE_S} s"
        time.sleep(POLL_S)


def warm(side, topic):
    """The load without a kill; the median delay of the acknowledgements in its last quarter."""
    producer = failover.Producer(side.bootstrap, topic, EVERY_S)
    producer.start()
    time.sleep(WARM_S)
    late = time.monotonic() - WARM_S / 4
    producer.stopping.set()
    producer.join(90)
    return statistics.median(acknowledged - sent for _, sent, acknowledged in producer.acks if sent > late)


def fail_over(side, row, disk):
    kills = []
    for number in range(2 * KILLS):
        topic = f"bench-{row.name}-{disk}-{number}"
        side.create(topic, failover.PARTITIONS, disk)
        partitions = wait_in_sync(side, topic, failover.PARTITIONS)
        leads = [[p for p, (leader, _) in partitions.items() if leader == node] for node in range(NODES)]
        raft_leader = side.raft_leader()
        others = [node for node in range(NODES) if node != raft_leader]
        victim = raft_leader if number % 2 else max(others, key=lambda node: len(leads[node]))
        assert leads[victim], f"{side.name}: node {victim} leads nothing of {topic}"
        delay_s = warm(side, topic)
        gaps = failover.measure(side.bootstrap, leads[victim], lambda: side.kill(victim), topic=topic, every_s=EVERY_S)
        kills.append({"node": victim, "raft_leader": victim == raft_leader, "delay_s": round(delay_s, 4), "gaps_s": [round(gap, 4) for gap in gaps]})
        side.start(victim)
        wait_in_sync(side, topic, failover.PARTITIONS)
        side.delete(topic)
    never = sum(gap == float("inf") for kill in kills for gap in kill["gaps_s"])
    return {"kills": kills, "errors": never}


def _p50(result, raft_leader):
    return statistics.median(gap for kill in result["kills"] if kill["raft_leader"] == raft_leader for gap in kill["gaps_s"])


def gap(result):
    return _p50(result, False)


def gap_of_raft_leader(result):
    return _p50(result, True)


def fill(side, topic):
    """The same bytes in the same order for either side: 1 KiB records, 64 KiB batches, one partition after the other."""
    failed = []
    producer = confluent_kafka.Producer({"bootstrap.servers": side.bootstrap, "acks": "all", "batch.size": 65536})
    value = os.urandom(1024)

    def delivered(error, _):
        if error:
            failed.append(str(error))

    for partition in range(RESTART_PARTITIONS):
        for _ in range(RESTART_MIB * 1024 // RESTART_PARTITIONS):
            while True:
                try:
                    producer.produce(topic, value, partition=partition, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(PATIENCE_S)
    assert not failed and not left, f"{side.name}: {len(failed)} records failed, {left} are left: {failed[:1]}"


def restart(side, row, disk):
    topic = f"bench-{row.name}-{disk}"
    side.create(topic, RESTART_PARTITIONS, disk)
    wait_in_sync(side, topic, RESTART_PARTITIONS)
    began = time.monotonic()
    fill(side, topic)
    filled_s = time.monotonic() - began
    subprocess.run(["sync"], check=True)
    restarts = []
    for number in range(KILLS):
        victim = number % NODES
        raft_leader = side.raft_leader()
        with Broker(side.ports[(victim + 1) % NODES]) as witness:
            killed = time.monotonic()
            side.kill(victim)
            poll(witness, topic, lambda partitions: all(victim not in isr for _, isr in partitions.values()))
            out = time.monotonic()
            began = side.start(victim)
            poll(witness, topic, lambda partitions: full(partitions, RESTART_PARTITIONS))
            restarts.append({"node": victim, "raft_leader": victim == raft_leader, "full_isr_s": round(time.monotonic() - began, 3),
                             "out_of_isr_s": round(out - killed, 3)})
        wait_in_sync(side, topic, RESTART_PARTITIONS)
    side.delete(topic)
    return {"restarts": restarts, "partitions": RESTART_PARTITIONS, "mib": RESTART_MIB, "filled_s": round(filled_s, 1), "errors": None}


def restart_time(result):
    return statistics.median(run["full_isr_s"] for run in result["restarts"])
