"""Scenarios of writing and reading records, without a group."""

import random
import struct
import time

import raw_requests

START = 1_700_000_000_000
BATCH_MAX = 1_048_588  # Kafka's default of max.message.bytes, for a batch
ALL_BYTES = bytes(range(256))
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

# Everything a record can carry, by what not every client can.
SHAPES = [
    {"key": b"k", "value": b"v"},
    {"key": None, "value": b"no key"},
    {"key": b"tombstone", "value": None},
    {"key": b"", "value": b"", "needs": "empty keys"},
    {"key": ALL_BYTES, "value": ALL_BYTES * 4},
    {"key": None, "value": b"x"},
    {"key": "ключ".encode(), "value": "значение".encode()},
    {"key": b"k", "value": b"headers", "headers": [("a", b"1"), ("a", b"2"), ("b", b"")]},
    {"key": b"k", "value": b"null header", "headers": [("none", None)], "needs": "null headers"},
    {"key": b"k", "value": b"binary header", "headers": [("bytes", ALL_BYTES)], "needs": "binary headers"},
    {"key": b"k", "value": b"long", "headers": [(f"h{i}", b"x" * 50) for i in range(50)]},
]


def shapes(lacks, partitions=3):
    """The shapes that a client can carry, in each partition, with timestamps where it can set them."""
    records = []
    for partition in range(partitions):
        for index, shape in enumerate(s for s in SHAPES if s.get("needs") not in lacks):
            stamp = None if "timestamps" in lacks else START + 1000 * index + partition
            records.append({"partition": partition, "timestamp": stamp, "key": shape["key"], "value": shape["value"],
                            "headers": shape.get("headers", [])})
    return records


def same(what, found, wanted):
    for field in ("key", "value", "headers", "timestamp"):
        if field == "timestamp" and wanted.get(field) is None:
            continue
        assert found[field] == wanted.get(field, []), f"{what}: {field} {found[field]!r}, not {wanted.get(field)!r}"


def without(lacks, *of):
    named = [f"{name}: {why}" for name, why in lacks.items() if not of or name in of]
    return f" (without {'; '.join(named)})" if named else ""


def match_written(acks, records, found):
    """What was acknowledged is there byte for byte, where the client says, in the order in which it was sent."""
    assert len(found) == len(records), f"{len(found)} records, not {len(records)}"
    following = {}
    for index, (ack, record) in enumerate(zip(acks, records)):
        assert isinstance(ack, tuple), f"record {index} failed: {ack}"
        partition = record["partition"] if record["partition"] is not None else ack[0]
        offset = ack[1] if ack[1] is not None else following.get(partition, 0)
        assert ack[0] == partition and offset >= following.get(partition, 0), f"record {index}: acknowledged at {ack}"
        following[partition] = offset + 1
        same(f"record {index} at {partition}:{offset}", found[partition, offset], record)


def produce(test):
    """produce: keys, headers, timestamps, null values"""
    topic = test.topic(3)
    driver = test.driver()
    lacks = driver.about["lacks"]
    records = shapes(lacks)
    acks = driver.produce(topic, records)
    match_written(acks, records, test.reference.read(topic, range(3)))
    return f"{len(records)} records{without(lacks)}"


def keys(test):
    """produce: the client chooses the partition by key"""
    topic = test.topic(6)
    records = [{"partition": None, "timestamp": None, "key": b"key %d" % (i % 40), "value": b"%d" % i} for i in range(400)]
    acks = test.driver().produce(topic, records)
    assert all(isinstance(ack, tuple) for ack in acks), [a for a in acks if not isinstance(a, tuple)][:3]
    found = test.reference.read(topic, range(6))
    assert sorted(int(r["value"]) for r in found.values()) == list(range(400))
    homes = {}
    for (partition, _), record in sorted(found.items()):
        homes.setdefault(record["key"], []).append((partition, int(record["value"])))
    for key, places in homes.items():
        assert len({p for p, _ in places}) == 1, f"{key} is in partitions {places}"
        assert [v for _, v in places] == sorted(v for _, v in places), f"{key}: order is broken"
    used = {places[0][0] for places in homes.values()}
    assert len(used) > 1, f"40 keys are all in partition {used}"
    return f"40 keys over {len(used)} of 6 partitions, in order"


def codecs(test):
    """produce and consume: each codec, stored as such"""
    driver = test.driver()
    known = driver.about["codecs"]
    for codec in known:
        topic = test.topic(1, suffix=codec)
        records = [{"partition": 0, "timestamp": None, "key": b"k%d" % i, "value": b"the same again and again " * 20} for i in range(50)]
        acks = driver.produce(topic, records, codec=codec)
        match_written(acks, records, test.reference.read(topic, [0]))
        stored = stored_codecs(test, topic)
        assert stored == {CODECS[codec]}, f"{codec}: the batches are stored with codecs {stored}"
        driver.assign(topic, {0: "beginning"})
        assert [r["value"] for r in driver.read(50)] == [r["value"] for r in records]
    return ", ".join(known)


