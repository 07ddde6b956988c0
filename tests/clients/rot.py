"""Bytes that rot in rolled segments, on running nodes and on one that is down: a consumer from the beginning sees every
record once, the damaged replica is copied again by itself, and all are byte-identical afterwards."""

import os
import re
import threading
import time

import confluent_kafka

from cluster import Cluster, create_topic
from kill import read_back

RECORDS = 30_000
VALUE = 500
HEALED_MAX = 60
# The log is written in batches of some kilobytes, so a rolled segment holds many.
SEGMENT = 1_048_576


def produce(cluster, topic, first, count):
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 5,
                                         "enable.idempotence": True, "batch.size": 16_384})
    errors = []

    def done(error, _):
        if error is not None:
            errors.append(error)

    for number in range(first, first + count):
        while True:
            try:
                producer.produce(topic, f"{number:012}".encode().ljust(VALUE, b"."), partition=0, on_delivery=done)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    assert producer.flush(60) == 0 and not errors, errors[:3]


def segments(cluster, node, topic):
    return sorted((cluster.home(node) / "data" / f"{topic}-0").glob("*.log"))


def flip(cluster, node, topic, which=1):
    """One bit in the middle of a rolled segment, as the disk has it: nothing of the file is left in memory."""
    path = segments(cluster, node, topic)[which]
    with open(path, "r+b") as f:
        at = path.stat().st_size // 2
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))
        f.flush()
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def see_all(cluster, topic, count):
    """A consumer from the beginning: every record once, in order, each as it was."""
    records, = read_back(cluster.bootstrap, topic, 1)
    values = [value for _, value in records]
    assert [int(value[:12]) for value in values] == list(range(count)), f"{len(values)} of {count} records"
    assert all(len(value) == VALUE and set(value[12:]) == {ord(".")} for value in values), "a record is not what was sent"


def wait_identical(cluster, topic, seconds=HEALED_MAX):
    end = time.monotonic() + seconds
    while True:
        cluster.wait_in_sync(topic, seconds)
        logs = [cluster.log_bytes(node, topic, 0) for node in range(3)]
        if logs[0] == logs[1] == logs[2] and logs[0]:
            return
        assert time.monotonic() < end, f"replicas differ: {[len(log) for log in logs]} bytes"
        time.sleep(0.1)


def log_since(cluster, node, position):
    text = (cluster.home(node) / "ottla.log").read_text(errors="replace")
    return text[position:]


def said(cluster, node, position, words, seconds=HEALED_MAX):
    """Waits until the node has said this; answers its line."""
    end = time.monotonic() + seconds
    while True:
        for line in log_since(cluster, node, position).splitlines():
            if words in line:
                return line
        assert time.monotonic() < end, f"node {node} did not say {words!r}:\n{cluster.log_end(node)}"
        time.sleep(0.05)


def size_of_log(cluster, node):
    return len((cluster.home(node) / "ottla.log").read_text(errors="replace"))


def number(line, name):
    return int(re.search(rf"\b{name}=(-?\d+)", line).group(1))


def main():
    scrub = ["log.scrub.bytes.per.second=50000000", "log.scrub.interval.ms=1000"]
    with Cluster(properties=[f"log.segment.bytes={SEGMENT}", *scrub]) as cluster:
        cluster.start()
        create_topic(cluster, "rot", 1)
        produce(cluster, "rot", 0, RECORDS)
        wait_identical(cluster, "rot")
        whole = cluster.log_bytes(0, "rot", 0)
        count = RECORDS

        # 1 and 2: the scrub, on a follower and on the leader, while records come and are read.
        for role in ("follower", "leader"):
            leads = cluster.topic("rot")["partitions"][0]["leader"]
            node = leads if role == "leader" else (leads + 1) % 3
            position = size_of_log(cluster, node)
            flip(cluster, node, "rot")
            started = time.monotonic()
            writer = threading.Thread(target=produce, args=(cluster, "rot", count, 2000))
            writer.start()
            noticed = said(cluster, node, position, "the log is damaged on disk")
            noticed_after = time.monotonic() - started
            said(cluster, node, position, "was copied again and is whole")
            healed_after = time.monotonic() - started
            writer.join(120)
            assert not writer.is_alive(), "the producer hangs"
            count += 2000
            wait_identical(cluster, "rot")
            assert cluster.log_bytes(node, "rot", 0).startswith(whole), "not every byte as it was"
            see_all(cluster, "rot", count)
            if role == "leader":
                assert cluster.topic("rot")["partitions"][0]["leader"] != node, "the rotten leader leads on"
            print(f"  {role}: noticed after {noticed_after:.1f} s (its own word: last good {number(noticed, 'unnoticed_ms')} ms before), "
                  f"whole after {healed_after:.1f} s")

        # 3: a node that is down.
        leads = cluster.topic("rot")["partitions"][0]["leader"]
        node = (leads + 1) % 3
        cluster.kill(node)
        position = size_of_log(cluster, node)
        flip(cluster, node, "rot", 2)
        started = time.monotonic()
        cluster.start(node)
        said(cluster, node, position, "the log is damaged")
        noticed_after = time.monotonic() - started
        wait_identical(cluster, "rot")
        said(cluster, node, position, "was copied again and is whole")
        see_all(cluster, "rot", count)
        print(f"  down: noticed {noticed_after:.1f} s after its start, whole after {time.monotonic() - started:.1f} s")
        cluster.assert_no_panic()
        cluster.stop(keep=True)

        # 4: no scrub: a consumer from the beginning meets it.
        for index in range(3):
            config = cluster.home(index) / "server.properties"
            config.write_text(config.read_text().replace(scrub[0], "log.scrub.bytes.per.second=0"))
        cluster.start()
        cluster.wait_in_sync("rot")
        leads = cluster.topic("rot")["partitions"][0]["leader"]
        position = size_of_log(cluster, leads)
        flip(cluster, leads, "rot")
        started = time.monotonic()
        see_all(cluster, "rot", count)
        seen_after = time.monotonic() - started
        line = said(cluster, leads, position, "the log is damaged on disk")
        said(cluster, leads, position, "was copied again and is whole")
        wait_identical(cluster, "rot")
        assert cluster.topic("rot")["partitions"][0]["leader"] != leads
        print(f"  read: the consumer had all {count} records after {seen_after:.1f} s, whole after {time.monotonic() - started:.1f} s "
              f"(last good {number(line, 'unnoticed_ms')} ms before)")
        cluster.assert_no_panic()


if __name__ == "__main__":
    main()
