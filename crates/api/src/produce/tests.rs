use super::topic_rules::TopicRules;
use super::*;
use crate::test_image::{cluster, topic_id};
use crate::test_node::{TestNode, run};
use host::{Host, Pool, RealHost};
use metadata::topic_config::Local;
use records::{Batch, BatchBuilder, Compression};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::{Offset, ProducerEpoch, ProducerId};
use wire::messages::TopicName;
use wire::messages::produce_request::PartitionProduceData;

fn batch(codec: Compression, keys: bool, count: usize) -> Bytes {
    let mut batch = BatchBuilder::new(codec);
    let key = keys.then_some(&b"k"[..]);
    (0..count).for_each(|_| batch.push(RealHost::new().wall_ms(), key, Some(&[b'v'; 100]), &[]));
    batch.build()
}

fn plain() -> Bytes {
    batch(Compression::None, true, 1)
}

/// With this bit of the attributes set, and the CRC right.
fn with_attribute(batch: &Bytes, bit: u8) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[22] |= bit;
    // Stamping another time makes sure that the CRC is computed anew.
    let time = BatchHeader::parse(batch).unwrap().max_timestamp;
    records::set_max_timestamp(&mut bytes, time ^ 1);
    records::set_max_timestamp(&mut bytes, time);
    bytes.into()
}

fn name(name: &str) -> TopicName {
    StrBytes::from(name.to_owned()).into()
}

fn request(topic: &str, partitions: &[(i32, Option<Bytes>)], acks: i16) -> ProduceRequest {
    let partition = |(index, records): &(i32, Option<Bytes>)| {
        PartitionProduceData::default()
            .with_index(*index)
            .with_records(records.clone())
    };
    let topic = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(partitions.iter().map(partition).collect());
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic])
}

/// Topic `orders` with this config too.
fn image(config: &str, value: &str) -> Image {
    let mut image = cluster();
    let orders = image.topics.get_mut(&topic_id(1)).unwrap();
    let configs = &mut std::sync::Arc::make_mut(orders).configs;
    configs.insert(config.to_owned(), value.to_owned());
    image
}

#[test]
fn rules_are_read_once_an_image_and_anew_for_the_next() {
    let properties = BTreeMap::new();
    let local = Local {
        node: NodeId(1),
        properties: &properties,
    };
    let mut known = KnownRules::default();
    let mut max_of = |image: &Arc<Image>| {
        let topic = image.topic("orders").unwrap();
        known.of(image, local, topic).at(0).max_message_bytes
    };
    let (older, newer) = (
        Arc::new(image("max.message.bytes", "1000")),
        Arc::new(image("max.message.bytes", "2000")),
    );
    for (image, max) in [(&older, 1000), (&older, 1000), (&newer, 2000), (&older, 1000)] {
        assert_eq!(max_of(image), max);
    }
}

fn answer(node: &TestNode, request: ProduceRequest, version: i16) -> ProduceResponse {
    let produced = run(async { start(&node.services, request, version, Some("tester")).await.await });
    match produced {
        Produced::Answer(response) => response,
        other => panic!("{other:?}"),
    }
}

fn first(response: &ProduceResponse) -> &PartitionProduceResponse {
    &response.responses[0].partition_responses[0]
}

/// What is sent, to which topic and partition, with which acks and version, and the error.
type Row = (&'static str, Option<Bytes>, &'static str, i32, i16, i16, i16);

