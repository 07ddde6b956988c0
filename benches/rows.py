"""Ottla and Apache Kafka 4.3.1 under the same load, in turn: the rows of docs/performance.md.

Clusters from scratch, one alive at a time, in the order A B B A for each of PAIRS; each runs all rows, one after the other, with
the same client (`ottla bench`: the bare one, or librdkafka), replication factor 3, min.insync.replicas 2 and acks=all. Before what counts, the same
load runs in windows of SECONDS until three in a row agree within 5 %, eight at most: a cold JVM is several times slower, and
the more rows it has run the warmer it is. Environment: ROW (names by commas; all), PAIRS (1; five make a row final), SECONDS (10)
of what is measured, GIB (4) that catchup reads, MEMORY_MIB (6144) that a side's brokers and their page cache may have together,
CLIENT (bare; or librdkafka, of the program OTTLA_CLIENT: the brokers are OTTLA's with either, and runs are kept apart),
SIDES (Kafka,Ottla,Ottla,Kafka: the order in a pair), DISKS (unflushed,flushed), OUT (benches/results), KAFKA (its directory); those of
FAILOVER and RESTART stand in benches/failover_rows.py. Every window has a topic of its own, which is deleted after it: disks are small.
Every run is a line in OUT/<row>.jsonl (<row>.librdkafka.jsonl), written when it is done; the table in docs/performance.md is made anew of those, unless
OUT is given (--table: only that, in any case). Runs that were broken off are resumed by naming the rows that are missing.
"""

import itertools
import json
import os
import pathlib
import platform
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "clients"))

from cluster import OTTLA, Cluster  # noqa: E402
from equal_memory import limited, remove  # noqa: E402
import failover_rows  # noqa: E402
from idle import cpu_seconds, resident_mib  # noqa: E402

SECONDS = int(os.environ.get("SECONDS", "10"))
GIB = float(os.environ.get("GIB", "4"))
PAIRS = int(os.environ.get("PAIRS", "1"))
SIDES = os.environ.get("SIDES", "Kafka,Ottla,Ottla,Kafka").split(",")
OUT = pathlib.Path(os.environ.get("OUT", HERE / "results"))
KAFKA = os.environ.get("KAFKA", "")
BARE, LIBRDKAFKA = "bare", "librdkafka"
CLIENT = os.environ.get("CLIENT", BARE)
OTTLA_CLIENT = os.environ.get("OTTLA_CLIENT") or OTTLA
TABLE = HERE.parent / "docs" / "performance.md"
PORTS = "19092 19095 19098"
WINDOWS_MAX = 8
FLUSHED, UNFLUSHED = "flushed", "unflushed"
DISKS = os.environ.get("DISKS", f"{UNFLUSHED},{FLUSHED}").split(",")
# What one row has written must not fill the disk of the next.
QUICK_DELETE = ["file.delete.delay.ms=1000", "segment.bytes=268435456"]

# How a topic waits for the disk before it acknowledges, or does not: Ottla's default is the former, Kafka's the latter.
DISK = {
    "Ottla": {FLUSHED: [], UNFLUSHED: ["flush.messages=9223372036854775807"]},
    "Kafka": {FLUSHED: ["flush.messages=1"], UNFLUSHED: []},
}


class Row:
    """What is run, the figure of it that counts, and whether more of that is better. `run` takes the place of `ottla bench`, and
    then `takes_s` says for how long about."""

    def __init__(self, name, what, arguments, figure, unit, more_is_better, must, run=None, warmed=True, takes_s=None):
        self.name, self.what, self.arguments, self.run, self.warmed = name, what, arguments, run, warmed
        self.takes_s = takes_s or 5.5 * SECONDS + 5
        self.figure, self.unit, self.more_is_better, self.must = figure, unit, more_is_better, must

    def is_by_client(self):
        """Whether it matters which client runs the load."""
        return bool(self.arguments) or self.run is catch_up


class Derived:
    """Another figure of the same runs."""

    def __init__(self, name, of, what, figure, unit, must):
        self.name, self.of, self.what, self.figure, self.unit, self.must = name, of, what, figure, unit, must


def throughput(result):
    return result["mb_per_second"]


def records(result):
    return result["records_per_second"]


def p50(result):
    return result["latency"]["p50"]


def p99(result):
    return result["latency"]["p99"]


