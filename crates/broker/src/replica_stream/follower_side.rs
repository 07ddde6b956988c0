use super::protocol::{Frame, StreamHello, VERSION};
use super::transport::{FrameSource, StreamError, nonce, read_greeting, write_within};
use crate::partition::Followed;
use crate::shard::ShardRef;
use bytes::{BufMut, BytesMut};
use host::{Gathered, Stream};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use types::{ErrorCode, NodeId, TopicPartition};

/// The stream on which a shard follows the partitions of one shard of one leader.
pub(crate) struct FollowOut {
    pub leader: NodeId,
    pub leader_shard: u16,
    members: RefCell<BTreeSet<TopicPartition>>,
    to_state: RefCell<BTreeSet<TopicPartition>>,
    to_ack: RefCell<BTreeSet<TopicPartition>>,
    to_leave: RefCell<BTreeSet<TopicPartition>>,
    wake: Notify,
    left: Notify,
    running: Cell<bool>,
}

impl FollowOut {
    pub fn new(leader: NodeId, leader_shard: u16) -> Rc<Self> {
        Rc::new(Self {
            leader,
            leader_shard,
            members: RefCell::default(),
            to_state: RefCell::default(),
            to_ack: RefCell::default(),
            to_leave: RefCell::default(),
            wake: Notify::new(),
            left: Notify::new(),
            running: Cell::new(false),
        })
    }

    /// Follows a partition, or states its position anew.
    pub fn follow(self: &Rc<Self>, shard: &ShardRef, tp: TopicPartition) {
        self.members.borrow_mut().insert(tp);
        self.to_leave.borrow_mut().remove(&tp);
        self.state(tp);
        if !self.running.replace(true) {
            tokio::task::spawn_local(run(shard.clone(), self.clone()));
        }
    }

    pub fn unfollow(&self, tp: TopicPartition) {
        self.members.borrow_mut().remove(&tp);
        if self.members.borrow().is_empty() {
            self.left.notify_one();
        } else {
            self.to_leave.borrow_mut().insert(tp);
            self.wake.notify_one();
        }
    }

    pub fn state(&self, tp: TopicPartition) {
        self.to_state.borrow_mut().insert(tp);
        self.wake.notify_one();
    }

    pub fn ack(&self, tp: TopicPartition) {
        self.to_ack.borrow_mut().insert(tp);
        self.wake.notify_one();
    }

    fn is_empty(&self) -> bool {
        self.members.borrow().is_empty()
    }

    /// Ends when nothing is left to follow. A partition that left and came back meanwhile changes nothing: its new
    /// position goes out on the same stream.
    async fn emptied(&self) {
        loop {
            self.left.notified().await;
            if self.is_empty() {
                return;
            }
        }
    }

    /// Performs what a message of the leader asked for.
    fn act(&self, tp: TopicPartition, outcome: Followed) {
        match outcome {
            Followed::Nothing => {}
            Followed::Ack => self.ack(tp),
            Followed::Restate => self.state(tp),
        }
    }

    fn take(self: &Rc<Self>, shard: &ShardRef, frame: Frame) -> Result<(), StreamError> {
        match frame {
            Frame::Answers(answers) => {
                for answer in answers {
                    if self.member(shard, answer.tp).is_none() {
                        continue;
                    }
                    let outcome = match answer.answer {
                        Ok(said) => shard
                            .with(answer.tp, |partition| partition.answered(answer.generation, &said))
                            .unwrap_or(Followed::Nothing),
                        Err(code) => {
                            tracing::debug!(topic_id = %answer.tp.topic, partition = answer.tp.partition, leader = self.leader.0, ?code, "the leader refuses a position");
                            let refused = shard.with(answer.tp, |partition| partition.refused(answer.generation));
                            match refused.unwrap_or(Followed::Nothing) {
                                // Our image is behind, or the leader's is of another mind: the next image says what to do.
                                Followed::Restate if code != ErrorCode::OffsetOutOfRange => {
                                    shard.restate_later(answer.tp);
                                    Followed::Nothing
                                }
                                outcome => outcome,
                            }
                        }
                    };
                    self.act(answer.tp, outcome);
                }
            }
            Frame::Data(entries) => {
                for entry in entries {
                    if self.member(shard, entry.tp).is_none() {
                        continue;
                    }
                    let outcome = shard.with(entry.tp, |partition| partition.entry(entry.header, entry.records));
                    self.act(entry.tp, outcome.unwrap_or(Followed::Nothing));
                }
            }
            Frame::KeepAlive => {}
            _ => return Err(StreamError::Unexpected("a follower's frame from a leader")),
        }
        Ok(())
    }

    /// ◆ A leader speaks only for what is followed on its own stream.
    fn member(&self, shard: &ShardRef, tp: TopicPartition) -> Option<crate::partition_cell::PartitionRef> {
        self.members
            .borrow()
            .contains(&tp)
            .then(|| shard.partition(tp))
            .flatten()
    }

