use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

/// A shorter secret could be guessed by whoever has seen one handshake.
pub const SECRET_BYTES_MIN: usize = 32;
/// A longer line is no secret.
pub const SECRET_BYTES_MAX: usize = 4 * 1024;
/// The one in use, and those on their way in or out.
pub const SECRETS_MAX: usize = 4;

pub(crate) const TAG_BYTES: usize = 32;
/// Names a secret without giving it away.
pub(crate) type KeyId = [u8; 8];
pub(crate) type Tag = [u8; TAG_BYTES];

/// Why a file holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("it is empty; make one with: head -c 32 /dev/urandom | base64")]
    Empty,
    #[error(
        "line {line} has {bytes} bytes; a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}. Make one with: head -c 32 /dev/urandom | base64"
    )]
    Length { line: usize, bytes: usize },
    #[error("it has more than {SECRETS_MAX} lines: the secret in use, and during a change the old and the new one")]
    TooMany,
}

/// What the nodes of a cluster know and nobody else does: a line each in a file. Connections are opened with the first;
/// all are accepted, so that a secret is changed without a pause: first every node gets the new one as the second line,
/// then as the first, then the old one goes.
#[derive(Clone)]
pub struct ClusterSecret {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: KeyId,
    secret: Vec<u8>,
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterSecret({} keys)", self.keys.len())
    }
}

impl ClusterSecret {
    /// Reads the text of a file; space around a line and empty lines do not count.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let secret = line.trim().as_bytes();
            if secret.is_empty() {
                continue;
            }
            if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
                return Err(SecretError::Length {
                    line: number + 1,
                    bytes: secret.len(),
                });
            }
            if keys.len() == SECRETS_MAX {
                return Err(SecretError::TooMany);
            }
            let mut id = KeyId::default();
            let named = mac(secret, &[b"ottla key id"]).finalize().into_bytes();
            id.copy_from_slice(&named[..8]);
            keys.push(Key {
                id,
                secret: secret.to_vec(),
            });
        }
        if keys.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self { keys })
    }

    pub(crate) fn first(&self) -> KeyId {
        self.keys.first().map_or([0; 8], |key| key.id)
    }

    pub(crate) fn knows(&self, id: KeyId) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// The proof over `parts` under the key of this id; `None` for a key that is not known.
    pub(crate) fn prove(&self, id: KeyId, parts: &[&[u8]]) -> Option<Tag> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        Some(mac(&key.secret, parts).finalize().into_bytes().into())
    }

    /// Whether the proof is right, in time that does not depend on where it is wrong.
    pub(crate) fn verify(&self, id: KeyId, parts: &[&[u8]], tag: &Tag) -> bool {
        let key = self.keys.iter().find(|key| key.id == id);
        key.is_some_and(|key| mac(&key.secret, parts).verify_slice(tag).is_ok())
    }
}

/// HMAC-SHA-256 (RFC 2104) over the parts, which have fixed lengths.
fn mac(secret: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // Keys of every length are taken: longer ones than a block are hashed first.
    let mut mac = match Hmac::<Sha256>::new_from_slice(secret) {
        Ok(mac) => mac,
        Err(_) => Hmac::<Sha256>::new(&Default::default()),
    };
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_a_secret_a_line() {
        let long = "x".repeat(SECRET_BYTES_MAX + 1);
        let (a, b) = ("a".repeat(32), "b".repeat(40));
        let many = format!("{a}\n").repeat(SECRETS_MAX + 1);
        for (text, expected) in [
            (String::new(), Err(SecretError::Empty)),
            (" \n\n".into(), Err(SecretError::Empty)),
            (a.clone(), Ok(1)),
            (format!("\n  {a} \r\n{b}\n"), Ok(2)),
            (format!("{a}\nshort\n"), Err(SecretError::Length { line: 2, bytes: 5 })),
            (
                long,
                Err(SecretError::Length {
                    line: 1,
                    bytes: SECRET_BYTES_MAX + 1,
                }),
            ),
            (many, Err(SecretError::TooMany)),
        ] {
            let found = ClusterSecret::parse(&text).map(|secret| secret.keys.len());
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = ClusterSecret::parse(&"s".repeat(32)).unwrap();
        assert_eq!(format!("{secret:?}"), "ClusterSecret(1 keys)");
    }
}
