"""Links that are cut, lossy or thin. Faults 11 to 19."""

import json
import re
import subprocess
import threading
import time

import duplicates
import kill
import netns
import network
import raw
from catalogue import fault
from cluster import OTTLA
from scene import HANG, Trial, until

HELD = 15.0


def isolate(stage, node):
    """It reaches its clients, and no other node; none reaches it."""
    for other in stage.nodes:
        if other != node:
            stage.machines.drop_one_way(node, other)
            stage.machines.drop_one_way(other, node)


@fault(11, 19, links=True, quick=True)
def leader_cut_from_peers(stage):
    """A leader, cut from both other nodes with its clients attached (2+1 datacenters): it acknowledges nothing and changes no
    metadata; the majority goes on."""
    return cut(stage, "leader-cut", lambda trial: trial.broker())


@fault(11, 19, links=True)
def raft_leader_cut_from_peers(stage):
    """The same with the Raft leader: it ceases to lead, and what it would decide is not written."""
    return cut(stage, "raft-leader-cut", lambda trial: trial.cluster.raft_leader())


def cut(stage, topic, choose):
    with Trial(stage, topic) as trial:
        node = choose(trial)
        mine = trial.led_by(node)
        prober = raw.Node(trial.cluster, node, timeout=4)
        offsets = {p: prober.list_offsets(topic, p)[1] for p in mine}
        began = time.monotonic()
        isolate(stage, node)
        made = []
        creating = threading.Thread(target=lambda: made.append(create_at(trial.cluster, node, f"{topic}-by-minority")))
        creating.start()
        answers, ends = [], {}
        while time.monotonic() < began + HELD:
            for partition in mine:
                # An old answer may be under way; what was committed before the cut counts, nothing later does.
                answer = prober.produce(topic, partition, b"\xff" * 8 + b"of nobody", timeout_ms=500)
                answers.append(answer and answer[0])
                assert answer is None or answer[0] != raw.NONE, f"a leader without followers acknowledged offset {answer[1]}"
                bounds = prober.fetch(topic, partition, offsets[partition])
                if bounds and bounds[0] == raw.NONE and time.monotonic() > began + 1:
                    end = ends.setdefault(partition, bounds[1])
                    assert bounds[1] == end, f"the high watermark of {topic}-{partition} moved from {end} to {bounds[1]}"
        assert made and made[0] not in (None, raw.NONE), f"CreateTopics by a minority is answered with {made}"
        trial.note(f"{len(answers)} probes, answers {sorted(set(map(str, answers)))}")
        majority = [p for p in range(kill.PARTITIONS) if p not in mine]
        until("the majority acknowledges", lambda: trial.acknowledged(majority, began + 1) > 100)
        late = trial.acknowledged(mine, began + 1)
        trial.note(f"{late} records of its partitions were acknowledged meanwhile, by others")
    return trial.summary()


def create_at(cluster, node, name):
    """The error of CreateTopics at a node, or `None`."""
    answer = raw.Node(cluster, node, timeout=HELD).send(19, 4, {"timeout_ms": 3000, "validate_only": 0, "topics": [
        {"name": name, "num_partitions": 1, "replication_factor": -1, "assignments": [], "configs": []}]})
    return answer and int.from_bytes(answer[14 + len(name):16 + len(name)], "big", signed=True)


@fault(12, links=True, quick=True)
def one_way_drop(stage):
    """Nothing that a leader sends reaches one follower, all else does: each ISR shrinks once and nothing flaps."""
    with Trial(stage, "one-way") as trial:
        source, target = (n for n in stage.nodes if n != trial.cluster.raft_leader())
        mine = trial.led_by(source)
        logs = network.Logs(trial.cluster)
        stage.machines.drop_one_way(source, target)
        began = time.monotonic()
        until("the follower has left the ISR", lambda: all(target not in p["isr"] for n, p in trial.partitions().items() if n in mine))
        shrunk = time.monotonic() - began
        time.sleep(max(0, 20 - shrunk))
        proposals = changes_of_isr(logs, trial.topic)
        worst = max(proposals.values(), default=0)
        assert worst <= 2, f"ISRs flap: changes of each partition {proposals}"
        until("acknowledged since the ISR has shrunk", lambda: all(trial.acknowledged([p], began + shrunk) > 100 for p in mine))
        trial.note(f"shrunk after {shrunk:.1f} s, proposals {proposals}, {logs.count()}")
    return trial.summary()


def changes_of_isr(logs, topic):
    found = {}
    for partition in re.findall(rf'proposing an ISR topic="{re.escape(topic)}" partition=(\d+)', logs.text()):
        found[int(partition)] = found.get(int(partition), 0) + 1
    return found


@fault(13, links=True)
def broker_cut_from_controller(stage):
    """A broker's control plane is cut from the controller's, data flows: it is fenced or reaches it another way, and what
    it led is acknowledged again."""
    return control_cut(stage, "controller-cut", lambda raft, others: [raft])


@fault(13, links=True)
def broker_cut_from_all_controls(stage):
    """A broker's control plane is cut from all others, data flows: it is fenced, and no more is committed in its epochs."""
    return control_cut(stage, "controls-cut", lambda raft, others: others)


