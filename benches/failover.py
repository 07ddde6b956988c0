"""kill -9 of the broker that leads: how long until an unmodified librdkafka producer with defaults is acknowledged again.

For each partition led by the victim: from the kill to the first acknowledgement of a record sent after it. Every run is
listed, none dropped. Apache Kafka in the same run where KAFKA names an installation (tests/kafka/install.sh).

Then silence instead of death: SIGSTOP of the broker, and every packet of its machine dropped, for which nodes run in network
namespaces (root only). Clients with defaults wait for a silent broker until their own timeouts, if nobody tells them.

RUNS=10 (kills of a plain broker, and as many of the Raft leader's)  SILENT_RUNS=3 (of each of the four kinds of silence)
"""

import os
import pathlib
import random
import signal
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

import netns  # noqa: E402
from cluster import Cluster, create_topic  # noqa: E402

RUNS = int(os.environ.get("RUNS", "10"))
SILENT_RUNS = int(os.environ.get("SILENT_RUNS", "3"))
KAFKA_RUNS = int(os.environ.get("KAFKA_RUNS", "3"))
PARTITIONS = 6
TOPIC = "failover"
PHASE = random.Random(1)


class Producer(threading.Thread):
    """acks=all and nothing else set; 200 records a second to each partition, or one `every_s`."""

    def __init__(self, bootstrap, topic, every_s=0.005):
        super().__init__(daemon=True)
        self.topic, self.every_s = topic, every_s
        self.producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "acks": "all"})
        self.acks = []  # (partition, sent at, acknowledged at)
        self.failed = []
        self.stopping = threading.Event()

    def run(self):
        due = time.monotonic()
        while not self.stopping.is_set():
            for partition in range(PARTITIONS):
                now = time.monotonic()
                self.producer.produce(self.topic, struct.pack(">d", now) + bytes(92), partition=partition, on_delivery=self.delivered)
            # An acknowledgement ends a poll before its time.
            due = max(due + self.every_s, time.monotonic())
            while (left := due - time.monotonic()) > 0:
                self.producer.poll(left)
        self.producer.flush(60)

    def delivered(self, error, message):
        sent, = struct.unpack(">d", message.value()[:8])
        if error:
            self.failed.append(str(error))
        else:
            self.acks.append((message.partition(), sent, time.monotonic()))


def measure(bootstrap, leads, kill, topic=None, takes_time=False, every_s=0.005):
    """Gaps in seconds of the partitions in `leads` for one kill, which `takes_time` until it is done."""
    producer = Producer(bootstrap, topic or TOPIC, every_s)
    producer.start()
    # librdkafka looks for leaderless partitions once a second: the kill must not keep step with that.
    time.sleep(1.5 + PHASE.random())
    killed = time.monotonic()
    kill()
    if takes_time:
        killed = time.monotonic()
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
    if not gaps:
        return
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


def silence(machines):
    """SIGSTOP of the broker that leads, and its machine off the network: a topic of its own for each run, so that leaders
    are spread."""
    results = {}
    with Cluster(hosts=machines.hosts, within=machines.within) as cluster:
        cluster.start()
        number = 0
        for how in ("SIGSTOP", "DROP"):
            for what in ("a broker", "the Raft leader"):
                gaps = results[f"{how} of {what}"] = []
                for run in range(SILENT_RUNS):
                    number += 1
                    topic = f"{TOPIC}-{number}"
                    create_topic(cluster, topic, PARTITIONS)
                    raft = cluster.raft_leader()
                    victim = raft if what == "the Raft leader" else next(n for n in range(3) if n != raft)
                    leads = [p["partition"] for p in cluster.topic(topic)["partitions"] if p["leader"] == victim]
                    stopped = how == "SIGSTOP"
                    healed = threading.Timer(12, lambda: cluster.signal(victim, signal.SIGCONT) if stopped else machines.heal())
                    healed.start()
                    hush = (lambda: cluster.signal(victim, signal.SIGSTOP)) if stopped else (lambda: machines.drop(victim))
                    found = measure(cluster.bootstrap, leads, hush, topic=topic, takes_time=True)
                    healed.join()
                    cluster.wait_in_sync(topic)
                    gaps += found
                    print(f"  Ottla, {how} of {what}, run {run + 1}: node {victim}, gaps {[round(g, 3) for g in found]}", flush=True)
    return results


def kafka(home):
    scratch = tempfile.mkdtemp(prefix="ottla-peer-")
    ports = ["19092", "19095", "19098"]
    env = {**os.environ, "KAFKA": home, "ROOT": f"{scratch}/kafka", "PORTS": " ".join(ports)}
    script = str(HERE.parent / "tests" / "kafka" / "cluster.sh")
    subprocess.run([script, "up"], env=env, check=True)
    gaps, silent = [], []
    bootstrap = ",".join(f"localhost:{p}" for p in ports)
    try:
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
        for future in admin.create_topics([confluent_kafka.admin.NewTopic(TOPIC, PARTITIONS, 3)]).values():
            future.result(30)
        for run in range(KAFKA_RUNS):
            partitions = in_sync(admin)
            led = {n: [p for p, m in partitions.items() if m.leader == n] for n in range(3)}
            victim = max(led, key=lambda n: len(led[n]))
            found = measure(bootstrap, led[victim], lambda: subprocess.run([script, "kill9", str(victim)], env=env, check=True))
            gaps += found
            print(f"  Apache Kafka, run {run + 1}: node {victim}, gaps {[round(g, 3) for g in found]}", flush=True)
            subprocess.run([script, "start", str(victim)], env=env, check=True)
        for run in range(min(KAFKA_RUNS, SILENT_RUNS)):
            partitions = in_sync(admin)
            led = {n: [p for p, m in partitions.items() if m.leader == n] for n in range(3)}
            victim = max(led, key=lambda n: len(led[n]))
            pid = int((pathlib.Path(scratch) / "kafka" / str(victim) / "pid").read_text())
            healed = threading.Timer(45, lambda: os.kill(pid, signal.SIGCONT))
            healed.start()
            found = measure(bootstrap, led[victim], lambda: os.kill(pid, signal.SIGSTOP))
            healed.join()
            silent += found
            print(f"  Apache Kafka, SIGSTOP, run {run + 1}: node {victim}, gaps {[round(g, 3) for g in found]}", flush=True)
    finally:
        subprocess.run([script, "down"], env=env)
    return gaps, silent


def in_sync(admin):
    end = time.monotonic() + 120
    while True:
        partitions = admin.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        if len(partitions) == PARTITIONS and all(len(p.isrs) == 3 for p in partitions.values()):
            return partitions
        assert time.monotonic() < end, "Apache Kafka does not get in sync"
        time.sleep(0.5)


def main():
    if netns.PREFIX in os.environ:
        for name, gaps in silence(netns.Machines(os.environ[netns.PREFIX])).items():
            report(f"Ottla, {name}", gaps)
        return
    for name, gaps in ottla().items():
        report(f"Ottla, kill -9 of {name}", gaps)
    if SILENT_RUNS:
        netns.inside(__file__)
    home = os.environ.get("KAFKA", "")
    if os.path.exists(f"{home}/bin/kafka-server-start.sh"):
        killed, silent = kafka(home)
        report("Apache Kafka, kill -9 of a broker", killed)
        if silent:
            report("Apache Kafka, SIGSTOP of a broker (at most until it goes on, after 45 s)", silent)
    else:
        print("skipped: Apache Kafka is not installed (make kafka)")


if __name__ == "__main__":
    main()
