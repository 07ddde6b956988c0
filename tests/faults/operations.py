"""What people do to a cluster, while it is not well. Faults 31 and 33 to 40; 32 wants a second release."""

import json
import random
import subprocess
import time

import confluent_kafka.admin as admin

import kill
import quorum
import raw
import rolling
from catalogue import fault
from cluster import OTTLA, create_topic
from scene import HANG, QUIET, Stage, Trial, until


@fault(31, stage=None)
def rolling_restart():
    """Every node is restarted under load, one after the other: tests/clients/rolling.py."""
    rolling.main()


@fault(33, stage="five")
def reassign_and_kill(stage):
    """Replicas move while a source, then a target is killed: the move is over when all targets are in the ISR, the ISR is never
    more than the replicas, nothing is lost."""
    order = [[0, 1, 2]] * kill.PARTITIONS
    with Trial(stage, "moved", rate=3_000, assignment=order) as trial:
        time.sleep(5)
        for targets, victim in (([3, 4, 1], 0), ([0, 2, 4], 2), ([1, 2, 3], 4)):
            alive = next(n for n in stage.nodes if n != victim)
            raw.Node(trial.cluster, alive).reassign("moved", {p: targets for p in range(kill.PARTITIONS)})
            trial.cluster.kill(victim)
            time.sleep(3)
            sound(trial)
            if victim in targets:
                assert any(victim in p["replicas"] and set(p["replicas"]) - set(targets) for p in trial.partitions().values()), \
                    "a move is over although a target is dead"
            trial.cluster.start(victim)
            until("the replicas have moved", lambda: moved(trial, targets))
            sound(trial)
    return trial.summary()


def moved(trial, targets):
    now = trial.partitions()
    sound(trial, now)
    return all(p["replicas"] == targets and set(p["isr"]) == set(targets) for p in now.values())


def sound(trial, partitions=None):
    for p in (partitions or trial.partitions()).values():
        assert set(p["isr"]) <= set(p["replicas"]), f"the ISR is more than the replicas: {p}"
        assert p["leader"] in (-1, *p["isr"]), f"a leader outside the ISR: {p}"


@fault(34)
def leader_storm(stage):
    """Leadership is handed from node to node as fast as it goes for 20 s: every offset once, and none goes back."""
    with Trial(stage, "storm", rate=2_000) as trial:
        rng = random.Random(34)
        one = raw.Node(trial.cluster, trial.cluster.raft_leader())
        first = {n: p["leader_epoch"] for n, p in trial.partitions().items()}
        end, asked = time.monotonic() + 20, 0
        while time.monotonic() < end:
            order = rng.sample(range(3), 3)
            one.reassign("storm", {p: order for p in range(kill.PARTITIONS)})
            one.elect_preferred("storm", list(range(kill.PARTITIONS)))
            asked += 1
        turns = sum(p["leader_epoch"] - first[n] for n, p in trial.partitions().items())
        assert turns > 2 * kill.PARTITIONS, f"only {turns} elections: no storm"
        trial.note(f"{asked} transfers asked for, {turns} elections")
    return trial.summary()


@fault(35, stage="five")
def below_min_isr(stage):
    """One of two followers dies: acknowledged as before. Both: NOT_ENOUGH_REPLICAS, reads work, the high watermark stands."""
    topic, order = "min-isr", [[0, 1, 2]] * kill.PARTITIONS
    with Trial(stage, topic, assignment=order) as trial:
        began = time.monotonic()
        trial.cluster.kill(2)
        until("acknowledged by two", lambda: all(trial.acknowledged([p], began + 1) > 50 for p in range(kill.PARTITIONS)))
        trial.cluster.kill(1)
        until("the ISR is the leader", lambda: all(p["isr"] == [0] for p in trial.partitions().values()))
        leader = raw.Node(trial.cluster, 0)
        time.sleep(1)
        bounds = [leader.fetch(topic, p, 0) for p in range(kill.PARTITIONS)]
        answers = [leader.produce(topic, p, b"\xff" * 8) for p in range(kill.PARTITIONS)]
        assert all(a and a[0] == raw.NOT_ENOUGH_REPLICAS for a in answers), f"answers {answers}"
        # acks=1 appends where nobody else holds it: it may be lost later, so it must not be seen.
        time.sleep(2)
        after = [leader.fetch(topic, p, 0) for p in range(kill.PARTITIONS)]
        assert all(b[0] == raw.NONE and b[1] > 0 for b in bounds), bounds
        assert [b[1] for b in after] == [b[1] for b in bounds], f"the high watermark has moved: {bounds}, {after}"
        assert trial.acknowledged(range(kill.PARTITIONS), time.monotonic() - 2) == 0
    return trial.summary()


