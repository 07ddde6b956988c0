use super::{PreflightError, holder};
use crate::settings::{Listener, Settings};
use host::Net;
use std::io;

/// Listens on every port of the node for a moment.
pub async fn check(net: &dyn Net, settings: &Settings) -> Result<(), PreflightError> {
    for (property, listener) in [
        ("listeners", &settings.kafka),
        ("control.listener", &settings.control),
        ("replica.listener", &settings.replica),
        ("admin.listener", &settings.admin),
    ] {
        if let Err(error) = net.listen(&listener.host, listener.port).await {
            return Err(PreflightError::Port {
                property,
                address: format!("{}:{}", listener.host, listener.port),
                why: why(property, listener, &error, holder::of_port(listener.port)),
            });
        }
    }
    Ok(())
}

fn why(property: &str, listener: &Listener, error: &io::Error, holder: Option<String>) -> String {
    let Listener { host, port, .. } = listener;
    match error.kind() {
        io::ErrorKind::AddrInUse => match holder {
            Some(holder) => format!("the port is in use by {holder}. Stop that process, or choose another port"),
            None => format!(
                "the port is in use by another process (as root, `ss -ltnp sport = :{port}` says by which). Stop that \
                 process, or choose another port"
            ),
        },
        io::ErrorKind::AddrNotAvailable => format!(
            "{host} is no address of this machine. Listen on one that is (0.0.0.0 for all), and tell others the name that \
             they reach it by with advertised.listeners and its kin"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("{error}. Ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose a higher one")
        }
        _ => format!("{error}. Check the name in {property}"),
    }
}
