"""Silence on real processes: cut links, stopped processes, a frozen disk. Nothing acknowledged is lost, no gap is longer than
it must be, replicas are alike after, and nothing flaps when the fault is over. Needs root. FAULTS=name,… runs some."""

import contextlib
import os
import re
import signal
import struct
import subprocess
import time

import kill
import netns
from cluster import Cluster, create_topic

kill.RATE = 600
HELD = 8.0  # seconds that a fault lasts, if nothing else is said
CONTROL = 10_000


class Load(kill.Load):
    """Remembers when each record was due and when it was acknowledged."""

    def __init__(self, *arguments, **config):
        super().__init__(*arguments, **config)
        self.answered = []  # (partition, due, acknowledged)

    def run(self):
        self.started = time.monotonic()
        super().run()

    def on_delivery(self, error, message):
        super().on_delivery(error, message)
        if error is None:
            sequence, = struct.unpack(">Q", message.value()[:8])
            self.answered.append((message.partition(), self.started + sequence / kill.RATE, time.monotonic()))

    def gaps(self, since):
        """Per partition: the longest time without an acknowledgement from `since` on."""
        last, longest = {}, {}
        for partition, _, acknowledged in list(self.answered):
            if acknowledged > since:
                longest[partition] = max(longest.get(partition, 0), acknowledged - last.get(partition, since))
                last[partition] = acknowledged
        return longest


class Logs:
    """What the nodes say of elections, fencings and changes of the ISR, from a moment on."""

    WORDS = {"controllers": ": the controller node_id", "fencings": ": fenced a broker"}

    def __init__(self, cluster):
        self.cluster = cluster
        self.at = [self.path(n).stat().st_size for n in range(3)]

    def path(self, index):
        return self.cluster.home(index) / "ottla.log"

    def text(self):
        texts = []
        for index, at in enumerate(self.at):
            with open(self.path(index), "rb") as file:
                file.seek(at)
                texts.append(re.sub(r"\x1b\[[0-9;]*m", "", file.read().decode(errors="replace")))
        return "\n".join(texts)

    def count(self):
        text = self.text()
        return {name: len(re.findall(word, text)) for name, word in self.WORDS.items()}


class Scene:
    """A topic of its own for each fault: a new topic's leaders are spread over the nodes."""

    def __init__(self, cluster, machines, topic):
        self.cluster = cluster
        self.machines = machines
        self.topic = topic
        create_topic(cluster, topic, kill.PARTITIONS)

    def disk(self, node):
        return str(self.cluster.home(node) / "disk")

    def leaders(self):
        return {p["partition"]: p["leader"] for p in self.cluster.topic(self.topic)["partitions"]}

    def led_by(self, node):
        return [p for p, leader in self.leaders().items() if leader == node]

    def epochs(self):
        return {p["partition"]: p["leader_epoch"] for p in self.cluster.topic(self.topic)["partitions"]}

    def broker(self):
        """A node that leads partitions and not the metadata."""
        raft = self.cluster.raft_leader()
        return max((n for n in range(3) if n != raft), key=lambda n: len(self.led_by(n)))


# Each fault: silences something, returns (the partitions that wait for it, how to end it, how long it lasts).
def whole_node(scene, node, held=HELD):
    waiting = scene.led_by(node)
    scene.machines.drop(node)
    return waiting, scene.machines.heal, held


def drop_broker(scene):
    return whole_node(scene, scene.broker())


def drop_raft_leader(scene):
    return whole_node(scene, scene.cluster.raft_leader())


def stop(scene, node, held=15.0):
    waiting = scene.led_by(node)
    scene.cluster.signal(node, signal.SIGSTOP)
    return waiting, lambda: scene.cluster.signal(node, signal.SIGCONT), held


def stop_broker(scene):
    return stop(scene, scene.broker())


def stop_raft_leader(scene):
    return stop(scene, scene.cluster.raft_leader())


def leader_to_followers(scene):
    node = scene.broker()
    waiting = scene.led_by(node)
    for other in range(3):
        if other != node:
            scene.machines.drop_one_way(node, other)
    return waiting, scene.machines.heal, HELD


def followers_to_leader(scene):
    node = scene.broker()
    waiting = scene.led_by(node)
    for other in range(3):
        if other != node:
            scene.machines.drop_one_way(other, node)
    return waiting, scene.machines.heal, HELD


def raft_leader_deaf(scene):
    node = scene.cluster.raft_leader()
    waiting = scene.led_by(node)
    for other in range(3):
        if other != node:
            scene.machines.drop_one_way(other, node)
    return waiting, scene.machines.heal, HELD


def raft_leader_mute(scene):
    node = scene.cluster.raft_leader()
    waiting = scene.led_by(node)
    for other in range(3):
        if other != node:
            scene.machines.drop_one_way(node, other)
    return waiting, scene.machines.heal, HELD


def one_link(scene):
    """Leader and one follower do not see each other; the third sees both."""
    raft = scene.cluster.raft_leader()
    one, two = (n for n in range(3) if n != raft)
    scene.machines.drop_one_way(one, two)
    scene.machines.drop_one_way(two, one)
    return [], scene.machines.heal, 15.0


def from_the_controller(scene):
    """Data flows, control does not."""
    node, raft = scene.broker(), scene.cluster.raft_leader()
    waiting = scene.led_by(node)
    ports = [scene.cluster.ports[0] + CONTROL]
    scene.machines.drop_one_way(node, raft, ports)
    scene.machines.drop_one_way(raft, node, ports)
    return waiting, scene.machines.heal, HELD


