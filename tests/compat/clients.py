"""Which clients there are, how their drivers start, and what each needs on the machine."""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
DRIVERS = HERE / "drivers"
VENV = pathlib.Path(sys.prefix)
CACHE = pathlib.Path(os.environ.get("OTTLA_CACHE", pathlib.Path.home() / ".cache" / "ottla"))


class Missing(Exception):
    """The machine lacks what the client needs."""


def python(venv, driver):
    interpreter = venv / "bin" / "python"
    if not interpreter.exists():
        raise Missing(f"{interpreter} is missing: make clients")
    return [str(interpreter), str(DRIVERS / driver)]


def kcat():
    if not shutil.which("kcat"):
        raise Missing("kcat is missing (apt-get install kcat): make clients")
    return python(VENV, "kcat.py")


# Name: a function that makes the driver's command, or raises `Missing`.
CLIENTS = {
    "kafka-python 2.0.2": lambda: python(VENV, "kafka_python.py"),
    "kafka-python 3": lambda: python(VENV / "kafka-python-3", "kafka_python.py"),
    "confluent-kafka": lambda: python(VENV, "confluent.py"),
    "kcat": kcat,
}
