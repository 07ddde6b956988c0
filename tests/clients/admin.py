"""Administration by clients that are not ours and by ottla: more partitions, configs, deleted records, topics that come again."""

import json
import pathlib
import subprocess
import sys
import threading
import time

import confluent_kafka
import kafka
import kafka.admin
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions

from cluster import OTTLA, Cluster, create_topic

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "golden"))
import raw_requests

UNKNOWN_TOPIC_ID = 100


def until(what, condition, timeout=20):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.05)


def configs(cluster, topic):
    return {name: (c["value"], c["source"]) for name, c in cluster.topic(topic)["configs"].items()}


def alter_all_brokers(cluster, name, operation, value):
    """librdkafka has no way to say "all brokers", the resource without a name."""
    config = {"name": name, "operation": operation, "value": value}
    resource = {"type": 4, "name": "", "configs": [config]}
    answer = raw_requests.Broker(cluster.ports[0]).send(44, 1, {"resources": [resource], "validate_only": 0})
    # Correlation id and tags 5, throttle time 4, count 1.
    assert int.from_bytes(answer[10:12], "big") == 0, answer


def librdkafka(cluster):
    """The admin client of librdkafka, which sends each request to the controller that Metadata names: any node."""
    create_topic(cluster, "rdk", 2)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    resource = lambda kind, name, *entries: ConfigResource(kind, name, incremental_configs=list(entries))
    entry = lambda name, value, op: ConfigEntry(name, value, incremental_operation=op)

    def alter(kind, name, *entries):
        [f.result(10) for f in admin.incremental_alter_configs([resource(kind, name, *entries)]).values()]

    def described(name):
        found = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, "rdk")])
        return list(found.values())[0].result(10)[name]

    alter(ConfigResource.Type.TOPIC, "rdk", entry("cleanup.policy", "compact", AlterConfigOpType.APPEND),
          entry("max.message.bytes", "2000", AlterConfigOpType.SET))
    until("the appended policy", lambda: described("cleanup.policy").value == "delete,compact")
    # Effective at once: the leaders refuse what is larger.
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True})
    errors = []

    def produce(size):
        errors.clear()
        producer.produce("rdk", bytes(size), key="k", partition=0, on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(30) == 0
        return errors[0] and errors[0].code()

    too_large = confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE
    until("the smaller limit", lambda: produce(3_000) == too_large)
    assert produce(1_000) is None
    alter(ConfigResource.Type.TOPIC, "rdk", entry("cleanup.policy", "compact", AlterConfigOpType.SUBTRACT),
          entry("max.message.bytes", None, AlterConfigOpType.DELETE))
    until("the limit is gone", lambda: produce(3_000) is None)
    # For all brokers, under their name for it; a topic's own value is worth more.
    alter_all_brokers(cluster, "message.max.bytes", 0, "2500")
    until("the default of all brokers", lambda: produce(3_000) == too_large)
    assert configs(cluster, "rdk")["max.message.bytes"] == ("2500", "all brokers")
    alter(ConfigResource.Type.TOPIC, "rdk", entry("max.message.bytes", "9000", AlterConfigOpType.SET))
    until("the topic's own", lambda: produce(3_000) is None)
    alter_all_brokers(cluster, "message.max.bytes", 1, None)
    [f.result(10) for f in admin.create_partitions([NewPartitions("rdk", 5)]).values()]
    cluster.wait_in_sync("rdk")
    until("five partitions", lambda: len(cluster.topic("rdk")["partitions"]) == 5)
    producer.produce("rdk", b"in the new one", partition=4)
    assert producer.flush(30) == 0
    deleted = admin.delete_records([confluent_kafka.TopicPartition("rdk", 0, 2)])
    assert [f.result(20).low_watermark for f in deleted.values()] == [2]
    consumer = confluent_kafka.Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "unused"})
    assert consumer.get_watermark_offsets(confluent_kafka.TopicPartition("rdk", 0), 10)[0] == 2
    consumer.close()
    return "append, subtract, set, delete; defaults of all brokers; partitions; delete records"


