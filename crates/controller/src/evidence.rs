use crate::liveness::DialOutcome;
use host::Net;
use metadata::Endpoint;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Dials a broker's `registered` control port at the address that its session came from (`source`), or at the
/// registered name where it has had no session with this controller.
///
/// ◆ Where `source` is none of the registered name's addresses there is address translation between us: what
/// refuses there is some other machine, or none, and says nothing of the broker.
pub(crate) async fn dial(net: &dyn Net, source: Option<IpAddr>, registered: &Endpoint, limit: Duration) -> DialOutcome {
    let dialled = async {
        let host = match source {
            None => registered.host.clone(),
            Some(source) => {
                let known = net.resolve(&registered.host).await?;
                // One IPv4 address has two forms where a listener takes both families.
                if !known.iter().any(|known| known.to_canonical() == source.to_canonical()) {
                    return Ok(DialOutcome::Unclear);
                }
                source.to_string()
            }
        };
        match net.dial(&host, registered.port).await {
            Ok(_) => Ok(DialOutcome::Accepted),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(DialOutcome::Refused),
            Err(error) => Err(error),
        }
    };
    match tokio::time::timeout(limit, dialled).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err::<_, io::Error>(_)) | Err(_) => DialOutcome::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::RealNet;

    /// ◆ The third row is a refusal by a machine that is not the broker's. Fails without the look at the addresses.
    #[tokio::test]
    async fn only_the_brokers_own_machine_gives_evidence() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = free.local_addr().unwrap().port();
        drop(free);
        let (unknown, loopback) = ("no-such-host.invalid", "127.0.0.1");
        let rows = [
            (Some("127.0.0.1"), loopback, open, DialOutcome::Accepted),
            (Some("127.0.0.1"), loopback, closed, DialOutcome::Refused),
            (Some("127.0.0.2"), loopback, closed, DialOutcome::Unclear),
            (Some("::ffff:127.0.0.1"), loopback, closed, DialOutcome::Refused),
            (Some("127.0.0.1"), unknown, closed, DialOutcome::Unclear),
            (None, loopback, closed, DialOutcome::Refused),
            (None, unknown, closed, DialOutcome::Unclear),
        ];
        for (source, host, port, expected) in rows {
            let source = source.map(|source| source.parse().unwrap());
            let registered = Endpoint {
                host: host.to_owned(),
                port,
            };
            let outcome = dial(&RealNet, source, &registered, Duration::from_secs(5)).await;
            assert_eq!(outcome, expected, "{source:?} for {host}:{port}");
        }
    }
}
