#!/usr/bin/env python3
"""Records what a real Apache Kafka says to real clients, byte for byte, for crates/wire/tests/golden.rs.

    capture.py KAFKA_DIR OUT_DIR [BROKER_PORT...]
    ONLY=21,33 capture.py …     writes the files of these keys alone

Wants a running cluster on localhost (default ports 19092 19095 19098) whose brokers advertise their port
plus one: there a recording proxy listens, so clients, and the brokers among themselves, all pass it. Drives
Kafka's own tools, kafka-python, confluent-kafka and kcat through the proxies, and sends raw requests of every
version (raw_requests.py), because clients speak few. A few pairs of frames are kept per API, version and client;
they are written without their length prefix, in hex, one file per API key.
"""
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

import raw_requests

KEYS = {0: "produce", 1: "fetch", 2: "list_offsets", 3: "metadata", 8: "offset_commit", 9: "offset_fetch",
        10: "find_coordinator", 11: "join_group", 12: "heartbeat", 13: "leave_group", 14: "sync_group",
        15: "describe_groups", 16: "list_groups", 18: "api_versions",
        19: "create_topics", 20: "delete_topics", 21: "delete_records", 22: "init_producer_id", 23: "offset_for_leader_epoch",
        32: "describe_configs", 33: "alter_configs", 35: "describe_log_dirs", 37: "create_partitions",
        42: "delete_groups", 43: "elect_leaders",
        44: "incremental_alter_configs", 45: "alter_partition_reassignments", 46: "list_partition_reassignments", 47: "offset_delete",
        55: "describe_quorum", 60: "describe_cluster", 64: "unregister_broker", 75: "describe_topic_partitions"}
SAMPLES_MAX = {"raw": 32, "broker": 6}
FRAME_BYTES_MAX = 6000


class Recorder:
    """Pairs of frames that passed."""

    def __init__(self):
        self.client = "warm-up"
        self.kept = {}

    def record(self, request, response):
        key, version = int.from_bytes(request[:2], "big"), int.from_bytes(request[2:4], "big", signed=True)
        length = int.from_bytes(request[8:10], "big", signed=True)
        client_id = request[10:10 + max(length, 0)].decode(errors="replace")
        client = "broker" if re.match(r"broker-\d+-", client_id) else self.client
        if key not in KEYS or client == "warm-up" or len(response) > FRAME_BYTES_MAX or len(request) > FRAME_BYTES_MAX:
            return
        if b"/tmp" in response or b"This config" in response:  # paths of the machine; Kafka's documentation
            return
        samples = self.kept.setdefault((key, version, client), {})
        if len(samples) < SAMPLES_MAX.get(client, 2):
            # A raw request is sent on purpose; of the others those of the same lengths say the same.
            same = len(samples) if client == "raw" else (len(request), len(response))
            samples.setdefault(same, (request, response))

    def write(self, out):
        only = os.environ.get("ONLY")
        for key, name in KEYS.items():
            if only and str(key) not in only.split(","):
                continue
            rows = [{"version": version, "client": client, "request": request.hex(), "response": response.hex()}
                    for (k, version, client), samples in sorted(self.kept.items()) if k == key
                    for request, response in samples.values()]
            with open(os.path.join(out, f"{key:02}_{name}.json"), "w") as file:
                file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
            versions = sorted({row["version"] for row in rows})
            print(f"{key:3} {name:28} {len(rows):4} pairs, versions {versions}")


class Proxy:
    """Passes bytes between a client and one broker and hands frames to the recorder."""

    def __init__(self, recorder, broker_port):
        self.recorder, self.broker_port = recorder, broker_port

    async def serve(self):
        return await asyncio.start_server(self.connection, "127.0.0.1", self.broker_port + 1)

    async def connection(self, reader, writer):
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self.broker_port)
        except OSError:
            writer.close()
            return
        waiting = {}

        async def pump(source, sink, seen):
            try:
                while True:
                    prefix = await source.readexactly(4)
                    frame = await source.readexactly(int.from_bytes(prefix, "big"))
                    seen(frame)
                    sink.write(prefix + frame)
                    await sink.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                sink.close()

        def asked(frame):
            waiting[frame[4:8]] = frame

        def answered(frame):
            request = waiting.pop(frame[:4], None)
            if request is not None:
                self.recorder.record(request, frame)

        await asyncio.gather(pump(reader, broker_writer, asked), pump(broker_reader, writer, answered))