def kafka_python(cluster):
    """kafka-python 2.0.2 knows AlterConfigs only, in its oldest versions."""
    create_topic(cluster, "kpy", 1, ["segment.ms=3600000"])
    admin = kafka.admin.KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    resource = kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, "kpy", {"retention.ms": "7200000"})
    answer = admin.alter_configs([resource])
    assert [r[0] for r in answer.resources] == [0], answer
    until("the old request replaces", lambda: {name: value for name, (value, source) in configs(cluster, "kpy").items()
                                               if source == "topic"} == {"retention.ms": "7200000"})
    admin.create_partitions({"kpy": kafka.admin.NewPartitions(3)})
    until("three partitions", lambda: len(cluster.topic("kpy")["partitions"]) == 3)
    admin.close()
    return "AlterConfigs v1, CreatePartitions v1"


def ottla(cluster):
    create_topic(cluster, "own", 1)
    out = cluster.cli("topic", "alter", "own", "--partitions", "3", "--config", "segment.bytes=1048576",
                      "--config", "retention.ms=3600000", "--format", "json")
    assert json.loads(out)["partitions"] == 3, out
    cluster.wait_in_sync("own")
    until("configs", lambda: configs(cluster, "own").get("segment.bytes") == ("1048576", "topic"))
    # A new segment size holds from the next append on.
    line = "x" * 1000 + "\n"
    cluster.cli("produce", "own", "--partition", "2", input=line * 5000)
    for index in range(3):
        until("rolled segments", lambda: len(list((cluster.home(index) / "data" / "own-2").glob("*.log"))) > 3)
    out = cluster.cli("topic", "delete-records", "own", "--partition", "2", "--before", "4000", "--format", "json")
    assert json.loads(out)["partitions"] == [{"partition": 2, "first_offset": 4000}], out
    # A consumer that asks for what is gone begins where the log begins.
    out = cluster.cli("consume", "own", "--partition", "2", "--from-beginning", "--exit")
    assert len(out.splitlines()) == 1000
    cluster.cli("topic", "alter", "own", "--delete-config", "segment.bytes")
    until("the default again", lambda: "segment.bytes" not in configs(cluster, "own"))

    def wrong(*arguments):
        done = subprocess.run([OTTLA, "topic", *arguments, "-b", cluster.bootstrap], capture_output=True, text=True, timeout=60)
        assert done.returncode != 0, arguments
        return done.stderr

    assert "currently has 3 partition(s); 2 would not be an increase" in wrong("alter", "own", "--partitions", "2")
    assert "Unknown topic config name: nope" in wrong("alter", "own", "--config", "nope=1", "--partitions", "9")
    assert len(cluster.topic("own")["partitions"]) == 3, "all or nothing"
    assert "no config of this name" in wrong("alter", "own", "--delete-config", "nope")
    assert "nothing to alter" in wrong("alter", "own")
    assert "beyond what is committed" in wrong("delete-records", "own", "--partition", "2", "--before", "9999999")
    return "alter, delete-records, errors"


def durability(cluster):
    """flush.messages and min.insync.replicas change under load; nothing that was acknowledged is lost."""
    create_topic(cluster, "durability", 1)
    acknowledged, failed, stop = [], [], threading.Event()

    def write():
        producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True,
                                             "linger.ms": 1})
        number = 0

        def delivered(error, message):
            (failed if error else acknowledged).append(message.value())

        while not stop.is_set():
            producer.produce("durability", b"%d" % number, on_delivery=delivered)
            number += 1
            producer.poll(0.005)
        producer.flush(30)

    writer = threading.Thread(target=write)
    writer.start()
    for config in ("flush.messages=1000", "min.insync.replicas=3", "flush.messages=1", "min.insync.replicas=1",
                   "flush.messages=7", "min.insync.replicas=2", "flush.messages=1"):
        before = len(acknowledged)
        cluster.cli("topic", "alter", "durability", "--config", config)
        until(f"acknowledgements after {config}", lambda: len(acknowledged) > before + 50)
    stop.set()
    writer.join()
    assert not failed
    found = cluster.cli("consume", "durability", "--from-beginning", "--exit").split()
    assert sorted(map(int, found)) == sorted(map(int, acknowledged)), "lost or doubled"
    return f"{len(acknowledged)} records over 7 changes"


