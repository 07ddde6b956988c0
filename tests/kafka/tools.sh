#!/usr/bin/env bash
# Apache Kafka's own tools against Ottla and against Apache Kafka: they must print the same. Usage: tools.sh
#   OTTLA=<binary>  KAFKA=<directory of install.sh>
set -u
ottla=${OTTLA:?} kafka=${KAFKA:?}
work=$(mktemp -d)
trap 'kill "$demo" 2>/dev/null; wait "$demo" 2>/dev/null; ROOT=$work/kafka "$here/cluster.sh" down; rm -rf "$work"' EXIT
here=$(cd "$(dirname "$0")" && pwd)

"$ottla" demo --data-dir "$work/ottla" --ports 18092,18095,18098 > "$work/demo.log" 2>&1 &
demo=$!
echo "starting Apache Kafka (about 20 s)" >&2
HEAP=512M ROOT=$work/kafka "$here/cluster.sh" up || { echo "Apache Kafka did not start"; exit 1; }
grep -q 'nodes are ready' "$work/demo.log" || { echo "the demo did not start:"; cat "$work/demo.log"; exit 1; }

failed=0 passed=0
# Ids, hosts, ports and times are each cluster's own.
scrub() { sed -E 's/TopicId: [A-Za-z0-9_-]+/TopicId: ID/; s/(localhost|127\.0\.0\.1):[0-9]+/HOST/g; s/Replicas: [0-9,]+/Replicas: R/; s/Isr: [0-9,]+/Isr: I/; s/Leader: [0-9]+/Leader: L/; s/^\[[0-9: ,-]+\] //' ; }
both() { # name, input, tool, arguments…
    local name=$1 input=$2 tool=$3
    shift 3
    printf '%s' "$input" | timeout 60 "$kafka/bin/$tool.sh" --bootstrap-server localhost:18092 "$@" > "$work/a.raw" 2>&1
    printf 'exit %s\n' $? >> "$work/a.raw"
    printf '%s' "$input" | timeout 60 "$kafka/bin/$tool.sh" --bootstrap-server localhost:19092 "$@" > "$work/b.raw" 2>&1
    printf 'exit %s\n' $? >> "$work/b.raw"
    scrub < "$work/a.raw" > "$work/a"
    scrub < "$work/b.raw" > "$work/b"
    if diff "$work/b" "$work/a" > "$work/diff"; then
        passed=$((passed + 1))
        echo "same: $name"
    else
        failed=$((failed + 1))
        echo "DIFFERENT: $name (< Apache Kafka, > Ottla)"
        cat "$work/diff"
    fi
}
both "create" "" kafka-topics --create --topic t --partitions 3
both "create with everything" "" kafka-topics --create --topic u --partitions 2 --replication-factor 2 --config retention.ms=3600000
both "create again" "" kafka-topics --create --topic t --partitions 3
both "create with a wrong config" "" kafka-topics --create --topic w --config retention.ms=soon
both "create with a wrong name" "" kafka-topics --create --topic 'a/b'
both "create with too many replicas" "" kafka-topics --create --topic x --replication-factor 5
both "list" "" kafka-topics --list
both "describe one" "" kafka-topics --describe --topic t
both "describe another" "" kafka-topics --describe --topic u
both "describe unknown" "" kafka-topics --describe --topic nothing
both "under-replicated" "" kafka-topics --describe --under-replicated-partitions
both "produce" $'one\ntwo\nthree\n' kafka-console-producer --topic t
both "create for one partition" "" kafka-topics --create --topic one --partitions 1
both "produce in order" $'one\ntwo\nthree\n' kafka-console-producer --topic one
both "produce with keys" $'a:1\nb:2\n' kafka-console-producer --topic one --reader-property parse.key=true --reader-property key.separator=:
both "consume a partition" "" kafka-console-consumer --topic one --partition 0 --from-beginning --max-messages 5 --timeout-ms 15000
both "consume from an offset" "" kafka-console-consumer --topic one --partition 0 --offset 3 --max-messages 2 --timeout-ms 15000
both "consume with keys" "" kafka-console-consumer --topic one --partition 0 --from-beginning --max-messages 5 --timeout-ms 15000 --formatter-property print.key=true --formatter-property print.offset=true
both "offsets" "" kafka-get-offsets --topic one
both "delete" "" kafka-topics --delete --topic u
both "delete unknown" "" kafka-topics --delete --topic nothing
both "list after delete" "" kafka-topics --list
python3 "$here/produce.py" "$kafka" 18092 "$work/ottla" 19092 "$work/kafka" || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
