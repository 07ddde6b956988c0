"""Where a fault takes place, and what every fault must leave behind: nothing acknowledged lost, the cluster healed, replicas
alike, no panic."""

import contextlib
import signal
import struct
import subprocess
import threading
import time

import confluent_kafka
import confluent_kafka.admin

import kill
import netns
import network
from cluster import Cluster, create_topic
from history import History

HANG = 60  # seconds after which something hangs
ACKNOWLEDGED_MIN = 200
RATE = 1_000
FAULT = 1 << 40  # joins a fault's two lines in the history
DISK = 4 << 30  # bytes of a machine's disk, which take room only where they are written
QUIET = {"log_level": 0}  # of librdkafka: what fails here is meant to fail
COMMITTED_ARE_GONE = "records that were committed are gone"


class Skipped(Exception):
    """This fault cannot be made here; says why."""


def until(what, condition, timeout=HANG):
    """What `condition` answers, as soon as that is true."""
    end, last = time.monotonic() + timeout, None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            last = error
        assert time.monotonic() < end, f"{what}: not within {timeout} s; last seen: {last}"
        time.sleep(0.1)


class Stage:
    """A running cluster: on machines of their own with a file system each, where `prefix` says that there are some, else on
    loopback, where `before` may give the words that stand before a node's command. As a context it starts and ends it."""

    def __init__(self, nodes=3, prefix=None, properties=(), racks=None, before=None):
        self.machines = netns.Machines(prefix, nodes) if prefix else None
        where = {"hosts": self.machines.hosts, "within": self.machines.within} if prefix else {}
        self.cluster = Cluster(nodes=nodes, properties=properties, racks=racks, **where)
        self.nodes = range(nodes)
        if before:
            self.cluster.within = [before(self.cluster.home(node)) for node in self.nodes]
        self.frozen = set()
        self.mounts = []
        if prefix:
            for node in self.nodes:
                network.mount(self.cluster.home(node), DISK)
                self.mounts.append(self.disk(node))

    def small_disk(self, path, size):
        """A file system of so many bytes, in memory."""
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
        self.mounts.append(str(path))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stop(keep=kind is not None)

    def start(self):
        self.cluster.start(wait=False)
        for node in self.nodes:
            self.cluster.wait_ready(node)

    def freeze(self, node):
        """Every write and sync of the node's disk hangs, and nothing is refused."""
        subprocess.run(["fsfreeze", "-f", self.disk(node)], check=True)
        self.frozen.add(node)

    def thaw(self, node):
        subprocess.run(["fsfreeze", "-u", self.disk(node)], check=True)
        self.frozen.discard(node)

    def disk(self, node):
        return str(self.cluster.home(node) / "disk")

    def heal(self):
        """Ends whatever was done: links, disks, stopped and dead processes."""
        if self.machines:
            self.machines.heal()
        for node in list(self.frozen):
            self.thaw(node)
        dead = []
        for node in self.nodes:
            process = self.cluster.processes.get(node)
            if process is None or process.poll() is not None:
                dead.append(node)
            else:
                process.send_signal(signal.SIGCONT)
        if dead:
            self.cluster.start(*dead, wait=False)
            for node in dead:
                self.cluster.wait_ready(node, HANG)

    def stop(self, keep):
        with contextlib.suppress(Exception):
            for node in list(self.frozen):
                self.thaw(node)
            if self.machines:
                self.machines.heal()
        for process in self.cluster.processes.values():
            process.send_signal(signal.SIGCONT)
        self.cluster.stop(keep=True)
        for path in self.mounts:
            subprocess.run(["umount", path], check=False)
        if keep:
            print(f"  the nodes' data and logs are kept in {self.cluster.directory}")
        else:
            self.cluster.stop()


PADDING = bytes(kill.VALUE - 8)


def number_of(value):
    """What a record says; `None` where it is not what a producer of ours has sent."""
    return struct.unpack(">Q", value[:8])[0] if value[8:] == PADDING else None