def from_all_controls(scene):
    node = scene.broker()
    waiting = scene.led_by(node)
    ports = [scene.cluster.ports[0] + CONTROL]
    for other in range(3):
        if other != node:
            scene.machines.drop_one_way(node, other, ports)
            scene.machines.drop_one_way(other, node, ports)
    return waiting, scene.machines.heal, HELD


def two_of_three(scene):
    """The third may acknowledge nothing."""
    alone = scene.broker()
    scene.machines.drop(*(n for n in range(3) if n != alone))
    return None, scene.machines.heal, 12.0


def freeze(scene, node):
    """Every write and sync of its disk hangs, and nothing is refused."""
    waiting = scene.led_by(node)
    subprocess.run(["fsfreeze", "-f", scene.disk(node)], check=True)
    return waiting, lambda: subprocess.run(["fsfreeze", "-u", scene.disk(node)], check=True), 15.0


def freeze_broker(scene):
    return freeze(scene, scene.broker())


def freeze_raft_leader(scene):
    return freeze(scene, scene.cluster.raft_leader())


# How long the partitions that wait for the silent node may wait: the session timeout (3 s), an election and what clients
# need; a frozen disk is given up by `log.flush.stall.ms` (5 s), and a follower that does not answer by
# `replica.lag.time.max.ms` (10 s). A leader that only other nodes do not hear still answers its clients, with what it knows:
# one that asks it who leads may wait until the fault is over. A machine that is busy takes longer: who waits for longer than
# this is reported, and only a hang fails.
HANG = 60
FAULTS = {
    drop_broker: 5, drop_raft_leader: 6, stop_broker: 5, stop_raft_leader: 6, leader_to_followers: 5, followers_to_leader: 5,
    raft_leader_mute: 7, raft_leader_deaf: 7, one_link: 13, from_the_controller: 12, from_all_controls: 12, freeze_broker: 12,
    freeze_raft_leader: 12, two_of_three: None,
}


def measure(scene, fault, limit):
    """One fault, from a cluster in sync to a cluster in sync."""
    cluster = scene.cluster
    load = Load(cluster.bootstrap, scene.topic)
    time.sleep(0.3)
    load.start()
    while load.count < kill.RATE:
        time.sleep(0.05)
    before, logs = scene.epochs(), Logs(cluster)
    waiting, heal, held = fault(scene)
    began = time.monotonic()
    time.sleep(held)
    during = logs.count()
    acknowledged = [t for _, due, t in list(load.answered) if due > began + 0.1]
    if waiting is None and acknowledged:
        raise AssertionError(f"{len(acknowledged)} records were acknowledged by one node of three")
    after = Logs(cluster)
    heal()
    healed = time.monotonic()
    cluster.wait_in_sync(scene.topic)
    back = time.monotonic() - healed
    # Time enough for whatever would flap.
    time.sleep(4)
    cluster.wait_in_sync(scene.topic)
    flaps = after.count()
    load.finish()
    assert not load.errors, f"{len(load.errors)} records failed, first: {load.errors[:3]}"
    gaps = load.gaps(began)
    of = sorted(gaps.get(p, float("inf")) for p in (waiting or range(kill.PARTITIONS)))
    after_epochs = scene.epochs()
    print(f"  {fault.__name__}: gaps of {'its' if waiting else 'all'} partitions {[round(g, 2) for g in of]}, worst of all {max(gaps.values()):.2f} s; in sync {back:.1f} s "
          f"after healing; during {during}, after {flaps}; leader epochs +{[after_epochs[p] - before[p] for p in before]}", flush=True)
    kill.compare(load.acknowledged, kill.read_back(cluster.bootstrap, scene.topic))
    kill.compare_replicas(cluster, scene.topic)
    assert of[-1] < HANG, f"{fault.__name__}: a partition waited for {of[-1]:.1f} s"
    if limit is not None and of[-1] >= limit:
        print(f"  {fault.__name__}: a partition waited for {of[-1]:.1f} s, longer than {limit} s", flush=True)
    assert not flaps["fencings"], f"{fault.__name__}: brokers are fenced after the fault is over:\n{after.text()}"
    assert flaps["controllers"] <= (waiting is None), f"{fault.__name__}: elections after the fault is over:\n{after.text()}"


def mount(home, size=512 << 20):
    """A file system of its own for a node's data. It ends with this process, whose mounts nobody else sees."""
    with open(home / "image", "wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", str(home / "image")], check=True)
    (home / "disk").mkdir()
    subprocess.run(["mount", "-o", "loop", str(home / "image"), str(home / "disk")], check=True)
    for name in ("data", "raft"):
        (home / "disk" / name).mkdir()
        (home / name).symlink_to(home / "disk" / name)


def main():
    prefix = netns.inside(__file__)
    if prefix is None:
        return
    names = [name for name in os.environ.get("FAULTS", "").split(",") if name]
    machines = netns.Machines(prefix)
    with Cluster(hosts=machines.hosts, within=machines.within) as cluster, contextlib.ExitStack() as healing:
        healing.callback(machines.heal)
        for node in range(3):
            mount(cluster.home(node))
        cluster.start()
        for fault, limit in FAULTS.items():
            if names and fault.__name__ not in names:
                continue
            scene = Scene(cluster, machines, fault.__name__)
            measure(scene, fault, limit)
        cluster.assert_no_panic()


if __name__ == "__main__":
    main()
