//! Headers, records and codecs: layouts pinned by bytes, round trips, and hostile bytes.

use bytes::Bytes;
use proptest::prelude::*;
use records::{
    BATCH_HEADER_LEN, Batch, BatchBuilder, BatchError, BatchHeader, Compression, compress, decode_records, decompress,
    recompress, sequence_plus, set_base_offset, set_leader_epoch, set_log_append_time, set_max_timestamp,
    split_batches, verify_crc,
};
use std::io::Write;
use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn batch_of(compression: Compression, count: usize) -> Bytes {
    let mut builder = BatchBuilder::new(compression)
        .base_offset(Offset(100))
        .leader_epoch(LeaderEpoch(7))
        .producer(ProducerId(9), ProducerEpoch(2), 40);
    for index in 0..count {
        let headers = vec![("h".to_owned(), Some(Bytes::from_static(b"x"))), ("h".to_owned(), None)];
        builder.push(1_000 + index as i64, Some(b"key"), Some(&index.to_be_bytes()), &headers);
    }
    builder.build()
}

#[test]
fn the_layout_is_kafkas() {
    // Written by hand from the format's description; the CRC by the bitwise definition of CRC-32C.
    let mut builder = BatchBuilder::new(Compression::None)
        .base_offset(Offset(5))
        .leader_epoch(LeaderEpoch(3));
    builder.push(1000, None, Some(b"v"), &[]);
    let batch = builder.build();
    let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 57, 0, 0, 0, 3, 2];
    expected.extend_from_slice(&bitwise_crc32c(&batch[21..]).to_be_bytes());
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&1000i64.to_be_bytes());
    expected.extend_from_slice(&1000i64.to_be_bytes());
    expected.extend_from_slice(&[0xff; 8 + 2 + 4]);
    expected.extend_from_slice(&[0, 0, 0, 1]);
    // length 7, attributes, timestamp delta 0, offset delta 0, key −1, value of 1, no headers
    expected.extend_from_slice(&[14, 0, 0, 0, 1, 2, b'v', 0]);
    assert_eq!(batch.as_ref(), expected.as_slice());
    assert!(verify_crc(&batch));
}

fn bitwise_crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

#[test]
fn header_answers() {
    let bytes = batch_of(Compression::Lz4, 3);
    let header = BatchHeader::parse(&bytes).expect("own batch");
    assert_eq!(header.size(), bytes.len());
    assert_eq!((header.last_offset(), header.next_offset()), (Offset(102), Offset(103)));
    assert_eq!((header.base_sequence, header.last_sequence()), (40, 42));
    assert_eq!(header.compression(), Ok(Compression::Lz4));
    assert_eq!((header.base_timestamp, header.max_timestamp), (1000, 1002));
    assert!(header.is_idempotent() && !header.is_control() && !header.is_transactional());
    assert!(!header.is_log_append_time() && !header.has_delete_horizon());
    assert_eq!(
        BatchHeader {
            attributes: 7,
            ..header
        }
        .compression(),
        Err(BatchError::UnknownCompression(7))
    );
}

#[test]
fn sequences_wrap() {
    assert_eq!(sequence_plus(i32::MAX, 1), 0);
    assert_eq!(sequence_plus(i32::MAX - 1, 3), 1);
    assert_eq!(sequence_plus(0, -1), i32::MAX);
    let header = BatchHeader::parse(&batch_of(Compression::None, 3)).expect("own batch");
    assert_eq!(
        BatchHeader {
            base_sequence: i32::MAX,
            ..header
        }
        .last_sequence(),
        1
    );
    assert_eq!(
        BatchHeader {
            base_sequence: -1,
            ..header
        }
        .last_sequence(),
        -1
    );
}

#[test]
fn what_the_broker_sets_keeps_the_crc() {
    let mut bytes = batch_of(Compression::None, 2).to_vec();
    set_base_offset(&mut bytes, Offset(77));
    set_leader_epoch(&mut bytes, LeaderEpoch(12));
    assert!(verify_crc(&bytes));
    set_log_append_time(&mut bytes, 123_456);
    assert!(verify_crc(&bytes));
    let header = BatchHeader::parse(&bytes).expect("own batch");
    assert_eq!((header.base_offset, header.leader_epoch), (Offset(77), LeaderEpoch(12)));
    assert!(header.is_log_append_time() && header.max_timestamp == 123_456);
    let records = decode_records(&Batch::parse(bytes.clone().into()).expect("own batch"), 1 << 20).expect("records");
    assert!(records.iter().all(|record| record.timestamp == 123_456));
    set_max_timestamp(&mut bytes, 99);
    assert!(verify_crc(&bytes) && BatchHeader::parse(&bytes).expect("own batch").max_timestamp == 99);
    bytes[BATCH_HEADER_LEN] ^= 1;
    assert!(!verify_crc(&bytes));
}

