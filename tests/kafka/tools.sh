#!/usr/bin/env bash
# Apache Kafka's own tools against Ottla and against Apache Kafka: they must print the same. Usage: tools.sh
#   OTTLA=<binary>  KAFKA=<directory of install.sh>  ONLY=<regular expression of names>
set -u
ottla=${OTTLA:?} kafka=${KAFKA:?}
work=$(mktemp -d)
trap 'kill "$demo" 2>/dev/null; wait "$demo" 2>/dev/null; ROOT=$work/kafka "$here/cluster.sh" down; rm -rf "$work"' EXIT
here=$(cd "$(dirname "$0")" && pwd)

"$ottla" demo --data-dir "$work/ottla" --ports 17092,17095,17098 > "$work/demo.log" 2>&1 &
demo=$!
echo "starting Apache Kafka (about 20 s)" >&2
HEAP=512M ROOT=$work/kafka "$here/cluster.sh" up || { echo "Apache Kafka did not start"; exit 1; }
grep -q 'nodes are ready' "$work/demo.log" || { echo "the demo did not start:"; cat "$work/demo.log"; exit 1; }

failed=0 passed=0
# Ids, hosts, ports, paths and times are each cluster's own; how many batches a producer makes is by chance.
scrub() { sed -E 's/TopicId: [A-Za-z0-9_-]+/TopicId: ID/; s/(localhost|127\.0\.0\.1):[0-9]+/HOST/g; s/Replicas: [0-9,]+/Replicas: R/; s/Isr: [0-9,]+/Isr: I/; s/Leader: [0-9]+/Leader: L/; s/^\[[0-9: ,-]+\] //; s/executor:[^ ]*//; s/"logDir":"[^"]*"/"logDir":"DIR"/g; s/"size":[1-9][0-9]*/"size":N/g' ; }
# Of reassignments, the quorum and the cluster: what each has chosen, where its log ends, and times. Kafka's static voters have no
# directory id, and what --generate proposes is by chance.
scrub_more() {
    sed -E 's/"log_dirs":\["\/[^]]*\]/"log_dirs":DIRS/g
        /^Proposed/,$ s/"replicas":\[[0-9,]+\]/"replicas":R/g
        s/^(ClusterId|Cluster ID|LeaderId|LeaderEpoch|HighWatermark|MaxFollowerLag|MaxFollowerLagTimeMs): .*/\1/
        s/ "directoryId": "[^"]*",//g; s/[A-Za-z0-9_-]{22}/ID/g
        s/[0-9]+ ms ago|[0-9]{13}/T/g; s/[[:space:]]+/ /g
        s/^[0-9]+ ID [0-9]+ [0-9]+ T T/N ID N N T T/; s/^([0-9]+ localhost) [0-9]+/\1 PORT/'
}
# Of groups: who coordinates, ids that were drawn, and the orders in which nodes answer and Java walks over a set.
scrub_groups() {
    sed -E 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/g; s/HOST +\([0-9]+\)/COORDINATOR/; s/localhost:[0-9]+ +\([0-9]+\)/COORDINATOR/
        s/(Valid states are:).*/\1 …/; s/[[:space:]]+/ /g; s/ $//; s/[0-9]{13}/T/g' | sort
}
# Of load: rates and times, and how records fall into batches and polls. Of features and APIs: that they are listed; what each of both
# has is its own (no transactions, share groups, KIP-848's groups and Kafka's own quorum here).
scrub_load() {
    sed -E 's/[0-9]+(\.[0-9]+)? (records|MB|ms)[^,]*/N \2/g; s/^[0-9-]+ [0-9:]+, .*, ([0-9]+), [0-9.]+, [0-9-]+, .*/\1 consumed/
        s/"timestamp":[0-9]+/"timestamp":T/; s/"avg_throughput":[0-9.]+/"avg_throughput":N/; s/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/g
        /"name":"(records_consumed|offsets_committed)"/d; s/^(Feature: [a-z.]+).*/\1/
        s/^HOST.*/HOST/; /^\t/d; /^Feature: (transaction|share|streams|group|kraft)/d' | sort -u
}
# Until every broker has applied what the controller committed.
settle() { sleep 0.5; }
both() { # name, input, tool (with its subcommand), arguments…
    local name=$1 input=$2 tool
    read -ra tool <<< "$3"
    shift 3
    [[ $name =~ ${ONLY:-.} ]] || return
    printf '%s' "$input" | timeout 60 "$kafka/bin/${tool[0]}.sh" "${tool[@]:1}" --bootstrap-server localhost:17092 "$@" > "$work/a.raw" 2>&1
    printf 'exit %s\n' $? >> "$work/a.raw"
    printf '%s' "$input" | timeout 60 "$kafka/bin/${tool[0]}.sh" "${tool[@]:1}" --bootstrap-server localhost:19092 "$@" > "$work/b.raw" 2>&1
    printf 'exit %s\n' $? >> "$work/b.raw"
    local more=cat
    [[ ${tool[0]} =~ reassign|quorum|cluster ]] && more=scrub_more
    [[ ${tool[0]} =~ groups ]] && more=scrub_groups
    [[ ${tool[0]} =~ perf-test|verifiable|features|api-versions ]] && more=scrub_load
    scrub < "$work/a.raw" | $more > "$work/a"
    scrub < "$work/b.raw" | $more > "$work/b"
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
for time in earliest latest max-timestamp -1 -2 -3 0 9999999999999; do
    both "offsets of $time" "" kafka-get-offsets --topic one --time "$time"
done
both "offsets of an unknown topic" "" kafka-get-offsets --topic nothing
both "more partitions" "" kafka-topics --alter --topic t --partitions 5
settle
both "describe with more partitions" "" kafka-topics --describe --topic t
both "the same partitions" "" kafka-topics --alter --topic t --partitions 5
both "fewer partitions" "" kafka-topics --alter --topic t --partitions 2
both "partitions of an unknown topic" "" kafka-topics --alter --topic nothing --partitions 2
config() { # name, entity…, --alter or --describe with its arguments
    local name=$1
    shift
    both "$name" "" kafka-configs "$@"
    settle
}
for entity in "--entity-type topics --entity-name one" "--entity-type brokers --entity-default" "--entity-type brokers --entity-name 0"; do
    case $entity in *topics*) retention=retention.ms policy=cleanup.policy ;; *) retention=log.retention.ms policy=log.cleanup.policy ;; esac
    # shellcheck disable=SC2086
    {
        config "nothing set: $entity" --describe $entity
        config "set: $entity" --alter $entity --add-config "$retention=3600000,$policy=[compact,delete]"
        config "what is set: $entity" --describe $entity
        config "set to another value: $entity" --alter $entity --add-config "$retention=7200000"
        config "what is set now: $entity" --describe $entity
        config "a wrong value: $entity" --alter $entity --add-config "$retention=soon"
        config "delete: $entity" --alter $entity --delete-config "$retention"
        config "delete what is not set: $entity" --alter $entity --delete-config "$retention"
        config "what is left: $entity" --describe $entity
        config "delete and set: $entity" --alter $entity --delete-config "$policy" --add-config "$retention=3600000"
        config "at last: $entity" --describe $entity
    }
