//! Ottla broken on purpose, one rule at a time or two, so that the simulator and the suites can show that they would notice.
//!
//! Only with the feature `broken`, which no build of the server has: without it [`broken`] is `false` and the compiler
//! takes every hook away. With it, each thread chooses for itself, and chooses nothing at first.

/// One rule left out. Each has one hook or a few, `if broken(Broken::…)`, where the rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    AckBeforeReplication,
    AckBeforeFlush,
    TruncateToHighWatermark,
    IgnoreLeaderEpochs,
    ForgetProducers,
    ReuseRaftId,
    CountFenced,
    AcceptOldEpochs,
    IgnoreTargetRaftId,
    RestoreRaftLeader,
    KeepEpochOverRestart,
    KeepLostReplicas,
    KeepUncleanReplicas,
    JoinInAnEarlierLife,
    IgnorePendingIsr,
    CommitBelowMinIsr,
    JoinBehind,
    JoinUndeleted,
    SkipDemotion,
    KeepWaitingOverEpochs,
    AnswerDuplicatesAtOnce,
    ServeUncommitted,
    IgnoreGenerations,
    KeepAcksOverHello,
    IgnoreContinuity,
    MarkBeforeSync,
    ForgetDirectorySync,
    CutBelowMark,
    CutWithoutJournal,
    AppendBeforeEpoch,
    ForgetFoundEpochs,
    ServeRot,
    ElectAnybody,
    StayAfterFailedFlush,
    ShowLaggingEnd,
    KeepEmptyEpochs,
    ReuseBeforeReplayStart,
    KeepReplacedFiles,
    JournalBesideCut,
    CutUnsyncedTail,
    ReplayOverCut,
    ForgetJournalNames,
    AnswerUnconfirmed,
}

