use crate::Services;
use crate::control::NewTopic;
use std::rc::Rc;
use std::time::Duration;
use types::ErrorCode;

/// Topics whose automatic creation is under way at most, per shard.
const CREATING_MAX: usize = 1_000;
/// After so long it is given up, until the topic is named again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Creates a topic that somebody named, once, however many ask for it meanwhile.
pub(crate) fn create_in_background(services: &Rc<Services>, topic: NewTopic) {
    let name = topic.name.clone();
    let mut creating = services.creating.borrow_mut();
    if creating.len() >= CREATING_MAX || !creating.insert(name.clone()) {
        return;
    }
    drop(creating);
    let created = services.control.create_topics(vec![topic], false, TIMEOUT);
    let services = Rc::clone(services);
    tokio::task::spawn_local(async move {
        match created.await.map(|mut topics| topics.pop()) {
            Ok(Some(topic)) if topic.error.is_none() || topic.error == ErrorCode::TopicAlreadyExists => {}
            Ok(topic) => tracing::warn!(topic = name, error = ?topic, "automatic creation was refused"),
            Err(error) => tracing::warn!(topic = name, %error, "automatic creation failed"),
        }
        services.creating.borrow_mut().remove(&name);
    });
}
