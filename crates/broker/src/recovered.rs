use logstore::{Log, LogError, ProducerSnapshotEntry};
use replica::{ProducerBatch, ProducerEntry, ProducerStates};
use types::Offset;

/// `producer.id.expiration.ms`, Kafka's default.
pub(crate) const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;

/// Producer states of a log: its newest snapshot, and every batch behind it, which counts as appended at
/// `now_ms`, the wall clock. Blocking.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn producers(log: &Log, now_ms: i64) -> Result<ProducerStates, LogError> {
    let mut states = ProducerStates::new(PRODUCER_EXPIRATION_MS);
    let (snapshot, tail) = log.recovered_tail()?;
    if let Some((_, entries)) = snapshot {
        states.restore(entries.iter().map(entry).collect());
    }
    for header in tail {
        states.update(&header?, now_ms);
    }
    Ok(states)
}

/// Kafka's snapshot keeps a producer's last batch only.
fn entry(stored: &ProducerSnapshotEntry) -> ProducerEntry {
    let base_offset = Offset(stored.last_offset.0.saturating_sub(stored.offset_delta.into()));
    // Sequences wrap to 0 after 2^31 - 1 (KIP-98).
    let base = i64::from(stored.last_sequence) - i64::from(stored.offset_delta);
    let base_sequence = if base < 0 { base + i64::from(i32::MAX) + 1 } else { base };
    ProducerEntry {
        producer_id: stored.producer_id,
        producer_epoch: stored.producer_epoch,
        batches: vec![ProducerBatch {
            base_sequence: i32::try_from(base_sequence).unwrap_or(0),
            last_sequence: stored.last_sequence,
            base_offset,
            last_offset: stored.last_offset,
            log_append_time: -1,
        }]
        .into(),
        last_append_ms: stored.timestamp,
        coordinator_epoch: stored.coordinator_epoch,
        current_txn_first_offset: (stored.current_txn_first_offset >= 0)
            .then_some(Offset(stored.current_txn_first_offset)),
    }
}

/// What Kafka's snapshot file keeps of the states.
pub(crate) fn snapshot(states: &ProducerStates) -> Vec<ProducerSnapshotEntry> {
    let stored = |entry: ProducerEntry| {
        let last = entry.batches.iter().next_back()?;
        Some(ProducerSnapshotEntry {
            producer_id: entry.producer_id,
            producer_epoch: entry.producer_epoch,
            last_sequence: last.last_sequence,
            last_offset: last.last_offset,
            offset_delta: i32::try_from(last.last_offset.0.saturating_sub(last.base_offset.0)).unwrap_or(0),
            // A leader's clock is as good as ours, and no client's choice.
            timestamp: if last.log_append_time >= 0 {
                last.log_append_time
            } else {
                entry.last_append_ms
            },
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_first_offset: entry.current_txn_first_offset.map_or(-1, |offset| offset.0),
        })
    };
    states.snapshot().into_iter().filter_map(stored).collect()
}
