"""What an idle three-node cluster costs: CPU over a while, and resident memory, beside Apache Kafka where KAFKA names one.

SECONDS=25 (how long), PARTITIONS=12 (of one topic, empty)
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "clients"))

from cluster import Cluster, create_topic  # noqa: E402

SECONDS = float(os.environ.get("SECONDS", "25"))
PARTITIONS = int(os.environ.get("PARTITIONS", "12"))


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no VmRSS")


def measure(name, pids):
    time.sleep(5)  # what a start leaves to do is not idling
    before = [cpu_seconds(pid) for pid in pids]
    started = time.monotonic()
    time.sleep(SECONDS)
    passed = time.monotonic() - started
    used = [cpu_seconds(pid) - b for pid, b in zip(pids, before)]
    percent = [round(100 * u / passed, 1) for u in used]
    memory = [round(resident_mib(pid)) for pid in pids]
    print(f"{name}: CPU {100 * sum(used) / passed:.1f} % of a core for all ({percent}), resident {memory} MiB, over {passed:.0f} s", flush=True)


def kafka(home):
    scratch = tempfile.mkdtemp(prefix="ottla-peer-")
    env = {**os.environ, "KAFKA": home, "ROOT": f"{scratch}/kafka", "PORTS": "19092 19095 19098"}
    script = str(HERE.parent / "tests" / "kafka" / "cluster.sh")
    subprocess.run([script, "up"], env=env, check=True)
    try:
        pids = [int(p.read_text()) for p in sorted(pathlib.Path(env["ROOT"]).glob("*/pid"))]
        time.sleep(20)
        measure("Apache Kafka", pids)
    finally:
        subprocess.run([script, "down"], env=env)


def main():
    with Cluster() as cluster:
        cluster.start()
        create_topic(cluster, "idle", PARTITIONS)
        measure("Ottla", [cluster.pid(index) for index in range(3)])
    home = os.environ.get("KAFKA", "")
    if os.path.exists(f"{home}/bin/kafka-server-start.sh"):
        kafka(home)
    else:
        print("skipped: Apache Kafka is not installed (make kafka)")


if __name__ == "__main__":
    main()