#[test]
fn headers_of_the_wrong_kind() {
    let good = batch_of(Compression::None, 1);
    let parse = |at: usize, with: &[u8]| {
        let mut bytes = good.to_vec();
        bytes[at..at + with.len()].copy_from_slice(with);
        BatchHeader::parse(&bytes)
    };
    assert_eq!(parse(16, &[1]), Err(BatchError::Magic(1)));
    assert_eq!(parse(16, &[0xff]), Err(BatchError::Magic(-1)));
    assert_eq!(parse(8, &[0xff; 4]), Err(BatchError::Length(-1)));
    assert_eq!(parse(8, &[0, 0, 0, 48]), Err(BatchError::Length(48)));
    assert!(parse(8, &[0x7f, 0xff, 0xff, 0xff]).is_ok_and(|header| header.size() == 0x7fff_ffff + 12));
    assert_eq!(
        BatchHeader::parse(&good[..60]),
        Err(BatchError::Truncated {
            needed: 61,
            available: 60
        })
    );
    assert!(Batch::parse(good.slice(..good.len() - 1)).is_err());
}

#[test]
fn batches_are_split_without_copying() {
    let (first, second) = (batch_of(Compression::None, 2), batch_of(Compression::Zstd, 3));
    let bytes = Bytes::from([first.as_ref(), second.as_ref(), &second[..30]].concat());
    let batches: Vec<_> = split_batches(&bytes).collect();
    assert_eq!(batches.len(), 3);
    assert_eq!(batches[0].as_ref().map(|batch| batch.bytes.clone()), Ok(first.clone()));
    assert_eq!(batches[1].as_ref().map(|batch| batch.bytes.clone()), Ok(second));
    assert_eq!(
        batches[0].as_ref().map(|batch| batch.bytes.as_ptr()),
        Ok(bytes.as_ptr())
    );
    assert!(matches!(batches[2], Err(BatchError::Truncated { .. })));
}

#[test]
fn every_codec_carries_records() {
    for codec in CODECS {
        let batch = Batch::parse(batch_of(codec, 300)).expect("own batch");
        let records = decode_records(&batch, 1 << 20).expect("records");
        assert_eq!(records.len(), 300, "{codec:?}");
        assert_eq!(records[299].offset, Offset(399));
        assert_eq!(records[299].timestamp, 1299);
        assert_eq!(records[7].value.as_deref(), Some(7usize.to_be_bytes().as_slice()));
        let headers = vec![("h".to_owned(), Some(Bytes::from_static(b"x"))), ("h".to_owned(), None)];
        assert_eq!(records[7].headers, headers, "repeated header keys must survive");
    }
}

/// Without the limit each of these becomes 64 MiB from some KiB.
#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for codec in CODECS {
        let packed = compress(codec, None, &zeros).expect("zeros");
        let limit = 1 << 20;
        assert_eq!(
            decompress(codec, &packed, limit),
            Err(BatchError::TooLarge { limit }),
            "{codec:?}"
        );
        assert_eq!(
            decompress(codec, &packed, zeros.len()).map(|out| out.len()),
            Ok(zeros.len()),
            "{codec:?}"
        );
    }
}

#[test]
fn snappy_is_read_framed_raw_and_restarted() {
    let data: Vec<u8> = (0..100_000u32).flat_map(|number| (number / 7).to_be_bytes()).collect();
    let framed = compress(Compression::Snappy, None, &data).expect("data");
    assert!(framed.starts_with(&[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1]));
    assert_eq!(decompress(Compression::Snappy, &framed, 1 << 20).as_ref(), Ok(&data));
    let raw = snap::raw::Encoder::new().compress_vec(&data).expect("data");
    assert_eq!(decompress(Compression::Snappy, &raw, 1 << 20).as_ref(), Ok(&data));
    let twice = [framed.as_slice(), framed.as_slice()].concat();
    assert_eq!(
        decompress(Compression::Snappy, &twice, 1 << 20).map(|out| out.len()),
        Ok(2 * data.len())
    );
    // Five bytes that claim 256 MiB: refused for the claim, before room is made.
    let claim = [0x80, 0x80, 0x80, 0x80, 0x01];
    assert!(matches!(
        decompress(Compression::Snappy, &claim, usize::MAX),
        Err(BatchError::Decompression(_))
    ));
    // A block cut short, and a block of no length.
    assert!(decompress(Compression::Snappy, &framed[..framed.len() - 1], 1 << 20).is_err());
    assert!(decompress(Compression::Snappy, &[&framed[..16], &[0; 4]].concat(), 1 << 20).is_err());
}

