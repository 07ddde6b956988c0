//! Headers, and frames cut out of a stream.

use crate::grammar::sample::{Style, sample};
use crate::messages::RequestKind;
use crate::{ApiKey, FrameReader, WireError, client, decode_request, parse_frame};
use bytes::Bytes;
use tokio::io::{AsyncWriteExt, duplex};

fn request(key: ApiKey, version: i16, correlation: i32, client_id: &str) -> Bytes {
    let shape = crate::grammar::request_shape(key).expect("grammar");
    let body = sample(
        shape,
        version,
        1,
        Style {
            unknown_tags: false,
            ..Style::default()
        },
    )
    .body;
    let request = crate::decode::decode_body(key, version, body.into()).expect("sample");
    client::encode_request(key, version, correlation, client_id, &request).expect("encode")
}

#[test]
fn what_a_client_encodes_is_what_the_broker_reads() {
    for (key, version) in super::versions().filter(|(key, v)| crate::serves(*key as i16, *v)) {
        let bytes = request(key, version, -7, "me");
        let frame = parse_frame(bytes.slice(4..)).expect("header");
        assert_eq!(
            (frame.api_key, frame.api_version, frame.correlation_id),
            (key as i16, version, -7)
        );
        assert_eq!(frame.client_id.as_deref(), Some("me"));
        assert_eq!(frame.size, bytes.len() - 4);
        let decoded = decode_request(&frame).expect("body");
        assert_eq!(
            client::encode_request(key, version, -7, "me", &decoded).expect("again"),
            bytes
        );
    }
}

#[test]
fn headers_that_are_cut_or_wrong_are_refused() {
    let bytes = request(ApiKey::Metadata, 12, 3, "client").slice(4..);
    for length in 0..8 + 2 + 6 + 1 {
        assert!(parse_frame(bytes.slice(..length)).is_err(), "{length}");
    }
    let negative = [0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xfe];
    assert!(matches!(
        parse_frame(Bytes::copy_from_slice(&negative)),
        Err(WireError::Header(_))
    ));
    let null_client = [0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff];
    assert_eq!(
        parse_frame(Bytes::copy_from_slice(&null_client))
            .expect("null client id")
            .client_id,
        None
    );
    let not_utf8 = [0, 3, 0, 1, 0, 0, 0, 1, 0, 1, 0xff];
    let frame = parse_frame(Bytes::copy_from_slice(&not_utf8)).expect("as in Kafka");
    assert_eq!(frame.client_id.as_deref(), Some("\u{fffd}"));
}

/// KIP-511: the header of an ApiVersions request of any version can be read, so that it can be answered.
#[test]
fn an_unknown_version_of_api_versions_has_a_header() {
    let mut bytes = request(ApiKey::ApiVersions, 4, 11, "new").slice(4..).to_vec();
    bytes[3] = 99;
    let frame = parse_frame(Bytes::from(bytes)).expect("header");
    assert_eq!((frame.api_version, frame.correlation_id), (99, 11));
    assert!(matches!(
        decode_request(&frame),
        Err(WireError::UnsupportedVersion {
            api_key: 18,
            api_version: 99
        })
    ));
}

#[test]
fn unknown_keys_and_versions_have_a_header_and_no_body() {
    let bytes = [0x7f, 0xff, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 1, 2, 3];
    let frame = parse_frame(Bytes::copy_from_slice(&bytes)).expect("header");
    assert_eq!((frame.api_key, frame.correlation_id), (0x7fff, 9));
    assert!(matches!(decode_request(&frame), Err(WireError::UnknownApi(0x7fff))));
    for (key, version) in [
        (ApiKey::Produce, 2_i16),
        (ApiKey::Fetch, 3),
        (ApiKey::Metadata, -1),
        (ApiKey::OffsetCommit, 8),
    ] {
        let mut bytes = vec![0, key as u8];
        bytes.extend(version.to_be_bytes());
        bytes.extend([0, 0, 0, 9, 0xff, 0xff]);
        let Ok(frame) = parse_frame(Bytes::from(bytes)) else {
            continue;
        };
        assert!(
            matches!(decode_request(&frame), Err(WireError::UnsupportedVersion { .. })),
            "{key:?} {version}"
        );
    }
}

#[tokio::test]
async fn frames_come_out_whole_however_they_arrive() {
    let frames: Vec<Bytes> = (0..40_usize).map(|i| Bytes::from(vec![i as u8; i * i * 37])).collect();
    let mut stream = Vec::new();
    for frame in &frames {
        stream.extend((frame.len() as i32).to_be_bytes());
        stream.extend_from_slice(frame);
    }
    for piece in [1, 3, 4096, stream.len()] {
        let (mut ours, mut theirs) = duplex(piece);
        let stream = stream.clone();
        let writer = tokio::spawn(async move {
            for chunk in stream.chunks(piece) {
                theirs.write_all(chunk).await.expect("write");
            }
        });
        let mut reader = FrameReader::new(1 << 20);
        for frame in &frames {
            assert_eq!(reader.next(&mut ours).await.expect("frame").as_ref(), Some(frame));
        }
        assert_eq!(reader.next(&mut ours).await.expect("end"), None);
        writer.await.expect("writer");
    }
}