@fault(36)
def stale_client(stage):
    """A client that goes by old metadata: NOT_LEADER_OR_FOLLOWER from who does not lead, FENCED and UNKNOWN_LEADER_EPOCH for
    epochs that are over and that are not yet."""
    with Trial(stage, "stale") as trial:
        one = raw.Node(trial.cluster, trial.cluster.raft_leader())
        was = trial.partitions()[0]
        order = [*was["replicas"][1:], was["replicas"][0]]
        one.reassign("stale", {0: order})
        one.elect_preferred("stale", [0])
        now = until("another leads", lambda: (p := trial.partitions()[0])["leader"] == order[0] and p)
        old, new = (raw.Node(trial.cluster, n) for n in (was["leader"], now["leader"]))
        epoch = now["leader_epoch"]
        until("the new one leads", lambda: new.fetch("stale", 0, 0, current_leader_epoch=epoch)[0] == raw.NONE)
        # Its log end is told once what it began with is committed (KIP-207).
        until("and knows its end", lambda: new.list_offsets("stale", 0, current_leader_epoch=epoch)[0] == raw.NONE)
        until("the old one follows", lambda: old.fetch("stale", 0, 0, current_leader_epoch=was["leader_epoch"])[0] == raw.FENCED_LEADER_EPOCH)
        assert old.produce("stale", 0, b"\xff" * 8)[0] == raw.NOT_LEADER
        for node, asked, answer in (
                (new, was["leader_epoch"], raw.FENCED_LEADER_EPOCH), (new, epoch + 5, raw.UNKNOWN_LEADER_EPOCH), (new, epoch, raw.NONE),
                (old, was["leader_epoch"], raw.FENCED_LEADER_EPOCH), (old, epoch + 5, raw.UNKNOWN_LEADER_EPOCH),
                # Clients are not sent to followers yet (KIP-392).
                (old, epoch, raw.NOT_LEADER)):
            fetched = node.fetch("stale", 0, 0, current_leader_epoch=asked)[0]
            listed = node.list_offsets("stale", 0, current_leader_epoch=asked)[0]
            assert (fetched, listed) == (answer, answer), f"epoch {asked} (now {epoch}): errors {fetched}, {listed}, not {answer}"
    return trial.summary()


@fault(37)
def recreated(stage):
    """A topic is deleted and made again under its name while a node is down: the old topic id is refused, the node that comes
    back serves nothing of the old one."""
    topic = "again"
    cluster = stage.cluster
    create_topic(cluster, topic, kill.PARTITIONS)
    one = raw.Node(cluster, cluster.raft_leader())
    old_id = one.topic_id(topic)
    leader = cluster.topic(topic)["partitions"][0]["leader"]
    for _ in range(20):
        assert raw.Node(cluster, leader).produce(topic, 0, b"of the old topic")[0] == raw.NONE
    away = (cluster.raft_leader() + 1) % 3
    cluster.kill(away)
    cluster.cli("topic", "delete", topic)
    until("it is deleted", lambda: topic not in cluster.cli("topic", "list").split())
    cluster.cli("topic", "create", topic, "--partitions", str(kill.PARTITIONS))
    cluster.start(away)
    cluster.wait_in_sync(topic)
    new_id = raw.Node(cluster, away).topic_id(topic)
    assert new_id != old_id
    for node in stage.nodes:
        asked = raw.Node(cluster, node)
        answer = asked.fetch(topic, 0, 0, topic_id=old_id)
        assert answer[0] == raw.UNKNOWN_TOPIC_ID, f"node {node} answers a fetch of the old topic: {answer}"
        answer = asked.produce(topic, 0, b"to the old topic", topic_id=old_id)
        assert answer[0] == raw.UNKNOWN_TOPIC_ID, f"node {node} answers a produce to the old topic: {answer}"
    assert all(not records for records in kill.read_back(cluster.bootstrap, topic)), "records of the old topic are in the new one"
    cluster.cli("topic", "delete", topic)
    with Trial(stage, "again-loaded") as trial:
        time.sleep(1)
    return trial.summary()


