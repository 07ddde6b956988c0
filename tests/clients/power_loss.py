"""Power loss of all nodes at once in the middle of load, again and again, of one node, and during recovery: nothing is lost
that was acknowledged to strict topics, of a group's offsets or of topics made and deleted; relaxed topics lose their flush window
at most, and every partition comes back by itself. Needs root and /dev/fuse. LOSSES=200 SEED=1."""

import contextlib
import json
import os
import pathlib
import random
import struct
import sys
import time

import confluent_kafka

sys.path.append(str(pathlib.Path(__file__).parents[1] / "faults"))

import kill
from cluster import Cluster, create_topic
from history import History
from layer import Layers, missing
from skipped import Skipped

PARTITIONS = kill.PARTITIONS
RATE = 1_500  # records a second of each load
VALUE = 1_000
BACK_MAX = 60.0  # seconds from the start of the nodes until all replicas are in sync
ACKNOWLEDGED_MIN = 200  # records between two losses, or the loss proves nothing
FLUSH_MS = 500
# The relaxed topic's records are flushed by a tick of half a second after `flush.ms`, and the flush takes its time.
WINDOW = FLUSH_MS / 1000 + 1.5
SEGMENT = "segment.bytes=1048576"  # so that files are made and synced all the time
# Losses until the topics are checked from end to end, replicas compared, and new topics made.
GENERATION = 20
FAULT = 1 << 40  # joins a fault's two lines in the history
# Of every sync: what is acknowledged before it was synced has more time to be lost.
SYNC_DELAYS_MS = [0, 0, 3, 15]


class Load(kill.Load):
    """Remembers when each record was acknowledged, and writes a history if there is one (docs/history.md)."""

    def __init__(self, bootstrap, topic, history=None, **config):
        self.history = history
        self.invoked = -1
        super().__init__(bootstrap, topic, **{"log_level": 0, "reconnect.backoff.max.ms": 500, "retry.backoff.max.ms": 500, **config})
        self.times = [[] for _ in range(PARTITIONS)]
        self.checked = [0] * PARTITIONS

    def about_to_send(self, sequence):
        # A full queue is asked again.
        if self.history is not None and sequence > self.invoked:
            self.invoked = sequence
            self.history.line("send", "invoke", "producer", i=sequence, tp=f"{self.topic}-{sequence % PARTITIONS}", v=sequence)

    def on_delivery(self, error, message):
        super().on_delivery(error, message)
        if self.history is not None:
            sequence, = struct.unpack(">Q", message.value()[:8])
            where = {} if message.offset() is None or message.offset() < 0 else {"off": message.offset()}
            told = {"k": "ok", **where} if error is None else {"k": "info", "err": str(error)}
            self.history.line("send", told.pop("k"), "producer", i=sequence, **told)
        if error is None:
            self.times[message.partition()].append(time.monotonic())

    def wait_for(self, count, seconds=BACK_MAX):
        """Until so many records more are acknowledged."""
        goal, end = self.count + count, time.monotonic() + seconds
        while self.count < goal:
            assert time.monotonic() < end, f"{self.topic}: {goal - self.count} of {count} records are not acknowledged after {seconds} s"
            time.sleep(0.02)

    def unchecked(self, partition):
        """What was acknowledged since the last call: (sequence, offset, when)."""
        acknowledged, times = self.acknowledged[partition], self.times[partition]
        first, last = self.checked[partition], len(times)
        self.checked[partition] = last
        return [(s, o, t) for (s, o), t in zip(acknowledged[first:last], times[first:last])]


def patiently(ask, seconds=30):
    """What a client does with an answer that says to ask again."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except confluent_kafka.KafkaException:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def read(bootstrap, topic, partition, start):
    """Offset to sequence, from an offset to the high watermark of now."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                                         "fetch.wait.max.ms": 50, "log_level": 0})
    where = confluent_kafka.TopicPartition(topic, partition, start)
    # A new leader says OFFSET_NOT_AVAILABLE until it knows its high watermark (KIP-207).
    _, end = patiently(lambda: consumer.get_watermark_offsets(where, timeout=30))
    found = {}
    if start < end:
        consumer.assign([where])
    limit = time.monotonic() + 60
    while start < end:
        assert time.monotonic() < limit, f"{topic}-{partition}: reading hangs at {start} of {end}"
        for message in consumer.consume(500, timeout=0.05):
            assert not message.error(), message.error()
            start = message.offset() + 1
            found[message.offset()], = struct.unpack(">Q", message.value()[:8])
    consumer.close()
    return found


