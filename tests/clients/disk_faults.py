"""Disks that fail under a node: EIO on write and on sync of its log directory and of its Raft directory, then power loss of all
nodes; flipped bits in a follower's and a leader's segments; the last member of a relaxed ISR loses power. Needs root and
/dev/fuse. FAULTS=name,… runs some."""

import os
import signal
import subprocess
import time

import kill
import rot
from cluster import Cluster, create_topic
from layer import Layers, missing
from power_loss import BACK_MAX, Load, Scene
from skipped import Skipped

kill.RATE = 600
HELD = 3.0  # seconds of load while the fault lasts


def until(what, condition, seconds=BACK_MAX):
    """Waits for it; seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def leaders(cluster, topic):
    try:
        return {p["leader"] for p in cluster.topic(topic)["partitions"]}
    except RuntimeError:
        # The node that was asked was just being stopped.
        return {None}


def change_metadata(cluster, topic):
    """A change of the metadata, whatever becomes of the answer."""
    try:
        cluster.cli("topic", "create", topic, "--partitions", "1")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"  {topic}: {str(error).strip().splitlines()[-1]}")


def finish(scene, load):
    load.finish()
    assert not load.errors, f"{len(load.errors)} records failed, first: {load.errors[:3]}"
    kill.compare(load.acknowledged, kill.read_back(scene.cluster.bootstrap, load.topic))
    scene.cluster.wait_in_sync(load.topic)
    kill.compare_replicas(scene.cluster, load.topic)
    scene.cluster.assert_no_panic()


def start_load(scene, topic, configs=()):
    create_topic(scene.cluster, topic, kill.PARTITIONS, configs)
    load = Load(scene.cluster.bootstrap, topic)
    load.start()
    load.wait_for(300)
    return load


def failing(scene, word, part):
    """One node's disk fails for good: others lead, the records flow. Its page cache has what its disk has not when the
    node starts again; then all lose power."""
    cluster, topic = scene.cluster, word + part.rstrip("/").replace("/", "-")
    load = start_load(scene, topic)
    node = max(range(3), key=lambda n: sum(p["leader"] == n for p in cluster.topic(topic)["partitions"]))
    position = rot.size_of_log(cluster, node)
    scene.layers[node].tell(word, part)
    if part == "/raft/":
        # Nobody writes there while nothing changes.
        change_metadata(cluster, f"{topic}-more")
    moved = until(f"others lead than node {node}, where {word} {part} is at work", lambda: not leaders(cluster, topic) & {node, -1, None})
    rot.said(cluster, node, position, "the node cannot go on")  # it has no other directory
    until(f"node {node} has stopped", lambda: cluster.processes[node].poll() is not None)
    load.wait_for(int(HELD * kill.RATE))
    failed = scene.layers[node].tell("stats")["failed"]
    assert failed > 0, "nothing failed"
    cluster.kill(node)
    scene.layers[node].tell("heal")
    took = scene.come_back([node], [load])
    load.wait_for(300)
    scene.lose([0, 1, 2])
    again = scene.come_back([0, 1, 2], [load])
    load.wait_for(300)
    finish(scene, load)
    print(f"  {topic}: others led after {moved:.1f} s, {failed} calls failed; in sync {took:.1f} s after it was mended, and {again:.1f} s after power "
          f"was lost; {load.count} records", flush=True)


def write_data(scene):
    failing(scene, "fail-write", "/data/")


def sync_data(scene):
    failing(scene, "fail-sync", "/data/")


def sync_segments(scene):
    failing(scene, "fail-sync", ".log")


def sync_marks(scene):
    failing(scene, "fail-sync", "/data/marks")


def sync_everywhere(scene):
    """◆ The storage under all nodes fails their syncs at once. What they find in the page cache when they start again is on no
    disk, and no sync would bring it there (Linux counts it as clean): it must be written again before it is acknowledged."""
    cluster = scene.cluster
    load = start_load(scene, "sync-everywhere")
    for layer in scene.layers.layers:
        layer.tell("fail-sync", ".log")
    for node in range(3):
        until(f"node {node} has stopped", lambda: cluster.processes[node].poll() is not None)
        cluster.kill(node)
        scene.layers[node].tell("heal")
    took = scene.come_back([0, 1, 2], [load])
    load.wait_for(300)
    for node in range(3):
        cluster.kill(node)
        scene.layers[node].tell("forget")
    again = scene.come_back([0, 1, 2], [load])
    load.wait_for(300)
    finish(scene, load)
    print(f"  sync_everywhere: in sync {took:.1f} s after it was mended, and {again:.1f} s after power was lost; {load.count} records", flush=True)


def write_raft(scene):
    failing(scene, "fail-write", "/raft/")


def sync_raft(scene):
    failing(scene, "fail-sync", "/raft/")


def flipped(scene):
    """A bit in the segment that is written, on a follower and on a leader: recovery after a power loss meets it. In a rolled
    segment the scrub does."""
    cluster = scene.cluster
    create_topic(cluster, "flipped", 1, ["segment.bytes=1048576"])
    count = 0
    for which, role in ((-1, "follower"), (-1, "leader"), (0, "follower"), (0, "leader")):
        rot.produce(cluster, "flipped", count, 5_000)
        count += 5_000
        rot.wait_identical(cluster, "flipped")
        leads = cluster.topic("flipped")["partitions"][0]["leader"]
        node = leads if role == "leader" else (leads + 1) % 3
        segment = rot.segments(cluster, node, "flipped")[which]
        position = rot.size_of_log(cluster, node)
        scene.layers[node].tell("flip", f"/data/flipped-0/{segment.name}", segment.stat().st_size // 2)
        scene.lose([0, 1, 2])
        cluster.start()
        rot.said(cluster, node, position, "the log is damaged")
        rot.wait_identical(cluster, "flipped")
        rot.see_all(cluster, "flipped", count)
        print(f"  flipped: {'the active' if which else 'a rolled'} segment of the {role}: copied again, {count} records", flush=True)
    cluster.assert_no_panic()


def last_member(scene):
    """◆ Two nodes stop in order, the third is the last member of a relaxed topic's ISR and loses power: who stopped last is
    eligible (KIP-966) and leads with everything that was acknowledged."""
    cluster = scene.cluster
    load = start_load(scene, "last-member", ["flush.messages=1000000", "flush.ms=600000"])
    for node in (1, 2):
        cluster.kill(node, signal.SIGTERM)
    time.sleep(1)
    scene.lose([0])
    cluster.start(1, 2)
    took = until("a node that stopped in order leads", lambda: leaders(cluster, load.topic) <= {1, 2})
    load.wait_for(300)
    cluster.start(0)
    cluster.wait_in_sync(load.topic)
    finish(scene, load)
    print(f"  last_member: led again after {took:.1f} s, all {load.count} acknowledged records of a topic in memory are there", flush=True)


# With the journal a segment is synced later, when its records are long on the disk.
PLAIN = [sync_segments, sync_everywhere]
FAULTS = [write_data, sync_data, sync_segments, sync_marks, sync_everywhere, write_raft, sync_raft, flipped, last_member]


def main():
    reason = missing()
    if reason is not None:
        raise Skipped(reason)
    names = [name for name in os.environ.get("FAULTS", "").split(",") if name]
    scrub = ["log.scrub.bytes.per.second=50000000", "log.scrub.interval.ms=1000"]
    chosen = [fault for fault in FAULTS if not names or fault.__name__ in names]
    for strategy in ("journal", "plain"):
        faults = [fault for fault in chosen if (fault in PLAIN) == (strategy == "plain")]
        if not faults:
            continue
        with Cluster(properties=[*scrub, f"log.flush.strategy={strategy}"]) as cluster, Layers(cluster) as layers:
            scene = Scene(cluster, layers, int(os.environ.get("SEED", 1)) * 1_000_000)
            cluster.start()
            for fault in faults:
                fault(scene)


if __name__ == "__main__":
    main()
