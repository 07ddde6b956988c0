"""Requests of every version, written from Kafka's protocol guide, for capture.py."""
import socket
import struct
import time

# API key: (first flexible version, fields). A field is (name, type, first version, last version); a type is a
# letter, a letter in a list (array), or a list of fields (array of structures).
S, N, B, H, I, Q, U, R = "string", "nullable string", "int8", "int16", "int32", "int64", "uuid", "records"
LAST = 99
SCHEMAS = {
    0: (9, [("transactional_id", N), ("acks", H), ("timeout_ms", I),
            ("topics", [("name", S, 0, 12), ("topic_id", U, 13),
                        ("partitions", [("index", I), ("records", R)])])]),
    1: (12, [("replica_id", I, 0, 14), ("max_wait_ms", I), ("min_bytes", I), ("max_bytes", I), ("isolation_level", B),
             ("session_id", I, 7), ("session_epoch", I, 7),
             ("topics", [("name", S, 0, 12), ("topic_id", U, 13),
                         ("partitions", [("index", I), ("current_leader_epoch", I, 9), ("fetch_offset", Q),
                                         ("last_fetched_epoch", I, 12), ("log_start_offset", Q, 5),
                                         ("partition_max_bytes", I)])]),
             ("forgotten", [("name", S, 0, 12), ("topic_id", U, 13), ("partitions", [I])], 7),
             ("rack_id", S, 11)]),
    2: (6, [("replica_id", I), ("isolation_level", B, 2),
            ("topics", [("name", S), ("partitions", [("index", I), ("current_leader_epoch", I, 4), ("timestamp", Q)])]),
            ("timeout_ms", I, 10)]),
    3: (9, [("topics", [("topic_id", U, 10), ("name", N)]), ("allow_auto_topic_creation", B, 4),
            ("cluster_operations", B, 8, 10), ("topic_operations", B, 8)]),
    10: (3, [("key", S, 0, 3), ("key_type", B, 1), ("keys", [S], 4)]),
    18: (3, [("software_name", S, 3), ("software_version", S, 3)]),
    19: (5, [("topics", [("name", S), ("num_partitions", I), ("replication_factor", H),
                         ("assignments", [("index", I), ("broker_ids", [I])]),
                         ("configs", [("name", S), ("value", N)])]), ("timeout_ms", I), ("validate_only", B)]),
    20: (4, [("topics", [("name", N), ("topic_id", U)], 6), ("names", [S], 0, 5), ("timeout_ms", I)]),
    21: (2, [("topics", [("name", S), ("partitions", [("index", I), ("offset", Q)])]), ("timeout_ms", I)]),
    22: (2, [("transactional_id", N), ("timeout_ms", I), ("producer_id", Q, 3), ("producer_epoch", H, 3)]),
    23: (4, [("replica_id", I, 3), ("topics", [("name", S), ("partitions", [("index", I), ("current_leader_epoch", I),
                                                                          ("leader_epoch", I)])])]),
    32: (4, [("resources", [("type", B), ("name", S), ("keys", [S])]), ("synonyms", B), ("documentation", B, 3)]),
    33: (2, [("resources", [("type", B), ("name", S), ("configs", [("name", S), ("value", N)])]), ("validate_only", B)]),
    35: (2, [("topics", [("name", S), ("partitions", [I])])]),
    37: (2, [("topics", [("name", S), ("count", I), ("assignments", [("broker_ids", [I])])]), ("timeout_ms", I),
             ("validate_only", B)]),
    43: (2, [("election_type", B, 1), ("topics", [("name", S), ("partitions", [I])]), ("timeout_ms", I)]),
    44: (1, [("resources", [("type", B), ("name", S), ("configs", [("name", S), ("operation", B), ("value", N)])]),
             ("validate_only", B)]),
    55: (0, [("topics", [("name", S), ("partitions", [("index", I)])])]),
    64: (0, [("broker", I)]),
    45: (0, [("timeout_ms", I), ("allow_factor_change", B, 1),
             ("topics", [("name", S), ("partitions", [("index", I), ("replicas", [I])])])]),
    46: (0, [("timeout_ms", I), ("topics", [("name", S), ("partitions", [I])])]),
    60: (0, [("cluster_operations", B), ("endpoint_type", B, 1), ("fenced", B, 2)]),
    75: (0, [("topics", [("name", S)]), ("limit", I), ("cursor", "cursor")]),
}
INTEGERS = {B: ">b", H: ">h", I: ">i", Q: ">q"}


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def length(count, flexible, form):
    return varint(count + 1) if flexible else struct.pack(form, count)


