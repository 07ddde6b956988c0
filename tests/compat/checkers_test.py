"""The checks of the scenarios fail on what they are there for: each anomaly is planted here once."""

import pathlib
import tempfile
import types

import kills
import matrix
import members
import records

WRITTEN = [{"partition": 0, "timestamp": 5, "key": b"k", "value": b"0", "headers": [("a", b"1"), ("a", None)]},
           {"partition": 0, "timestamp": 6, "key": None, "value": b"1", "headers": []}]
ACKS = [(0, 0), (0, 1)]


def stored():
    return {ack: dict(record) for ack, record in zip(ACKS, WRITTEN)}


def read():
    return [{**record, "offset": offset} for (_, offset), record in stored().items()]


def fails(check, *arguments):
    try:
        check(*arguments)
    except AssertionError:
        return
    raise RuntimeError(f"{check.__name__} found nothing wrong with {arguments}")


def changed(found, place, field, value):
    found[place][field] = value
    return found


def written_records():
    records.match_written(ACKS, WRITTEN, stored())
    records.match_written([(0, None), (0, None)], WRITTEN, stored())
    fails(records.match_written, ACKS, WRITTEN, {(0, 0): WRITTEN[0]})
    fails(records.match_written, [(0, 0), "MESSAGE_TOO_LARGE"], WRITTEN, stored())
    fails(records.match_written, [(0, 1), (0, 0)], WRITTEN, stored())
    for field, value in (("key", b""), ("value", None), ("timestamp", 7), ("headers", [("a", None), ("a", b"1")])):
        fails(records.match_written, ACKS, WRITTEN, changed(stored(), (0, 0), field, value))


def read_records():
    records.match_read(read(), stored())
    fails(records.match_read, read()[:1], stored())
    fails(records.match_read, [*read(), read()[1]], stored())
    fails(records.match_read, read()[::-1], stored())
    fails(records.match_read, changed(read(), 1, "value", b"0"), stored())


def acknowledged_records():
    acknowledged = [(0, 0, 0), (1, 0, 1)]
    assert kills.match_acknowledged(acknowledged, stored(), True) == 0
    twice = {**stored(), (0, 2): WRITTEN[1]}
    assert kills.match_acknowledged(acknowledged, twice, False) == 1
    fails(kills.match_acknowledged, acknowledged, twice, True)
    fails(kills.match_acknowledged, [*acknowledged, (2, 0, None)], stored(), True)
    fails(kills.match_acknowledged, [(0, 0, 1)], stored(), True)


def assignments():
    group = members.Group(types.SimpleNamespace(unique=str), "t", 4)
    for shares, good in (([[0, 1], [2, 3]], True), ([[0, 1], [2]], False), ([[0, 1, 2], [2, 3]], False), ([[0, 1, 2, 3], []], False)):
        group.members = [types.SimpleNamespace(assigned=share) for share in shares]
        assert group.balanced() == good, shares


def commits():
    watch = kills.Watch(None, types.SimpleNamespace())
    assert watch.look({0: 5, 1: 1}, {0: 5}) is None
    assert watch.look({0: 6, 1: 1}, {0: 5}) is None
    assert watch.look({0: 5, 1: 1}, {0: 5}), "an offset went back"
    assert watch.look({0: 6}, {}), "an offset is gone"
    assert watch.look({0: 6, 1: 1}, {1: 2}), "an acknowledged commit is not there"


def skips():
    """What passed and is skipped is worse, also in the run after that."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "last.json"
        for outcome, worse in ((matrix.PASSED, []), (matrix.SKIPPED, [("kcat", "s")]), (matrix.SKIPPED, [("kcat", "s")]),
                               (matrix.FAILED, []), (matrix.SKIPPED, [])):
            table = matrix.Matrix(["kcat"], ["s"])
            table.set("kcat", "s", outcome)
            assert table.worse_than(matrix.load(path)) == worse, outcome
            table.save(path)


def main():
    for test in (written_records, read_records, acknowledged_records, assignments, commits, skips):
        test()


if __name__ == "__main__":
    main()
