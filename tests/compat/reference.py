"""The other side of each test: confluent-kafka in the harness. What a client wrote is read here, and the other way about."""

import time

import confluent_kafka
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic


class Reference:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        # librdkafka waits up to 10 s before it dials a broker again that was dead: what is measured is the client under test.
        self.config = {"bootstrap.servers": bootstrap, "log_level": 2, "reconnect.backoff.max.ms": 200}
        self.admin = AdminClient(self.config)
        self.producer = confluent_kafka.Producer({**self.config, "acks": "all", "enable.idempotence": True})

    def create_topic(self, name, partitions, configs=None):
        for future in self.admin.create_topics([NewTopic(name, partitions, 3, config=configs or {})]).values():
            future.result(60)
        self.until_in_sync(name)
        until("each leader knows that it leads", lambda: self.served(name, partitions))

    def topic(self, name):
        return self.admin.list_topics(name, timeout=30).topics[name]

    def until_in_sync(self, *names, seconds=60):
        """Until each partition has a leader and all its replicas in the ISR."""
        def in_sync(name):
            partitions = self.topic(name).partitions.values()
            return partitions and all(p.leader >= 0 and len(p.isrs) == len(p.replicas) for p in partitions)

        until(f"{', '.join(names)} in sync", lambda: all(map(in_sync, names)), seconds)

    def leader(self, topic, partition):
        return self.topic(topic).partitions[partition].leader

    def produce(self, topic, records, limit=60):
        acks = [None] * len(records)

        def delivered(index):
            def on_delivery(error, message):
                assert error is None, error
                acks[index] = (message.partition(), message.offset())
            return on_delivery

        for index, r in enumerate(records):
            more = {} if r.get("timestamp") is None else {"timestamp": r["timestamp"]}
            self.producer.produce(topic, r["value"], r["key"], partition=r["partition"], headers=r.get("headers", []),
                                  on_delivery=delivered(index), **more)
        assert self.producer.flush(limit) == 0, f"the reference could not write to {topic} within {limit} s"
        return acks

    def served(self, topic, partitions):
        try:
            return self.ends(topic, range(partitions))
        except confluent_kafka.KafkaException:
            return None

    def ends(self, topic, partitions):
        consumer = confluent_kafka.Consumer({**self.config, "group.id": "compat-reference"})
        try:
            return [consumer.get_watermark_offsets(TopicPartition(topic, p), 30)[1] for p in partitions]
        finally:
            consumer.close()

    def read(self, topic, partitions, seconds=60):
        """Every record of the partitions, by (partition, offset)."""
        consumer = confluent_kafka.Consumer({**self.config, "group.id": "compat-reference", "enable.auto.commit": False,
                                             "enable.partition.eof": True, "fetch.wait.max.ms": 20, "auto.offset.reset": "earliest"})
        consumer.assign([TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions])
        records, ended = {}, set()
        end = time.monotonic() + seconds
        while len(ended) < len(partitions):
            assert time.monotonic() < end, f"reading {topic} back hangs after {len(records)} records"
            for m in consumer.consume(1000, 0.05):
                if m.error():
                    assert m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, m.error()
                    ended.add(m.partition())
                else:
                    records[m.partition(), m.offset()] = {"key": m.key(), "value": m.value(), "headers": m.headers() or [],
                                                          "timestamp": m.timestamp()[1]}
        consumer.close()
        return records


def until(what, condition, seconds=60):
    """Asks again until the condition holds; what it returned."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found
