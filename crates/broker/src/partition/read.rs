use super::{Partition, Role};
use crate::data::{AppendError, FetchPartition};
use logstore::{LogError, LogSlice, TimestampSearch};
use replica::LogBounds;
use types::{Broken, ErrorCode, LeaderEpoch, Offset, broken};

/// What a fetch asks of one partition, within what is left of its byte budget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadRequest {
    pub partition: FetchPartition,
    pub max_bytes: usize,
    pub at_least_one: bool,
    pub read_committed: bool,
    pub from_follower: bool,
}

/// What the log has for it.
pub(crate) struct ReadResult {
    pub bounds: LogBounds,
    pub slice: LogSlice,
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

/// Offset, timestamp and leader epoch; offset −1: there is none.
pub(crate) type Listed = (Offset, i64, LeaderEpoch);

/// What ListOffsets asks for.
pub(crate) enum ListOffset {
    Known(Listed),
    /// To be read on a pool; `otherwise` if nothing is found.
    Search {
        search: TimestampSearch,
        otherwise: Result<Listed, AppendError>,
    },
}

/// ListOffsets' special timestamps (KIP-79, KIP-734, KIP-405).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// Kafka's `LeaderEpochFileCache.endOffsetFor`: the largest epoch not above `epoch` and its end. For one below all that
/// are known: itself, and where the first begins, so that whoever asks goes back to there. `None` above the newest.
fn epoch_end(epochs: &[(LeaderEpoch, Offset)], log_end: Offset, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
    let (newest, _) = *epochs.last()?;
    if epoch < LeaderEpoch(0) || epoch > newest {
        return None;
    }
    let after = epochs.partition_point(|(known, _)| *known <= epoch);
    let end = epochs.get(after).map_or(log_end, |(_, start)| *start);
    let found = after.checked_sub(1).map_or(epoch, |at| epochs[at].0);
    Some((found, end))
}

/// The consumer must find another offset by itself (`auto.offset.reset`).
#[derive(Debug, PartialEq, Eq)]
struct OutOfRange;

/// Our end of the consumer's epoch, if its log cannot be a prefix of ours (KIP-595). `ours`: log start, and
/// [`epoch_end`] of that epoch. As in Kafka, an epoch that we know nothing of, and an offset below the log start
/// whatever its epoch, are out of range: no diverging epoch would lead the consumer anywhere.
fn divergence(
    ours: (Offset, Option<(LeaderEpoch, Offset)>),
    fetch_offset: Offset,
    last_fetched_epoch: LeaderEpoch,
) -> Result<Option<(LeaderEpoch, Offset)>, OutOfRange> {
    let (log_start, Some((epoch, end))) = ours else {
        return Err(OutOfRange);
    };
    if fetch_offset < log_start {
        return Err(OutOfRange);
    }
    Ok(Some((epoch, end)).filter(|_| epoch < last_fetched_epoch || end < fetch_offset))
}

impl Partition {
    /// Records below the high watermark, as a place in memory or in a file.
    pub fn read(&mut self, request: &ReadRequest) -> Result<ReadResult, AppendError> {
        let wanted = &request.partition;
        self.check_epoch(wanted.current_leader_epoch)?;
        let follows = request.from_follower && matches!(self.role, Role::Follower { .. });
        if !follows {
            self.leader()?;
        }
        let bounds = self.bounds();
        let log = self
            .log
            .as_ref()
            .ok_or(AppendError::from(ErrorCode::KafkaStorageError))?;
        let out_of_range = AppendError {
            code: ErrorCode::OffsetOutOfRange,
            leader: self.leader_hint(),
        };
        // KIP-392: the leader may have what this follower does not have yet.
        if follows && wanted.fetch_offset > bounds.log_end {
            return Err(AppendError {
                code: ErrorCode::OffsetNotAvailable,
                leader: self.leader_hint(),
            });
        }
        if wanted.last_fetched_epoch != LeaderEpoch::NONE {
            let end = epoch_end(log.epochs(), bounds.log_end, wanted.last_fetched_epoch);
            let ours = (bounds.log_start, end);
            if let Some(diverging) =
                divergence(ours, wanted.fetch_offset, wanted.last_fetched_epoch).map_err(|OutOfRange| out_of_range)?
            {
                return Ok(ReadResult {
                    bounds,
                    slice: LogSlice::Empty,
                    diverging: Some(diverging),
                });
            }
        }
        if wanted.fetch_offset < bounds.log_start || wanted.fetch_offset > bounds.log_end {
            return Err(out_of_range);
        }
        // Between the high watermark and the log end nothing is to be seen yet, and that is no error.
        let visible = if broken(Broken::ServeUncommitted) {
            bounds.log_end
        } else if request.read_committed {
            bounds.last_stable_offset()
        } else {
            bounds.high_watermark
        };
        let slice = if wanted.fetch_offset >= visible {
            LogSlice::Empty
        } else {
            let max_bytes = request.max_bytes.min(wanted.max_bytes);
            match log.read(wanted.fetch_offset, visible, max_bytes, request.at_least_one) {
                Ok(slice) => slice,
                Err(LogError::Rot(rot)) => {
                    self.suspect(&rot);
                    return Err(ErrorCode::KafkaStorageError.into());
                }
                Err(error) => return Err(self.log_failed(&error)),
            }
        };
        Ok(ReadResult {
            bounds,
            slice,
            diverging: None,
        })
    }

