use crate::ApiSettings;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections of the node, counted against `max.connections` and `max.connections.per.ip`.
#[derive(Debug)]
pub struct ConnectionLimits {
    max: usize,
    max_per_ip: usize,
    open: Mutex<BTreeMap<IpAddr, usize>>,
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
            open: Mutex::default(),
        })
    }

    /// # Errors
    /// The property that refuses the connection.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, &'static str> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= self.max {
            return Err("max.connections is reached");
        }
        let count = open.entry(ip).or_default();
        if *count >= self.max_per_ip {
            return Err("max.connections.per.ip is reached");
        }
        *count += 1;
        Ok(Place {
            limits: Arc::clone(self),
            ip,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let settings = ApiSettings {
            max_connections: 2,
            max_connections_per_ip: 1,
            ..ApiSettings::default()
        };
        let limits = ConnectionLimits::new(&settings);
        let ip = |last| IpAddr::from([127, 0, 0, last]);
        let first = limits.enter(ip(1)).unwrap();
        assert_eq!(limits.enter(ip(1)).unwrap_err(), "max.connections.per.ip is reached");
        let second = limits.enter(ip(2)).unwrap();
        assert_eq!(limits.enter(ip(3)).unwrap_err(), "max.connections is reached");
        drop((first, second));
        assert!(limits.enter(ip(1)).is_ok());
    }
}