@fault(38, stage="five")
def min_isr_changed(stage):
    """min.insync.replicas is changed while ISRs shrink: the ELR is cleared with it, and whoever leads then has everything."""
    # Two replicas of five nodes: with both dead three still vote.
    topic, order = "elr", [[0, 1]] * kill.PARTITIONS
    with Trial(stage, topic, assignment=order) as trial:
        one = raw.Node(trial.cluster, 3)
        trial.cluster.kill(1)
        # Two are wanted and one is left: the other is eligible still.
        seen = until("the ELR is there", lambda: (now := one.elr(topic)) and all(1 in elr for _, _, elr in now.values()) and now)
        trial.note(f"(leader, ISR, ELR) was {seen[0]}")
        trial.cluster.cli("topic", "alter", topic, "--config", "min.insync.replicas=1")
        until("the ELR is cleared", lambda: all(not elr for _, _, elr in one.elr(topic).values()))
        began = time.monotonic()
        until("one suffices", lambda: trial.acknowledged(range(kill.PARTITIONS), began) > 100)
        trial.cluster.kill(0)
        until("nobody leads", lambda: all(leader == -1 for leader in trial.leaders().values()))
        trial.cluster.start(1, wait=False)
        time.sleep(4)
        assert all(leader == -1 for leader in trial.leaders().values()), "a replica leads that lacks what node 0 has acknowledged"
        trial.cluster.start(0, wait=False)
        until("node 0 leads", lambda: all(leader == 0 for leader in trial.leaders().values()))
    return trial.summary()


WEEK_MS = 7 * 24 * 3_600_000
SNAPSHOT_EVERY = 2_000  # entries; crates/controller/src/control_plane.rs


@fault(39, stage=None)
def snapshot_for_a_late_node():
    """A node is away while the metadata log is snapshotted and purged: it gets the snapshot and knows what the others know."""
    with Stage() as stage:
        cluster = stage.cluster
        with Trial(stage, "late", rate=200) as trial:
            away = next(n for n in stage.nodes if n != cluster.raft_leader())
            client = admin.AdminClient({"bootstrap.servers": cluster.bootstrap, **QUIET})
            cluster.kill(away)
            behind = cluster.status()["metadata_index"]
            number = 0
            while cluster.status()["metadata_index"] < behind + 2 * SNAPSHOT_EVERY + 200:
                for _ in range(100):
                    number += 1
                    set_retention(client, "late", WEEK_MS + number)
            cluster.cli("topic", "create", "only-in-the-snapshot", "--partitions", "3")
            began = time.monotonic()
            cluster.start(away)
            caught_up = time.monotonic() - began
            cluster.wait_in_sync("only-in-the-snapshot")
            images = [image_of(cluster, node) for node in stage.nodes]
            assert images[0] == images[1] == images[2], "nodes know different things"
            assert str(WEEK_MS + number) in images[away]
            trial.note(f"{number} changes behind, ready after {caught_up:.1f} s")
        return trial.summary()


def set_retention(client, topic, milliseconds):
    entry = admin.ConfigEntry("retention.ms", str(milliseconds), incremental_operation=admin.AlterConfigOpType.SET)
    resource = admin.ConfigResource(admin.ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    client.incremental_alter_configs([resource])[resource].result(HANG)


def image_of(cluster, node):
    """All that a node says of topics and their configs."""
    asked = subprocess.run([OTTLA, "topic", "describe", "--format", "json", "--bootstrap", f"{cluster.hosts[node]}:{cluster.ports[node]}"],
                           capture_output=True, text=True, timeout=HANG, check=True)
    topics = json.loads(asked.stdout)
    for topic in topics:
        for p in topic["partitions"]:
            p.pop("isr")
    return json.dumps(sorted(topics, key=lambda t: t["name"]))


@fault(40, stage=None)
def voters_change():
    """Votes taken, given, silent voters replaced, a lost quorum: tests/clients/quorum.py."""
    quorum.main()


@fault(40, stage="five", links=True)
def voters_change_cut(stage):
    """Votes are taken and given while nodes are cut off: one quorum, one leader, and the right number of voters after."""
    rng = random.Random(40)
    with Trial(stage, "voters") as trial:
        cluster = trial.cluster
        done = refused = 0
        for _ in range(6):
            victims = rng.sample(range(5), rng.choice([1, 2]))
            stage.machines.drop(*victims)
            end = time.monotonic() + 6
            while time.monotonic() < end:
                action, node = rng.choice(["remove", "add"]), rng.randrange(5)
                try:
                    cluster.cli("quorum", action, str(node), timeout=6)
                    done += 1
                except (RuntimeError, subprocess.TimeoutExpired):
                    refused += 1
            stage.machines.heal()
            until("a quorum", lambda: quorum.quorum(cluster)["leader"] is not None)
        for node in stage.nodes:
            until(f"node {node} may vote again", lambda: quorum.quorum(cluster, "add", str(node)) is not None)
        state = until("five vote", lambda: len(quorum.voters(cluster)) == 5 and quorum.quorum(cluster))
        assert sum(n["role"] == "leader" for n in state["nodes"]) == 1
        trial.note(f"{done} changes made, {refused} refused")
        assert done > 3
    return trial.summary()
