"""Group coordinators that die. Fault 43; 41, 42 and 44 are about transactions, which are not built yet."""

import threading
import time

import confluent_kafka

import groups
import kill
from catalogue import fault
from scene import QUIET, Trial, until


class Committer(threading.Thread):
    """A member of a group that commits each partition's position, higher each time, and remembers what was acknowledged."""

    def __init__(self, bootstrap, topic, group):
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.acknowledged, self.asked, self.failed, self.regressed = {}, {}, 0, []
        self.topic = topic
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000, **QUIET})
        self.consumer.subscribe([topic], on_assign=self.assigned)

    def assigned(self, consumer, partitions):
        for p in consumer.committed(partitions, 30):
            if p.offset >= 0 and p.offset < self.acknowledged.get(p.partition, 0):
                self.regressed.append((p.partition, p.offset, self.acknowledged[p.partition]))

    def run(self):
        while not self.stopping.is_set():
            for message in self.consumer.consume(200, 0.1):
                if not message.error():
                    self.asked[message.partition()] = message.offset() + 1
            wanted = [confluent_kafka.TopicPartition(self.topic, p, o) for p, o in self.asked.items()]
            try:
                for done in self.consumer.commit(offsets=wanted, asynchronous=False) if wanted else []:
                    if done.error is None:
                        self.acknowledged[done.partition] = max(done.offset, self.acknowledged.get(done.partition, 0))
            except confluent_kafka.KafkaException:
                self.failed += 1
        self.consumer.close()


@fault(43)
def kill_coordinator(stage):
    """kill -9 of a group's coordinator in the middle of commits, four times: no committed offset goes back."""
    with Trial(stage, "committed") as trial:
        members = [Committer(trial.cluster.bootstrap, "committed", "faults") for _ in range(2)]
        for member in members:
            member.start()
        until("offsets are committed", lambda: sum(len(m.acknowledged) for m in members) >= kill.PARTITIONS)
        for _ in range(4):
            until("the group is stable", lambda: groups.describe(trial.cluster, "faults")["state"] == "Stable")
            coordinator = groups.describe(trial.cluster, "faults")["coordinator"]
            time.sleep(1)
            before = {p: max(m.acknowledged.get(p, 0) for m in members) for p in range(kill.PARTITIONS)}
            trial.cluster.kill(coordinator)
            until("commits are acknowledged again", lambda: all(
                max(m.acknowledged.get(p, 0) for m in members) > before[p] for p in before))
            now = {p["partition"]: p["committed"] for p in groups.describe(trial.cluster, "faults")["partitions"]}
            assert all(now[p] >= before[p] for p in before), f"offsets went back: {before}, {now}"
            trial.cluster.start(coordinator)
            trial.cluster.wait_in_sync("committed")
            trial.cluster.wait_in_sync("__consumer_offsets")
        for member in members:
            member.stopping.set()
        for member in members:
            member.join(60)
            assert not member.is_alive(), "a member hangs"
        highest = {p: max(m.acknowledged.get(p, 0) for m in members) for p in range(kill.PARTITIONS)}
        now = {p["partition"]: p["committed"] for p in groups.describe(trial.cluster, "faults")["partitions"]}
        assert all(now[p] >= highest[p] for p in highest), f"offsets went back: acknowledged {highest}, now {now}"
        regressed = [r for m in members for r in m.regressed]
        assert not regressed, f"a member was given offsets below what was acknowledged: {regressed[:3]}"
        trial.note(f"{sum(highest.values())} offsets, {sum(m.failed for m in members)} commits failed and were made again")
    return trial.summary()
