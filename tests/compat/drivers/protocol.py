"""The driver's side of the protocol (see ../README.md): reads requests, calls the methods of their names."""

import base64
import json
import sys
import traceback


class Cannot(Exception):
    """The client has no way to do this."""


class Refused(Exception):
    """The broker, or the client itself, said no: Kafka's name of the error."""

    def __init__(self, code, detail=""):
        super().__init__(f"{code} {detail}")
        self.code, self.detail = code, detail


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)


def decoded(record):
    """A record of a request: partition and timestamp may be missing."""
    return {"partition": record.get("partition"), "timestamp": record.get("timestamp"), "key": decode(record["key"]),
            "value": decode(record["value"]), "headers": [(name, decode(value)) for name, value in record["headers"]]}


def encoded(partition, offset, key, value, headers, timestamp):
    return {"partition": partition, "offset": offset, "key": encode(key), "value": encode(value),
            "headers": [[name, encode(data)] for name, data in headers or ()], "timestamp": timestamp}


def by_partition(mapping):
    """JSON's keys are text."""
    return {int(partition): value for partition, value in mapping.items()}


def serve(driver, refused):
    """Until standard input ends. `refused` makes a `Refused` of an exception of the client, or None of any other."""
    # Whatever a client prints goes with the log, not among the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        name = request.pop("do")
        try:
            method = getattr(driver, name, None)
            if method is None:
                raise Cannot(f"this client has no {name}")
            answer = method(**request) or {}
        except Cannot as error:
            answer = {"cannot": str(error)}
        except Exception as error:
            known = error if isinstance(error, Refused) else refused(error)
            if known is None:
                traceback.print_exc()
                known = Refused(type(error).__name__, str(error))
            answer = {"error": known.code, "detail": known.detail or str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
