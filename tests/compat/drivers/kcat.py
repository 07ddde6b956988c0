"""kcat, a command: each request starts processes, a consumer's lives until it is closed."""

import itertools
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

import protocol

# Delimiters that are in no record of the tests.
KEY_END, RECORD_END = b"<kcat:k>", b"<kcat:r>"
# Partition, offset, timestamp, then key and value with their lengths (-1: null); headers end the line.
FORMAT = "%p %o %T %K %S %k%s%h\\n"
ERRORS = {"Broker: Message size too large": "MESSAGE_TOO_LARGE"}


class Consumer:
    """One kcat that prints what it reads; a thread takes it apart."""

    def __init__(self, arguments, found):
        self.found = found
        self.assigned, self.rebalances = [], 0
        self.fatal = None
        contexts = os.environ.get("COMPAT_DEBUG")
        debug = ["-d", contexts] if contexts else []
        self.process = subprocess.Popen(["kcat", *arguments, *debug, "-u", "-f", FORMAT], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.threads = [threading.Thread(target=self.read, daemon=True), threading.Thread(target=self.listen, daemon=True)]
        [thread.start() for thread in self.threads]

    def read(self):
        out = self.process.stdout
        while head := self.head(out):
            partition, offset, timestamp, key_size, size = map(int, head)
            key, value = (None if n < 0 else out.read(n) for n in (key_size, size))
            self.found.put(protocol.encoded(partition, offset, key, value, headers(out.readline()[:-1]), timestamp))

    @staticmethod
    def head(out):
        """The five numbers before a record's bytes."""
        numbers, word = [], b""
        while byte := out.read(1):
            if byte != b" ":
                word += byte
                continue
            numbers.append(word)
            word = b""
            if len(numbers) == 5:
                return numbers
        return None

    def listen(self):
        for line in map(bytes.decode, self.process.stderr):
            print(f"kcat: {line}", end="", file=sys.stderr)
            if match := re.search(r"rebalanced \(memberid .*?\): (assigned|revoked):? ?(.*)", line):
                self.rebalances += match[1] == "assigned"
                self.assigned = sorted(map(int, re.findall(r"\[(\d+)\]", match[2]))) if match[1] == "assigned" else []
            elif "same group.instance.id" in line:
                self.fatal = "FENCED_INSTANCE_ID"

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
        [thread.join() for thread in self.threads]


def headers(text):
    """kcat prints name=value,…; a null value as NULL."""
    pairs = [part.partition(b"=") for part in text.split(b",")] if text else []
    return [(name.decode(), None if value == b"NULL" else value) for name, _, value in pairs]


class Driver:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.consumers = []
        self.found = queue.Queue()
        self.subscribed = False

    def hello(self):
        version = re.search(r"Version (\S+) .*librdkafka (\S+)", subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout)
        return {"client": f"kcat {version[1]}, librdkafka {version[2]}", "codecs": ["gzip", "snappy", "lz4", "zstd"],
                "idempotent": False, "unreadable": ["binary headers"],
                "lacks": {"timestamps": "it has no option for them", "binary headers": "they are arguments, and are printed"}}

    # Records

    def produce(self, topic, records, codec=None, record_max=None, pace_ms=0):
        """One kcat for each run of records of one partition with the same headers, and of values that are null (-Z) or not."""
        def alike(record):
            # Paced records alternate between partitions: there the client chooses.
            return not pace_ms and (record["partition"], record["headers"], record["value"] is None)

        acks = []
        for _, run in itertools.groupby(map(protocol.decoded, records), alike):
            acks += self.produce_run(topic, list(run), codec, record_max, pace_ms)
        return {"acks": acks}

    def produce_run(self, topic, records, codec, record_max, pace_ms):
        first = records[0]
        command = ["kcat", "-b", self.bootstrap, "-P", "-t", topic, "-K", KEY_END.decode(), "-D", RECORD_END.decode(), "-X", "acks=all"]
        if first["partition"] is not None and not pace_ms:
            command += ["-p", str(first["partition"])]
        for name, value in first["headers"]:
            command += ["-H", name if value is None else f"{name}={value.decode()}"]
        command += ["-Z"] if first["value"] is None else []
        command += ["-z", codec] if codec else []
        command += ["-X", f"message.max.bytes={record_max}"] if record_max else []
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        complaints = []
        listener = threading.Thread(target=lambda: complaints.extend(process.stderr))
        listener.start()
        try:
            for record in records:
                key = b"" if record["key"] is None else record["key"] + KEY_END
                process.stdin.write(key + (record["value"] or b"") + RECORD_END)
                if pace_ms:
                    process.stdin.flush()
                    time.sleep(pace_ms / 1000)
            process.stdin.close()
        except BrokenPipeError:
            pass
        process.wait()
        listener.join()
        text = b"".join(complaints).decode()
        print(text, file=sys.stderr)
        error = next((code for words, code in ERRORS.items() if words in text), f"exit status {process.returncode}")
        if process.returncode:
            return [{"error": error, "detail": text[-300:]}] * len(records)
        return [{"partition": record["partition"], "offset": None} for record in records]

    def assign(self, topic, **where):
        self.end_consumers()
        for partition, start in protocol.by_partition(where["from"]).items():
            offset = f"s@{start['timestamp']}" if isinstance(start, dict) else str(start)
            self.consumers.append(Consumer(["-b", self.bootstrap, "-C", "-t", topic, "-p", str(partition), "-o", offset, "-q"], self.found))

    def subscribe(self, group, topic, instance=None, session_ms=None):
        arguments = ["-b", self.bootstrap, "-X", "auto.offset.reset=earliest"]
        arguments += ["-X", f"group.instance.id={instance}"] if instance else []
        arguments += ["-X", f"session.timeout.ms={session_ms}"] if session_ms else []
        self.subscribed = True
        self.consumers.append(Consumer([*arguments, "-G", group, topic], self.found))

    def poll(self, timeout_ms):
        records = []
        try:
            records.append(self.found.get(timeout=timeout_ms / 1000))
            while len(records) < 1000:
                records.append(self.found.get_nowait())
        except queue.Empty:
            pass
        for consumer in self.consumers:
            if consumer.fatal:
                raise protocol.Refused(consumer.fatal)
            if consumer.process.poll() is not None and not records:
                raise protocol.Refused(f"kcat has ended with status {consumer.process.returncode}")
        if not self.subscribed:
            return {"records": records}
        [consumer] = self.consumers
        return {"records": records, "assigned": consumer.assigned, "rebalances": consumer.rebalances}

    def commit(self, offsets):
        raise protocol.Cannot("it commits by itself, at the latest when it ends")

    def end_consumers(self):
        """kcat commits what it has printed when it ends."""
        [consumer.close() for consumer in self.consumers]
        self.consumers = []
        records = []
        while not self.found.empty():
            records.append(self.found.get_nowait())
        return records

    def close(self):
        return {"records": self.end_consumers()}


if __name__ == "__main__":
    protocol.serve(Driver(sys.argv[1]), lambda error: None)
