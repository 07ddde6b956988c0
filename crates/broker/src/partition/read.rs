use super::{Partition, Role};
use crate::data::{AppendError, FetchPartition};
use logstore::{LogError, LogSlice};
use replica::LogBounds;
use types::{ErrorCode, LeaderEpoch, Offset};

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

/// ListOffsets' special timestamps (KIP-79, KIP-734, KIP-405).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

impl Partition {
    /// Records below the high watermark, as a place in memory or in a file.
    pub fn read(&self, request: &ReadRequest) -> Result<ReadResult, AppendError> {
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
        if wanted.last_fetched_epoch != LeaderEpoch::NONE
            && let Some(diverging) = self.divergence(wanted.fetch_offset, wanted.last_fetched_epoch)
        {
            return Ok(ReadResult {
                bounds,
                slice: LogSlice::Empty,
                diverging: Some(diverging),
            });
        }
        // KIP-392: the leader may have what this follower does not have yet.
        if follows && wanted.fetch_offset > bounds.log_end {
            return Err(AppendError {
                code: ErrorCode::OffsetNotAvailable,
                leader: self.leader_hint(),
            });
        }
        if wanted.fetch_offset < bounds.log_start || wanted.fetch_offset > bounds.log_end {
            return Err(AppendError {
                code: ErrorCode::OffsetOutOfRange,
                leader: self.leader_hint(),
            });
        }
        // Between the high watermark and the log end nothing is to be seen yet, and that is no error.
        let visible = if request.read_committed {
            bounds.last_stable_offset()
        } else {
            bounds.high_watermark
        };
        let slice = if wanted.fetch_offset >= visible {
            LogSlice::Empty
        } else {
            let max_bytes = request.max_bytes.min(wanted.max_bytes);
            log.read(wanted.fetch_offset, visible, max_bytes, request.at_least_one)
                .map_err(|error| self.log_failed(&error))?
        };
        Ok(ReadResult {
            bounds,
            slice,
            diverging: None,
        })
    }

    /// Our end of the consumer's epoch, if its log cannot be a prefix of ours (KIP-595).
    fn divergence(&self, fetch_offset: Offset, last_fetched_epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let log = self.log.as_ref()?;
        match log.end_offset_for_epoch(last_fetched_epoch) {
            Some((epoch, end)) if epoch < last_fetched_epoch || end < fetch_offset => Some((epoch, end)),
            Some(_) => None,
            None => Some((LeaderEpoch::NONE, Offset(-1))).filter(|_| fetch_offset > log.log_start_offset()),
        }
    }

    /// (offset, timestamp, leader epoch) for one of ListOffsets' timestamps; offset −1: there is none.
    pub fn list_offset(
        &self,
        timestamp: i64,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<(Offset, i64, LeaderEpoch), AppendError> {
        self.check_epoch(current_leader_epoch)?;
        let leader = self.leader()?;
        let bounds = leader.bounds();
        let log = self
            .log
            .as_ref()
            .ok_or(AppendError::from(ErrorCode::KafkaStorageError))?;
        let epochs = self.epochs();
        let epoch_at = |offset: Offset| epochs.epoch_for(offset).unwrap_or(LeaderEpoch::NONE);
        // ◆ KIP-207: a new leader's high watermark may trail what its predecessor showed.
        let settled = bounds.high_watermark >= leader.epoch_start() || bounds.high_watermark >= bounds.log_end;
        match timestamp {
            EARLIEST | EARLIEST_LOCAL => Ok((bounds.log_start, -1, epoch_at(bounds.log_start))),
            LATEST_TIERED => Ok((Offset(-1), -1, LeaderEpoch::NONE)),
            _ if !settled => Err(AppendError {
                code: ErrorCode::OffsetNotAvailable,
                leader: self.leader_hint(),
            }),
            LATEST => Ok((bounds.high_watermark, -1, epoch_at(bounds.high_watermark))),
            MAX_TIMESTAMP => match log.max_timestamp() {
                Some((timestamp, offset)) if offset < bounds.high_watermark => {
                    Ok((offset, timestamp, epoch_at(offset)))
                }
                _ => Ok((Offset(-1), -1, LeaderEpoch::NONE)),
            },
            timestamp if timestamp < 0 => Err(ErrorCode::UnsupportedVersion.into()),
            timestamp => match log.offset_for_timestamp(timestamp, bounds.high_watermark) {
                Ok(Some((offset, timestamp, epoch))) => Ok((offset, timestamp, epoch)),
                Ok(None) => Ok((Offset(-1), -1, LeaderEpoch::NONE)),
                Err(error) => Err(self.log_failed(&error)),
            },
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
        // An epoch above ours is none that this leader could know (Kafka answers undefined too).
        if epoch > self.view.leader_epoch {
            return Ok((LeaderEpoch::NONE, Offset(-1)));
        }
        Ok(log
            .end_offset_for_epoch(epoch)
            .unwrap_or((LeaderEpoch::NONE, Offset(-1))))
    }

    /// What a follower that has everything below `from` is sent next: committed or not.
    pub fn read_for_follower(&self, from: Offset, max_bytes: usize) -> Result<LogSlice, LogError> {
        let log = self.log.as_ref().ok_or(LogError::Offline)?;
        log.read(from, log.log_end_offset(), max_bytes, true)
    }
}