#[test]
fn what_is_refused_and_how() {
    let two = || [plain(), plain()].concat();
    let transactional = || {
        let mut batch = BatchBuilder::new(Compression::None).producer(ProducerId(5), ProducerEpoch(0), 0);
        batch.push(RealHost::new().wall_ms(), Some(b"k"), None, &[]);
        with_attribute(&batch.build(), 0x10)
    };
    let table: Vec<Row> = vec![
        ("fine", Some(plain()), "orders", 0, -1, 9, 0),
        ("acks 1", Some(plain()), "orders", 0, 1, 9, 0),
        ("acks 2", Some(plain()), "orders", 0, 2, 9, 21),
        ("acks -2", Some(plain()), "orders", 0, -2, 9, 21),
        ("unknown name", Some(plain()), "none", 0, -1, 12, 3),
        ("unknown id", Some(plain()), "none", 0, -1, 13, 100),
        ("unknown partition", Some(plain()), "orders", 2, -1, 9, 3),
        ("negative partition", Some(plain()), "orders", -1, -1, 9, 3),
        ("internal topic", Some(plain()), "__consumer_offsets", 0, -1, 9, 17),
        ("null", None, "orders", 0, -1, 9, 87),
        ("empty", Some(Bytes::new()), "orders", 0, -1, 9, 87),
        ("two batches", Some(two().into()), "orders", 0, -1, 9, 87),
        (
            "zstd in v6",
            Some(batch(Compression::Zstd, true, 1)),
            "orders",
            0,
            -1,
            6,
            76,
        ),
        (
            "zstd in v7",
            Some(batch(Compression::Zstd, true, 1)),
            "orders",
            0,
            -1,
            7,
            0,
        ),
        ("transactional", Some(transactional()), "orders", 0, -1, 9, 48),
        ("control", Some(with_attribute(&plain(), 0x20)), "orders", 0, -1, 9, 87),
    ];
    for (what, records, topic, partition, acks, version, expected) in table {
        let mut cluster = cluster();
        cluster.names.insert("__consumer_offsets".into(), topic_id(2));
        let internal = std::sync::Arc::make_mut(cluster.topics.get_mut(&topic_id(2)).unwrap());
        internal.internal = true;
        let node = TestNode::new(cluster);
        let mut request = request(topic, &[(partition, records)], acks);
        if version >= 13 {
            request.topic_data[0].topic_id = topic_id(99).0;
        }
        let response = answer(&node, request, version);
        let partition = first(&response);
        assert_eq!(partition.error_code, expected, "{what}: {partition:?}");
        let appended = node.data.appended.borrow().len();
        assert_eq!(appended, usize::from(expected == 0), "{what}");
        let offsets = (partition.base_offset, partition.log_start_offset);
        assert_eq!(offsets, if expected == 0 { (40, 2) } else { (-1, -1) }, "{what}");
    }
}

#[test]
fn topics_are_found_by_id_from_version_13() {
    let node = TestNode::new(cluster());
    let mut request = request("", &[(0, Some(plain()))], -1);
    request.topic_data[0].topic_id = topic_id(1).0;
    let response = answer(&node, request, 13);
    assert_eq!(first(&response).error_code, 0);
    assert_eq!(response.responses[0].topic_id, topic_id(1).0);
    assert_eq!(node.data.appended.borrow()[0].0.topic, topic_id(1));
}

#[test]
fn records_without_keys_are_named_on_a_compacted_topic() {
    let node = TestNode::new(image("cleanup.policy", "compact"));
    let response = answer(
        &node,
        request("orders", &[(0, Some(batch(Compression::Gzip, false, 3)))], -1),
        9,
    );
    let partition = first(&response);
    assert_eq!(partition.error_code, ErrorCode::InvalidRecord.code());
    let named: Vec<i32> = partition.record_errors.iter().map(|e| e.batch_index).collect();
    assert_eq!(named, [0, 1, 2]);
    assert!(partition.error_message.is_some());
}

/// All partitions of a request share what is named and what is decompressed.
#[test]
fn one_allowance_per_request() {
    let node = TestNode::new(image("cleanup.policy", "compact"));
    let keyless = batch(Compression::Lz4, false, 700);
    let many: Vec<_> = (0..6).map(|_| (0, Some(keyless.clone()))).collect();
    let response = answer(&node, request("orders", &many, -1), 9);
    let named = |p: &PartitionProduceResponse| p.record_errors.len();
    let partitions = &response.responses[0].partition_responses;
    assert_eq!(partitions.iter().map(named).sum::<usize>(), limits::RECORD_ERRORS_MAX);
    assert!(
        partitions
            .iter()
            .all(|p| p.error_code == ErrorCode::InvalidRecord.code())
    );

    let mut bomb = BatchBuilder::new(Compression::Zstd);
    bomb.push(RealHost::new().wall_ms(), Some(b"k"), Some(&vec![0; 48 << 20]), &[]);
    let bomb = bomb.build();
    let most = limits::DECOMPRESSED_BYTES_MAX / (48 << 20);
    let many: Vec<_> = (0..most + 2).map(|_| (0, Some(bomb.clone()))).collect();
    let response = answer(&node, request("orders", &many, -1), 9);
    let codes: Vec<i16> = response.responses[0]
        .partition_responses
        .iter()
        .map(|p| p.error_code)
        .collect();
    let refused = ErrorCode::MessageTooLarge.code();
    assert!(
        codes[..most].iter().all(|code| *code == 0) && codes[most..] == [refused; 2],
        "{codes:?}"
    );
}