#[test]
fn levels_are_clamped() {
    for codec in CODECS {
        for level in [i32::MIN, -1, 0, 1, 9, 22, i32::MAX] {
            let packed = compress(codec, Some(level), b"some bytes").expect("any level");
            assert_eq!(
                decompress(codec, &packed, 100).as_deref(),
                Ok(b"some bytes".as_slice()),
                "{codec:?} {level}"
            );
        }
    }
}

#[test]
fn a_hostile_count_makes_no_room() {
    let mut bytes = batch_of(Compression::None, 1).to_vec();
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let batch = Batch::parse(bytes.into()).expect("header is whole");
    assert_eq!(
        decode_records(&batch, 1 << 20),
        Err(BatchError::Record("records end early"))
    );
}

type Field = Option<Vec<u8>>;
type Fields = (i64, Field, Field, Vec<(String, Field)>);

fn record() -> impl Strategy<Value = Fields> {
    let field = || prop::option::of(prop::collection::vec(any::<u8>(), 0..60));
    (
        any::<i64>(),
        field(),
        field(),
        prop::collection::vec((".{0,5}", field()), 0..4),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_round_trip(fields in prop::collection::vec(record(), 1..20), codec in 0usize..5) {
        let mut builder = BatchBuilder::new(CODECS[codec]).base_offset(Offset(3));
        for (timestamp, key, value, headers) in &fields {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.clone(), value.clone().map(Bytes::from))).collect();
            builder.push(*timestamp, key.as_deref(), value.as_deref(), &headers);
        }
        let batch = Batch::parse(builder.build()).expect("own batch");
        prop_assert!(verify_crc(&batch.bytes));
        let decoded = decode_records(&batch, 1 << 20).expect("records");
        prop_assert_eq!(decoded.len(), fields.len());
        for (index, (record, (timestamp, key, value, headers))) in decoded.iter().zip(&fields).enumerate() {
            prop_assert_eq!(record.offset, Offset(3 + index as i64));
            prop_assert_eq!(record.timestamp, *timestamp);
            prop_assert_eq!(record.key.as_deref(), key.as_deref());
            prop_assert_eq!(record.value.as_deref(), value.as_deref());
            let decoded_headers: Vec<_> =
                record.headers.iter().map(|(name, value)| (name.clone(), value.clone().map(|v| v.to_vec()))).collect();
            prop_assert_eq!(&decoded_headers, headers);
        }
    }

    #[test]
    fn codecs_round_trip(data in prop::collection::vec(any::<u8>(), 0..5000), codec in 0usize..5) {
        let packed = compress(CODECS[codec], None, &data).expect("data");
        prop_assert_eq!(decompress(CODECS[codec], &packed, data.len()), Ok(data));
    }

    #[test]
    fn random_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..400), codec in 0usize..5) {
        let _ = decompress(CODECS[codec], &data, 1 << 16);
        let bytes = Bytes::from(data);
        for batch in split_batches(&bytes).flatten() {
            let _ = decode_records(&batch, 1 << 16);
        }
    }

    /// Any one flipped bit after the CRC is noticed; wherever it is, decoding never panics.
    #[test]
    fn bit_flips_are_noticed(codec in 0usize..5, bit in any::<prop::sample::Index>()) {
        let mut bytes = batch_of(CODECS[codec], 5).to_vec();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if bit / 8 >= 17 {
            prop_assert!(!verify_crc(&bytes));
        }
        if let Ok(batch) = Batch::parse(bytes.into()) {
            let _ = decode_records(&batch, 1 << 16);
        }
    }
}

#[test]
fn recompression_keeps_the_records() {
    for from in CODECS {
        for to in CODECS {
            let batch = Batch::parse(batch_of(from, 50)).expect("own batch");
            let size = decompress(from, batch.payload(), 1 << 20).expect("own records").len();
            let other = Batch::parse(recompress(&batch, to, None, size, 1 << 20).expect("in limit")).expect("a batch");
            assert!(verify_crc(&other.bytes));
            assert_eq!(other.header.compression(), Ok(to));
            assert_eq!(decode_records(&other, 1 << 20), decode_records(&batch, 1 << 20));
            let as_before = BatchHeader {
                batch_length: batch.header.batch_length,
                crc: batch.header.crc,
                attributes: batch.header.attributes,
                ..other.header
            };
            assert_eq!(as_before, batch.header);
            if from != to {
                let too_large = |limit| Err(BatchError::TooLarge { limit });
                assert_eq!(
                    recompress(&batch, to, None, size, 70),
                    too_large(70),
                    "{from:?} to {to:?}"
                );
                if from != Compression::None {
                    assert_eq!(
                        recompress(&batch, to, None, 10, 1 << 20),
                        too_large(10),
                        "{from:?} to {to:?}"
                    );
                    assert!(
                        recompress(&batch, to, None, size + 1, 1 << 20).is_err(),
                        "{from:?} to {to:?}"
                    );
                }
            }
        }
    }
}

