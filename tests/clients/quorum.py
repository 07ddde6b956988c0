"""Nodes that authenticate each other, and the voters' year: taken, given back, silent, lost for good and recovered."""

import json
import os
import shutil
import socket
import subprocess
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from cluster import OTTLA, Cluster

RECORDS = 2000


def wait(what, found, timeout=30):
    end = time.monotonic() + timeout
    last = None
    while time.monotonic() < end:
        try:
            last = found()
            if last:
                return last
        except RuntimeError as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what}: not after {timeout} s; last seen {last}")


def quorum(cluster, *arguments):
    return json.loads(cluster.cli("quorum", *(arguments or ["status"]), "--format", "json"))


def voters(cluster):
    return sorted(node["node"] for node in quorum(cluster)["nodes"] if node["role"] in ("voter", "leader"))


def produce(cluster, topic):
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 2})
    failed = []
    for i in range(RECORDS):
        producer.produce(topic, str(i).encode(), on_delivery=lambda error, _: failed.append(error) if error else None)
        producer.poll(0)
    assert producer.flush(60) == 0 and not failed, failed[:3]


def consume(cluster, topic):
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(3)])
    found, end = set(), time.monotonic() + 60
    while len(found) < RECORDS and time.monotonic() < end:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            found.add(int(message.value()))
    consumer.close()
    return found


