"""The second pass: kill -9 of brokers under clients with their default settings."""

import threading
import time

import coordinators
from members import Group
from records import match_read
from reference import until

PARTITIONS = 6
BATCH = 1_500  # records of one request; at `PACE_MS` a second and more, so that the kill falls into it
PACE_MS = 1
TRICKLE_S = 0.01


class Writing(threading.Thread):
    """Lets the client write numbered records until it is told to stop; one that failed is not written again."""

    def __init__(self, driver, topic):
        super().__init__(daemon=True)
        self.driver, self.topic = driver, topic
        self.acknowledged, self.refused, self.sent = [], [], 0  # [(value, partition, offset)], [(value, error)]
        self.batches = 0
        self.failure = None
        self.stopping = False

    def run(self):
        try:
            while not self.stopping:
                values = range(self.sent, self.sent + BATCH)
                self.sent += BATCH
                records = [{"partition": v % PARTITIONS, "timestamp": None, "key": None, "value": b"%d" % v} for v in values]
                for value, ack in zip(values, self.driver.produce(self.topic, records, limit=180, pace_ms=PACE_MS)):
                    if isinstance(ack, tuple):
                        self.acknowledged.append((value, *ack))
                    else:
                        self.refused.append((value, ack))
                self.batches += 1
        except Exception as error:
            self.failure = error

    def until_batches(self, more):
        """Until so many more requests have been answered."""
        wanted = self.batches + more
        until(f"{more} more batches", lambda: self.failure or self.batches >= wanted, 180)
        if self.failure:
            raise self.failure

    def finish(self):
        self.stopping = True
        self.join(200)
        assert not self.is_alive(), "the producer hangs"
        if self.failure:
            raise self.failure


def kill_and_restart(test, node, flowing, topic):
    """kill -9; back once the clients have gone on without the node; then all replicas are in sync again."""
    test.cluster.kill(node)
    started = time.monotonic()
    try:
        flowing()
        took = time.monotonic() - started
    finally:
        test.cluster.start(node)
    test.reference.until_in_sync(topic, seconds=120)
    return took