done
# A topic is described by any broker: what one of them has for itself goes first.
for entity in "--entity-type brokers --entity-name 0" "--entity-type topics --entity-name one" "--entity-type brokers --entity-default"; do
    case $entity in *topics*) retention=retention.ms ;; *) retention=log.retention.ms ;; esac
    # shellcheck disable=SC2086
    config "one source less: $entity" --alter $entity --delete-config "$retention"
    config "sources: $entity" --describe --entity-type topics --entity-name one
done
config "unknown config" --alter --entity-type topics --entity-name one --add-config nope=1
config "unknown topic" --alter --entity-type topics --entity-name nothing --add-config retention.ms=1
config "configs that contradict" --alter --entity-type topics --entity-name one --add-config min.compaction.lag.ms=10,max.compaction.lag.ms=9
config "tiered storage" --alter --entity-type topics --entity-name one --add-config remote.storage.enable=true
config "not dynamic" --alter --entity-type brokers --entity-default --add-config log.retention.hours=1
config "not dynamic for one broker" --alter --entity-type brokers --entity-name 0 --add-config log.dirs=/x
config "min.insync.replicas of one broker" --alter --entity-type brokers --entity-name 0 --add-config min.insync.replicas=1
config "min.insync.replicas of no broker" --alter --entity-type brokers --entity-default --delete-config min.insync.replicas
config "what means nothing here" --alter --entity-type brokers --entity-default --add-config num.io.threads=9
config "and is shown" --describe --entity-type brokers --entity-default
config "and deleted" --alter --entity-type brokers --entity-default --delete-config num.io.threads
offsets() { printf '{"version":1,"partitions":[{"topic":"%s","partition":%s,"offset":%s}]}' "$1" "$2" "$3" > "$work/offsets.json"; }
offsets one 0 2
both "delete records" "" kafka-delete-records --offset-json-file "$work/offsets.json"
both "earliest after that" "" kafka-get-offsets --topic one --time earliest
both "consume what is left" "" kafka-console-consumer --topic one --partition 0 --from-beginning --max-messages 3 --timeout-ms 15000
offsets one 0 1
both "delete what is gone" "" kafka-delete-records --offset-json-file "$work/offsets.json"
offsets one 0 99
both "delete what is not there" "" kafka-delete-records --offset-json-file "$work/offsets.json"
offsets one 9 1
both "delete of a partition that is not there" "" kafka-delete-records --offset-json-file "$work/offsets.json"
offsets one 0 -1
both "delete all" "" kafka-delete-records --offset-json-file "$work/offsets.json"
both "earliest is latest" "" kafka-get-offsets --topic one --time earliest
both "create a compacted topic" "" kafka-topics --create --topic compacted --partitions 1 --config cleanup.policy=compact
offsets compacted 0 -1
both "delete of a compacted topic" "" kafka-delete-records --offset-json-file "$work/offsets.json"
log_dirs() { # name, arguments…
    local name=$1
    shift
    both "$name" "" kafka-log-dirs --describe "$@"
}
# Something that has a size: Kafka keeps the files of what was deleted until its next check of retention, Ottla does not.
both "produce after all was deleted" $'six\n' kafka-console-producer --topic one
log_dirs "log directories of a topic" --topic-list one
log_dirs "log directories of one broker" --topic-list one --broker-list 1
log_dirs "log directories of a topic that is not there" --topic-list nothing
log_dirs "log directories of a broker that is not there" --topic-list one --broker-list 1,9
# Groups: of a consumer that has left, of one that reads, and what may be done to either.
groups() { # name, arguments…
    local name=$1
    shift
    both "$name" "" kafka-consumer-groups "$@"
}
both "no groups" "" kafka-groups --list
both "create what groups read" "" kafka-topics --create --topic read --partitions 2
both "produce what groups read" $'1:a\n2:b\n3:c\n4:d\n5:e\n' kafka-console-producer --topic read --reader-property parse.key=true --reader-property key.separator=:
both "consume in a group" "" kafka-console-consumer --topic one --group gone --from-beginning --max-messages 3 --timeout-ms 20000
both "consume on from there" "" kafka-console-consumer --topic one --group gone --from-beginning --timeout-ms 6000
groups "groups" --list
groups "groups and their states" --list --state
groups "groups that are stable" --list --state stable
groups "groups in no such state" --list --state nosuch
groups "groups and their types" --list --type
groups "groups of a type" --list --type consumer
for what in "" --offsets --members "--members --verbose" --state "--offsets --verbose"; do
    # shellcheck disable=SC2086
    groups "a group that is gone $what" --describe --group gone $what
    # shellcheck disable=SC2086
    groups "no such group $what" --describe --group nosuch $what