def start_proxies(recorder, ports):
    ready = threading.Event()

    async def main():
        servers = [await Proxy(recorder, port).serve() for port in ports]
        ready.set()
        await asyncio.gather(*(server.serve_forever() for server in servers))

    threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
    ready.wait()


def run(recorder, client, command, stdin=None):
    recorder.client = client
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)
    print(f"[{client}] {os.path.basename(command[0])} {' '.join(command[1:])[:90]}: {done.returncode}")
    if done.returncode != 0:
        print(done.stdout[-400:], done.stderr[-800:])


def java_tools(recorder, kafka, bootstrap):
    def tool(name, *arguments, stdin=None):
        command, *main = name.split()
        run(recorder, "java", [f"{kafka}/bin/{command}", *main, "--bootstrap-server", bootstrap, *arguments], stdin)

    tool("kafka-topics.sh", "--create", "--topic", "java", "--partitions", "2", "--replication-factor", "3")
    tool("kafka-topics.sh", "--describe", "--topic", "java")
    tool("kafka-topics.sh", "--list")
    tool("kafka-console-producer.sh", "--topic", "java", stdin="one\ntwo\nthree\n")
    tool("kafka-console-producer.sh", "--topic", "java", "--compression-codec", "zstd", stdin="z" * 200 + "\n")
    tool("kafka-console-consumer.sh", "--topic", "java", "--from-beginning", "--max-messages", "3")
    tool("kafka-console-consumer.sh", "--topic", "java", "--from-beginning", "--max-messages", "2", "--group", "g")
    groups = "kafka-run-class.sh org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    tool(groups, "--list", "--state")
    for what in ((), ("--members", "--verbose"), ("--state",)):
        tool(groups, "--describe", "--group", "g", *what)
    tool(groups, "--reset-offsets", "--group", "g", "--topic", "java", "--to-earliest", "--execute")
    tool(groups, "--delete-offsets", "--group", "g", "--topic", "java:0")
    tool(groups, "--delete", "--group", "g")
    tool("kafka-get-offsets.sh", "--topic", "java")
    tool("kafka-configs.sh", "--alter", "--entity-type", "topics", "--entity-name", "java", "--add-config",
         "retention.ms=86400000")
    tool("kafka-configs.sh", "--describe", "--entity-type", "topics", "--entity-name", "java")
    tool("kafka-configs.sh", "--alter", "--entity-type", "brokers", "--entity-default", "--add-config",
         "log.retention.ms=86400000")
    tool("kafka-configs.sh", "--alter", "--entity-type", "brokers", "--entity-default", "--delete-config",
         "log.retention.ms")
    tool("kafka-topics.sh", "--alter", "--topic", "java", "--partitions", "3")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"version": 1, "partitions": [{"topic": "java", "partition": 0, "offset": 1}]}, file)
        file.flush()
        tool("kafka-delete-records.sh", "--offset-json-file", file.name)
    # Of the scripts that start these classes tests/kafka/install.sh keeps none.
    elect = "kafka-run-class.sh org.apache.kafka.tools.LeaderElectionCommand"
    tool(elect, "--election-type", "preferred", "--topic", "java", "--partition", "0")
    tool(elect, "--election-type", "unclean", "--all-topic-partitions")
    reassign = "kafka-run-class.sh org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"version": 1, "partitions": [{"topic": "java", "partition": 0, "replicas": [2, 0]}]}, file)
        file.flush()
        for action in ("--execute", "--verify", "--cancel"):
            tool(reassign, "--reassignment-json-file", file.name, action)
    tool(reassign, "--list")
    tool("kafka-log-dirs.sh", "--describe", "--topic-list", "java")
    quorum = "kafka-run-class.sh org.apache.kafka.tools.MetadataQuorumCommand"
    tool(quorum, "describe", "--status")
    tool(quorum, "describe", "--replication")
    tool("kafka-run-class.sh org.apache.kafka.tools.ClusterTool unregister --id 77")
    tool("kafka-broker-api-versions.sh")
    tool("kafka-topics.sh", "--delete", "--topic", "java")


