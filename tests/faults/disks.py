"""Disks that are slow, full, damaged. Faults 20 to 22 and 24 to 28; 23 wants a layer below the file system:
tests/clients/disk_faults.py."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import confluent_kafka.admin as admin
from confluent_kafka import KafkaException

import disk_full
import identity
import kill
import raw
import rot
from catalogue import fault
from scene import HANG, QUIET, Skipped, Stage, Trial, until


class Slow:
    """A cluster on loopback whose nodes' fsync takes as long as it is told."""

    def __init__(self):
        if shutil.which("cc") is None:
            raise Skipped("no C compiler for slow_sync.c")
        source = pathlib.Path(__file__).with_name("slow_sync.c")
        self.stage = Stage(before=lambda home: ["env", f"LD_PRELOAD={home.parent}/slow_sync.so", f"SLOW_SYNC={home}/slow_sync"])
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(self.stage.cluster.directory / "slow_sync.so"), str(source), "-ldl"], check=True)
        for node in self.stage.nodes:
            self.set(node, 0)

    def set(self, node, milliseconds):
        home = self.stage.cluster.home(node)
        (home / "slow_sync.new").write_text(f"{milliseconds}\n")
        (home / "slow_sync.new").rename(home / "slow_sync")


@fault(20, stage=None)
def slow_fsync():
    """Each fsync of a node takes 50 ms, 200 ms, 1 s, 5 s more (a round is one of each file and one of the marks): what it leads,
    and then what it follows, waits for the stall limit or the lag limit at most, whether it leads the metadata or not."""
    slow = Slow()
    noted = []
    with slow.stage as stage:
        for topic, choose in (("slow-broker", Trial.broker), ("slow-raft-leader", lambda t: t.cluster.raft_leader())):
            with Trial(stage, topic, rate=400) as trial:
                for milliseconds in (50, 200, 1_000, 5_000):
                    node = choose(trial)
                    mine, began = trial.led_by(node), time.monotonic()
                    slow.set(node, milliseconds)
                    until("all partitions are acknowledged", lambda: all(
                        trial.acknowledged([p], began + 1) > 10 for p in range(kill.PARTITIONS)))
                    time.sleep(5)
                    moved = sum(trial.leaders()[p] != node for p in mine)
                    trial.note(f"+{milliseconds} ms: worst wait {max(trial.load.gaps(began).values()):.1f} s, {moved} of {len(mine)} leaders moved")
                    slow.set(node, 0)
                    trial.cluster.wait_in_sync(topic)
            noted.append(f"{topic}: {trial.summary()}")
    return "; ".join(noted)


@fault(21, links=True, quick=True)
def full_disk(stage):
    """A node's file system is full but for some megabytes: it says so, the others' partitions go on, and all do with room."""
    with Trial(stage, "full") as trial:
        node = trial.broker()
        others = [p for p, leader in trial.leaders().items() if leader != node]
        ballast = pathlib.Path(stage.disk(node)) / "ballast"
        position = rot.size_of_log(trial.cluster, node)

        def is_out():
            # Again and again: topics that were deleted before give room as they go.
            leave_room(ballast, 64 << 20)
            now = trial.partitions()
            return all(node not in now[p]["isr"] for p in others)

        until("it has left the ISRs of what others lead", is_out)
        rot.said(trial.cluster, node, position, disk_full.FULL)
        began = time.monotonic()
        until("the others' partitions go on", lambda: trial.acknowledged(others, began) > 100)
        assert all(raw.Node(trial.cluster, node).fetch("full", p, 0)[0] == raw.NONE for p in trial.led_by(node)), "it does not serve reads"
        position = rot.size_of_log(trial.cluster, node)
        ballast.unlink()
        rot.said(trial.cluster, node, position, disk_full.ROOM)
    return trial.summary()


def leave_room(ballast, bytes_left):
    """Takes all the room of its file system but so many bytes."""
    taken = ballast.stat().st_size if ballast.exists() else 0
    more = disk_full.free_bytes(ballast.parent) - bytes_left
    if more > 0:
        with open(ballast, "ab") as file:
            os.posix_fallocate(file.fileno(), taken, more)


