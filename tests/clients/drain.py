"""Nodes that are emptied under load, wanted again, and removed: nothing is lost, no producer sees an error, and what cannot work
is refused with a sentence."""

import json
import signal
import subprocess
import time

import kill
from cluster import OTTLA, Cluster, create_topic
from network import Load

TOPIC = "drained"
GAP_MAX = 1.0


def node(cluster, *arguments, refused=False):
    """What the command prints as JSON; with `refused`, what it says instead."""
    command = [OTTLA, "node", *map(str, arguments), "--format", "json", "--bootstrap", cluster.bootstrap]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode != 0) == refused, f"{' '.join(command)}: exit {done.returncode}: {done.stderr}{done.stdout}"
    for line in done.stderr.splitlines():
        print(f"  {line}", flush=True)
    return done.stderr if refused else json.loads(done.stdout)


def load_of(cluster):
    """Per node: (drained, leaders, replicas)."""
    return {of["node_id"]: (of["drained"], of["leads"], of["replicas"]) for of in node(cluster, "list")}


def replicas(cluster):
    partitions = cluster.topic(TOPIC)["partitions"]
    return {p["partition"]: p["replicas"] for p in partitions}


def is_spread_over(cluster, nodes):
    """Three replicas each, all in sync, on these nodes alone."""
    for p in cluster.wait_in_sync(TOPIC)["partitions"]:
        assert len(p["replicas"]) == 3 and set(p["replicas"]) <= set(nodes), p
        assert p["leader"] in nodes, p


def empties(cluster, load, number, others):
    before = load_of(cluster)
    _, leads, count = before[number]
    plan = node(cluster, "drain", number, "--dry-run")
    assert (plan["leads"], plan["replicas"], plan["waiting"]) == (leads, count, 0), plan
    assert sum(plan["targets"].values()) == count and set(map(int, plan["targets"])) <= set(others), plan
    assert load_of(cluster) == before, "a dry run changed something"
    began = time.monotonic()
    node(cluster, "drain", number)
    took = time.monotonic() - began
    assert load_of(cluster)[number] == (True, 0, 0)
    is_spread_over(cluster, others)
    kept = [path.name for path in (cluster.home(number) / "data").glob(f"{TOPIC}-*") if not path.name.endswith("-delete")]
    assert not kept, f"node {number} still has {kept}"
    gaps = load.gaps(began)
    print(f"  node {number} led {leads} and had {count} replicas: empty in {took:.1f} s, longest gap of a partition "
          f"{max(gaps.values()):.3f} s", flush=True)
    assert max(gaps.values()) < GAP_MAX, gaps


def leaves_for_good(cluster, number):
    assert "running" in node(cluster, "remove", number, refused=True)
    cluster.kill(number, signal.SIGTERM)
    listed = node(cluster, "remove", number)
    assert number not in [of["node_id"] for of in listed if of["state"] != "not registered"], listed
    end = time.monotonic() + 30
    while number in [of["node"] for of in json.loads(cluster.cli("quorum", "status", "--format", "json"))["nodes"]]:
        assert time.monotonic() < end, "a removed node is still a member of the metadata group"
        time.sleep(0.1)


def compare_replicas(cluster):
    for partition, nodes in replicas(cluster).items():
        logs = [cluster.log_bytes(index, TOPIC, partition) for index in nodes]
        assert all(log == logs[0] for log in logs), f"replicas of {partition} differ: {[len(log) for log in logs]}"


def main():
    kill.RATE = 4_000
    with Cluster(nodes=5) as cluster:
        cluster.start()
        create_topic(cluster, TOPIC, kill.PARTITIONS)
        load = Load(cluster.bootstrap, TOPIC)
        load.start()
        while load.count < 3 * kill.RATE:
            time.sleep(0.05)
        empties(cluster, load, 1, [0, 2, 3, 4])
        empties(cluster, load, 3, [0, 2, 4])
        # Three are needed for three replicas.
        why = node(cluster, "drain", 4, refused=True)
        assert f"node 4 cannot be emptied: every other broker that takes replicas has one of {TOPIC}/" in why, why
        assert "no node 9 is registered" in node(cluster, "drain", 9, "--dry-run", refused=True)
        assert "is running" in node(cluster, "remove", 4, refused=True)
        node(cluster, "undrain", 1)
        assert load_of(cluster)[1] == (False, 0, 0), "what has moved stays where it is"
        create_topic(cluster, "later", 8)
        after = load_of(cluster)
        assert after[1][2] > 0 and after[3] == (True, 0, 0), after
        leaves_for_good(cluster, 3)
        load.finish()
        assert not load.errors, f"{len(load.errors)} records failed, first: {load.errors[:3]}"
        kill.compare(load.acknowledged, kill.read_back(cluster.bootstrap, TOPIC))
        cluster.wait_in_sync(TOPIC)
        compare_replicas(cluster)
        cluster.assert_no_panic()
        print(f"  {load.count} records", flush=True)


if __name__ == "__main__":
    main()