def kafka_python(recorder, bootstrap):
    import kafka
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
    recorder.client = f"kafka-python {kafka.__version__}"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic("kpy", 1, 3)])
    admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "kpy")])
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "kpy", {"retention.ms": "86400000"})])
    admin.create_partitions({"kpy": NewPartitions(2)})
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for value in (b"a", b"b" * 100):
        producer.send("kpy", value, key=b"k", headers=[("h", b"1")]).get(20)
    producer.close()
    consumer = kafka.KafkaConsumer("kpy", bootstrap_servers=bootstrap, group_id="kpy-group",
                                   auto_offset_reset="earliest", consumer_timeout_ms=8000)
    next(consumer)
    consumer.end_offsets(list(consumer.assignment()))
    consumer.close()
    admin.delete_topics(["kpy"])
    admin.close()
    print("[kafka-python] done")


def librdkafka(recorder, bootstrap):
    import confluent_kafka as ck
    from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                       NewTopic)
    recorder.client = f"librdkafka {ck.libversion()[0]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    [f.result() for f in admin.create_topics([NewTopic("rdk", 2, 3)]).values()]
    time.sleep(2)  # until every broker knows the topic
    [f.result() for f in admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, "rdk")]).values()]
    set_retention = ConfigEntry("retention.ms", "86400000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "rdk", incremental_configs=[set_retention])
    [f.result() for f in admin.incremental_alter_configs([resource]).values()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, "rdk", set_config={"retention.ms": "72000000"})
    [f.result() for f in admin.alter_configs([resource]).values()]
    [f.result() for f in admin.create_partitions([NewPartitions("rdk", 3)]).values()]
    admin.describe_cluster().result()
    producer = ck.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "lz4"})
    for i in range(5):
        producer.produce("rdk", key=str(i), value="v" * 30 * i)
    producer.flush(20)
    consumer = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": "rdk-group", "auto.offset.reset": "earliest"})
    consumer.subscribe(["rdk"])
    consumer.consume(5, 20)
    consumer.get_watermark_offsets(ck.TopicPartition("rdk", 0))
    consumer.offsets_for_times([ck.TopicPartition("rdk", 0, 1)], timeout=10)
    consumer.close()
    [f.result() for f in admin.delete_records([ck.TopicPartition("rdk", 0, -1)]).values()]
    [f.result() for f in admin.delete_topics(["rdk"]).values()]
    print("[librdkafka] done")


def kcat(recorder, bootstrap):
    topic = ["-b", bootstrap, "-t", "kcat"]
    run(recorder, "kcat", ["kcat", *topic, "-P", "-z", "snappy"], "x\ny\n")
    run(recorder, "kcat", ["kcat", *topic, "-C", "-o", "beginning", "-e", "-q"])
    run(recorder, "kcat", ["kcat", "-b", bootstrap, "-L", "-t", "kcat"])
    run(recorder, "kcat", ["kcat", "-b", bootstrap, "-Q", "-t", "kcat:0:-1"])


def main():
    kafka, out, ports = sys.argv[1], sys.argv[2], [int(p) for p in sys.argv[3:]] or [19092, 19095, 19098]
    recorder = Recorder()
    start_proxies(recorder, ports)
    bootstrap = f"localhost:{ports[0] + 1}"
    raw_requests.wait_for_brokers(ports)
    for part in (lambda: raw_requests.drive(recorder, [port + 1 for port in ports]),
                 lambda: kcat(recorder, bootstrap), lambda: kafka_python(recorder, bootstrap),
                 lambda: librdkafka(recorder, bootstrap), lambda: java_tools(recorder, kafka, bootstrap)):
        try:
            part()
        except Exception as error:  # one client less is better than none at all
            print("failed:", repr(error))
    recorder.client = "warm-up"
    recorder.write(out)


if __name__ == "__main__":
    main()
