"""What Apache Kafka answers to a batch, and what it stores of it: the same raw Produce requests go to both clusters.

Usage: produce.py KAFKA_DIRECTORY OTTLA_PORT OTTLA_DATA KAFKA_PORT KAFKA_DATA; the data are directories below which both have
their `topic-0` somewhere. Prints what differs.
"""

import gzip
import pathlib
import re
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "clients"))
from rawkafka import batch, produce, record, request, string  # noqa: E402

NOW = int(time.time() * 1000)
HOUR = 3_600_000
GZIP, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 1, 8, 16, 32


def plain(count=2, key=b"k", value=b"v" * 200, **more):
    payload = b"".join(record(i, key, value) for i in range(count))
    return batch(payload, more.pop("attributes", 0), more.pop("count", count), more.pop("timestamp", NOW), **more)


def gzipped(count=2, key=b"k", value=b"v" * 200, **more):
    payload = b"".join(record(i, key, value) for i in range(count))
    return batch(gzip.compress(payload), GZIP | more.pop("attributes", 0), count, NOW, **more)


def damaged(data, at=-1):
    data = bytearray(data)
    data[at] ^= 1
    return bytes(data)


def mixed():
    """A record without a key, and one whose time is two hours ahead."""
    return batch(record(0, None, b"v") + record(1, b"k", b"v", 2 * HOUR), 0, 2, NOW)


# (name, topic's configs, records, acks)
CASES = [
    ("plain", {}, plain(), -1),
    ("gzip", {}, gzipped(), -1),
    ("no records", {}, b"", -1),
    ("null", {}, None, -1),
    ("half a header", {}, plain()[:40], -1),
    ("half a batch", {}, plain()[:-5], -1),
    ("two batches", {}, plain() + plain(), -1),
    ("acks 2", {}, plain(), 2),
    ("wrong CRC", {}, damaged(plain()), -1),
    ("damaged gzip", {}, batch(damaged(gzip.compress(record(0, b"k", b"v")), 12), GZIP, 1, NOW), -1),
    ("magic 1", {}, plain(magic=1), -1),
    ("magic 3", {}, plain(magic=3), -1),
    ("base offset 5", {}, plain(base_offset=5), -1),
    ("three counted, two there", {}, batch(record(0, b"k", b"v") + record(1, b"k", b"v"), 0, 3, NOW), -1),
    ("one counted, two there", {}, batch(record(0, b"k", b"v") + record(1, b"k", b"v"), 0, 1, NOW), -1),
    ("count 0", {}, batch(b"", 0, 0, NOW), -1),
    ("control", {}, plain(attributes=CONTROL), -1),
    ("codec 7", {}, plain(attributes=7), -1),
    ("producer without sequence", {}, plain(producer=(7, 0, -1)), -1),
    ("wrong max timestamp", {}, plain(max_timestamp=5), -1),
    ("two hours ahead", {}, plain(timestamp=NOW + 2 * HOUR), -1),
    ("two hours ahead, allowed", {"message.timestamp.after.max.ms": 3 * HOUR}, plain(timestamp=NOW + 2 * HOUR), -1),
    ("too old", {"message.timestamp.before.max.ms": HOUR}, plain(timestamp=NOW - 2 * HOUR), -1),
    ("old, gzip", {"message.timestamp.before.max.ms": HOUR}, gzipped(max_timestamp=NOW), -1),
    ("no timestamp", {"message.timestamp.before.max.ms": HOUR}, plain(timestamp=-1), -1),
    ("compact, keys", {"cleanup.policy": "compact"}, plain(), -1),
    ("compact, no keys", {"cleanup.policy": "compact"}, plain(key=None, count=5), -1),
    ("compact, no keys, gzip", {"cleanup.policy": "compact,delete"}, gzipped(key=None), -1),
    ("compact, one without key, one out of time", {"cleanup.policy": "compact"}, mixed(), -1),
    ("too large", {"max.message.bytes": 300}, plain(), -1),
    ("too large once stored", {"max.message.bytes": 300, "compression.type": "uncompressed"}, gzipped(), -1),
    ("small enough once stored", {"max.message.bytes": 700, "compression.type": "gzip"}, plain(), -1),
    ("append time", {"message.timestamp.type": "LogAppendTime"}, plain(timestamp=5), -1),
    ("append time, gzip", {"message.timestamp.type": "LogAppendTime"}, gzipped(), -1),
    ("append time, said by the client", {"message.timestamp.type": "LogAppendTime"}, plain(attributes=LOG_APPEND_TIME), -1),
    ("append time, to zstd", {"message.timestamp.type": "LogAppendTime", "compression.type": "zstd"}, gzipped(), -1),
    *[(f"to {codec}", {"compression.type": codec}, data, -1)
      for codec in ("uncompressed", "gzip", "snappy", "lz4", "zstd") for data in (plain(20), gzipped(20))],
    *[(f"gzip at level {level}", {"compression.type": "gzip", "compression.gzip.level": level}, plain(50), -1) for level in (1, 9)],
]