def encode(kind, value, version, flexible, tags=b"\0"):
    if isinstance(kind, list):
        if value is None:
            return length(-1, flexible, ">i")
        out = length(len(value), flexible, ">i")
        for item in value:
            out += structure(kind, item, version, flexible, tags) if isinstance(kind[0], tuple) else \
                encode(kind[0], item, version, flexible)
        return out
    if kind in INTEGERS:
        return struct.pack(INTEGERS[kind], value)
    if kind == U:
        return value
    if kind in (S, N, R):
        data = value.encode() if isinstance(value, str) else value
        form = ">i" if kind == R else ">h"
        return length(-1, flexible, form) if data is None else length(len(data), flexible, form) + data
    if kind == "cursor":
        return b"\xff" if value is None else b"\1" + encode(S, value[0], version, True) + struct.pack(">i", value[1]) + b"\0"
    raise ValueError(kind)


def structure(fields, values, version, flexible, tags=b"\0"):
    out = b""
    for name, kind, *since in fields:
        first, last = (list(since) + [0, LAST][len(since):]) if since else (0, LAST)
        if first <= version <= last:
            out += encode(kind, values[name], version, flexible, tags)
    return out + (tags if flexible else b"")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def batch(key=b"k", value=b"value", producer_id=-1, epoch=-1, sequence=-1):
    """A record batch v2 with one record."""
    def signed(number):
        return varint(number << 1 if number >= 0 else (-number << 1) - 1)
    record = b"\0" + signed(0) + signed(0)
    record += signed(-1) if key is None else signed(len(key)) + key
    record += signed(len(value)) + value + signed(0)
    record = signed(len(record)) + record
    now = int(time.time() * 1000)
    tail = struct.pack(">hiqqqhii", 0, 0, now, now, producer_id, epoch, sequence, 1) + record
    return struct.pack(">qiib", 0, len(tail) + 9, -1, 2) + struct.pack(">I", crc32c(tail)) + tail


class Broker:
    """One connection; a request at a time."""

    def __init__(self, port):
        self.port, self.correlation = port, 0
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), 5)

    def send(self, key, version, values, tags=b"\0", after=b""):
        """The response frame, or None if the broker closes the connection."""
        flexible_from, fields = SCHEMAS[key]
        flexible = version >= flexible_from
        self.correlation += 1
        frame = struct.pack(">hhi", key, version, self.correlation) + struct.pack(">h", 3) + b"raw"
        frame += (b"\0" if flexible else b"") + structure(fields, values, version, flexible, tags) + after
        try:
            self.socket.sendall(struct.pack(">i", len(frame)) + frame)
            return self.read(int.from_bytes(self.read(4), "big"))
        except (ConnectionError, TimeoutError) as error:
            print(f"[raw] key {key} version {version}: {error!r}")
            self.socket.close()
            self.connect()
            return None

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("closed")
            data += piece
        return data


def wait_for_brokers(ports):
    for port in ports:
        for _ in range(120):
            try:
                Broker(port).send(18, 0, {})
                break
            except OSError:
                time.sleep(1)


