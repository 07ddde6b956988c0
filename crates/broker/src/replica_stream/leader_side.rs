use super::protocol::{Answer, Frame};
use super::push;
use super::transport::{FrameSink, FrameSource, StreamError, write_within};
use crate::shard::ShardRef;
use host::Stream;
use replica::{FollowerAck, FollowerHello, HelloAnswer};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use tokio::sync::Notify;
use types::{ErrorCode, LeaderEpoch, Monotonic, NodeId, Offset, StreamGeneration, TopicPartition, limits};

/// Where one partition stands on a stream.
pub(super) struct Feed {
    pub generation: StreamGeneration,
    pub leader_epoch: LeaderEpoch,
    /// Everything below was sent.
    pub next: Offset,
    pub previous_epoch: LeaderEpoch,
    /// The bounds that the follower was told last.
    pub told: (Offset, Offset),
    /// (end offset, bytes) of what is not acknowledged.
    pub in_flight: VecDeque<(Offset, usize)>,
}

/// One follower's stream, on the leader's side.
pub(crate) struct StreamOut {
    pub node: NodeId,
    /// When a frame came last.
    heard: Cell<Monotonic>,
    pub(super) feeds: RefCell<BTreeMap<TopicPartition, Feed>>,
    pub(super) marked: RefCell<BTreeSet<TopicPartition>>,
    /// Partitions whose high watermark has moved; see [`push`].
    pub(super) moved: RefCell<BTreeSet<TopicPartition>>,
    pub(super) answers: RefCell<Vec<Answer>>,
    /// Positions in a leader epoch that the image does not have yet. At most one a partition, and at most
    /// [`limits::STREAM_EARLY_POSITIONS_MAX`].
    early: RefCell<BTreeMap<TopicPartition, FollowerHello>>,
    /// Bytes that were sent and not acknowledged.
    in_flight: Cell<usize>,
    pub(super) wake: Notify,
}

impl StreamOut {
    fn new(node: NodeId, now: Monotonic) -> Rc<Self> {
        Rc::new(Self {
            node,
            heard: Cell::new(now),
            feeds: RefCell::default(),
            marked: RefCell::default(),
            moved: RefCell::default(),
            answers: RefCell::default(),
            early: RefCell::default(),
            in_flight: Cell::new(0),
            wake: Notify::new(),
        })
    }

    /// When the follower was heard last.
    pub fn heard(&self) -> Monotonic {
        self.heard.get()
    }

    /// There is something new to send of this partition.
    pub fn mark(&self, tp: TopicPartition) {
        if self.marked.borrow_mut().insert(tp) {
            self.wake.notify_one();
        }
    }

    /// The high watermark of this partition has moved, which is told with the next records, or a little later.
    pub fn watermark_moved(&self, tp: TopicPartition) {
        let mut moved = self.moved.borrow_mut();
        if moved.is_empty() {
            self.wake.notify_one();
        }
        moved.insert(tp);
    }

    fn answer(&self, answer: Answer) {
        self.answers.borrow_mut().push(answer);
        self.wake.notify_one();
    }

    /// Sends nothing more of this partition until the follower states its position again.
    pub(super) fn refuse(&self, tp: TopicPartition, code: ErrorCode) {
        if let Some(feed) = self.close_feed(tp) {
            self.answer(Answer {
                tp,
                generation: feed.generation,
                answer: Err(code),
            });
        }
    }

    pub(super) fn close_feed(&self, tp: TopicPartition) -> Option<Feed> {
        let feed = self.feeds.borrow_mut().remove(&tp)?;
        self.give_back(feed.in_flight.iter().map(|(_, bytes)| bytes).sum());
        Some(feed)
    }

    /// What the window still has room for.
    pub(super) fn room(&self) -> usize {
        limits::FOLLOWER_WINDOW_BYTES.saturating_sub(self.in_flight.get())
    }

    /// A batch that is longer than the room that is left takes more than there is; as much comes back.
    pub(super) fn sent(&self, bytes: usize) {
        self.in_flight.set(self.in_flight.get() + bytes);
    }

    fn give_back(&self, bytes: usize) {
        self.in_flight.set(self.in_flight.get().saturating_sub(bytes));
        self.wake.notify_one();
    }

    /// A follower's position. One in an epoch that we have not reached waits for the image.
    fn position(self: &Rc<Self>, shard: &ShardRef, tp: TopicPartition, hello: FollowerHello) {
        self.close_feed(tp);
        self.early.borrow_mut().remove(&tp);
        let now = shard.links().host.now();
        let ours = shard.with(tp, |partition| {
            // A leader that is not one yet (its log is on a pool) is asked again too.
            match partition.stated(&hello, self, now) {
                Err(ErrorCode::NotLeaderOrFollower) if hello.leader_epoch == partition.leader_epoch() => Err(None),
                Err(_) if hello.leader_epoch > partition.leader_epoch() => Err(None),
                Err(code) => Err(Some(code)),
                Ok(answer) => Ok((answer, partition.bounds())),
            }
        });
        match ours {
            None | Some(Err(None)) if self.early.borrow().len() < limits::STREAM_EARLY_POSITIONS_MAX => {
                self.early.borrow_mut().insert(tp, hello);
            }
            // The follower states it again with its next image.
            None | Some(Err(None)) => self.answer(Answer {
                tp,
                generation: hello.generation,
                answer: Err(ErrorCode::UnknownLeaderEpoch),
            }),
            Some(Err(Some(code))) => self.answer(Answer {
                tp,
                generation: hello.generation,
                answer: Err(code),
            }),
            Some(Ok((answer, bounds))) => {
                if let HelloAnswer::SendFrom { offset, .. } = answer {
                    let feed = Feed {
                        generation: hello.generation,
                        leader_epoch: hello.leader_epoch,
                        next: offset,
                        previous_epoch: hello.last_epoch,
                        told: (bounds.high_watermark, bounds.log_start),
                        in_flight: VecDeque::new(),
                    };
                    self.feeds.borrow_mut().insert(tp, feed);
                    self.mark(tp);
                }
                self.answer(Answer {
                    tp,
                    generation: hello.generation,
                    answer: Ok(answer),
                });
            }
        }
    }

