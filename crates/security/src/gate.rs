use crate::cluster_secret::{ClusterSecret, KeyId, TAG_BYTES, Tag};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: &[u8; 8] = b"OTTLAUTH";
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 32;
const HELLO_BYTES: usize = 8 + 1 + 1 + 8 + NONCE_BYTES;
const CHALLENGE_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// What a connection is for: a proof for one is none for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    Replica = 1,
    Control = 2,
}

/// Why a connection is not carried on.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It was closed before a byte came: a look whether the port is open, not an attempt.
    #[error("closed before a word was said")]
    Nothing,
    #[error("the peer does not authenticate itself: it has no cluster.secret, or is no node")]
    NotAuthenticating,
    #[error("the peer speaks version {0} of the authentication, and this node knows {VERSION}")]
    Version(u8),
    #[error("the connection is meant for another port")]
    Purpose,
    #[error("the peer uses a secret that this node does not have: cluster.secret must be the same on all nodes")]
    UnknownSecret,
    #[error("the peer does not know the secret that it names")]
    WrongProof,
    #[error(
        "the peer closed the connection while nodes authenticated each other: it has another cluster.secret, or none"
    )]
    Closed,
}

impl From<AuthError> for io::Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Io(error) => error,
            other => Self::new(io::ErrorKind::PermissionDenied, other),
        }
    }
}

/// Stands at both ends of every connection between nodes. With a secret, each end proves that it knows it before
/// anything else is said; without one, nothing is exchanged, and the ports are bound to loopback.
///
/// ```text
/// dialler  → "OTTLAUTH" | version u8 = 1 | purpose u8 | key id [8] | nonce_d [32]
/// acceptor → nonce_a [32] | HMAC(secret, "acceptor" | hello | nonce_a) [32]
/// dialler  → HMAC(secret, "dialler." | hello | nonce_a) [32]
/// ```
///
/// The hello is the dialler's whole message, nonce included. The labels keep either end from being handed its own proof
/// back. Nothing that follows is signed or encrypted: whoever can change packets between the nodes can take a connection
/// over after the handshake. That ends with TLS.
///
/// Source: challenge-response with mutual authentication as in ISO/IEC 9798-4; HMAC: RFC 2104.
#[derive(Debug, Clone)]
pub struct Gate {
    secret: Option<Arc<ClusterSecret>>,
    purpose: Purpose,
}

impl Gate {
    #[must_use]
    pub fn new(secret: Option<Arc<ClusterSecret>>, purpose: Purpose) -> Self {
        Self { secret, purpose }
    }

    /// To be called on a connection that this node has dialled. `nonce` is random and used once. Without a time limit of
    /// its own.
    ///
    /// # Errors
    /// [`AuthError`]; the connection must be dropped.
    pub async fn dialled<S>(&self, stream: &mut S, nonce: [u8; NONCE_BYTES]) -> Result<(), AuthError>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        let Some(secret) = &self.secret else {
            return Ok(());
        };
        let key = secret.first();
        let hello = self.hello(key, &nonce);
        stream.write_all(&hello).await?;
        let mut challenge = [0; CHALLENGE_BYTES];
        stream.read_exact(&mut challenge).await.map_err(closed)?;
        let (nonce, proof) = split(&challenge);
        if !secret.verify(key, &[ACCEPTOR, &hello, &nonce], &proof) {
            return Err(AuthError::WrongProof);
        }
        let proof = secret
            .prove(key, &[DIALLER, &hello, &nonce])
            .ok_or(AuthError::UnknownSecret)?;
        stream.write_all(&proof).await?;
        Ok(())
    }

    /// To be called on a connection that this node has accepted, before a byte of it is read. As [`Self::dialled`].
    ///
    /// # Errors
    /// [`AuthError`]; the connection must be dropped.
    pub async fn accepted<S>(&self, stream: &mut S, nonce: [u8; NONCE_BYTES]) -> Result<(), AuthError>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        let Some(secret) = &self.secret else {
            return Ok(());
        };
        let mut hello = [0; HELLO_BYTES];
        if stream.read(&mut hello[..1]).await? == 0 {
            return Err(AuthError::Nothing);
        }
        // Whoever says something else may not say enough of it: the first bytes decide.
        stream.read_exact(&mut hello[1..MAGIC.len()]).await?;
        if !hello.starts_with(MAGIC) {
            return Err(AuthError::NotAuthenticating);
        }
        stream.read_exact(&mut hello[MAGIC.len()..]).await?;
        let key = self.key(&hello)?;
        if !secret.knows(key) {
            return Err(AuthError::UnknownSecret);
        }
        let proof = secret
            .prove(key, &[ACCEPTOR, &hello, &nonce])
            .ok_or(AuthError::UnknownSecret)?;
        let mut challenge = [0; CHALLENGE_BYTES];
        challenge[..NONCE_BYTES].copy_from_slice(&nonce);
        challenge[NONCE_BYTES..].copy_from_slice(&proof);
        stream.write_all(&challenge).await?;
        let mut answer = Tag::default();
        stream.read_exact(&mut answer).await.map_err(closed)?;
        if secret.verify(key, &[DIALLER, &hello, &nonce], &answer) {
            Ok(())
        } else {
            Err(AuthError::WrongProof)
        }
    }

    fn hello(&self, key: KeyId, nonce: &[u8; NONCE_BYTES]) -> [u8; HELLO_BYTES] {
        let mut hello = [0; HELLO_BYTES];
        hello[..8].copy_from_slice(MAGIC);
        hello[8] = VERSION;
        hello[9] = self.purpose as u8;
        hello[10..18].copy_from_slice(&key);
        hello[18..].copy_from_slice(nonce);
        hello
    }

    fn key(&self, hello: &[u8; HELLO_BYTES]) -> Result<KeyId, AuthError> {
        if hello[8] != VERSION {
            return Err(AuthError::Version(hello[8]));
        }
        if hello[9] != self.purpose as u8 {
            return Err(AuthError::Purpose);
        }
        let mut key = KeyId::default();
        key.copy_from_slice(&hello[10..18]);
        Ok(key)
    }
}

const ACCEPTOR: &[u8] = b"acceptor";
const DIALLER: &[u8] = b"dialler.";

fn split(challenge: &[u8; CHALLENGE_BYTES]) -> ([u8; NONCE_BYTES], Tag) {
    let (mut nonce, mut proof) = ([0; NONCE_BYTES], Tag::default());
    nonce.copy_from_slice(&challenge[..NONCE_BYTES]);
    proof.copy_from_slice(&challenge[NONCE_BYTES..]);
    (nonce, proof)
}

fn closed(error: io::Error) -> AuthError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => AuthError::Closed,
        _ => AuthError::Io(error),
    }
}

#[cfg(test)]
mod tests;
