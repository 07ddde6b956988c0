#[cfg(test)]
mod tests;

use records::{BatchHeader, sequence_plus};
use std::collections::{BTreeMap, VecDeque};
use types::{ErrorCode, Offset, ProducerEpoch, ProducerId, limits};

/// A batch that an idempotent producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// When a topic with `LogAppendTime` took it in, milliseconds since 1970; −1 where its records keep their own
    /// times, and where it was read from a snapshot, which does not say.
    pub log_append_time: i64,
}

/// What a replica knows of one producer id; plain data for snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// Its last batches in this epoch, oldest first, at most [`limits::PRODUCER_BATCHES_KEPT`].
    pub batches: VecDeque<ProducerBatch>,
    /// Wall clock of this replica when it last took in a batch of the producer, milliseconds since 1970; expiry
    /// counts from it. ◆ Not the records' timestamps: those are the client's to choose, and one that writes
    /// old ones would be forgotten at once, its repetitions written twice.
    pub last_append_ms: i64,
    /// Epoch of the transaction coordinator that last wrote a marker, −1 for none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub current_txn_first_offset: Option<Offset>,
}

impl ProducerEntry {
    fn last_offset(&self) -> Option<Offset> {
        self.batches.back().map(|batch| batch.last_offset)
    }
}

/// What to do with a client's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerCheck {
    /// Write it, then call [`ProducerStates::update`].
    Append,
    /// It is in the log already, as this: answer that, ◆ but not before HW covers its last offset.
    Duplicate(ProducerBatch),
}

/// The idempotent producers of one partition (KIP-98). Every replica keeps them, so that duplicates are
/// found after a failover too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerStates {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// Producers by the last offset they wrote, which is nobody else's: who was silent longest goes first
    /// when there are too many.
    by_last_offset: BTreeMap<Offset, ProducerId>,
    expiration_ms: i64,
}

impl ProducerStates {
    /// No producers. `expiration_ms` is `producer.id.expiration.ms`.
    #[must_use]
    pub fn new(expiration_ms: i64) -> Self {
        Self {
            producers: BTreeMap::new(),
            by_last_offset: BTreeMap::new(),
            expiration_ms,
        }
    }

