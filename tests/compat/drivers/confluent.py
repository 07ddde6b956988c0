"""confluent-kafka, that is librdkafka."""

import os
import sys
import time

import confluent_kafka
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec)

import protocol


def refused(error):
    if isinstance(error, KafkaException) and isinstance(error.args[0], confluent_kafka.KafkaError):
        code, text = error.args[0].name(), error.args[0].str()
        # The reason of a fatal error is in its text only.
        fenced = code == "_FATAL" and "same group.instance.id" in text
        return protocol.Refused("FENCED_INSTANCE_ID" if fenced else code, text)
    return None


class Driver:
    def __init__(self, bootstrap):
        self.config = {"bootstrap.servers": bootstrap}
        if contexts := os.environ.get("COMPAT_DEBUG"):
            self.config["debug"] = contexts
        self.producers = {}
        self.consumer = None
        self.assigned = None
        self.rebalances = 0
        self.client = AdminClient(self.config)

    def hello(self):
        version = f"confluent-kafka {confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}"
        return {"client": version, "codecs": ["gzip", "snappy", "lz4", "zstd"], "lacks": {}, "idempotent": False}

    # Records

    def producer(self, codec, record_max):
        if (codec, record_max) not in self.producers:
            config = {**self.config, "acks": "all"}
            if codec:
                config["compression.type"] = codec
            if record_max:
                config["message.max.bytes"] = record_max
            self.producers[codec, record_max] = confluent_kafka.Producer(config)
        return self.producers[codec, record_max]

    def produce(self, topic, records, codec=None, record_max=None, pace_ms=0):
        producer = self.producer(codec, record_max)
        acks = [None] * len(records)

        def delivered(index):
            def on_delivery(error, message):
                acks[index] = ({"error": error.name(), "detail": error.str()} if error else
                               {"partition": message.partition(), "offset": message.offset()})
            return on_delivery

        for index, record in enumerate(map(protocol.decoded, records)):
            more = {name: record[name] for name in ("partition", "timestamp") if record[name] is not None}
            try:
                producer.produce(topic, record["value"], record["key"], headers=record["headers"], on_delivery=delivered(index), **more)
            except KafkaException as error:
                acks[index] = {"error": error.args[0].name(), "detail": error.args[0].str()}
            producer.poll(pace_ms / 1000)
        producer.flush()
        return {"acks": acks}

    def assign(self, topic, **where):
        if self.consumer:
            self.consumer.close()
        self.consumer = confluent_kafka.Consumer({**self.config, "group.id": "compat-assigned", "enable.auto.commit": False})
        wanted = []
        for partition, start in protocol.by_partition(where["from"]).items():
            if start == "beginning":
                start = confluent_kafka.OFFSET_BEGINNING
            elif isinstance(start, dict):
                [found] = self.consumer.offsets_for_times([TopicPartition(topic, partition, start["timestamp"])], 30)
                start = found.offset
            wanted.append(TopicPartition(topic, partition, start))
        self.consumer.assign(wanted)

    def subscribe(self, group, topic, instance=None, session_ms=None):
        config = {**self.config, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        if instance:
            config["group.instance.id"] = instance
        if session_ms:
            config["session.timeout.ms"] = session_ms
        self.topic = topic
        self.assigned = []
        self.consumer = confluent_kafka.Consumer(config)

        def on_assign(_, partitions):
            self.assigned = sorted(p.partition for p in partitions)
            self.rebalances += 1

        def on_revoke(_, partitions):
            self.assigned = []

        self.consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_revoke)

    def poll(self, timeout_ms):
        found = []
        end = time.monotonic() + timeout_ms / 1000
        while not found and (left := end - time.monotonic()) > 0:
            first = self.consumer.poll(left)
            if first is None:  # a message is false, too, if its value is empty or null
                continue
            for message in [first, *self.consumer.consume(1000, 0)]:
                if message.error():
                    raise KafkaException(message.error())
                found.append(protocol.encoded(message.partition(), message.offset(), message.key(), message.value(),
                                              message.headers(), message.timestamp()[1]))
        return {"records": found, "assigned": self.assigned, "rebalances": self.rebalances}

    def commit(self, offsets):
        wanted = [TopicPartition(self.topic, p, o) for p, o in protocol.by_partition(offsets).items()]
        for result in self.consumer.commit(offsets=wanted, asynchronous=False):
            if result.error:
                raise KafkaException(result.error)

    def committed(self, topic, partitions):
        found = self.consumer.committed([TopicPartition(topic, p) for p in partitions], 30)
        return {"offsets": {p.partition: p.offset if p.offset >= 0 else None for p in found}}

    def close(self):
        self.consumer.close()
        self.consumer = None
        return {"records": []}

    # Topics

    def one(self, futures):
        [future] = futures.values()
        return future.result(60)

    def create_topic(self, name, partitions, replication, configs):
        self.one(self.client.create_topics([NewTopic(name, partitions, replication, config=configs)]))

    def delete_topic(self, name):
        self.one(self.client.delete_topics([name]))

    def topics(self):
        return {"topics": list(self.client.list_topics(timeout=30).topics)}

    def partitions(self, name):
        return {"partitions": len(self.client.list_topics(name, timeout=30).topics[name].partitions)}

    def create_partitions(self, name, count):
        self.one(self.client.create_partitions([NewPartitions(name, count)]))

    def configs(self, topic):
        found = self.one(self.client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))
        return {"configs": {name: entry.value for name, entry in found.items()}}

    def alter_configs(self, topic, configs):
        entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in configs.items()]
        self.one(self.client.incremental_alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)]))

    def delete_records(self, topic, offsets):
        self.one(self.client.delete_records([TopicPartition(topic, p, o) for p, o in protocol.by_partition(offsets).items()]))

    def offsets(self, topic, partitions):
        bounds = []
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):
            found = self.client.list_offsets({TopicPartition(topic, p): spec for p in partitions})
            bounds.append({tp.partition: future.result(30).offset for tp, future in found.items()})
        return {"offsets": {p: [bounds[0][p], bounds[1][p]] for p in partitions}}


if __name__ == "__main__":
    protocol.serve(Driver(sys.argv[1]), refused)
