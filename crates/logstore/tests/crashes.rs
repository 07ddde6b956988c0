//! Power failures at any call of the disk, over several lives, against a model of the log as a list of batches.

use bytes::Bytes;
use host::sim_disk::SimDisk;
use logstore::conformance::{SMALL_JOURNAL, SimMachine, append_at, flush, partition, read_all};
use logstore::{FlushStrategy, JournalFlush, JournalSize, Log, LogConfig, LogDir, PlainFlush, RecoveryOutcome};
use records::{BatchHeader, split_batches};
use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};
use types::{LeaderEpoch, Offset, ReplicaIncarnation};

const CONFIG: LogConfig = LogConfig {
    segment_bytes: 3000,
    index_interval_bytes: 400,
    segment_ms: i64::MAX,
    segment_jitter_ms: 0,
    segment_index_bytes: 1 << 20,
    delete: true,
    retention_ms: -1,
    retention_bytes: -1,
    // Removed at once, so that a crash comes in the middle of that too.
    file_delete_delay_ms: 0,
};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What may be found after a crash.
#[derive(Default)]
struct Model {
    batches: Vec<(Offset, Offset, Bytes)>,
    /// The lowest and highest log start that the log may have.
    start: (Offset, Offset),
    durable: Offset,
    epochs: Vec<(LeaderEpoch, Offset)>,
    /// A full truncation to this offset was under way.
    maybe_fresh: Option<Offset>,
    /// A creation or deletion was under way.
    maybe_gone: bool,
}

impl Model {
    fn take_promises(&mut self, log: &Log) {
        self.durable = log.durable_offset();
        let newest = log.epoch_durable();
        self.epochs = log
            .epochs()
            .iter()
            .copied()
            .filter(|(epoch, _)| Some(*epoch) <= newest)
            .collect();
    }

    /// Checks what was found, and goes on from it.
    fn check(&mut self, log: &Log) -> Result<(), String> {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let fresh = self.maybe_fresh == Some(start) && start == end;
        if !fresh {
            if start < self.start.0 || start > self.start.1 {
                return Err(format!("log start {start} is not in {:?}", self.start));
            }
            if end < self.durable {
                return Err(format!("the log ends at {end}, {} was durable", self.durable));
            }
            for (epoch, at) in &self.epochs {
                let kept = log.epochs().iter().any(|(known, _)| known == epoch);
                // A later epoch took its place: it had no records, or none at or above the log start.
                let superseded = log
                    .epochs()
                    .iter()
                    .any(|(known, from)| known > epoch && *from <= start.max(*at));
                if !kept && !superseded {
                    return Err(format!("epoch {epoch} from {at} is lost: {:?}", log.epochs()));
                }
            }
        }
        let bytes = Bytes::from(read_all(log)?);
        let mut found = split_batches(&bytes);
        for (first, next, expected) in self.batches.iter().filter(|(_, next, _)| *next > start && *next <= end) {
            let Some(Ok(batch)) = found.next() else {
                return Err(format!("{first}..{next} is missing"));
            };
            if batch.bytes != *expected {
                return Err(format!("{first}..{next} has other content"));
            }
        }
        if let Some(rest) = found.next() {
            let at = rest.map(|batch| (batch.header.base_offset, batch.header.leader_epoch));
            return Err(format!("truncated data came back: {at:?}"));
        }
        check_epochs(log, &bytes)?;
        if log.durable_offset() != end {
            return Err("what recovery found is not durable".to_owned());
        }
        self.batches.retain(|(_, next, _)| *next > start && *next <= end);
        self.start = (start, start);
        self.maybe_fresh = None;
        self.maybe_gone = false;
        self.take_promises(log);
        Ok(())
    }
}

/// Every batch's epoch is the one that the epoch list has for its offset.
fn check_epochs(log: &Log, bytes: &Bytes) -> Result<(), String> {
    for batch in split_batches(bytes) {
        let BatchHeader {
            base_offset,
            leader_epoch,
            ..
        } = batch.map_err(|error| error.to_string())?.header;
        let at = base_offset.max(log.log_start_offset());
        let covering = log.epochs().iter().rev().find(|(_, start)| *start <= at);
        if covering.map(|(epoch, _)| *epoch) != Some(leader_epoch) {
            return Err(format!(
                "{base_offset} has epoch {leader_epoch}, the list is {:?}",
                log.epochs()
            ));
        }
    }
    Ok(())
}

