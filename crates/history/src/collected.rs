use crate::event::{Body, Event, Outcome, Read};
use crate::header::Header;
use crate::names::Names;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// "None yet" in the numbers below.
pub(crate) const NONE: u32 = u32::MAX;
/// The time of what has not happened.
pub(crate) const NEVER: u64 = u64::MAX;
pub(crate) const NO_OFFSET: i64 = -1;
pub(crate) const NO_EPOCH: i32 = -1;

/// An event that contradicts an earlier one: the load is at fault, not the cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error("operation {operation} ends, and no such operation is open: \"i\" joins the lines of one operation")]
    NotOpen { operation: u64 },
    #[error("operation {operation} begins a second time")]
    Twice { operation: u64 },
    #[error("value {value} is sent a second time, first on line {first}: values are unique in a history")]
    SameValue { value: u64, first: u32 },
    #[error("an operation named partition {first} when it began and {second} when it ended")]
    OtherPartition { first: String, second: String },
    #[error("more than 2^32 - 2 lines")]
    Full,
}

/// How a send or a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Ok,
    Fail,
    /// Unknown, or never told.
    Info,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fail => Self::Fail,
            Outcome::Info => Self::Info,
        }
    }
}

/// One record that was sent. `line`: its invocation's, `end_line`: [`NONE`] where nothing was told of it.
#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub value: u64,
    pub offset: i64,
    pub invoked: u64,
    pub ended: u64,
    pub partition: u32,
    pub worker: u32,
    pub line: u32,
    pub end_line: u32,
    pub leader_epoch: i32,
    pub end: End,
}

/// One poll's line, or one of the final scan. Another `session` of the same worker and partition begins with each assignment
/// and seek.
#[derive(Debug, Clone)]
pub(crate) struct Poll {
    pub at: u64,
    pub line: u32,
    pub worker: u32,
    pub group: u32,
    pub session: u32,
    pub is_final: bool,
}

/// One record that was read, in the order of lines.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub offset: i64,
    pub value: u64,
    pub leader_epoch: i32,
    pub poll: u32,
}

/// A record that holds no value.
#[derive(Debug, Clone)]
pub(crate) struct Corrupt {
    pub partition: u32,
    pub offset: i64,
    pub poll: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub group: u32,
    pub partition: u32,
    pub offset: i64,
    pub invoked: u64,
    pub ended: u64,
    pub worker: u32,
    pub line: u32,
    pub end: End,
}

#[derive(Debug, Clone)]
pub(crate) struct GroupOffset {
    pub group: u32,
    pub partition: u32,
    pub offset: i64,
    pub asked: u64,
    pub at: u64,
    pub worker: u32,
    pub line: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub partition: u32,
    pub log_start: Option<i64>,
    pub high_watermark: Option<i64>,
    pub asked: u64,
    pub at: u64,
    pub worker: u32,
    pub line: u32,
}

/// A complete scan of a partition. `began`: the time of its first line.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub partition: u32,
    pub log_start: i64,
    pub high_watermark: i64,
    pub worker: u32,
    pub line: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Leader {
    pub partition: u32,
    pub leader_epoch: i32,
    pub node: i32,
    pub worker: u32,
    pub line: u32,
}

/// That a member owns a partition in a generation of its group.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub group: u32,
    pub generation: i32,
    pub partition: u32,
    pub worker: u32,
    pub line: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub name: String,
    pub on: Option<String>,
    pub begin: u64,
    /// [`NEVER`] where it was not undone.
    pub end: u64,
}

#[derive(Debug, Clone, Copy)]
enum Open {
    Send(u32),
    Commit(u32),
    Fault(u32),
}

/// What happened in one run, held in some 60 bytes for each record sent and 24 for each read.
#[derive(Debug)]
pub struct History {
    pub header: Header,
    /// What a reader had to leave out, for the report.
    pub notes: Vec<String>,
    pub(crate) workers: Names,
    pub(crate) partitions: Names,
    pub(crate) groups: Names,
    pub(crate) sends: Vec<Send>,
    pub(crate) by_value: HashMap<u64, u32>,
    pub(crate) polls: Vec<Poll>,
    /// By partition.
    pub(crate) seen: Vec<Vec<Seen>>,
    pub(crate) corrupt: Vec<Corrupt>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) group_offsets: Vec<GroupOffset>,
    pub(crate) bounds: Vec<Bounds>,
    pub(crate) scans: Vec<Scan>,
    pub(crate) leaders: Vec<Leader>,
    pub(crate) owners: Vec<Owner>,
    pub(crate) faults: Vec<Fault>,
    /// The earliest time of all.
    pub(crate) began: u64,
    open: HashMap<u64, Open>,
    lines: u32,
    /// By worker: its group, and how often it was assigned.
    standing: Vec<(u32, u32)>,
    /// By worker and partition.
    seeks: HashMap<(u32, u32), u32>,
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NONE)
}

