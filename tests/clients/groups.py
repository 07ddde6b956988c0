"""`ottla group` and `ottla consume --group` on three processes: offsets kept, moved and deleted; members that come and go, one of them librdkafka's."""

import json
import signal
import subprocess
import threading
import time

import confluent_kafka

from cluster import OTTLA, Cluster, create_topic

TOPIC = "orders"
PARTITIONS = 6


class Member:
    """A running `ottla consume --group`."""

    def __init__(self, cluster, group):
        command = [OTTLA, "consume", TOPIC, "--group", group, "--from-beginning", "--format", "json", "--bootstrap", cluster.bootstrap]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.records = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.records.append(json.loads(line))

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, "Ctrl-C is no failure"


def until(what, condition, timeout=40):
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {timeout} s"
        time.sleep(0.1)
    return found


def produce(cluster, first, count):
    lines = "".join(f'{{"key":"{n}","value":"{n}"}}\n' for n in range(first, first + count))
    cluster.cli("produce", TOPIC, "--input-format", "json", input=lines)


def consume(cluster, group, *arguments):
    lines = cluster.cli("consume", TOPIC, "--group", group, "--from-beginning", *arguments).splitlines()
    return sorted(int(line) for line in lines)


def describe(cluster, group):
    return json.loads(cluster.cli("group", "describe", group, "--format", "json"))


def refused(cluster, *arguments):
    try:
        cluster.cli(*arguments)
    except RuntimeError as error:
        return str(error)
    raise AssertionError(f"{arguments} was not refused")


def offsets_kept(cluster):
    produce(cluster, 0, 60)
    assert consume(cluster, "kept", "--exit") == list(range(60))
    assert consume(cluster, "kept", "--exit") == [], "what was read is read again"
    produce(cluster, 60, 10)
    some = consume(cluster, "kept", "--max", "4")
    rest = consume(cluster, "kept", "--exit")
    assert len(some) == 4 and sorted(some + rest) == list(range(60, 70)), (some, rest)
    group = describe(cluster, "kept")
    assert group["state"] == "Empty" and group["members"] == [], group
    assert [p["lag"] for p in group["partitions"]] == [0] * PARTITIONS, group
    command = [OTTLA, "consume", TOPIC, "--group", "piped", "--from-beginning", "--bootstrap", cluster.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as piped:
        piped.stdout.close()  # nobody takes a record
        assert piped.wait(30) == 0, "a closed pipe is no failure"
    assert consume(cluster, "piped", "--exit") == list(range(70)), "what nobody took was committed"
    listed = json.loads(cluster.cli("group", "list", "--format", "json"))
    assert {"group": "kept", "state": "Empty", "protocol_type": "consumer"} in listed, listed
    assert cluster.cli("group", "list", "--state", "stable").splitlines() == ["GROUP  STATE  PROTOCOL"]
    print("[groups] offsets are kept", flush=True)


def offsets_moved(cluster):
    def lags():
        return sum(p["lag"] for p in describe(cluster, "kept")["partitions"])

    plan = cluster.cli("group", "reset", "kept", "--to-earliest")
    assert plan.endswith("nothing is changed yet: --yes does it\n") and lags() == 0, plan
    cluster.cli("group", "reset", "kept", "--to-earliest", "--yes")
    assert lags() == 70 and consume(cluster, "kept", "--exit") == list(range(70))
    for arguments, lag in ((("--to-earliest", "--topic", f"{TOPIC}:0"), None), (("--to-latest",), 0), (("--shift-by", "-1"), PARTITIONS),
                           (("--to-offset", "1000000"), 0), (("--to-time", "0"), 70), (("--to-time", "2100-01-01T00:00:00Z"), 0)):
        before = {p["partition"]: p for p in describe(cluster, "kept")["partitions"]}
        answer = json.loads(cluster.cli("group", "reset", "kept", *arguments, "--yes", "--format", "json"))
        assert answer["done"] and all(p["from"] == before[p["partition"]]["committed"] for p in answer["partitions"]), answer
        assert lags() == (before[0]["end"] if lag is None else lag), (arguments, lags())
    cluster.cli("group", "reset", "new", "--to-earliest", "--topic", TOPIC, "--yes")
    assert describe(cluster, "new")["state"] == "Empty"
    assert "committed nothing" in refused(cluster, "group", "reset", "nobody", "--to-earliest")
    assert "partitions 0 to 5" in refused(cluster, "group", "reset", "new", "--to-earliest", "--topic", f"{TOPIC}:6")
    print("[groups] offsets are moved", flush=True)


def members_come_and_go(cluster):
    produced = iter(range(1000, 10000))

    def owners(count):
        """Every partition is read by one of so many members."""
        group = describe(cluster, "shared")
        readers = [p["member_id"] for p in group["partitions"]]
        return len(readers) == PARTITIONS and None not in readers and len(set(readers)) == count == len(group["members"]) and group

    def arrives(members):
        number = next(produced)
        produce(cluster, number, 1)
        read = lambda: [m for m in members if any(r["value"] == str(number) for r in m.records)]
        assert len(until("a record", read)) == 1

    first, second = Member(cluster, "shared"), Member(cluster, "shared")
    group = until("two members", lambda: owners(2))
    assert group["state"] == "Stable" and group["protocol"] == "range", group
    assert sorted(len(m["assignment"][0]["partitions"]) for m in group["members"]) == [3, 3], group
    assert cluster.cli("group", "describe", "shared", "--members").count("orders:") == 2
    for _ in range(6):
        arrives([first, second])
    why = refused(cluster, "group", "reset", "shared", "--to-earliest", "--yes")
    assert "has 2 members" in why and "stop them first" in why, why
    assert "stop them first" in refused(cluster, "group", "delete", "shared")
    assert "stop it first" in refused(cluster, "group", "delete-offsets", "shared", "--topic", TOPIC)
    third = confluent_kafka.Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "shared", "auto.offset.reset": "earliest"})
    third.subscribe([TOPIC])
    until("librdkafka's too", lambda: third.poll(0.1) or owners(3))
    third.close()
    until("two again", lambda: owners(2))
    first.stop()
    until("the other one has all", lambda: owners(1), timeout=20)  # long before the session timeout
    arrives([second])
    coordinator = describe(cluster, "shared")["coordinator"]
    cluster.kill(coordinator)
    arrives([second])
    cluster.start(coordinator)
    arrives([second])
    second.stop()
    values = [int(r["value"]) for member in (first, second) for r in member.records if int(r["value"]) >= 1000]
    assert sorted(set(values)) == list(range(1000, next(produced)))
    twice = len(values) - len(set(values))
    print(f"[groups] members come and go; {twice} of {len(values)} records were read twice", flush=True)


def deleted(cluster):
    cluster.cli("group", "delete-offsets", "kept", "--topic", f"{TOPIC}:1,2")
    assert [p["partition"] for p in describe(cluster, "kept")["partitions"]] == [0, 3, 4, 5]
    cluster.cli("group", "delete", "kept")
    assert "Group kept not found." in refused(cluster, "group", "describe", "kept")
    assert "GROUP_ID_NOT_FOUND" in refused(cluster, "group", "delete", "kept")
    print("[groups] groups are deleted", flush=True)


def main():
    with Cluster(properties=["group.initial.rebalance.delay.ms=300"]) as cluster:
        cluster.start()
        create_topic(cluster, TOPIC, PARTITIONS)
        offsets_kept(cluster)
        offsets_moved(cluster)
        members_come_and_go(cluster)
        deleted(cluster)
        cluster.assert_no_panic()
