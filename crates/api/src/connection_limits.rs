use crate::ApiSettings;
use crate::creation_rate::CreationRate;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use types::Monotonic;

/// Connections of the node, counted against `max.connections`, `max.connections.per.ip`,
/// `max.connections.per.ip.overrides` and `max.connection.creation.rate`.
#[derive(Debug)]
pub struct ConnectionLimits {
    max: usize,
    max_per_ip: usize,
    overrides: BTreeMap<IpAddr, usize>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    accepted: u64,
    refused: u64,
    delayed: u64,
    rate: CreationRate,
    by_ip: BTreeMap<IpAddr, usize>,
}

/// A connection's place; given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    limits: Arc<ConnectionLimits>,
    ip: IpAddr,
}

impl ConnectionLimits {
    #[must_use]
    pub fn new(settings: &ApiSettings) -> Arc<Self> {
        Arc::new(Self {
            max: settings.max_connections,
            max_per_ip: settings.max_connections_per_ip,
            overrides: settings.max_connections_per_ip_overrides.clone(),
            open: Mutex::default(),
        })
    }

    /// Open now; accepted, refused and delayed since the start.
    #[must_use]
    pub fn counts(&self) -> (usize, u64, u64, u64) {
        let open = self.lock();
        (open.all, open.accepted, open.refused, open.delayed)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has come: how long the rate, in connections a second, keeps it back.
    pub fn delay(&self, per_second: u32, now: Monotonic) -> Duration {
        let mut open = self.lock();
        let delay = open.rate.delay(per_second, now);
        open.delayed += u64::from(!delay.is_zero());
        delay
    }

    /// # Errors
    /// The property that refuses the connection.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, &'static str> {
        let mut open = self.lock();
        if open.all >= self.max {
            open.refused += 1;
            return Err("max.connections is reached");
        }
        let (max, property) = match self.overrides.get(&ip) {
            Some(max) => (*max, "max.connections.per.ip.overrides is reached"),
            None => (self.max_per_ip, "max.connections.per.ip is reached"),
        };
        if open.by_ip.get(&ip).copied().unwrap_or(0) >= max {
            open.refused += 1;
            return Err(property);
        }
        open.all += 1;
        open.accepted += 1;
        *open.by_ip.entry(ip).or_default() += 1;
        Ok(Place {
            limits: Arc::clone(self),
            ip,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        open.all -= 1;
        if let Some(count) = open.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let ip = |last| IpAddr::from([127, 0, 0, last]);
        let settings = ApiSettings {
            max_connections: 4,
            max_connections_per_ip: 1,
            max_connections_per_ip_overrides: BTreeMap::from([(ip(4), 2), (ip(5), 0)]),
            ..ApiSettings::default()
        };
        let limits = ConnectionLimits::new(&settings);
        let first = limits.enter(ip(1)).unwrap();
        assert_eq!(limits.enter(ip(1)).unwrap_err(), "max.connections.per.ip is reached");
        let second = limits.enter(ip(2)).unwrap();
        let more = [limits.enter(ip(4)).unwrap(), limits.enter(ip(4)).unwrap()];
        assert_eq!(limits.enter(ip(3)).unwrap_err(), "max.connections is reached");
        drop(first);
        for address in [4, 5] {
            let refused = limits.enter(ip(address)).unwrap_err();
            assert_eq!(refused, "max.connections.per.ip.overrides is reached");
        }
        drop((second, more));
        assert!(limits.enter(ip(1)).is_ok());
        assert_eq!(limits.counts(), (0, 5, 4, 0));
        let open = limits.open.lock().unwrap();
        assert_eq!(
            (open.all, open.by_ip.len()),
            (0, 0),
            "nothing is remembered of who has left"
        );
    }
}