/// One random operation. Fails when the life ends.
fn step(
    log: &mut Log,
    model: &mut Model,
    flusher: &logstore::Flusher,
    random: &mut Random,
    epoch: &mut i32,
    calm: bool,
) -> Result<(), ()> {
    let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
    // Many lives are little but appends and flushes: laps of the journal that nothing but records fills.
    let choices = if calm && random.below(5) > 0 { 14 } else { 24 };
    match random.below(choices) {
        0..=8 => {
            // Many batches are of one size: where some were cut, those that came since end where others began.
            let (records, bytes) = match random.below(3) {
                0 => (2, 100),
                _ => (1 + random.below(4), 20 + random.below(500)),
            };
            let seed = random.below(u64::MAX);
            // What a leader sends whose log starts in the middle of a batch.
            let before = match start == end {
                true => random.below(records).min(end as u64) as i64,
                false => 0,
            };
            let first = Offset(end - before);
            let bytes = append_at(log, first, LeaderEpoch(*epoch), records as usize, bytes as usize, seed);
            model
                .batches
                .push((first, first.plus(records as i64), bytes.map_err(drop)?));
            Ok(())
        }
        9..=13 => {
            if !flush(log, flusher) {
                return Err(());
            }
            model.take_promises(log);
            Ok(())
        }
        14 => {
            *epoch += 1;
            log.assign_epoch(LeaderEpoch(*epoch), Offset(end));
            Ok(())
        }
        15 if random.below(2) == 0 => log.roll().map_err(drop),
        15 => log.checkpoint_index().map_err(drop),
        16 | 17 => {
            let to = Offset(start + random.below((end - start + 1) as u64) as i64);
            model.durable = model.durable.min(batch_start(model, to).max(Offset(start)));
            let durable = model.durable;
            model.epochs.retain(|(_, at)| *at < durable);
            log.truncate_to(to).map_err(drop)?;
            *epoch += 1;
            let end = log.log_end_offset();
            model.batches.retain(|(_, next, _)| *next <= end);
            model.take_promises(log);
            Ok(())
        }
        18 => {
            // What is committed is at most what is durable.
            let high_watermark = log.durable_offset();
            let (bytes, age) = (random.below(15_000) as i64, random.below(60) as i64);
            let before = *log.config();
            let (by_bytes, by_age) = (random.below(2) == 0, random.below(2) == 0);
            log.set_config(LogConfig {
                retention_bytes: if by_bytes { bytes } else { -1 },
                retention_ms: if by_age { age } else { -1 },
                ..before
            });
            // The timestamp of the record at an offset is 1,000 above it.
            let kept = log.retention_start(high_watermark, 1_000 + end);
            log.set_config(before);
            match kept {
                Some(to) => trim(log, model, to, &format!("retention {bytes} bytes, {age} ms")),
                None => Ok(()),
            }
        }
        19 if random.below(3) == 0 => {
            let at = Offset(end + random.below(50) as i64);
            model.maybe_fresh = Some(at);
            log.truncate_fully_and_start_at(at).map_err(drop)?;
            *model = Model {
                start: (at, at),
                durable: at,
                ..Model::default()
            };
            *epoch += 1;
            Ok(())
        }
        22 | 23 => begin_again(log, model, random, *epoch),
        _ => trim(
            log,
            model,
            Offset(start + random.below((end - start + 1) as u64) as i64),
            "trim",
        ),
    }
}

/// A follower all of whose records are deleted, while the leader kept the end of a batch that begins where its active segment
/// did: another segment takes that one's name.
fn begin_again(log: &mut Log, model: &mut Model, random: &mut Random, epoch: i32) -> Result<(), ()> {
    let Some((base, _)) = log.segment_sizes().last().copied() else {
        return Err(());
    };
    let end = log.log_end_offset();
    trim(log, model, end, "all of it")?;
    let records = end.0 - base.0 + 1 + random.below(3) as i64;
    let (bytes, seed) = (1 + random.below(40) as usize, random.below(u64::MAX));
    let batch = append_at(log, base, LeaderEpoch(epoch), records as usize, bytes, seed);
    model.batches.push((base, base.plus(records), batch.map_err(drop)?));
    Ok(())
}