#[test]
fn more_partitions_than_can_be_answered_close() {
    let node = TestNode::new(cluster());
    let many = vec![(0, None); limits::REQUEST_PARTITIONS_MAX + 1];
    let request = request("orders", &many, -1);
    let produced = run(async { start(&node.services, request, 9, None).await.await });
    assert!(matches!(produced, Produced::Close(ErrorCode::InvalidRequest)));
}

#[test]
fn who_leads_instead_is_named_with_its_endpoint() {
    let error = |code, leader| Some(Err(DataError { code, leader }));
    let known = Some((NodeId(2), LeaderEpoch(9)));
    let table = [
        (error(ErrorCode::NotLeaderOrFollower, known), (2, 9), vec![2]),
        // What the partition does not know the image does.
        (error(ErrorCode::NotLeaderOrFollower, None), (1, 4), vec![1]),
        (error(ErrorCode::NotEnoughReplicas, known), (-1, -1), vec![]),
    ];
    for (outcome, leader, endpoints) in table {
        let node = TestNode::new(cluster());
        node.data.append.set(outcome);
        let response = answer(&node, request("orders", &[(0, Some(plain()))], -1), 10);
        let current = &first(&response).current_leader;
        assert_eq!((current.leader_id.0, current.leader_epoch), leader, "{outcome:?}");
        let named: Vec<i32> = response.node_endpoints.iter().map(|e| e.node_id.0).collect();
        assert_eq!(named, endpoints, "{outcome:?}");
        assert!(response.node_endpoints.iter().all(|e| e.port == 9090 + e.node_id.0));
    }
}

/// What is answered is what was stored, whatever this shard's clock and image say.
#[test]
fn the_stored_append_time_is_answered() {
    for (config, stored) in [("LogAppendTime", 123_456), ("CreateTime", -1), ("LogAppendTime", -1)] {
        let node = TestNode::new(image("message.timestamp.type", config));
        node.data.append.set(Some(Ok(Appended {
            base_offset: Offset(1),
            log_append_time: stored,
            log_start: Offset(0),
        })));
        let response = answer(&node, request("orders", &[(0, Some(plain()))], -1), 9);
        assert_eq!(first(&response).log_append_time_ms, stored, "{config}");
    }
}

#[test]
fn the_topics_codec_is_applied_and_the_size_checked_again() {
    let sent = batch(Compression::Gzip, true, 50);
    let mut cluster = image("compression.type", "zstd");
    let node = TestNode::new(cluster.clone());
    answer(&node, request("orders", &[(0, Some(sent.clone()))], -1), 9);
    let (_, stored, header, _) = node.data.appended.borrow()[0].clone();
    assert_eq!(header.compression(), Ok(Compression::Zstd));
    assert!(records::verify_crc(&stored));
    let records = |batch: Bytes| records::decode_records(&Batch::parse(batch).unwrap(), 1 << 20).unwrap();
    assert_eq!(records(stored), records(sent.clone()));

    // Small enough as it came, too large as it would be stored.
    let orders = std::sync::Arc::make_mut(cluster.topics.get_mut(&topic_id(1)).unwrap());
    orders.configs.insert("compression.type".into(), "uncompressed".into());
    orders.configs.insert("max.message.bytes".into(), "1000".into());
    assert!(sent.len() < 1_000);
    let node = TestNode::new(cluster);
    let response = answer(&node, request("orders", &[(0, Some(sent))], -1), 9);
    assert_eq!(first(&response).error_code, ErrorCode::MessageTooLarge.code());
    assert!(node.data.appended.borrow().is_empty());
}

