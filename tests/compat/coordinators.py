"""FindCoordinator and OffsetFetch by hand: librdkafka's admin client has crashed the harness while a coordinator died."""

import socket
import struct

import rawkafka


class Unavailable(Exception):
    """No broker answers for the group now."""


def ask(bootstrap, key, version, body):
    """The answers of the brokers that are up, after the correlation id."""
    for address in bootstrap.split(","):
        host, port = address.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), 5) as connection:
                connection.sendall(rawkafka.request(key, version, body))
                with connection.makefile("rb") as stream:
                    [size] = struct.unpack(">i", stream.read(4))
                    yield stream.read(size)[4:]
        except (OSError, struct.error):  # it is down, or closes the connection while it dies
            pass


def find(bootstrap, group):
    """The node id of the group's coordinator (FindCoordinator 0)."""
    for answer in ask(bootstrap, 10, 0, rawkafka.string(group)):
        error, node = struct.unpack_from(">hi", answer)
        if error == 0:
            return node
    raise Unavailable(f"no broker knows the coordinator of {group}")


def committed(bootstrap, group):
    """partition: committed offset, of the group's one topic (OffsetFetch 5, all topics), by whoever says it coordinates."""
    for answer in ask(bootstrap, 9, 5, rawkafka.string(group) + struct.pack(">i", -1)):
        offsets, error = parse(answer)
        if error == 0:
            return offsets
    raise Unavailable(f"no broker coordinates {group}")


def committed_all(bootstrap, group, ends):
    """Whether the group has committed just these offsets; not now, if nobody coordinates it."""
    try:
        return committed(bootstrap, group) == ends
    except Unavailable:
        return False


def parse(answer):
    """Throttle time, topics [name, partitions [index, offset, epoch, metadata, error]], error."""
    offsets, at = {}, 8
    [topics] = struct.unpack_from(">i", answer, 4)
    assert topics <= 1, "more than one topic"
    for _ in range(topics):
        [length] = struct.unpack_from(">h", answer, at)
        at += 2 + length
        [count] = struct.unpack_from(">i", answer, at)
        at += 4
        for _ in range(count):
            partition, offset, _, length = struct.unpack_from(">iqih", answer, at)
            at += 18 + max(length, 0)
            [error] = struct.unpack_from(">h", answer, at)
            at += 2
            if error:
                return {}, error
            if offset >= 0:
                offsets[partition] = offset
    return offsets, struct.unpack_from(">h", answer, at)[0]