done
both "kafka-groups" "" kafka-groups --list
for filter in --consumer --share "--group-type classic" "--group-type consumer" "--protocol consumer" "--protocol connect"; do
    # shellcheck disable=SC2086
    both "kafka-groups $filter" "" kafka-groups --list $filter
done
reset() { # name, arguments…
    local name=$1
    shift
    groups "$name" --reset-offsets --group gone "$@"
}
for mode in --to-earliest --to-latest --to-current "--to-offset 3" "--to-offset 99" "--shift-by -2" "--shift-by 99" "--by-duration PT1H" \
    "--to-datetime 2020-01-01T00:00:00.000" "--to-datetime 2100-01-01T00:00:00.000"; do
    # shellcheck disable=SC2086
    {
        reset "reset $mode: the plan" --topic one $mode --dry-run
        reset "reset $mode" --topic one $mode --execute
        groups "after reset $mode" --describe --group gone
    }
done
reset "reset of a topic that it never read" --topic read --to-earliest --execute
reset "reset of partitions" --topic read:1 --to-latest --execute
reset "reset of all topics" --all-topics --to-earliest --execute
reset "reset to a file" --all-topics --to-earliest --export
printf 'read,0,1\none,0,3\n' > "$work/offsets.csv"
reset "reset from a file" --from-file "$work/offsets.csv" --execute
reset "reset of a topic that is not there" --topic nothing --to-earliest --execute
reset "reset of a partition that is not there" --topic one:7 --to-earliest --execute
groups "after all resets" --describe --group gone
groups "reset of a group that is not there" --reset-offsets --group made --topic one --to-earliest --execute
groups "it is there then" --describe --group made --state
consumers=()
if [[ "a group that reads" =~ ${ONLY:-.} ]]; then
    for port in 17092 19092; do
        "$kafka/bin/kafka-console-consumer.sh" --bootstrap-server localhost:$port --topic read --group reads --from-beginning > "$work/reads.$port" 2>&1 &
        consumers+=($!)
    done
    # Until both have got their partitions, committed, and so been described with them.
    for port in 17092 19092; do
        for _ in $(seq 60); do [ "$(wc -l < "$work/reads.$port")" -ge 5 ] && break; sleep 0.5; done
    done
    sleep 6
