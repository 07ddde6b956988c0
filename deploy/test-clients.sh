#!/bin/sh
# Foreign Kafka clients for the tests: a Python environment with confluent-kafka (librdkafka) and kafka-python
# 2.0.2, and kcat. Usage: deploy/test-clients.sh DIRECTORY
set -eu
venv=$1
stamp="$venv/.ready-1"
if [ ! -f "$stamp" ]; then
    command -v python3 >/dev/null 2>&1 || { echo "ottla: the client tests need python3 (apt-get install python3 python3-venv)" >&2; exit 1; }
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check confluent-kafka==2.16.1 kafka-python==2.0.2
    touch "$stamp"
fi
if ! command -v kcat >/dev/null 2>&1; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kcat; } >&2
    else
        echo "ottla: the client tests need kcat: sudo apt-get install kcat (or brew install kcat)" >&2
        exit 1
    fi
fi
