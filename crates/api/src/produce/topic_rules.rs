use metadata::topic_config::{Local, on_broker};
use metadata::{Image, TopicImage};
use records::{BatchRules, Compression};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::TopicId;

/// What a topic asks of the batches that are written to it, out of its configs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicRules {
    /// `now_ms` is of no meaning.
    rules: BatchRules,
    /// Codec and level of the topic; `None`: the producer's own.
    pub(crate) codec: Option<(Compression, Option<i32>)>,
    pub(crate) segment_bytes: usize,
}

impl TopicRules {
    pub(crate) fn of(image: &Image, local: Local<'_>, topic: &TopicImage) -> Self {
        let value = |name: &str| on_broker(image, local, topic, name);
        let number = |name: &str, default: i64| value(name).trim().parse().unwrap_or(default);
        let max = number("max.message.bytes", 1_048_588);
        Self {
            rules: BatchRules {
                max_message_bytes: usize::try_from(max).unwrap_or(0),
                compacted: value("cleanup.policy").split(',').any(|p| p.trim() == "compact"),
                timestamp_before_max_ms: number("message.timestamp.before.max.ms", i64::MAX),
                timestamp_after_max_ms: number("message.timestamp.after.max.ms", 3_600_000),
                log_append_time: value("message.timestamp.type") == "LogAppendTime",
                now_ms: 0,
            },
            codec: codec(&value("compression.type"), |name| value(name).trim().parse().ok()),
            segment_bytes: value("segment.bytes").trim().parse().unwrap_or(usize::MAX),
        }
    }

    /// For a batch that comes now.
    pub(crate) fn at(&self, now_ms: i64) -> BatchRules {
        BatchRules { now_ms, ..self.rules }
    }
}

fn codec(name: &str, level: impl Fn(&str) -> Option<i32>) -> Option<(Compression, Option<i32>)> {
    Some(match name.trim() {
        "uncompressed" => (Compression::None, None),
        "gzip" => (Compression::Gzip, level("compression.gzip.level")),
        "snappy" => (Compression::Snappy, None),
        "lz4" => (Compression::Lz4, level("compression.lz4.level")),
        "zstd" => (Compression::Zstd, level("compression.zstd.level")),
        _ => return None,
    })
}

/// The rules of the topics that were written to since the image changed: reading them out of text is a seventh of what a small
/// batch costs.
#[derive(Debug, Default)]
pub(crate) struct KnownRules {
    image: Option<Arc<Image>>,
    topics: BTreeMap<TopicId, TopicRules>,
}

impl KnownRules {
    pub(crate) fn of(&mut self, image: &Arc<Image>, local: Local<'_>, topic: &TopicImage) -> TopicRules {
        if !self.image.as_ref().is_some_and(|known| Arc::ptr_eq(known, image)) {
            self.topics.clear();
            self.image = Some(Arc::clone(image));
        }
        *self
            .topics
            .entry(topic.id)
            .or_insert_with(|| TopicRules::of(image, local, topic))
    }
}
