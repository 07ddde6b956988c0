"""Kafka's protocol, as far as tests write it by hand."""

import struct
import time


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def request(key, version, body, correlation=1):
    content = struct.pack(">hhi", key, version, correlation) + string("hostile") + body
    return struct.pack(">i", len(content)) + content


def metadata():
    return request(3, 1, struct.pack(">i", -1))


def produce(topic, partition, records, acks=-1):
    """Version 8: the last that is not flexible, the first with record errors. `records` may be None."""
    size = -1 if records is None else len(records)
    body = struct.pack(">hhii", -1, acks, 5000, 1) + string(topic) + struct.pack(">iii", 1, partition, size)
    return request(0, 8, body + (records or b""))


def fetch(topic, partitions, max_bytes):
    wanted = b"".join(struct.pack(">iqi", p, 0, max_bytes) for p in range(partitions))
    body = struct.pack(">iiiibi", -1, 100, 1, max_bytes, 0, 1) + string(topic) + struct.pack(">i", partitions) + wanted
    return request(1, 4, body)


def find_coordinator(group):
    return request(10, 0, string(group))


def join(group, member, metadata_bytes, version, session_ms=10_000):
    """Versions 1 to 5; from 4 on a new member is told its id, before it waits until the rebalance is over."""
    body = string(group) + struct.pack(">ii", session_ms, 60_000) + string(member)
    body += struct.pack(">h", -1) if version == 5 else b""
    body += string("consumer") + struct.pack(">i", 1) + string("range") + struct.pack(">i", len(metadata_bytes))
    return request(11, version, body + metadata_bytes)


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c(data, table=crc32c_table()):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def record(offset_delta, key, value, timestamp_delta=0):
    def field(data):
        return varint(-1) if data is None else varint(len(data)) + data

    content = b"\0" + varint(timestamp_delta) + varint(offset_delta) + field(key) + field(value) + varint(0)
    return varint(len(content)) + content


def batch(payload, attributes, count, timestamp=None, max_timestamp=None, base_offset=0, producer=(-1, -1, -1), magic=2):
    """A batch of `count` records with this payload, compressed as the attributes say; length and CRC are right."""
    timestamp = int(time.time() * 1000) if timestamp is None else timestamp
    max_timestamp = timestamp if max_timestamp is None else max_timestamp
    covered = struct.pack(">hiqqqhii", attributes, count - 1, timestamp, max_timestamp, *producer, count) + payload
    return struct.pack(">qiibI", base_offset, len(covered) + 9, -1, magic, crc32c(covered)) + covered
