use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Who is refused again within this time is not named again.
const QUIET: Duration = Duration::from_secs(10);
/// Addresses remembered; with more of them all are forgotten.
const ADDRESSES_MAX: usize = 256;

/// Keeps one stranger from filling the log: a line per address and [`QUIET`].
#[derive(Debug, Default)]
pub struct Complaints {
    last: BTreeMap<IpAddr, Duration>,
}

impl Complaints {
    /// Whether a refusal of `peer` at `now` (of any clock that only moves on) is to be told.
    pub fn due(&mut self, peer: IpAddr, now: Duration) -> bool {
        if self
            .last
            .get(&peer)
            .is_some_and(|last| now.saturating_sub(*last) < QUIET)
        {
            return false;
        }
        if self.last.len() >= ADDRESSES_MAX {
            self.last.clear();
        }
        self.last.insert(peer, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_line_per_address_and_while() {
        let mut complaints = Complaints::default();
        let peer = |n: u32| IpAddr::V4(Ipv4Addr::from(n));
        for (address, seconds, due) in [
            (1, 0, true),
            (1, 9, false),
            (2, 9, true),
            (1, 10, true),
            (1, 19, false),
            (1, 20, true),
        ] {
            assert_eq!(
                complaints.due(peer(address), Duration::from_secs(seconds)),
                due,
                "{address} at {seconds}"
            );
        }
        for n in 0..10_000 {
            complaints.due(peer(n), Duration::from_secs(30));
        }
        assert!(complaints.last.len() <= ADDRESSES_MAX);
    }
}
