"""Requests about groups in every version, for capture.py: one group per version of JoinGroup goes through its life."""
import struct
import time

from raw_requests import B, H, I, N, Q, R, S, SCHEMAS, U, topic_id

PROTOCOLS = [("name", S), ("metadata", R)]
OFFSETS = [("index", I), ("offset", Q), ("leader_epoch", I, 6), ("metadata", N)]
SCHEMAS.update({
    8: (8, [("group", S), ("generation", I), ("member", S), ("instance", N, 7), ("retention_ms", Q, 0, 4),
            ("topics", [("name", S, 0, 9), ("topic_id", U, 10), ("partitions", OFFSETS)])]),
    9: (6, [("group", S, 0, 7), ("topics", [("name", S), ("partitions", [I])], 0, 7),
            ("groups", [("group", S), ("member", N, 9), ("epoch", I, 9),
                        ("topics", [("name", S, 0, 9), ("topic_id", U, 10), ("partitions", [I])])], 8),
            ("stable", B, 7)]),
    11: (6, [("group", S), ("session_ms", I), ("rebalance_ms", I, 1), ("member", S), ("instance", N, 5), ("type", S),
             ("protocols", PROTOCOLS), ("reason", N, 8)]),
    12: (4, [("group", S), ("generation", I), ("member", S), ("instance", N, 3)]),
    13: (4, [("group", S), ("member", S, 0, 2), ("members", [("member", S), ("instance", N), ("reason", N, 5)], 3)]),
    14: (4, [("group", S), ("generation", I), ("member", S), ("instance", N, 3), ("type", N, 5), ("protocol", N, 5),
             ("assignments", [("member", S), ("assignment", R)])]),
    15: (5, [("groups", [S]), ("operations", B, 3)]),
    16: (3, [("states", [S], 4), ("types", [S], 5)]),
    42: (2, [("groups", [S])]),
    47: (99, [("group", S), ("topics", [("name", S), ("partitions", [("index", I)])])]),
})
#: ConsumerProtocolSubscription and …Assignment, version 0: of the topic `raw`.
SUBSCRIPTION = struct.pack(">hih", 0, 1, 3) + b"raw" + struct.pack(">i", -1)
ASSIGNMENT = struct.pack(">hih", 0, 1, 3) + b"raw" + struct.pack(">iii", 1, 0, -1)


def drive(recorder, brokers):
    """`brokers` in the order of their ids; the topic `raw` is there."""
    recorder.client = "warm-up"
    first = brokers[0]
    ids = {"raw": topic_id(first, "raw")}
    coordinator = {}
    groups = [f"raw-{version}" for version in range(10)] + [f"static-{version}" for version in range(5, 10)]
    for group in groups + ["none", ""]:
        coordinator[group] = brokers[wait_for_coordinator(first, group)]
    recorder.client = "raw"
    for version in range(10):
        life(coordinator, f"raw-{version}", version, ids)
    for version in range(5, 10):
        static(coordinator[f"static-{version}"], version, f"static-{version}")
    after_life(brokers, coordinator)


def wait_for_coordinator(broker, group):
    while True:
        answer = broker.send(10, 0, {"key": group})
        error, node = struct.unpack_from(">hi", answer, 4)
        if error == 0:
            return node
        time.sleep(0.3)


def joined(answer, version):
    """Error, generation and member id of a JoinGroup answer."""
    at = 4 + (1 if version >= 6 else 0) + (4 if version >= 2 else 0)
    error, generation = struct.unpack_from(">hi", answer, at)
    at += 6
    texts = []
    for field in (["type"] if version >= 7 else []) + ["protocol", "leader"] + (["skip"] if version >= 9 else []) + ["member"]:
        if field == "skip":
            at += 1
            continue
        if version >= 6:
            size, at = answer[at] - 1, at + 1
        else:
            size, at = struct.unpack_from(">h", answer, at)[0], at + 2
        size = max(size, 0)
        texts.append(answer[at:at + size].decode())
        at += size
    return error, generation, texts[-1]


def life(coordinator, group, version, ids):
    """Join, sync, commit, fetch, be looked at, leave: each API in the version that this one has, if it has it."""
    broker, other = coordinator[group], coordinator["none"]
    ask = {"group": group, "session_ms": 30000, "rebalance_ms": 30000, "member": "", "instance": None, "type": "consumer",
           "protocols": [{"name": "range", "metadata": SUBSCRIPTION}, {"name": "odd", "metadata": b""}],
           "reason": "because" if version == 9 else None}

    def join(**changes):
        return joined(broker.send(11, version, dict(ask, **changes)), version)

    join(group="")
    join(session_ms=1)
    join(member="nobody")
    join(protocols=[])
    error, generation, member = join()
    if error == 79:
        error, generation, member = join(member=member)
    join(member=member, type="connect")
    me = {"group": group, "generation": generation, "member": member, "instance": None}
    if version <= 4:
        broker.send(12, version, me)  # its leader has not synced: all is well
    sync(broker, version, me)
    beat(broker, version, me)
    offsets(broker, version, me, ids)
    look(broker, other, version, group)
    leave(broker, version, me)