class Side:
    """A cluster of three: its name, its nodes' ports and process ids. Killed nodes are started under the same limit of memory."""

    def configs(self, disk):
        return [a for config in ["min.insync.replicas=2", *DISK[self.name][disk], *QUICK_DELETE] for a in ("--config", config)]

    def create(self, topic, partitions, disk):
        self.topic("create", topic, "--partitions", str(partitions), "--replication-factor", "3", *self.configs(disk))

    def delete(self, topic):
        self.topic("delete", topic)

    def topic(self, *arguments):
        subprocess.run([OTTLA, "topic", *arguments, "--bootstrap", self.bootstrap], check=True, capture_output=True)


class Ottla(Side):
    name = "Ottla"

    def __enter__(self):
        self.cluster = Cluster()
        began = time.monotonic()
        with limited() as self.memory_mib:
            self.cluster.start()
        self.ready_s = time.monotonic() - began
        self.bootstrap, self.ports = self.cluster.bootstrap, self.cluster.ports
        self.pids = [self.cluster.pid(index) for index in range(3)]
        return self

    def raft_leader(self):
        return self.cluster.raft_leader()

    def kill(self, index):
        self.cluster.kill(index)

    def start(self, index):
        """Starts a node that was killed; answers when, and does not wait for it."""
        with limited():
            began = time.monotonic()
            self.cluster.start(index, wait=False)
        self.pids[index] = self.cluster.pid(index)
        return began

    def __exit__(self, *_):
        self.cluster.stop()
        remove()


class Kafka(Side):
    name = "Kafka"

    def __enter__(self):
        self.root = tempfile.mkdtemp(prefix="ottla-peer-")
        self.env = {**os.environ, "KAFKA": KAFKA, "ROOT": f"{self.root}/kafka", "PORTS": PORTS}
        began = time.monotonic()
        with limited() as self.memory_mib:
            self.script("up")
        self.ready_s = time.monotonic() - began
        self.ports = [int(port) for port in PORTS.split()]
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.pids = [int(self.pid_file(index).read_text()) for index in range(3)]
        return self

    def script(self, *action):
        subprocess.run([str(HERE.parent / "tests" / "kafka" / "cluster.sh"), *action], env=self.env, check=True)

    def pid_file(self, index):
        return pathlib.Path(self.env["ROOT"]) / str(index) / "pid"

    def raft_leader(self):
        tool = [f"{KAFKA}/bin/kafka-metadata-quorum.sh", "--bootstrap-server", self.bootstrap, "describe", "--status"]
        said = subprocess.run(tool, check=True, capture_output=True, text=True, timeout=60).stdout
        return next(int(line.split()[1]) for line in said.splitlines() if line.startswith("LeaderId:"))

    def kill(self, index):
        os.kill(self.pids[index], signal.SIGKILL)
        # Its number may soon be another's.
        self.pid_file(index).unlink()

    def start(self, index):
        """As `Ottla.start`."""
        with limited():
            began = time.monotonic()
            self.script("start", str(index))
        self.pids[index] = int(self.pid_file(index).read_text())
        return began

    def __exit__(self, *_):
        self.script("down")
        deadline = time.monotonic() + 30
        while any(pathlib.Path(f"/proc/{pid}").exists() for pid in self.pids) and time.monotonic() < deadline:
            time.sleep(0.1)
        subprocess.run(["rm", "-rf", self.root], check=False)
        remove()


NUMBERS = itertools.count(1)


def topic_of(row, disk):
    return f"bench-{row.name}-{disk}-{next(NUMBERS)}"


def command(side, disk, arguments, warmup, duration, topic):
    return [OTTLA_CLIENT, "bench", *arguments.split(), "--client", CLIENT, "--topic", topic, "--replication-factor", "3", *side.configs(disk),
            "--warmup", f"{warmup}s", "--duration", f"{duration}s", "--bootstrap", side.bootstrap, "--format", "json"]


def finished(process):
    out, err = process.communicate(timeout=600)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(process.args)}: {err[-2000:]}")
    return json.loads(out)