def stored_codecs(test, topic):
    """The codecs of the batches of partition 0, from its leader as they are stored."""
    test.reference.until_in_sync(topic)
    broker = test.reference.admin.list_topics(timeout=30).brokers[test.reference.leader(topic, 0)]
    partition = {"index": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    answer = raw_requests.Broker(broker.port).send(1, 4, {
        "replica_id": -1, "max_wait_ms": 100, "min_bytes": 1, "max_bytes": 1 << 20, "isolation_level": 0,
        "topics": [{"name": topic, "partitions": [partition]}]})
    # Correlation 4, throttle 4, topics 4, name 2 + n, partitions 4, index 4, error 2, high watermark 8, stable 8, aborted 4.
    at = 4 + 4 + 4 + 2 + len(topic) + 4 + 4 + 2 + 8 + 8 + 4
    [size] = struct.unpack_from(">i", answer, at)
    batches, found = answer[at + 4:at + 4 + size], set()
    while len(batches) >= 61:
        found.add(struct.unpack_from(">h", batches, 21)[0] & 7)
        batches = batches[12 + struct.unpack_from(">i", batches, 8)[0]:]
    return found


def sizes(test):
    """produce and consume: 1 B, nearly max.message.bytes, and above it"""
    topic = test.topic(1)
    driver = test.driver()
    noise = random.Random(7).randbytes(BATCH_MAX + 1000)
    record = lambda size: {"partition": 0, "timestamp": None, "key": None, "value": noise[:size]}
    room = 10 * BATCH_MAX  # the client itself refuses nothing
    wanted = []
    for size in (1, BATCH_MAX - 100, 1):
        [ack] = driver.produce(topic, [record(size)], record_max=room)
        assert isinstance(ack, tuple), f"a record of {size} bytes was refused: {ack}"
        wanted.append(noise[:size])
    [ack] = driver.produce(topic, [record(BATCH_MAX + 100)], record_max=room)
    assert ack == "MESSAGE_TOO_LARGE", f"a record above max.message.bytes: {ack}"
    # The client goes on, or a new one does.
    [ack] = driver.produce(topic, [record(2)], record_max=room)
    ended = driver.about.get("ends_when_refused") and ack == "MESSAGE_TOO_LARGE"
    if ended:
        driver = test.driver()
        [ack] = driver.produce(topic, [record(2)], record_max=room)
    assert isinstance(ack, tuple), f"after the refusal: {ack}"
    wanted.append(noise[:2])
    found = test.reference.read(topic, [0])
    assert [r["value"] for r in found.values()] == wanted
    driver.assign(topic, {0: "beginning"})
    assert [r["value"] for r in driver.read(len(wanted))] == wanted
    return f"1 B, {BATCH_MAX - 100} B; {BATCH_MAX + 100} B is refused with MESSAGE_TOO_LARGE{', which ends this producer' if ended else ''}"


def consume(test):
    """consume: from the beginning, byte for byte"""
    topic = test.topic(3)
    driver = test.driver()
    # A client may be unable to write something that it can read.
    lacks = {name: why for name, why in driver.about["lacks"].items() if name in driver.about.get("unreadable", ())}
    records = shapes(lacks)
    acks = test.reference.produce(topic, records)
    driver.assign(topic, {p: "beginning" for p in range(3)})
    match_read(driver.read(len(records)), dict(zip(acks, records)))
    # From the middle.
    driver.assign(topic, {p: 5 for p in range(3)})
    match_read(driver.read(sum(o >= 5 for _, o in acks)), {a: r for a, r in zip(acks, records) if a[1] >= 5})
    return f"{len(records)} records, and from offset 5{without(lacks)}"


def match_read(found, wanted):
    """The client has read just this, each partition in order."""
    places = [(r["partition"], r["offset"]) for r in found]
    assert sorted(places) == sorted(wanted), f"{len(places)} records, not {len(wanted)}"
    last = {}
    for record in found:
        partition, offset = record["partition"], record["offset"]
        assert offset > last.get(partition, -1), f"partition {partition}: {offset} after {last[partition]}"
        last[partition] = offset
        same(f"record at {partition}:{offset}", record, wanted[partition, offset])


def consume_time(test):
    """consume: from a timestamp"""
    topic = test.topic(2)
    driver = test.driver()
    records = [{"partition": i % 2, "timestamp": START + 10 * i, "key": None, "value": b"%d" % i} for i in range(400)]
    acks = test.reference.produce(topic, records)
    at = START + 2005  # between two records
    wanted = {a: r for a, r in zip(acks, records) if r["timestamp"] >= at}
    driver.assign(topic, {p: {"timestamp": at} for p in range(2)})
    match_read(driver.read(len(wanted)), wanted)
    return f"{len(wanted)} of 400 records"


def tail(test):
    """consume: waits at the end for what is written then"""
    topic = test.topic(1)
    driver = test.driver()
    test.reference.produce(topic, [{"partition": 0, "key": None, "value": b"before"}])
    driver.assign(topic, {0: 1})
    assert driver.poll(200)["records"] == []
    started = time.monotonic()
    for i in range(5):
        test.reference.produce(topic, [{"partition": 0, "key": None, "value": b"%d" % i}])
        [record] = driver.read(1)
        assert record["value"] == b"%d" % i
    return f"5 records, {(time.monotonic() - started) / 5 * 1000:.0f} ms each"


SCENARIOS = [produce, keys, codecs, sizes, consume, consume_time, tail]