class Load(network.Load):
    """Writes down each record before it is sent, and what became of it."""

    def __init__(self, bootstrap, topic, history):
        super().__init__(bootstrap, topic, **QUIET)
        self.history = history

    def run(self):
        self.started = time.monotonic()
        sequence = 0
        while not self.stopping.is_set():
            due = int((time.monotonic() - self.started) * kill.RATE)
            while sequence < due and not self.stopping.is_set() and len(self.producer) < 400_000:
                partition = sequence % kill.PARTITIONS
                self.history.line("send", "invoke", "producer", i=sequence + 1, tp=f"{self.topic}-{partition}", v=sequence)
                self.producer.produce(self.topic, struct.pack(">Q", sequence) + PADDING, partition=partition, on_delivery=self.on_delivery)
                sequence += 1
            self.producer.poll(0.005)
        self.sent = sequence
        self.left = self.producer.flush(120)

    def on_delivery(self, error, message):
        super().on_delivery(error, message)
        number = number_of(message.value()) + 1
        if error is not None:
            self.history.line("send", "info", "producer", i=number, err=str(error))
            return
        where = {} if message.offset() is None or message.offset() < 0 else {"off": message.offset()}
        self.history.line("send", "ok", "producer", i=number, **where)


class Reader(threading.Thread):
    """A consumer without a group that is there during the whole fault."""

    def __init__(self, bootstrap, topic, history):
        super().__init__(daemon=True)
        self.topic, self.history = topic, history
        self.records = [[] for _ in range(kill.PARTITIONS)]  # (offset, value)
        self.errors = []
        self.stopping = threading.Event()
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error",
            "fetch.wait.max.ms": 50, **QUIET})
        history.line("assign", "ok", "reader", tps=[f"{topic}-{p}" for p in range(kill.PARTITIONS)])
        self.consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(kill.PARTITIONS)])

    def run(self):
        while not self.stopping.is_set():
            polled = {}
            for message in self.consumer.consume(500, 0.2):
                if message.error():
                    self.errors.append(message.error())
                else:
                    record = (message.offset(), message.value())
                    self.records[message.partition()].append(record)
                    epoch = message.leader_epoch()
                    polled.setdefault(message.partition(), []).append(
                        [record[0], number_of(record[1]), *([epoch] if epoch is not None and epoch >= 0 else [])])
            for partition, records in polled.items():
                self.history.line("poll", "ok", "reader", tp=f"{self.topic}-{partition}", r=records)
        self.consumer.close()

    def finish(self, there):
        """It must have read exactly what is there, each record once: nothing that it saw has gone or changed since."""
        try:
            until("the consumer has read what is there",
                  lambda: all(len(mine) >= len(all_) for mine, all_ in zip(self.records, there)))
        except AssertionError as error:
            read = [(len(mine), len(all_)) for mine, all_ in zip(self.records, there)]
            raise AssertionError(f"{error}; (read, there) {read}, errors {self.errors[:3]}") from None
        finally:
            self.stopping.set()
            self.join(HANG)
        for partition, (mine, all_) in enumerate(zip(self.records, there)):
            assert mine == all_, f"partition {partition}: a consumer saw other records than are there now"
        lost = [e for e in self.errors if e.code() in (confluent_kafka.KafkaError._AUTO_OFFSET_RESET,
                                                      confluent_kafka.KafkaError.OFFSET_OUT_OF_RANGE)]
        assert not lost, f"a consumer was told that its offset is not there: {lost[:3]}"


