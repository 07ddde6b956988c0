use crate::settings::Settings;
use security::{ClusterSecret, SECRET_BYTES_MAX, SECRETS_MAX};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More than this is no file of secrets.
const FILE_BYTES_MAX: u64 = (SECRETS_MAX * (SECRET_BYTES_MAX + 2)) as u64;

/// Why nodes cannot authenticate each other.
#[derive(Debug, thiserror::Error)]
pub enum ClusterSecretError {
    #[error(
        "control.listener ({control}) and replica.listener ({replica}) can be reached from other machines, and whoever reaches \
         them could acknowledge and vote. Give all nodes the same secret (head -c 32 /dev/urandom | base64 > FILE, then \
         cluster.secret=FILE), or bind both to loopback (control.listener=127.0.0.1:PORT, replica.listener=127.0.0.1:PORT)"
    )]
    Wanted { control: String, replica: String },
    #[error("cluster.secret={path}: {error}. It must be a file that this user may read", path = .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("cluster.secret={path}: {error}", path = .path.display())]
    Content {
        path: PathBuf,
        error: security::SecretError,
    },
}

/// What a node authenticates others with. ◆ Without it, ports between nodes are bound to loopback only: whoever can
/// acknowledge can commit, and whoever can vote can rule.
///
/// # Errors
/// [`ClusterSecretError`].
pub fn of_node(settings: &Settings) -> Result<Option<Arc<ClusterSecret>>, ClusterSecretError> {
    match &settings.cluster_secret {
        Some(path) => read(path).map(Some),
        None if settings.inter_node_on_loopback() => Ok(None),
        None => Err(ClusterSecretError::Wanted {
            control: format!("{}:{}", settings.control.host, settings.control.port),
            replica: format!("{}:{}", settings.replica.host, settings.replica.port),
        }),
    }
}

/// # Errors
/// [`ClusterSecretError`].
pub fn read(path: &Path) -> Result<Arc<ClusterSecret>, ClusterSecretError> {
    let failed = |error| ClusterSecretError::Io {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o007 != 0 {
        tracing::warn!(
            path = %path.display(),
            "every user of this machine may read cluster.secret, and with it act as a node: chmod 600"
        );
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    ClusterSecret::parse(&text)
        .map(Arc::new)
        .map_err(|error| ClusterSecretError::Content {
            path: path.to_owned(),
            error,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(lines: &str) -> Settings {
        let text = format!("node.id=1\nlog.dirs=/d\nlisteners=PLAINTEXT://127.0.0.1:9092\n{lines}");
        Settings::read(Some(("server.properties", &text)), std::iter::empty(), &[]).unwrap()
    }

    /// ◆ Ports that others can reach are opened with a secret only.
    #[test]
    fn a_node_that_others_can_reach_wants_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("good"), "x".repeat(44)).unwrap();
        std::fs::write(path("short"), "x").unwrap();
        let open = "control.listener=0.0.0.0:19092\n";
        for (lines, expected) in [
            (String::new(), Ok(false)),
            (open.to_owned(), Err("can be reached from other machines")),
            (
                "replica.listener=0.0.0.0:29092\n".to_owned(),
                Err("can be reached from other machines"),
            ),
            (format!("{open}cluster.secret={}\n", path("good").display()), Ok(true)),
            (format!("cluster.secret={}\n", path("good").display()), Ok(true)),
            (
                format!("cluster.secret={}\n", path("short").display()),
                Err("line 1 has 1 bytes"),
            ),
            (
                format!("cluster.secret={}\n", path("none").display()),
                Err("this user may read"),
            ),
        ] {
            let found = of_node(&settings(&lines))
                .map(|secret| secret.is_some())
                .map_err(|error| error.to_string());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{lines}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{lines}: {found:?}, not {expected:?}"),
            }
        }
    }
}
