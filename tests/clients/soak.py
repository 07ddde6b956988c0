"""Saturating load on every core: no election, no fencing, no ISR change."""

import os
import resource
import subprocess
import sys
import time

import kill
from cluster import Cluster, create_topic

MINUTES = float(os.environ.get("MINUTES", "10"))
WORDS = {"elections": "became Raft leader", "fencings": "fenced", "ISR changes": "ISR"}


def main():
    kill.RATE = 10_000_000  # as fast as it goes
    # Nodes on a full disk are at leisure.
    with Cluster(properties=["log.retention.check.interval.ms=2000"]) as cluster:
        cluster.start()
        create_topic(cluster, "soak", kill.PARTITIONS, ["segment.bytes=16777216", "retention.bytes=16777216", "file.delete.delay.ms=1000"])
        before = cluster.status()
        loads = [kill.Load(cluster.bootstrap, "soak", **{"queue.buffering.max.messages": 50_000}) for _ in range(2)]
        for load in loads:
            load.start()
        started = time.monotonic()
        while time.monotonic() - started < MINUTES * 60:
            time.sleep(10)
            total = sum(load.count for load in loads)
            print(f"  {time.monotonic() - started:.0f} s: {total} records, {total * kill.VALUE / (time.monotonic() - started) / 1e6:.1f} MB/s, "
                  f"load average {os.getloadavg()[0]:.1f}", flush=True)
        after = cluster.status()
        for load in loads:
            load.finish()
        assert not any(load.errors for load in loads)
        assert not any(b"is full" in (cluster.home(node) / "ottla.log").read_bytes() for node in range(3)), "the disk is full"
        changes = {
            "elections": after["term"] - before["term"],
            "fencings": sum(a["broker_epoch"] != b["broker_epoch"] or a["fenced"] for a, b in zip(after["nodes"], before["nodes"])),
        }
        topic = cluster.topic("soak")
        changes["leader changes"] = sum(p["leader_epoch"] for p in topic["partitions"])
        print(f"  {MINUTES:g} minutes, {sum(l.count for l in loads)} records: {changes}")
        assert not any(changes.values()), changes


if __name__ == "__main__":
    main()