class Trial:
    """A topic with a producer and a consumer while a fault is made. Leaving it heals the cluster and checks everything."""

    def __init__(self, stage, topic, rate=RATE, configs=(), assignment=None):
        self.stage, self.cluster, self.topic = stage, stage.cluster, topic
        kill.RATE = rate
        if assignment:
            admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.cluster.bootstrap, **QUIET})
            new = confluent_kafka.admin.NewTopic(topic, kill.PARTITIONS, replica_assignment=assignment)
            admin.create_topics([new])[topic].result(HANG)
            self.cluster.wait_in_sync(topic)
        else:
            create_topic(self.cluster, topic, kill.PARTITIONS, configs)
        self.history = History(self.cluster.directory / f"{topic}.history", load=f"tests/faults {topic}", keeps=True, ordered=True)
        self.load = Load(self.cluster.bootstrap, topic, self.history)
        self.reader = Reader(self.cluster.bootstrap, topic, self.history)
        self.noted = []

    def __enter__(self):
        self.load.start()
        self.reader.start()
        until("records are acknowledged", lambda: self.load.count > ACKNOWLEDGED_MIN)
        self.began = time.monotonic()
        self.history.line("fault", "begin", "main", i=FAULT, name=self.topic)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.settle()
        self.load.stopping.set()
        self.reader.stopping.set()

    def partitions(self):
        now = {p["partition"]: p for p in self.cluster.topic(self.topic)["partitions"]}
        for number, p in now.items():
            if p["leader"] >= 0:
                self.history.line("leader", "ok", "main", tp=f"{self.topic}-{number}", ep=p["leader_epoch"], node=p["leader"])
        return now

    def all_know_the_same(self):
        def known(node):
            return [(p["partition"], p["leader"], p["leader_epoch"], sorted(p["isr"])) for p in self.cluster.topic(self.topic, node)["partitions"]]

        first, *others = [known(node) for node in self.stage.nodes]
        return all(other == first for other in others)

    def leaders(self):
        return {number: p["leader"] for number, p in self.partitions().items()}

    def led_by(self, node):
        return [p for p, leader in self.leaders().items() if leader == node]

    def broker(self):
        """A node that leads partitions and not the metadata."""
        raft = self.cluster.raft_leader()
        return max((n for n in self.stage.nodes if n != raft), key=lambda n: len(self.led_by(n)))

    def acknowledged(self, partitions, since):
        """How many records of these partitions were acknowledged after a moment that were due after it."""
        return sum(1 for p, due, at in list(self.load.answered) if p in partitions and due > since and at > since)

    def note(self, text):
        self.noted.append(text)

    def settle(self):
        gaps = self.load.gaps(self.began)
        healing = time.monotonic()
        self.stage.heal()
        # A node that was cut off goes on believing what it knew before, all replicas in sync, until it hears of the others.
        until("all nodes know the same leaders", self.all_know_the_same)
        self.cluster.wait_in_sync(self.topic, HANG)
        if not self.load.stopping.is_set():
            before = self.load.count
            until("records are acknowledged again", lambda: self.load.count > before + ACKNOWLEDGED_MIN)
        healed = time.monotonic() - healing
        self.history.line("fault", "end", "main", i=FAULT)
        self.load.finish()
        assert not self.load.errors, f"{len(self.load.errors)} records failed, first: {self.load.errors[:3]}"
        there = kill.read_back(self.cluster.bootstrap, self.topic)
        kill.compare(self.load.acknowledged, there)
        self.reader.finish(there)
        self.cluster.wait_in_sync(self.topic, HANG)
        self.compare_replicas()
        self.cluster.assert_no_panic()
        for node in self.stage.nodes:
            lines = (self.cluster.home(node) / "ottla.log").read_text(errors="replace").splitlines()
            gone = [line for line in lines if COMMITTED_ARE_GONE in line]
            assert not gone, f"node {node} says: {gone[0]}"
        worst = f"{max(gaps.values()):.1f}" if len(gaps) == kill.PARTITIONS else "all of it"
        self.cluster.cli("topic", "delete", self.topic)
        for partition, records in enumerate(there):
            found = [[offset, number_of(value)] for offset, value in records]
            self.history.line("final", "ok", "scan", tp=f"{self.topic}-{partition}", r=found, lo=0, hw=len(found))
        self.note(self.history.check())
        self.note(f"{self.load.count} records, worst gap {worst} s, healed in {healed:.1f} s")

    def compare_replicas(self):
        """Byte for byte. A follower may lack for a moment what nobody waits for."""
        def differing():
            found = []
            for partition, p in self.partitions().items():
                logs = [self.cluster.log_bytes(node, self.topic, partition) for node in p["replicas"]]
                if any(log != logs[0] for log in logs):
                    found.append((partition, dict(zip(p["replicas"], map(len, logs)))))
            return found

        end = time.monotonic() + 10
        while found := differing():
            assert time.monotonic() < end, f"replicas of {self.topic} differ, bytes: {found}"
            time.sleep(0.2)

    def summary(self):
        return "; ".join(self.noted)
