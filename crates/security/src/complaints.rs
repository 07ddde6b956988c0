use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use types::{Monotonic, limits};

/// Which connections that were refused or broke off are told in the log: one per address and
/// [`limits::COMPLAINT_INTERVAL`], with how many there were since. An attacker does not fill the disk with our words. `now` is of any clock that only moves on.
#[derive(Debug, Default)]
pub struct Complaints {
    told: Mutex<BTreeMap<IpAddr, Told>>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Monotonic,
    since: u64,
}

impl Complaints {
    /// How many complaints of this address were kept back since the last one that was told; `None` if this one is kept
    /// back too.
    #[must_use]
    pub fn tell(&self, ip: IpAddr, now: Monotonic) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |told: &Told| now.0.saturating_sub(told.at.0) < limits::COMPLAINT_INTERVAL;
        if let Some(last) = told.get_mut(&ip)
            && recent(last)
        {
            last.since += 1;
            return None;
        }
        let kept_back = told.remove(&ip).map_or(0, |last| last.since);
        if told.len() >= limits::COMPLAINT_ADDRESSES_MAX {
            told.retain(|_, last| recent(last));
        }
        // So many addresses at once are one attack: those that are told suffice.
        if told.len() >= limits::COMPLAINT_ADDRESSES_MAX {
            return None;
        }
        told.insert(ip, Told { at: now, since: 0 });
        Some(kept_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn one_line_per_address_and_interval() {
        let complaints = Complaints::default();
        let at = |seconds| Monotonic(Duration::from_secs(seconds));
        let interval = limits::COMPLAINT_INTERVAL.as_secs();
        // (address, second, what was kept back)
        let rows = [
            (1, 0, Some(0)),
            (1, 1, None),
            (2, 1, Some(0)),
            (1, interval - 1, None),
            (1, interval, Some(2)),
            (1, interval + 1, None),
            (2, interval * 5, Some(0)),
        ];
        for (address, second, kept_back) in rows {
            assert_eq!(
                complaints.tell(ip(address), at(second)),
                kept_back,
                "{address} at {second}"
            );
        }
    }

    #[test]
    fn addresses_take_bounded_memory() {
        let complaints = Complaints::default();
        let most = u32::try_from(limits::COMPLAINT_ADDRESSES_MAX).unwrap();
        let told = |now| {
            (0..3 * most)
                .filter(|n| complaints.tell(ip(*n), Monotonic(now)).is_some())
                .count()
        };
        assert_eq!(told(Duration::ZERO), limits::COMPLAINT_ADDRESSES_MAX);
        assert_eq!(complaints.told.lock().unwrap().len(), limits::COMPLAINT_ADDRESSES_MAX);
        assert_eq!(
            told(limits::COMPLAINT_INTERVAL),
            limits::COMPLAINT_ADDRESSES_MAX,
            "room again"
        );
    }
}
