//! What a client's batch is refused for, and with which of Kafka's codes.

use bytes::Bytes;
use proptest::prelude::*;
use records::{
    Allowance, BatchBuilder, BatchHeader, BatchRules, Compression, Rejected, check_client_records, compress, verify_crc,
};
use types::{ErrorCode, ProducerEpoch, ProducerId, limits};

const NOW: i64 = 1_700_000_000_000;
const RULES: BatchRules = BatchRules {
    max_message_bytes: 1_048_588,
    compacted: false,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: 3_600_000,
    log_append_time: false,
    now_ms: NOW,
};
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn builder(codec: Compression, count: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec);
    for index in 0..count {
        builder.push(NOW + index as i64, Some(b"k"), Some(b"value"), &[("h".into(), None)]);
    }
    builder
}

fn good(codec: Compression) -> Bytes {
    builder(codec, 3).build()
}

/// Overwrites bytes of the header and makes the CRC right again.
fn patched(batch: &Bytes, at: usize, with: &[u8]) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    reseal(bytes)
}

fn reseal(mut bytes: Vec<u8>) -> Bytes {
    let length = i32::try_from(bytes.len() - 12).expect("small");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let true_max = i64::from_be_bytes(bytes[35..43].try_into().expect("8 bytes"));
    // Stamping another time first makes sure that the CRC is computed anew.
    records::set_max_timestamp(&mut bytes, true_max ^ 1);
    records::set_max_timestamp(&mut bytes, true_max);
    assert!(verify_crc(&bytes));
    bytes.into()
}

/// A batch of `count` records with these payload bytes.
fn with_payload(codec: Compression, count: i32, payload: &[u8]) -> Bytes {
    let mut bytes = good(codec)[..61].to_vec();
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&compress(codec, None, payload).expect("payload"));
    reseal(bytes)
}

/// As the only batch of its request.
fn check(batch: &Bytes, rules: &BatchRules) -> Result<BatchHeader, Rejected> {
    let mut allowance = Allowance {
        decompressed_bytes: 1 << 20,
        ..Allowance::REQUEST
    };
    check_client_records(batch, rules, &mut allowance)
}

fn refusal(batch: &Bytes, rules: &BatchRules) -> ErrorCode {
    check(batch, rules).expect_err("must be refused").error
}

#[test]
fn good_batches_pass() {
    for codec in CODECS {
        let batch = good(codec);
        let header = check(&batch, &RULES).expect("good");
        assert_eq!(Ok(header), BatchHeader::parse(&batch), "{codec:?}");
    }
}

#[test]
fn the_shape_of_the_request() {
    let batch = good(Compression::None);
    let twice = Bytes::from([batch.as_ref(), batch.as_ref()].concat());
    let cases: Vec<(&str, Bytes, ErrorCode)> = vec![
        ("nothing", Bytes::new(), ErrorCode::InvalidRecord),
        ("a part of a header", batch.slice(..40), ErrorCode::InvalidRecord),
        (
            "a part of a batch",
            batch.slice(..batch.len() - 1),
            ErrorCode::InvalidRecord,
        ),
        ("two batches", twice, ErrorCode::InvalidRecord),
        ("magic 0", patched(&batch, 16, &[0]), ErrorCode::InvalidRecord),
        ("magic 1", patched(&batch, 16, &[1]), ErrorCode::InvalidRecord),
        ("magic 3", patched(&batch, 16, &[3]), ErrorCode::CorruptMessage),
        ("base offset", patched(&batch, 7, &[1]), ErrorCode::InvalidRecord),
        (
            "negative count",
            patched(&batch, 57, &[0xff; 4]),
            ErrorCode::InvalidRecord,
        ),
        ("count 0", patched(&batch, 57, &[0; 4]), ErrorCode::InvalidRecord),
        (
            "count against offsets",
            patched(&batch, 60, &[2]),
            ErrorCode::InvalidRecord,
        ),
        (
            "negative offset range",
            patched(&batch, 23, &[0xff; 4]),
            ErrorCode::InvalidRecord,
        ),
        (
            "huge count",
            with_payload(Compression::None, i32::MAX, &[]),
            ErrorCode::InvalidRecord,
        ),
        (
            "control batch",
            builder(Compression::None, 1).control().build(),
            ErrorCode::InvalidRecord,
        ),
        (
            "transaction without producer",
            builder(Compression::None, 1).transactional().build(),
            ErrorCode::InvalidRecord,
        ),
        (
            "producer without sequence",
            builder(Compression::None, 1)
                .producer(ProducerId(1), ProducerEpoch(0), -1)
                .build(),
            ErrorCode::InvalidRecord,
        ),
        (
            "codec 7",
            patched(&batch, 22, &[7]),
            ErrorCode::UnsupportedCompressionType,
        ),
    ];
    for (what, batch, error) in cases {
        assert_eq!(refusal(&batch, &RULES), error, "{what}");
    }
    let mut length = batch.to_vec();
    length[8..12].copy_from_slice(&[0, 0, 0, 5]);
    assert_eq!(refusal(&length.into(), &RULES), ErrorCode::CorruptMessage);
    let mut flipped = batch.to_vec();
    flipped[70] ^= 4;
    assert_eq!(refusal(&flipped.into(), &RULES), ErrorCode::CorruptMessage);
}