def produce(test):
    """kill -9 of leaders during produce"""
    topic = test.topic(PARTITIONS)
    driver = test.driver()
    writing = Writing(driver, topic)
    writing.start()
    took = []
    for partition in range(2):
        # The kill falls into a request: some of its records are in the log.
        writing.until_batches(1)
        before = sum(test.reference.ends(topic, range(PARTITIONS)))
        until("records of the next batch", lambda: sum(test.reference.ends(topic, range(PARTITIONS))) > before + BATCH // 10)
        node = test.reference.leader(topic, partition)
        took.append(kill_and_restart(test, node, lambda: writing.until_batches(2), topic))
    writing.until_batches(1)
    writing.finish()
    idempotent = driver.about["idempotent"]
    twice = match_acknowledged(writing.acknowledged, test.reference.read(topic, range(PARTITIONS)), idempotent)
    assert writing.refused == [] or not idempotent, f"records failed: {writing.refused[:3]}"
    more = f", {twice} twice" if twice else ""
    if writing.refused:
        more += f", {len(writing.refused)} told to the application as failed ({writing.refused[0][1]})"
    return f"{len(writing.acknowledged)} acknowledged{more}; two batches after a kill take {max(took):.1f} s"


def match_acknowledged(acknowledged, found, idempotent):
    """Every acknowledged record is there, at its offset where the client tells it; how many are there more than once."""
    lost, moved, places = [], [], {}
    for place, record in sorted(found.items()):
        places.setdefault(int(record["value"]), []).append(place)
    for value, partition, offset in acknowledged:
        if value not in places:
            lost.append(value)
        elif offset is not None and (partition, offset) not in places[value]:
            moved.append((value, partition, offset, places[value]))
    assert not lost, f"{len(lost)} acknowledged records are lost, first {lost[:3]}"
    assert not moved, f"{len(moved)} acknowledged records are not where the client was told, first {moved[:3]}"
    twice = sum(len(of_value) - 1 for of_value in places.values())
    assert not (idempotent and twice), f"{twice} records are there twice, though the producer is idempotent"
    return twice


def consume(test):
    """kill -9 of leaders during consume"""
    topic = test.topic(PARTITIONS)
    driver = test.driver()
    written = {}

    def write(count):
        records = [{"partition": i % PARTITIONS, "key": None, "value": b"%d" % (len(written) + i)} for i in range(count)]
        written.update(zip(test.reference.produce(topic, records), records))

    found = []

    def read_all():
        end = time.monotonic() + 120
        while len(found) < len(written):
            assert time.monotonic() < end, f"{len(found)} of {len(written)} records within 120 s"
            found.extend(driver.poll(1000, limit=90)["records"])

    write(6_000)
    driver.assign(topic, {p: "beginning" for p in range(PARTITIONS)})
    found += driver.poll(30_000)["records"]
    took = []
    for partition in range(2):
        node = test.reference.leader(topic, partition)

        def flowing():
            write(600)
            read_all()

        took.append(kill_and_restart(test, node, flowing, topic))
    write(600)
    read_all()
    match_read(found, written)
    return f"{len(found)} records once each; new ones after a kill within {max(took):.1f} s"


def coordinator(test):
    """kill -9 of the coordinator's broker, with members that read and commit"""
    topic = test.topic(PARTITIONS)
    group = Group(test, topic, PARTITIONS)
    for name in ("a", "b"):
        group.join(name)
    group.wait_balanced("two members own all")
    trickle, watch = Trickle(group), Watch(test, group)
    trickle.start()
    watch.start()
    took = []
    for _ in range(2):
        # The kill falls among commits.
        group.wait("records and commits flow", trickle.more(100), 120)
        node = coordinators.find(test.cluster.bootstrap, group.name)
        more = trickle.more(100)

        def flowing():
            group.wait("records and commits flow after the coordinator's death", more, 120)
            group.wait_balanced("the members are there after the coordinator's death", 120)

        took.append(kill_and_restart(test, node, flowing, topic))
        test.reference.until_in_sync("__consumer_offsets", seconds=120)
    group.wait_read("all records", trickle.finish(), 120)
    # A last commit may have been refused: the next one covers it.
    group.wait_read("the last records", group.produce(1, "last"))
    watch.finish()
    group.stop()
    ends = dict(enumerate(test.reference.ends(topic, range(PARTITIONS))))
    until("all is committed", lambda: coordinators.committed_all(test.cluster.bootstrap, group.name, ends), 30)
    again = sum(len(readers) - 1 for readers in group.seen.values())
    return (f"{len(group.seen)} records, {again} read again, {group.refused_commits} commits refused; a hundred read and "
            f"each partition committed within {max(took):.1f} s of a kill")


class Trickle(threading.Thread):
    """Writes a record into each partition, again and again."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.group = group
        self.written = {}
        self.failure = None
        self.stopping = False

    def run(self):
        try:
            while not self.stopping:
                self.written.update(self.group.produce(1, f"number {len(self.written)}"))
                time.sleep(TRICKLE_S)
        except Exception as error:
            self.failure = error

    def more(self, records):
        """A condition: so many more records are read, and a commit in each partition is acknowledged that is above those of
        now (where the client itself does not commit, the records count alone)."""
        before, committed = len(self.group.seen), dict(self.group.committed)

        def met():
            if self.failure:
                raise self.failure
            commits = any(member.commits for member in self.group.members)
            return len(self.group.seen) >= before + records and (not commits or all(
                self.group.committed.get(p, 0) > committed.get(p, 0) for p in range(self.group.partitions)))

        return met

    def finish(self):
        self.stopping = True
        self.join(100)
        if self.failure:
            raise self.failure
        return self.written


class Watch(threading.Thread):
    """Asks for the group's committed offsets all the time: none goes back, none is below what was acknowledged."""

    def __init__(self, test, group):
        super().__init__(daemon=True)
        self.test, self.group = test, group
        self.highest = {}
        self.stopping = False
        self.failure = None
        self.looks = 0

    def run(self):
        while not self.stopping and not self.failure:
            with self.group.changed:
                acknowledged = dict(self.group.committed)
            try:
                found = coordinators.committed(self.test.cluster.bootstrap, self.group.name)
            except coordinators.Unavailable:  # between two; it is asked again
                time.sleep(0.05)
                continue
            self.failure = self.look(found, acknowledged)
            time.sleep(0.02)

    def look(self, found, acknowledged):
        """What is wrong with the offsets found, if all of `acknowledged` was before they were asked for."""
        self.looks += 1
        for before in (acknowledged, self.highest):
            for partition, offset in before.items():
                if found.get(partition, -1) < offset:
                    return f"partition {partition} is committed at {found.get(partition)} after {offset} (all: {found})"
        self.highest = found
        return None

    def finish(self):
        self.stopping = True
        self.join(60)
        assert not self.failure, self.failure
        assert self.looks > 10, f"only {self.looks} looks at the committed offsets"


SCENARIOS = [produce, consume, coordinator]
