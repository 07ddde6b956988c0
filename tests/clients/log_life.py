"""Retention under load and kill -9: old segments go on every node, nothing newer does; a topic is deleted and made again."""

import struct
import time

import confluent_kafka

from cluster import Cluster, create_topic
from kill import PARTITIONS, VALUE, Load

SEGMENT = 1 << 20
KEPT = 3_000_000
DELAY = 1.0
NEEDED = 150_000  # records: about 10 MB a partition


def read_back(bootstrap, topic):
    """What is left of the topic: per partition the first offset and a list of (offset, value)."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                                         "enable.partition.eof": True, "fetch.wait.max.ms": 50})
    starts = [consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, p), timeout=20)[0]
              for p in range(PARTITIONS)]
    consumer.assign([confluent_kafka.TopicPartition(topic, p, starts[p]) for p in range(PARTITIONS)])
    records, ended = [[] for _ in range(PARTITIONS)], set()
    end = time.monotonic() + 120
    while len(ended) < PARTITIONS:
        assert time.monotonic() < end, f"reading back hangs at {[len(r) for r in records]}"
        for message in consumer.consume(5000, timeout=1):
            if not message.error():
                records[message.partition()].append((message.offset(), message.value()))
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise AssertionError(message.error())
    consumer.close()
    return starts, records


def check_records(acknowledged, starts, records):
    """Every acknowledged record from the log start on is at its offset, and offsets go on without a hole."""
    for partition in range(PARTITIONS):
        found = {offset: struct.unpack(">Q", value[:8])[0] for offset, value in records[partition]}
        lost = [(s, o) for s, o in acknowledged[partition] if o >= starts[partition] and found.get(o) != s]
        assert not lost, f"partition {partition}: {len(lost)} acknowledged records above {starts[partition]} are not there: {lost[:3]}"
        offsets = [offset for offset, _ in records[partition]]
        assert offsets == list(range(starts[partition], starts[partition] + len(offsets))), f"partition {partition} has holes"


def segments(cluster, index, topic, partition):
    home = cluster.home(index) / "data" / f"{topic}-{partition}"
    return {f.name: f for f in home.iterdir() if f.suffix == ".log"}


def check_files(cluster, topic, starts):
    """Until each node has what retention keeps and no more, and what it keeps is the same everywhere."""
    end = time.monotonic() + 30
    while True:
        problems = []
        for partition in range(PARTITIONS):
            nodes = [segments(cluster, index, topic, partition) for index in range(3)]
            for index, files in enumerate(nodes):
                size = sum(f.stat().st_size for f in files.values())
                if size > KEPT + 2 * SEGMENT:
                    problems.append(f"node {index} keeps {size} bytes of partition {partition}")
                if any(f.name.endswith(".deleted") for f in (cluster.home(index) / "data" / f"{topic}-{partition}").iterdir()):
                    problems.append(f"node {index} still has deleted files of partition {partition}")
                base = int(min(files)[:-4])
                if base > starts[partition]:
                    problems.append(f"node {index}: partition {partition} begins at {base}, behind {starts[partition]}")
            common = set(nodes[0]) & set(nodes[1]) & set(nodes[2])
            if not common or any(len({files[name].read_bytes() for files in nodes}) > 1 for name in common):
                problems.append(f"the replicas of partition {partition} differ in {sorted(common)}")
        if not problems:
            return
        assert time.monotonic() < end, "\n".join(problems)
        time.sleep(0.3)


def retention_under_kills(cluster):
    create_topic(cluster, "kept", PARTITIONS,
                 [f"segment.bytes={SEGMENT}", f"retention.bytes={KEPT}", f"file.delete.delay.ms={int(DELAY * 1000)}"])
    load = Load(cluster.bootstrap, "kept")
    load.start()
    for victim in range(3):
        time.sleep(4)
        cluster.kill(victim)
        time.sleep(2)
        cluster.start(victim)
        cluster.wait_in_sync("kept")
    while load.count < NEEDED:
        time.sleep(0.2)
    load.finish()
    assert not load.errors, f"{len(load.errors)} records failed, first: {load.errors[:3]}"
    cluster.wait_in_sync("kept")
    time.sleep(DELAY + 2)
    starts, records = read_back(cluster.bootstrap, "kept")
    assert all(start > 0 for start in starts), f"retention did nothing: {starts}"
    check_records(load.acknowledged, starts, records)
    check_files(cluster, "kept", starts)
    print(f"  {load.count} records, {load.count * VALUE / 1e6:.0f} MB written, three kills; log starts {starts}, "
          f"{sum(map(len, records))} records left, none missing, the same files on 3 nodes")


def made_again(cluster):
    """The same name, another topic: its offsets begin at 0, and no file of the old one is taken for its own."""
    cluster.cli("topic", "delete", "kept")
    create_topic(cluster, "kept", PARTITIONS, [f"segment.bytes={SEGMENT}"])
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
    for number in range(PARTITIONS * 100):
        producer.produce("kept", struct.pack(">Q", number), partition=number % PARTITIONS)
    assert producer.flush(60) == 0
    for index in range(3):
        cluster.kill(index)
    cluster.start()
    cluster.wait_in_sync("kept")
    time.sleep(DELAY + 2)
    starts, records = read_back(cluster.bootstrap, "kept")
    assert starts == [0] * PARTITIONS and [len(r) for r in records] == [100] * PARTITIONS, (starts, [len(r) for r in records])
    left = [f.name for index in range(3) for f in (cluster.home(index) / "data").iterdir() if f.name.endswith("-delete")]
    assert not left, f"files of the deleted topic are left: {left}"


def main():
    with Cluster(properties=["log.retention.check.interval.ms=500"]) as cluster:
        cluster.start()
        retention_under_kills(cluster)
        made_again(cluster)
        cluster.assert_no_panic()


if __name__ == "__main__":
    main()
