import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** Apache Kafka's own client. The protocol is in ../README.md. */
public class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String bootstrap;
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    private KafkaConsumer<byte[], byte[]> consumer;
    private Admin admin;
    private String topic;
    private boolean subscribed;
    private final TreeSet<Integer> assigned = new TreeSet<>();
    private int rebalances;

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err);
        Driver driver = new Driver(arguments[0]);
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        String line;
        while ((line = requests.readLine()) != null) {
            answers.println(driver.answer(JSON.readTree(line)));
            answers.flush();
        }
        System.exit(0);
    }

    private Driver(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    private ObjectNode answer(JsonNode request) {
        try {
            return handle(request);
        } catch (Exception error) {
            return refusal(error);
        }
    }

    private static ObjectNode refusal(Throwable error) {
        while ((error instanceof ExecutionException || error instanceof CompletionException) && error.getCause() != null)
            error = error.getCause();
        Errors code = Errors.forException(error);
        if (code == Errors.UNKNOWN_SERVER_ERROR) error.printStackTrace();
        String name = code == Errors.UNKNOWN_SERVER_ERROR ? error.getClass().getSimpleName() : code.name();
        return JSON.createObjectNode().put("error", name).put("detail", String.valueOf(error.getMessage()));
    }

    private ObjectNode handle(JsonNode request) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        switch (request.get("do").asText()) {
            case "hello" -> hello(answer);
            case "produce" -> produce(request, answer);
            case "assign" -> assign(request);
            case "subscribe" -> subscribe(request);
            case "poll" -> poll(request, answer);
            case "commit" -> consumer.commitSync(positions(request));
            case "committed" -> committed(request, answer);
            case "close" -> close(answer);
            case "create_topic" -> createTopic(request);
            case "delete_topic" -> admin().deleteTopics(List.of(text(request, "name"))).all().get();
            case "topics" -> admin().listTopics().names().get().forEach(answer.putArray("topics")::add);
            case "partitions" -> {
                String name = text(request, "name");
                answer.put("partitions", admin().describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size());
            }
            case "create_partitions" -> admin().createPartitions(
                Map.of(text(request, "name"), NewPartitions.increaseTo(request.get("count").asInt()))).all().get();
            case "configs" -> configs(request, answer);
            case "alter_configs" -> alterConfigs(request);
            case "delete_records" -> deleteRecords(request);
            case "offsets" -> offsets(request, answer);
            default -> answer.put("cannot", "the driver has no " + request.get("do"));
        }
        return answer;
    }

    private void hello(ObjectNode answer) {
        answer.put("client", "Java client " + AppInfoParser.getVersion()).put("idempotent", true).putObject("lacks");
        answer.putArray("codecs").add("gzip").add("snappy").add("lz4").add("zstd");
    }

    // Records

    private KafkaProducer<byte[], byte[]> producer(JsonNode request) {
        String codec = request.path("codec").asText("none");
        String recordMax = request.path("record_max").asText("");
        return producers.computeIfAbsent(codec + recordMax, key -> {
            Map<String, Object> config = config();
            config.put("acks", "all");
            config.put("compression.type", codec);
            if (!recordMax.isEmpty()) config.put("max.request.size", recordMax);
            return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        });
    }

    private void produce(JsonNode request, ObjectNode answer) throws Exception {
        KafkaProducer<byte[], byte[]> producer = producer(request);
        int paceMs = request.path("pace_ms").asInt(0);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode record : request.get("records")) {
            RecordHeaders headers = new RecordHeaders();
            for (JsonNode header : record.get("headers")) headers.add(header.get(0).asText(), bytes(header.get(1)));
            sent.add(producer.send(new ProducerRecord<>(text(request, "topic"), integer(record.get("partition")),
                number(record.get("timestamp")), bytes(record.get("key")), bytes(record.get("value")), headers)));
            if (paceMs > 0) Thread.sleep(paceMs);
        }
        producer.flush();
        ArrayNode acks = answer.putArray("acks");
        for (Future<RecordMetadata> future : sent) {
            try {
                RecordMetadata metadata = future.get();
                ObjectNode ack = acks.addObject().put("partition", metadata.partition());
                if (metadata.hasOffset()) ack.put("offset", metadata.offset());
                else ack.putNull("offset");
            } catch (ExecutionException error) {
                acks.add(refusal(error));
            }
        }
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> config) {
        config.put("enable.auto.commit", false);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void assign(JsonNode request) {
        if (consumer != null) consumer.close();
        consumer = consumer(config());
        subscribed = false;
        Map<TopicPartition, JsonNode> starts = new HashMap<>();
        request.get("from").properties().forEach(entry ->
            starts.put(new TopicPartition(text(request, "topic"), Integer.parseInt(entry.getKey())), entry.getValue()));
        consumer.assign(starts.keySet());
        starts.forEach((partition, start) -> {
            if (start.isObject()) {
                var found = consumer.offsetsForTimes(Map.of(partition, start.get("timestamp").asLong())).get(partition);
                if (found == null) consumer.seekToEnd(List.of(partition));
                else consumer.seek(partition, found.offset());
            } else if (start.isNumber()) {
                consumer.seek(partition, start.asLong());
            } else {
                consumer.seekToBeginning(List.of(partition));
            }
        });
    }

    private void subscribe(JsonNode request) {
        Map<String, Object> config = config();
        config.put("group.id", text(request, "group"));
        config.put("auto.offset.reset", "earliest");
        if (request.hasNonNull("instance")) config.put("group.instance.id", text(request, "instance"));
        if (request.hasNonNull("session_ms")) config.put("session.timeout.ms", text(request, "session_ms"));
        consumer = consumer(config);
        topic = text(request, "topic");
        subscribed = true;
        consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                partitions.forEach(partition -> assigned.add(partition.partition()));
                rebalances++;
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                partitions.forEach(partition -> assigned.remove(partition.partition()));
            }
        });
    }

    private void poll(JsonNode request, ObjectNode answer) {
        ArrayNode records = answer.putArray("records");
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(request.get("timeout_ms").asLong()))) {
            ObjectNode found = records.addObject().put("partition", record.partition()).put("offset", record.offset())
                .put("timestamp", record.timestamp()).put("key", encode(record.key())).put("value", encode(record.value()));
            ArrayNode headers = found.putArray("headers");
            for (Header header : record.headers()) headers.addArray().add(header.key()).add(encode(header.value()));
        }
        if (subscribed) {
            answer.put("rebalances", rebalances);
            assigned.forEach(answer.putArray("assigned")::add);
        }
    }

    private Map<TopicPartition, OffsetAndMetadata> positions(JsonNode request) {
        Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
        request.get("offsets").properties().forEach(entry -> positions.put(
            new TopicPartition(topic, Integer.parseInt(entry.getKey())), new OffsetAndMetadata(entry.getValue().asLong())));
        return positions;
    }

    private void committed(JsonNode request, ObjectNode answer) {
        ObjectNode offsets = answer.putObject("offsets");
        for (JsonNode partition : request.get("partitions")) {
            TopicPartition wanted = new TopicPartition(text(request, "topic"), partition.asInt());
            OffsetAndMetadata found = consumer.committed(java.util.Set.of(wanted)).get(wanted);
            offsets.put(partition.asText(), found == null ? null : found.offset());
        }
    }

    private void close(ObjectNode answer) {
        consumer.close();
        consumer = null;
        answer.putArray("records");
    }

    // Topics

    private Admin admin() {
        if (admin == null) admin = Admin.create(config());
        return admin;
    }

    private void createTopic(JsonNode request) throws Exception {
        Map<String, String> configs = new HashMap<>();
        request.get("configs").properties().forEach(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        NewTopic wanted = new NewTopic(text(request, "name"), request.get("partitions").asInt(), (short) request.get("replication").asInt());
        admin().createTopics(List.of(wanted.configs(configs))).all().get();
    }

    private static ConfigResource resource(JsonNode request) {
        return new ConfigResource(ConfigResource.Type.TOPIC, text(request, "topic"));
    }

    private void configs(JsonNode request, ObjectNode answer) throws Exception {
        ObjectNode configs = answer.putObject("configs");
        admin().describeConfigs(List.of(resource(request))).all().get().get(resource(request)).entries()
            .forEach(entry -> configs.put(entry.name(), entry.value()));
    }

    private void alterConfigs(JsonNode request) throws Exception {
        List<AlterConfigOp> operations = new ArrayList<>();
        request.get("configs").properties().forEach(entry -> operations.add(
            new AlterConfigOp(new ConfigEntry(entry.getKey(), entry.getValue().asText()), AlterConfigOp.OpType.SET)));
        admin().incrementalAlterConfigs(Map.of(resource(request), operations)).all().get();
    }

    private void deleteRecords(JsonNode request) throws Exception {
        Map<TopicPartition, RecordsToDelete> wanted = new HashMap<>();
        request.get("offsets").properties().forEach(entry -> wanted.put(
            new TopicPartition(text(request, "topic"), Integer.parseInt(entry.getKey())),
            RecordsToDelete.beforeOffset(entry.getValue().asLong())));
        admin().deleteRecords(wanted).all().get();
    }

    private void offsets(JsonNode request, ObjectNode answer) throws Exception {
        ObjectNode offsets = answer.putObject("offsets");
        for (JsonNode partition : request.get("partitions")) {
            TopicPartition wanted = new TopicPartition(text(request, "topic"), partition.asInt());
            ArrayNode bounds = offsets.putArray(partition.asText());
            for (OffsetSpec spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest()))
                bounds.add(admin().listOffsets(Map.of(wanted, spec)).partitionResult(wanted).get().offset());
        }
    }

    // Words

    private Map<String, Object> config() {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        return config;
    }

    private static String text(JsonNode node, String name) {
        return node.get(name).asText();
    }

    private static boolean missing(JsonNode node) {
        return node == null || node.isNull();
    }

    private static Integer integer(JsonNode node) {
        return missing(node) ? null : node.asInt();
    }

    private static Long number(JsonNode node) {
        return missing(node) ? null : node.asLong();
    }

    private static byte[] bytes(JsonNode node) {
        return missing(node) ? null : Base64.getDecoder().decode(node.asText());
    }

    private static String encode(byte[] data) {
        return data == null ? null : Base64.getEncoder().encodeToString(data);
    }
}