#[test]
fn only_a_wait_for_replicas_times_out() {
    let node = TestNode::new(cluster());
    node.data.append.set(None);
    let response = answer(&node, request("orders", &[(0, Some(plain()))], -1), 9);
    assert_eq!(first(&response).error_code, ErrorCode::RequestTimedOut.code());
    for acks in [0, 1] {
        let waiting = run(async {
            let started = start(&node.services, request("orders", &[(0, Some(plain()))], acks), 9, None).await;
            tokio::time::timeout(Duration::from_secs(3_600), started).await.is_err()
        });
        assert!(waiting, "acks={acks}");
    }
}

#[test]
fn without_acks_only_a_failure_is_told() {
    let node = TestNode::new(cluster());
    let produce = |topic: &str| {
        let request = request(topic, &[(0, Some(plain()))], 0);
        run(async { start(&node.services, request, 9, None).await.await })
    };
    assert!(matches!(produce("orders"), Produced::Silent));
    assert!(matches!(
        produce("none"),
        Produced::Close(ErrorCode::UnknownTopicOrPartition)
    ));
}

/// Batches that are much work: many records, or little that becomes much.
fn heavy() -> Vec<Bytes> {
    let mut many = BatchBuilder::new(Compression::None);
    (0..=limits::BATCH_RECORDS_ON_SHARD).for_each(|_| many.push(RealHost::new().wall_ms(), Some(b"k"), None, &[]));
    let mut bomb = BatchBuilder::new(Compression::Zstd);
    bomb.push(RealHost::new().wall_ms(), Some(b"k"), Some(&vec![0; 16 << 20]), &[]);
    vec![many.build(), bomb.build()]
}

#[test]
fn much_work_leaves_the_shard_to_others() {
    for batch in heavy() {
        let node = TestNode::new(cluster());
        let produce = |records| start(&node.services, request("orders", &[(0, Some(records))], -1), 9, None);
        run(async {
            let mut large = std::pin::pin!(produce(batch.clone()));
            assert!(futures::poll!(&mut large).is_pending(), "the shard did it all");
            let mut small = std::pin::pin!(produce(plain()));
            assert!(futures::poll!(&mut small).is_ready(), "a small one waits");
            large.await.await;
        });
        let appended: Vec<usize> = node
            .data
            .appended
            .borrow()
            .iter()
            .map(|(_, batch, ..)| batch.len())
            .collect();
        assert_eq!(appended, [plain().len(), batch.len()]);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Jobs wait until it is opened.
struct Held(Mutex<Option<Vec<Job>>>);

impl Held {
    fn open(&self) {
        let held = self.0.lock().unwrap().take();
        held.into_iter().flatten().for_each(|job| job());
    }
}

impl Pool for Held {
    fn submit(&self, job: Job) {
        let mut held = self.0.lock().unwrap();
        match &mut *held {
            Some(held) => held.push(job),
            None => {
                drop(held);
                job();
            }
        }
    }
}

/// ◆ Bombs go where they are taken one at a time, and what is much work for honest reasons waits for none of them.
#[test]
fn a_large_batch_does_not_wait_behind_bombs() {
    let [large, _]: [Bytes; 2] = heavy().try_into().unwrap();
    let mut bomb = BatchBuilder::new(Compression::Zstd);
    let value = vec![0; 4 * limits::DECOMPRESSED_BYTES_ON_POOL];
    bomb.push(RealHost::new().wall_ms(), Some(b"k"), Some(&value), &[]);
    let bomb = bomb.build();
    let node = TestNode::new(cluster());
    let produce = |records: &Bytes| {
        let request = request("orders", &[(0, Some(records.clone()))], -1);
        async { start(&node.services, request, 9, None).await.await }
    };
    let bombs_wait = Arc::new(Held(Mutex::new(Some(Vec::new()))));
    assert!(node.services.outsized_pool.set(bombs_wait.clone()).is_ok());
    let too_late = bombs_wait.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(60));
        too_late.open();
    });
    run(async {
        let bombs = futures::future::join_all((0..=limits::BATCH_POOL_THREADS).map(|_| produce(&bomb)));
        let large = std::pin::pin!(produce(&large));
        let futures::future::Either::Right((_, bombs)) = futures::future::select(bombs, large).await else {
            panic!("the large batch waits for bombs, or they go elsewhere");
        };
        bombs_wait.open();
        bombs.await;
    });
    let appended: Vec<usize> = node
        .data
        .appended
        .borrow()
        .iter()
        .map(|(_, batch, ..)| batch.len())
        .collect();
    assert_eq!(appended[0], large.len());
    assert_eq!(appended[1..], vec![bomb.len(); limits::BATCH_POOL_THREADS + 1]);
}