def drive(recorder, ports):
    import raw_groups  # which builds on what is here
    brokers = [Broker(port) for port in ports]
    first = brokers[0]
    first.send(20, 5, {"names": ["raw", "solo", "kcat", "rdk", "kpy"], "timeout_ms": 9000})  # of an earlier capture
    time.sleep(3)
    recorder.client = "raw"

    for version in range(5):
        first.send(18, version, {"software_name": "raw", "software_version": "1"})
    first.send(18, 99, {"software_name": "raw", "software_version": "1"})
    for version in range(2, 8):
        topic = {"name": f"raw-{version}", "num_partitions": 1, "replication_factor": 3, "assignments": [],
                 "configs": [{"name": "cleanup.policy", "value": "compact"}] if version == 7 else []}
        bad = dict(topic, name="bad/name")
        placed = dict(topic, name=f"placed-{version}", num_partitions=-1, replication_factor=-1,
                      assignments=[{"index": 0, "broker_ids": [0, 1, 2]}])
        for topics, validate in (([topic], 0), ([topic, bad], 0), ([placed], 1)):
            first.send(19, version, {"topics": topics, "timeout_ms": 9000, "validate_only": validate})
    plain = {"name": "raw", "num_partitions": 3, "replication_factor": 3, "assignments": [], "configs": []}
    first.send(19, 7, {"topics": [plain], "timeout_ms": 9000, "validate_only": 0})
    solo = dict(plain, name="solo", num_partitions=-1, replication_factor=-1, assignments=[{"index": 0, "broker_ids": [0]}])
    first.send(19, 7, {"topics": [solo], "timeout_ms": 9000, "validate_only": 0})
    time.sleep(3)
    ids = {name: topic_id(first, name) for name in ("raw", "raw-7", "solo")}
    recorder.client = "warm-up"
    leaders = [leader(first, "raw", partition) for partition in range(3)]
    recorder.client = "raw"
    produce(brokers, ids, leaders[0])
    fetch(brokers, ids, leaders[0])
    metadata(first, ids)
    for version in range(1, 11):
        leading = brokers[leaders[0]]
        for timestamp, epoch in ((-1, -1), (-2, -1), (-3, -1), (0, -1), (-1, 77)):
            partition = {"index": 0, "current_leader_epoch": epoch, "timestamp": timestamp}
            leading.send(2, version, {"replica_id": -1, "isolation_level": 1, "timeout_ms": 900,
                                      "topics": [{"name": "raw", "partitions": [partition, dict(partition, index=9)]}]})
    for version in range(7):
        for key, kind in (("group", 0), ("transaction", 1)) if version else (("group", 0),):
            first.send(10, version, {"key": key, "key_type": kind, "keys": [key, key + "2"]})
    for version in range(6):
        for txn, pid in ((None, -1), (None, 5), ("raw-txn", -1)):
            first.send(22, version, {"transactional_id": txn, "timeout_ms": 30000, "producer_id": pid,
                                     "producer_epoch": -1 if pid < 0 else 0})
    for version in range(2, 5):
        for epoch, current in ((0, -1), (0, 0), (5, -1), (0, 9)):
            partition = {"index": 0, "current_leader_epoch": current, "leader_epoch": epoch}
            brokers[leaders[0]].send(23, version, {"replica_id": -1, "topics": [{"name": "raw", "partitions": [
                partition, dict(partition, index=7)]}]})
    for version in range(1, 5):
        for keys, synonyms, documentation in ((["retention.ms"], 0, 0), (["cleanup.policy", "segment.bytes"], 1, 1), (None, 0, 0)):
            first.send(32, version, {"resources": [{"type": 2, "name": "raw-7", "keys": keys}], "synonyms": synonyms,
                                     "documentation": documentation})
        first.send(32, version, {"resources": [{"type": 2, "name": "missing", "keys": None}], "synonyms": 0, "documentation": 0})
    alter_configs(first)
    create_partitions(first)
    delete_records(brokers, leaders)
    reassign(first, leaders[0])
    for version in range(1, 6):
        for topics in (None, [], [{"name": "raw", "partitions": [0, 7]}, {"name": "missing", "partitions": [0]}]):
            first.send(35, version, {"topics": topics})
    for version in range(3):
        for operations in (0, 1):
            first.send(60, version, {"cluster_operations": operations, "endpoint_type": 1, "fenced": 1})
    for version in range(3):
        for topic, partition in (("__cluster_metadata", 0), ("__cluster_metadata", 1), ("raw", 0)):
            first.send(55, version, {"topics": [{"name": topic, "partitions": [{"index": partition}]}]})
    first.send(64, 0, {"broker": 77})
    for topics, limit, cursor in ((["raw"], 2000, None), (["raw", "raw-7"], 2, None), (["raw"], 2, ("raw", 2)), (["missing"], 9, None)):
        first.send(75, 0, {"topics": [{"name": name} for name in topics], "limit": limit, "cursor": cursor})
    for version in range(1, 7):
        by_name = {"name": f"raw-{version + 1}", "topic_id": bytes(16)}
        first.send(20, version, {"topics": [by_name], "names": [by_name["name"]], "timeout_ms": 9000})
        first.send(20, version, {"topics": [{"name": None, "topic_id": b"\1" * 16}], "names": ["missing"], "timeout_ms": 9000})
    raw_groups.drive(recorder, brokers)
    recorder.client = "warm-up"
    answer = first.send(3, 9, {"topics": [], "allow_auto_topic_creation": 0, "cluster_operations": 0, "topic_operations": 0}, after=b"\1\2\3")
    print("[raw] bytes after a request:", "tolerated" if answer else "refused")


