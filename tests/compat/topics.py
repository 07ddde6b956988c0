"""Scenarios of administration by a client."""

from driver import Refused
from reference import until


def topics(test):
    """admin: create, list, describe and delete a topic"""
    driver = test.driver()
    name = test.unique("topic")
    driver.ask("create_topic", name=name, partitions=4, replication=3, configs={"retention.ms": "3600000"})
    test.reference.until_in_sync(name)
    partitions = test.reference.topic(name).partitions
    assert len(partitions) == 4 and all(len(p.replicas) == 3 for p in partitions.values())
    assert name in driver.ask("topics")["topics"]
    assert driver.ask("partitions", name=name)["partitions"] == 4
    try:
        driver.ask("create_topic", name=name, partitions=4, replication=3, configs={})
        raise AssertionError("it was created twice")
    except Refused as error:
        assert error.code == "TOPIC_ALREADY_EXISTS", error
    try:
        driver.ask("create_topic", name="no / name", partitions=1, replication=3, configs={})
        raise AssertionError("a topic of an impossible name was created")
    except Refused as error:
        assert error.code == "INVALID_TOPIC_EXCEPTION", error
    driver.ask("delete_topic", name=name)
    until("the topic is gone", lambda: name not in driver.ask("topics")["topics"])


def configs(test):
    """admin: configs of a topic"""
    topic = test.topic(1, configs={"retention.ms": "3600000"})
    driver = test.driver()
    found = driver.ask("configs", topic=topic)["configs"]
    assert found["retention.ms"] == "3600000" and found["cleanup.policy"] == "delete", found
    driver.ask("alter_configs", topic=topic, configs={"retention.ms": "7200000", "cleanup.policy": "compact"})

    def altered():
        found = driver.ask("configs", topic=topic)["configs"]
        return (found["retention.ms"], found["cleanup.policy"]) == ("7200000", "compact")

    until("the configs are altered", altered)
    unheard = driver.about.get("unheard", {}).get("alter_configs")
    try:
        driver.ask("alter_configs", topic=topic, configs={"retention.ms": "soon"})
        assert unheard, "retention.ms=soon was taken"
    except Refused as error:
        assert error.code == "INVALID_CONFIG", error
    assert driver.ask("configs", topic=topic)["configs"]["retention.ms"] == "7200000"
    return f"a refusal stays unheard: {unheard}" if unheard else ""


def partitions(test):
    """admin: more partitions, and records in them"""
    topic = test.topic(2)
    driver = test.driver()
    driver.ask("create_partitions", name=topic, count=5)
    test.reference.until_in_sync(topic)
    until("five partitions", lambda: driver.ask("partitions", name=topic)["partitions"] == 5)
    record = {"partition": 4, "timestamp": None, "key": None, "value": b"in the new one"}
    assert driver.produce(topic, [record])[0] in ((4, 0), (4, None))
    driver.assign(topic, {4: "beginning"})
    assert [r["value"] for r in driver.read(1)] == [b"in the new one"]
    try:
        driver.ask("create_partitions", name=topic, count=3)
        raise AssertionError("fewer partitions were taken")
    except Refused as error:
        assert error.code == "INVALID_PARTITIONS", error


def delete_records(test):
    """admin: delete records"""
    topic = test.topic(2)
    driver = test.driver()
    test.reference.produce(topic, [{"partition": p, "key": None, "value": b"%d" % i} for p in range(2) for i in range(100)])
    driver.ask("delete_records", topic=topic, offsets={0: 60})
    found = driver.ask("offsets", topic=topic, partitions=[0, 1])["offsets"]
    assert found == {"0": [60, 100], "1": [0, 100]}, found
    driver.assign(topic, {0: "beginning"})
    assert [r["offset"] for r in driver.read(40)] == list(range(60, 100))
    try:
        driver.ask("delete_records", topic=topic, offsets={1: 1000})
        raise AssertionError("records beyond the end were deleted")
    except Refused as error:
        assert error.code == "OFFSET_OUT_OF_RANGE", error


SCENARIOS = [topics, configs, partitions, delete_records]
