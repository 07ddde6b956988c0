"""A node's file system fills up: the others go on, nothing acknowledged is lost, and the node takes records again by itself
once there is room. First by its own records, then by somebody else's file that takes the reserve too. Needs root."""

import os
import subprocess
import time

import confluent_kafka

import kill
from cluster import Cluster, create_topic

RESERVE = 16 << 20
SIZE = 128 << 20
FULL = "a log directory is full but for its reserve"
ROOM = "a log directory has room again"
VICTIM = 2


def wait_for_line(cluster, text, count=1, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if (cluster.home(VICTIM) / "ottla.log").read_text(errors="replace").count(text) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"node {VICTIM} never says {text!r}; its log ends:\n{cluster.log_end(VICTIM)}")


def free_bytes(path):
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def wait_out_of_isr(cluster, topic, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if all(VICTIM not in p["isr"] for p in cluster.topic(topic)["partitions"] if p["leader"] != VICTIM):
            return
        time.sleep(0.2)
    raise AssertionError(f"{cluster.topic(topic)}")


def fill(cluster, topic):
    """Records until the node is full."""
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "compression.type": "none"})
    value = os.urandom(100_000)
    log = cluster.home(VICTIM) / "ottla.log"
    full = log.read_text(errors="replace").count(FULL)
    end = time.monotonic() + 120
    while log.read_text(errors="replace").count(FULL) == full:
        assert time.monotonic() < end, "it does not fill up"
        for partition in range(kill.PARTITIONS):
            producer.produce(topic, value, partition=partition)
        producer.poll(0)
        producer.flush(1)
    producer.purge()
    producer.flush(10)


def main():
    if os.geteuid() != 0:
        print("  skipped: mounting a small file system needs root")
        return
    with Cluster(properties=[f"log.dir.reserve.bytes={RESERVE}", "replica.lag.time.max.ms=3000"]) as cluster:
        data = cluster.home(VICTIM) / "data"
        data.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(data)], capture_output=True, text=True)
        if mounted.returncode != 0:
            print(f"  skipped: {mounted.stderr.strip()}")
            return
        try:
            run(cluster, data)
        finally:
            cluster.stop(keep=True)
            subprocess.run(["umount", str(data)], check=True)


def run(cluster, data):
    cluster.start()
    create_topic(cluster, "filler", kill.PARTITIONS)
    create_topic(cluster, "kept", kill.PARTITIONS)
    kill.RATE = 200
    load = kill.Load(cluster.bootstrap, "kept")
    load.start()
    fill(cluster, "filler")
    wait_for_line(cluster, FULL)
    left = free_bytes(data)
    assert left > RESERVE - (4 << 20), f"only {left} bytes of the reserve are left"
    print(f"  full with {left >> 10} KiB left of a reserve of {RESERVE >> 10}", flush=True)
    wait_out_of_isr(cluster, "kept")
    # What others lead is acknowledged as before, and what the full node leads can be read.
    led_elsewhere = [p["partition"] for p in cluster.topic("kept")["partitions"] if p["leader"] != VICTIM]
    before = sum(len(load.acknowledged[p]) for p in led_elsewhere)
    time.sleep(2)
    assert sum(len(load.acknowledged[p]) for p in led_elsewhere) > before, "nothing is acknowledged"
    assert all(len(records) > 0 for records in kill.read_back(cluster.bootstrap, "kept"))
    assert cluster.processes[VICTIM].poll() is None
    cluster.cli("topic", "delete", "filler")
    wait_for_line(cluster, ROOM)
    cluster.wait_in_sync("kept")
    print("  room again", flush=True)

    # Somebody else takes all there is, the reserve too.
    ballast = data / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError as error:
            print(f"  {error.strerror}: {free_bytes(data)} bytes are left", flush=True)
    wait_for_line(cluster, FULL, count=2)
    time.sleep(3)
    assert cluster.processes[VICTIM].poll() is None, f"the node has stopped:\n{cluster.log_end(VICTIM)}"
    ballast.unlink()
    wait_for_line(cluster, ROOM, count=2)
    cluster.wait_in_sync("kept")
    load.finish()
    assert not load.errors, load.errors[:3]
    kill.compare(load.acknowledged, kill.read_back(cluster.bootstrap, "kept"))
    cluster.wait_in_sync("kept")
    kill.compare_replicas(cluster, "kept")
    text = (cluster.home(VICTIM) / "ottla.log").read_text(errors="replace")
    assert "goes offline" not in text, "the directory went offline"
    cluster.assert_no_panic()
    print(f"  {load.count} records acknowledged, all there, replicas are alike", flush=True)