def control_cut(stage, topic, choose):
    with Trial(stage, topic) as trial:
        node, raft = trial.broker(), trial.cluster.raft_leader()
        mine = trial.led_by(node)
        ports = [trial.cluster.ports[0] + network.CONTROL]
        for other in choose(raft, [n for n in stage.nodes if n != node]):
            stage.machines.drop_one_way(node, other, ports)
            stage.machines.drop_one_way(other, node, ports)
        began = time.monotonic()
        time.sleep(HELD)
        until("what it led is acknowledged", lambda: all(trial.acknowledged([p], began + HELD / 2) for p in mine))
        probe = raw.Node(trial.cluster, node, timeout=4)
        known = leaders_known_to(trial.cluster, raft, topic)
        fenced = [p for p in mine if known[p] != node]
        for partition in fenced:
            answer = probe.produce(topic, partition, b"\xff" * 8, timeout_ms=500)
            assert answer is None or answer[0] != raw.NONE, f"committed in the old epoch: {answer}"
        trial.note(f"{len(fenced)} of its {len(mine)} partitions are led by others")
    return trial.summary()


def leaders_known_to(cluster, node, topic):
    """By a node that hears what is decided."""
    asked = subprocess.run([OTTLA, "topic", "describe", topic, "--format", "json", "--bootstrap", f"{cluster.hosts[node]}:{cluster.ports[node]}"],
                           capture_output=True, text=True, timeout=HANG, check=True)
    return {p["partition"]: p["leader"] for p in json.loads(asked.stdout)[0]["partitions"]}


@fault(14, stage="five", links=True)
def ring(stage):
    """Five nodes, each sees its two neighbours only: one controller, and the term does not grow."""
    with Trial(stage, "ring") as trial:
        term = trial.cluster.status()["term"]
        logs = network.Logs(trial.cluster)
        for node in stage.nodes:
            for away in (2, 3):
                stage.machines.drop_one_way(node, (node + away) % 5)
        time.sleep(25)
        counted = logs.count()
    grown = trial.cluster.status()["term"] - term
    trial.note(f"{counted}, term +{grown}")
    assert grown <= 5, f"the term has grown by {grown} in 25 s"
    return trial.summary()


@fault(15, links=True)
def loss(stage):
    """30 % of all packets of nodes and clients are lost: records go on being acknowledged."""
    with Trial(stage, "loss", rate=200) as trial:
        for node in stage.nodes:
            stage.machines.rule(node, "INPUT", "-i", "eth0", "-m", "statistic", "--mode", "random", "--probability", "0.3")
        began = trial.load.count
        logs = network.Logs(trial.cluster)
        time.sleep(40)
        made = trial.load.count - began
        trial.note(f"{made} records in 40 s; {logs.count()}")
        assert made > 0, "no record was acknowledged in 40 s"
    return trial.summary()


@fault(16, links=True)
def client_cut(stage):
    """The producer's machine loses all nodes for 8 s, again and again: what it sends again is there once."""
    with Trial(stage, "client-cut") as trial:
        for _ in range(3):
            for node in stage.nodes:
                stage.machines.rule(node, "INPUT", "-s", netns.CLIENT)
            time.sleep(8)
            stage.machines.heal()
            since = time.monotonic()
            until("records are acknowledged", lambda: trial.acknowledged(range(kill.PARTITIONS), since) > 100)
    return trial.summary()


@fault(16, stage=None)
def lost_answers():
    """A proxy loses answers to an idempotent producer: tests/clients/duplicates.py."""
    duplicates.main()


@fault(17, links=True)
def thin_follower(stage):
    """A follower behind 1 Mbit/s leaves the ISR, the others go on at their rate, and it is back when the link is."""
    order = [[0, 1, 2], [1, 0, 2]] * 3
    with Trial(stage, "thin", rate=2_500, assignment=order) as trial:
        with thin(2):
            began = time.monotonic()
            until("it has left the ISR", lambda: all(2 not in p["isr"] for p in trial.partitions().values()))
            left = time.monotonic() - began
            time.sleep(3)
            count, since = trial.load.count, time.monotonic()
            time.sleep(10)
            rate = (trial.load.count - count) / (time.monotonic() - since)
            assert rate > 0.8 * kill.RATE, f"{rate:.0f} of {kill.RATE} records a second"
            trial.note(f"left the ISR after {left:.1f} s, then {rate:.0f} records a second")
    return trial.summary()


class thin:
    """What reaches a node's machine is held to 1 Mbit/s."""

    def __init__(self, node):
        self.device = f"v{node}"

    def __enter__(self):
        netns.run("tc", "qdisc", "add", "dev", self.device, "root", "tbf", "rate", "1mbit", "burst", "32kbit", "latency", "400ms")

    def __exit__(self, *_):
        netns.run("tc", "qdisc", "del", "dev", self.device, "root", check=False)


@fault(18, stage="five", links=True)
def racks_lost(stage):
    """Of three racks (two, two and one node) one is lost: writes go on. Then a second: they are rejected."""
    with Trial(stage, "racks") as trial:
        for p in trial.partitions().values():
            assert {n // 2 for n in p["replicas"]} == {0, 1, 2}, f"replicas are not spread over the racks: {p}"
        stage.machines.drop(0, 1)
        began = time.monotonic()
        until("acknowledged without a rack", lambda: all(trial.acknowledged([p], began + 0.5) > 20 for p in range(kill.PARTITIONS)))
        trial.note(f"one rack lost: all partitions acknowledged after {time.monotonic() - began:.1f} s")
        stage.machines.drop(2, 3)
        time.sleep(1)
        began = time.monotonic()
        time.sleep(8)
        count = trial.acknowledged(range(kill.PARTITIONS), began)
        assert count == 0, f"{count} records were acknowledged by one rack of three"
    return trial.summary()