    /// Producers known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// What is known of a producer.
    #[must_use]
    pub fn get(&self, producer: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer)
    }

    /// Checks a client's batch before it is appended. A batch without producer id is always appended.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH` for an epoch older than the producer's; `OUT_OF_ORDER_SEQUENCE_NUMBER` for a
    /// gap, for a new epoch that does not begin at 0, and for a repetition older than the batches kept.
    ///
    /// Source: `ProducerAppendInfo.checkProducerEpoch` and `checkSequence`, `ProducerStateEntry.findDuplicateBatch`
    /// of Apache Kafka 4. A producer id that nothing is known of may begin at any sequence (its records may
    /// have been deleted by retention).
    pub fn check(&self, header: &BatchHeader) -> Result<ProducerCheck, ErrorCode> {
        if !header.is_idempotent() {
            return Ok(ProducerCheck::Append);
        }
        let Some(entry) = self.producers.get(&header.producer_id) else {
            return Ok(ProducerCheck::Append);
        };
        if header.producer_epoch < entry.producer_epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if header.is_control() {
            return Ok(ProducerCheck::Append);
        }
        if header.producer_epoch > entry.producer_epoch {
            return in_order(header.base_sequence == 0);
        }
        let last_sequence = header.last_sequence();
        let repeated = entry
            .batches
            .iter()
            .find(|batch| batch.base_sequence == header.base_sequence && batch.last_sequence == last_sequence);
        if let Some(batch) = repeated {
            return Ok(ProducerCheck::Duplicate(*batch));
        }
        // Without a batch of this epoch (a marker opened it) the first one has sequence 0.
        let expected = entry
            .batches
            .back()
            .map_or(0, |batch| sequence_plus(batch.last_sequence, 1));
        in_order(header.base_sequence == expected)
    }

    /// Takes a batch in that was appended, on the leader, on a follower, or while a log is read at start.
    /// Offsets must be final. Sequences are not checked: the leader did. `now_ms` is the wall clock now, whenever
    /// the batch was written first.
    pub fn update(&mut self, header: &BatchHeader, now_ms: i64) {
        if !header.is_idempotent() {
            return;
        }
        let entry = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(|| ProducerEntry {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                batches: VecDeque::new(),
                last_append_ms: now_ms,
                coordinator_epoch: -1,
                current_txn_first_offset: None,
            });
        if let Some(offset) = entry.last_offset() {
            self.by_last_offset.remove(&offset);
        }
        if entry.producer_epoch != header.producer_epoch {
            entry.producer_epoch = header.producer_epoch;
            entry.batches.clear();
        }
        // A clock that is set back makes nobody older.
        entry.last_append_ms = entry.last_append_ms.max(now_ms);
        if !header.is_control() {
            entry.batches.push_back(ProducerBatch {
                base_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                log_append_time: if header.is_log_append_time() {
                    header.max_timestamp
                } else {
                    -1
                },
            });
            if entry.batches.len() > limits::PRODUCER_BATCHES_KEPT {
                entry.batches.pop_front();
            }
        }
        if let Some(offset) = entry.last_offset() {
            self.by_last_offset.insert(offset, header.producer_id);
        }
        self.evict();
    }

    /// The log was cut to end at `end`. Returns false if some producer lost every batch that was remembered:
    /// older ones may still be in the log, so the shell must then rebuild the states from the newest
    /// snapshot and the log after it (as Kafka always does), or their repetitions would be written twice.
    #[must_use]
    pub fn truncate(&mut self, end: Offset) -> bool {
        let mut complete = true;
        self.by_last_offset.clear();
        for (producer, entry) in &mut self.producers {
            if entry.current_txn_first_offset.is_some_and(|first| first >= end) {
                entry.current_txn_first_offset = None;
            }
            entry.batches.retain(|batch| batch.last_offset < end);
            match entry.batches.back() {
                Some(last) => {
                    self.by_last_offset.insert(last.last_offset, *producer);
                }
                None => complete = false,
            }
        }
        self.producers.retain(|_, entry| !entry.batches.is_empty());
        complete
    }

    /// Forgets everything: the log was emptied.
    pub fn clear(&mut self) {
        self.producers.clear();
        self.by_last_offset.clear();
    }

    /// Forgets producers that were silent for `producer.id.expiration.ms` and have no open transaction.
    /// `now_ms` is wall clock, as in [`Self::update`].
    pub fn expire(&mut self, now_ms: i64) {
        let expiration_ms = self.expiration_ms;
        self.producers.retain(|_, entry| {
            entry.current_txn_first_offset.is_some() || now_ms.saturating_sub(entry.last_append_ms) < expiration_ms
        });
        self.by_last_offset
            .retain(|_, producer| self.producers.contains_key(producer));
    }

    /// All producers, by id.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ProducerEntry> {
        self.producers.values().cloned().collect()
    }

    /// Replaces the states by those of a snapshot. Comes from a disk: too many batches are cut to the newest,
    /// of two producers with one last offset the later wins.
    pub fn restore(&mut self, entries: Vec<ProducerEntry>) {
        self.clear();
        for mut entry in entries {
            while entry.batches.len() > limits::PRODUCER_BATCHES_KEPT {
                entry.batches.pop_front();
            }
            if let Some(offset) = entry.last_offset() {
                self.by_last_offset.insert(offset, entry.producer_id);
            }
            self.producers.insert(entry.producer_id, entry);
            self.evict();
        }
    }

    /// Keeps the number of producers within its limit. Whoever is forgotten may go on at any sequence;
    /// only its repetitions are no longer recognised.
    fn evict(&mut self) {
        while self.producers.len() > limits::PRODUCERS_PER_PARTITION_MAX {
            // Those without a batch are in no order; they only come from markers.
            let oldest = match self.by_last_offset.pop_first() {
                Some((_, producer)) => Some(producer),
                None => self.producers.keys().next().copied(),
            };
            let Some(producer) = oldest else { return };
            self.producers.remove(&producer);
        }
    }
}

fn in_order(yes: bool) -> Result<ProducerCheck, ErrorCode> {
    if yes {
        Ok(ProducerCheck::Append)
    } else {
        Err(ErrorCode::OutOfOrderSequenceNumber)
    }
}