def strangers_are_not_heard(cluster, secret):
    without = {k: v for k, v in os.environ.items() if k != "OTTLA_CLUSTER_SECRET"}
    command = [OTTLA, "quorum", "status", "--bootstrap", cluster.bootstrap]
    refused = subprocess.run(command, env=without, capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0 and "--cluster-secret" in refused.stderr, refused
    for port in (cluster.ports[0] + 10000, cluster.ports[0] + 20000):
        with socket.create_connection(("127.0.0.1", port), 5) as stranger:
            stranger.settimeout(20)
            stranger.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            try:
                assert stranger.recv(100) == b"", f"an answer on port {port}"
            except ConnectionResetError:
                pass
    other = cluster.directory / "another-secret"
    other.write_text("another secret of 32 characters!!!\n")
    # The environment would win over the node's file.
    del os.environ["OTTLA_CLUSTER_SECRET"]
    cluster.start(4, wait=False)
    os.environ["OTTLA_CLUSTER_SECRET"] = str(secret)
    time.sleep(3)
    assert 4 not in [node["node"] for node in quorum(cluster)["nodes"]], "a node with another secret has joined"
    cluster.kill(4)
    log = (cluster.home(0) / "ottla.log").read_text()
    assert "refused" in log and "secret" in log, "nothing is said of the strangers"


def lost_for_good(cluster, topic):
    alive = voters(cluster)
    learner = next(node for node in range(4) if node not in alive)
    keep, lost = alive[0], alive[1:]
    config = ["--config", str(cluster.home(keep) / "server.properties")]

    def recover(*more):
        return subprocess.run([OTTLA, "quorum", "recover", *config, *more], capture_output=True, text=True, timeout=60)

    running = recover("--yes")
    assert running.returncode != 0 and "must be stopped" in running.stderr, running
    cluster.kill(keep)
    early = recover("--yes")
    assert early.returncode != 0 and "not lost" in early.stderr, early
    for node in lost:
        cluster.kill(node)
        for part in ("data", "raft"):
            shutil.rmtree(cluster.home(node) / part)
    cluster.kill(learner)

    def ends(node):
        of = ["--config", str(cluster.home(node) / "server.properties"), "--format", "json"]
        asked = subprocess.run([OTTLA, "quorum", "recover", *of], capture_output=True, text=True, timeout=60)
        assert asked.returncode != 0 and "nothing was changed" in asked.stderr, asked
        told = json.loads(asked.stdout)
        return told["term"], told["log_end"]

    # The one that knows most, as the command says.
    keep, learner = sorted((keep, learner), key=ends, reverse=True)
    config[1] = str(cluster.home(keep) / "server.properties")
    asked = recover()
    assert asked.returncode != 0 and "Risks" in asked.stdout and "nothing was changed" in asked.stderr, asked
    done = recover("--yes")
    assert done.returncode == 0, done
    print(f"nodes {lost} are wiped; node {keep} is the only voter", flush=True)
    started = time.monotonic()
    cluster.start(keep, wait=False)
    wait("the survivor leads", lambda: voters(cluster) and quorum(cluster)["leader"] == keep)
    print(f"the metadata is led again {time.monotonic() - started:.1f} s after its start", flush=True)
    for node in (learner, *lost):
        cluster.start(node, wait=False)
    wait("three vote again", lambda: len(voters(cluster)) == 3, 60)
    # What at least one survivor holds is all there; with replicas on both survivors or one, a partition has a leader.
    cluster.wait_in_sync(topic, 90)
    assert consume(cluster, topic) == set(range(RECORDS)), "records are gone"


def main():
    cluster = Cluster(nodes=5)
    try:
        secret = cluster.directory / "secret"
        secret.write_text("a secret of these nodes, of 32 characters\n")
        secret.chmod(0o600)
        os.environ["OTTLA_CLUSTER_SECRET"] = str(secret)
        join = ",".join(f"localhost:{port + 10000}" for port in cluster.ports[:4])
        for index, port in enumerate(cluster.ports):
            properties = cluster.home(index) / "server.properties"
            lines = [line for line in properties.read_text().splitlines() if not line.startswith("join=")]
            own = secret if index < 4 else cluster.directory / "another-secret"
            # On every interface, as between machines.
            lines += [f"join={join}", f"cluster.secret={own}", f"control.listener=0.0.0.0:{port + 10000}",
                      f"replica.listener=0.0.0.0:{port + 20000}", "voter.replacement.timeout.ms=2000"]
            properties.write_text("\n".join(lines) + "\n")
        del os.environ["OTTLA_CLUSTER_SECRET"]
        cluster.start(0, 1, 2, 3, wait=False)
        for index in range(4):
            cluster.wait_ready(index)
        os.environ["OTTLA_CLUSTER_SECRET"] = str(secret)
        cluster.cli("topic", "create", "t", "--partitions", "3")
        produce(cluster, "t")
        strangers_are_not_heard(cluster, secret)

        first = voters(cluster)
        assert len(first) == 3, first
        spare = next(node for node in range(4) if node not in first)
        led = quorum(cluster)["leader"]
        follower = next(node for node in first if node != led)
        quorum(cluster, "remove", str(follower))
        assert voters(cluster) == sorted(set(first) - {follower} | {spare}), "another votes instead"
        quorum(cluster, "remove", str(led))
        wait("the leader handed over", lambda: quorum(cluster)["leader"] not in (None, led))
        wait("its vote is gone", lambda: led not in voters(cluster))
        for node in (follower, led):
            quorum(cluster, "add", str(node))
        wait("three vote", lambda: len(voters(cluster)) == 3)

        now = voters(cluster)
        spare = next(node for node in range(4) if node not in now)
        gone = next(node for node in now if node != quorum(cluster)["leader"])
        cluster.kill(gone)
        started = time.monotonic()
        wait("the silent voter is replaced", lambda: spare in voters(cluster) and gone not in voters(cluster))
        print(f"a killed voter was replaced {time.monotonic() - started:.1f} s later (voter.replacement.timeout.ms=2000)", flush=True)
        cluster.start(gone)
        cluster.wait_in_sync("t")
        lost_for_good(cluster, "t")
    except BaseException:
        for index in cluster.processes:
            print(f"--- node {index}\n{cluster.log_end(index, 12)}", flush=True)
        raise
    finally:
        os.environ.pop("OTTLA_CLUSTER_SECRET", None)
        cluster.stop()


if __name__ == "__main__":
    main()