@fault(21, stage=None, links=True)
def fills_up():
    """A node's file system fills up with its own records, then with another's, its reserve too: tests/clients/disk_full.py."""
    disk_full.main()


@fault(22, stage=None, links=True)
def full_raft_disk():
    """No room for the metadata log, of a voter and then of the Raft leader: that node acknowledges and votes no more, the
    others go on, and with room it is a voter again, under its old id."""
    noted = []
    stage = Stage()
    rafts = [stage.cluster.home(node) / "raft" for node in stage.nodes]
    for raft in rafts:
        stage.small_disk(raft, 64 << 20)
    with stage:
        for topic, leading in (("full-voter", False), ("full-raft-leader", True)):
            with Trial(stage, topic) as trial:
                leader = trial.cluster.raft_leader()
                node = leader if leading else (leader + 1) % 3
                noted.append(f"{topic} {without_room(trial, node, rafts[node] / 'ballast')}")
            noted[-1] += f": {trial.summary()}"
    return "; ".join(noted)


def without_room(trial, node, ballast):
    cluster = trial.cluster
    before = identity.node_of(cluster, node)
    fill(ballast)
    began = time.monotonic()

    def gone():
        return cluster.processes[node].poll() is not None or identity.node_of(cluster, node)["fenced"]

    made = 0
    while not gone():
        assert made < 1_000, "it is a member like any other on a full disk"
        much_metadata(cluster, trial.topic, made)
        made += 1
    how = "stopped" if cluster.processes[node].poll() is not None else "fenced"
    until("another controller", lambda: cluster.status()["controller"] not in (None, -1, node))
    until("the others acknowledge", lambda: trial.acknowledged(range(kill.PARTITIONS), began) > 500)
    ballast.unlink()
    if how == "fenced":
        cluster.kill(node)
    cluster.start(node)
    until("it votes", lambda: identity.node_of(cluster, node)["raft_role"] in ("voter", "leader"))
    assert identity.node_of(cluster, node)["raft_id"] == before["raft_id"], "it has another Raft id"
    return f"{how} after {made} large changes"


def much_metadata(cluster, topic, number):
    """A change of some 25 KB (strings of 32 KB are refused): what RocksDB has allocated ahead is used up after some."""
    entry = admin.ConfigEntry("leader.replication.throttled.replicas", ",".join(f"{n}:{number}" for n in range(3_500)),
                              incremental_operation=admin.AlterConfigOpType.SET)
    resource = admin.ConfigResource(admin.ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    client = admin.AdminClient({"bootstrap.servers": cluster.bootstrap, **QUIET})
    try:
        client.incremental_alter_configs([resource])[resource].result(HANG)
    except KafkaException:
        pass  # whoever was asked has just gone


def fill(path):
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


@fault(24)
def damaged_tail(stage):
    """After kill -9 a log's tail is not what it was: garbage behind it is cut off; where bytes that were durable are gone, the
    replica is copied again from its leader."""
    with Trial(stage, "tail") as trial:
        for what in (garbage_behind, zeros_behind, half_gone, all_gone):
            node = trial.broker()
            trial.cluster.kill(node)
            until("others lead", lambda: all(leader not in (-1, node) for leader in trial.leaders().values()))
            for partition in range(kill.PARTITIONS):
                what(max((trial.cluster.home(node) / "data" / f"tail-{partition}").glob("*.log")))
            position = rot.size_of_log(trial.cluster, node)
            trial.cluster.start(node)
            trial.cluster.wait_in_sync("tail")
            said = "is damaged" in rot.log_since(trial.cluster, node, position)
            assert said == (what in (half_gone, all_gone)), f"{what.__name__}: it says {'damaged' if said else 'nothing'}"
    return trial.summary()


def garbage_behind(path):
    """Behind the log's end, which lies before the end of the file where it was allocated ahead."""
    with open(path, "ab") as file:
        file.write(random.Random(24).randbytes(5_000))


def zeros_behind(path):
    with open(path, "ab") as file:
        file.write(bytes(10_000))


def half_gone(path):
    """More than what may not have been synced yet."""
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)