#[test]
fn sizes() {
    let batch = good(Compression::Gzip);
    let exact = BatchRules {
        max_message_bytes: batch.len(),
        ..RULES
    };
    assert!(check(&batch, &exact).is_ok());
    let less = BatchRules {
        max_message_bytes: batch.len() - 1,
        ..RULES
    };
    assert_eq!(refusal(&batch, &less), ErrorCode::MessageTooLarge);
    for codec in &CODECS[1..] {
        let mut bomb = BatchBuilder::new(*codec);
        bomb.push(NOW, None, Some(&vec![0; 8 << 20]), &[]);
        let bomb = bomb.build();
        assert!(bomb.len() < RULES.max_message_bytes);
        assert_eq!(refusal(&bomb, &RULES), ErrorCode::MessageTooLarge, "{codec:?}");
    }
}

/// Each row is one record that lies. In every codec: walked as a slice and as a stream.
#[test]
fn records_that_lie() {
    // length, attributes, timestamp delta, offset delta, key, value, headers
    let rows: Vec<(&str, i32, Vec<u8>)> = vec![
        ("ends early", 1, vec![14, 0, 0, 0, 1, 2]),
        ("length too long", 1, vec![16, 0, 0, 0, 1, 2, b'v', 0, 0]),
        ("length too short", 1, vec![12, 0, 0, 0, 1, 2, b'v', 0]),
        ("negative length", 1, vec![1, 0, 0, 0, 1, 2, b'v', 0]),
        ("key of length -2", 1, vec![14, 0, 0, 0, 3, 2, b'v', 0]),
        ("value leaves the record", 1, vec![14, 0, 0, 0, 1, 20, b'v', 0]),
        ("negative number of headers", 1, vec![14, 0, 0, 0, 1, 2, b'v', 1]),
        ("header that is not there", 1, vec![14, 0, 0, 0, 1, 2, b'v', 2]),
        ("null header key", 1, vec![18, 0, 0, 0, 1, 2, b'v', 2, 1, 1]),
        ("offset does not count up", 1, vec![14, 0, 0, 2, 1, 2, b'v', 0]),
        ("fewer records than counted", 2, vec![14, 0, 0, 0, 1, 2, b'v', 0]),
        (
            "more records than counted",
            1,
            [[14, 0, 0, 0, 1, 2, b'v', 0], [14, 0, 0, 2, 1, 2, b'v', 0]].concat(),
        ),
        ("endless varint", 1, vec![0xff; 12]),
    ];
    for codec in CODECS {
        let honest = with_payload(codec, 1, &[14, 0, 0, 0, 1, 2, b'v', 0]);
        assert!(check(&honest, &RULES).is_ok(), "{codec:?}");
        for (what, count, payload) in &rows {
            assert_eq!(
                refusal(&with_payload(codec, *count, payload), &RULES),
                ErrorCode::InvalidRecord,
                "{codec:?}: {what}"
            );
        }
    }
}

#[test]
fn compressed_garbage_is_invalid() {
    for codec in &CODECS[1..] {
        let mut bytes = good(*codec)[..61].to_vec();
        bytes.extend_from_slice(b"this is nothing that any codec would have written");
        assert_eq!(refusal(&reseal(bytes), &RULES), ErrorCode::InvalidRecord, "{codec:?}");
    }
}

#[test]
fn compacted_topics_need_keys() {
    let mut batch = builder(Compression::Zstd, 2);
    batch.push(NOW, None, Some(b"v"), &[]);
    batch.push(NOW, Some(b""), None, &[]);
    let batch = batch.build();
    assert!(check(&batch, &RULES).is_ok());
    let Rejected {
        error, record_errors, ..
    } = check(
        &batch,
        &BatchRules {
            compacted: true,
            ..RULES
        },
    )
    .expect_err("null key");
    assert_eq!(error, ErrorCode::InvalidRecord);
    assert_eq!(
        record_errors,
        [(2, "Compacted topic cannot accept message without key".to_owned())]
    );
}

/// As Kafka's `LogValidator.processRecordErrors`: one wrong timestamp decides the code, wherever it stands.
#[test]
fn a_wrong_timestamp_outweighs_a_missing_key() {
    let rules = BatchRules {
        compacted: true,
        timestamp_before_max_ms: 1000,
        ..RULES
    };
    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(NOW, None, Some(b"v"), &[]);
    batch.push(NOW - 1001, Some(b"k"), None, &[]);
    batch.push(NOW - 1001, None, None, &[]);
    let rejected = check(&batch.build(), &rules).expect_err("both");
    assert_eq!(rejected.error, ErrorCode::InvalidTimestamp);
    let named: Vec<(i32, bool)> = rejected
        .record_errors
        .iter()
        .map(|(index, message)| (*index, message.contains("without key")))
        .collect();
    assert_eq!(named, [(0, true), (1, false), (2, true)], "the key is looked at first");
}