def started(arguments):
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def bench(side, row, disk, warmup, duration):
    """One run of the load; answers what it says, with the brokers' CPU meanwhile and their memory after it."""
    topic = topic_of(row, disk)
    cpu, began = [cpu_seconds(pid) for pid in side.pids], time.monotonic()
    result = finished(started(command(side, disk, row.arguments, warmup, duration, topic)))
    took = time.monotonic() - began
    used = sum(cpu_seconds(pid) - before for pid, before in zip(side.pids, cpu))
    result["broker_cpu_s"] = round(used, 2)
    # The whole run's, over the whole run's bytes: exact where the rate is fixed.
    gb = result["mb_per_second"] * (warmup + duration) / 1000
    out = (result.get("read_mb_per_second") or 0) * (warmup + duration) / 1000
    result["broker_cpu_s_per_gb"] = used / gb if gb else None
    result["broker_cpu_s_per_gb_out"] = used / out if out else None
    result["resident_mib"] = [round(resident_mib(pid)) for pid in side.pids]
    result["took_s"] = round(took, 2)
    side.delete(topic)
    return result


def catch_up(side, row, disk):
    """Fills a topic, takes it out of memory, and reads it from its start beside a steady producer of another topic."""
    filled, topic = 0, topic_of(row, disk)
    while filled < GIB * 2**30:
        more = finished(started(command(side, disk, "produce --partitions 6 --record-size 1024 --batch-size 65536", 0, 3, topic)))
        filled += more["bytes"]
    subprocess.run(["sync"], check=True)
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")
    steady = command(side, disk, "produce --partitions 6 --record-size 1024 --batch-size 16384 --rate 5000", 1, 8, topic + "-steady")
    alone = finished(started(steady))
    beside = started(steady)
    time.sleep(1.5)
    read = finished(started([OTTLA_CLIENT, "bench", "consume", "--client", CLIENT, "--topic", topic, "--bootstrap", side.bootstrap, "--format", "json"]))
    result = {**read, "filled_bytes": filled, "alone": alone, "beside": finished(beside), "errors": read.get("errors")}
    side.delete(topic)
    side.delete(topic + "-steady")
    return result


def idle_at_scale(side, row, disk):
    """3,000 partitions and 5,000 connections, each of which has asked for the versions once: memory, and CPU of 20 s."""
    topic = topic_of(row, disk)
    finished(started(command(side, disk, "produce --partitions 3000 --rate 100", 0, 1, topic)))
    ports = [int(node.rsplit(":", 1)[1]) for node in side.bootstrap.split(",")]
    ask = struct.pack(">ihhih", 10, 18, 0, 1, -1)
    sockets = []
    for number in range(5000):
        s = socket.create_connection(("127.0.0.1", ports[number % len(ports)]), timeout=30)
        s.sendall(ask)
        assert s.recv(65536), "a node answers nothing"
        sockets.append(s)
    time.sleep(10)
    cpu, began = [cpu_seconds(pid) for pid in side.pids], time.monotonic()
    time.sleep(20)
    passed = time.monotonic() - began
    used = sum(cpu_seconds(pid) - before for pid, before in zip(side.pids, cpu))
    result = {"cpu_percent": 100 * used / passed, "resident_mib": [round(resident_mib(pid)) for pid in side.pids], "errors": None}
    for s in sockets:
        s.close()
    side.delete(topic)
    return result