impl History {
    #[must_use]
    pub fn new(header: Header) -> Self {
        Self {
            header,
            notes: Vec::new(),
            workers: Names::default(),
            partitions: Names::default(),
            groups: Names::default(),
            sends: Vec::new(),
            by_value: HashMap::new(),
            polls: Vec::new(),
            seen: Vec::new(),
            corrupt: Vec::new(),
            commits: Vec::new(),
            group_offsets: Vec::new(),
            bounds: Vec::new(),
            scans: Vec::new(),
            leaders: Vec::new(),
            owners: Vec::new(),
            faults: Vec::new(),
            began: NEVER,
            open: HashMap::new(),
            lines: 1,
            standing: Vec::new(),
            seeks: HashMap::new(),
        }
    }

    /// Takes what happened next. Events of one worker come in the order in which it saw them.
    ///
    /// # Errors
    /// [`PushError`] where the load contradicts itself; the event is then left out.
    pub fn push(&mut self, event: &Event<'_>) -> Result<(), PushError> {
        if self.lines >= NONE - 1 {
            return Err(PushError::Full);
        }
        self.lines += 1;
        self.began = self.began.min(event.at);
        let worker = self.workers.number(&event.worker);
        if self.standing.len() < self.workers.len() {
            self.standing.push((NONE, 0));
        }
        let (at, line) = (event.at, self.lines);
        match &event.body {
            Body::Send {
                operation,
                partition,
                value,
            } => self.send(at, worker, *operation, partition.as_deref(), *value),
            Body::Sent {
                operation,
                partition,
                offset,
                leader_epoch,
            } => self.sent(at, *operation, partition.as_deref(), *offset, *leader_epoch),
            Body::NotSent { operation, outcome, .. } => {
                let index = self.open_send(*operation)?;
                self.close(index, at, (*outcome).into());
                self.open.remove(operation);
                Ok(())
            }
            Body::Poll { partition, records } => {
                self.poll(at, worker, partition, records, false);
                Ok(())
            }
            Body::Final {
                partition,
                records,
                bounds,
            } => {
                let partition_number = self.poll(at, worker, partition, records, true);
                self.scans.extend(bounds.map(|(log_start, high_watermark)| Scan {
                    partition: partition_number,
                    log_start,
                    high_watermark,
                    worker,
                    line,
                }));
                Ok(())
            }
            Body::Assign {
                partitions,
                group,
                generation,
            } => {
                self.assign(worker, partitions, group.as_deref(), *generation);
                Ok(())
            }
            Body::Seek { partition, .. } => {
                let partition = self.partition(partition);
                *self.seeks.entry((worker, partition)).or_default() += 1;
                Ok(())
            }
            Body::Commit {
                operation,
                group,
                partition,
                offset,
            } => {
                self.begin(*operation, Open::Commit(number(self.commits.len())))?;
                let commit = Commit {
                    group: self.groups.number(group),
                    partition: self.partition(partition),
                    offset: *offset,
                    invoked: at,
                    ended: NEVER,
                    worker,
                    line,
                    end: End::Info,
                };
                self.commits.push(commit);
                Ok(())
            }
            Body::Committed { operation } => self.end_commit(*operation, at, End::Ok),
            Body::NotCommitted { operation, outcome, .. } => self.end_commit(*operation, at, (*outcome).into()),
            Body::GroupOffset {
                asked_at,
                group,
                partition,
                offset,
            } => {
                let answer = GroupOffset {
                    group: self.groups.number(group),
                    partition: self.partition(partition),
                    offset: *offset,
                    asked: *asked_at,
                    at,
                    worker,
                    line,
                };
                self.group_offsets.push(answer);
                Ok(())
            }
            Body::Offsets {
                asked_at,
                partition,
                log_start,
                high_watermark,
            } => {
                let bounds = Bounds {
                    partition: self.partition(partition),
                    log_start: *log_start,
                    high_watermark: *high_watermark,
                    asked: *asked_at,
                    at,
                    worker,
                    line,
                };
                self.bounds.push(bounds);
                Ok(())
            }
            Body::Leader {
                partition,
                leader_epoch,
                node,
            } => {
                let leader = Leader {
                    partition: self.partition(partition),
                    leader_epoch: *leader_epoch,
                    node: *node,
                    worker,
                    line,
                };
                self.leaders.push(leader);
                Ok(())
            }
            Body::FaultBegin { operation, name, on } => {
                self.begin(*operation, Open::Fault(number(self.faults.len())))?;
                self.faults.push(Fault {
                    name: name.to_string(),
                    on: on.as_ref().map(ToString::to_string),
                    begin: at,
                    end: NEVER,
                });
                Ok(())
            }
            Body::FaultEnd { operation } => {
                let Some(Open::Fault(index)) = self.open.get(operation) else {
                    return Err(PushError::NotOpen { operation: *operation });
                };
                self.faults[*index as usize].end = at;
                self.open.remove(operation);
                Ok(())
            }
        }
    }

