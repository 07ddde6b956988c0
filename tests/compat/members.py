"""Members of one consumer group, each a driver of its own that is polled all the time, as an application would."""

import collections
import threading
import time

from driver import Cannot, Refused


class Member(threading.Thread):
    """Polls, keeps what it read, and commits after each poll, until it leaves or is killed."""

    def __init__(self, group, driver, name, commits=True, **how):
        super().__init__(daemon=True, name=name)
        self.group, self.driver, self.commits = group, driver, commits
        self.records = []
        self.assigned = []
        self.rebalances = 0
        self.polls = 0
        self.failure = None
        self.stopping = False
        driver.ask("subscribe", group=group.name, topic=group.topic, **how)

    def run(self):
        try:
            while not self.stopping:
                self.one_round()
        except Exception as error:  # `Group.wait` raises it
            if not self.stopping:
                self.failure = error
                with self.group.changed:
                    self.group.changed.notify_all()

    def one_round(self):
        answer = self.driver.poll(200, limit=90)
        self.keep(answer["records"], answer)
        if self.commits and answer["records"]:
            positions = {}
            for record in answer["records"]:
                positions[record["partition"]] = record["offset"] + 1
            self.commit(positions)

    def keep(self, records, answer=None):
        with self.group.changed:
            self.records += records
            for record in records:
                self.group.seen[record["partition"], record["offset"]].append((self.name, record["value"]))
            if answer:
                self.assigned, self.rebalances = answer["assigned"], answer["rebalances"]
                self.polls += 1
            self.group.changed.notify_all()

    def commit(self, positions):
        """A commit that is refused since the group has moved on counts for nothing: its records come again."""
        try:
            self.driver.ask("commit", offsets=positions)
        except Cannot:
            self.commits = False  # the client commits by itself
        except Refused as error:
            if error.code not in REFUSED_COMMITS:
                raise
            self.group.refused_commits += 1
        else:
            with self.group.changed:
                for partition, offset in positions.items():
                    self.group.committed[partition] = max(offset, self.group.committed.get(partition, 0))

    def finish(self):
        self.stopping = True
        self.join(100)
        assert not self.is_alive(), f"{self.name} hangs in poll"
        self.group.members.remove(self)

    def leave(self):
        """As a client that closes does."""
        self.finish()
        if self.failure:
            raise self.failure
        self.keep(self.driver.close())

    def kill(self):
        """kill -9: the group learns of it by the session timeout."""
        self.stopping = True
        self.driver.kill()
        self.join(100)
        self.group.members.remove(self)


# What a broker, or the client before it asks one, answers to a commit during a rebalance, or while the coordinator moves,
# and the application has to live with. The client's names, where it gives the same refusal one of its own.
REFUSED_COMMITS = {
    "REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "CommitFailedError", "CommitFailedException",
    "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "REQUEST_TIMED_OUT",
    "_ASSIGNMENT_LOST", "ASSIGNMENT_LOST", "_TRANSPORT", "BROKER_TRANSPORT_FAILURE", "_WAIT_COORD", "WAITING_FOR_COORDINATOR",
    "_TIMED_OUT", "OPERATION_TIMED_OUT", "KafkaConnectionError",
}


class Group:
    def __init__(self, test, topic, partitions, suffix="group"):
        self.test, self.topic, self.partitions = test, topic, partitions
        self.name = test.unique(suffix)
        self.members = []
        self.seen = collections.defaultdict(list)  # (partition, offset): [(member, value)]
        self.committed = {}  # what the broker has acknowledged
        self.refused_commits = 0
        self.changed = threading.Condition()

    def join(self, name, commits=True, **how):
        member = Member(self, self.test.driver(), name, commits, **how)
        self.members.append(member)
        member.start()
        return member

    def wait(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        with self.changed:
            while not condition():
                for member in self.members:
                    if member.failure:
                        raise member.failure
                left = end - time.monotonic()
                assert left > 0, f"not within {seconds} s: {what}; {self}"
                self.changed.wait(min(left, 1))

    def balanced(self):
        owned = sorted(p for m in self.members for p in m.assigned or ())
        return owned == list(range(self.partitions)) and all(m.assigned for m in self.members)

    def wait_balanced(self, what, seconds=60):
        """Every partition has one owner, every member has some, and it stays so for two more polls of each."""
        self.wait(what, self.balanced, seconds)
        while True:
            before = [(m, m.polls, m.assigned, m.rebalances) for m in self.members]
            self.wait(what, lambda: all(m.polls >= polls + 2 for m, polls, *_ in before), seconds)
            if all((m.assigned, m.rebalances) == (assigned, count) for m, _, assigned, count in before):
                return {m.name: list(m.assigned) for m in self.members}
            self.wait(what, self.balanced, seconds)

    def owner(self, partition):
        return next((m.name for m in self.members if partition in (m.assigned or ())), None)

    def produce(self, count, label):
        """`count` records into each partition, by the reference; where they are."""
        records = [{"partition": p, "key": None, "value": f"{label} {p} {i}".encode()}
                   for p in range(self.partitions) for i in range(count)]
        return dict(zip(self.test.reference.produce(self.topic, records), (r["value"] for r in records)))

    def wait_read(self, what, places, seconds=60):
        self.wait(what, lambda: all(place in self.seen for place in places), seconds)
        for place, value in places.items():
            for member, found in self.seen[place]:
                assert found == value, f"{member} read {found!r} at {place}, not {value!r}"

    def stop(self):
        for member in list(self.members):
            member.leave()

    def __str__(self):
        owned = ", ".join(f"{m.name}: {m.assigned}" for m in self.members)
        return f"assignments {owned}; {len(self.seen)} of the records seen"