ROWS = {row.name: row for row in [
    Row("bulk", "1 KiB records, 64 KiB batches, 6 partitions, one consumer at the tail",
        "produce --partitions 6 --record-size 1024 --batch-size 65536 --consumers 1", throughput, "MB/s", True, "2x; flushed 3x"),
    Row("records", "100 B records, 16 KiB batches, 3 producers",
        "produce --partitions 6 --record-size 100 --batch-size 16384 --producers 3", records, "records/s", True, "2x"),
    Row("cpu", "brokers' CPU at a fixed 30 MB/s, 1 KiB records, 16 KiB batches",
        "produce --partitions 6 --record-size 1024 --batch-size 16384 --rate 29300", lambda r: r["broker_cpu_s_per_gb"], "cpu-s/GB", False, "0.3x"),
    Row("sync", "1 KiB, one in flight, p50",
        "produce --partitions 6 --record-size 1024 --batch-size 1 --in-flight 1", p50, "ms", False, "0.6x (0.3x by this client)"),
    Row("e2e", "from the intended send to the reader, 5,000 records/s, linger 5 ms, p99",
        "latency --partitions 6 --record-size 1024 --rate 5000 --linger 5ms", p99, "ms", False, "0.3x"),
    # Without linger each record is a request: 5,000 a second are more than Kafka answers on two cores, and a queue's length says nothing.
    Row("e2e-0", "the same without linger, one record a batch, 250 records/s, p99",
        "latency --partitions 6 --record-size 1024 --rate 250 --linger 0ms", p99, "ms", False, "0.3x"),
    Row("small", "100 B, one record a batch, 32 producers with 5 in flight, 600 partitions",
        "produce --partitions 600 --record-size 100 --batch-size 1 --producers 32 --in-flight 5", records, "records/s", True, "5x"),
    Row("fsync", "1 KiB, one record a batch, 64 in flight, 6 partitions",
        "produce --partitions 6 --record-size 1024 --batch-size 1 --in-flight 64", records, "records/s", True, "10x, flushed"),
    Row("fsync100", "the same on 100 partitions",
        "produce --partitions 100 --record-size 1024 --batch-size 1 --in-flight 64", records, "records/s", True, "10x, flushed"),
    Row("fanout", "10 MB/s in, 20 consumers: brokers' CPU by what goes out",
        "produce --partitions 6 --record-size 1024 --batch-size 16384 --rate 9766 --consumers 20", lambda r: r["broker_cpu_s_per_gb_out"], "cpu-s/GB", False, "0.5x"),
    Row("catchup", "4 GiB that are in nobody's memory read from the start, beside a steady 5 MB/s", "", throughput, "MB/s", True, "1.5x", catch_up, False),
    Row("scale", "3,000 partitions and 5,000 connections, idle: resident, all three", "", lambda r: sum(r["resident_mib"]), "MiB", False, "0.3x", idle_at_scale, False),
    Row("failover", "kill -9 of a broker that leads and is not the Raft leader, to the next acknowledgement (librdkafka's defaults), p50 of its partitions",
        "", failover_rows.gap, "s", False, "0.1x; stretch 0.04x", failover_rows.fail_over, False, 75 * failover_rows.KILLS),
    Row("restart", "1,000 partitions with 2 GiB: start of a broker that was killed, to all in every ISR, p50",
        "", failover_rows.restart_time, "s", False, "0.3x", failover_rows.restart, False, 60 + 25 * failover_rows.KILLS),
]}
DERIVED = [
    Derived("memory", "bulk", "resident after BULK, all three", lambda line: sum(line["result"]["resident_mib"]), "MiB", "0.2x"),
    Derived("start", "bulk", "three nodes ready, from nothing", lambda line: line["ready_s"], "s", "0.1x"),
    Derived("catchup-p99", "catchup", "p99 of the steady producer beside the reader, over that alone", lambda line: p99(line["result"]["beside"]) / p99(line["result"]["alone"]), "x", "0.5x of the rise"),
    Derived("scale-cpu", "scale", "the same, CPU of a core", lambda line: line["result"]["cpu_percent"], "%", "0.2x"),
    Derived("failover-raft", "failover", "FAILOVER of the broker that is the Raft leader too", lambda line: failover_rows.gap_of_raft_leader(line["result"]), "s", "0.1x; stretch 0.04x"),
]


# What the issue asks of a row by librdkafka, where that differs.
MUST_BY_LIBRDKAFKA = {"sync": "0.6x"}


def settled(windows):
    last = windows[-3:]
    return len(last) == 3 and max(last) - min(last) <= 0.05 * statistics.median(last)


def warm(side, row, disk):
    """Until three windows in a row agree within 5 %; how many there were."""
    seen = []
    while len(seen) < WINDOWS_MAX and not settled(seen):
        seen.append(row.figure(bench(side, row, disk, 1, SECONDS)))
    return seen


def measure(side, row, disk):
    load = os.getloadavg()[0]
    windows = warm(side, row, disk) if row.warmed else []
    result = row.run(side, row, disk) if row.run else bench(side, row, disk, 1, SECONDS)
    line = {"row": row.name, "client": CLIENT, "side": side.name, "disk": disk, "figure": row.figure(result), "unit": row.unit, "windows": windows,
            "ready_s": round(side.ready_s, 2), "memory_mib": side.memory_mib, "load_before": round(load, 2), "cores": os.cpu_count(), "kernel": platform.release(),
            "arguments": row.arguments, "result": result}
    OUT.mkdir(parents=True, exist_ok=True)
    with results(row.name, CLIENT).open("a") as out:
        out.write(json.dumps(line) + "\n")
    print(f"  {side.name:5} {row.name:8} {disk:9} {line['figure']:12.2f} {row.unit}  (windows {len(windows)}, load before {load:.1f}, errors {result['errors'] or 0})", flush=True)


