"""Scenarios of consumer groups."""

import coordinators
from driver import Hangs, Refused
from members import Group
from reference import until

PARTITIONS = 12
SESSION_MS = 6_000  # the least that Apache Kafka takes


def rebalance(test):
    """group: three members over 12 partitions, one joins, one leaves, one is killed"""
    group = Group(test, test.topic(PARTITIONS), PARTITIONS)
    written = group.produce(20, "first")
    group.join("a", session_ms=SESSION_MS)
    killed = group.join("b", session_ms=SESSION_MS)
    group.wait_balanced("two members own all partitions")
    leaving = group.join("c", session_ms=SESSION_MS)
    owners = group.wait_balanced("the third has its share")
    group.wait_read("all records are read", written)
    second = group.produce(5, "second")
    group.wait_read("all of the second records", second)
    for place in second:
        readers = {member for member, _ in group.seen[place]}
        assert readers == {group.owner(place[0])}, f"{place} was read by {readers}, its owner is {group.owner(place[0])}"
    leaving.leave()
    group.wait_balanced("the two that stay own all")
    third = group.produce(5, "third")
    group.wait_read("all of the third records", third)
    killed.kill()
    group.wait_balanced("the last owns all", 60 + SESSION_MS / 1000)
    assert group.members[0].assigned == list(range(PARTITIONS))
    fourth = group.produce(5, "fourth")
    group.wait_read("all of the fourth records", fourth)
    group.stop()
    check_commits(test, group)
    return "shares " + " + ".join(str(len(p)) for p in owners.values())


def check_commits(test, group):
    """After everybody has left, everything is committed."""
    ends = dict(enumerate(test.reference.ends(group.topic, range(group.partitions))))
    until("all is committed", lambda: coordinators.committed_all(test.cluster.bootstrap, group.name, ends), 20)
    assert all(offset <= ends[p] for p, offset in group.committed.items())


def resume(test):
    """group: commit, stop, resume where it stopped"""
    group = Group(test, test.topic(3), 3)
    written = group.produce(50, "first")
    member = group.join("first")
    group.wait_read("the first records", written)
    member.leave()
    assert coordinators.committed(test.cluster.bootstrap, group.name) == {p: 50 for p in range(3)}
    second = group.produce(10, "second")
    group.seen.clear()
    member = group.join("second")
    group.wait_read("the second records", second)
    again = [place for place in group.seen if place not in second]
    assert not again, f"{len(again)} records that were committed came again: {sorted(again)[:3]}"
    explicit = member.commits
    if explicit:
        # The consumer sees what is committed, and may set it back.
        offsets = member.driver.ask("committed", topic=group.topic, partitions=[0, 1, 2])["offsets"]
        assert offsets == {"0": 60, "1": 60, "2": 60}, offsets
        member.driver.ask("commit", offsets={1: 7})
    member.leave()
    if not explicit:
        return "by what the client commits when it ends (it has no commit of its own)"
    group.seen.clear()
    member = group.join("third")
    group.wait("the records from the offset set back", lambda: len(group.seen) >= 53)
    assert min(group.seen) == (1, 7) and {p for p, _ in group.seen} == {1}
    member.leave()
    return "by commits; one partition set back by hand"


def static(test):
    """group: static members: back without a rebalance, and fenced by a second of the same name"""
    group = Group(test, test.topic(4), 4)
    first = group.join("a", instance="instance-a", session_ms=30_000)
    second = group.join("b", instance="instance-b", session_ms=30_000)
    before = group.wait_balanced("two static members")
    written = group.produce(5, "first")
    group.wait_read("the first records", written)
    rebalances = first.rebalances
    second.kill()
    back = group.join("b", instance="instance-b", session_ms=30_000)
    assert group.wait_balanced("the member is back") == before, "it has other partitions than before"
    assert first.rebalances == rebalances, "the other member went through a rebalance"
    again = group.produce(5, "second")
    group.wait_read("the second records", again)
    # Two processes of one name: the older is told and ends.
    newer = group.join("b2", instance="instance-b", session_ms=30_000)
    group.members.remove(back)
    try:
        group.wait_balanced("the newer one has the partitions")
        # A client that is told in the background may learn it only from the commit of what it reads next.
        group.produce(5, "third")
        until("the older one is fenced", lambda: back.failure, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}; the older has {back.assigned}") from None
    code = back.failure.code if isinstance(back.failure, Refused) else None
    assert isinstance(back.failure, Hangs) or code == "FENCED_INSTANCE_ID", back.failure
    assert newer.assigned == before["b"], newer.assigned
    group.stop()
    return f"same partitions, no rebalance of the other; the older of two: {code or 'ends'}"


SCENARIOS = [rebalance, resume, static]