# Where Apache Kafka trips over what was sent, and Ottla refuses it with the code of what is wrong.
TRIPS = {"null": "does not answer", "damaged gzip": "UNKNOWN_SERVER_ERROR", "codec 7": "UNKNOWN_SERVER_ERROR"}


class Cluster:
    """The node that is asked, node 0, leads every topic here."""

    def __init__(self, port, data):
        self.port, self.data, self.socket = port, pathlib.Path(data), None

    def call(self, request):
        """The answer behind its correlation id; None if the connection is closed instead, or nothing comes."""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        try:
            self.socket.sendall(request)
            head = self.socket.recv(4, socket.MSG_WAITALL)
            if head:
                return self.socket.recv(struct.unpack(">i", head)[0], socket.MSG_WAITALL)[4:]
        except OSError:
            pass
        self.socket.close()
        self.socket = None
        return None

    def create(self, topic, configs):
        body = struct.pack(">i", 1) + string(topic) + struct.pack(">ihii", -1, -1, 1, 0)
        body += struct.pack(">iiii", 3, 0, 1, 2) + struct.pack(">i", len(configs))
        for name, value in configs.items():
            body += string(name) + string(str(value))
        answer = self.call(request(19, 4, body + struct.pack(">ib", 10_000, 0)))
        error = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic))[0]
        assert error == 0, f"{topic} {configs}: {error}"

    def ask(self, topic, records, acks):
        """Error, positions in record errors, base offset, log append time."""
        answer = self.call(produce(topic, 0, records, acks))
        if answer is None:
            return "no answer", [], -1, -1
        at = 4 + 2 + len(topic) + 4 + 4
        error, base, append_time, _ = struct.unpack_from(">hqqq", answer, at)
        at += 26
        errors = []
        count = struct.unpack_from(">i", answer, at)[0]
        at += 4
        for _ in range(max(count, 0)):
            index, size = struct.unpack_from(">ih", answer, at)
            errors.append(index)
            at += 6 + max(size, 0)
        return error, errors, base, append_time

    def stored(self, kafka, topic):
        """The dump of the leader's first segment, but for what each cluster chooses."""
        logs = sorted(self.data.glob(f"**/{topic}-0/00000000000000000000.log"), key=lambda f: -f.stat().st_size)
        dump = subprocess.run([f"{kafka}/bin/kafka-dump-log.sh", "--files", logs[0]], capture_output=True, text=True).stdout
        return re.sub(r"(LogAppendTime: )\d+|(size: )\d+|(crc: )\d+|(position: )\d+", r"\1\2\3\4…",
                      "\n".join(line for line in dump.splitlines() if line.startswith("baseOffset")))


def until_led(cluster, topic, records, acks):
    for _ in range(100):
        answer = cluster.ask(topic, records, acks)
        if answer[0] not in (3, 5, 6):
            return answer
        time.sleep(0.1)
    raise RuntimeError(f"no leader of {topic}")


def main():
    kafka, ottla_port, ottla_data, kafka_port, kafka_data = sys.argv[1:]
    clusters = [Cluster(int(kafka_port), kafka_data), Cluster(int(ottla_port), ottla_data)]
    # One topic for each set of configs.
    topics = {}
    for _, configs, _, _ in CASES:
        key = tuple(sorted(configs.items()))
        if key not in topics:
            topics[key] = f"produce-{len(topics)}"
            for cluster in clusters:
                cluster.create(topics[key], configs)
    failed = 0

    def compare(name, theirs, ours):
        nonlocal failed
        if theirs == ours:
            print(f"same: {name}: {ours}")
        elif name in TRIPS and theirs[0] in ("no answer", -1) and ours[0] > 0:
            print(f"better: {name}: Apache Kafka {TRIPS[name]}, Ottla {ours}")
        else:
            failed += 1
            print(f"DIFFERENT: {name}\n  Apache Kafka: {theirs}\n  Ottla:        {ours}")

    for name, configs, records, acks in CASES:
        answers = [until_led(c, topics[tuple(sorted(configs.items()))], records, acks) for c in clusters]
        # A time is compared by whether it is one.
        compare(name, *[(error, errors, base, "a time" if at > 0 else at) for error, errors, base, at in answers])
    for configs, topic in topics.items():
        compare(f"stored in {topic} {dict(configs)}", *[c.stored(kafka, topic) for c in clusters])
    again = plain(producer=(77, 0, 0))
    topic = topics[(("message.timestamp.type", "LogAppendTime"),)]
    for cluster in clusters:
        first = cluster.ask(topic, again, -1)
        time.sleep(0.05)
        compare("a duplicate is answered as the original", first, cluster.ask(topic, again, -1))
    print(f"{failed} different")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
