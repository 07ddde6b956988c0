"""kill -9 of the broker that leads: how long until an unmodified librdkafka producer with defaults is acknowledged again.

For each partition led by the victim: from the kill to the first acknowledgement of a record sent after it. Every run is
listed, none dropped. Apache Kafka in the same run where KAFKA names an installation (tests/kafka/install.sh).

RUNS=10 (kills of a plain broker, and as many of the Raft leader's)
"""

import os
import pathlib
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

import confluent_kafka
import confluent_kafka.admin

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "clients"))

from cluster import Cluster, create_topic  # noqa: E402

RUNS = int(os.environ.get("RUNS", "10"))
KAFKA_RUNS = int(os.environ.get("KAFKA_RUNS", "3"))
PARTITIONS = 6
TOPIC = "failover"
PHASE = random.Random(1)


class Producer(threading.Thread):
    """acks=all and nothing else set; 200 records a second to each partition."""

    def __init__(self, bootstrap):
        super().__init__(daemon=True)
        self.producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "acks": "all"})
        self.acks = []  # (partition, sent at, acknowledged at)
        self.failed = []
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            for partition in range(PARTITIONS):
                now = time.monotonic()
                self.producer.produce(TOPIC, struct.pack(">d", now) + bytes(92), partition=partition, on_delivery=self.delivered)
            self.producer.poll(0.005)
        self.producer.flush(60)

    def delivered(self, error, message):
        sent, = struct.unpack(">d", message.value()[:8])
        if error:
            self.failed.append(str(error))
        else:
            self.acks.append((message.partition(), sent, time.monotonic()))


def measure(bootstrap, leads, kill):
    """Gaps in seconds of the partitions in `leads` for one kill."""
    producer = Producer(bootstrap)
    producer.start()
    # librdkafka looks for leaderless partitions once a second: the kill must not keep step with that.
    time.sleep(1.5 + PHASE.random())
    killed = time.monotonic()
    kill()
    gaps = {}
    seen = 0
    while len(gaps) < len(leads) and time.monotonic() - killed < 60:
        acks = producer.acks
        for partition, sent, acknowledged in acks[seen:]:
            if partition in leads and sent > killed:
                gaps.setdefault(partition, acknowledged - killed)
        seen = len(acks)
        time.sleep(0.002)
    producer.stopping.set()
    producer.join(90)
    if producer.failed:
        print(f"    {len(producer.failed)} records failed: {producer.failed[0]}")
    return [gaps.get(partition, float("inf")) for partition in leads]


def report(name, gaps):
    gaps = sorted(gaps)
    print(f"{name}: {len(gaps)} partitions, p50 {statistics.median(gaps):.3f} s, p90 {gaps[int(len(gaps) * 0.9)]:.3f} s, worst {gaps[-1]:.3f} s", flush=True)


def ottla():
    results = {"a broker": [], "the Raft leader too": []}
    with Cluster() as cluster:
        cluster.start()
        create_topic(cluster, TOPIC, PARTITIONS)
        for name, gaps in results.items():
            done = 0
            while done < RUNS:
                topic = cluster.wait_in_sync(TOPIC)
                raft = cluster.raft_leader()
                led = {n: [p["partition"] for p in topic["partitions"] if p["leader"] == n] for n in range(3)}
                victims = [n for n in led if led[n] and (n == raft) == (name != "a broker")]
                if not victims:
                    # Every partition is led elsewhere: restart the others so that leadership moves.
                    other = next(n for n in led if led[n])
                    cluster.kill(other)
                    cluster.start(other)
                    continue
                victim = max(victims, key=lambda n: len(led[n]))
                run = measure(cluster.bootstrap, led[victim], lambda: cluster.kill(victim))
                done += 1
                gaps += run
                print(f"  Ottla, {name}, run {done}: node {victim}, gaps {[round(g, 3) for g in run]}", flush=True)
                cluster.start(victim)
    return results


def kafka(home):
    scratch = tempfile.mkdtemp(prefix="ottla-peer-")
    ports = ["19092", "19095", "19098"]
    env = {**os.environ, "KAFKA": home, "ROOT": f"{scratch}/kafka", "PORTS": " ".join(ports)}
    script = str(HERE.parent / "tests" / "kafka" / "cluster.sh")
    subprocess.run([script, "up"], env=env, check=True)
    gaps = []
    bootstrap = ",".join(f"localhost:{p}" for p in ports)
    try:
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
        for future in admin.create_topics([confluent_kafka.admin.NewTopic(TOPIC, PARTITIONS, 3)]).values():
            future.result(30)
        for run in range(KAFKA_RUNS):
            end = time.monotonic() + 120
            while True:
                partitions = admin.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
                if len(partitions) == PARTITIONS and all(len(p.isrs) == 3 for p in partitions.values()):
                    break
                assert time.monotonic() < end, "Apache Kafka does not get in sync"
                time.sleep(0.5)
            led = {n: [p for p, m in partitions.items() if m.leader == n] for n in range(3)}
            victim = max(led, key=lambda n: len(led[n]))
            found = measure(bootstrap, led[victim], lambda: subprocess.run([script, "kill9", str(victim)], env=env, check=True))
            gaps += found
            print(f"  Apache Kafka, run {run + 1}: node {victim}, gaps {[round(g, 3) for g in found]}", flush=True)
            subprocess.run([script, "start", str(victim)], env=env, check=True)
    finally:
        subprocess.run([script, "down"], env=env)
    return gaps


def main():
    for name, gaps in ottla().items():
        report(f"Ottla, kill -9 of {name}", gaps)
    home = os.environ.get("KAFKA", "")
    if os.path.exists(f"{home}/bin/kafka-server-start.sh"):
        report("Apache Kafka, kill -9 of a broker", kafka(home))
    else:
        print("skipped: Apache Kafka is not installed (make kafka)")


if __name__ == "__main__":
    main()
