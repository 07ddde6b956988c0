use super::leader_side;
use super::protocol::{Frame, StreamHello, VERSION, Welcome};
use super::transport::{StreamError, nonce, read_greeting, write_within};
use crate::shard::ShardRef;
use host::{Incoming, Listener, Stream};
use metadata::Image;
use security::{AuthError, Complaints};
use std::rc::Rc;
use types::{BrokerEpoch, ErrorCode, NodeId};

/// Streams whose hello is being read.
const GREETING_MAX: usize = 256;

/// Accepts streams: shard 0 reads the hello, and nothing after it, then hands the socket to the shard that it names.
pub(crate) async fn listen(shard: ShardRef, mut listener: Box<dyn Listener>) {
    let greeting = std::sync::Arc::new(tokio::sync::Semaphore::new(GREETING_MAX));
    let complaints = Rc::new(Complaints::default());
    loop {
        let incoming = match listener.accept().await {
            Ok(incoming) => incoming,
            Err(error) => {
                // Out of descriptors, most likely: not to be asked again at once.
                tracing::warn!(%error, "a replica stream was not accepted");
                tokio::time::sleep(shard.timings().dial_backoff_max).await;
                continue;
            }
        };
        let Ok(permit) = greeting.clone().try_acquire_owned() else {
            continue;
        };
        let (shard, complaints) = (shard.clone(), complaints.clone());
        tokio::task::spawn_local(async move {
            let _permit = permit;
            let peer = incoming.peer_addr();
            if let Err(error) = greet(&shard, incoming).await
                && let Some(kept_back) = complaints.tell(peer.ip(), shard.links().host.now())
            {
                tracing::warn!(%peer, %error, kept_back, "replica streams are refused");
            }
        });
    }
}

async fn greet(shard: &ShardRef, incoming: Box<dyn Incoming>) -> Result<(), StreamError> {
    let silence = shard.timings().stream_silence;
    let mut stream = incoming.attach()?;
    let nonce = nonce(&*shard.links().host);
    match tokio::time::timeout(silence, shard.gate().accepted(&mut *stream, nonce)).await {
        Ok(Ok(())) => {}
        Ok(Err(AuthError::Nothing)) => return Ok(()),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(StreamError::Silence),
    }
    let Frame::Hello(hello) = read_greeting(&mut stream, silence).await? else {
        return Err(StreamError::Unexpected("no hello"));
    };
    let verdict = judge(
        &hello,
        shard.links().node_id,
        shard.broker_epoch(),
        shard.shards(),
        &shard.image(),
    );
    let (code, message) = match verdict {
        Ok(()) => (ErrorCode::None, String::new()),
        Err((code, message)) => (code, message.to_owned()),
    };
    let broker_epoch = shard.broker_epoch().unwrap_or(BrokerEpoch(0));
    let welcome = Welcome {
        code,
        version: VERSION,
        broker_epoch,
        message: message.clone(),
    };
    write_within(&mut stream, Frame::Welcome(welcome).encode(), silence).await?;
    if code != ErrorCode::None {
        return Err(StreamError::Refused(message));
    }
    hand_over(shard, hello, stream)
}

fn hand_over(shard: &ShardRef, hello: StreamHello, stream: Box<dyn Stream>) -> Result<(), StreamError> {
    let node = hello.from;
    if hello.leader_shard == shard.index() {
        tokio::task::spawn_local(leader_side::serve(shard.clone(), node, stream));
        return Ok(());
    }
    let incoming = stream.detach()?;
    shard.call(
        hello.leader_shard,
        Box::new(move |shard| match incoming.attach() {
            Ok(stream) => {
                tokio::task::spawn_local(leader_side::serve(shard.clone(), node, stream));
            }
            Err(error) => tracing::warn!(%error, "a replica stream was lost between shards"),
        }),
    );
    Ok(())
}

/// ◆ Whoever can acknowledge can commit: only a registered broker of this cluster, in its present life, that means
/// this broker.
pub(super) fn judge(
    hello: &StreamHello,
    me: NodeId,
    registered: Option<BrokerEpoch>,
    shards: u16,
    image: &Image,
) -> Result<(), (ErrorCode, &'static str)> {
    if registered.is_none() {
        return Err((ErrorCode::BrokerNotAvailable, "this broker is not registered yet"));
    }
    if !(hello.versions.0..=hello.versions.1).contains(&VERSION) {
        return Err((ErrorCode::UnsupportedVersion, "no version in common"));
    }
    if image.cluster_id.as_deref() != Some(hello.cluster_id.as_str()) {
        return Err((ErrorCode::InconsistentClusterId, "another cluster"));
    }
    if hello.to != me || hello.from == me {
        return Err((ErrorCode::InvalidRequest, "meant for another node"));
    }
    if hello.leader_shards != shards || hello.leader_shard >= shards || hello.follower_shard >= hello.follower_shards {
        return Err((ErrorCode::InvalidRequest, "another number of shards"));
    }
    match image.broker(hello.from) {
        None => Err((ErrorCode::BrokerIdNotRegistered, "the follower is not registered")),
        // A newer one than ours is only ahead of our image.
        Some(broker) if hello.broker_epoch < broker.broker_epoch => {
            Err((ErrorCode::StaleBrokerEpoch, "the follower was registered anew since"))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
