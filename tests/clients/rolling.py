"""All nodes are restarted with SIGTERM, one after the other, under load: the producer sees no error, each partition's gap is
short, nothing is lost."""

import os
import signal
import statistics
import time

import kill
from cluster import Cluster, create_topic
from network import Load

TOPIC = "rolling"
ROUNDS = int(os.environ.get("ROUNDS", "1"))
GAP_MAX = float(os.environ.get("GAP_MAX", "1.0"))


def main():
    kill.RATE = 6_000
    with Cluster() as cluster:
        cluster.start()
        create_topic(cluster, TOPIC, kill.PARTITIONS)
        load = Load(cluster.bootstrap, TOPIC)
        load.start()
        while load.count < kill.RATE:
            time.sleep(0.05)
        worst = []
        for _ in range(ROUNDS):
            for node in range(3):
                status = cluster.status()
                raft = status["controller"] == node
                leads = [p["partition"] for p in cluster.topic(TOPIC)["partitions"] if p["leader"] == node]
                began = time.monotonic()
                cluster.kill(node, signal.SIGTERM)
                stopped = time.monotonic()
                cluster.start(node)
                cluster.wait_in_sync(TOPIC)
                time.sleep(0.5)
                gaps = load.gaps(began)
                moved = [gaps[p] for p in leads]
                worst += gaps.values()
                print(f"  node {node}{' (Raft leader)' if raft else ''}: stopped in {stopped - began:.2f} s, gaps of its {len(leads)} "
                      f"partitions {[round(g, 3) for g in moved]}, of the others up to "
                      f"{max((g for p, g in gaps.items() if p not in leads), default=0):.3f} s", flush=True)
        load.finish()
        assert not load.errors, f"{len(load.errors)} records failed, first: {load.errors[:3]}"
        kill.compare(load.acknowledged, kill.read_back(cluster.bootstrap, TOPIC))
        cluster.wait_in_sync(TOPIC)
        kill.compare_replicas(cluster, TOPIC)
        cluster.assert_no_panic()
        print(f"  {load.count} records, gap p50 {statistics.median(worst):.3f} s, worst {max(worst):.3f} s", flush=True)
        assert max(worst) < GAP_MAX, f"a partition was without acknowledgements for {max(worst):.3f} s"


if __name__ == "__main__":
    main()
