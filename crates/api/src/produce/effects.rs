//! Every topic config that the produce path reads changes what becomes of a batch, whoever sets it.

use super::*;
use crate::test_image::{cluster, topic_id};
use crate::test_node::{TestNode, run};
use crate::{ApiSettings, MemoryBudget};
use host::{Host, RealHost};
use metadata::topic_config::{Effect, TABLE, find};
use records::{BatchBuilder, Compression};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::messages::produce_request::PartitionProduceData;

const HOUR: i64 = 3_600_000;

/// One record of this age, without a key, with a value that compresses.
fn batch(age_ms: i64) -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None);
    let words: Vec<u8> = (0..20_000u32)
        .flat_map(|n| (n * n % 977).to_string().into_bytes())
        .collect();
    batch.push(RealHost::new().wall_ms() - age_ms, None, Some(&words), &[]);
    batch.build()
}

/// Who sets a default of topics.
#[derive(Debug, Clone, Copy)]
enum By {
    Topic,
    AllBrokers,
    Broker,
    Properties,
}

/// What becomes of the batch: the error, or the bytes that are appended.
fn outcome(configs: &[(&str, &str)], by: By, batch: &Bytes) -> (i16, Vec<u8>) {
    let mut image = cluster();
    let mut settings = ApiSettings::default();
    for (name, value) in configs {
        let synonym = find(name).unwrap().synonym.unwrap();
        let (set, name) = match by {
            By::Topic => {
                let orders = image.topics.get_mut(&topic_id(1)).unwrap();
                (&mut Arc::make_mut(orders).configs, *name)
            }
            By::AllBrokers => (image.broker_configs.entry(None).or_default(), synonym),
            By::Broker => (image.broker_configs.entry(Some(NodeId(1))).or_default(), synonym),
            By::Properties => (&mut settings.given, synonym),
        };
        set.insert(name.to_owned(), (*value).to_owned());
    }
    let node = TestNode::with(image, settings, MemoryBudget::default());
    let partition = PartitionProduceData::default().with_records(Some(batch.clone()));
    let topic = TopicProduceData::default()
        .with_name(StrBytes::from_static_str("orders").into())
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let produced = run(async { start(&node.services, request, 9, None).await.await });
    let Produced::Answer(response) = produced else {
        panic!("{produced:?}")
    };
    let appended = node.data.appended.borrow().first().map(|(_, bytes, ..)| bytes.to_vec());
    let code = response.responses[0].partition_responses[0].error_code;
    (code, appended.unwrap_or_default())
}

#[test]
fn every_config_of_the_produce_path_has_its_effect() {
    /// The config, a value of it, what is set besides in both cases, the age of the record.
    type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], i64);
    const CASES: [Case; 9] = [
        ("cleanup.policy", "compact", &[], 0),
        ("compression.type", "gzip", &[], 0),
        ("compression.gzip.level", "1", &[("compression.type", "gzip")], 0),
        ("compression.lz4.level", "1", &[("compression.type", "lz4")], 0),
        ("compression.zstd.level", "19", &[("compression.type", "zstd")], 0),
        ("max.message.bytes", "100", &[], 0),
        ("message.timestamp.before.max.ms", "1000", &[], HOUR),
        ("message.timestamp.after.max.ms", "1000", &[], -HOUR / 2),
        (
            "message.timestamp.type",
            "LogAppendTime",
            &[("message.timestamp.before.max.ms", "1000")],
            HOUR,
        ),
    ];
    let mut tested = BTreeSet::new();
    for (name, value, besides, age_ms) in CASES {
        let batch = batch(age_ms);
        for by in [By::Topic, By::AllBrokers, By::Broker, By::Properties] {
            let with = [besides, &[(name, value)]].concat();
            let (before, after) = (outcome(besides, by, &batch), outcome(&with, by, &batch));
            assert!(before != after, "{name}={value} by {by:?}: {}", after.0);
        }
        tested.insert(name);
    }
    let read = TABLE
        .iter()
        .filter(|known| known.effect == Effect::Produce)
        .map(|known| known.name);
    let untested: Vec<&str> = read.filter(|name| !tested.contains(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}