def produce(brokers, ids, leader_id):
    leading, other = brokers[leader_id], brokers[(leader_id + 1) % 3]

    def send(broker, version, topic, records, index=0, acks=-1):
        partitions = [{"index": index, "records": records}]
        broker.send(0, version, {"transactional_id": None, "acks": acks, "timeout_ms": 9000, "topics": [
            {"name": topic, "topic_id": ids.get(topic, b"\2" * 16), "partitions": partitions}]})

    for version in range(3, 14):
        send(leading, version, "raw", batch())
        send(leading, version, "raw", batch(value=b"idempotent", producer_id=4000 + version, epoch=0, sequence=0), acks=1)
        send(other, version, "raw", batch(value=b"to a follower"))
        send(brokers[1], version, "solo", batch(value=b"to a broker without a replica"))
        send(leading, version, "raw-7", batch(key=None, value=b"no key on a compacted topic"))
        send(brokers[leader(leading, "raw-7", 0)], version, "raw-7", batch(key=None, value=b"no key on a compacted topic"))
        send(leading, version, "missing", batch(value=b"no such topic, it seems"))


def fetch(brokers, ids, leader_id):
    leading, other = brokers[leader_id], brokers[(leader_id + 1) % 3]

    def send(broker, version, topic, offset, index=0, current=-1, last=-1, isolation=0, session=(0, -1), forgotten=()):
        partition = {"index": index, "current_leader_epoch": current, "fetch_offset": offset, "last_fetched_epoch": last,
                     "log_start_offset": -1, "partition_max_bytes": 300}
        id_of = ids.get(topic, b"\2" * 16)
        broker.send(1, version, {"replica_id": -1, "max_wait_ms": 10, "min_bytes": 1, "max_bytes": 300,
                                 "isolation_level": isolation, "session_id": session[0], "session_epoch": session[1],
                                 "topics": [{"name": topic, "topic_id": id_of, "partitions": [partition]}],
                                 "forgotten": [{"name": topic, "topic_id": id_of, "partitions": list(forgotten)}]
                                 if forgotten else [], "rack_id": ""})

    for version in range(4, 19):
        send(leading, version, "raw", 0)
        send(leading, version, "raw", 1, isolation=1)
        send(leading, version, "raw", 9999)
        send(other, version, "raw", 0, current=77)
        send(leading, version, "missing", 0)
        send(leading, version, "raw", 0, session=(0, 0), forgotten=[1, 2])
        send(leading, version, "raw", 3, session=(12345, 7))
        send(leading, version, "raw", 9000, last=0)
        send(brokers[1], version, "solo", 0)


def metadata(broker, ids):
    named = [{"name": "raw", "topic_id": bytes(16)}]
    by_id = [{"name": None, "topic_id": ids["raw"]}, {"name": None, "topic_id": b"\3" * 16}]
    for version in range(14):
        ask = {"allow_auto_topic_creation": 0, "cluster_operations": 1, "topic_operations": 1}
        broker.send(3, version, dict(ask, topics=named))
        broker.send(3, version, dict(ask, topics=[]))
        broker.send(3, version, dict(ask, topics=[{"name": "missing", "topic_id": bytes(16)}]))
        if version >= 1:
            broker.send(3, version, dict(ask, topics=None))
        if version >= 12:
            broker.send(3, version, dict(ask, topics=by_id))
        if version >= 9:
            # Tag 99, three bytes: nobody knows it, everybody passes over it.
            broker.send(3, version, dict(ask, topics=named), tags=b"\1\x63\3abc")