/// zstd's best level asks every reader for 128 MiB, unless it is told how little there is.
#[test]
fn a_small_batch_needs_a_small_window() {
    let batch = Batch::parse(batch_of(Compression::Gzip, 50)).expect("own batch");
    let size = decompress(Compression::Gzip, batch.payload(), 1 << 20)
        .expect("own records")
        .len();
    let packed = recompress(&batch, Compression::Zstd, Some(22), size, 1 << 20).expect("in limit");
    let packed = Batch::parse(packed).expect("a batch");
    // 8 MiB is what every reader takes (RFC 8878, 3.1.1.1.2).
    let mut reader = zstd::stream::read::Decoder::new(packed.payload()).expect("a frame");
    reader.window_log_max(23).expect("a window");
    assert_eq!(
        std::io::copy(&mut reader, &mut std::io::sink()).expect("small windows"),
        size as u64
    );
}

/// Clients do not tell zstd how much there will be. ◆ How large a window they ask for says nothing about how much comes out.
#[test]
fn the_windows_of_zstds_best_levels_are_taken_whatever_the_limit() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 22).expect("a level");
    encoder.write_all(b"a few bytes").expect("memory");
    encoder.flush().expect("memory");
    let packed = encoder.finish().expect("memory");
    let mut small = zstd::stream::read::Decoder::new(&packed[..]).expect("a frame");
    small.window_log_max(26).expect("a window");
    assert!(
        std::io::copy(&mut small, &mut std::io::sink()).is_err(),
        "it asks for 128 MiB"
    );
    assert_eq!(decompress(Compression::Zstd, &packed, 100), Ok(b"a few bytes".to_vec()));
}

/// KIP-390's levels, as far as Kafka's configs allow them; −1 is gzip's default, not "store".
#[test]
fn levels_are_those_of_kafkas_configs() {
    let text: Vec<u8> = (0..40_000u32)
        .flat_map(|index| (index / 7 % 251).to_be_bytes())
        .collect();
    for (codec, levels) in [
        (Compression::Gzip, &[-1, 1, 9][..]),
        (Compression::Snappy, &[3]),
        (Compression::Lz4, &[1, 9, 17]),
        (Compression::Zstd, &[-131_072, -5, 3, 22]),
    ] {
        for level in levels {
            let packed = compress(codec, Some(*level), &text).expect("compresses");
            assert_eq!(
                decompress(codec, &packed, text.len()).as_ref(),
                Ok(&text),
                "{codec:?} {level}"
            );
            let fast = codec == Compression::Zstd && *level == -131_072;
            assert!(
                fast || packed.len() < text.len() / 2,
                "{codec:?} {level}: {}",
                packed.len()
            );
        }
    }
    let gzip = |level| compress(Compression::Gzip, level, &text).expect("compresses");
    assert_eq!(gzip(Some(-1)), gzip(None));
}

/// What is written is written as Java's decoders expect it: xerial's header and blocks of 32 KiB, a gzip member, an
/// lz4 frame of independent blocks, a zstd frame.
#[test]
fn formats_are_those_that_java_reads() {
    let data = vec![7; 100_000];
    let packed = |codec| compress(codec, None, &data).expect("compresses");
    assert_eq!(packed(Compression::Gzip)[..3], [0x1f, 0x8b, 8]);
    assert_eq!(packed(Compression::Zstd)[..4], [0x28, 0xb5, 0x2f, 0xfd]);
    let lz4 = packed(Compression::Lz4);
    assert_eq!(lz4[..4], [0x04, 0x22, 0x4d, 0x18]);
    assert_eq!((lz4[4] & 0x20, lz4[5]), (0x20, 0x40), "independent blocks of 64 KiB");
    let snappy = packed(Compression::Snappy);
    assert_eq!(snappy[..16], *b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01");
    let (mut rest, mut blocks) = (&snappy[16..], Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (block, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        blocks.push(snap::raw::decompress_len(block).expect("a raw block"));
        rest = behind;
    }
    assert_eq!(blocks, [32_768, 32_768, 32_768, 1_696]);
}
