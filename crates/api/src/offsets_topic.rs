//! `__consumer_offsets`: where groups live, and how it comes to be.

use crate::Services;
use crate::automatic_creation::create_in_background;
use crate::control::NewTopic;
use crate::topic_name::CONSUMER_OFFSETS;
use metadata::Image;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use types::limits;

/// The newest image. If the topic is missing in it, it is created, and waited for a little: clients that are told to ask
/// again do so after half a second and more.
pub(crate) async fn image_with_topic(services: &Rc<Services>) -> Arc<Image> {
    let deadline = Instant::now() + limits::COORDINATOR_WAIT;
    let image = services.image();
    if image.topic(CONSUMER_OFFSETS).is_some() {
        return image;
    }
    create_in_background(services, new_topic(services, &image));
    loop {
        let changed = services.control.image_changed();
        let image = services.image();
        if image.topic(CONSUMER_OFFSETS).is_some() || timeout_at(deadline, changed).await.is_err() {
            return image;
        }
    }
}

/// As Kafka's `GroupCoordinator.groupMetadataTopicConfigs` says; with fewer brokers than `offsets.topic.replication.factor`
/// it has a replica on each.
fn new_topic(services: &Services, image: &Image) -> NewTopic {
    let settings = &services.settings;
    let brokers = i16::try_from(image.brokers.len()).unwrap_or(i16::MAX).max(1);
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", settings.offsets_topic_segment_bytes.to_string()),
    ];
    NewTopic {
        name: CONSUMER_OFFSETS.to_owned(),
        partitions: settings.offsets_topic_num_partitions,
        replication_factor: settings.offsets_topic_replication_factor.min(brokers),
        assignments: Vec::new(),
        configs: BTreeMap::from(configs.map(|(name, value)| (name.to_owned(), Some(value)))),
    }
}
