"""Clients that are not ours, one small scenario each: kcat, kafka-python 2.0.2, confluent-kafka, and ottla itself."""

import json
import subprocess
import time

import confluent_kafka
import confluent_kafka.admin
import kafka
import kafka.admin
import kafka.errors

from cluster import OTTLA, Cluster, create_topic


def kcat(cluster):
    create_topic(cluster, "kcat", 3)
    lines = "".join(f"key{i}:value{i}\n" for i in range(1000))
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        subprocess.run(["kcat", "-b", cluster.bootstrap, "-t", "kcat", "-P", "-K:", "-z", codec, "-H", f"codec={codec}"],
                       input=lines.encode(), check=True, timeout=60, capture_output=True)
    out = subprocess.run(["kcat", "-b", cluster.bootstrap, "-t", "kcat", "-C", "-o", "beginning", "-e", "-q", "-J"],
                         check=True, timeout=60, capture_output=True).stdout
    records = [json.loads(line) for line in out.splitlines()]
    assert len(records) == 5000, f"{len(records)} of 5000 records"
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        assert sum(r["headers"] == ["codec", codec] for r in records) == 1000, codec
    listing = subprocess.run(["kcat", "-b", cluster.bootstrap, "-L", "-J"], check=True, timeout=60, capture_output=True).stdout
    assert len(json.loads(listing)["brokers"]) == 3
    return "1000 records in each of 5 codecs, -L"


def kafka_python(cluster):
    admin = kafka.admin.KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    admin.create_topics([kafka.admin.NewTopic("kafka-python", 3, 3)])
    cluster.wait_in_sync("kafka-python")
    producer = kafka.KafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all", retries=5, compression_type="gzip")
    sent = {}
    futures = []
    for i in range(1000):
        value = f"v{i}".encode()
        futures.append((value, producer.send("kafka-python", value, key=b"k%d" % i, headers=[("h", b"%d" % i)], timestamp_ms=1_700_000_000_000 + i)))
    producer.flush(60)
    for value, future in futures:
        meta = future.get(10)
        sent[(meta.partition, meta.offset)] = value
    consumer = kafka.KafkaConsumer(bootstrap_servers=cluster.bootstrap, enable_auto_commit=False, consumer_timeout_ms=10_000)
    parts = [kafka.TopicPartition("kafka-python", p) for p in range(3)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    found = {}
    while len(found) < len(sent):
        batch = consumer.poll(5000)
        assert batch, f"{len(found)} of {len(sent)} records"
        for records in batch.values():
            for r in records:
                found[(r.partition, r.offset)] = r.value
                assert r.headers and r.timestamp >= 1_700_000_000_000
    assert found == sent
    assert sum(consumer.end_offsets(parts).values()) == 1000
    by_time = consumer.offsets_for_times({parts[0]: 1_700_000_000_000})
    assert by_time[parts[0]].offset == 0
    admin.delete_topics(["kafka-python"])
    # Metadata of a broker that has not applied the deletion yet still names the topic.
    end = time.monotonic() + 10
    while "kafka-python" in admin.list_topics():
        assert time.monotonic() < end, "the topic is still listed"
        time.sleep(0.05)
    consumer.close()
    producer.close()
    admin.close()
    return "create, 1000 records with keys, headers, timestamps, offsets by time, delete"


def confluent(cluster):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": cluster.bootstrap})
    for future in admin.create_topics([confluent_kafka.admin.NewTopic("confluent", 4, 3)]).values():
        future.result(10)
    offsets = []
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "compression.type": "lz4"})
    for i in range(2000):
        producer.produce("confluent", b"v%d" % i, key=b"k%d" % (i % 10), on_delivery=lambda e, m: offsets.append((e, m.partition(), m.offset())))
    assert producer.flush(60) == 0
    assert all(error is None for error, _, _ in offsets) and len(set(offsets)) == 2000
    size = 900_000
    producer.produce("confluent", bytes(size), partition=0)
    assert producer.flush(60) == 0
    consumer = confluent_kafka.Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "unused", "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition("confluent", p, 0) for p in range(4)])
    count, ends = 0, 0
    while ends < 4:
        message = consumer.poll(10)
        assert message is not None, f"{count} records, then nothing"
        if message.error():
            ends += 1
        else:
            count += 1
    assert count == 2001
    low, high = consumer.get_watermark_offsets(confluent_kafka.TopicPartition("confluent", 0))
    assert low == 0 and high > 0
    consumer.close()
    # A record over the limit is refused by the broker, not swallowed.
    refused = []
    big = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "message.max.bytes": 5_000_000})
    big.produce("confluent", bytes(2_000_000), on_delivery=lambda e, m: refused.append(e))
    big.flush(60)
    assert refused[0] is not None and refused[0].code() == confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE, refused
    # An unknown topic is created on first use.
    producer.produce("created-on-first-use", b"x")
    assert producer.flush(60) == 0
    for future in admin.delete_topics(["confluent"]).values():
        future.result(10)
    return "create, 2000 idempotent records, one of 900 kB, one too large refused, auto-creation, delete"


def ottla(cluster):
    create_topic(cluster, "round-trip", 3)
    record = {"key": "k", "value": "v", "headers": [["a", "1"], ["a", None]], "timestamp": 1_700_000_000_000, "partition": 2}
    binary = {"key": None, "value": {"base64": "AP8="}, "headers": [], "timestamp": 1_700_000_000_001, "partition": 0}
    lines = json.dumps(record) + "\n" + json.dumps(binary) + "\n"
    cluster.cli("produce", "round-trip", "--input-format", "json", input=lines)
    out = cluster.cli("consume", "round-trip", "--from-beginning", "--exit", "--format", "json")
    create_topic(cluster, "round-trip-2", 3)
    cluster.cli("produce", "round-trip-2", "--input-format", "json", input=out)
    again = cluster.cli("consume", "round-trip-2", "--from-beginning", "--exit", "--format", "json")
    strip = lambda text: sorted((json.dumps({k: v for k, v in json.loads(l).items() if k != "topic"}) for l in text.splitlines()))
    assert strip(out) == strip(again) and len(out.splitlines()) == 2
    cluster.cli("produce", "round-trip", "--partition", "1", input="a\nb\nc\n")
    assert cluster.cli("consume", "round-trip", "--partition", "1", "--offset", "1", "--max", "2") == "b\nc\n"
    status = cluster.status()
    assert status["healthy"] and len(status["nodes"]) == 3, status
    times = []
    for _ in range(10):
        started = time.monotonic()
        cluster.cli("topic", "list")
        times.append(time.monotonic() - started)
    wrong = subprocess.run([OTTLA, "topic", "describe", "nothing", "--bootstrap", cluster.bootstrap], capture_output=True, text=True)
    assert wrong.returncode != 0 and "nothing" in wrong.stderr
    return f"JSON round trip, offsets, status, topic list in {sorted(times)[5] * 1000:.0f} ms (median of 10)"


def main():
    with Cluster() as cluster:
        cluster.start()
        for scenario in (kcat, kafka_python, confluent, ottla):
            print(f"  {scenario.__name__}: {scenario(cluster)}", flush=True)
        cluster.assert_no_panic()


if __name__ == "__main__":
    main()