#[test]
fn record_errors_are_bounded() {
    let mut batch = BatchBuilder::new(Compression::None);
    for _ in 0..limits::RECORD_ERRORS_MAX + 5 {
        batch.push(NOW, None, None, &[]);
    }
    let rejected = check(
        &batch.build(),
        &BatchRules {
            compacted: true,
            ..RULES
        },
    )
    .expect_err("keys");
    assert_eq!(rejected.record_errors.len(), limits::RECORD_ERRORS_MAX);
    assert!(rejected.message.contains("1005"));
}

/// Many batches in one request cost no more than one may.
#[test]
fn an_allowance_covers_all_batches_of_a_request() {
    let compacted = BatchRules {
        compacted: true,
        ..RULES
    };
    let mut keyless = BatchBuilder::new(Compression::None);
    (0..700).for_each(|_| keyless.push(NOW, None, None, &[]));
    let keyless = keyless.build();
    let mut allowance = Allowance::REQUEST;
    let told: Vec<usize> = (0..3)
        .map(|_| {
            check_client_records(&keyless, &compacted, &mut allowance)
                .expect_err("keys")
                .record_errors
                .len()
        })
        .collect();
    assert_eq!(told, [700, limits::RECORD_ERRORS_MAX - 700, 0]);

    for codec in &CODECS[1..] {
        let mut zeros = BatchBuilder::new(*codec);
        zeros.push(NOW, None, Some(&vec![0; 400 << 10]), &[]);
        let zeros = zeros.build();
        let mut allowance = Allowance {
            decompressed_bytes: 1 << 20,
            ..Allowance::REQUEST
        };
        assert!(check_client_records(&zeros, &RULES, &mut allowance).is_ok());
        // A refused batch costs what was decompressed of it.
        assert!(check_client_records(&zeros, &compacted, &mut allowance).is_err());
        let left = allowance.decompressed_bytes;
        assert!(left <= (1 << 20) - (800 << 10), "{codec:?}: {left} left");
        assert_eq!(
            check_client_records(&zeros, &RULES, &mut allowance).map_err(|rejected| rejected.error),
            Err(ErrorCode::MessageTooLarge),
            "{codec:?}"
        );
    }
}

#[test]
fn timestamps() {
    let at = |timestamp| {
        let mut batch = builder(Compression::None, 1);
        batch.push(timestamp, Some(b"k"), None, &[]);
        batch.build()
    };
    let rules = BatchRules {
        timestamp_before_max_ms: 1000,
        timestamp_after_max_ms: 10,
        ..RULES
    };
    for (timestamp, good) in [
        (NOW + 10, true),
        (NOW + 11, false),
        (NOW - 1000, true),
        (NOW - 1001, false),
        (-1, true),
    ] {
        let answer = check(&at(timestamp), &rules);
        assert_eq!(answer.is_ok(), good, "{}", timestamp - NOW);
        if let Err(rejected) = answer {
            assert_eq!(rejected.error, ErrorCode::InvalidTimestamp);
            assert_eq!(rejected.record_errors.len(), 1);
            assert_eq!(rejected.record_errors[0].0, 1);
        }
        assert!(
            check(
                &at(timestamp),
                &BatchRules {
                    log_append_time: true,
                    ..rules
                }
            )
            .is_ok()
        );
    }
    let stamped = patched(&good(Compression::None), 22, &[8]);
    assert_eq!(refusal(&stamped, &RULES), ErrorCode::InvalidTimestamp);
}

#[test]
fn the_true_max_timestamp_is_answered() {
    let wrong = patched(&good(Compression::Lz4), 35, &5i64.to_be_bytes());
    assert_eq!(check(&wrong, &RULES).map(|header| header.max_timestamp), Ok(NOW + 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes after a sealed header: an answer, never a panic.
    #[test]
    fn random_payloads_never_panic(
        payload in prop::collection::vec(any::<u8>(), 0..300), codec in 0u8..8, count in 1i32..5
    ) {
        let batch = with_payload(Compression::None, count, &payload);
        let _ = check(&patched(&batch, 22, &[codec]), &RULES);
    }

    /// A flipped bit anywhere is refused, but for those in what the CRC does not cover and nobody checks:
    /// the leader epoch, which the broker sets.
    #[test]
    fn flipped_bits_are_refused(codec in 0usize..5, bit in any::<prop::sample::Index>()) {
        let mut bytes = good(CODECS[codec]).to_vec();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let answer = check(&bytes.into(), &RULES);
        prop_assert_eq!(answer.is_ok(), (12..16).contains(&(bit / 8)));
    }
}