def static(broker, version, group):
    """A member with a name of its own, and what is told the id that it had before it came back."""
    def join(member):
        ask = {"group": group, "session_ms": 30000, "rebalance_ms": 30000, "member": member, "instance": "one",
               "type": "consumer", "protocols": [{"name": "range", "metadata": SUBSCRIPTION}], "reason": None}
        return joined(broker.send(11, version, ask), version)

    _, generation, old = join("")
    me = {"group": group, "generation": generation, "member": old, "instance": "one"}
    assigned = [{"member": old, "assignment": ASSIGNMENT}]
    broker.send(14, min(version, 5), dict(me, type="consumer", protocol="range", assignments=assigned))
    broker.send(15, min(version, 6), {"groups": [group], "operations": 0})
    join("")
    join(old)
    broker.send(12, 4, me)
    broker.send(14, min(version, 5), dict(me, type="consumer", protocol="range", assignments=[]))
    broker.send(13, min(version, 5), {"group": group, "members": [{"member": "", "instance": "one", "reason": None}]})


def sync(broker, version, me):
    if version > 5:
        return
    ask = dict(me, type="consumer", protocol="range", assignments=[{"member": me["member"], "assignment": ASSIGNMENT}])
    broker.send(14, version, dict(ask, group=""))
    broker.send(14, version, dict(ask, member="nobody"))
    broker.send(14, version, dict(ask, generation=77))
    if version == 5:
        broker.send(14, version, dict(ask, protocol=None))
        broker.send(14, version, dict(ask, protocol="odd"))
    broker.send(14, version, ask)
    broker.send(14, version, dict(ask, assignments=[]))


def beat(broker, version, me):
    if version <= 4:
        for changes in ({}, {"group": ""}, {"group": "none"}, {"member": "nobody"}, {"generation": 77}):
            broker.send(12, version, dict(me, **changes))


def offsets(broker, version, me, ids):
    def commit(version, partitions, **changes):
        topics = [{"name": name, "topic_id": ids.get(name, b"\5" * 16), "partitions": [
            {"index": index, "offset": offset, "leader_epoch": 0, "metadata": metadata} for index, offset, metadata in of]}
            for name, of in partitions]
        broker.send(8, version, dict(dict(me, retention_ms=-1, topics=topics), **changes))

    def fetch(version, topics, group=me["group"], stable=0):
        named = topics and [{"name": name, "topic_id": ids.get(name, b"\5" * 16), "partitions": of} for name, of in topics]
        groups = [{"group": name, "member": None, "epoch": -1, "topics": named} for name in (group, "")]
        broker.send(9, version, {"group": group, "topics": named, "groups": groups, "stable": stable})

    for number in {version, version + 1} & set(range(2, 11)):
        commit(number, [("raw", [(0, 5, "note"), (1, 6, None), (77, 1, "")]), ("missing", [(0, 1, "")])])
        commit(number, [("raw", [(0, 5, "x" * 4097)])])
        commit(number, [("raw", [(0, 5, "")])], generation=77)
        commit(number, [("raw", [(0, 5, "")])], member="nobody")
        commit(number, [("raw", [(0, 5, "")])], generation=-1, member="")
        commit(number, [("raw", [(0, 5, "")])], generation=-1, member="", group="")
        commit(number, [("missing", [(0, 1, "")])])
    for number in {version, version + 1} & set(range(1, 11)):
        fetch(number, [("raw", [0, 1, 2, 77]), ("missing", [0])])
        fetch(number, [("raw", [0])], group="none", stable=1)
        fetch(number, [])
        if number >= 2:
            fetch(number, None)


def look(broker, other, version, group):
    if version <= 6:
        for operations in range(2):
            broker.send(15, version, {"groups": [group, "none", ""], "operations": operations})
        other.send(15, version, {"groups": [], "operations": 0})
    if version <= 5:
        for states, types in (([], []), (["stable", "no such state"], []), ([], ["Classic"]), ([], ["consumer"]), (["Empty"], ["nothing"])):
            broker.send(16, version, {"states": states, "types": types})
    if version <= 2:
        broker.send(42, version, {"groups": [group, "none", "", group]})
    topics = [{"name": "raw", "partitions": [{"index": 0}, {"index": 77}]}, {"name": "missing", "partitions": [{"index": 0}]}]
    if version == 0:
        for name in (group, "none", ""):
            broker.send(47, 0, {"group": name, "topics": topics})


def leave(broker, version, me):
    if version <= 5:
        for changes in ({"group": ""}, {"group": "none"}, {"member": "nobody"}, {}, {}):
            ask = dict(me, **changes)
            members = [{"member": ask["member"], "instance": None, "reason": "done"}, {"member": "", "instance": "nobody", "reason": None}]
            broker.send(13, version, dict(ask, members=members))
    else:
        broker.send(13, 5, dict(me, members=[{"member": me["member"], "instance": None, "reason": None}]))


def after_life(brokers, coordinator):
    """The groups are empty: offsets and groups can be deleted."""
    for version in range(7):
        group = f"raw-{version}"
        coordinator[group].send(15, version, {"groups": [group], "operations": 0})
    topics = [{"name": "raw", "partitions": [{"index": 0}, {"index": 2}]}, {"name": "missing", "partitions": [{"index": 0}]}]
    coordinator["raw-9"].send(47, 0, {"group": "raw-9", "topics": topics})
    for version in range(3):
        for broker in brokers:
            broker.send(42, version, {"groups": [f"raw-{version}", "none", ""]})
