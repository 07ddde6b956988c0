"""A topic's whole life on three processes against a model (an array is the log): appends, rolls, DeleteRecords, retention,
new partitions, deletion and creation under the same name, kill -9 in between. SEED=1 STEPS=60"""

import collections
import hashlib
import os
import random
import time

import confluent_kafka
import confluent_kafka.admin as admin

from cluster import Cluster

TOPIC = "lifecycle"
SEED = int(os.environ.get("SEED", "1"))
STEPS = int(os.environ.get("STEPS", "60"))
SEGMENT = 1 << 20
RETENTION = 2 << 20
RETRIABLE = (confluent_kafka.KafkaError.NOT_LEADER_FOR_PARTITION, confluent_kafka.KafkaError.UNKNOWN_TOPIC_OR_PART,
             confluent_kafka.KafkaError.LEADER_NOT_AVAILABLE, confluent_kafka.KafkaError._NOENT)


class Model:
    """What must be in one partition: every acknowledged record from the log start on."""

    def __init__(self):
        self.values = []  # by offset
        self.deleted_below = 0  # by DeleteRecords: the log start is exactly that or, after retention, more
        self.retained = False  # retention has been on: the log start may have moved on by itself

    def bytes_from(self, offset):
        return sum(len(v) for v in self.values[offset:])