def check_strict(cluster, load):
    """Every acknowledged record is at its offset."""
    for partition in range(PARTITIONS):
        acknowledged = [(s, o) for s, o, _ in load.unchecked(partition) if o is not None]
        if not acknowledged:
            continue
        found = read(cluster.bootstrap, load.topic, partition, min(o for _, o in acknowledged))
        lost = [(s, o) for s, o in acknowledged if found.get(o) != s]
        assert not lost, (f"LOST: {load.topic}-{partition}: {len(lost)} of {len(acknowledged)} acknowledged records are not at "
                          f"their offset, first (sequence, offset) {lost[0]}, there is {found.get(lost[0][1])}; {max(found, default=None)} is the last")


def check_relaxed(cluster, load, lost_at):
    """How many acknowledged records are gone. None of them was acknowledged before the flush window of a loss."""
    gone = 0
    for partition in range(PARTITIONS):
        acknowledged = load.unchecked(partition)
        if not acknowledged:
            continue
        found = set(read(cluster.bootstrap, load.topic, partition, min(o for _, o, _ in acknowledged)).values())
        lost = [(s, o, t) for s, o, t in acknowledged if s not in found]
        early = [(s, o, t) for s, o, t in lost if not any(at - WINDOW < t for at in lost_at)]
        assert not early, (f"{load.topic}-{partition}: {len(early)} records are gone that were acknowledged more than {WINDOW} s before "
                           f"power was lost, or without a loss of all nodes; first {early[0]}, losses at {lost_at}")
        gone += len(lost)
    return gone