#[tokio::test]
async fn a_length_out_of_bounds_is_refused_before_its_body() {
    for size in [-1, i32::MIN, 1001, i32::MAX] {
        let (mut ours, mut theirs) = duplex(64);
        theirs.write_all(&size.to_be_bytes()).await.expect("write");
        let refused = FrameReader::new(1000).next(&mut ours).await;
        assert!(
            matches!(refused, Err(WireError::FrameSize { size: s, max: 1000 }) if s == size),
            "{refused:?}"
        );
    }
    let (mut ours, mut theirs) = duplex(2048);
    theirs.write_all(&1000_i32.to_be_bytes()).await.expect("write");
    theirs.write_all(&[1; 1000]).await.expect("write");
    let frame = FrameReader::new(1000)
        .next(&mut ours)
        .await
        .expect("exactly the limit")
        .expect("frame");
    assert_eq!(frame.len(), 1000);
}

#[tokio::test]
async fn a_close_inside_a_frame_is_an_error() {
    for bytes in [&[0_u8, 0][..], &[0, 0, 0, 9, 1, 2]] {
        let (mut ours, mut theirs) = duplex(64);
        theirs.write_all(bytes).await.expect("write");
        drop(theirs);
        assert!(matches!(
            FrameReader::new(1000).next(&mut ours).await,
            Err(WireError::Truncated)
        ));
    }
}

/// A frame of 100 MiB that is only announced costs no more than the first room for reading.
#[test]
fn memory_follows_what_arrived() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let (mut ours, mut theirs) = duplex(1 << 16);
    runtime
        .block_on(theirs.write_all(&(100_i32 << 20).to_be_bytes()))
        .expect("write");
    runtime.block_on(theirs.write_all(&[0; 1000])).expect("write");
    let mut reader = FrameReader::new(100 << 20);
    let used = allocation_counter::measure(|| {
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = reader.next(&mut ours) => panic!("no frame has come"),
                () = std::future::ready(()) => {}
            }
        });
    });
    assert!(used.bytes_max < 64 << 10, "{used:?}");
}

/// A body is read as far as its memory is drawn, and no further than a read's room beyond.
#[tokio::test]
async fn a_body_comes_as_far_as_it_is_asked_for() {
    let length: usize = 1 << 20;
    let frame = [
        &i32::try_from(length).expect("small").to_be_bytes()[..],
        &vec![7; length],
    ]
    .concat();
    let mut stream = &frame[..];
    let mut reader = FrameReader::new(2 << 20);
    for asked in [6, 100_000, 600_000, usize::MAX] {
        reader.fill(&mut stream, asked).await.expect("it comes");
        let here = reader.buffered_bytes();
        assert!(
            here >= asked.min(frame.len()) && here <= asked.max(16 << 10).saturating_mul(8),
            "{here} for {asked}"
        );
    }
    assert_eq!(reader.buffered().expect("whole").map(|frame| frame.len()), Some(length));
    assert!(matches!(reader.fill(&mut &[][..], 1).await, Err(WireError::Truncated)));
}

/// Dropping `next` between any two bytes loses none of them.
#[tokio::test]
async fn next_is_cancel_safe() {
    let (mut ours, mut theirs) = duplex(64);
    let mut reader = FrameReader::new(1000);
    let bytes = [0, 0, 0, 3, 7, 8, 9, 0, 0, 0, 1, 5];
    let mut frames = Vec::new();
    for byte in bytes {
        theirs.write_all(&[byte]).await.expect("write");
        tokio::select! {
            biased;
            frame = reader.next(&mut ours) => frames.push(frame.expect("frame").expect("open")),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(frames, [Bytes::from_static(&[7, 8, 9]), Bytes::from_static(&[5])]);
}

/// A broker that knows only version 0 of ApiVersions is asked again in that version.
#[tokio::test]
async fn a_connection_steps_down_to_an_old_broker() {
    use crate::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
    use crate::messages::{MetadataRequest, MetadataResponse, ResponseKind};
    let (ours, mut theirs) = duplex(4096);
    let broker = tokio::spawn(async move {
        let mut reader = FrameReader::new(1 << 20);
        let mut asked = Vec::new();
        while let Some(bytes) = reader.next(&mut theirs).await.expect("frame") {
            let frame = parse_frame(bytes).expect("header");
            asked.push((frame.api_key, frame.api_version));
            let answer = match frame.api_key {
                3 => ResponseKind::Metadata(MetadataResponse::default().with_controller_id(4.into())),
                _ => ResponseKind::ApiVersions(
                    ApiVersionsResponse::default()
                        .with_error_code(if frame.api_version > 0 { 35 } else { 0 })
                        .with_api_keys(vec![ApiVersion::default().with_api_key(3).with_max_version(5)]),
                ),
            };
            let version = if frame.api_key == 3 { frame.api_version } else { 0 };
            let bytes = crate::encode_response(frame.api_key, version, frame.correlation_id, &answer)
                .expect("encode")
                .into_bytes();
            theirs.write_all(&bytes).await.expect("write");
        }
        asked
    });
    let mut connection = client::Connection::over(ours, "test").await.expect("versions");
    let answer = connection
        .send(ApiKey::Metadata, &RequestKind::Metadata(MetadataRequest::default()))
        .await;
    assert!(matches!(answer, Ok(ResponseKind::Metadata(r)) if r.controller_id == 4));
    let produce = RequestKind::Produce(crate::messages::ProduceRequest::default());
    assert!(matches!(
        connection.send(ApiKey::Produce, &produce).await,
        Err(client::ConnectionError::NoCommonVersion(ApiKey::Produce))
    ));
    drop(connection);
    assert_eq!(broker.await.expect("broker"), [(18, 3), (18, 0), (3, 5)]);
}
