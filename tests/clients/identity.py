"""Nodes that are not who they were: wiped, restored, swapped, moved, doubled. Each is told what happened, nothing acknowledged
is lost, and nobody else is disturbed."""

import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import kill
from cluster import OTTLA, Cluster, create_topic, free_port_block

TOPIC = "identity"
kill.RATE = 500


def node_of(cluster, index):
    return next(n for n in cluster.status()["nodes"] if n["node_id"] == index)


def wait(what, condition, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            if condition():
                return
        except RuntimeError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {timeout} s: {what}")


def log_of(cluster, index, since=0):
    return (cluster.home(index) / "ottla.log").read_text(errors="replace")[since:]


def said(cluster, index, since, text):
    wait(f"node {index} says {text!r}; its log ends:\n{cluster.log_end(index)}", lambda: text in log_of(cluster, index, since), 30)


def wiped(cluster):
    """A new disk under an old number: another member votes in its place, replicas are copied."""
    before = node_of(cluster, 1)
    cluster.kill(1)
    shutil.rmtree(cluster.home(1) / "data")
    shutil.rmtree(cluster.home(1) / "raft")
    cluster.start(1)
    cluster.wait_in_sync(TOPIC)
    wait("the new member votes", lambda: node_of(cluster, 1)["raft_role"] in ("voter", "leader"))
    after = node_of(cluster, 1)
    assert after["raft_id"] > before["raft_id"], (before, after)
    assert len(cluster.status()["nodes"]) == 3


def put_back(cluster, copy):
    """Node 1 starts with this copy of its log directory, and says what it is."""
    shutil.rmtree(cluster.home(1) / "data")
    (cluster.home(1) / copy).rename(cluster.home(1) / "data")
    since = len(log_of(cluster, 1))
    cluster.start(1)
    said(cluster, 1, since, "a log directory is an old copy of itself")
    cluster.wait_in_sync(TOPIC)


def restored(cluster):
    """Yesterday's log directory under today's node: its replicas are not trusted."""
    cluster.kill(1, signal.SIGTERM)
    shutil.copytree(cluster.home(1) / "data", cluster.home(1) / "yesterday")
    cluster.start(1)
    cluster.wait_in_sync(TOPIC)
    cluster.kill(1, signal.SIGTERM)
    put_back(cluster, "yesterday")


def journals(cluster, index):
    """How far the log directories have come, as the metadata directory remembers it."""
    lines = (cluster.home(index) / "raft" / "identity.properties").read_text().splitlines()
    return [line for line in lines if line.startswith("journal.")]


def restored_within_a_life(cluster):
    """The log directory as it was some seconds ago, in the same start of the node."""
    wait("it is written down how far the directory has come", lambda: journals(cluster, 1))
    cluster.signal(1, signal.SIGSTOP)
    shutil.copytree(cluster.home(1) / "data", cluster.home(1) / "lately")
    known = journals(cluster, 1)
    cluster.signal(1, signal.SIGCONT)
    for _ in range(2):
        wait("it has come further", lambda: journals(cluster, 1) != known)
        known = journals(cluster, 1)
    cluster.kill(1)
    put_back(cluster, "lately")


def swapped(cluster):
    """The directories of two nodes, exchanged: neither starts, and says whose they are."""
    for index in (1, 2):
        cluster.kill(index, signal.SIGTERM)
    exchange(cluster)
    for index, other in ((1, 2), (2, 1)):
        result = subprocess.run([OTTLA, "start", "--config", str(cluster.home(index) / "server.properties")],
                                capture_output=True, text=True, timeout=60)
        message = result.stderr.strip().splitlines()[-1]
        assert result.returncode == 1 and f"node.id={other}" in message and f"node.id={index}" in message, result.stderr
    exchange(cluster)
    cluster.start(1, 2)
    cluster.wait_in_sync(TOPIC)


def exchange(cluster):
    for name in ("data", "raft"):
        one, two, aside = cluster.home(1) / name, cluster.home(2) / name, cluster.directory / "aside"
        one.rename(aside)
        two.rename(one)
        aside.rename(two)


def moved(cluster):
    """A node comes back at other ports that no other node's properties know: it is found, and votes."""
    cluster.kill(1, signal.SIGTERM)
    properties = cluster.home(1) / "server.properties"
    old, new = cluster.ports[1], free_port_block(4)[3]
    lines = properties.read_text().splitlines()
    lines = [line.replace(f":{old}", f":{new}") if "listeners=" in line else line for line in lines]
    properties.write_text("\n".join(lines) + "\n")
    cluster.ports[1] = new
    cluster.start(1)
    cluster.wait_in_sync(TOPIC)
    # With one of the others gone, metadata has a leader only if the moved node votes.
    gone = 0 if cluster.raft_leader() == 0 else 2
    cluster.kill(gone)
    wait("a leader with the moved node's vote", lambda: cluster.status()["controller"] in (1, 2 - gone))
    cluster.cli("topic", "create", "after-the-move", "--partitions", "1", "--replication-factor", "2")
    cluster.start(gone)
    cluster.wait_in_sync(TOPIC)


def doubled(cluster):
    """A second node under the number of one that is alive ends and says why; the first does not notice."""
    for name in ("new", "copy"):
        home = cluster.directory / name
        if name == "copy":
            cluster.kill(1, signal.SIGTERM)
            shutil.copytree(cluster.home(1) / "data", home / "data")
            shutil.copytree(cluster.home(1) / "raft", home / "raft")
            cluster.start(1)
            cluster.wait_in_sync(TOPIC)
        else:
            home.mkdir()
        before = node_of(cluster, 1)
        port = free_port_block(4)[3]
        lines = (cluster.home(1) / "server.properties").read_text()
        lines = lines.replace(str(cluster.home(1)), str(home)).replace(f"127.0.0.1:{cluster.ports[1]}", f"127.0.0.1:{port}")
        lines = lines.replace(f"//localhost:{cluster.ports[1]}", f"//localhost:{port}")
        (home / "server.properties").write_text(lines)
        started = time.monotonic()
        result = subprocess.run([OTTLA, "start", "--config", str(home / "server.properties")], capture_output=True, text=True, timeout=60)
        message = result.stderr.strip().splitlines()[-1]
        assert result.returncode == 1 and "node.id=1 is in use by a node that is alive at localhost" in message, result.stderr[-3000:]
        after = node_of(cluster, 1)
        same = ("raft_id", "broker_epoch", "fenced", "raft_role")
        assert [before[k] for k in same] == [after[k] for k in same], (before, after)
        print(f"    {name}: told after {time.monotonic() - started:.1f} s", flush=True)


def two_founders_wiped(cluster):
    """Two of three founders forget everything while the third is away: they found nothing, and say for whom they wait."""
    cluster_id = cluster.status()["cluster_id"]
    for index in (0, 1, 2):
        cluster.kill(index, signal.SIGTERM)
    since = {}
    for index in (0, 1):
        for name in ("data", "raft"):
            shutil.rmtree(cluster.home(index) / name)
        since[index] = len(log_of(cluster, index))
    cluster.start(0, 1, wait=False)
    said(cluster, 0, since[0], f"localhost:{cluster.ports[2] + 10000} has not answered")
    said(cluster, 1, since[1], "the first of the founders has not founded the cluster")
    time.sleep(2)
    for index in (0, 1):
        assert "founded a cluster" not in log_of(cluster, index, since[index])
        assert not list((cluster.home(index) / "raft").glob("identity.properties")) or \
            "cluster.id" not in (cluster.home(index) / "raft" / "identity.properties").read_text()
    cluster.start(2, wait=False)
    time.sleep(3)
    for index in (0, 1):
        assert "founded a cluster" not in log_of(cluster, index, since[index])
    assert cluster_id in (cluster.home(2) / "raft" / "identity.properties").read_text()
    for index in (0, 1, 2):
        cluster.kill(index)


def forgotten(directory):
    """A node that other machines reach, and that was told of nobody: it founds nothing unless it is allowed to."""
    ports = free_port_block(1)
    properties = directory / "server.properties"
    properties.write_text(f"node.id=7\nlisteners=PLAINTEXT://:{ports[0]}\nadvertised.listeners=PLAINTEXT://localhost:{ports[0]}\n"
                          f"control.listener=127.0.0.1:{ports[0] + 10000}\nreplica.listener=127.0.0.1:{ports[0] + 20000}\n"
                          f"log.dirs={directory}/data\nmetadata.log.dir={directory}/raft\n")
    command = [OTTLA, "start", "--config", str(properties)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert refused.returncode != 0 and "may not found a cluster alone" in refused.stderr + refused.stdout, refused
    assert "founded a cluster" not in refused.stderr + refused.stdout, refused
    with open(directory / "ottla.log", "w") as log:
        process = subprocess.Popen([*command, "--found"], stdout=log, stderr=log)
    try:
        wait("with --found it founds", lambda: "founded a cluster" in (directory / "ottla.log").read_text(), 30)
    finally:
        process.terminate()
        assert process.wait(30) == 0


CASES = [wiped, restored, restored_within_a_life, swapped, doubled, moved]


def main():
    with Cluster() as cluster:
        cluster.start()
        create_topic(cluster, TOPIC, kill.PARTITIONS)
        load = kill.Load(cluster.bootstrap, TOPIC)
        load.start()
        for case in CASES:
            started, acknowledged = time.monotonic(), load.count
            case(cluster)
            print(f"  {case.__name__}: {time.monotonic() - started:.1f} s, {load.count - acknowledged} records acknowledged meanwhile", flush=True)
        load.finish()
        assert not load.errors, load.errors[:3]
        cluster.wait_in_sync(TOPIC)
        kill.compare(load.acknowledged, kill.read_back(cluster.bootstrap, TOPIC))
        kill.compare_replicas(cluster, TOPIC)
        cluster.assert_no_panic()
    with Cluster() as cluster:
        cluster.start()
        two_founders_wiped(cluster)
        print("  two_founders_wiped: they wait", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        forgotten(pathlib.Path(directory))
        print("  forgotten: it stops and says what to do", flush=True)


if __name__ == "__main__":
    main()