#[test]
fn what_is_checked_elsewhere_is_refused_for_the_same_reasons() {
    let [many, bomb]: [Bytes; 2] = heavy().try_into().unwrap();
    let spoilt = |batch: &Bytes| {
        let mut bytes = batch.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        Bytes::from(bytes)
    };
    for (batch, config, expected) in [
        (many.clone(), ("max.message.bytes", "1000"), ErrorCode::MessageTooLarge),
        (spoilt(&many), ("retention.ms", "1"), ErrorCode::CorruptMessage),
        (bomb, ("compression.type", "gzip"), ErrorCode::None),
        (many.clone(), ("segment.bytes", "70000"), ErrorCode::RecordListTooLarge),
        (
            many,
            ("message.timestamp.before.max.ms", "0"),
            ErrorCode::InvalidTimestamp,
        ),
    ] {
        let node = TestNode::new(image(config.0, config.1));
        // The clock goes on while it is sent.
        std::thread::sleep(Duration::from_millis(2));
        let response = answer(&node, request("orders", &[(0, Some(batch))], -1), 9);
        assert_eq!(first(&response).error_code, expected.code(), "{config:?}");
    }
}

/// ◆ Re-encoding holds no more than what it makes, however much is decompressed on the way.
#[test]
fn re_encoding_takes_bounded_memory() {
    let [_, bomb]: [Bytes; 2] = heavy().try_into().unwrap();
    let image = image("compression.type", "gzip");
    let topic = image.topic("orders").unwrap();
    let properties = BTreeMap::new();
    let local = Local {
        node: NodeId(1),
        properties: &properties,
    };
    let asked = TopicRules::of(&image, local, topic);
    let work = BatchWork {
        rules: asked.at(RealHost::new().wall_ms()),
        codec: asked.codec,
        segment_bytes: 1 << 30,
        records: bomb,
        version: 9,
    };
    let mut allowance = Allowance::REQUEST;
    let used = allocation_counter::measure(|| {
        work.run(&mut allowance).unwrap();
    });
    assert!(used.bytes_max < 1 << 20, "{} bytes for 16 MiB", used.bytes_max);
}

/// Every codec by its name, at the level that the topic says.
#[test]
fn codecs_and_levels_of_the_topic() {
    let sent = batch(Compression::None, true, 200);
    let stored = |configs: &[(&str, &str)]| {
        let mut image = image("retention.ms", "1");
        let orders = std::sync::Arc::make_mut(image.topics.get_mut(&topic_id(1)).unwrap());
        orders.configs.extend(
            configs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let node = TestNode::new(image);
        let response = answer(&node, request("orders", &[(0, Some(sent.clone()))], -1), 9);
        assert_eq!(first(&response).error_code, 0);
        node.data.appended.borrow()[0].1.clone()
    };
    for (name, codec) in [
        ("producer", Compression::None),
        ("uncompressed", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        let batch = stored(&[("compression.type", name)]);
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.compression(), Ok(codec), "{name}");
        // The default level too compresses.
        assert!(
            codec == Compression::None || batch.len() < sent.len() / 3,
            "{name}: {}",
            batch.len()
        );
    }
    let gzip = |level| stored(&[("compression.type", "gzip"), ("compression.gzip.level", level)]);
    assert!(gzip("1").len() > gzip("9").len(), "the level counts");
    assert_eq!(gzip("-1"), gzip("6"));
}
