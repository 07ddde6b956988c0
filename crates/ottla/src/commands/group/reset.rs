//! `ottla group reset`.

use super::offsets::offsets;
use super::topic_partitions::{self, TopicPartitions};
use crate::client::{Cluster, EARLIEST, Group, LATEST, Place};
use crate::commands::Format;
use crate::commands::table::table;
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

/// Where to; one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Target {
    /// The oldest record
    #[arg(long)]
    to_earliest: bool,
    /// What comes from now on
    #[arg(long)]
    to_latest: bool,
    /// This offset, or the nearest that there is
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// The first record of this time or a later one: milliseconds since 1970, or 2024-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    to_time: Option<String>,
    /// So many records further, or back
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    shift_by: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    Offset(i64),
    /// Milliseconds since 1970.
    Time(i64),
    Shift(i64),
}

impl Target {
    pub(super) fn start(&self) -> anyhow::Result<Start> {
        Ok(match self {
            Self { to_earliest: true, .. } => Start::Earliest,
            Self { to_latest: true, .. } => Start::Latest,
            Self {
                to_offset: Some(offset),
                ..
            } => Start::Offset(*offset),
            Self { shift_by: Some(by), .. } => Start::Shift(*by),
            Self {
                to_time: Some(time), ..
            } => Start::Time(millis(time)?),
            _ => bail!("say where to: --to-earliest, --to-latest, --to-offset, --to-time or --shift-by"),
        })
    }
}

fn millis(time: &str) -> anyhow::Result<i64> {
    if let Ok(millis) = time.parse::<i64>() {
        return Ok(millis);
    }
    let since = humantime::parse_rfc3339_weak(time).map(|at| at.duration_since(UNIX_EPOCH));
    match since {
        Ok(Ok(since)) => Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        _ => bail!("--to-time {time}: wants milliseconds since 1970, or a time of UTC like 2024-01-31T12:00:00Z"),
    }
}

/// What there is to decide with, of one partition.
#[derive(Debug, Clone, Copy)]
struct Known {
    committed: Option<i64>,
    earliest: i64,
    latest: i64,
    /// −1: no record is so young.
    of_time: i64,
}

impl Known {
    /// The new offset, which is always one that there is; `None` where there is nothing to shift.
    fn moved(self, start: Start) -> Option<i64> {
        let to = match start {
            Start::Earliest => self.earliest,
            Start::Latest => self.latest,
            Start::Offset(offset) => offset,
            Start::Time(_) if self.of_time < 0 => self.latest,
            Start::Time(_) => self.of_time,
            Start::Shift(by) => self.committed?.saturating_add(by),
        };
        Some(to.max(self.earliest).min(self.latest))
    }
}

/// Topic, partition, committed offset, new offset.
type Plan = Vec<(Place, Option<i64>, i64)>;

pub(super) async fn reset(
    cluster: &mut Cluster,
    format: Format,
    mut group: Group,
    start: Start,
    topics: &[TopicPartitions],
    yes: bool,
) -> anyhow::Result<()> {
    refuse_members(cluster, &mut group).await?;
    let plan = plan(cluster, &mut group, start, topics).await?;
    let moved: BTreeMap<Place, i64> = plan.iter().map(|(place, _, to)| (place.clone(), *to)).collect();
    if yes {
        group.commit(cluster, &moved).await?;
    }
    match format {
        Format::Text => print!("{}", as_text(group.id(), &plan, yes)),
        Format::Json => {
            let one = |((topic, partition), from, to): &(Place, Option<i64>, i64)| json!({"topic": topic, "partition": partition, "from": from, "to": to});
            let partitions: Vec<_> = plan.iter().map(one).collect();
            let answer = json!({"group": group.id(), "done": yes, "partitions": partitions});
            println!("{}", serde_json::to_string_pretty(&answer)?);
        }
    }
    Ok(())
}

/// Members read on from where they are and would commit over what is set now. A group that is not there yet is created.
async fn refuse_members(cluster: &mut Cluster, group: &mut Group) -> anyhow::Result<()> {
    let members = match group.describe(cluster).await {
        Ok(description) => description.members.len(),
        Err(error) if error.is(types::ErrorCode::GroupIdNotFound) => 0,
        Err(error) => return Err(error.into()),
    };
    if members > 0 {
        bail!(
            "group {id} has {members} members, which would go on from where they are: stop them first (`ottla group \
             describe {id} --members` says which they are)",
            id = group.id()
        );
    }
    Ok(())
}

