use std::fs;
use std::time::Duration;

/// What a process takes of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessUsage {
    /// In user and system mode, since the start.
    pub cpu: Duration,
    /// Since the machine's start.
    pub started: Duration,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub threads: u64,
    pub open_files: u64,
    /// The soft limit; `None`: unlimited.
    pub open_files_max: Option<u64>,
}

impl ProcessUsage {
    /// From `/proc`; `None` where there is none.
    pub(crate) fn of_this_process() -> Option<Self> {
        let usage = Self::parse(
            &fs::read_to_string("/proc/self/stat").ok()?,
            rustix::param::clock_ticks_per_second(),
            rustix::param::page_size() as u64,
        )?;
        Some(Self {
            // Without the descriptor of the listing itself.
            open_files: fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64,
            open_files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            ..usage
        })
    }

    /// proc(5): fields are separated by blanks, the second is the name in parentheses and may hold any character.
    fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first here is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1_000) / ticks_per_second.max(1));
        Some(Self {
            cpu: time(field(14)?.saturating_add(field(15)?)),
            started: time(field(22)?),
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)?.saturating_mul(page_bytes),
            open_files: 0,
            open_files_max: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 6 7 20 0 9 0 12345 4096000 100 18446744073709551615 1 1";
        let usage = ProcessUsage::parse(stat, 100, 4096).unwrap();
        assert_eq!(usage.cpu, Duration::from_secs(2));
        assert_eq!(usage.started, Duration::from_millis(123_450));
        assert_eq!(
            (usage.threads, usage.virtual_bytes, usage.resident_bytes),
            (9, 4_096_000, 409_600)
        );
        assert_eq!(ProcessUsage::parse("7 (a) S 1", 100, 4096), None);
    }

    #[test]
    fn this_process_has_files_and_memory() {
        let usage = ProcessUsage::of_this_process().unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.threads >= 1, "{usage:?}");
        let more: Vec<_> = (0..10).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(ProcessUsage::of_this_process().unwrap().open_files >= usage.open_files + 5);
        drop(more);
    }
}
