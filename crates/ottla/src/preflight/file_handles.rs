use super::PreflightError;
use crate::settings::Settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use types::limits;

const MAX_CONNECTIONS: &str = "max.connections";

/// The soft limit becomes the hard one, and clients get what the node itself does not need.
pub fn raise(settings: &mut Settings) -> Result<(), PreflightError> {
    let limits = getrlimit(Resource::Nofile);
    // Only an unprivileged process that lowers its own limit meanwhile can be refused: then the old one counts.
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limits.maximum,
            maximum: limits.maximum,
        },
    );
    let limit = if raised.is_ok() { limits.maximum } else { limits.current };
    share(limit.unwrap_or(u64::MAX), settings)
}

fn share(limit: u64, settings: &mut Settings) -> Result<(), PreflightError> {
    let own = limits::OPEN_FILES_MAX as u64 + limits::FILE_HANDLES_BESIDE;
    let left = limit.saturating_sub(own);
    if left == 0 {
        return Err(PreflightError::FileHandles { limit, needed: own + 1 });
    }
    let wanted = settings
        .properties
        .get(MAX_CONNECTIONS)
        .and_then(|text| text.parse().ok());
    if let Some(wanted) = wanted.filter(|wanted| *wanted > left) {
        settings.warnings.push(format!(
            "this process may open {limit} files and keeps {own} of them for itself: {MAX_CONNECTIONS} is {left}, not {wanted}. \
             For all of them raise the hard limit to {} (ulimit -Hn, LimitNOFILE=)",
            own.saturating_add(wanted)
        ));
        settings.properties.insert(MAX_CONNECTIONS.to_owned(), left.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (limit, connections asked for, connections given; `None`: refused, and whether there is a warning)
    #[test]
    fn clients_get_the_handles_that_the_node_does_not_need() {
        let own = limits::OPEN_FILES_MAX as u64 + limits::FILE_HANDLES_BESIDE;
        for (limit, asked, given, warned) in [
            (u64::MAX, 15_000, Some(15_000), false),
            (own + 15_000, 15_000, Some(15_000), false),
            (own + 14_999, 15_000, Some(14_999), true),
            (own + 1, 15_000, Some(1), true),
            (own, 1, None, false),
            (1024, 15_000, None, false),
        ] {
            let flags = [
                "node.id=1".to_owned(),
                "log.dirs=/d".to_owned(),
                format!("max.connections={asked}"),
            ];
            let mut settings = Settings::read(None, std::iter::empty(), &flags).unwrap();
            let outcome = share(limit, &mut settings);
            match given {
                None => {
                    let error = outcome.unwrap_err().to_string();
                    assert!(
                        error.contains(&limit.to_string()) && error.contains(&(own + 1).to_string()),
                        "{error}"
                    );
                }
                Some(given) => {
                    outcome.unwrap();
                    assert_eq!(settings.properties[MAX_CONNECTIONS], given.to_string(), "{limit}");
                }
            }
            assert_eq!(!settings.warnings.is_empty(), warned, "{limit}");
        }
    }
}
