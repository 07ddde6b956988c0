//! `ottla group describe`.

use super::offsets::offsets;
use crate::client::{Cluster, Description, Group, LATEST, Member, Place};
use crate::commands::Format;
use crate::commands::table::{list, table};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One partition that the group has committed, or that a member reads.
#[derive(Debug)]
struct Line<'a> {
    place: Place,
    committed: Option<i64>,
    /// `None`: the partition does not exist any more.
    end: Option<i64>,
    member: Option<&'a Member>,
}

impl Line<'_> {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

pub(super) async fn describe(
    cluster: &mut Cluster,
    format: Format,
    mut group: Group,
    members: bool,
    state: bool,
) -> anyhow::Result<()> {
    let description = group.describe(cluster).await?;
    let committed = group.committed(cluster).await?;
    let readers = readers(&description);
    let places: BTreeSet<&Place> = committed.keys().chain(readers.keys()).collect();
    let ends = offsets(cluster, places.iter().copied(), LATEST).await?;
    let line = |place: &&Place| Line {
        place: (*place).clone(),
        committed: committed.get(*place).copied(),
        end: ends.get(*place).copied(),
        member: readers.get(*place).copied(),
    };
    let lines: Vec<Line<'_>> = places.iter().map(line).collect();
    match format {
        Format::Text => print!("{}", as_text(group.id(), &description, &lines, members, state)),
        Format::Json => println!(
            "{}",
            serde_json::to_string_pretty(&as_json(group.id(), &description, &lines))?
        ),
    }
    Ok(())
}

/// Who reads which partition.
fn readers(description: &Description) -> BTreeMap<Place, &Member> {
    let mut readers = BTreeMap::new();
    for member in &description.members {
        for (topic, partitions) in member.assignment.iter().flatten() {
            readers.extend(partitions.iter().map(|number| ((topic.clone(), *number), member)));
        }
    }
    readers
}

fn as_text(id: &str, group: &Description, lines: &[Line<'_>], members: bool, state: bool) -> String {
    let protocol = match (group.protocol_type.as_str(), group.protocol.as_str()) {
        ("", _) => "none".to_owned(),
        (kind, "") => kind.to_owned(),
        (kind, protocol) => format!("{kind}/{protocol}"),
    };
    let mut text = format!(
        "{id}  {}  protocol {protocol}  coordinator {}  {} members\n",
        group.state,
        group.coordinator,
        group.members.len()
    );
    if state {
        return text;
    }
    if members {
        let rows: Vec<Vec<String>> = group.members.iter().map(member_row).collect();
        return text + &table(&["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"], &rows);
    }
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    text += &table(
        &["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST"],
        &rows,
    );
    text
}

fn row(line: &Line<'_>) -> Vec<String> {
    let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
    let (topic, partition) = &line.place;
    vec![
        topic.clone(),
        partition.to_string(),
        number(line.committed),
        number(line.end),
        number(line.lag()),
        line.member.map_or("-".to_owned(), |member| member.id.clone()),
        line.member.map_or("-".to_owned(), |member| member.host.clone()),
    ]
}

fn member_row(member: &Member) -> Vec<String> {
    let topic = |(name, partitions): &(String, Vec<i32>)| format!("{name}:{}", list(partitions));
    let partitions = match &member.assignment {
        Some(topics) => topics.iter().map(topic).collect::<Vec<_>>().join(" "),
        None => "?".to_owned(),
    };
    vec![
        member.id.clone(),
        member.instance_id.clone().unwrap_or_else(|| "-".to_owned()),
        member.client_id.clone(),
        member.host.clone(),
        partitions,
    ]
}

fn as_json(id: &str, group: &Description, lines: &[Line<'_>]) -> Value {
    let topic = |(name, partitions): &(String, Vec<i32>)| json!({"topic": name, "partitions": partitions});
    let member = |member: &Member| {
        let assignment = member.assignment.as_ref();
        json!({"member_id": member.id, "instance_id": member.instance_id, "client_id": member.client_id,
               "host": member.host,
               "assignment": assignment.map(|topics| topics.iter().map(topic).collect::<Vec<_>>())})
    };
    let line = |line: &Line<'_>| {
        json!({"topic": line.place.0, "partition": line.place.1, "committed": line.committed, "end": line.end,
               "lag": line.lag(), "member_id": line.member.map(|member| &member.id)})
    };
    json!({"group": id, "state": group.state, "protocol_type": group.protocol_type, "protocol": group.protocol,
           "coordinator": group.coordinator,
           "members": group.members.iter().map(member).collect::<Vec<_>>(),
           "partitions": lines.iter().map(line).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let member = |id: &str, assignment| Member {
            id: id.to_owned(),
            instance_id: None,
            client_id: "app".to_owned(),
            host: "10.0.0.7".to_owned(),
            assignment,
        };
        let orders = vec![("orders".to_owned(), vec![0, 1])];
        Description {
            state: "Stable".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            coordinator: 2,
            members: vec![member("app-1", Some(orders)), member("app-2", None)],
        }
    }

    fn lines(group: &Description) -> Vec<Line<'_>> {
        let readers = readers(group);
        let line = |topic: &str, partition, committed, end| {
            let place = (topic.to_owned(), partition);
            Line {
                member: readers.get(&place).copied(),
                place,
                committed,
                end,
            }
        };
        vec![
            line("gone", 0, Some(3), None),
            line("orders", 0, Some(7), Some(10)),
            line("orders", 1, None, Some(5)),
        ]
    }

    #[test]
    fn partitions_and_who_reads_them() {
        let group = description();
        let expected = "billing  Stable  protocol consumer/range  coordinator 2  2 members\n\
            TOPIC   PARTITION  COMMITTED  END  LAG  MEMBER  HOST\n\
            gone    0          3          -    -    -       -\n\
            orders  0          7          10   3    app-1   10.0.0.7\n\
            orders  1          -          5    -    app-1   10.0.0.7\n";
        assert_eq!(as_text("billing", &group, &lines(&group), false, false), expected);
        let first = "billing  Stable  protocol consumer/range  coordinator 2  2 members\n";
        assert_eq!(as_text("billing", &group, &lines(&group), false, true), first);
        let json = as_json("billing", &group, &lines(&group));
        assert_eq!(json["partitions"][1]["lag"], 3);
        assert_eq!(json["partitions"][2]["lag"], Value::Null);
        assert_eq!(json["members"][0]["assignment"][0]["partitions"], json!([0, 1]));
    }

    #[test]
    fn members_and_what_they_read() {
        let group = description();
        let expected = "billing  Stable  protocol consumer/range  coordinator 2  2 members\n\
            MEMBER  INSTANCE  CLIENT  HOST      PARTITIONS\n\
            app-1   -         app     10.0.0.7  orders:0,1\n\
            app-2   -         app     10.0.0.7  ?\n";
        assert_eq!(as_text("billing", &group, &[], true, false), expected);
    }
}
