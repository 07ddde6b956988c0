use super::Checker;
use crate::anomaly::AnomalyKind;
use crate::collected::{Corrupt, End, History, NEVER, NO_EPOCH, NO_OFFSET, NONE, Scan};

/// Somebody said that an offset holds a value: a broker that acknowledged it, or a reader.
struct Claim {
    offset: i64,
    value: u64,
    leader_epoch: i32,
    /// Of the send, or of the poll with [`BY_READER`] set.
    source: u32,
}

const BY_READER: u32 = 1 << 31;

/// What is known of one offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub offset: i64,
    /// When its record was acknowledged; [`NEVER`] if it was not.
    pub acknowledged_at: u64,
    pub read: bool,
    pub in_final: bool,
}

/// Everything that is known of a partition's records. The place of an offset among those known is its rank: offsets may have
/// gaps, ranks have none.
pub(super) struct Content<'h> {
    pub partition: u32,
    /// In the order of their invocations.
    pub sends: &'h [u32],
    pub name: &'h str,
    /// Ascending by offset.
    pub places: Vec<Place>,
    /// The highest log start that anybody saw. What is below it may have been deleted.
    pub log_start: i64,
    scan: Option<&'h Scan>,
}

impl<'h> Content<'h> {
    /// Brings all claims together, and finds those that contradict each other.
    pub(super) fn collect(checker: &mut Checker<'h>, partition: u32, sends: &'h [u32]) -> Self {
        let history = checker.history;
        let mut claims = claims(history, partition, sends);
        claims.sort_unstable_by_key(|claim| (claim.offset, claim.value, claim.source));
        let mut content = Self {
            partition,
            sends,
            name: history.partitions.name(partition),
            places: Vec::new(),
            log_start: log_start(history, partition),
            scan: history.scans.iter().rfind(|scan| scan.partition == partition),
        };
        let mut newest = (NO_EPOCH, None);
        for at_offset in claims.chunk_by(|a, b| a.offset == b.offset) {
            content.check_offset(checker, at_offset);
            content.check_epochs(checker, at_offset, &mut newest);
        }
        let corrupt = history.corrupt.iter().filter(|corrupt| corrupt.partition == partition);
        corrupt.for_each(|corrupt| content.check_corrupt(checker, corrupt));
        content
    }

    /// All claims about one offset.
    fn check_offset(&mut self, checker: &mut Checker<'h>, claims: &[Claim]) {
        let history = checker.history;
        let offset = claims[0].offset;
        let mut place = Place {
            offset,
            acknowledged_at: NEVER,
            read: false,
            in_final: false,
        };
        for of_value in claims.chunk_by(|a, b| a.value == b.value) {
            self.check_value(checker, of_value, &mut place);
        }
        let values = claims.chunk_by(|a, b| a.value == b.value);
        if values.clone().count() > 1 {
            checker.found.add(AnomalyKind::InconsistentOffset, self.name, || {
                let list: Vec<String> = values.clone().map(|of| of[0].value.to_string()).collect();
                let operations = values.map(|of| tell(history, &of[0])).collect();
                (format!("offset {offset} holds {}", list.join(" and ")), operations)
            });
        }
        self.places.push(place);
    }

    /// All claims that one offset holds one value.
    fn check_value(&self, checker: &mut Checker<'h>, claims: &[Claim], place: &mut Place) {
        let history = checker.history;
        let (offset, value) = (claims[0].offset, claims[0].value);
        let readers = || {
            claims
                .iter()
                .filter(|claim| claim.source & BY_READER != 0)
                .map(|claim| claim.source & !BY_READER)
        };
        let first = readers().min_by_key(|poll| history.polls[*poll as usize].at);
        let in_final = readers().any(|poll| history.polls[poll as usize].is_final);
        place.read |= first.is_some();
        place.in_final |= in_final;
        let Some(index) = history.by_value.get(&value).copied() else {
            self.phantom(
                checker,
                &format!("offset {offset} holds {value}, which nobody sent"),
                first,
                offset,
                value,
            );
            return;
        };
        let send = &history.sends[index as usize];
        if send.partition != NONE && send.partition != self.partition {
            let sent_to = history.partitions.name(send.partition);
            self.phantom(
                checker,
                &format!("offset {offset} holds {value}, which was sent to {sent_to}"),
                first,
                offset,
                value,
            );
            return;
        }
        if send.end == End::Ok && send.offset == offset {
            place.acknowledged_at = send.ended;
        }
        let known = &mut checker.read[index as usize];
        known.read |= first.is_some();
        known.in_final |= in_final;
        if let Some((partition, other)) = checker.other_place(index, self.partition, offset) {
            checker.found.add(AnomalyKind::Duplicate, self.name, || {
                let operations = vec![history.tell_send(index), tell(history, &claims[claims.len() - 1])];
                let there = history.partitions.name(partition);
                (
                    format!("value {value} is at offset {other} of {there} and at {offset}"),
                    operations,
                )
            });
        }
        let Some(poll) = first else { return };
        if send.end == End::Fail {
            checker.found.add(AnomalyKind::FailedRead, self.name, || {
                let operations = vec![history.tell_send(index), history.tell_read(poll, offset, Some(value))];
                (
                    format!("value {value} was read at offset {offset}, and its send had failed"),
                    operations,
                )
            });
        }
        if history.polls[poll as usize].at < send.invoked {
            self.phantom(
                checker,
                &format!("value {value} was read before it was sent"),
                first,
                offset,
                value,
            );
        }
    }

