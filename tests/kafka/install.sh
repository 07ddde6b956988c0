#!/usr/bin/env bash
# Apache Kafka 4.3.1 from Maven Central: jars and launchers for its tools and its server. Usage: install.sh DIRECTORY
set -euo pipefail
directory=$1
here=$(cd "$(dirname "$0")" && pwd)
if [ ! -s "$directory/classes.txt" ]; then
    for tool in java mvn unzip; do
        command -v $tool >/dev/null || { echo "skipped: $tool is missing (apt-get install openjdk-17-jre-headless maven unzip)"; exit 1; }
    done
    echo "fetching Apache Kafka 4.3.1 into $directory" >&2
    mkdir -p "$directory/libs" "$directory/bin"
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$directory/libs" -DincludeScope=runtime
    for jar in "$directory"/libs/*.jar; do unzip -Z1 "$jar" '*.class' 2>/dev/null || true; done |
        grep -v '\$' | sed 's/\.class$//; s#/#.#g' | sort -u > "$directory/classes.txt"
fi
cat > "$directory/bin/kafka-run-class.sh" <<'RUN'
#!/usr/bin/env bash
directory=$(cd "$(dirname "$0")/.." && pwd)
exec java ${KAFKA_HEAP_OPTS:--Xmx512M} ${KAFKA_JVM_PERFORMANCE_OPTS:-} -Dorg.slf4j.simpleLogger.defaultLogLevel=${LOG:-warn} -cp "$directory/libs/*" "$@"
RUN
chmod +x "$directory/bin/kafka-run-class.sh"
# The main classes move between packages from release to release: take the first that the jars have.
launcher() {
    local name=$1 class
    shift
    for class in "$@"; do
        if grep -qx "$class" "$directory/classes.txt"; then
            printf '#!/usr/bin/env bash\nexec "$(dirname "$0")/kafka-run-class.sh" %s "$@"\n' "$class" > "$directory/bin/$name.sh"
            chmod +x "$directory/bin/$name.sh"
            return
        fi
    done
    echo "no class for $name" >&2
}
tools=org.apache.kafka.tools
launcher kafka-topics $tools.TopicCommand
launcher kafka-configs $tools.config.ConfigCommand $tools.ConfigCommand kafka.admin.ConfigCommand
launcher kafka-console-producer $tools.ConsoleProducer
launcher kafka-console-consumer $tools.consumer.ConsoleConsumer
launcher kafka-get-offsets $tools.GetOffsetShell
launcher kafka-broker-api-versions $tools.BrokerApiVersionsCommand
launcher kafka-producer-perf-test $tools.ProducerPerformance
launcher kafka-consumer-perf-test $tools.ConsumerPerformance
launcher kafka-verifiable-producer $tools.VerifiableProducer
launcher kafka-verifiable-consumer $tools.VerifiableConsumer
launcher kafka-features $tools.FeatureCommand
launcher kafka-storage kafka.tools.StorageTool $tools.StorageTool
launcher kafka-dump-log kafka.tools.DumpLogSegments $tools.DumpLogSegments
launcher kafka-server-start kafka.Kafka
launcher kafka-log-dirs $tools.LogDirsCommand kafka.admin.LogDirsCommand
launcher kafka-delete-records $tools.DeleteRecordsCommand kafka.admin.DeleteRecordsCommand
launcher kafka-reassign-partitions $tools.reassign.ReassignPartitionsCommand
launcher kafka-leader-election $tools.LeaderElectionCommand
launcher kafka-metadata-quorum $tools.MetadataQuorumCommand
launcher kafka-cluster $tools.ClusterTool
launcher kafka-consumer-groups $tools.consumer.group.ConsumerGroupCommand
launcher kafka-groups $tools.GroupsCommand
