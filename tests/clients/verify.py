"""`ottla verify`: its own cluster under kill and pause, an edited history, records deleted by another hand, a hook."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import time

from cluster import OTTLA, Cluster


def verify(*arguments, timeout=240):
    done = subprocess.run([OTTLA, "verify", *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


def own_cluster(directory):
    code, out, err = verify("--duration", "20s", "--faults", "kill,pause", "--fault-every", "8s", "--seed", 7,
                            "--report", directory, "--format", "json")
    assert code == 0, f"exit code {code}\n{out[-3000:]}\n{err[-3000:]}"
    report = json.loads(out)
    assert report["verdict"] == "clean" and report["run"]["seed"] == 7, report
    assert [fault["name"] for fault in report["faults"]] == ["kill", "pause"], report["faults"]
    counts = report["counts"]
    assert counts["acknowledged"] > 2000 and counts["scans"] == 12 and counts["commits"] > 0, counts
    assert counts["scanned"] >= counts["acknowledged"] and counts["polled"] > counts["scanned"], counts
    assert json.loads((directory / "report.json").read_text()) == report
    assert "| kill node" in (directory / "report.md").read_text()
    assert "acknowledged" in err and "kill node" in err, err
    gaps = {fault["name"]: round(fault["longest_gap"]["length_ns"] / 1e9, 2) for fault in report["faults"]}
    print(f"  {counts['acknowledged']} acknowledged, {counts['polled'] + counts['scanned']} read, longest gaps {gaps}")


def edited(directory):
    """A recorded history from which one acknowledged record was taken, everywhere it was read."""
    history = directory / "history.jsonl"
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    code, out, _ = verify("--history", history)
    assert code == 0, out
    values = {line["i"]: (number, line["v"]) for number, line in enumerate(lines, 1) if line.get("o") == "send" and line["k"] == "invoke"}
    acknowledged = [line["i"] for line in lines if line.get("o") == "send" and line["k"] == "ok" and line.get("off", 0) > 50]
    number, lost = values[acknowledged[len(acknowledged) // 2]]
    for line in lines:
        if "r" in line:
            line["r"] = [read for read in line["r"] if read[1] != lost]
    planted = directory / "planted.jsonl"
    planted.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, _ = verify("--history", planted, "--format", "json")
    found = json.loads(out)["anomalies"]
    assert code == 1 and found["counts"] == {"lost": 1}, (code, found)
    assert f"line {number}:" in found["examples"][0]["operations"][0], found
    # Cut off after the first acknowledgements: no fault has anything in its window.
    planted.write_text("".join(json.dumps(line) + "\n" for line in lines[:1] + [l for l in lines if l.get("o") == "fault"]))
    code, out, _ = verify("--history", planted)
    assert code == 2 and out.startswith("VACUOUS"), (code, out)
    planted.write_text(json.dumps(lines[0]) + "\n" + "{\"o\":\"send\"}\n")
    code, _, err = verify("--history", planted)
    assert code == 2 and "line 2" in err, (code, err)


def other_hands(directory):
    """A cluster that exists: a hook is called, and somebody deletes what had been acknowledged."""
    calls = directory / "calls"
    with Cluster() as cluster:
        cluster.start()
        code, _, err = verify("--bootstrap", cluster.bootstrap, "--faults", "kill")
        assert code == 2 and "--hook" in err, (code, err)
        command = [OTTLA, "verify", "--bootstrap", cluster.bootstrap, "--duration", "12s", "--faults", "pause", "--format", "json",
                   "--hook", f"echo $OTTLA_FAULT $OTTLA_ACTION $OTTLA_NODE >> {calls}", "--report", str(directory / "observed")]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while not (topics := [t["name"] for t in json.loads(cluster.cli("topic", "list", "--format", "json")) if "verify" in t["name"]]):
            assert time.monotonic() < end and running.poll() is None, "no topic"
            time.sleep(0.1)
        end = time.monotonic() + 60
        deleted = 0
        while deleted < 100:
            assert time.monotonic() < end, f"only {deleted} records deleted"
            time.sleep(0.5)
            answer = json.loads(cluster.cli("topic", "delete-records", topics[0], "--format", "json"))
            deleted = sum(partition["first_offset"] for partition in answer["partitions"])
        out, err = running.communicate(timeout=240)
        assert running.returncode == 1, (running.returncode, out[-3000:], err[-3000:])
        report = json.loads(out)
        assert set(report["anomalies"]["counts"]) == {"removed"}, report["anomalies"]
        assert "below the log start" in report["anomalies"]["examples"][0]["what"], report["anomalies"]
        begun, ended = calls.read_text().split("\n")[:2]
        assert begun.startswith("pause begin ") and ended == begun.replace("begin", "end"), calls.read_text()
        cluster.assert_no_panic()


def main():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ottla-verify-test-"))
    own_cluster(directory)
    edited(directory)
    other_hands(directory)
    # Kept where something failed.
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
