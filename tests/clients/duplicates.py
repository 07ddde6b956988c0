"""A proxy drops produce answers; an idempotent producer sends again; every duplicate is answered with its first offset
and stored once."""

import asyncio
import random
import struct
import threading
import time

import confluent_kafka

import kill
from cluster import Cluster, create_topic, free_port_block

PRODUCE = 0
DROPS = 110
DUPLICATES_MIN = 100
PARTITIONS = kill.PARTITIONS


class Reader:
    """Just enough of Kafka's encoding to walk Produce."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value, = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def skip(self, count):
        self.at += max(count, 0)

    def string(self, flexible):
        length = self.varint() - 1 if flexible else self.take("h")
        start = self.at
        self.skip(length)
        return self.data[start:self.at]

    def array(self, flexible):
        return self.varint() - 1 if flexible else self.take("i")

    def tags(self, flexible):
        if flexible:
            for _ in range(self.varint()):
                self.varint()
                self.skip(self.varint())


def batches_of_request(body, version):
    """{(topic, partition): (producer id, base sequence)} of a Produce request's body behind its header."""
    flexible = version >= 9
    reader = Reader(body)
    reader.string(flexible)  # transactional id
    reader.take("h")
    reader.take("i")
    found = {}
    for _ in range(reader.array(flexible)):
        topic = body[reader.at:reader.at + 16] if version >= 13 else reader.string(flexible)
        if version >= 13:
            reader.skip(16)
        for _ in range(reader.array(flexible)):
            partition = reader.take("i")
            length = reader.varint() - 1 if flexible else reader.take("i")
            batch = body[reader.at:reader.at + length]
            reader.skip(length)
            reader.tags(flexible)
            producer, _, sequence = struct.unpack_from(">qhi", batch, 43)
            found[(topic, partition)] = (producer, sequence)
        reader.tags(flexible)
    return found


def offsets_of_answer(body, version):
    """{(topic, partition): (error, base offset)} of a Produce response's body behind its header."""
    flexible = version >= 9
    reader = Reader(body)
    found = {}
    for _ in range(reader.array(flexible)):
        topic = body[reader.at:reader.at + 16] if version >= 13 else reader.string(flexible)
        if version >= 13:
            reader.skip(16)
        for _ in range(reader.array(flexible)):
            partition, error, offset = reader.take("i"), reader.take("h"), reader.take("q")
            found[(topic, partition)] = (error, offset)
            reader.skip(8)
            if version >= 5:
                reader.skip(8)
            if version >= 8:
                for _ in range(reader.array(flexible)):
                    reader.take("i")
                    reader.string(flexible)
                    reader.tags(flexible)
                reader.string(flexible)
            reader.tags(flexible)
        reader.tags(flexible)
    return found


class Proxy(threading.Thread):
    """Forwards to a node and, while `dropping`, loses some of its Produce answers together with the connection."""

    def __init__(self, listen, target, shared):
        super().__init__(daemon=True)
        self.listen, self.target, self.shared = listen, target, shared

    def run(self):
        asyncio.run(self.serve())

    async def serve(self):
        server = await asyncio.start_server(self.client, "127.0.0.1", self.listen)
        async with server:
            await server.serve_forever()

    async def client(self, reader, writer):
        try:
            node_reader, node_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        requests = {}
        forward = asyncio.create_task(self.forward(reader, node_writer, requests))
        try:
            while True:
                head = await node_reader.readexactly(4)
                frame = await node_reader.readexactly(struct.unpack(">i", head)[0])
                correlation, = struct.unpack_from(">i", frame)
                request = requests.pop(correlation, None)
                if request and not self.shared.passes(request, frame):
                    break
                writer.write(head + frame)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        forward.cancel()
        writer.close()
        node_writer.close()

    async def forward(self, reader, node_writer, requests):
        try:
            while True:
                head = await reader.readexactly(4)
                frame = await reader.readexactly(struct.unpack(">i", head)[0])
                key, version, correlation = struct.unpack_from(">hhi", frame)
                if key == PRODUCE:
                    at = 8 + 2 + max(struct.unpack_from(">h", frame, 8)[0], 0)
                    at += 1 if version >= 9 else 0  # no tagged fields in the header
                    requests[correlation] = (version, batches_of_request(frame[at:], version))
                node_writer.write(head + frame)
                await node_writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            node_writer.close()


class Shared:
    def __init__(self):
        self.lock = threading.Lock()
        self.random = random.Random(7)
        self.dropped = {}
        self.drops = 0
        self.duplicates = 0
        self.wrong = []

    def passes(self, request, frame):
        version, batches = request
        answers = offsets_of_answer(frame[5 if version >= 9 else 4:], version)
        with self.lock:
            for place, (error, offset) in answers.items():
                if error == 0 and place in batches:
                    batch = (place, *batches[place])
                    if batch in self.dropped:
                        self.duplicates += 1
                        if self.dropped[batch] != offset:
                            self.wrong.append((batch, self.dropped[batch], offset))
            drop = self.drops < DROPS and self.random.random() < 0.4 and any(e == 0 for e, _ in answers.values())
            if drop:
                self.drops += 1
                for place, (error, offset) in answers.items():
                    if error == 0 and place in batches:
                        self.dropped.setdefault((place, *batches[place]), offset)
            return not drop


def main():
    proxies = free_port_block(6)[3:]
    with Cluster(advertise=proxies) as cluster:
        shared = Shared()
        for listen, target in zip(proxies, cluster.ports):
            Proxy(listen, target, shared).start()
        cluster.start()
        # The command line asks through the proxies' ports as soon as it follows Metadata; they forward.
        create_topic(cluster, "twice", PARTITIONS)
        load = kill.Load(",".join(f"localhost:{p}" for p in proxies), "twice", **{"retry.backoff.ms": 10, "reconnect.backoff.ms": 10,
                                                                                           "reconnect.backoff.max.ms": 50, "retry.backoff.max.ms": 50})
        load.start()
        end = time.monotonic() + 120
        while shared.drops < DROPS or shared.duplicates < DUPLICATES_MIN:
            assert time.monotonic() < end, f"{shared.drops} answers dropped, {shared.duplicates} duplicates after 120 s"
            time.sleep(0.1)
        load.finish()
        assert not load.errors, f"{len(load.errors)} records failed, first: {load.errors[:3]}"
        assert not shared.wrong, f"duplicates answered with another offset: {shared.wrong[:3]}"
        kill.compare(load.acknowledged, kill.read_back(cluster.bootstrap, "twice"))
        cluster.assert_no_panic()
        print(f"  {shared.drops} produce answers dropped, {shared.duplicates} duplicates answered with their first offset, "
              f"{load.count} records stored once and in order")


if __name__ == "__main__":
    main()
