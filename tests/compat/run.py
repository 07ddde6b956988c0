"""Real clients against a cluster: client × scenario. `run.py --help`; README.md says how it is made."""

import argparse
import concurrent.futures
import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).parent
for directory in ("clients", "golden"):
    sys.path.append(str(HERE.parent / directory))  # after this directory: names may be in both

import checkers_test  # noqa: E402
import clients  # noqa: E402
import clusters  # noqa: E402
import groups  # noqa: E402
import kills  # noqa: E402
import matrix  # noqa: E402
import records  # noqa: E402
import topics  # noqa: E402
from driver import Cannot, Driver  # noqa: E402
from reference import Reference  # noqa: E402

LAST = clients.CACHE / "compat" / "last.json"
DOCUMENT = HERE.parent.parent / "docs" / "compatibility.md"
MARK = "<!-- what follows is written by make compat -->\n"


def title(scenario):
    return scenario.__doc__.splitlines()[0]


FIRST = {title(s): s for s in [*records.SCENARIOS, *topics.SCENARIOS, *groups.SCENARIOS]}
SECOND = {title(s): s for s in kills.SCENARIOS}
QUICK_CLIENTS = ["kafka-python 2.0.2", "kafka-python 3", "confluent-kafka", "kcat", "rdkafka"]
QUICK = [title(s) for s in (records.produce, records.codecs, records.sizes, records.consume, topics.topics, groups.rebalance, groups.resume)]


class Test:
    """What a scenario works with: drivers of one client, the reference, and names that nobody else uses."""

    counter = itertools.count()

    def __init__(self, client, command, scenario, cluster, reference, directory):
        self.client, self.command, self.cluster, self.reference = client, command, cluster, reference
        self.label = "".join(c if c.isalnum() else "-" for c in f"{client}-{scenario.__module__}-{scenario.__name__}")
        self.directory = directory
        self.drivers = []
        self.version = client

    def unique(self, suffix):
        return f"{self.label}-{suffix}-{os.getpid()}-{next(self.counter)}"

    def topic(self, partitions, suffix="t", configs=None):
        name = self.unique(suffix)
        self.reference.create_topic(name, partitions, configs)
        return name

    def driver(self):
        driver = Driver(self.command, self.cluster.bootstrap, self.directory / f"{self.label}-{len(self.drivers)}.log")
        self.drivers.append(driver)
        self.version = driver.about["client"]
        return driver

    def end(self):
        for driver in self.drivers:
            driver.kill()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="Example:\n  run.py --client kcat --scenario group --against apache")
    parser.add_argument("--client", action="append", default=[], help="only clients whose name has this in it; may be repeated")
    parser.add_argument("--scenario", action="append", default=[], help="only scenarios whose title has this in it; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a short selection, in which a skip is a failure")
    parser.add_argument("--against", choices=["ottla", "apache"], default="ottla", help="what cluster is started")
    parser.add_argument("--bootstrap", help="a cluster that runs; no broker is killed")
    parser.add_argument("--jobs", type=int, default=5, help="clients side by side in the first pass (5)")
    parser.add_argument("--write", action="store_true", help=f"write the result to {DOCUMENT.name}")
    parser.add_argument("--keep", action="store_true", help="keep the logs of drivers and nodes, whatever comes out")
    parser.add_argument("--list", action="store_true", help="list clients and scenarios")
    options = parser.parse_args()
    if options.write and (options.client or options.scenario or options.quick or options.bootstrap):
        parser.error("--write needs the full run")
    return options


def chosen(names, wanted):
    return [name for name in names if not wanted or any(w.lower() in name.lower() for w in wanted)]


