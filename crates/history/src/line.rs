use crate::event::{Body, Event, Outcome, Read};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::io::{self, Write};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("not a line of a history: {0}")]
    Json(String),
    #[error("a line \"o\":\"{operation}\", \"k\":\"{kind}\" needs \"{key}\"")]
    Missing {
        operation: &'static str,
        kind: &'static str,
        key: &'static str,
    },
    #[error("\"o\":\"{operation}\" has no line \"k\":\"{kind}\"")]
    Kind {
        operation: &'static str,
        kind: &'static str,
    },
    #[error("\"{key}\" is {value}, less than {least}")]
    Negative { key: &'static str, value: i64, least: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Send,
    Poll,
    Assign,
    Seek,
    Commit,
    Committed,
    Offsets,
    Leader,
    Final,
    Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
    Begin,
    End,
}

/// A line as it is written; `docs/history.md` says what each key means.
#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    o: Op,
    k: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    i: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t0: Option<u64>,
    t: u64,
    #[serde(borrow)]
    w: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    g: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    tp: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    tps: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    off: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ep: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<i32>,
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    generation: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r: Option<Vec<Read>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lo: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hw: Option<i64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    on: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    err: Option<Cow<'a, str>>,
}

/// `[offset, value]` or `[offset, value, leader epoch]`.
impl Serialize for Read {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(2 + usize::from(self.leader_epoch.is_some())))?;
        list.serialize_element(&self.offset)?;
        list.serialize_element(&self.value)?;
        if let Some(epoch) = self.leader_epoch {
            list.serialize_element(&epoch)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Read;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("[offset, value] or [offset, value, leader epoch]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Read, A::Error> {
                let missing = |at| de::Error::invalid_length(at, &"[offset, value]");
                let offset: i64 = list.next_element()?.ok_or_else(|| missing(0))?;
                if offset < 0 {
                    return Err(de::Error::custom("an offset is negative"));
                }
                Ok(Read {
                    offset,
                    value: list.next_element()?.ok_or_else(|| missing(1))?,
                    leader_epoch: list.next_element()?,
                })
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Writes an event as one line.
///
/// # Errors
/// The writer's.
pub fn write_event(to: &mut impl Write, event: &Event<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *to, &Line::from(event))?;
    to.write_all(b"\n")
}

/// The event that a line tells of.
pub(crate) fn parse(line: &str) -> Result<Event<'_>, LineError> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| LineError::Json(error.to_string()))?;
    line.event()
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Poll => "poll",
            Self::Assign => "assign",
            Self::Seek => "seek",
            Self::Commit => "commit",
            Self::Committed => "committed",
            Self::Offsets => "offsets",
            Self::Leader => "leader",
            Self::Final => "final",
            Self::Fault => "fault",
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
            Self::Begin => "begin",
            Self::End => "end",
        }
    }
}

impl From<Outcome> for Kind {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fail => Self::Fail,
            Outcome::Info => Self::Info,
        }
    }
}

impl<'a> Line<'a> {
    fn event(self) -> Result<Event<'a>, LineError> {
        let (operation, kind) = (self.o.name(), self.k.name());
        let missing = |key| LineError::Missing { operation, kind, key };
        let id = || self.i.ok_or(missing("i"));
        let offset = |key, value: Option<i64>| match value {
            Some(value) if value < 0 => Err(LineError::Negative { key, value, least: 0 }),
            value => Ok(value),
        };
        let outcome = if self.k == Kind::Fail {
            Outcome::Fail
        } else {
            Outcome::Info
        };
        let error = self.err.unwrap_or_default();
        let tp = self.tp;
        let partition = |tp: Option<Cow<'a, str>>| tp.ok_or(missing("tp"));
        let group = |g: Option<Cow<'a, str>>| g.ok_or(missing("g"));
        let body = match (self.o, self.k) {
            (Op::Send, Kind::Invoke) => Body::Send {
                operation: id()?,
                partition: tp,
                value: self.v.ok_or(missing("v"))?,
            },
            (Op::Send, Kind::Ok) => Body::Sent {
                operation: id()?,
                partition: tp,
                offset: offset("off", self.off)?,
                leader_epoch: self.ep,
            },
            (Op::Send, Kind::Fail | Kind::Info) => Body::NotSent {
                operation: id()?,
                outcome,
                error,
            },
            (Op::Poll, Kind::Ok) => Body::Poll {
                partition: partition(tp)?,
                records: self.r.ok_or(missing("r"))?,
            },
            (Op::Assign, Kind::Ok) => Body::Assign {
                partitions: self.tps.ok_or(missing("tps"))?,
                group: self.g,
                generation: self.generation,
            },
            (Op::Seek, Kind::Ok) => Body::Seek {
                partition: partition(tp)?,
                offset: offset("off", self.off)?,
            },
            (Op::Commit, Kind::Invoke) => Body::Commit {
                operation: id()?,
                group: group(self.g)?,
                partition: partition(tp)?,
                offset: offset("off", self.off)?.ok_or(missing("off"))?,
            },
            (Op::Commit, Kind::Ok) => Body::Committed { operation: id()? },
            (Op::Commit, Kind::Fail | Kind::Info) => Body::NotCommitted {
                operation: id()?,
                outcome,
                error,
            },
            (Op::Committed, Kind::Ok) => Body::GroupOffset {
                asked_at: self.t0.ok_or(missing("t0"))?,
                group: group(self.g)?,
                partition: partition(tp)?,
                offset: match self.off.ok_or(missing("off"))? {
                    value if value < -1 => {
                        return Err(LineError::Negative {
                            key: "off",
                            value,
                            least: -1,
                        });
                    }
                    value => value,
                },
            },
            (Op::Offsets, Kind::Ok) => Body::Offsets {
                asked_at: self.t0.ok_or(missing("t0"))?,
                partition: partition(tp)?,
                log_start: offset("lo", self.lo)?,
                high_watermark: offset("hw", self.hw)?,
            },
            (Op::Leader, Kind::Ok) => Body::Leader {
                partition: partition(tp)?,
                leader_epoch: self.ep.ok_or(missing("ep"))?,
                node: self.node.ok_or(missing("node"))?,
            },
            (Op::Final, Kind::Ok) => Body::Final {
                partition: partition(tp)?,
                records: self.r.ok_or(missing("r"))?,
                bounds: offset("lo", self.lo)?.zip(offset("hw", self.hw)?),
            },
            (Op::Fault, Kind::Begin) => Body::FaultBegin {
                operation: id()?,
                name: self.name.ok_or(missing("name"))?,
                on: self.on,
            },
            (Op::Fault, Kind::End) => Body::FaultEnd { operation: id()? },
            _ => return Err(LineError::Kind { operation, kind }),
        };
        Ok(Event {
            at: self.t,
            worker: self.w,
            body,
        })
    }

    fn new(o: Op, k: Kind, event: &'a Event<'_>) -> Self {
        Self {
            o,
            k,
            i: None,
            t0: None,
            t: event.at,
            w: Cow::Borrowed(&event.worker),
            g: None,
            tp: None,
            tps: None,
            v: None,
            off: None,
            ep: None,
            node: None,
            generation: None,
            r: None,
            lo: None,
            hw: None,
            name: None,
            on: None,
            err: None,
        }
    }
}