/// Moves the log start, as DeleteRecords and retention do.
fn trim(log: &mut Log, model: &mut Model, to: Offset, why: &str) -> Result<(), ()> {
    assert!(to <= log.log_end_offset(), "{why}: {to} is beyond the log end");
    model.start.1 = model.start.1.max(to);
    log.increment_log_start(to).map_err(drop)?;
    assert_eq!(log.log_start_offset(), to.max(model.start.0), "{why}");
    model.start = (to.max(model.start.0), to.max(model.start.0));
    model.take_promises(log);
    Ok(())
}

fn batch_start(model: &Model, to: Offset) -> Offset {
    model
        .batches
        .iter()
        .find(|(first, next, _)| *first <= to && to < *next)
        .map_or(to, |(first, _, _)| *first)
}

/// The life goes on, and no sync of it has failed.
fn is_healthy(sim: &SimDisk, syncs_fail: bool) -> bool {
    let mut has_failed = false;
    sim.set_faults(|faults| has_failed = syncs_fail && faults.syncs_before_error.is_none());
    !has_failed && sim.handle().read_dir(Path::new("/")).is_ok()
}

type Strategy = fn(&mut Random) -> Box<dyn FlushStrategy>;

/// One life: recover, check, work until the life ends.
fn live(
    sim: &SimDisk,
    seed: u64,
    models: &mut [Option<Model>; 2],
    random: &mut Random,
    (strategy, config): (Strategy, LogConfig),
) -> Result<(), String> {
    // Sometimes whoever relieves the journal comes too late.
    let stuck = (random.below(2) == 0).then_some("log-coverer");
    let host = SimMachine::host_with_stuck(sim.handle(), seed, stuck);
    let mut syncs_fail = false;
    sim.set_faults(|faults| {
        faults.calls_before_seal = Some(random.below(2_500));
        syncs_fail = faults.syncs_before_error.is_some();
    });
    // The life may end anywhere, and a sync may fail: nothing else keeps the log from doing what it is asked.
    let ended = |problem: &dyn Display| match is_healthy(sim, syncs_fail) {
        true => Err(format!("on a healthy disk: {problem}")),
        false => Ok(()),
    };
    // A lap is a few rounds, or some dozens.
    let bytes = 4096 << (seed / 10 % 3);
    let size = JournalSize {
        bytes,
        bytes_max: bytes,
    };
    let mut dir = match LogDir::open_sized(&host, Path::new("/data"), size) {
        Ok(dir) => dir,
        Err(error) => return ended(&error),
    };
    let recovered = match dir.recover() {
        Ok(recovered) => recovered,
        Err(error) => return ended(&error),
    };
    let mut logs: [Option<Log>; 2] = [None, None];
    for found in recovered {
        let index = found.log.topic_partition().partition as usize;
        if let RecoveryOutcome::Corrupt { at, why } = &found.outcome {
            return Err(format!("partition {index} is taken for corrupt at {at}: {why}"));
        }
        let model = models[index].as_mut().ok_or("a deleted log came back")?;
        match model.check(&found.log) {
            Err(_) if sim.handle().read_dir(Path::new("/")).is_err() => return Ok(()),
            checked => checked.map_err(|problem| format!("partition {index}: {problem}"))?,
        }
        logs[index] = Some(found.log);
    }
    for (model, log) in models.iter_mut().zip(&logs) {
        if let (Some(there), None) = (&model, log) {
            if !there.maybe_gone {
                return Err("a log is gone".to_owned());
            }
            *model = None;
        }
    }
    let flusher = dir.start_flusher(&host, strategy(random));
    let mut epoch = logs
        .iter()
        .flatten()
        .filter_map(|log| log.epochs().last())
        .map(|(epoch, _)| epoch.0)
        .max()
        .unwrap_or(0);
    let calm = random.below(2) == 0;
    // Around the end of a lap, if one comes.
    let ends_with_lap = random.below(300);
    for turn in 0..200 {
        // In a calm life one log rests for long, and holds the journal back.
        let index = usize::from(random.below(if calm { 12 } else { 2 }) == 0);
        let Some(log) = &mut logs[index] else {
            models[index] = Some(Model {
                maybe_gone: true,
                ..Model::default()
            });
            let incarnation = ReplicaIncarnation(seed * 1000 + turn);
            let log = match dir.create_log("orders", partition(index as i32), incarnation, config) {
                Ok(log) => log,
                Err(error) => return ended(&error),
            };
            models[index] = Some(Model::default());
            logs[index] = Some(log);
            continue;
        };
        log.set_config(config);
        let Some(model) = &mut models[index] else {
            return Err("a log without a model".to_owned());
        };
        if random.below(40) == 0 {
            model.maybe_gone = true;
            let Some(log) = logs[index].take() else { continue };
            if let Err(error) = log.delete() {
                return ended(&error);
            }
            models[index] = None;
            continue;
        }
        if turn == ends_with_lap {
            let next = (
                PathBuf::from(format!("/data/marks-{}", random.below(2))),
                random.below(4),
            );
            sim.set_faults(|faults| faults.calls_after_beginning_before_seal = Some(next));
        }
        if step(log, model, &flusher, random, &mut epoch, calm).is_err() {
            return ended(&"a step failed");
        }
    }
    if random.below(2) == 0 {
        for log in logs.iter_mut().flatten() {
            let _ = log.close();
        }
    }
    Ok(())
}

