use super::*;
use proptest::prelude::*;

fn gate(secrets: &[&str], purpose: Purpose) -> Gate {
    let text: Vec<String> = secrets.iter().map(|secret| secret.repeat(32)).collect();
    let secret = (!text.is_empty()).then(|| Arc::new(ClusterSecret::parse(&text.join("\n")).unwrap()));
    Gate::new(secret, purpose)
}

/// What the dialler and the acceptor say at the end.
async fn meet(dialler: Gate, acceptor: Gate) -> (Result<(), String>, Result<(), String>) {
    let (mut here, mut there) = tokio::io::duplex(4096);
    let dial = async move {
        dialler
            .dialled(&mut here, [1; 32])
            .await
            .map_err(|error| error.to_string())
    };
    let accept = async move {
        let verdict = acceptor
            .accepted(&mut there, [2; 32])
            .await
            .map_err(|error| error.to_string());
        drop(there);
        verdict
    };
    tokio::join!(dial, accept)
}

#[tokio::test]
async fn only_who_knows_a_secret_of_the_other_gets_through() {
    use Purpose::{Control, Replica};
    let both = (true, true);
    let neither = (false, false);
    for (dialler, acceptor, expected) in [
        (gate(&["a"], Replica), gate(&["a"], Replica), both),
        (gate(&["a"], Replica), gate(&["b"], Replica), neither),
        (gate(&["a"], Replica), gate(&["a"], Control), neither),
        // While a secret is changed: the first is used, all are accepted.
        (gate(&["a"], Control), gate(&["b", "a"], Control), both),
        (gate(&["b", "a"], Control), gate(&["a", "b"], Control), both),
        (gate(&["b", "a"], Control), gate(&["a"], Control), neither),
        (gate(&[], Control), gate(&[], Control), both),
    ] {
        let case = format!("{dialler:?} {acceptor:?}");
        let (dial, accept) = meet(dialler, acceptor).await;
        assert_eq!((dial.is_ok(), accept.is_ok()), expected, "{case}: {dial:?} {accept:?}");
    }
}

/// The dialler learns who it speaks to as well: an acceptor that only repeats what it was sent is no node.
#[tokio::test]
async fn a_proof_handed_back_is_none() {
    let dialler = gate(&["a"], Purpose::Control);
    let (mut here, mut there) = tokio::io::duplex(4096);
    let mirror = async move {
        let mut hello = [0; HELLO_BYTES];
        there.read_exact(&mut hello).await.unwrap();
        let mut challenge = [0; CHALLENGE_BYTES];
        challenge[..NONCE_BYTES].copy_from_slice(&hello[18..]);
        challenge[NONCE_BYTES..].copy_from_slice(&hello[18..]);
        there.write_all(&challenge).await.unwrap();
        // The dialler must say no more.
        let mut rest = Vec::new();
        there.read_to_end(&mut rest).await.unwrap();
        rest
    };
    let dial = async move { dialler.dialled(&mut here, [1; 32]).await };
    let (verdict, rest) = tokio::join!(dial, mirror);
    assert!(matches!(verdict, Err(AuthError::WrongProof)));
    assert!(rest.is_empty());
}

/// A handshake that was overheard does not open the door again: the acceptor's nonce is another.
#[tokio::test]
async fn an_overheard_handshake_is_worth_nothing() {
    let (dialler, acceptor) = (gate(&["a"], Purpose::Control), gate(&["a"], Purpose::Control));
    let hello = dialler.hello(dialler.secret.as_ref().unwrap().first(), &[1; 32]);
    let secret = dialler.secret.as_ref().unwrap();
    let proof = secret.prove(secret.first(), &[DIALLER, &hello, &[2; 32]]).unwrap();
    for (nonce, opens) in [([2; 32], true), ([3; 32], false)] {
        let (mut here, mut there) = tokio::io::duplex(4096);
        here.write_all(&hello).await.unwrap();
        here.write_all(&proof).await.unwrap();
        assert_eq!(acceptor.accepted(&mut there, nonce).await.is_ok(), opens);
    }
}

#[tokio::test]
async fn a_port_that_is_only_looked_at_is_no_attempt() {
    let acceptor = gate(&["a"], Purpose::Control);
    for (said, expected) in [
        (&b""[..], "closed before a word was said"),
        (b"PRI * HTTP/2.0\r\n", "the peer does not authenticate itself"),
    ] {
        let (mut here, mut there) = tokio::io::duplex(4096);
        here.write_all(said).await.unwrap();
        drop(here);
        let error = acceptor.accepted(&mut there, [2; 32]).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_open_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for dialling in [false, true] {
                let (mut here, mut there) = tokio::io::duplex(4096);
                if magic && !dialling {
                    here.write_all(MAGIC).await.unwrap();
                }
                here.write_all(&bytes).await.unwrap();
                let mut shut = here;
                shut.shutdown().await.unwrap();
                let gate = gate(&["a"], Purpose::Replica);
                let verdict = if dialling {
                    gate.dialled(&mut there, [1; 32]).await
                } else {
                    gate.accepted(&mut there, [1; 32]).await
                };
                assert!(verdict.is_err());
            }
        });
    }
}