async fn plan(
    cluster: &mut Cluster,
    group: &mut Group,
    start: Start,
    topics: &[TopicPartitions],
) -> anyhow::Result<Plan> {
    let committed = group.committed(cluster).await?;
    let places: Vec<Place> = if topics.is_empty() {
        committed.keys().cloned().collect()
    } else {
        topic_partitions::places(cluster, topics).await?
    };
    if places.is_empty() {
        bail!(
            "group {} has committed nothing: say with --topic where it is to start",
            group.id()
        );
    }
    let earliest = offsets(cluster, places.iter(), EARLIEST).await?;
    let latest = offsets(cluster, places.iter(), LATEST).await?;
    let of_time = match start {
        Start::Time(millis) => offsets(cluster, places.iter(), millis).await?,
        _ => BTreeMap::new(),
    };
    let mut plan = Plan::new();
    for place in places {
        // A topic that is gone has no offsets to go to.
        let (Some(earliest), Some(latest)) = (earliest.get(&place), latest.get(&place)) else {
            continue;
        };
        let known = Known {
            committed: committed.get(&place).copied(),
            earliest: *earliest,
            latest: *latest,
            of_time: of_time.get(&place).copied().unwrap_or(-1),
        };
        match known.moved(start) {
            Some(to) => plan.push((place, known.committed, to)),
            None => bail!(
                "--shift-by: group {} has committed nothing in {} partition {}",
                group.id(),
                place.0,
                place.1
            ),
        }
    }
    Ok(plan)
}

fn as_text(id: &str, plan: &Plan, yes: bool) -> String {
    let row = |((topic, partition), from, to): &(Place, Option<i64>, i64)| {
        let from = from.map_or("-".to_owned(), |offset| offset.to_string());
        vec![topic.clone(), partition.to_string(), from, to.to_string()]
    };
    let rows: Vec<Vec<String>> = plan.iter().map(row).collect();
    let done = if yes {
        format!("the offsets of group {id} are moved\n")
    } else {
        "nothing is changed yet: --yes does it\n".to_owned()
    };
    table(&["TOPIC", "PARTITION", "FROM", "TO"], &rows) + &done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_offsets_go() {
        let known = |committed, of_time| Known {
            committed,
            earliest: 10,
            latest: 20,
            of_time,
        };
        let table = [
            (Start::Earliest, Some(15), -1, Some(10)),
            (Start::Latest, None, -1, Some(20)),
            (Start::Offset(12), None, -1, Some(12)),
            (Start::Offset(3), None, -1, Some(10)),
            (Start::Offset(99), None, -1, Some(20)),
            (Start::Shift(-2), Some(15), -1, Some(13)),
            (Start::Shift(-9), Some(15), -1, Some(10)),
            (Start::Shift(i64::MAX), Some(15), -1, Some(20)),
            (Start::Shift(1), None, -1, None),
            (Start::Time(5), Some(15), 17, Some(17)),
            (Start::Time(5), None, -1, Some(20)),
        ];
        for (start, committed, of_time, expected) in table {
            assert_eq!(
                known(committed, of_time).moved(start),
                expected,
                "{start:?} from {committed:?}"
            );
        }
    }

    #[test]
    fn times() {
        assert_eq!(millis("1700000000000").unwrap(), 1_700_000_000_000);
        assert_eq!(millis("1970-01-01T00:00:01Z").unwrap(), 1_000);
        assert_eq!(millis("1970-01-01 00:01:00").unwrap(), 60_000);
        assert!(
            millis("yesterday")
                .unwrap_err()
                .to_string()
                .starts_with("--to-time yesterday: wants")
        );
    }

    #[test]
    fn the_plan_is_shown_and_whether_it_was_done() {
        let plan = vec![
            (("orders".to_owned(), 0), Some(7), 0),
            (("orders".to_owned(), 11), None, 3),
        ];
        let rows = "TOPIC   PARTITION  FROM  TO\norders  0          7     0\norders  11         -     3\n";
        assert_eq!(
            as_text("billing", &plan, false),
            format!("{rows}nothing is changed yet: --yes does it\n")
        );
        assert_eq!(
            as_text("billing", &plan, true),
            format!("{rows}the offsets of group billing are moved\n")
        );
    }
}