class Promises:
    """What else the cluster said yes to just before it lost power: a topic made, one deleted, offsets committed."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.made = self.deleted = self.committed = None
        self.count = 0

    def offsets(self, topic, offset=-1):
        return [confluent_kafka.TopicPartition(topic, partition, offset) for partition in range(PARTITIONS)]

    def consumer(self):
        return confluent_kafka.Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": "promised", "log_level": 0})

    def give(self, topic):
        self.count += 1
        made = f"made-{self.count}"
        self.cluster.cli("topic", "create", made, "--partitions", "2")
        if self.made is not None:
            self.cluster.cli("topic", "delete", self.made)
        self.made, self.deleted = made, self.made
        consumer = self.consumer()
        patiently(lambda: consumer.commit(offsets=self.offsets(topic, self.count), asynchronous=False))
        consumer.close()

    def check(self, topic):
        names = {listed["name"] for listed in json.loads(self.cluster.cli("topic", "list", "--format", "json"))}
        assert self.made in names, f"LOST: topic {self.made} was created, and is not among {names}"
        assert self.deleted not in names, f"LOST: topic {self.deleted} was deleted, and is there"
        consumer = self.consumer()
        committed = patiently(lambda: consumer.committed(self.offsets(topic), timeout=30))
        consumer.close()
        assert [c.offset for c in committed] == [self.count] * PARTITIONS, f"LOST: offset {self.count} was committed, and is {committed}"


class Scene:
    """A cluster on the layer, and what happened to it."""

    def __init__(self, cluster, layers, seed):
        self.cluster = cluster
        self.layers = layers
        self.promises = Promises(cluster)
        self.numbers = random.Random(seed)
        self.seed = seed
        self.lost = {"losses": 0, "single": 0, "recovering": 0, "relaxed records": 0, "acknowledged": 0}
        self.layer = {}
        self.faults = 0
        self.longest = 0.0

    def lose(self, nodes):
        self.seed += 1
        for name, count in self.layers.lose_power(nodes, self.seed).items():
            self.layer[name] = self.layer.get(name, 0) + count
        return time.monotonic()

    def come_back(self, nodes, loads):
        """The nodes start, and all is as before; nobody helps. Seconds that it took."""
        began = time.monotonic()
        self.cluster.start(*nodes)
        for load in loads:
            self.cluster.wait_in_sync(load.topic, BACK_MAX - (time.monotonic() - began))
        took = time.monotonic() - began
        self.longest = max(self.longest, took)
        return took

    @contextlib.contextmanager
    def fault(self, strict, on):
        """Written down in the history, however often power is lost in it."""
        self.faults += 1
        strict.history.line("fault", "begin", "main", i=FAULT + self.faults, name="power loss", on=on)
        yield
        strict.history.line("fault", "end", "main", i=FAULT + self.faults)

    def one(self, index, strict, relaxed):
        """Load, a loss of one node at times, then of all, again while they recover at times, and what is left of it."""
        for layer in self.layers.layers:
            layer.tell("sync-delay", self.numbers.choice(SYNC_DELAYS_MS))
        words = []
        if index % 4 == 3:
            strict.wait_for(ACKNOWLEDGED_MIN)
            node = self.numbers.randrange(3)
            with self.fault(strict, f"node {node}"):
                self.lose([node])
                took = self.come_back([node], [strict, relaxed])
            check_strict(self.cluster, strict)
            gone = check_relaxed(self.cluster, relaxed, [])
            assert not gone, "a power loss of one machine lost records of the relaxed topic"
            self.lost["single"] += 1
            words.append(f"node {node} alone, in sync after {took:.1f} s;")
        strict.wait_for(ACKNOWLEDGED_MIN)
        relaxed.wait_for(ACKNOWLEDGED_MIN)
        self.promises.give(strict.topic)
        time.sleep(self.numbers.random())
        before = dict(self.layer)
        lost_at = [time.monotonic()]
        with self.fault(strict, "all nodes"):
            self.lose([0, 1, 2])
            self.lost["losses"] += 1
            if index % 4 == 1:
                self.cluster.start(wait=False)
                time.sleep(self.numbers.uniform(0.1, 3.0))
                lost_at.append(time.monotonic())
                self.lose([0, 1, 2])
                self.lost["recovering"] += 1
                words.append("again during recovery;")
            took = self.come_back([0, 1, 2], [strict, relaxed])
        check_strict(self.cluster, strict)
        self.promises.check(strict.topic)
        gone = check_relaxed(self.cluster, relaxed, lost_at)
        self.lost["relaxed records"] += gone
        took_off = {name: count - before.get(name, 0) for name, count in self.layer.items()}
        print(f"  loss {index + 1}: {' '.join(words)} {took_off['bytes'] >> 10} KiB unsynced in {took_off['files']} files, {took_off['writes_torn']} "
              f"writes torn, {took_off['names_lost']} of {took_off['names_lost'] + took_off['names_kept']} names lost; in sync after {took:.1f} s, "
              f"{strict.count} strict records all there, {gone} relaxed ones gone", flush=True)

    def generation(self, first, losses):
        """Some losses on topics of their own, which are then checked from end to end."""
        topics = [f"strict-{first}", f"relaxed-{first}"]
        create_topic(self.cluster, topics[0], PARTITIONS, [SEGMENT])
        create_topic(self.cluster, topics[1], PARTITIONS, [SEGMENT, "flush.messages=1000000", f"flush.ms={FLUSH_MS}"])
        history = History(self.cluster.directory / f"{topics[0]}.history", load="tests/clients power_loss", keeps=True, ordered=True)
        strict = Load(self.cluster.bootstrap, topics[0], history)
        # What a relaxed topic forgets is a gap in the sequence of an idempotent producer, which would give up.
        relaxed = Load(self.cluster.bootstrap, topics[1], **{"enable.idempotence": False})
        for load in (strict, relaxed):
            load.start()
        for index in range(first, first + losses):
            self.one(index, strict, relaxed)
        for load in (strict, relaxed):
            load.finish()
            assert not load.errors, f"{load.topic}: {len(load.errors)} records failed, first: {load.errors[:3]}"
            self.lost["acknowledged"] += load.count
        there = kill.read_back(self.cluster.bootstrap, strict.topic)
        kill.compare(strict.acknowledged, there)
        for partition, records in enumerate(there):
            found = [[offset, struct.unpack(">Q", value[:8])[0]] for offset, value in records]
            history.line("final", "ok", "scan", tp=f"{strict.topic}-{partition}", r=found, lo=0, hw=len(found))
        for topic in topics:
            self.cluster.wait_in_sync(topic)
            kill.compare_replicas(self.cluster, topic)
        self.cluster.assert_no_panic()
        for topic in topics:
            self.cluster.cli("topic", "delete", topic)
        print(f"  {strict.count} acknowledged strict records read back once and in order, replicas of both topics are byte-identical; {history.check()}", flush=True)


def main():
    reason = missing()
    if reason is not None:
        raise Skipped(reason)
    losses = int(os.environ.get("LOSSES", 5))
    seed = int(os.environ.get("SEED", 1))
    print(f"  {losses} losses, SEED={seed}", flush=True)
    kill.RATE, kill.VALUE = RATE, VALUE
    with Cluster(properties=["log.segment.delete.delay.ms=1000"]) as cluster, Layers(cluster) as layers:
        scene = Scene(cluster, layers, seed * 1_000_000)
        cluster.start()
        for first in range(0, losses, GENERATION):
            scene.generation(first, min(GENERATION, losses - first))
        layer = scene.layer
        assert layer["bytes"] > 0 and layer["sectors_lost"] > 0 and layer["sectors_kept"] > 0 and layer["writes_torn"] > 0 and layer["names_lost"] > 0, \
            f"the losses took nothing: {layer}"
        print(f"  {scene.lost}; the layer: {layer}; longest until in sync {scene.longest:.1f} s", flush=True)


if __name__ == "__main__":
    main()
