"""kill -9 of each node in turn under load, the Raft leader among them: nothing acknowledged is lost, nothing is there
twice, order is kept, replicas are byte-identical."""

import collections
import struct
import threading
import time

import confluent_kafka

from cluster import Cluster, create_topic

PARTITIONS = 6
VALUE = 400
FULL_RATE = 8_000  # records a second: 3.2 MB/s, over the required 1 MB/s
RATE = FULL_RATE  # Others set their own.
KILLS = 5
ACKNOWLEDGED_MIN = 200_000
BYTES_PER_SECOND_MIN = 1_000_000


class Load(threading.Thread):
    """One idempotent librdkafka producer at a steady rate; remembers what was acknowledged and where."""

    def __init__(self, bootstrap, topic, **config):
        super().__init__(daemon=True)
        self.topic = topic
        self.producer = confluent_kafka.Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
             "queue.buffering.max.messages": 500_000, **config})
        self.acknowledged = [[] for _ in range(PARTITIONS)]  # (sequence, offset)
        self.count = 0
        self.sent = 0
        self.errors = []
        self.ack_times = collections.deque(maxlen=2_000_000)
        self.stopping = threading.Event()

    def on_delivery(self, error, message):
        if error is not None:
            self.errors.append(str(error))
            return
        sequence, = struct.unpack(">Q", message.value()[:8])
        self.acknowledged[message.partition()].append((sequence, message.offset()))
        self.count += 1
        self.ack_times.append(time.monotonic())

    def about_to_send(self, sequence):
        """For who writes it down."""

    def run(self):
        padding = bytes(VALUE - 8)
        sequence = 0
        started = time.monotonic()
        while not self.stopping.is_set():
            due = int((time.monotonic() - started) * RATE)
            while sequence < due and not self.stopping.is_set():
                self.about_to_send(sequence)
                try:
                    self.producer.produce(self.topic, struct.pack(">Q", sequence) + padding,
                                          partition=sequence % PARTITIONS, on_delivery=self.on_delivery)
                    sequence += 1
                except BufferError:
                    break
            self.producer.poll(0.005)
        self.sent = sequence
        self.left = self.producer.flush(120)

    def finish(self):
        self.stopping.set()
        self.join(180)
        assert not self.is_alive(), "the producer hangs"
        assert self.left == 0, f"{self.left} records were never answered"


def read_back(bootstrap, topic, partitions=PARTITIONS):
    """Every record of the topic: per partition a list of (offset, value)."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                                         "enable.partition.eof": True, "fetch.wait.max.ms": 50})
    consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(partitions)])
    records = [[] for _ in range(partitions)]
    ended = set()
    end = time.monotonic() + 120
    while len(ended) < partitions:
        assert time.monotonic() < end, f"reading back hangs at {[len(r) for r in records]}"
        for message in consumer.consume(5000, timeout=1):
            if message.error():
                if message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                    continue
                raise AssertionError(message.error())
            records[message.partition()].append((message.offset(), message.value()))
    consumer.close()
    return records


def compare(acknowledged, records):
    """Every acknowledged record at its offset; every sequence once and ascending. An idempotent librdkafka producer that has
    lost an answer learns from a later one that the record is there, and not at which offset."""
    problems = []
    for partition, (acks, found) in enumerate(zip(acknowledged, records)):
        by_offset = {offset: struct.unpack(">Q", value[:8])[0] for offset, value in found}
        there = set(by_offset.values())
        lost = [(s, o) for s, o in acks if (s not in there if o is None else by_offset.get(o) != s)]
        if lost:
            problems.append(f"partition {partition}: {len(lost)} acknowledged records are not at their offset, first {lost[:3]}")
        sequences = [struct.unpack(">Q", value[:8])[0] for _, value in found]
        if len(set(sequences)) != len(sequences):
            twice = [s for s, n in collections.Counter(sequences).items() if n > 1]
            problems.append(f"partition {partition}: {len(twice)} records are there twice, first {twice[:3]}")
        if sequences != sorted(sequences):
            problems.append(f"partition {partition}: order is broken")
        offsets = [offset for offset, _ in found]
        if offsets != list(range(len(offsets))):
            problems.append(f"partition {partition}: offsets have holes")
    assert not problems, "\n".join(problems)


def compare_replicas(cluster, topic, partitions=PARTITIONS):
    total = 0
    for partition in range(partitions):
        logs = [cluster.log_bytes(index, topic, partition) for index in range(len(cluster.ports))]
        assert all(log == logs[0] for log in logs), f"replicas of {topic}-{partition} differ: {[len(l) for l in logs]}"
        total += len(logs[0])
    return total


def main():
    with Cluster() as cluster:
        cluster.start()
        create_topic(cluster, "killed", PARTITIONS)
        load = Load(cluster.bootstrap, "killed")
        load.start()
        time.sleep(3)
        killed = []
        for round_number in range(KILLS):
            # Every second time the Raft leader, otherwise each node in turn.
            leader = cluster.raft_leader()
            victim = leader if round_number % 2 == 1 else [n for n in range(3) if n != leader][round_number // 2 % 2]
            before = load.count
            time.sleep(2)
            flowing = (load.count - before) * VALUE / 2
            assert flowing >= BYTES_PER_SECOND_MIN, f"only {flowing / 1e6:.2f} MB/s in flight before kill {round_number + 1}"
            killed_at = time.monotonic()
            cluster.kill(victim)
            killed.append(victim)
            time.sleep(2)
            cluster.start(victim)
            cluster.wait_in_sync("killed")
            times = [t for t in list(load.ack_times) if t > killed_at - 0.5]
            gap = max((b - a for a, b in zip(times, times[1:])), default=float("nan"))
            print(f"  killed node {victim}{' (Raft leader)' if victim == leader else ''} at {flowing / 1e6:.1f} MB/s, "
                  f"longest gap between acknowledgements {gap:.3f} s, in sync again after {time.monotonic() - killed_at:.1f} s")
        while load.count < ACKNOWLEDGED_MIN:
            time.sleep(0.2)
        load.finish()
        assert not load.errors, f"{len(load.errors)} records failed, first: {load.errors[:3]}"
        records = read_back(cluster.bootstrap, "killed")
        compare(load.acknowledged, records)
        cluster.wait_in_sync("killed")
        size = compare_replicas(cluster, "killed")
        cluster.assert_no_panic()
        assert load.count >= ACKNOWLEDGED_MIN and len(killed) >= KILLS
        print(f"  {load.count} acknowledged records, {len(killed)} kills ({killed}), all read back once and in order; "
              f"{size / 1e6:.0f} MB a replica, byte-identical on 3 nodes")


if __name__ == "__main__":
    main()
