use super::control_client::ControlClient;
use super::{Common, Format};
use anyhow::{Context, bail};
use clap::Args;
use controller::{Diagnosis, Finding};
use raft::pb::PartitionName;
use raft::pb::diagnose_request::Subject;
use serde_json::{Value, json};
use std::process::ExitCode;
use types::NodeId;

#[derive(Debug, Args)]
#[command(after_help = "Example: ottla why orders/3\n\
    Example: ottla why node 2 --format json")]
pub struct Why {
    /// A partition, TOPIC/PARTITION, or the word node
    subject: String,
    /// After the word node: its node.id
    node: Option<i32>,
    #[command(flatten)]
    common: Common,
}

impl Why {
    pub async fn run(self) -> anyhow::Result<()> {
        let subject = self.subject()?;
        let mut client = ControlClient::new(&self.common)?;
        let mut diagnosis = client.diagnose(subject.clone()).await?;
        if !diagnosis.found {
            bail!(diagnosis.sentence);
        }
        if let Subject::Node(node) = subject {
            let own = own_words(&mut client, NodeId(node), &diagnosis).await;
            diagnosis.findings.extend(own);
        }
        let about = match &subject {
            Subject::Partition(name) => json!({ "partition": format!("{}/{}", name.topic, name.partition) }),
            Subject::Node(node) | Subject::Roll(node) => json!({ "node": node }),
        };
        print(&diagnosis, self.common.format, about, "well", "findings")
    }

    fn subject(&self) -> anyhow::Result<Subject> {
        if let Some(node) = self.node {
            if self.subject != "node" {
                bail!(
                    "{} {node}: wants TOPIC/PARTITION, or node and its node.id",
                    self.subject
                );
            }
            return Ok(Subject::Node(node));
        }
        let wrong = || {
            format!(
                "{}: wants TOPIC/PARTITION like orders/3, or node and its node.id like node 2",
                self.subject
            )
        };
        // A topic's name has no slash, and may end in a hyphen and a number.
        let (topic, partition) = self
            .subject
            .rsplit_once('/')
            .or_else(|| self.subject.rsplit_once('-'))
            .with_context(wrong)?;
        Ok(Subject::Partition(PartitionName {
            topic: topic.to_owned(),
            partition: partition.parse().with_context(wrong)?,
        }))
    }
}

/// Whether the node may be stopped now; anything but a clear yes is a failure.
pub async fn roll_check(client: &mut ControlClient, format: Format, node: i32) -> anyhow::Result<ExitCode> {
    let answer = client.diagnose(Subject::Roll(node)).await?;
    if !answer.found {
        bail!(answer.sentence);
    }
    print(&answer, format, json!({ "node": node }), "safe", "blockers")?;
    Ok(if answer.well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the node answers when it is asked itself, beside what the controller says of it.
async fn own_words(client: &mut ControlClient, node: NodeId, asked: &Diagnosis) -> Option<Finding> {
    if asked.answered_by == node {
        return None;
    }
    let status = client.status().await.ok()?;
    let at = status.nodes.iter().find(|other| other.node_id == node)?.control.clone();
    let text = match client.status_of(&at).await {
        Err(error) => format!("asked by this command, it does not answer: {error:#}"),
        Ok(own) if own.answered_by != node => {
            format!(
                "asked by this command, node {} answers at {at} in its place",
                own.answered_by
            )
        }
        Ok(own) => {
            let controller = own.leader.map_or_else(
                || "knows no controller".to_owned(),
                |leader| format!("takes node {leader} for the controller"),
            );
            format!(
                "asked by this command at {at}, it answers, {controller}, and is at metadata index {} of {}",
                own.metadata_index, status.metadata_index
            )
        }
    };
    Some(Finding {
        kind: "answers".to_owned(),
        text,
    })
}

fn print(diagnosis: &Diagnosis, format: Format, about: Value, well: &str, findings: &str) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let answer = to_json(diagnosis, about, well, findings);
            println!("{}", serde_json::to_string_pretty(&answer)?);
        }
        Format::Text => print!("{}", to_text(diagnosis)),
    }
    Ok(())
}

fn to_text(diagnosis: &Diagnosis) -> String {
    // A topic's name keeps its letters.
    let mut text = match diagnosis.sentence.strip_prefix("node ") {
        Some(rest) => format!("Node {rest}\n"),
        None => format!("{}\n", diagnosis.sentence),
    };
    if !diagnosis.findings.is_empty() {
        text += "\nEvidence\n";
        for finding in &diagnosis.findings {
            text += &format!("  {}\n", finding.text);
        }
    }
    if !diagnosis.to_do.is_empty() {
        text += "\nTo do\n";
        for (number, line) in (1..).zip(&diagnosis.to_do) {
            text += &format!("  {number}. {line}\n");
        }
    }
    let role = if diagnosis.controller {
        "the controller"
    } else {
        "which is not the controller and may know less, and older things"
    };
    text + &format!("\nAsked: node {}, {role}.\n", diagnosis.answered_by)
}

fn to_json(diagnosis: &Diagnosis, about: Value, well: &str, findings: &str) -> Value {
    let mut answer = json!({
        well: diagnosis.well,
        "summary": diagnosis.sentence,
        findings: diagnosis.findings.iter().map(|finding| json!({"kind": finding.kind, "text": finding.text})).collect::<Vec<_>>(),
        "to_do": diagnosis.to_do,
        "answered_by": diagnosis.answered_by.0,
        "from_controller": diagnosis.controller,
    });
    if let (Value::Object(answer), Value::Object(about)) = (&mut answer, about) {
        answer.extend(about);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        why: Why,
    }

    fn subject(words: &[&str]) -> anyhow::Result<Subject> {
        Line::try_parse_from(["why"].iter().chain(words))?.why.subject()
    }

    #[test]
    fn partitions_and_nodes_are_told_apart() {
        let partition = |topic: &str, partition| {
            Subject::Partition(PartitionName {
                topic: topic.to_owned(),
                partition,
            })
        };
        for (words, expected) in [
            (&["orders/3"][..], Some(partition("orders", 3))),
            (&["orders-3"], Some(partition("orders", 3))),
            (&["orders-3/0"], Some(partition("orders-3", 0))),
            (&["node/2"], Some(partition("node", 2))),
            (&["node", "2"], Some(Subject::Node(2))),
            (&["orders"], None),
            (&["orders/x"], None),
            (&["orders", "3"], None),
            (&["node"], None),
        ] {
            assert_eq!(subject(words).ok(), expected, "{words:?}");
        }
    }

    #[test]
    fn an_answer_is_a_sentence_evidence_and_what_to_do() {
        let diagnosis = Diagnosis {
            found: true,
            well: false,
            sentence: "node 2 is fenced.".to_owned(),
            findings: vec![Finding {
                kind: "node".to_owned(),
                text: "it has 2 replicas".to_owned(),
            }],
            to_do: vec!["start it".to_owned(), "or wait".to_owned()],
            answered_by: NodeId(1),
            controller: true,
        };
        let text = "Node 2 is fenced.\n\nEvidence\n  it has 2 replicas\n\nTo do\n  1. start it\n  2. or wait\n\n\
                    Asked: node 1, the controller.\n";
        assert_eq!(to_text(&diagnosis), text);
        let value = to_json(&diagnosis, json!({"node": 2}), "safe", "blockers");
        assert_eq!(
            value,
            json!({
                "node": 2, "safe": false, "summary": "node 2 is fenced.", "to_do": ["start it", "or wait"],
                "blockers": [{"kind": "node", "text": "it has 2 replicas"}], "answered_by": 1, "from_controller": true,
            })
        );
    }
}