fi
for what in "" --members "--members --verbose" --state; do
    # shellcheck disable=SC2086
    groups "a group that reads $what" --describe --group reads $what
done
groups "a group that reads: all groups" --describe --all-groups
groups "a group that reads: states" --list --state
groups "a group that reads: reset" --reset-offsets --group reads --topic read --to-earliest --execute
groups "a group that reads: delete" --delete --group reads
groups "a group that reads: delete its offsets" --delete-offsets --group reads --topic read
groups "a group that reads: delete others' offsets" --delete-offsets --group reads --topic one
[ ${#consumers[@]} = 0 ] || { kill "${consumers[@]}"; wait "${consumers[@]}" 2>/dev/null; }
groups "delete offsets" --delete-offsets --group gone --topic one:0
groups "delete offsets of a topic that is not there" --delete-offsets --group gone --topic nothing
groups "delete offsets of a group that is not there" --delete-offsets --group nosuch --topic one
groups "after delete offsets" --describe --group gone
groups "delete groups" --delete --group gone --group made
groups "delete groups again" --delete --group gone
groups "groups at last" --list
# What Kafka's own load tools say, but for their rates; and which features and APIs there are.
both "create for load" "" kafka-topics --create --topic load --partitions 1
both "producer performance" "" kafka-producer-perf-test --topic load --num-records 1000 --record-size 100 --throughput -1
both "consumer performance" "" kafka-consumer-perf-test --topic load --num-records 1000 --group perf
both "verifiable producer" "" kafka-verifiable-producer --topic load --max-messages 20
both "verifiable consumer" "" kafka-verifiable-consumer --topic load --group-id verifiable --max-messages 1020 --reset-policy earliest
both "verified: committed" "" kafka-consumer-groups --describe --group verifiable
both "features" "" kafka-features describe
both "versions of the APIs" "" kafka-broker-api-versions
# Replicas that move. Fifty megabytes at a kilobyte a second are long under way.
move() { # name, replicas of partition 0, more arguments
    local name=$1
    printf '{"version":1,"partitions":[{"topic":"moving","partition":0,"replicas":[%s]}]}' "$2" > "$work/moves.json"
    shift 2
    both "$name" "" kafka-reassign-partitions --reassignment-json-file "$work/moves.json" "$@"
    settle
}
both "create what moves" "" kafka-topics --create --topic moving --replica-assignment 0:1,1:2
for port in 17092 19092; do
    "$kafka/bin/kafka-producer-perf-test.sh" --topic moving --num-records 50000 --record-size 1000 --throughput -1 \
        --bootstrap-server localhost:$port > /dev/null
done
printf '{"version":1,"topics":[{"topic":"moving"}]}' > "$work/topics.json"
both "generate" "" kafka-reassign-partitions --generate --topics-to-move-json-file "$work/topics.json" --broker-list 0,1,2
both "generate for a broker that is not there" "" kafka-reassign-partitions --generate --topics-to-move-json-file "$work/topics.json" --broker-list 0,9
both "no moves" "" kafka-reassign-partitions --list
move "move to a broker that is not there" 0,9 --execute
move "cancel what does not move" 2,1 --cancel
move "move slowly" 2,1 --execute --throttle 1000
both "moves" "" kafka-reassign-partitions --list
move "not there yet" 2,1 --verify
move "move twice" 1,0 --execute
config "throttle of the topic" --describe --entity-type topics --entity-name moving
config "throttle of a broker" --describe --entity-type brokers --entity-name 2
move "cancel" 2,1 --cancel
both "no moves after that" "" kafka-reassign-partitions --list
config "no throttle of the topic" --describe --entity-type topics --entity-name moving
config "no throttle of a broker" --describe --entity-type brokers --entity-name 2
both "where it was" "" kafka-topics --describe --topic moving
move "move slowly again" 2,1 --execute --throttle 1000
move "and fast" 2,1 --execute --additional --throttle 100000000
sleep 10
both "moved" "" kafka-reassign-partitions --list
move "there" 2,1 --verify
config "no throttle of the topic then" --describe --entity-type topics --entity-name moving
move "move there again" 2,1 --verify
move "another order" 1,2 --execute
move "more replicas" 1,2,0 --execute
sleep 5
move "more replicas are there" 1,2,0 --verify
move "fewer replicas" 1,2 --execute --disallow-replication-factor-change
move "the preferred leader is another" 2,1,0 --execute
# Leaders.
both "elect the preferred leader" "" kafka-leader-election --election-type preferred --topic moving --partition 0
settle
both "it leads" "" kafka-topics --describe --topic moving
both "elect it again" "" kafka-leader-election --election-type preferred --topic moving --partition 0
both "elect an unclean leader where one leads" "" kafka-leader-election --election-type unclean --topic moving --partition 0
both "elect for a partition that is not there" "" kafka-leader-election --election-type preferred --topic moving --partition 9
both "elect for a topic that is not there" "" kafka-leader-election --election-type preferred --topic nothing --partition 0
both "elect all" "" kafka-leader-election --election-type preferred --all-topic-partitions
# The quorum and the cluster.
both "quorum" "" kafka-metadata-quorum describe --status
both "quorum's log" "" kafka-metadata-quorum describe --replication
both "quorum's log for people" "" kafka-metadata-quorum describe --replication --human-readable
both "cluster id" "" "kafka-cluster cluster-id"
both "endpoints" "" "kafka-cluster list-endpoints"
both "unregister a broker that is not there" "" "kafka-cluster unregister" --id 9
both "delete" "" kafka-topics --delete --topic u
both "delete unknown" "" kafka-topics --delete --topic nothing
both "list after delete" "" kafka-topics --list
if [ -z "${ONLY:-}" ]; then
    python3 "$here/produce.py" "$kafka" 17092 "$work/ottla" 19092 "$work/kafka" || failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