    /// What one of ListOffsets' timestamps stands for. As in Kafka, only what is committed is found; what may be committed
    /// and is not known to be is not available yet.
    pub fn list_offset(&self, timestamp: i64, current_leader_epoch: LeaderEpoch) -> Result<ListOffset, AppendError> {
        self.check_epoch(current_leader_epoch)?;
        let leader = self.leader()?;
        let bounds = leader.bounds();
        let log = self
            .log
            .as_ref()
            .ok_or(AppendError::from(ErrorCode::KafkaStorageError))?;
        let nothing = (Offset(-1), -1, LeaderEpoch::NONE);
        // ◆ KIP-207: a new leader's high watermark may trail what its predecessor showed.
        let settled = bounds.high_watermark >= leader.epoch_start() || bounds.high_watermark >= bounds.log_end;
        let unless_settled = |listed| match settled || broken(Broken::ShowLaggingEnd) {
            true => Ok(listed),
            false => Err(AppendError {
                code: ErrorCode::OffsetNotAvailable,
                leader: self.leader_hint(),
            }),
        };
        let search = |search| ListOffset::Search {
            search,
            otherwise: unless_settled(nothing),
        };
        match timestamp {
            EARLIEST | EARLIEST_LOCAL => {
                let epoch = self.epochs().epoch_for(bounds.log_start).unwrap_or(LeaderEpoch::NONE);
                Ok(ListOffset::Known((bounds.log_start, -1, epoch)))
            }
            LATEST_TIERED => Ok(ListOffset::Known(nothing)),
            LATEST => unless_settled((bounds.high_watermark, -1, leader.leader_epoch())).map(ListOffset::Known),
            MAX_TIMESTAMP => Ok(search(log.search_max_timestamp(bounds.high_watermark))),
            timestamp if timestamp < 0 => Err(ErrorCode::UnsupportedVersion.into()),
            timestamp => Ok(search(log.search_timestamp(timestamp, bounds.high_watermark))),
        }
    }

    /// The largest epoch not above `epoch`, and its end (KIP-101, KIP-279); (−1, −1) if nothing is known of it.
    pub fn epoch_end_offset(
        &self,
        current_leader_epoch: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> Result<(LeaderEpoch, Offset), AppendError> {
        self.check_epoch(current_leader_epoch)?;
        self.leader()?;
        let log = self
            .log
            .as_ref()
            .ok_or(AppendError::from(ErrorCode::KafkaStorageError))?;
        let log_end = log.log_end_offset();
        Ok(epoch_end(log.epochs(), log_end, epoch).unwrap_or((LeaderEpoch::NONE, Offset(-1))))
    }

    /// What a follower that has everything below `from` is sent next: committed or not.
    pub fn read_for_follower(&self, from: Offset, max_bytes: usize) -> Result<LogSlice, LogError> {
        let log = self.log.as_ref().ok_or(LogError::Offline)?;
        log.read(from, log.log_end_offset(), max_bytes, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epoch 2 from 10, epoch 5 from 20; the log is 10 to 30.
    const EPOCHS: [(LeaderEpoch, Offset); 2] = [(LeaderEpoch(2), Offset(10)), (LeaderEpoch(5), Offset(20))];

    #[test]
    fn ends_of_epochs() {
        for (epoch, expected) in [
            (-1, None),
            // Below the first that is known.
            (0, Some((0, 10))),
            (1, Some((1, 10))),
            (2, Some((2, 20))),
            (4, Some((2, 20))),
            (5, Some((5, 30))),
            // Above the newest.
            (6, None),
        ] {
            let expected = expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
            assert_eq!(
                epoch_end(&EPOCHS, Offset(30), LeaderEpoch(epoch)),
                expected,
                "epoch {epoch}"
            );
        }
        assert_eq!(epoch_end(&[], Offset(0), LeaderEpoch(0)), None);
    }

    #[test]
    fn where_a_consumers_log_parts_from_ours() {
        for (fetch_offset, last_fetched_epoch, expected) in [
            (25, 5, Ok(None)),
            (30, 5, Ok(None)),
            (31, 5, Ok(Some((5, 30)))),
            (20, 2, Ok(None)),
            (21, 2, Ok(Some((2, 20)))),
            // An epoch that we do not have between those that we have.
            (15, 3, Ok(Some((2, 20)))),
            // Before all that we know.
            (10, 1, Ok(None)),
            (15, 1, Ok(Some((1, 10)))),
            // Nothing is known of it.
            (25, 6, Err(OutOfRange)),
            // Below the log start, whatever the epoch.
            (9, 1, Err(OutOfRange)),
            (9, 2, Err(OutOfRange)),
            (9, 3, Err(OutOfRange)),
        ] {
            let epoch = LeaderEpoch(last_fetched_epoch);
            let ours = (Offset(10), epoch_end(&EPOCHS, Offset(30), epoch));
            let expected = expected.map(|part| part.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end))));
            assert_eq!(
                divergence(ours, Offset(fetch_offset), epoch),
                expected,
                "{fetch_offset} after epoch {last_fetched_epoch}"
            );
        }
    }
}