fn some(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(text))
}

impl<'a> From<&'a Event<'_>> for Line<'a> {
    fn from(event: &'a Event<'_>) -> Self {
        let line = |o, k| Self::new(o, k, event);
        match &event.body {
            Body::Send {
                operation,
                partition,
                value,
            } => Self {
                i: Some(*operation),
                tp: partition.as_deref().map(Cow::Borrowed),
                v: Some(*value),
                ..line(Op::Send, Kind::Invoke)
            },
            Body::Sent {
                operation,
                partition,
                offset,
                leader_epoch,
            } => Self {
                i: Some(*operation),
                tp: partition.as_deref().map(Cow::Borrowed),
                off: *offset,
                ep: *leader_epoch,
                ..line(Op::Send, Kind::Ok)
            },
            Body::NotSent {
                operation,
                outcome,
                error,
            } => Self {
                i: Some(*operation),
                err: some(error),
                ..line(Op::Send, (*outcome).into())
            },
            Body::Poll { partition, records } => Self {
                tp: some(partition),
                r: Some(records.clone()),
                ..line(Op::Poll, Kind::Ok)
            },
            Body::Assign {
                partitions,
                group,
                generation,
            } => Self {
                tps: Some(partitions.iter().map(|tp| Cow::Borrowed(&**tp)).collect()),
                g: group.as_deref().map(Cow::Borrowed),
                generation: *generation,
                ..line(Op::Assign, Kind::Ok)
            },
            Body::Seek { partition, offset } => Self {
                tp: some(partition),
                off: *offset,
                ..line(Op::Seek, Kind::Ok)
            },
            Body::Commit {
                operation,
                group,
                partition,
                offset,
            } => Self {
                i: Some(*operation),
                g: some(group),
                tp: some(partition),
                off: Some(*offset),
                ..line(Op::Commit, Kind::Invoke)
            },
            Body::Committed { operation } => Self {
                i: Some(*operation),
                ..line(Op::Commit, Kind::Ok)
            },
            Body::NotCommitted {
                operation,
                outcome,
                error,
            } => Self {
                i: Some(*operation),
                err: some(error),
                ..line(Op::Commit, (*outcome).into())
            },
            Body::GroupOffset {
                asked_at,
                group,
                partition,
                offset,
            } => Self {
                t0: Some(*asked_at),
                g: some(group),
                tp: some(partition),
                off: Some(*offset),
                ..line(Op::Committed, Kind::Ok)
            },
            Body::Offsets {
                asked_at,
                partition,
                log_start,
                high_watermark,
            } => Self {
                t0: Some(*asked_at),
                tp: some(partition),
                lo: *log_start,
                hw: *high_watermark,
                ..line(Op::Offsets, Kind::Ok)
            },
            Body::Leader {
                partition,
                leader_epoch,
                node,
            } => Self {
                tp: some(partition),
                ep: Some(*leader_epoch),
                node: Some(*node),
                ..line(Op::Leader, Kind::Ok)
            },
            Body::Final {
                partition,
                records,
                bounds,
            } => Self {
                tp: some(partition),
                r: Some(records.clone()),
                lo: bounds.map(|(lo, _)| lo),
                hw: bounds.map(|(_, hw)| hw),
                ..line(Op::Final, Kind::Ok)
            },
            Body::FaultBegin { operation, name, on } => Self {
                i: Some(*operation),
                name: some(name),
                on: on.as_deref().map(Cow::Borrowed),
                ..line(Op::Fault, Kind::Begin)
            },
            Body::FaultEnd { operation } => Self {
                i: Some(*operation),
                ..line(Op::Fault, Kind::End)
            },
        }
    }
}