    fn phantom(&self, checker: &mut Checker<'h>, what: &str, reader: Option<u32>, offset: i64, value: u64) {
        let history = checker.history;
        checker.found.add(AnomalyKind::Phantom, self.name, || {
            let read = reader.map(|poll| history.tell_read(poll, offset, Some(value)));
            let sent = history.by_value.get(&value).map(|index| history.tell_send(*index));
            (what.to_owned(), read.into_iter().chain(sent).collect())
        });
    }

    /// Leader epochs do not fall with ascending offsets, and one offset has one.
    fn check_epochs(&self, checker: &mut Checker<'h>, claims: &[Claim], newest: &mut (i32, Option<Claim>)) {
        let history = checker.history;
        for claim in claims.iter().filter(|claim| claim.leader_epoch != NO_EPOCH) {
            let before = newest.1.as_ref();
            let differs = before.is_some_and(|before| before.offset == claim.offset && claim.leader_epoch != newest.0);
            if claim.leader_epoch < newest.0 || differs {
                checker.found.add(AnomalyKind::EpochRegressed, self.name, || {
                    let (offset, epoch) = (claim.offset, claim.leader_epoch);
                    let what = before.map_or_else(String::new, |before| {
                        format!(
                            "offset {offset} has leader epoch {epoch}, offset {} has {}",
                            before.offset, newest.0
                        )
                    });
                    let operations = before
                        .into_iter()
                        .chain([claim])
                        .map(|claim| tell(history, claim))
                        .collect();
                    (what, operations)
                });
                return;
            }
            *newest = (claim.leader_epoch, Some(Claim { ..*claim }));
        }
    }

    fn check_corrupt(&self, checker: &mut Checker<'h>, corrupt: &Corrupt) {
        let history = checker.history;
        checker.found.add(AnomalyKind::Corrupt, self.name, || {
            (
                format!(
                    "the record at offset {} does not hold what a load writes",
                    corrupt.offset
                ),
                vec![history.tell_read(corrupt.poll, corrupt.offset, None)],
            )
        });
    }

    /// What was acknowledged or read, and is not there.
    pub(super) fn check_losses(&self, checker: &mut Checker<'h>) {
        let history = checker.history;
        let last_read = self
            .places
            .iter()
            .rfind(|place| place.read)
            .map_or(NO_OFFSET, |place| place.offset);
        let mut removed = 0;
        for index in self.sends.iter().copied() {
            let send = &history.sends[index as usize];
            let at = checker.read[index as usize];
            if send.end != End::Ok {
                continue;
            }
            let below_start = if send.offset == NO_OFFSET {
                self.log_start > 0
            } else {
                send.offset < self.log_start
            };
            if below_start {
                removed += u64::from(!at.in_final);
                continue;
            }
            let kind = match self.scan {
                Some(_) if !at.in_final => AnomalyKind::Lost,
                None if !at.read && send.offset <= last_read => AnomalyKind::Lost,
                None if !at.read => AnomalyKind::Unseen,
                _ => continue,
            };
            checker.found.add(kind, self.name, || {
                let value = send.value;
                let what = match (kind, at.read) {
                    (AnomalyKind::Unseen, _) => format!("value {value} was acknowledged, and no reader got as far"),
                    (_, true) => format!("value {value} was acknowledged and read, and is not there at the end"),
                    (_, false) => format!("value {value} was acknowledged, and nobody ever read it"),
                };
                let scan = self.scan.map(|scan| history.tell_scan(scan));
                (what, [history.tell_send(index)].into_iter().chain(scan).collect())
            });
        }
        self.check_removed(checker, removed);
        self.check_read_and_gone(checker);
    }