/// A bit turns over in a segment; false if there is none with anything in it.
fn rot(sim: &SimDisk, random: &mut Random) -> bool {
    let disk = sim.handle();
    let dir = format!("/data/orders-{}", random.below(2));
    let names = disk.read_dir(Path::new(&dir)).unwrap_or_default().into_iter();
    let logs: Vec<_> = names
        .map(|entry| Path::new(&dir).join(entry.name))
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    let Some(path) = logs.get(random.below(logs.len().max(1) as u64) as usize) else {
        return false;
    };
    let len = disk.read(path).map_or(0, |bytes| bytes.len());
    len > 0 && sim.flip_bit(path, random.below(len as u64), 3).is_ok()
}

/// Recovery of a damaged disk: what was durable is there, or the log says that it is not.
fn recover_rotten(sim: &SimDisk, seed: u64, models: &[Option<Model>; 2]) -> Result<(), String> {
    let mut dir = LogDir::open(&SimMachine::host(sim.handle(), seed), Path::new("/data")).map_err(|e| e.to_string())?;
    for found in dir.recover().map_err(|error| error.to_string())? {
        let (index, end) = (
            found.log.topic_partition().partition as usize,
            found.log.log_end_offset(),
        );
        let Some(model) = &models[index] else { continue };
        let is_corrupt = matches!(found.outcome, RecoveryOutcome::Corrupt { .. });
        if !is_corrupt && model.maybe_fresh != Some(end) && end < model.durable {
            return Err(format!(
                "the damaged log ends at {end} and says nothing, {} was durable",
                model.durable
            ));
        }
    }
    Ok(())
}

/// Six lives of one disk, at times with syncs that fail, in the end perhaps with damage.
fn run(seed: u64, how: (Strategy, LogConfig)) -> Result<(), String> {
    let sim = SimDisk::new();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut models = [None, None];
    for life in 0..6 {
        let fails_at = random.below(300);
        sim.set_faults(|faults| faults.syncs_before_error = Some(fails_at).filter(|at| *at < 50));
        live(&sim, seed * 10 + life, &mut models, &mut random, how)
            .map_err(|problem| format!("life {life}: {problem}"))?;
        sim.set_faults(|faults| {
            (faults.calls_before_seal, faults.syncs_before_error) = (None, None);
            faults.calls_after_beginning_before_seal = None;
        });
        match random.below(4) {
            0 => sim.crash_losing_everything_unsynced(),
            // kill -9: the page cache stays.
            1 => drop(sim.reopen()),
            _ => sim.crash(seed * 10 + life),
        }
        if random.below(8) == 0 && rot(&sim, &mut random) {
            return recover_rotten(&sim, seed, &models);
        }
    }
    Ok(())
}

/// Disks by number, the size of their segments, and how they are flushed.
type Disks = (Range<u64>, u32, Strategy);

const PLAIN: Disks = (0..400, 3_000, |_| Box::new(PlainFlush));
const JOURNAL: Disks = (0..700, 30_000, |_| Box::new(JournalFlush));
const JOURNAL_SMALL_SEGMENTS: Disks = (700..1_000, 3_000, |_| Box::new(JournalFlush));
/// A directory may be opened with either strategy.
const IN_TURN: Disks = (1_000..1_300, 10_000, |random| match random.below(2) {
    0 => Box::new(PlainFlush),
    _ => Box::new(JournalFlush),
});

