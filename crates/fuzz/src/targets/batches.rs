//! Record batches: of clients, of leaders, of disks, and what codecs make of bytes.

use crate::bounded::bounded;
use crate::checksums::seal_batches;
use crate::{Kind, Target};
use bytes::Bytes;
use records::{
    Allowance, Batch, BatchBuilder, BatchRules, Compression, check_client_records, compress, decode_records,
    decompress, recompress, split_batches, verify_crc,
};
use types::{ProducerEpoch, ProducerId};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
/// Most that is decompressed here.
const DECOMPRESSED: usize = 1 << 20;
/// Memory beside what comes out of a codec: its window and tables.
const CODEC_BYTES: usize = 4 << 20;

pub(crate) fn all() -> Vec<Target> {
    vec![
        Target::new("client-batch", Kind::Batch, client_batch, batches),
        Target::new("batch-records", Kind::Batch, batch_records, batches),
        Target::new("decompress", Kind::Batch, decompressed, compressed),
    ]
}

fn batches() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (codec, flags) in CODECS.into_iter().zip(1u8..) {
        let mut batch = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(0), 0);
        for index in 0..5i64 {
            let header = ("name".to_owned(), Some(Bytes::from_static(b"value")));
            batch.push(1_000 + index, Some(b"key"), Some(&[index as u8; 60]), &[header]);
        }
        batch.push(-1, None, None, &[]);
        let batch = batch.build();
        all.push([&[1, flags], &batch[..]].concat());
        // As it is, with its own CRC.
        all.push([&[0, flags], &batch[..]].concat());
    }
    let mut transactional = BatchBuilder::new(Compression::None)
        .producer(ProducerId(7), ProducerEpoch(0), i32::MAX)
        .transactional()
        .control();
    transactional.push(1, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
    all.push([&[1, 0], &transactional.build()[..]].concat());
    all
}

/// A byte that says whether length and CRC are made right, a byte of rules, then the records of one partition.
fn split(input: &[u8]) -> Option<(u8, Bytes)> {
    let [seal, rules, records @ ..] = input else {
        return None;
    };
    let mut records = records.to_vec();
    if seal & 1 != 0 {
        seal_batches(&mut records);
    }
    Some((*rules, records.into()))
}

/// What passes the check of a client's batch is what every reader can read, in its own codec and in every other.
fn client_batch(input: &[u8]) {
    let Some((rules, records)) = split(input) else { return };
    let rules = BatchRules {
        max_message_bytes: 1 << 20,
        compacted: rules & 1 != 0,
        timestamp_before_max_ms: if rules & 2 != 0 { i64::MAX } else { 1_000 },
        timestamp_after_max_ms: if rules & 4 != 0 { i64::MAX } else { 1_000 },
        log_append_time: rules & 8 != 0,
        now_ms: 1_000,
    };
    let allowance = Allowance {
        decompressed_bytes: DECOMPRESSED,
        record_errors: 100,
    };
    let mut left = allowance;
    let checked = bounded(CODEC_BYTES, || check_client_records(&records, &rules, &mut left));
    assert!(left.decompressed_bytes <= allowance.decompressed_bytes && left.record_errors <= allowance.record_errors);
    let Ok(header) = checked else { return };
    let batch = Batch::parse(records).expect("checked to be one batch");
    assert!(verify_crc(&batch.bytes));
    let decoded = decode_records(&batch, DECOMPRESSED).expect("checked to be readable");
    assert_eq!(
        decoded.len(),
        usize::try_from(header.record_count).unwrap_or(usize::MAX)
    );
    let latest = decoded.iter().map(|record| record.timestamp).max();
    assert_eq!(latest, Some(header.max_timestamp));
    if decoded.len() > 1_000 {
        return;
    }
    let size = allowance.decompressed_bytes - left.decompressed_bytes;
    for codec in CODECS {
        let again = recompress(&batch, codec, None, size, 2 * DECOMPRESSED).expect("checked to be readable");
        let again = Batch::parse(again).expect("one batch");
        assert!(verify_crc(&again.bytes), "{codec:?}");
        assert_eq!(decode_records(&again, DECOMPRESSED).as_ref(), Ok(&decoded), "{codec:?}");
    }
}

/// What a consumer or a follower makes of bytes that claim to be batches.
fn batch_records(input: &[u8]) {
    let Some((_, records)) = split(input) else { return };
    let limit = 8 * DECOMPRESSED + CODEC_BYTES + 64 * input.len();
    bounded(limit, || {
        let mut left = DECOMPRESSED;
        for batch in split_batches(&records).flatten() {
            assert!(batch.bytes.len() >= records::BATCH_HEADER_LEN);
            let _ = (
                verify_crc(&batch.bytes),
                batch.header.last_offset(),
                batch.header.next_offset(),
            );
            let _ = batch.header.last_sequence();
            // Records of 7 bytes decode to more than 100.
            left /= 2;
            let _ = decode_records(&batch, left / 16);
        }
    });
}

fn compressed() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 3] = [b"", &[b'x'; 3_000], b"some text, and some more text, and the rest"];
    let mut all = Vec::new();
    for (codec, which) in CODECS.into_iter().zip(0u8..) {
        for text in texts {
            let packed = compress(codec, None, text).unwrap_or_default();
            all.push([&[which], &packed[..]].concat());
        }
    }
    // Bombs: 64 MiB of nothing.
    for (codec, which) in CODECS.into_iter().zip(0u8..).skip(1) {
        let bomb = compress(codec, Some(9), &vec![0; 64 << 20]).unwrap_or_default();
        if bomb.len() < 100_000 {
            all.push([&[which], &bomb[..]].concat());
        }
    }
    all
}

/// A byte for the codec, then what is decompressed; and compressed, which must come back.
fn decompressed(input: &[u8]) {
    let Some((which, data)) = input.split_first() else {
        return;
    };
    let codec = CODECS[usize::from(*which) % CODECS.len()];
    let out = bounded(4 * DECOMPRESSED + CODEC_BYTES, || decompress(codec, data, DECOMPRESSED));
    if let Ok(out) = out {
        assert!(out.len() <= DECOMPRESSED);
    }
    let packed = compress(codec, Some(i32::from(*which)), data).expect("any bytes can be compressed");
    assert_eq!(decompress(codec, &packed, data.len()).as_deref(), Ok(data), "{codec:?}");
}