class Run:
    def __init__(self, cluster):
        self.cluster = cluster
        self.rng = random.Random(SEED)
        self.admin = admin.AdminClient({"bootstrap.servers": cluster.bootstrap})
        self.partitions = []
        self.counts = collections.Counter()
        self.create(3)

    def create(self, partitions):
        config = {"segment.bytes": str(SEGMENT), "retention.bytes": "-1", "file.delete.delay.ms": "500"}
        topic = admin.NewTopic(TOPIC, partitions, 3, config=config)
        self.admin.create_topics([topic])[TOPIC].result(30)
        self.cluster.wait_in_sync(TOPIC)
        self.partitions = [Model() for _ in range(partitions)]
        self.know_partitions()

    def know_partitions(self):
        """A producer that was there before goes on with the partitions that it knows for minutes."""
        self.producer = confluent_kafka.Producer({"bootstrap.servers": self.cluster.bootstrap, "acks": "all", "enable.idempotence": True})

    def produce(self):
        partition = self.rng.randrange(len(self.partitions))
        model = self.partitions[partition]
        delivered = []
        for _ in range(self.rng.randint(20, 200)):
            value = self.rng.randbytes(self.rng.randint(1, 16_000))
            self.producer.produce(TOPIC, value, partition=partition,
                                  on_delivery=lambda error, message: delivered.append((error, message.offset(), message.value())))
            self.producer.poll(0)
        assert self.producer.flush(60) == 0, "records were never answered"
        for error, offset, value in delivered:
            assert error is None, error
            assert offset == len(model.values), f"partition {partition}: offset {offset} where {len(model.values)} was next"
            model.values.append(value)

    def delete_records(self):
        partition = self.rng.randrange(len(self.partitions))
        model = self.partitions[partition]
        start, end = self.watermarks(partition)
        offset = self.rng.choice([end, self.rng.randint(start, end)])
        asked = confluent_kafka.TopicPartition(TOPIC, partition, offset)
        low = self.ask_leader(lambda: list(self.admin.delete_records([asked]).values())[0].result(30)).low_watermark
        assert low >= offset, f"partition {partition}: low watermark {low} after DeleteRecords up to {offset}"
        model.deleted_below = max(model.deleted_below, offset)

    def ask_leader(self, ask):
        """A leader that does not know yet that it leads, or a client that does not: ask again, as every client does."""
        end = time.monotonic() + 20
        while True:
            try:
                return ask()
            except confluent_kafka.KafkaException as error:
                if error.args[0].code() not in RETRIABLE or time.monotonic() > end:
                    raise
                self.admin.list_topics(TOPIC, timeout=10)

    def retention(self):
        resource = admin.ConfigResource(admin.ConfigResource.Type.TOPIC, TOPIC)
        limit = self.rng.choice([-1, RETENTION])
        resource.add_incremental_config(admin.ConfigEntry(
            "retention.bytes", str(limit), incremental_operation=admin.AlterConfigOpType.SET))
        list(self.admin.incremental_alter_configs([resource]).values())[0].result(30)
        if limit < 0:
            return
        for model in self.partitions:
            model.retained = True
        # Until every log is within a segment of the limit: it moves by whole segments.
        end = time.monotonic() + 30
        while True:
            kept = [model.bytes_from(self.watermarks(p)[0]) for p, model in enumerate(self.partitions)]
            if all(k < RETENTION + 2 * SEGMENT for k in kept):
                break
            assert time.monotonic() < end, f"retention keeps {kept} bytes"
            time.sleep(0.1)

    def add_partitions(self):
        if len(self.partitions) >= 6:
            return
        total = len(self.partitions) + 1
        self.admin.create_partitions([admin.NewPartitions(TOPIC, total)])[TOPIC].result(30)
        self.cluster.wait_in_sync(TOPIC)
        self.partitions.append(Model())
        self.know_partitions()

    def recreate(self):
        self.admin.delete_topics([TOPIC])[TOPIC].result(30)
        self.create(self.rng.randint(1, 4))

    def kill(self):
        victim = self.rng.randrange(3)
        self.cluster.kill(victim)
        self.produce()
        self.cluster.start(victim)
        self.cluster.wait_in_sync(TOPIC)

    def watermarks(self, partition):
        consumer = self.consumer()
        try:
            return self.ask_leader(lambda: consumer.get_watermark_offsets(confluent_kafka.TopicPartition(TOPIC, partition), timeout=30))
        finally:
            consumer.close()

    def consumer(self):
        return confluent_kafka.Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": "unused", "enable.auto.commit": False,
                                         "enable.partition.eof": True, "auto.offset.reset": "error", "fetch.wait.max.ms": 50})

    def verify(self):
        for partition, model in enumerate(self.partitions):
            start, end = self.watermarks(partition)
            assert end == len(model.values), f"partition {partition} ends at {end}, not {len(model.values)}"
            if model.retained:
                assert model.deleted_below <= start, f"partition {partition} starts at {start}, deleted below {model.deleted_below}"
                # What retention takes, it takes from what is over the limit.
                assert start == model.deleted_below or model.bytes_from(start) + SEGMENT >= RETENTION, \
                    f"partition {partition}: {model.bytes_from(start)} bytes kept"
            else:
                assert start == model.deleted_below, f"partition {partition} starts at {start}, not {model.deleted_below}"
            self.read(partition, model, start, end)

    def read(self, partition, model, start, end):
        consumer = self.consumer()
        consumer.assign([confluent_kafka.TopicPartition(TOPIC, partition, start)])
        expected, deadline = start, time.monotonic() + 60
        while expected < end:
            assert time.monotonic() < deadline, f"reading partition {partition} hangs at {expected}"
            for message in consumer.consume(500, timeout=1):
                if message.error():
                    assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
                    continue
                assert message.offset() == expected, f"partition {partition}: {message.offset()} where {expected} was next"
                assert message.value() == model.values[expected], f"partition {partition}: another value at {expected}"
                expected += 1
        consumer.close()

    def compare_replicas(self):
        """The bytes of what every replica still has: log starts move at different times, by whole segments."""
        for partition in range(len(self.partitions)):
            names = [{f.name for f in (self.cluster.home(n) / "data" / f"{TOPIC}-{partition}").glob("*.log")} for n in range(3)]
            for name in set.intersection(*names):
                digests = {hashlib.sha256((self.cluster.home(n) / "data" / f"{TOPIC}-{partition}" / name).read_bytes()).hexdigest()
                           for n in range(3)}
                assert len(digests) == 1, f"replicas of {TOPIC}-{partition} differ in {name}"

    def step(self):
        kinds = [self.produce] * 8 + [self.delete_records] * 3 + [self.retention] * 2 + [self.add_partitions, self.recreate] + [self.kill] * 2
        kind = self.rng.choice(kinds)
        kind()
        self.counts[kind.__name__] += 1


def main():
    with Cluster(properties=["log.retention.check.interval.ms=200"]) as cluster:
        cluster.start()
        run = Run(cluster)
        print(f"  seed {SEED}")
        for number in range(STEPS):
            run.step()
            if number % 5 == 4:
                run.verify()
        # Every kind at least once, whatever the seed drew.
        for kind in (run.delete_records, run.retention, run.kill, run.recreate, run.produce):
            kind()
        run.verify()
        run.cluster.wait_in_sync(TOPIC)
        run.compare_replicas()
        cluster.assert_no_panic()
        print(f"  {dict(run.counts)}: every acknowledged record above the log start is there, once, in order")


if __name__ == "__main__":
    main()
