"""Clocks that are wrong. Faults 29 and 30."""

import datetime
import pathlib
import re
import time

import network
import raw
import rawkafka
from catalogue import fault
from cluster import create_topic
from scene import Skipped, Stage, Trial

FAKETIME = [pathlib.Path(p) for p in (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")]
HOUR_MS = 3_600_000
INVALID_TIMESTAMP = 32


def shift(home, seconds):
    (home / "clock.new").write_text(f"{seconds:+d}s\n")
    (home / "clock.new").rename(home / "clock")


def says_its_clock_is_off(cluster, node):
    """By the time of its newest line."""
    for line in reversed(cluster.log_end(node).splitlines()):
        if found := re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line):
            return datetime.datetime.fromisoformat(found.group() + "+00:00").timestamp() - time.time()
    raise AssertionError(f"node {node} says nothing")


@fault(29, stage=None)
def wall_clock():
    """Wall clocks jump an hour forward and back, of a broker, of the Raft leader, of all (libfaketime): no election, nobody is
    fenced, nothing waits."""
    library = next((path for path in FAKETIME if path.exists()), None)
    if library is None:
        raise Skipped("libfaketime is not installed (apt install faketime)")
    stage = Stage(before=lambda home: ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={home}/clock",
                                       "FAKETIME_CACHE_DURATION=1", "DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"])
    for node in stage.nodes:
        shift(stage.cluster.home(node), 0)
    with stage, Trial(stage, "clocks") as trial:
        cluster = trial.cluster
        time.sleep(2)
        logs, term = network.Logs(cluster), cluster.status()["term"]
        raft = cluster.raft_leader()
        began, jumps = time.monotonic(), 0
        for nodes, seconds in (([trial.broker()], 3600), ([trial.broker()], -3600), ([raft], 3600), ([raft], -3600), (stage.nodes, 3600),
                               (stage.nodes, -3600), ([raft], 0), (stage.nodes, 0)):
            for node in nodes:
                shift(cluster.home(node), seconds)
            time.sleep(2)
            jumps += 1
            cluster.cli("topic", "create", f"at-{jumps}", "--partitions", "3")
            time.sleep(1)
            for node in nodes:
                off = says_its_clock_is_off(cluster, node)
                assert abs(off - seconds) < 60, f"node {node}'s clock is off by {off:.0f} s, not {seconds}: libfaketime does nothing"
        gap = max(trial.load.gaps(began).values())
        counted = logs.count()
        assert counted == {"controllers": 0, "fencings": 0} and cluster.status()["term"] == term, f"{counted}:\n{logs.text()}"
        assert all(p["leader_epoch"] == 0 and len(p["isr"]) == 3 for p in trial.partitions().values()), trial.partitions()
        trial.note(f"longest gap while clocks jump {gap:.2f} s")
        # A node that starts with a wrong clock is a member like any other.
        victim = trial.broker()
        shift(cluster.home(victim), -86_400 * 365)
        cluster.kill(victim)
        cluster.start(victim)
        cluster.wait_in_sync("clocks")
    return trial.summary()


@fault(30, stage=None)
def producers_clocks():
    """Producers with wrong clocks: the far future is refused, and a record of now is not deleted for what others in its
    segment, or its batch's header, claim."""
    with Stage(properties=["log.retention.check.interval.ms=200", "log.roll.ms=1500"]) as stage:
        cluster = stage.cluster
        topic = "timestamps"
        create_topic(cluster, topic, 3, [f"retention.ms={HOUR_MS}"])
        now = int(time.time() * 1000)
        leaders = {p["partition"]: raw.Node(cluster, p["leader"]) for p in cluster.topic(topic)["partitions"]}

        def send(partition, at, claims=None):
            error, offset = leaders[partition].append(topic, partition, at_time(at, claims))
            return error if error else offset

        far = 100 * 365 * 24 * HOUR_MS
        assert send(0, now + 2 * HOUR_MS) == INVALID_TIMESTAMP, "two hours ahead is stored"
        assert send(0, now + far) == INVALID_TIMESTAMP, "a hundred years ahead is stored"
        # 0: old ones around one of now; they may go, as in Kafka (message.timestamp.before.max.ms refuses them). 1: headers
        # that claim 1970 over records of now. 2: no timestamp at all.
        first = {0: 0, 1: 0, 2: 0}
        for number in range(5):
            send(0, now - 2 * HOUR_MS)
            if number == 2:
                first[0] = send(0, now)
            send(0, 1)
            send(1, now, claims=1)
            send(2, -1)
        ends = {p: leaders[p].list_offsets(topic, p)[1] for p in leaders}
        # Beyond log.roll.ms: the next record rolls the segment, and then it is retention's.
        time.sleep(2)
        for partition in leaders:
            send(partition, now + 60_000)
        time.sleep(3)
        for partition, node in leaders.items():
            found = node.first_batch(topic, partition, first[partition])
            assert found and found[0] == first[partition], f"partition {partition}: a record of now is deleted"
            assert node.list_offsets(topic, partition)[1] == ends[partition] + 1
        cluster.assert_no_panic()
    return "three kinds of wrong timestamps kept, far futures refused"


def at_time(timestamp, claims):
    """A batch of one record; `claims`: the greatest timestamp that its header names, against the truth."""
    return rawkafka.batch(rawkafka.record(0, b"k", b"v"), 0, 1, timestamp=timestamp, max_timestamp=claims)