def alter_configs(first):
    """Set, delete, append, subtract; what is wrong with names, values and resources; what brokers may be told."""
    def ask(*resources, validate=0):
        for version in range(2):
            first.send(44, version, {"resources": list(resources), "validate_only": validate})
        for version in range(3):
            # Without the operations: only what the old request can say. Kafka does not answer one that names a
            # resource twice.
            once = {(r["type"], r["name"]): r for r in resources}
            plain = [dict(r, configs=[{"name": c["name"], "value": c["value"]} for c in r["configs"]])
                     for r in once.values()]
            first.send(33, version, {"resources": plain, "validate_only": validate})

    def resource(kind, name, *configs):
        return {"type": kind, "name": name,
                "configs": [{"name": n, "operation": o, "value": v} for n, o, v in configs]}

    ask(resource(2, "raw", ("retention.ms", 0, "7200000")))
    ask(resource(2, "raw", ("retention.ms", 0, "nonsense")), validate=1)
    ask(resource(2, "raw", ("nope", 0, "1")), resource(2, "missing", ("retention.ms", 0, "1")),
        resource(2, "", ("retention.ms", 0, "1")), resource(2, "a b", ("retention.ms", 0, "1")), validate=1)
    ask(resource(2, "raw", ("retention.ms", 0, None)), resource(2, "twice"), resource(2, "twice"),
        resource(2, "raw-7", ("segment.ms", 0, "1"), ("segment.ms", 0, "2")), validate=1)
    ask(resource(2, "raw", ("min.compaction.lag.ms", 0, "10"), ("max.compaction.lag.ms", 0, "9")),
        resource(2, "raw-7", ("remote.storage.enable", 0, "true")), resource(99, "x"), resource(0, "y"), validate=1)
    ask(resource(4, "", ("log.retention.hours", 0, "1")), resource(4, "0", ("min.insync.replicas", 0, "1")),
        resource(4, "1", ("log.retention.ms", 0, "1")), resource(4, "x", ("log.retention.ms", 0, "1")), validate=1)
    ask(resource(4, "", ("log.retention.ms", 0, "soon")), resource(4, "0", ("log.dirs", 0, "/x")), validate=1)
    for version in range(2):
        for changes in ((("retention.ms", 1, None),), (("cleanup.policy", 2, "compact"),), (("cleanup.policy", 3, "delete"),),
                        (("cleanup.policy", 1, None),), (("retention.ms", 2, "1"),), (("nope", 1, None),),
                        (("cleanup.policy", 3, "delete"),), (("cleanup.policy", 0, "compact,compact"),),
                        (("cleanup.policy", 0, "compact,shred"),), (("preallocate", 0, "yes"),),
                        (("compression.type", 0, "rar"),), (("leader.replication.throttled.replicas", 0, "0"),),
                        (("min.cleanable.dirty.ratio", 0, "2"),), (("segment.bytes", 0, "1"),),
                        (("max.message.bytes", 0, "99999999999"),), (("cleanup.policy", 1, None),)):
            first.send(44, version, {"resources": [resource(2, "raw", *changes)], "validate_only": 0})
        brokers = [resource(4, "", ("min.insync.replicas", 1, None)), resource(4, "0", ("log.retention.ms", 2, "1"))]
        first.send(44, version, {"resources": brokers, "validate_only": 1})


def create_partitions(first):
    time.sleep(1)  # until every broker has the policy that records of the topic may be deleted with

    def topic(name, count, assignments=None):
        chosen = assignments and [{"broker_ids": nodes} for nodes in assignments]
        return {"name": name, "count": count, "assignments": chosen}

    for version in range(4):
        def ask(*topics, validate=1):
            first.send(37, version, {"topics": list(topics), "timeout_ms": 9000, "validate_only": validate})

        ask(topic("solo", version + 2), validate=0)
        ask(topic("raw", 3), topic("solo", 1), topic("missing", 3), topic("raw-7", 2), topic("raw-7", 2))
        ask(topic("raw", 4, [[0, 1, 2]]), topic("solo", 99, [[0]]))
        for nodes in ([], [0, 1], [0, 1, 1], [0, 1, 9]):
            ask(topic("raw", 4, [nodes]))
        ask(topic("raw", -1), topic("solo", 0))


