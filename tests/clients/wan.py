"""Three datacenters 150 ms apart, by proxies that delay all that nodes say to each other: nothing flaps, nothing is lost."""

import asyncio
import statistics
import threading
import time

import kill
from cluster import Cluster, create_topic
from network import Load, Logs

DELAY = 0.075  # seconds, one way
TOPIC = "far"
QUIET = 20.0
HANG = 60


class Link:
    """Stands before one port of a node. A connection is made after a round trip, and every byte takes its time."""

    def __init__(self, far, port):
        self.far = far
        self.port = port
        self.server = far.call(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.address = f"localhost:{self.server.sockets[0].getsockname()[1]}"

    async def serve(self, reader, writer):
        await asyncio.sleep(2 * DELAY)
        try:
            there = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self.pump(reader, there[1]), self.pump(there[0], writer))

    async def pump(self, reader, writer):
        loop, queue = asyncio.get_running_loop(), asyncio.Queue(1024)

        async def deliver():
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0, due - loop.time()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.transport.abort() if data is None else writer.close()

        delivery = asyncio.ensure_future(deliver())
        try:
            data = b"-"
            while data and not delivery.done():
                data = await reader.read(1 << 16)
                await queue.put((loop.time() + DELAY, data))
        except OSError:
            await queue.put((loop.time() + DELAY, None))
        await asyncio.gather(delivery, return_exceptions=True)

    def refuse(self):
        """As a machine does whose program has ended."""
        self.far.loop.call_soon_threadsafe(self.server.close)


class Far:
    """Runs the links."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)


def far_apart(cluster):
    """The links of each node, which all others are told of."""
    far = Far()
    links = [[Link(far, port + 10000), Link(far, port + 20000)] for port in cluster.ports]
    join = ",".join(control.address for control, _ in links)
    for index, (control, replica) in enumerate(links):
        with open(cluster.home(index) / "server.properties", "a") as file:
            file.write(f"join={join}\ncontrol.advertised.listener={control.address}\n"
                       f"replica.advertised.listener={replica.address}\ntimings.profile=wan\n")
    return links


def main():
    kill.RATE = 200
    with Cluster() as cluster:
        links = far_apart(cluster)
        began = time.monotonic()
        cluster.start()
        create_topic(cluster, TOPIC, kill.PARTITIONS)
        cluster.wait_in_sync(TOPIC)
        print(f"  founded and a topic made in {time.monotonic() - began:.1f} s", flush=True)
        load, logs = Load(cluster.bootstrap, TOPIC), Logs(cluster)
        load.start()
        time.sleep(QUIET)
        quiet = logs.count()
        took = [acknowledged - due for _, due, acknowledged in list(load.answered)]
        print(f"  {len(took)} records in {QUIET:.0f} s, acknowledged after {statistics.median(took) * 1000:.0f} ms (p50); {quiet}", flush=True)
        assert len(took) > QUIET * kill.RATE / 2, len(took)
        assert statistics.median(took) > 2 * DELAY, "the links do not delay"
        assert not any(quiet.values()), f"elections or fencings in a quiet network:\n{logs.text()}"
        victim = cluster.raft_leader()
        at = time.monotonic()
        cluster.kill(victim)
        for link in links[victim]:
            link.refuse()
        time.sleep(10)
        gaps = load.gaps(at)
        load.finish()
        print(f"  kill -9 of the Raft leader: longest gap of a partition {max(gaps.values()):.2f} s", flush=True)
        assert len(gaps) == kill.PARTITIONS and max(gaps.values()) < HANG, gaps
        assert not load.errors, load.errors[:3]
        kill.compare(load.acknowledged, kill.read_back(cluster.bootstrap, TOPIC))
        cluster.assert_no_panic()


if __name__ == "__main__":
    main()