def cell(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})" if values else "–"


def ratio(ours, theirs):
    """Of the medians, and the least and greatest of any two runs."""
    if not ours or not theirs:
        return "–"
    all_pairs = [a / b for a in ours for b in theirs]
    return f"**{statistics.median(ours) / statistics.median(theirs):.2g}** ({min(all_pairs):.2g}–{max(all_pairs):.2g})"


def results(name, client):
    return OUT / (f"{name}.jsonl" if client == BARE else f"{name}.{client}.jsonl")


def runs_of(name, client):
    path = results(name, client)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def cells(name, what, unit, must, runs, figure):
    def of(side, disk):
        return [figure(r) for r in runs if (r["side"], r["disk"]) == (side, disk)]

    of_, ou, kf, ku = of("Ottla", FLUSHED), of("Ottla", UNFLUSHED), of("Kafka", FLUSHED), of("Kafka", UNFLUSHED)
    least = min((len(of) for of in (of_, ou, kf, ku) if of), default=0)
    cold = sum(bool(run["windows"]) and not settled(run["windows"]) for run in runs)
    state = "none" if not runs else f"{least} a side" + ("" if least >= 10 else ", preliminary")
    state += f"; {cold} of {len(runs)} did not settle before" if cold else ""
    return (f"| {name} | {what}; {unit} | {cell(of_)} | {cell(ou)} | {cell(kf)} | {cell(ku)} "
            f"| {ratio(of_, kf)} | {ratio(ou, ku)} | {ratio(of_, ku)} | {must} | {state} |")


def table():
    lines = ["| row | definition | Ottla flushed | Ottla | Kafka flushed | Kafka | flushed / flushed | both unflushed | flushed Ottla / Kafka | must | runs |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    for client in (BARE, LIBRDKAFKA):
        measured = [(row, row.name, lambda line: line["figure"]) for row in ROWS.values()] + [(row, row.of, row.figure) for row in DERIVED]
        for row, of, figure in measured:
            runs = runs_of(of, client)
            if client == BARE:
                lines.append(cells(row.name.upper(), row.what, row.unit, row.must, runs, figure))
            elif runs:
                must = MUST_BY_LIBRDKAFKA.get(row.name, row.must)
                lines.append(cells(f"{row.name.upper()} ({client})", row.what, row.unit, must, runs, figure))
    return "\n".join(lines)


def write_table():
    text = TABLE.read_text()
    begin, end = "<!-- rows: made by benches/rows.py -->\n", "\n<!-- end of rows -->"
    head, rest = text.split(begin)
    TABLE.write_text(head + begin + table() + end + rest.split(end)[1])


def main():
    if "--table" not in sys.argv:
        if CLIENT not in (BARE, LIBRDKAFKA):
            sys.exit(f"CLIENT={CLIENT}: there are {BARE} and {LIBRDKAFKA}")
        there = [name for name, row in ROWS.items() if CLIENT == BARE or row.is_by_client()]
        names = [name for name in os.environ.get("ROW", "").split(",") if name] or there
        unknown = [name for name in names if name not in there]
        if unknown:
            sys.exit(f"ROW={','.join(unknown)}: with CLIENT={CLIENT} there are {', '.join(there)}")
        if not os.path.exists(f"{KAFKA}/bin/kafka-server-start.sh"):
            print("skipped: Apache Kafka is not installed (make kafka)")
            return
        seconds = PAIRS * len(SIDES) * (20 + len(DISKS) * sum(ROWS[name].takes_s for name in names))
        print(f"{len(names)} rows by {CLIENT}, {PAIRS} pairs of each, {' and '.join(DISKS)}: about {seconds / 60:.0f} minutes", flush=True)
        for _ in range(PAIRS):
            for side_name in SIDES:
                with {"Kafka": Kafka, "Ottla": Ottla}[side_name]() as side:
                    print(f"{side.name}: ready after {side.ready_s:.1f} s", flush=True)
                    for name in names:
                        for disk in DISKS:
                            measure(side, ROWS[name], disk)
    # Trials elsewhere leave the published table alone.
    if "--table" in sys.argv or "OUT" not in os.environ:
        write_table()


if __name__ == "__main__":
    main()
