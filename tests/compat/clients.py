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

KAFKA = pathlib.Path(os.environ.get("KAFKA", CACHE / "kafka-4.3.1"))


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


def java():
    """Compiled once per version of the driver; the jars are those of `make kafka`."""
    jars = KAFKA / "libs"
    if not jars.is_dir():
        raise Missing(f"{jars} is missing: make kafka")
    for tool in ("java", "javac"):
        if not shutil.which(tool):
            raise Missing(f"{tool} is missing (apt-get install openjdk-17-jdk-headless)")
    source, classes = DRIVERS / "Driver.java", CACHE / "compat" / "java"
    if not (classes / "Driver.class").exists() or (classes / "Driver.class").stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["javac", "-d", str(classes), "-cp", f"{jars}/*", str(source)], check=True)
    return ["java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", f"{classes}:{jars}/*", "Driver"]


def rdkafka():
    """Built with librdkafka's sources, which takes a minute or two the first time."""
    for tool in ("cargo", "make", "c++"):
        if not shutil.which(tool):
            raise Missing(f"{tool} is missing")
    target = CACHE / "compat-rdkafka"
    subprocess.run(["cargo", "build", "-q", "--locked", "--manifest-path", str(HERE / "rdkafka" / "Cargo.toml")],
                   env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=True)
    return [str(target / "debug" / "compat-rdkafka")]


# Name: a function that makes the driver's command, or raises `Missing`.
CLIENTS = {
    "kafka-python 2.0.2": lambda: python(VENV, "kafka_python.py"),
    "kafka-python 3": lambda: python(VENV / "kafka-python-3", "kafka_python.py"),
    "confluent-kafka": lambda: python(VENV, "confluent.py"),
    "kcat": kcat,
    "rdkafka": rdkafka,
    "Java client 4.3.1": java,
}
