#!/bin/sh
# Foreign Kafka clients for the tests: Python environments with confluent-kafka (librdkafka) and kafka-python 2.0.2,
# and with kafka-python 3 (in DIRECTORY/kafka-python-3), and kcat. Usage: deploy/test-clients.sh DIRECTORY
set -eu
venv=$1
stamp="$venv/.ready-2"
if [ ! -f "$stamp" ]; then
    command -v python3 >/dev/null 2>&1 || { echo "ottla: the client tests need python3 (apt-get install python3 python3-venv)" >&2; exit 1; }
    codecs="lz4==4.4.5 python-snappy==0.7.3 zstandard==0.25.0"
    python3 -m venv "$venv"
    # shellcheck disable=SC2086
    "$venv/bin/pip" install -q --disable-pip-version-check confluent-kafka==2.16.1 kafka-python==2.0.2 six==1.17.0 $codecs
    # kafka-python 2.0.2 carries a `six` whose lazy modules Python 3.12 and later no longer import.
    echo 'import sys, six.moves; sys.modules.setdefault("kafka.vendor.six.moves", six.moves)' \
        > "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/kafka-python-2.pth"
    python3 -m venv "$venv/kafka-python-3"
    # shellcheck disable=SC2086
    "$venv/kafka-python-3/bin/pip" install -q --disable-pip-version-check kafka-python==3.0.12 $codecs
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
