//! `ottla topic describe`.

use super::configs::{Config, configs};
use crate::client::{Cluster, Partition, Topic};
use crate::commands::Format;
use crate::commands::table::{list, table};
use serde_json::{Map, Value, json};

pub async fn describe(cluster: &mut Cluster, format: Format, name: Option<String>) -> anyhow::Result<()> {
    let topics = match name {
        Some(name) => vec![cluster.topic(&name, false).await?],
        None => cluster.topics(None, false).await?,
    };
    let mut output = Vec::new();
    for topic in &topics {
        let mut configs = configs(cluster, &topic.name).await?;
        configs.retain(|config| !config.is_default());
        match format {
            Format::Text => print!("{}", as_text(topic, &configs)),
            Format::Json => output.push(as_json(topic, &configs)),
        }
    }
    if format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&output)?);
    }
    Ok(())
}

fn as_text(topic: &Topic, configs: &[Config]) -> String {
    let mut text = format!(
        "{}  id {}  {} partitions\n",
        topic.name,
        topic.id,
        topic.partitions.len()
    );
    let partitions: Vec<Vec<String>> = topic.partitions.iter().map(row).collect();
    text += &table(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", ""], &partitions);
    if !configs.is_empty() {
        let row = |config: &Config| vec![config.name.clone(), config.value.clone(), config.source().to_owned()];
        let configs: Vec<Vec<String>> = configs.iter().map(row).collect();
        text += &table(&["CONFIG", "VALUE", "SET FOR"], &configs);
    }
    text
}

fn row(p: &Partition) -> Vec<String> {
    let state = match (p.leader < 0, p.isr.len() < p.replicas.len()) {
        (true, _) => "offline",
        (false, true) => "under-replicated",
        (false, false) => "",
    };
    vec![
        p.index.to_string(),
        if p.leader < 0 {
            "none".into()
        } else {
            p.leader.to_string()
        },
        p.leader_epoch.to_string(),
        list(&p.replicas),
        list(&p.isr),
        state.to_owned(),
    ]
}

fn as_json(topic: &Topic, configs: &[Config]) -> Value {
    let config = |config: &Config| {
        let value = json!({"value": config.value, "source": config.source()});
        (config.name.clone(), value)
    };
    json!({
        "name": topic.name, "id": topic.id.to_string(), "internal": topic.internal,
        "configs": configs.iter().map(config).collect::<Map<_, _>>(),
        "partitions": topic.partitions.iter().map(|p| json!({
            "partition": p.index, "leader": p.leader, "leader_epoch": p.leader_epoch, "replicas": p.replicas,
            "isr": p.isr, "offline": p.offline})).collect::<Vec<_>>(),
    })
}
