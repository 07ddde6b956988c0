"""Processes that are killed and stopped. Faults 1 to 4 and 7 to 10; 5 and 6 want power loss: make power-loss."""

import random
import signal
import time

import kill
from catalogue import fault
from scene import HANG, Trial, until


@fault(1, 3, stage=None)
def kill_leaders():
    """kill -9 of brokers that lead and of Raft leaders, five in turn, under load: tests/clients/kill.py."""
    kill.RATE = kill.FULL_RATE
    kill.main()


@fault(1)
def kill_leader(stage):
    """kill -9 of a leader: another member of the ISR leads in a later epoch."""
    with Trial(stage, "kill-leader") as trial:
        victim = trial.broker()
        before = {n: p for n, p in trial.partitions().items() if p["leader"] == victim}
        began = time.monotonic()
        trial.cluster.kill(victim)
        after = until("others lead", lambda: elected(trial, before, victim))
        for number, was in before.items():
            assert after[number]["leader"] in was["isr"] and after[number]["leader_epoch"] == was["leader_epoch"] + 1, (was, after[number])
        until("their records are acknowledged", lambda: trial.acknowledged(before, began) > 10 * len(before))
    return trial.summary()


def elected(trial, partitions, victim):
    now = trial.partitions()
    return all(now[n]["leader"] not in (-1, victim) for n in partitions) and now


@fault(2)
def kill_follower(stage):
    """kill -9 of a follower: the stall ends, and it is in the ISR again only with all that is committed."""
    order = [[0, 1, 2], [1, 0, 2]] * 3
    with Trial(stage, "kill-follower", assignment=order) as trial:
        began = time.monotonic()
        trial.cluster.kill(2)
        until("acknowledged without it", lambda: all(trial.acknowledged([p], began) > 100 for p in range(kill.PARTITIONS)))
        until("it has left the ISR", lambda: all(2 not in p["isr"] for p in trial.partitions().values()))
        time.sleep(5)
        trial.load.finish()
        # Nothing is produced while it returns: the moment that it is in an ISR, it has every byte of the leader's.
        trial.cluster.start(2, wait=False)
        seen = set()

        def joins():
            for number, p in trial.partitions().items():
                if 2 in p["isr"] and number not in seen:
                    seen.add(number)
                    logs = [trial.cluster.log_bytes(n, trial.topic, number) for n in (p["leader"], 2)]
                    assert logs[0] == logs[1], f"partition {number}: in the ISR with {len(logs[1])} of {len(logs[0])} bytes"
            return len(seen) == kill.PARTITIONS

        until("it is in every ISR", joins)
        trial.cluster.wait_ready(2)
    return trial.summary()


@fault(4, quick=True)
def kill_all(stage):
    """kill -9 of all nodes at once under load: every partition is back online, nothing is lost."""
    with Trial(stage, "kill-all") as trial:
        time.sleep(1)
        for node in stage.nodes:
            trial.cluster.signal(node, signal.SIGKILL)
        for node in stage.nodes:
            trial.cluster.kill(node)
        trial.cluster.start(wait=False)
        for node in stage.nodes:
            trial.cluster.wait_ready(node, HANG)
    return trial.summary()


@fault(7, quick=True)
def stop_leader(stage):
    """SIGSTOP of a leader for 15 s: others lead, and what it has appended without them goes."""
    with Trial(stage, "stop-leader") as trial:
        held_for(trial, trial.broker(), 15)
    return trial.summary()


@fault(8)
def stop_raft_leader(stage):
    """SIGSTOP of the Raft leader for 15 s: another controller; what it proposed before and its view of the metadata count
    no more."""
    with Trial(stage, "stop-raft-leader") as trial:
        stopped = trial.cluster.raft_leader()
        held_for(trial, stopped, 15)
        until("one controller", lambda: trial.cluster.status()["controller"] not in (-1, None))
    return trial.summary()


def held_for(trial, node, seconds):
    mine = trial.led_by(node)
    began = time.monotonic()
    trial.cluster.signal(node, signal.SIGSTOP)
    until("others lead and acknowledge", lambda: all(trial.acknowledged([p], began + 0.5) > 10 for p in mine))
    took = time.monotonic() - began
    time.sleep(max(0, seconds - took))
    trial.cluster.signal(node, signal.SIGCONT)
    trial.note(f"its {len(mine)} partitions were acknowledged again after {took:.1f} s")


@fault(9)
def stop_follower(stage):
    """SIGSTOP of a follower: for 1 s a blip without any change, for 15 s it leaves the ISR and comes back."""
    order = [[0, 1, 2], [1, 0, 2]] * 3
    with Trial(stage, "stop-follower", assignment=order) as trial:
        cluster = trial.cluster
        term, epochs = cluster.status()["term"], brokers(cluster)
        cluster.signal(2, signal.SIGSTOP)
        time.sleep(1)
        cluster.signal(2, signal.SIGCONT)
        time.sleep(2)
        assert all(len(p["isr"]) == 3 and p["leader_epoch"] == 0 for p in trial.partitions().values()), trial.partitions()
        assert brokers(cluster) == epochs, "a broker has registered again"
        if cluster.status()["term"] != term:
            trial.note("it was the Raft leader")
        began = time.monotonic()
        cluster.signal(2, signal.SIGSTOP)
        until("acknowledged without it", lambda: all(trial.acknowledged([p], began + 0.5) > 100 for p in range(kill.PARTITIONS)))
        assert all(2 not in p["isr"] for p in trial.partitions().values()), trial.partitions()
        time.sleep(max(0, 15 - (time.monotonic() - began)))
        cluster.signal(2, signal.SIGCONT)
    return trial.summary()


def brokers(cluster):
    return {node["node_id"]: node["broker_epoch"] for node in cluster.status()["nodes"]}


@fault(10)
def kill_during_recovery(stage):
    """kill -9, and kill -9 again while it starts, at twelve moments of its recovery: the last start finds everything."""
    rng = random.Random(10)
    with Trial(stage, "kill-recovery", rate=4_000) as trial:
        node = trial.broker()
        time.sleep(3)
        trial.cluster.kill(node)
        moments = sorted(rng.uniform(0.005, 0.5) for _ in range(12))
        for moment in moments:
            trial.cluster.start(node, wait=False)
            time.sleep(moment)
            trial.cluster.kill(node)
            assert not (trial.cluster.home(node) / "data" / ".ottla_cleanshutdown").exists(), "it says that it was shut down cleanly"
    return trial.summary()