class Run:
    def __init__(self, options, cluster, table):
        self.cluster, self.table = cluster, table
        self.reference = Reference(cluster.bootstrap)
        self.kept = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"compat-{os.getpid()}"
        self.kept.mkdir()
        self.printing = threading.Lock()
        self.options = options

    def cell(self, client, command, name, scenario):
        test = Test(client, command, scenario, self.cluster, self.reference, self.kept)
        started = time.monotonic()
        try:
            outcome, text = matrix.PASSED, scenario(test) or ""
        except Cannot as error:
            outcome, text = matrix.NA, str(error)
        except Exception as error:
            outcome, text = matrix.FAILED, f"{type(error).__name__}: {error}"
            (self.kept / f"{test.label}.failure").write_text(traceback.format_exc())
        finally:
            test.end()
        self.table.set(client, name, outcome, text)
        self.table.versions[client] = test.version
        with self.printing:
            print(f"  {client}: {name}: {outcome}{', ' + text if text else ''} ({time.monotonic() - started:.1f} s)", flush=True)

    def client(self, client, scenarios):
        try:
            command = clients.CLIENTS[client]()
        except (clients.Missing, subprocess.CalledProcessError) as error:
            with self.printing:
                print(f"  {client}: skipped: {error}", flush=True)
            for name in scenarios:
                self.table.set(client, name, matrix.SKIPPED, str(error))
            return
        for name, scenario in scenarios.items():
            self.cell(client, command, name, scenario)

    def all(self):
        first = {n: s for n, s in FIRST.items() if n in self.table.scenarios}
        second = {n: s for n, s in SECOND.items() if n in self.table.scenarios}
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            list(pool.map(lambda client: self.client(client, first), self.table.clients))
        if isinstance(self.cluster, clusters.Running):
            print("  second pass: left out, brokers of a cluster that is not ours are not killed")
            return
        for client in self.table.clients:
            self.client(client, second)


def main():
    options = arguments()
    names = [*FIRST, *SECOND]
    if options.list:
        print("\n".join(["clients:", *(f"  {c}" for c in clients.CLIENTS), "scenarios:", *(f"  {n}" for n in names)]))
        return
    wanted_clients = chosen(clients.CLIENTS, options.client)
    wanted = chosen(names, options.scenario)
    if options.quick:
        wanted_clients = [c for c in wanted_clients if c in QUICK_CLIENTS]
        wanted = [n for n in wanted if n in QUICK]
    checkers_test.main()
    table = matrix.Matrix(wanted_clients, wanted)
    cluster = clusters.Running(options.bootstrap) if options.bootstrap else clusters.STARTED[options.against]()
    print(f"{len(wanted_clients)} clients, {len(wanted)} scenarios against {cluster.name}", flush=True)
    run = Run(options, cluster, table)

    def stopped(*_):
        cluster.stop(keep=True)
        os._exit(1)

    signal.signal(signal.SIGTERM, stopped)
    try:
        run.all()
    finally:
        failed = table.count(matrix.FAILED)
        cluster.stop(keep=failed > 0 or options.keep)
    print(table.show())
    worse = [] if options.bootstrap or options.against != "ottla" else table.worse_than(matrix.load(LAST))
    for client, scenario in worse:
        print(f"FAILED: {client}: {scenario}: passed in the last run here, and is skipped now")
    skipped = table.count(matrix.SKIPPED)
    if options.quick and skipped:
        print(f"FAILED: {skipped} skipped; in the short selection every client must be there")
    if not failed and not options.keep:
        shutil.rmtree(run.kept)
    else:
        print(f"logs of the drivers are kept in {run.kept}, of the nodes in {cluster.directory}")
    if options.against == "ottla" and not options.bootstrap:
        table.save(LAST)
    if options.write:
        head = DOCUMENT.read_text().split(MARK)[0] if DOCUMENT.exists() else ""
        DOCUMENT.write_text(head + MARK + "\n" + table.markdown(cluster.name))
    print(f"{table.count(matrix.PASSED)} passed, {failed} failed, {table.count(matrix.NA)} n/a, {skipped} skipped")
    sys.exit(1 if failed or worse or (options.quick and skipped) else 0)


if __name__ == "__main__":
    main()
