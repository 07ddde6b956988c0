#!/usr/bin/env bash
# Apache Kafka's kafka-dump-log.sh over every file of a cleanly stopped cluster's logs. Usage: dump_log.sh
#   OTTLA=<binary>  KAFKA=<directory of install.sh>
set -u
ottla=${OTTLA:?} kafka=${KAFKA:?}
work=$(mktemp -d)
demo=
trap '[ -n "$demo" ] && kill "$demo" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

"$ottla" demo --data-dir "$work/data" --ports 18192,18195,18198 > "$work/demo.log" 2>&1 &
demo=$!
for _ in $(seq 100); do grep -q 'nodes are ready' "$work/demo.log" && break; sleep 0.3; done
grep -q 'nodes are ready' "$work/demo.log" || { cat "$work/demo.log"; fail "the demo did not start"; }

server="localhost:18192"
"$kafka/bin/kafka-topics.sh" --bootstrap-server $server --create --topic rolled --partitions 2 \
    --config segment.bytes=1048576 > /dev/null || fail "no topic"
"$kafka/bin/kafka-topics.sh" --bootstrap-server $server --create --topic few --partitions 1 > /dev/null || fail "no topic"
for codec in none zstd; do
    "$kafka/bin/kafka-producer-perf-test.sh" --topic rolled --num-records 20000 --record-size 300 --throughput -1 \
        --producer-props bootstrap.servers=$server compression.type=$codec > /dev/null 2>&1 || fail "no records ($codec)"
done
seq 100 | "$kafka/bin/kafka-console-producer.sh" --bootstrap-server $server --topic few > /dev/null 2>&1 || fail "no records"
kill -TERM "$demo"; wait "$demo"; demo=

files() { find "$work/data" -path '*-[0-9]*' -name "*.$1" | sort | paste -sd, -; }
count() { files "$1" | tr ',' '\n' | grep -c .; }
dump() { "$kafka/bin/kafka-dump-log.sh" "$@" > "$work/out" 2>&1; }
# It says what is wrong and exits with 0 all the same.
wrong='Mismatch|mismatch|Non-consecutive|out of order|not found in the log|Exception|[Cc]orrupt|Could not'
clean() { ! grep -qE "$wrong" "$work/out"; }
check() { # name, arguments…
    local name=$1
    shift
    dump "$@" || { tail -20 "$work/out"; fail "$name: exit code"; }
    clean || { grep -E -m 20 "$wrong" "$work/out"; fail "$name"; }
    echo "clean: $name"
}

rolled=$(find "$work/data" -path '*/rolled-0/*.log' | wc -l)
[ "$rolled" -gt 6 ] || fail "segments did not roll: $rolled"
[ "$(count index)" = "$(count log)" ] && [ "$(count timeindex)" = "$(count log)" ] || fail "index files are missing"
[ "$(count snapshot)" -gt 0 ] || fail "no producer snapshot"
check "$(count log) logs" --files "$(files log)" --deep-iteration
check "the same records, printed" --files "$(files log)" --print-data-log
check "$(count index) offset indexes" --files "$(files index)" --verify-index-only
check "$(count timeindex) time indexes" --files "$(files timeindex)" --verify-index-only
check "the indexes as a starting broker sees them" --files "$(files index),$(files timeindex)" --index-sanity-check
check "$(count snapshot) producer snapshots" --files "$(files snapshot)"
grep -q 'producerId: ' "$work/out" || fail "the snapshots name no producer"
for log in $(find "$work/data" -type d -name 'rolled-*'); do
    [ "$(head -1 "$log/leader-epoch-checkpoint")" = 0 ] && grep -q 'topic_id: ' "$log/partition.metadata" || fail "$log"
done
echo "clean: epoch checkpoints and metadata"

# The check itself: what is planted must be found.
index=$(find "$work/data" -path '*/rolled-0/*.index' -size +8c | sort | head -1)
cp "$index" "$work/saved"
printf '\x00\x00\x00\x01' | dd of="$index" bs=1 seek=4 conv=notrunc status=none
dump --files "$index" --verify-index-only
clean && fail "a wrong position in an offset index went unnoticed"
cp "$work/saved" "$index"
times=${index%.index}.timeindex
printf '\x7f' | dd of="$times" bs=1 seek=0 conv=notrunc status=none
dump --files "$times" --verify-index-only
clean && fail "a wrong timestamp in a time index went unnoticed"
echo "clean: and planted errors are found"
