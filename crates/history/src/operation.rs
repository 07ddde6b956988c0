//! Operations in words, for reports.

use crate::collected::{Bounds, Commit, End, GroupOffset, History, NO_OFFSET, NONE, Scan};

impl History {
    /// Seconds since the first event.
    pub(crate) fn time(&self, at: u64) -> String {
        let since = at.saturating_sub(self.began);
        format!("{}.{:03} s", since / 1_000_000_000, since / 1_000_000 % 1000)
    }

    pub(crate) fn tell_send(&self, index: u32) -> String {
        let send = &self.sends[index as usize];
        let (worker, value) = (self.workers.name(send.worker), send.value);
        let to = if send.partition == NONE {
            "?"
        } else {
            self.partitions.name(send.partition)
        };
        let sent = format!(
            "line {}: {worker} sent {value} to {to} at {}",
            send.line,
            self.time(send.invoked)
        );
        let end = match send.end {
            End::Ok if send.offset == NO_OFFSET => "acknowledged without its offset".to_owned(),
            End::Ok => format!("acknowledged at offset {}", send.offset),
            End::Fail => "certainly failed".to_owned(),
            End::Info => "nobody knows how it ended".to_owned(),
        };
        if send.end_line == NONE {
            return format!("{sent}; it was never answered");
        }
        format!("{sent}; line {}: {end} at {}", send.end_line, self.time(send.ended))
    }

    /// What one poll found at an offset.
    pub(crate) fn tell_read(&self, poll: u32, offset: i64, value: Option<u64>) -> String {
        let poll = &self.polls[poll as usize];
        let value = value.map_or("what is no value".to_owned(), |value| value.to_string());
        format!(
            "line {}: {} read {value} at offset {offset}{} at {}",
            poll.line,
            self.workers.name(poll.worker),
            if poll.is_final { " in the final scan" } else { "" },
            self.time(poll.at)
        )
    }

    pub(crate) fn tell_commit(&self, commit: &Commit) -> String {
        let end = match commit.end {
            End::Ok => format!("acknowledged at {}", self.time(commit.ended)),
            End::Fail => "certainly failed".to_owned(),
            End::Info => "nobody knows how it ended".to_owned(),
        };
        format!(
            "line {}: {} committed {} for group {} at {}; {end}",
            commit.line,
            self.workers.name(commit.worker),
            commit.offset,
            self.groups.name(commit.group),
            self.time(commit.invoked)
        )
    }

    pub(crate) fn tell_group_offset(&self, answer: &GroupOffset) -> String {
        format!(
            "line {}: {} asked for the offset of group {} at {} and was told {} at {}",
            answer.line,
            self.workers.name(answer.worker),
            self.groups.name(answer.group),
            self.time(answer.asked),
            answer.offset,
            self.time(answer.at)
        )
    }

    pub(crate) fn tell_bounds(&self, bounds: &Bounds) -> String {
        let number = |offset: Option<i64>| offset.map_or("-".to_owned(), |offset| offset.to_string());
        format!(
            "line {}: {} asked for the bounds at {} and was told log start {}, high watermark {} at {}",
            bounds.line,
            self.workers.name(bounds.worker),
            self.time(bounds.asked),
            number(bounds.log_start),
            number(bounds.high_watermark),
            self.time(bounds.at)
        )
    }

    pub(crate) fn tell_scan(&self, scan: &Scan) -> String {
        format!(
            "line {}: {} ended the final scan, from log start {} to high watermark {}",
            scan.line,
            self.workers.name(scan.worker),
            scan.log_start,
            scan.high_watermark
        )
    }
}