/// Every switch: its name on the command line, and what Ottla then does.
pub const SWITCHES: &[(Broken, &str, &str)] = &[
    (
        Broken::AckBeforeReplication,
        "ack-before-replication",
        "the high watermark waits for no follower",
    ),
    (
        Broken::AckBeforeFlush,
        "ack-before-flush",
        "a strict topic's acknowledgement stands for what is in memory",
    ),
    (
        Broken::TruncateToHighWatermark,
        "truncate-to-high-watermark",
        "a follower cuts its log at its high watermark first (KIP-101)",
    ),
    (
        Broken::IgnoreLeaderEpochs,
        "ignore-leader-epochs",
        "logs are compared by their ends alone",
    ),
    (
        Broken::ForgetProducers,
        "forget-producers",
        "a new leader knows no producer",
    ),
    (
        Broken::ReuseRaftId,
        "reuse-raft-id",
        "a wiped node gets its old Raft id back",
    ),
    (
        Broken::CountFenced,
        "count-fenced",
        "a fenced replica stays in the ISR and counts for its minimum, though nobody waits for it",
    ),
    (
        Broken::AcceptOldEpochs,
        "accept-old-epochs",
        "leader and follower take messages of any leader epoch",
    ),
    (
        Broken::IgnoreTargetRaftId,
        "ignore-target-raft-id",
        "a member answers Raft calls that are meant for another",
    ),
    (
        Broken::RestoreRaftLeader,
        "restore-raft-leader",
        "a restarted Raft leader leads on in its term (openraft's default)",
    ),
    (
        Broken::KeepEpochOverRestart,
        "keep-epoch-over-restart",
        "a broker that registers again leads on in the leader epoch of its dead self (KAFKA-10527)",
    ),
    (
        Broken::KeepLostReplicas,
        "keep-lost-replicas",
        "a replica whose disk is gone, damaged or old keeps its membership",
    ),
    (
        Broken::KeepUncleanReplicas,
        "keep-unclean-replicas",
        "a relaxed replica keeps its membership over an unclean stop (KIP-966)",
    ),
    (
        Broken::JoinInAnEarlierLife,
        "join-in-an-earlier-life",
        "the ISR takes fenced brokers and stale broker epochs (KIP-841, KIP-903)",
    ),
    (
        Broken::IgnorePendingIsr,
        "ignore-pending-isr",
        "the high watermark waits for the committed ISR only, not for the maximal one (KIP-497)",
    ),
    (
        Broken::CommitBelowMinIsr,
        "commit-below-min-isr",
        "the high watermark advances below the minimum of the ISR",
    ),
    (
        Broken::JoinBehind,
        "join-behind",
        "a follower joins the ISR before it has what is committed",
    ),
    (
        Broken::JoinUndeleted,
        "join-undeleted",
        "a follower joins the ISR before it has deleted what the leader has",
    ),
    (
        Broken::SkipDemotion,
        "skip-demotion",
        "a leader that leads again in another epoch goes on as it was",
    ),
    (
        Broken::KeepWaitingOverEpochs,
        "keep-waiting-over-epochs",
        "a produce waits on when its leader epoch ends",
    ),
    (
        Broken::AnswerDuplicatesAtOnce,
        "answer-duplicates-at-once",
        "a duplicate is answered before the original is committed",
    ),
    (
        Broken::ServeUncommitted,
        "serve-uncommitted",
        "clients read above the high watermark",
    ),
    (
        Broken::IgnoreGenerations,
        "ignore-generations",
        "frames and acknowledgements of older streams count",
    ),
    (
        Broken::KeepAcksOverHello,
        "keep-acks-over-hello",
        "what a follower acknowledged counts on after it has stated another position",
    ),
    (
        Broken::IgnoreContinuity,
        "ignore-continuity",
        "a follower appends whatever comes, without epoch, generation or digest",
    ),
    (
        Broken::MarkBeforeSync,
        "mark-before-sync",
        "the durable mark is written and nothing else is synced",
    ),
    (
        Broken::ForgetDirectorySync,
        "forget-directory-sync",
        "a new segment's directory is not synced",
    ),
    (
        Broken::CutBelowMark,
        "cut-below-mark",
        "recovery cuts a log at damage below its durable mark, and says nothing",
    ),
    (
        Broken::CutWithoutJournal,
        "cut-without-journal",
        "a truncation is not in the journal before the file is touched",
    ),
    (
        Broken::AppendBeforeEpoch,
        "append-before-epoch",
        "records are written before their leader epoch's start is durable (KAFKA-7415)",
    ),
    (
        Broken::ForgetFoundEpochs,
        "forget-found-epochs",
        "recovery takes no leader epoch from the records that it finds above the durable mark",
    ),
    (Broken::ServeRot, "serve-rot", "what is read from a file is not checked"),
    (
        Broken::ElectAnybody,
        "elect-anybody",
        "leaders are elected from outside ISR and ELR",
    ),
    (
        Broken::StayAfterFailedFlush,
        "stay-after-failed-flush",
        "a failed flush is forgotten and the next one counts (KAFKA-10778)",
    ),
    (
        Broken::ShowLaggingEnd,
        "show-lagging-end",
        "ListOffsets tells a new leader's high watermark before it has caught up (KIP-207)",
    ),
    (
        Broken::KeepEmptyEpochs,
        "keep-empty-epochs",
        "a replica that led and appended nothing keeps that leader epoch when it follows",
    ),
    (
        Broken::ReuseBeforeReplayStart,
        "reuse-before-replay-start",
        "a file of the journal is written over before a round says that replay begins after it",
    ),
    (
        Broken::KeepReplacedFiles,
        "keep-replaced-files",
        "what the journal has of a segment is written to the one that took its place",
    ),
    (
        Broken::JournalBesideCut,
        "journal-beside-cut",
        "new bytes go through the journal, with their mark, while the cut before them is on no disk",
    ),
    (
        Broken::CutUnsyncedTail,
        "cut-unsynced-tail",
        "a cut voids what the journal has of a segment that is not synced",
    ),
    (
        Broken::ReplayOverCut,
        "replay-over-cut",
        "what the journal has from before a cut is written to the segment again",
    ),
    (
        Broken::ForgetJournalNames,
        "forget-journal-names",
        "the names of the journal's files are not synced",
    ),
    (
        Broken::AnswerUnconfirmed,
        "answer-unconfirmed",
        "a coordinator says what a group has committed though no follower says that it still leads",
    ),
];

#[cfg(feature = "broken")]
mod chosen {
    use super::Broken;
    use std::cell::Cell;

    thread_local! {
        /// A bit each.
        static CHOSEN: Cell<u64> = const { Cell::new(0) };
    }

    fn bit(rule: Broken) -> u64 {
        1 << (rule as u32)
    }

    /// What is broken on this thread from now on: these and nothing else.
    pub fn choose(rules: impl IntoIterator<Item = Broken>) {
        CHOSEN.set(rules.into_iter().map(bit).fold(0, std::ops::BitOr::bitor));
    }

    /// Whether this rule is left out on this thread.
    #[must_use]
    pub fn broken(rule: Broken) -> bool {
        CHOSEN.get() & bit(rule) != 0
    }
}

#[cfg(feature = "broken")]
pub use chosen::{broken, choose};

/// Nothing is broken in this build.
#[cfg(not(feature = "broken"))]
#[must_use]
#[inline]
pub const fn broken(_rule: Broken) -> bool {
    false
}