def fetch_error(port, topic_id):
    """The partition's error in the answer to a Fetch 17 of a topic by its id."""
    partition = {"index": 0, "current_leader_epoch": -1, "fetch_offset": 0, "last_fetched_epoch": -1,
                 "log_start_offset": -1, "partition_max_bytes": 1000}
    answer = raw_requests.Broker(port).send(1, 17, {
        "replica_id": -1, "max_wait_ms": 10, "min_bytes": 1, "max_bytes": 1000, "isolation_level": 0, "session_id": 0,
        "session_epoch": -1, "topics": [{"name": "", "topic_id": topic_id, "partitions": [partition]}],
        "forgotten": [], "rack_id": ""})
    # Correlation id and tags 5, throttle time 4, error 2, session 4, count 1, topic id 16, count 1, index 4.
    return int.from_bytes(answer[37:39], "big", signed=True)


def comes_again(cluster):
    """A topic deleted and created again under its name while clients write and read."""
    create_topic(cluster, "again", 1)
    first = cluster.topic("again")
    stop, errors, delivered = threading.Event(), [], []

    def write():
        producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 1,
                                             "message.timeout.ms": 3_000, "topic.metadata.refresh.interval.ms": 200,
                                             "allow.auto.create.topics": False})
        generation = 0
        while not stop.is_set():
            generation += 1
            producer.produce("again", b"%d" % generation, on_delivery=lambda e, m: None if e else delivered.append(m.value()))
            producer.poll(0.01)
        producer.flush(10)

    def read():
        try:
            while not stop.is_set():
                consumer = confluent_kafka.Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "unused",
                                                     "auto.offset.reset": "earliest", "enable.auto.commit": False})
                consumer.assign([confluent_kafka.TopicPartition("again", 0, 0)])
                consumer.consume(500, 1)
                consumer.close()
        except Exception as error:  # an assertion of the main thread shows it
            errors.append(error)

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    [thread.start() for thread in threads]
    ids = [first["id"]]
    for _ in range(3):
        before = len(delivered)
        until("records of this life", lambda: len(delivered) > before + 50)
        cluster.cli("topic", "delete", "again")
        until("created again", lambda: subprocess.run(
            [OTTLA, "topic", "create", "again", "--partitions", "1", "-b", cluster.bootstrap], capture_output=True).returncode == 0)
        cluster.wait_in_sync("again")
        ids.append(cluster.topic("again")["id"])
    before = len(delivered)
    until("records of the last life", lambda: len(delivered) > before + 50)
    stop.set()
    [thread.join() for thread in threads]
    assert not errors, errors
    assert len(set(ids)) == 4, ids
    raw = [bytes.fromhex(i.replace("-", "")) for i in ids]
    for port in cluster.ports:
        for old in raw[:-1]:
            assert fetch_error(port, old) == UNKNOWN_TOPIC_ID
    leader = cluster.topic("again")["partitions"][0]["leader"]
    assert fetch_error(cluster.ports[leader], raw[-1]) == 0
    # Nothing of an earlier life is left: what is read was written in this one.
    found = list(map(int, cluster.cli("consume", "again", "--from-beginning", "--exit").split()))
    assert found and found == sorted(found) and found[0] > int(delivered[before - 1]) - 5_000
    for index in range(3):
        logs = cluster.home(index) / "data" / "again-0"
        assert logs.is_dir(), f"node {index} has no replica"
    return f"3 deletions, {len(delivered)} records acknowledged, old ids are unknown everywhere"


def not_deletable():
    with Cluster(nodes=1, properties=["delete.topic.enable=false"]) as cluster:
        cluster.start()
        create_topic(cluster, "kept", 1)
        done = subprocess.run([OTTLA, "topic", "delete", "kept", "-b", cluster.bootstrap], capture_output=True, text=True)
        assert done.returncode != 0 and "deletion is disabled" in done.stderr.lower(), done.stderr
        assert cluster.topic("kept")
    return "delete.topic.enable=false is honoured"


def main():
    with Cluster() as cluster:
        cluster.start()
        for scenario in (librdkafka, kafka_python, ottla, durability, comes_again):
            print(f"  {scenario.__name__}: {scenario(cluster)}", flush=True)
        cluster.assert_no_panic()
        # Whoever sets what changes nothing is told so, once.
        cluster.cli("topic", "alter", "own", "--config", "preallocate=true")
        logs = "".join((cluster.home(index) / "ottla.log").read_text() for index in range(3))
        told = [line for line in logs.splitlines() if "a config was set that has no effect here" in line]
        assert len(told) == 1 and "preallocate" in told[0] and "WARN" in told[0], told
    print(f"  not_deletable: {not_deletable()}", flush=True)


if __name__ == "__main__":
    main()
