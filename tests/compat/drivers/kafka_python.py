"""kafka-python, 2.0.2 (which many still have pinned) and 3."""

import re
import sys
import time

import kafka
import kafka.admin
import kafka.errors
from kafka.structs import OffsetAndMetadata, TopicPartition

import protocol

OLD = kafka.__version__.startswith("2.0")


def refused(error):
    if isinstance(error, kafka.errors.KafkaError) and getattr(error, "message", None):
        return protocol.Refused(error.message, f"{type(error).__name__}: {error}")
    return None


class Rebalances(kafka.ConsumerRebalanceListener):
    def __init__(self):
        self.count = 0

    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        self.count += 1


class Driver:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap.split(",")
        self.producers = {}
        self.consumer = None
        self.listener = None
        self.client_ = None

    def hello(self):
        return {"client": f"kafka-python {kafka.__version__}", "codecs": ["gzip", "snappy", "lz4", "zstd"], "idempotent": not OLD,
                "lacks": {"null headers": "it takes (str, bytes) only"},
                # An idempotent producer of version 3 takes every error of a batch but a few for its own end.
                "ends_when_refused": not OLD}

    # Records

    def producer(self, codec, record_max):
        if (codec, record_max) not in self.producers:
            more = {"max_request_size": record_max} if record_max else {}
            self.producers[codec, record_max] = kafka.KafkaProducer(
                bootstrap_servers=self.bootstrap, acks="all", compression_type=codec, **more)
        return self.producers[codec, record_max]

    def produce(self, topic, records, codec=None, record_max=None, pace_ms=0):
        producer = self.producer(codec, record_max)
        sent = []
        for record in map(protocol.decoded, records):
            try:
                sent.append(producer.send(topic, record["value"], record["key"], headers=record["headers"],
                                          partition=record["partition"], timestamp_ms=record["timestamp"]))
            except kafka.errors.KafkaError as error:
                sent.append(error)
            time.sleep(pace_ms / 1000)
        producer.flush()
        return {"acks": [self.acknowledged(future) for future in sent]}

    def acknowledged(self, future):
        error = future
        if not isinstance(future, Exception):
            try:
                metadata = future.get(120)
                return {"partition": metadata.partition, "offset": metadata.offset if metadata.offset >= 0 else None}
            except kafka.errors.KafkaError as failed:
                error = failed
        known = refused(error)
        return {"error": known.code if known else type(error).__name__, "detail": str(error)}

    def assign(self, topic, **where):
        if self.consumer:
            self.consumer.close()
        self.listener = None
        self.consumer = kafka.KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        starts = {TopicPartition(topic, p): start for p, start in protocol.by_partition(where["from"]).items()}
        self.consumer.assign(list(starts))
        times = {tp: start["timestamp"] for tp, start in starts.items() if isinstance(start, dict)}
        found = self.consumer.offsets_for_times(times) if times else {}
        for tp, start in starts.items():
            if start == "beginning":
                self.consumer.seek_to_beginning(tp)
            elif tp in times and found[tp] is None:
                self.consumer.seek_to_end(tp)
            else:
                self.consumer.seek(tp, found[tp].offset if tp in times else start)

    def subscribe(self, group, topic, instance=None, session_ms=None):
        more = {}
        if instance and OLD:
            raise protocol.Cannot("2.0.2 has no group_instance_id")
        if instance:
            more["group_instance_id"] = instance
        if session_ms:
            more.update(session_timeout_ms=session_ms, heartbeat_interval_ms=session_ms // 3)
        self.topic = topic
        self.listener = Rebalances()
        self.consumer = kafka.KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, auto_offset_reset="earliest",
                                            enable_auto_commit=False, **more)
        self.consumer.subscribe([topic], listener=self.listener)

    def poll(self, timeout_ms):
        found = []
        for records in self.consumer.poll(timeout_ms).values():
            found += [protocol.encoded(r.partition, r.offset, r.key, r.value, r.headers, r.timestamp) for r in records]
        if not self.listener:
            return {"records": found}
        return {"records": found, "assigned": sorted(tp.partition for tp in self.consumer.assignment()),
                "rebalances": self.listener.count}

    def commit(self, offsets):
        self.consumer.commit({TopicPartition(self.topic, p): OffsetAndMetadata(o, "") if OLD else OffsetAndMetadata(o, "", -1)
                              for p, o in protocol.by_partition(offsets).items()})

    def committed(self, topic, partitions):
        return {"offsets": {p: self.consumer.committed(TopicPartition(topic, p)) for p in partitions}}

    def close(self):
        self.consumer.close()
        self.consumer = None
        return {"records": []}

    # Topics

    @property
    def client(self):
        if not self.client_:
            self.client_ = kafka.KafkaAdminClient(bootstrap_servers=self.bootstrap)
        return self.client_

    def create_topic(self, name, partitions, replication, configs):
        self.client.create_topics([kafka.admin.NewTopic(name, partitions, replication, topic_configs=configs)])

    def delete_topic(self, name):
        self.client.delete_topics([name])

    def topics(self):
        return {"topics": self.client.list_topics()}

    def partitions(self, name):
        [topic] = self.client.describe_topics([name])
        return {"partitions": len(topic["partitions"])}

    def create_partitions(self, name, count):
        self.client.create_partitions({name: kafka.admin.NewPartitions(count)})

    def configs(self, topic):
        resource = kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, topic)
        if OLD:
            [response] = self.client.describe_configs([resource])
            [(error, message, _, _, entries)] = response.resources
            if error:
                raise kafka.errors.for_code(error)(message)
            return {"configs": {entry[0]: entry[1] for entry in entries}}
        [topics] = self.client.describe_configs([resource], config_filter="all").values()
        return {"configs": {name: entry["value"] for name, entry in topics[topic].items()}}

    def alter_configs(self, topic, configs):
        resource = kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, topic, configs)
        response = self.client.alter_configs([resource])
        if OLD:
            code, message = response.resources[0][:2]
            if code:
                raise kafka.errors.for_code(code)(message)
            return
        # Version 3 raises nothing here: it answers with the error's text.
        [answer] = response["topic"].values()
        if found := re.match(r"\[Error (\d+)\] \w+: (.*)", str(answer)):
            raise kafka.errors.for_code(int(found[1]))(found[2])

    def delete_records(self, topic, offsets):
        if OLD:
            raise protocol.Cannot("2.0.2 has no DeleteRecords")
        self.client.delete_records({TopicPartition(topic, p): o for p, o in protocol.by_partition(offsets).items()})

    def offsets(self, topic, partitions):
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.bootstrap)
        wanted = [TopicPartition(topic, p) for p in partitions]
        first, end = consumer.beginning_offsets(wanted), consumer.end_offsets(wanted)
        consumer.close()
        return {"offsets": {tp.partition: [first[tp], end[tp]] for tp in wanted}}


if __name__ == "__main__":
    protocol.serve(Driver(sys.argv[1]), refused)
