#!/usr/bin/env bash
# Three combined nodes of Apache Kafka on loopback, to compare with. Usage: cluster.sh up|down|kill9 I|start I
#   KAFKA=<directory of install.sh>  ROOT=<scratch directory>  PORTS="19092 19095 19098"  HEAP=1G
#   ADVERTISE=1: clients are told the next port, where a recording proxy listens (tests/golden)
set -u
kafka=${KAFKA:?} root=${ROOT:?}
read -ra ports <<< "${PORTS:-19092 19095 19098}"
count=${#ports[@]}
voters=$(for i in $(seq 0 $((count - 1))); do printf '%s%d@127.0.0.1:%d' "$([ "$i" -gt 0 ] && echo ,)" "$i" $((ports[i] + 10000)); done)
start() {
    setsid env KAFKA_HEAP_OPTS="-Xms${HEAP:-1G} -Xmx${HEAP:-1G}" KAFKA_JVM_PERFORMANCE_OPTS="-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20" \
        "$kafka/bin/kafka-server-start.sh" "$root/$1/server.properties" >> "$root/$1/log" 2>&1 < /dev/null &
    echo $! > "$root/$1/pid"
}
case $1 in
up)
    rm -rf "$root"
    for i in $(seq 0 $((count - 1))); do
        mkdir -p "$root/$i/data"
        cat > "$root/$i/server.properties" <<C
process.roles=broker,controller
node.id=$i
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:${ports[i]},CONTROLLER://127.0.0.1:$((ports[i] + 10000))
advertised.listeners=PLAINTEXT://localhost:$((ports[i] + ${ADVERTISE:-0}))
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$root/$i/data
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
group.initial.rebalance.delay.ms=0
C
        "$kafka/bin/kafka-storage.sh" format -t MkU3OEVBNTcwNTJENDM2Qg -c "$root/$i/server.properties" > "$root/$i/format.log" 2>&1
        start "$i"
    done
    for _ in $(seq 60); do
        "$kafka/bin/kafka-broker-api-versions.sh" --bootstrap-server "127.0.0.1:${ports[0]}" 2>/dev/null | grep -c '(id:' | grep -qx "$count" && exit 0
        sleep 1
    done
    exit 1 ;;
kill9) kill -9 "$(cat "$root/$2/pid")" ;;
start) start "$2" ;;
down) for file in "$root"/*/pid; do kill "$(cat "$file")" 2>/dev/null; done ;;
esac
exit 0