def delete_records(brokers, leaders):
    compacted = leader(brokers[0], "raw-7", 0)
    for version in range(3):
        def ask(broker, name, index, offset):
            partitions = [{"index": index, "offset": offset}]
            brokers[broker].send(21, version, {"topics": [{"name": name, "partitions": partitions}], "timeout_ms": 9000})

        leading = leaders[0]
        ask(leading, "raw", 0, version + 1)
        ask(leading, "raw", 0, 1)
        for offset in (-2, 10**9):
            ask(leading, "raw", 0, offset)
        ask((leading + 1) % 3, "raw", 0, 1)
        ask(leading, "raw", 77, 1)
        ask(leading, "missing", 0, 1)
        ask(compacted, "raw-7", 0, -1)
        ask(leaders[2], "raw", 2, -1)


def reassign(first, leading):
    """Replicas moved, the move seen while it runs and cancelled; leaders elected; what is wrong with either."""
    def move(version, name, *partitions, allow=1):
        asked = [{"index": index, "replicas": replicas} for index, replicas in partitions]
        first.send(45, version, {"timeout_ms": 9000, "allow_factor_change": allow,
                                 "topics": [{"name": name, "partitions": asked}]})

    def moving(*topics):
        named = [{"name": name, "partitions": partitions} for name, partitions in topics] if topics else None
        first.send(46, 0, {"timeout_ms": 9000, "topics": named})

    def elect(version, kind, *topics):
        named = [{"name": name, "partitions": partitions} for name, partitions in topics] if topics else None
        first.send(43, version, {"election_type": kind, "topics": named, "timeout_ms": 9000})

    others = [node for node in range(3) if node != leading]
    moving()
    for version in range(2):
        move(version, "solo", (0, [1 + version]))
        moving(("solo", [0, 9]), ("absent", [0]))
        moving()
        move(version, "solo", (0, None))
        time.sleep(2)
        move(version, "solo", (0, None), (0, [0]), (77, [0]))
        move(version, "solo", (0, [0, 1]), allow=0)
        move(version, "absent", (0, [0]))
        for replicas in ([], [0, 1, 1], [0, 1, 9], [0, 1, -1]):
            move(version, "raw", (0, replicas))
        moving()
    for version in range(3):
        move(1, "raw", (0, [others[version % 2], leading, others[1 - version % 2]]))
        elect(version, 0, ("raw", [0, 1, 77]), ("absent", [0]))
        elect(version, 0, ("raw", [0]))
        elect(version, 0)
        elect(version, 1, ("raw", [0, 77]), ("absent", [0]))
        elect(version, 1)
        elect(version, 9, ("raw", [0, 1]))
        elect(version, 9)
    move(1, "raw", (0, [leading, *others]))
    elect(2, 0, ("raw", [0]))


def topic_id(broker, name):
    answer = broker.send(3, 12, {"topics": [{"name": name, "topic_id": bytes(16)}], "allow_auto_topic_creation": 0,
                                 "cluster_operations": 0, "topic_operations": 0})
    at = answer.rindex(bytes([len(name) + 1]) + name.encode()) + 1 + len(name)
    return answer[at:at + 16]


def leader(broker, name, partition):
    """From Metadata v0, whose topic has: name, i32 count, then (i16 error, i32 index, i32 leader, two arrays)."""
    answer = broker.send(3, 0, {"topics": [{"name": name}]})
    at = answer.rindex(struct.pack(">h", len(name)) + name.encode()) + 2 + len(name)
    count, at = struct.unpack_from(">i", answer, at)[0], at + 4
    for _ in range(count):
        _, index, leader_id, replicas = struct.unpack_from(">hiii", answer, at)
        at += 14 + 4 * replicas
        at += 4 + 4 * struct.unpack_from(">i", answer, at)[0]
        if index == partition:
            return leader_id
    raise KeyError(partition)