def all_gone(path):
    with open(path, "r+b") as file:
        file.truncate(0)


@fault(25, stage=None)
def flipped_bits():
    """A flipped bit in a segment, of a follower, a leader, a node that is down: tests/clients/rot.py."""
    rot.main()


INDEXES = ("*.index", "*.timeindex")
STATES = ("*.snapshot", "leader-epoch-checkpoint")
CHECKPOINTS = ("replication-offset-checkpoint", "log-start-offset-checkpoint", "scrub-checkpoint", "recovery-point-offset-checkpoint")


def deleted(path, _):
    path.unlink()


def emptied(path, _):
    path.write_bytes(b"")


def halved(path, _):
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2 + 1])


def random_bytes(path, rng):
    path.write_bytes(rng.randbytes(path.stat().st_size + 8))


def few_bits(path, rng):
    data = bytearray(path.read_bytes())
    for _ in range(1 + len(data) // 64 if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


@fault(26)
def damaged_indexes(stage):
    """Indexes, producer snapshots, epochs, checkpoints that are deleted, emptied, cut, random or have flipped bits, after a
    clean and an unclean stop: rebuilt; then that node leads, and every offset is found from everywhere."""
    rng = random.Random(26)
    with Trial(stage, "indexes", rate=4_000, configs=["segment.bytes=1048576", "index.interval.bytes=1024"]) as trial:
        cluster, node = trial.cluster, 2
        until("some segments", lambda: len(list((cluster.home(node) / "data" / "indexes-0").glob("*.log"))) > 2)
        for damage in (deleted, emptied, halved, random_bytes, few_bits):
            for how in (signal.SIGTERM, signal.SIGKILL):
                cluster.kill(node, how)
                data = cluster.home(node) / "data"
                hurt = [f for pattern in INDEXES + STATES for f in sorted(data.glob(f"indexes-*/{pattern}"))]
                hurt += [data / name for name in CHECKPOINTS if (data / name).exists()]
                for path in hurt:
                    damage(path, rng)
                cluster.start(node)
                cluster.wait_in_sync("indexes")
                lead_all(trial, node)
                reads_from_anywhere(trial, node, rng)
                trial.note(f"{damage.__name__} {how.name}: {len(hurt)} files")
    return trial.summary()


def lead_all(trial, node):
    """It leads every partition of the topic."""
    order = [node, *(n for n in trial.stage.nodes if n != node)]
    one = raw.Node(trial.cluster, trial.cluster.raft_leader())
    one.reassign(trial.topic, {p: order for p in range(kill.PARTITIONS)})
    until("its replicas are first", lambda: all(p["replicas"] == order for p in trial.partitions().values()))
    until("it leads", lambda: one.elect_preferred(trial.topic, list(range(kill.PARTITIONS)))
          and all(leader == node for leader in trial.leaders().values()))


def reads_from_anywhere(trial, node, rng):
    """A fetch from any offset begins at or before it, and holds it: nothing is skipped. A node that meets damage may send
    nothing, and copy its log again."""
    one = raw.Node(trial.cluster, node)
    for partition in range(kill.PARTITIONS):
        until("it knows that it leads", lambda: one.list_offsets(trial.topic, partition)[0] == raw.NONE)
        _, end = one.list_offsets(trial.topic, partition)
        for _ in range(40):
            offset = rng.randrange(end)
            found = one.first_batch(trial.topic, partition, offset)
            if found is None:
                break
            first, last = found
            assert first <= offset <= last, f"{trial.topic}-{partition}: a fetch from {offset} begins with [{first}, {last}]"


@fault(27, 28, stage=None)
def other_disks():
    """An empty disk under the same id, yesterday's disk, exchanged disks, a number used twice: tests/clients/identity.py."""
    identity.main()
