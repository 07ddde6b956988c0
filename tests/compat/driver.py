"""One driver: a process that makes a client do what it is asked (README.md has the protocol)."""

import base64
import json
import os
import pathlib
import select
import signal
import subprocess
import threading

# Clients have their own names for what Kafka calls otherwise.
NAMES = {
    "MSG_SIZE_TOO_LARGE": "MESSAGE_TOO_LARGE", "MESSAGE_SIZE_TOO_LARGE": "MESSAGE_TOO_LARGE", "_FENCED": "FENCED_INSTANCE_ID",
    "UNKNOWN_TOPIC_OR_PART": "UNKNOWN_TOPIC_OR_PARTITION", "TOPIC_EXCEPTION": "INVALID_TOPIC_EXCEPTION", "INVALID_TOPIC": "INVALID_TOPIC_EXCEPTION",
}


class Cannot(Exception):
    """The client has no way to do this."""


class Refused(Exception):
    """The client answered with an error; `code` is Kafka's name of it."""

    def __init__(self, request, code, detail):
        super().__init__(f"{request}: {code} ({detail})" if detail else f"{request}: {code}")
        self.code = code


class Hangs(Exception):
    """No answer within the limit."""


def b64(data):
    return None if data is None else base64.b64encode(data).decode()


def bytes_of(text):
    return None if text is None else base64.b64decode(text)


class Driver:
    """Requests from several threads follow one another."""

    def __init__(self, command, bootstrap, log, env=None):
        self.log = pathlib.Path(log)
        self.lock = threading.Lock()
        self.buffer = b""
        with open(self.log, "ab") as stderr:
            self.process = subprocess.Popen([*command, bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                                            start_new_session=True, env={**os.environ, **(env or {})})
        self.about = self.ask("hello")

    def ask(self, request, limit=60, **arguments):
        """The driver's answer to one request."""
        line = json.dumps({"do": request, **arguments}).encode() + b"\n"
        with self.lock:
            try:
                self.process.stdin.write(line)
                self.process.stdin.flush()
            except OSError:
                raise Hangs(f"{request}: the driver has ended; its log ends:\n{self.log_end()}") from None
            answer = json.loads(self.answer(request, limit))
        if "cannot" in answer:
            raise Cannot(answer["cannot"])
        if "error" in answer:
            raise Refused(request, self.name_of(answer["error"]), answer.get("detail"))
        return answer

    def answer(self, request, limit):
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], limit)
            part = os.read(self.process.stdout.fileno(), 1 << 20) if ready else None
            if not part:
                why = "the driver has ended" if ready else f"no answer within {limit} s"
                self.kill()
                raise Hangs(f"{request}: {why}; its log ends:\n{self.log_end()}")
            self.buffer += part
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    @staticmethod
    def name_of(code):
        return NAMES.get(code, code)

    def produce(self, topic, records, limit=60, **more):
        """Acknowledgements in the records' order: (partition, offset or None), or the error's name."""
        wire = [{**record, "key": b64(record["key"]), "value": b64(record["value"]),
                 "headers": [[name, b64(value)] for name, value in record.get("headers", [])]} for record in records]
        acks = self.ask("produce", limit, topic=topic, records=wire, **more)["acks"]
        return [self.name_of(ack["error"]) if "error" in ack else (ack["partition"], ack["offset"]) for ack in acks]

    def assign(self, topic, start):
        self.ask("assign", topic=topic, **{"from": start})

    def poll(self, timeout_ms, limit=60):
        answer = self.ask("poll", limit, timeout_ms=timeout_ms)
        answer["records"] = self.records(answer)
        return answer

    def close(self):
        """The records that the client had read already; its consumer leaves its group."""
        return self.records(self.ask("close"))

    @staticmethod
    def records(answer):
        return [{**r, "key": bytes_of(r["key"]), "value": bytes_of(r["value"]),
                 "headers": [(name, bytes_of(value)) for name, value in r["headers"]]} for r in answer["records"]]

    def read(self, count, seconds=60):
        """At least `count` records of what is assigned."""
        found, polls = [], 0
        while len(found) < count:
            assert polls < seconds, f"{len(found)} of {count} records within {seconds} s"
            found += self.poll(1000)["records"]
            polls += 1
        return found

    def kill(self):
        """kill -9 of the client, and of what it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def log_end(self, lines=15):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
