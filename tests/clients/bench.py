"""`ottla bench`: what it says was written is there, and it reads all of that; and it notices a broker's death.

By librdkafka too, where OTTLA_CLIENT names a program that has it (make bench-client).
"""

import json
import os
import shlex
import subprocess

from cluster import OTTLA, Cluster

TOPIC = "bench"
OTTLA_CLIENT = os.environ.get("OTTLA_CLIENT")


def bench(cluster, arguments, program=OTTLA, topic=TOPIC):
    command = [program, "bench", *shlex.split(arguments), "--topic", topic, "-b", cluster.bootstrap, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    print(f"  {arguments}: {result['records']} records, errors {result.get('errors')}", flush=True)
    return result


def refused_without_librdkafka():
    command = [OTTLA, "bench", "produce", "--client", "librdkafka"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "make bench-client" in done.stderr, done


def by_librdkafka(cluster):
    """Each load, and the bare client counts the same."""
    topic, client = "librdkafka", "--client librdkafka"
    load = "--partitions 7 --producers 2 --batch-size 4096 --in-flight 3 --consumers 1 --warmup 1s --duration 2s"
    written = bench(cluster, f"produce {client} {load}", OTTLA_CLIENT, topic)
    assert written["client"].startswith("librdkafka ") and written["latency"]["max"] > 0, written
    assert written["records"] > 0 and not written["errors"] and written["read_mb_per_second"] > 0, written
    held = bench(cluster, "consume", topic=topic)["records"]
    assert held >= written["records"], (held, written)
    for load, least, most in (
        ("produce --rate 400 --warmup 1s --duration 2s", 1198, 1202),
        ("produce --in-flight 1 --batch-size 1 --warmup 0s --duration 2s", 10, None),
        ("latency --rate 400 --record-size 100 --linger 5ms --warmup 1s --duration 2s --compression lz4", 1198, 1202),
    ):
        result = bench(cluster, f"{load} {client}", OTTLA_CLIENT, topic)
        # Of the open loops two seconds of three are measured, and all three are held.
        assert result["records"] > 0 and not result["errors"], result
        before, held = held, bench(cluster, "consume", topic=topic)["records"]
        assert least <= held - before <= (most or result["records"] + 1), (load, before, held, result)
    read = bench(cluster, f"consume --consumers 2 {client}", OTTLA_CLIENT, topic)
    assert read["records"] == 2 * held, (read, held)


def main():
    refused_without_librdkafka()
    with Cluster() as cluster:
        cluster.start()
        if OTTLA_CLIENT:
            by_librdkafka(cluster)
        written = bench(cluster, "produce --partitions 7 --producers 2 --batch-size 4096 --consumers 1 --warmup 0s --duration 2s")
        assert written["records"] > 0 and not written["errors"] and written["latency"]["max"] > 0, written
        assert written["read_mb_per_second"] > 0, written
        held = bench(cluster, "consume")["records"]
        # What is acknowledged after the window is not counted, but held.
        assert written["records"] <= held <= written["records"] + 2 * 15 * 4, (written, held)
        open_loop = bench(cluster, "latency --rate 400 --record-size 100 --linger 5ms --warmup 1s --duration 2s --compression lz4")
        assert abs(open_loop["records"] - 800) <= 1 and not open_loop["errors"], open_loop
        assert bench(cluster, "consume --consumers 2")["records"] >= 2 * (held + 1200 - 2)
        ended = bench(cluster, f"failover --duration 8s --hook 'kill -9 {cluster.pid(1)}'")
        led = [pause for pause in ended["pauses"] if pause["leader_before"] == 1]
        assert len(ended["pauses"]) == 7 and led and not ended["errors"], ended
        assert all(pause["leader_after"] in (0, 2) and 0 < pause["ms"] < 8000 for pause in led), led
        assert all(pause["leader_after"] == pause["leader_before"] for pause in ended["pauses"] if pause not in led), ended
        assert ended["latency"]["max"] > 0, ended
        print(f"  longest pause of a partition whose leader was killed: {ended['latency']['max']:.0f} ms", flush=True)
        cluster.assert_no_panic()


if __name__ == "__main__":
    main()