    /// The image is newer: what came too early is looked at again.
    pub fn image_changed(self: &Rc<Self>, shard: &ShardRef) {
        let early = std::mem::take(&mut *self.early.borrow_mut());
        for (tp, hello) in early {
            self.position(shard, tp, hello);
        }
    }

    /// The follower takes no more of this partition until it states a position again.
    fn left(self: &Rc<Self>, shard: &ShardRef, tp: TopicPartition) {
        self.early.borrow_mut().remove(&tp);
        if let Some(feed) = self.close_feed(tp) {
            let now = shard.links().host.now();
            shard.with(tp, |partition| partition.stream_lost(self, feed.generation, now));
        }
    }

    fn acked(&self, shard: &ShardRef, tp: TopicPartition, ack: &FollowerAck) {
        let mut freed = 0;
        if let Some(feed) = self.feeds.borrow_mut().get_mut(&tp)
            && feed.generation == ack.generation
        {
            while feed.in_flight.front().is_some_and(|(end, _)| *end <= ack.log_end) {
                freed += feed.in_flight.pop_front().map_or(0, |(_, bytes)| bytes);
            }
        }
        if freed > 0 {
            self.give_back(freed);
        }
        let now = shard.links().host.now();
        shard.with(tp, |partition| partition.acked(ack, now));
    }

    fn take(self: &Rc<Self>, shard: &ShardRef, frame: Frame) -> Result<(), StreamError> {
        match frame {
            Frame::Positions(positions) => {
                for (tp, hello) in positions {
                    self.check(shard, tp, hello.node)?;
                    if self.answers.borrow().len() >= limits::STREAM_ANSWERS_MAX {
                        return Err(StreamError::Unexpected("positions, but it does not read the answers"));
                    }
                    self.position(shard, tp, hello);
                }
            }
            Frame::Acks(acks) => {
                for (tp, ack) in acks {
                    self.check(shard, tp, ack.node)?;
                    self.acked(shard, tp, &ack);
                }
            }
            Frame::Leaves(left) => {
                for tp in left {
                    self.left(shard, tp);
                }
            }
            Frame::KeepAlive => {}
            _ => return Err(StreamError::Unexpected("a leader's frame from a follower")),
        }
        Ok(())
    }

    /// ◆ Whoever acknowledges can commit: a stream speaks for its own node and this shard's partitions only.
    fn check(&self, shard: &ShardRef, tp: TopicPartition, node: NodeId) -> Result<(), StreamError> {
        if node != self.node {
            return Err(StreamError::Unexpected("a position of another node"));
        }
        if tp.shard(shard.shards()) != shard.index() {
            return Err(StreamError::Unexpected("a partition of another shard"));
        }
        Ok(())
    }
}

/// Serves a follower's stream whose hello was accepted, until it breaks.
pub(crate) async fn serve(shard: ShardRef, node: NodeId, stream: Box<dyn Stream>) {
    let out = StreamOut::new(node, shard.links().host.now());
    shard.add_stream(&out);
    let (read, write) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = receive(&shard, &out, read) => ended,
        ended = push::run(&shard, &out, write) => ended,
    };
    if let Err(error) = ended {
        tracing::info!(node_id = shard.links().node_id.0, follower = node.0, %error, "a follower's stream ended");
    }
    shard.remove_stream(&out);
    let now = shard.links().host.now();
    let feeds = std::mem::take(&mut *out.feeds.borrow_mut());
    for (tp, feed) in feeds {
        if let Some(partition) = shard.partition(tp) {
            partition.borrow_mut().stream_lost(&out, feed.generation, now);
        }
    }
}

async fn receive(
    shard: &ShardRef,
    out: &Rc<StreamOut>,
    read: tokio::io::ReadHalf<Box<dyn Stream>>,
) -> Result<(), StreamError> {
    let mut source = FrameSource::new(read);
    let silence = shard.timings().stream_silence;
    loop {
        let frame = source.next(silence).await?;
        out.heard.set(shard.links().host.now());
        out.take(shard, frame)?;
        while let Some(frame) = source.buffered()? {
            out.take(shard, frame)?;
        }
        // Drain, then act: other streams of this shard get their turn before anything is answered.
        tokio::task::yield_now().await;
    }
}

/// Sends a frame, or a keep-alive.
pub(super) async fn send(shard: &ShardRef, sink: &mut FrameSink, frame: &Frame) -> Result<(), StreamError> {
    write_within(sink, frame.encode(), shard.timings().stream_silence).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_never_grows() {
        let out = StreamOut::new(NodeId(2), Monotonic::default());
        let batch = 6 << 20;
        while out.room() > 0 {
            out.sent(batch);
        }
        for _ in 0..3 {
            out.give_back(batch);
            assert!(out.room() <= limits::FOLLOWER_WINDOW_BYTES);
        }
        assert_eq!(out.room(), limits::FOLLOWER_WINDOW_BYTES);
        out.give_back(batch);
        assert_eq!(out.room(), limits::FOLLOWER_WINDOW_BYTES);
    }
}