    fn partition(&mut self, name: &str) -> u32 {
        let number = self.partitions.number(name);
        if self.seen.len() < self.partitions.len() {
            self.seen.push(Vec::new());
        }
        number
    }

    fn begin(&mut self, operation: u64, what: Open) -> Result<(), PushError> {
        match self.open.entry(operation) {
            Entry::Occupied(_) => Err(PushError::Twice { operation }),
            Entry::Vacant(vacant) => {
                vacant.insert(what);
                Ok(())
            }
        }
    }

    fn send(
        &mut self,
        at: u64,
        worker: u32,
        operation: u64,
        partition: Option<&str>,
        value: u64,
    ) -> Result<(), PushError> {
        let index = number(self.sends.len());
        if let Some(first) = self.by_value.get(&value) {
            let first = self.sends[*first as usize].line;
            return Err(PushError::SameValue { value, first });
        }
        self.begin(operation, Open::Send(index))?;
        self.by_value.insert(value, index);
        let partition = partition.map_or(NONE, |name| self.partition(name));
        self.sends.push(Send {
            value,
            offset: NO_OFFSET,
            invoked: at,
            ended: NEVER,
            partition,
            worker,
            line: self.lines,
            end_line: NONE,
            leader_epoch: NO_EPOCH,
            end: End::Info,
        });
        Ok(())
    }

    fn open_send(&self, operation: u64) -> Result<u32, PushError> {
        match self.open.get(&operation) {
            Some(Open::Send(index)) => Ok(*index),
            _ => Err(PushError::NotOpen { operation }),
        }
    }

    fn close(&mut self, index: u32, at: u64, end: End) {
        let send = &mut self.sends[index as usize];
        (send.ended, send.end, send.end_line) = (at, end, self.lines);
    }

    fn sent(
        &mut self,
        at: u64,
        operation: u64,
        partition: Option<&str>,
        offset: Option<i64>,
        leader_epoch: Option<i32>,
    ) -> Result<(), PushError> {
        let index = self.open_send(operation)?;
        if let Some(name) = partition {
            let named = self.partition(name);
            let known = &mut self.sends[index as usize].partition;
            if *known != NONE && *known != named {
                let first = self.partitions.name(*known).to_owned();
                let second = name.to_owned();
                return Err(PushError::OtherPartition { first, second });
            }
            *known = named;
        }
        self.close(index, at, End::Ok);
        let send = &mut self.sends[index as usize];
        send.offset = offset.unwrap_or(NO_OFFSET);
        send.leader_epoch = leader_epoch.unwrap_or(NO_EPOCH);
        self.open.remove(&operation);
        Ok(())
    }

    fn poll(&mut self, at: u64, worker: u32, partition: &str, records: &[Read], is_final: bool) -> u32 {
        let partition = self.partition(partition);
        let poll = number(self.polls.len());
        let (group, assigned) = self.standing[worker as usize];
        self.polls.push(Poll {
            at,
            line: self.lines,
            worker,
            group,
            // Both only grow, so their sum changes with each of them.
            session: assigned + self.seeks.get(&(worker, partition)).copied().unwrap_or(0),
            is_final,
        });
        for record in records {
            match record.value {
                Some(value) => self.seen[partition as usize].push(Seen {
                    offset: record.offset,
                    value,
                    leader_epoch: record.leader_epoch.unwrap_or(NO_EPOCH),
                    poll,
                }),
                None => self.corrupt.push(Corrupt {
                    partition,
                    offset: record.offset,
                    poll,
                }),
            }
        }
        partition
    }

    fn assign(
        &mut self,
        worker: u32,
        partitions: &[std::borrow::Cow<'_, str>],
        group: Option<&str>,
        generation: Option<i32>,
    ) {
        let group = group.map_or(NONE, |name| self.groups.number(name));
        let standing = &mut self.standing[worker as usize];
        *standing = (group, standing.1 + 1);
        for name in partitions {
            let partition = self.partition(name);
            if let Some(generation) = generation.filter(|_| group != NONE) {
                self.owners.push(Owner {
                    group,
                    generation,
                    partition,
                    worker,
                    line: self.lines,
                });
            }
        }
    }

    fn end_commit(&mut self, operation: u64, at: u64, end: End) -> Result<(), PushError> {
        let Some(Open::Commit(index)) = self.open.get(&operation) else {
            return Err(PushError::NotOpen { operation });
        };
        let commit = &mut self.commits[*index as usize];
        (commit.ended, commit.end) = (at, end);
        self.open.remove(&operation);
        Ok(())
    }

    /// The line of the event that was pushed last; the header is line 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.lines
    }
}
