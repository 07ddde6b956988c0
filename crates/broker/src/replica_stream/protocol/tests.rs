use super::*;
use proptest::prelude::*;
use types::{LeaderEpoch, Offset, TopicId};
use uuid::Uuid;

fn tp(seed: u64) -> TopicPartition {
    TopicPartition {
        topic: TopicId(Uuid::from_u64_pair(seed, !seed)),
        partition: 7,
    }
}

fn entry(seed: u64, records: Vec<u8>) -> Entry {
    let header = EntryHeader {
        leader_epoch: LeaderEpoch(4),
        previous_end: Offset(seed.cast_signed() >> 2),
        previous_epoch: LeaderEpoch(-1),
        generation: StreamGeneration(seed),
        high_watermark: Offset(5),
        log_start: Offset(0),
        digest: seed.rotate_left(9),
    };
    Entry {
        tp: tp(seed),
        header,
        records: records.into(),
    }
}

fn frames(seed: u64, records: Vec<u8>) -> Vec<Frame> {
    let (node, generation, leader_epoch) = (NodeId(3), StreamGeneration(seed), LeaderEpoch(9));
    let (log_start, log_end, durable) = (Offset(1), Offset(30), Offset(20));
    let last_epoch = LeaderEpoch(8);
    let broker_epoch = BrokerEpoch(seed);
    let answers = [
        Ok(HelloAnswer::SendFrom {
            offset: log_end,
            high_watermark: durable,
            log_start,
        }),
        Ok(HelloAnswer::Diverging {
            epoch: last_epoch,
            end_offset: log_end,
        }),
        Ok(HelloAnswer::StartOver { log_start }),
        Err(ErrorCode::FencedLeaderEpoch),
    ];
    vec![
        Frame::Hello(StreamHello {
            versions: (1, 3),
            cluster_id: "a cluster".into(),
            from: node,
            to: NodeId(1),
            broker_epoch,
            stream_id: seed,
            follower_shards: 4,
            follower_shard: 3,
            leader_shards: 2,
            leader_shard: 1,
            directories: vec![DirectoryId(Uuid::from_u64_pair(seed, 5))],
        }),
        Frame::Welcome(Welcome {
            code: ErrorCode::StaleBrokerEpoch,
            version: 1,
            broker_epoch,
            message: "no".into(),
        }),
        Frame::Positions(vec![(
            tp(seed),
            FollowerHello {
                node,
                broker_epoch,
                generation,
                leader_epoch,
                log_start,
                log_end,
                durable,
                last_epoch,
            },
        )]),
        Frame::Answers(
            answers
                .map(|answer| Answer {
                    tp: tp(seed),
                    generation,
                    answer,
                })
                .to_vec(),
        ),
        Frame::Data(vec![
            entry(seed, records),
            entry(seed ^ 1, Vec::new()),
            entry(seed ^ 2, vec![9; 7]),
        ]),
        Frame::Acks(vec![(
            tp(seed),
            FollowerAck {
                node,
                leader_epoch,
                generation,
                log_end,
                durable,
                log_start,
            },
        )]),
        Frame::KeepAlive,
        Frame::Leaves(vec![tp(seed)]),
    ]
}

fn decode(bytes: &[u8]) -> Result<Frame, ProtocolError> {
    let length = frame_length(bytes[..4].try_into().unwrap())?;
    assert_eq!(length, bytes.len() - 4);
    Frame::decode(&Bytes::copy_from_slice(&bytes[4..]))
}

proptest! {
    #[test]
    fn what_goes_out_comes_in(seed: u64, records in proptest::collection::vec(any::<u8>(), 0..200)) {
        for frame in frames(seed, records) {
            prop_assert_eq!(decode(&frame.encode().into_bytes()), Ok(frame));
        }
    }

    /// Any bit of the head, flipped, is noticed here; of the body, by the batches' CRC and the digest.
    #[test]
    fn a_flipped_bit_in_the_head_is_noticed(seed: u64, at: proptest::sample::Index, bit in 0u8..8) {
        for frame in frames(seed, Vec::new()) {
            let mut bytes = frame.encode().into_bytes().to_vec();
            let body = if matches!(frame, Frame::Data(_)) { 7 } else { 0 };
            let at = 4 + at.index(bytes.len() - 4 - body);
            bytes[at] ^= 1 << bit;
            prop_assert!(Frame::decode(&Bytes::copy_from_slice(&bytes[4..])).is_err(), "byte {at} of {frame:?}");
        }
    }

    /// Hostile bytes with a right CRC, of every kind: an answer, never a panic.
    #[test]
    fn hostile_heads_are_refused_or_read(kind in 0u8..9, mut head in proptest::collection::vec(any::<u8>(), 0..300), small: bool) {
        if small && head.len() > 4 {
            head[..4].copy_from_slice(&[0, 0, 0, 2]);
        }
        let mut frame = vec![kind, 0, 0, 1];
        frame.extend_from_slice(&codec::length(head.len()).to_be_bytes());
        let crc = codec::checksum(&frame, &head);
        frame.extend_from_slice(&crc.to_be_bytes());
        frame.extend_from_slice(&head);
        let _ = Frame::decode(&frame.into());
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Frame::decode(&bytes.into()).is_err());
    }
}

#[test]
fn lengths_are_checked_before_anything_is_allocated() {
    assert_eq!(
        frame_length(u32::MAX.to_be_bytes()),
        Err(ProtocolError::TooLong(u32::MAX as usize))
    );
    assert_eq!(frame_length(11u32.to_be_bytes()), Err(ProtocolError::Short));
    assert_eq!(frame_length(12u32.to_be_bytes()), Ok(12));
}