    /// Positions and acknowledgements that are due.
    fn due(&self, shard: &ShardRef) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Some(broker_epoch) = shard.broker_epoch() else {
            return frames;
        };
        let leave: Vec<_> = std::mem::take(&mut *self.to_leave.borrow_mut()).into_iter().collect();
        frames.extend(leave.chunks(10_000).map(|chunk| Frame::Leaves(chunk.to_vec())));
        let state = std::mem::take(&mut *self.to_state.borrow_mut());
        let positions: Vec<_> = state
            .into_iter()
            .filter_map(|tp| Some((tp, self.member(shard, tp)?.borrow().hello(broker_epoch)?)))
            .collect();
        let ack = std::mem::take(&mut *self.to_ack.borrow_mut());
        let acks: Vec<_> = ack
            .into_iter()
            .filter_map(|tp| Some((tp, self.member(shard, tp)?.borrow().ack()?)))
            .collect();
        // A frame of positions is bounded like any other.
        frames.extend(positions.chunks(10_000).map(|chunk| Frame::Positions(chunk.to_vec())));
        frames.extend(acks.chunks(10_000).map(|chunk| Frame::Acks(chunk.to_vec())));
        frames
    }
}

/// Dials, follows, dials again, until nothing is left to follow.
async fn run(shard: ShardRef, out: Rc<FollowOut>) {
    let timings = *shard.timings();
    let mut backoff = timings.dial_backoff_min;
    while !out.is_empty() {
        let ended = tokio::select! {
            ended = connect_and_follow(&shard, &out, &mut backoff) => ended,
            () = out.emptied() => break,
        };
        if let Err(error) = ended {
            tracing::debug!(node_id = shard.links().node_id.0, leader = out.leader.0, %error, "not following");
        }
        let members: Vec<_> = out.members.borrow().iter().copied().collect();
        for tp in members {
            if let Some(partition) = shard.partition(tp) {
                partition.borrow_mut().reopen();
            }
            out.to_state.borrow_mut().insert(tp);
        }
        let jitter = Duration::from_micros(shard.links().host.random_u64() % 1000 * backoff.as_micros() as u64 / 4000);
        tokio::select! {
            () = tokio::time::sleep(backoff + jitter) => {}
            () = out.emptied() => break,
        }
        backoff = (backoff * 2).min(timings.dial_backoff_max);
    }
    out.running.set(false);
}

async fn connect_and_follow(shard: &ShardRef, out: &Rc<FollowOut>, backoff: &mut Duration) -> Result<(), StreamError> {
    let timings = *shard.timings();
    let (mut stream, hello) = tokio::time::timeout(timings.dial_timeout, dial(shard, out))
        .await
        .map_err(|_| StreamError::Silence)??;
    write_within(&mut stream, Frame::Hello(hello).encode(), timings.stream_silence).await?;
    match read_greeting(&mut stream, timings.stream_silence).await? {
        Frame::Welcome(welcome) if welcome.code == ErrorCode::None && welcome.version == VERSION => {}
        Frame::Welcome(welcome) => return Err(StreamError::Refused(welcome.message)),
        _ => return Err(StreamError::Unexpected("no welcome")),
    }
    *backoff = timings.dial_backoff_min;
    let (read, mut sink) = tokio::io::split(stream);
    let receive = async {
        let mut source = FrameSource::new(read);
        loop {
            let frame = source.next(timings.stream_silence).await?;
            out.take(shard, frame)?;
            while let Some(frame) = source.buffered()? {
                out.take(shard, frame)?;
            }
            tokio::task::yield_now().await;
        }
    };
    let send = async {
        loop {
            let mut frames = BytesMut::new();
            for frame in out.due(shard) {
                frames.put(frame.encode());
            }
            let mut bytes = Gathered::from(frames.freeze());
            if bytes.is_empty() {
                if tokio::time::timeout(timings.stream_keep_alive, out.wake.notified())
                    .await
                    .is_ok()
                {
                    continue;
                }
                bytes = Frame::KeepAlive.encode();
            }
            write_within(&mut sink, bytes, timings.stream_silence).await?;
        }
    };
    tokio::select! {
        ended = receive => ended,
        ended = send => ended,
    }
}

async fn dial(shard: &ShardRef, out: &FollowOut) -> Result<(Box<dyn Stream>, StreamHello), StreamError> {
    let image = shard.image();
    let broker_epoch = shard.broker_epoch().ok_or(StreamError::Closed)?;
    let leader = image.broker(out.leader).ok_or(StreamError::Closed)?;
    let hello = StreamHello {
        versions: (VERSION, VERSION),
        cluster_id: image.cluster_id.clone().unwrap_or_default(),
        from: shard.links().node_id,
        to: out.leader,
        broker_epoch,
        stream_id: shard.links().host.random_u64(),
        follower_shards: shard.shards(),
        follower_shard: shard.index(),
        leader_shards: leader.shards.max(1),
        leader_shard: out.leader_shard,
        directories: shard.directories(),
    };
    let host = &shard.links().host;
    let mut stream = host.net().dial(&leader.replica.host, leader.replica.port).await?;
    shard.gate().dialled(&mut *stream, nonce(&**host)).await?;
    Ok((stream, hello))
}

#[cfg(test)]
mod tests;
