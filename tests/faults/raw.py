"""Requests that no client library sends, to one node, and the few fields of their answers that faults ask for."""

import socket
import struct

import duplicates
import raw_requests

NONE, NOT_LEADER, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_AFTER_APPEND, REQUEST_TIMED_OUT = 0, 6, 19, 20, 7
FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, UNKNOWN_TOPIC_ID = 74, 75, 100
STORAGE_ERROR = 56
# Where the partition's error is in a Fetch answer of version 11, but for the topic's name.
FETCH_11 = 4 + 4 + 2 + 4 + 4 + 2 + 4 + 4


class Node(raw_requests.Broker):
    """One connection to a node; a request at a time. `None` for an answer that did not come in time."""

    def __init__(self, cluster, node, timeout=10):
        self.host, self.timeout = cluster.hosts[node], timeout
        super().__init__(cluster.ports[node])

    def connect(self):
        self.socket = socket.create_connection((self.host, self.port), self.timeout)

    def send(self, key, version, values):
        try:
            return super().send(key, version, values)
        except OSError:
            return None

    def produce(self, topic, partition, value, timeout_ms=2000, topic_id=None):
        """One record, acks=all: see `append`."""
        return self.append(topic, partition, raw_requests.batch(value=value), timeout_ms, topic_id)

    def append(self, topic, partition, records, timeout_ms=2000, topic_id=None):
        """(error, base offset), or `None`. With `topic_id`, version 13, else 8."""
        version = 8 if topic_id is None else 13
        answer = self.send(0, version, {"transactional_id": None, "acks": -1, "timeout_ms": timeout_ms, "topics": [
            {"name": topic, "topic_id": topic_id, "partitions": [{"index": partition, "records": records}]}]})
        if answer is None:
            return None
        if version == 8:
            at = 4 + 4 + 2 + len(topic) + 4 + 4
        else:
            at = 4 + 1 + 1 + 16 + 1 + 4
        return struct.unpack_from(">hq", answer, at)

    def fetch(self, topic, partition, offset, current_leader_epoch=-1, topic_id=None):
        """(error, high watermark, bytes from there on), or `None`. With `topic_id`, version 13, else 11."""
        version = 11 if topic_id is None else 13
        answer = self.ask_fetch(version, topic, topic_id, partition, offset, current_leader_epoch)
        if answer is None:
            return None
        at = FETCH_11 + len(topic) if version == 11 else 4 + 1 + 4 + 2 + 4 + 1 + 16 + 1 + 4
        error, high_watermark = struct.unpack_from(">hq", answer, at)
        # What is left of an answer without records is shorter.
        return error, high_watermark, len(answer) - at

    def first_batch(self, topic, partition, offset):
        """Base offset and last offset of the first batch that a fetch from there answers; `None` where it is refused."""
        answer = self.ask_fetch(11, topic, None, partition, offset, -1)
        at = FETCH_11 + len(topic)
        error, = struct.unpack_from(">h", answer, at)
        if error in (NOT_LEADER, STORAGE_ERROR):
            return None
        assert error == NONE, f"a fetch of {topic}-{partition} from {offset}: error {error}"
        at += 2 + 8 + 8 + 8
        aborted, = struct.unpack_from(">i", answer, at)
        at += 4 + 16 * max(aborted, 0) + 4
        size, base = struct.unpack_from(">iq", answer, at)
        assert size > 61, f"a fetch of {topic}-{partition} from {offset} answers {size} bytes"
        return base, base + struct.unpack_from(">i", answer, at + 4 + 23)[0]

    def ask_fetch(self, version, topic, topic_id, partition, offset, current_leader_epoch):
        return self.send(1, version, {
            "replica_id": -1, "max_wait_ms": 200, "min_bytes": 1, "max_bytes": 1 << 20, "isolation_level": 0, "session_id": 0,
            "session_epoch": -1, "rack_id": "", "forgotten": [], "topics": [{"name": topic, "topic_id": topic_id, "partitions": [
                {"index": partition, "current_leader_epoch": current_leader_epoch, "fetch_offset": offset, "last_fetched_epoch": -1,
                 "log_start_offset": -1, "partition_max_bytes": 1 << 20}]}]})

    def list_offsets(self, topic, partition, current_leader_epoch=-1):
        """(error, end offset), or `None`."""
        answer = self.send(2, 4, {"replica_id": -1, "isolation_level": 0, "topics": [{"name": topic, "partitions": [
            {"index": partition, "current_leader_epoch": current_leader_epoch, "timestamp": -1}]}]})
        if answer is None:
            return None
        at = 4 + 4 + 4 + 2 + len(topic) + 4 + 4
        error, _, offset = struct.unpack_from(">hqq", answer, at)
        return error, offset

    def reassign(self, topic, moves):
        """Asks for other replicas: {partition: nodes, in order of preference}."""
        partitions = [{"index": partition, "replicas": nodes} for partition, nodes in moves.items()]
        return self.send(45, 0, {"timeout_ms": 10_000, "topics": [{"name": topic, "partitions": partitions}]})

    def elect_preferred(self, topic, partitions):
        return self.send(43, 2, {"election_type": 0, "timeout_ms": 10_000, "topics": [{"name": topic, "partitions": partitions}]})

    def topic_id(self, topic):
        return raw_requests.topic_id(self, topic)

    def elr(self, topic):
        """Per partition (leader, ISR, ELR), from DescribeTopicPartitions."""
        answer = self.send(75, 0, {"topics": [{"name": topic}], "limit": 2000, "cursor": None})
        reader = duplicates.Reader(answer)
        reader.skip(4 + 1 + 4)
        assert reader.array(True) == 1
        error = reader.take("h")
        assert error == 0, f"DescribeTopicPartitions: error {error}"
        reader.string(True)
        reader.skip(16 + 1)
        found = {}
        for _ in range(reader.array(True)):
            reader.take("h")
            index, leader, _ = (reader.take("i") for _ in range(3))
            _, isr, elr, _, _ = ([reader.take("i") for _ in range(reader.array(True))] for _ in range(5))
            reader.tags(True)
            found[index] = (leader, isr, elr)
        return found

