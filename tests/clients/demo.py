"""`ottla demo`: starts, says how to use it, reports a node that dies, stops on Ctrl-C, starts again with its data."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from cluster import OTTLA, free_port_block


def start(directory, ports, *more):
    started = time.monotonic()
    process = subprocess.Popen([OTTLA, "demo", "--data-dir", directory, "--ports", ",".join(map(str, ports)), "--format", "json", *more],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    took = time.monotonic() - started
    if not line:
        raise AssertionError(f"the demo did not start: {process.stderr.read()}")
    return process, json.loads(line), took


def stop(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    return err


def main():
    directory = tempfile.mkdtemp(prefix="ottla-demo-")
    ports = free_port_block(3)
    try:
        demo, ready, new = start(directory, ports, "--racks", "a,b,c")
        bootstrap = ready["bootstrap"]
        cli = lambda *a, **k: subprocess.run([OTTLA, *a, "-b", bootstrap], capture_output=True, text=True, check=True, timeout=60, **k).stdout
        cli("topic", "create", "t", "--partitions", "3")
        cli("produce", "t", input="one\ntwo\n")
        pid = int((pathlib.Path(directory) / "node-1" / "ottla.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        while "node 1" not in (line := demo.stderr.readline()):
            assert line, "the demo ended"
        end = time.monotonic() + 10
        while (status := json.loads(cli("cluster", "status", "--format", "json")))["healthy"]:
            assert time.monotonic() < end, status
            time.sleep(0.02)
        assert sorted(cli("consume", "t", "--from-beginning", "--exit").split()) == ["one", "two"]
        stop(demo)
        demo, ready, again = start(directory, ports)
        bootstrap = ready["bootstrap"]
        assert sorted(cli("consume", "t", "--from-beginning", "--exit").split()) == ["one", "two"]
        pids = [node["pid"] for node in ready["nodes"]]
        # A demo that is killed takes its nodes with it.
        demo.kill()
        demo.wait()
        end = time.monotonic() + 10
        while any(os.path.exists(f"/proc/{p}") for p in pids):
            assert time.monotonic() < end, "nodes outlive their demo"
            time.sleep(0.05)
        print(f"  ready after {new:.2f} s on a new directory, {again:.2f} s on one that exists")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