/// What is found first, each disk having several lives.
fn find((seeds, segment_bytes, strategy): Disks) -> Option<String> {
    let config = LogConfig {
        segment_bytes,
        ..CONFIG
    };
    let mut lives = seeds.map(|seed| (seed, run(seed, (strategy, config))));
    lives.find_map(|(seed, lived)| lived.err().map(|problem| format!("seed {seed}, {problem}")))
}

/// How a life ends: the page cache stays, nothing stays but what was synced, or as a seed has it.
#[derive(Debug, Clone, Copy)]
enum End {
    Kill,
    Loss,
    Tear(u64),
}

/// A new directory is opened, and again, each life ending after any number of calls: it opens then, and is what it was when it
/// could be opened before.
fn find_in_creation() -> Option<String> {
    let ends = [End::Kill, End::Loss, End::Tear(1), End::Tear(2), End::Tear(3)];
    let lives = || (0..CREATION_CALLS).flat_map(move |calls| ends.map(|end| (calls, end)));
    let mut both = lives().flat_map(|first| lives().map(move |second| [first, second]));
    both.find_map(|lives| Some(format!("{lives:?}: {}", create_in(lives).err()?)))
}

/// More than it takes to make a directory.
const CREATION_CALLS: u64 = 45;

fn create_in(lives: [(u64, End); 2]) -> Result<(), String> {
    let sim = SimDisk::new();
    let mut known = None;
    for (life, (calls, end)) in lives.into_iter().chain([(u64::MAX, End::Kill)]).enumerate() {
        sim.set_faults(|faults| faults.calls_before_seal = Some(calls));
        let host = SimMachine::host(sim.handle(), life as u64);
        match LogDir::open_sized(&host, Path::new("/data"), SMALL_JOURNAL) {
            Ok(dir) if known.is_some_and(|known| known != dir.id()) => return Err("it is another one".to_owned()),
            Ok(dir) => known = Some(dir.id()),
            Err(error) if is_healthy(&sim, false) => return Err(error.to_string()),
            Err(_) => {}
        }
        match end {
            End::Kill => drop(sim.reopen()),
            End::Loss => sim.crash_losing_everything_unsynced(),
            End::Tear(seed) => sim.crash(seed),
        }
    }
    match known {
        Some(_) => Ok(()),
        None => Err("it was never opened".to_owned()),
    }
}

/// Rules of the log that are left out: the suite notices, of the disks that the intact log passes.
#[cfg(feature = "broken")]
#[test]
fn a_rule_that_is_left_out_is_noticed() {
    use types::Broken;
    type Suite = fn() -> Option<String>;
    let rules: [(Broken, Suite); 12] = [
        (Broken::MarkBeforeSync, || find(PLAIN)),
        (Broken::ForgetDirectorySync, || find(PLAIN)),
        (Broken::CutWithoutJournal, || find(PLAIN)),
        (Broken::CutBelowMark, || find(PLAIN)),
        (Broken::StayAfterFailedFlush, || find(PLAIN)),
        // What is appended here never waits for its epoch (`AppendBeforeEpoch`): this is what makes up for it.
        (Broken::ForgetFoundEpochs, || find(PLAIN)),
        (Broken::ReuseBeforeReplayStart, || find(JOURNAL)),
        (Broken::KeepReplacedFiles, || find(JOURNAL)),
        (Broken::JournalBesideCut, || find(JOURNAL)),
        (Broken::CutUnsyncedTail, || find(JOURNAL)),
        (Broken::ReplayOverCut, || find(JOURNAL)),
        (Broken::ForgetJournalNames, find_in_creation),
    ];
    let mut unnoticed = Vec::new();
    for (rule, find) in rules {
        types::choose([rule]);
        let found = find();
        types::choose(None);
        match found {
            Some(problem) => println!("{rule:?} with {problem}"),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "nobody notices {unnoticed:?}");
}

#[test]
fn nothing_promised_is_lost_and_nothing_cut_comes_back() {
    assert_eq!(find(PLAIN), None);
}

#[test]
fn nothing_is_lost_and_nothing_comes_back_with_the_journal() {
    assert_eq!(find(JOURNAL), None);
    assert_eq!(find(JOURNAL_SMALL_SEGMENTS), None);
}

#[test]
fn nothing_is_lost_where_the_strategies_take_turns() {
    assert_eq!(find(IN_TURN), None);
}

#[test]
fn a_directory_whose_making_was_cut_short_opens_and_stays_what_it_is() {
    assert_eq!(find_in_creation(), None);
}
