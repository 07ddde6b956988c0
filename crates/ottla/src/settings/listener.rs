/// A socket to listen on, and the name under which others reach it. Kafka's form: `PLAINTEXT://host:port`; the
/// protocol may be left out, an empty host means every interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub host: String,
    pub port: u16,
    pub advertised_host: String,
    pub advertised_port: u16,
}

impl Listener {
    /// # Errors
    /// What is wrong, as the end of a sentence that starts with name=value.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let text = text.trim();
        if text.contains(',') {
            return Err("one listener is served; a list of them comes with TLS".to_owned());
        }
        let address = strip_protocol(text)?;
        let (host, port) = if address.is_empty() {
            (String::new(), default_port)
        } else {
            host_port(address).ok_or("wants PLAINTEXT://host:port")?
        };
        let (host, advertised_host) = match host.as_str() {
            "" | "0.0.0.0" | "*" => ("0.0.0.0".to_owned(), "localhost".to_owned()),
            "127.0.0.1" => (host.clone(), "localhost".to_owned()),
            _ => (host.clone(), host),
        };
        Ok(Self {
            host,
            port,
            advertised_host,
            advertised_port: port,
        })
    }

    /// # Errors
    /// As [`Listener::parse`].
    pub fn advertise(&mut self, text: &str) -> Result<(), String> {
        let (host, port) = host_port(strip_protocol(text.trim())?).ok_or("wants PLAINTEXT://host:port")?;
        self.advertised_host = host;
        self.advertised_port = port;
        Ok(())
    }

    /// `host:port` as others see it.
    #[must_use]
    pub fn advertised(&self) -> String {
        format!("{}:{}", self.advertised_host, self.advertised_port)
    }

    /// Whether both cannot be listened on at the same time. Port 0 picks a free one.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        let everywhere = |host: &str| matches!(host, "0.0.0.0" | "::");
        let overlap = self.host == other.host || everywhere(&self.host) || everywhere(&other.host);
        self.port == other.port && self.port != 0 && overlap
    }

    /// Only processes of this machine can connect.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

fn strip_protocol(text: &str) -> Result<&str, String> {
    match text.split_once("://") {
        None => Ok(text),
        Some((protocol, rest)) if protocol.eq_ignore_ascii_case("PLAINTEXT") => Ok(rest),
        Some((protocol, _)) => Err(format!("the listener protocol {protocol} is not served; PLAINTEXT is")),
    }
}

/// `host:port`, `[v6]:port` or `:port`.
pub fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, host, port, advertised) in [
            ("PLAINTEXT://127.0.0.1:9092", "127.0.0.1", 9092, "localhost:9092"),
            ("plaintext://:9093", "0.0.0.0", 9093, "localhost:9093"),
            ("kafka-1:9092", "kafka-1", 9092, "kafka-1:9092"),
            ("", "0.0.0.0", 1, "localhost:1"),
            ("[::1]:7", "::1", 7, "::1:7"),
        ] {
            let listener = Listener::parse(text, 1).unwrap();
            assert_eq!(
                (listener.host.as_str(), listener.port, listener.advertised().as_str()),
                (host, port, advertised),
                "{text}"
            );
        }
        assert!(Listener::parse("SSL://a:1", 1).unwrap_err().contains("SSL"));
        assert!(Listener::parse("a:b", 1).is_err());
        assert!(Listener::parse("[::1]:7", 1).unwrap().is_loopback());
        assert!(!Listener::parse(":7", 1).unwrap().is_loopback());
    }
}