    /// What was read, whether acknowledged or not, is there at the end too.
    fn check_read_and_gone(&self, checker: &mut Checker<'h>) {
        let history = checker.history;
        let Some(scan) = self.scan else { return };
        let gone = |place: &&Place| {
            place.read && !place.in_final && place.acknowledged_at == NEVER && place.offset >= self.log_start
        };
        for place in self.places.iter().filter(gone) {
            checker.found.add(AnomalyKind::Lost, self.name, || {
                let reader = history.seen[self.partition as usize]
                    .iter()
                    .find(|seen| seen.offset == place.offset);
                let read = reader.map(|seen| history.tell_read(seen.poll, seen.offset, Some(seen.value)));
                let what = format!("offset {} was read, and is not there at the end", place.offset);
                (what, read.into_iter().chain([history.tell_scan(scan)]).collect())
            });
        }
    }

    /// Records below a log start that moved are no loss where somebody may delete them.
    fn check_removed(&self, checker: &mut Checker<'h>, removed: u64) {
        let history = checker.history;
        checker.counts.removed += removed;
        if removed == 0 {
            return;
        }
        let what = format!(
            "{removed} acknowledged records lie below the log start, {}: deleted by DeleteRecords or by retention",
            self.log_start
        );
        if !history.header.keeps {
            checker.notes.push(format!("{}: {what}", self.name));
            return;
        }
        checker.found.add(AnomalyKind::Removed, self.name, || {
            let moved = |bounds: &&crate::collected::Bounds| {
                bounds.partition == self.partition && bounds.log_start == Some(self.log_start)
            };
            let bounds = history
                .bounds
                .iter()
                .find(moved)
                .map(|bounds| history.tell_bounds(bounds));
            let scan = self.scan.map(|scan| history.tell_scan(scan));
            let operations = bounds.or(scan).into_iter().collect();
            (format!("{what}, and nobody was to delete anything"), operations)
        });
    }

    /// The rank of a known offset; `guess` is tried first, since readers go on from rank to rank.
    pub(super) fn rank(&self, offset: i64, guess: usize) -> Option<usize> {
        if self.places.get(guess).is_some_and(|place| place.offset == offset) {
            return Some(guess);
        }
        self.places.binary_search_by_key(&offset, |place| place.offset).ok()
    }

    /// How many known offsets are lower.
    pub(super) fn rank_of_next(&self, offset: i64) -> usize {
        self.places.partition_point(|place| place.offset < offset)
    }

    pub(super) fn is_scanned(&self) -> bool {
        self.scan.is_some()
    }

    /// Whether a reader that did not get it missed something: others did, and it was not deleted.
    pub(super) fn is_owed(&self, rank: usize) -> bool {
        self.places
            .get(rank)
            .is_some_and(|place| place.read && place.offset >= self.log_start)
    }
}

fn claims(history: &History, partition: u32, sends: &[u32]) -> Vec<Claim> {
    let seen = &history.seen[partition as usize];
    let mut claims = Vec::with_capacity(sends.len() + seen.len());
    for index in sends {
        let send = &history.sends[*index as usize];
        if send.end == End::Ok && send.offset != NO_OFFSET {
            claims.push(Claim {
                offset: send.offset,
                value: send.value,
                leader_epoch: send.leader_epoch,
                source: *index,
            });
        }
    }
    claims.extend(seen.iter().map(|seen| Claim {
        offset: seen.offset,
        value: seen.value,
        leader_epoch: seen.leader_epoch,
        source: seen.poll | BY_READER,
    }));
    claims
}

fn log_start(history: &History, partition: u32) -> i64 {
    let asked = history
        .bounds
        .iter()
        .filter(|bounds| bounds.partition == partition)
        .filter_map(|bounds| bounds.log_start);
    let scanned = history
        .scans
        .iter()
        .filter(|scan| scan.partition == partition)
        .map(|scan| scan.log_start);
    asked.chain(scanned).max().unwrap_or(0)
}

fn tell(history: &History, claim: &Claim) -> String {
    if claim.source & BY_READER == 0 {
        return history.tell_send(claim.source);
    }
    history.tell_read(claim.source & !BY_READER, claim.offset, Some(claim.value))
}

/// Acknowledged sends of which nobody knows the partition: they must have been read somewhere.
pub(super) fn check_unplaced(checker: &mut Checker<'_>) {
    let history = checker.history;
    for (send, index) in history.sends.iter().zip(0..) {
        if send.end == End::Ok && send.partition == NONE && !checker.read[index as usize].read {
            checker.found.add(AnomalyKind::Lost, "?", || {
                let what = format!("value {} was acknowledged, and nobody ever read it", send.value);
                (what, vec![history.tell_send(index)])
            });
        }
    }
}
