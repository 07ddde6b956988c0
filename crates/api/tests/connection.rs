//! The connection loop over a real loopback socket, on a scripted data plane.

#[path = "support/no_coordinators.rs"]
mod no_coordinators;

use api::control::{Control, CreatedTopic, DeletedTopic, NewTopic, Outcomes, TopicRef};
use api::data::{Appended, Data, DataError, FetchPlan, FetchedPartition};
use api::memory_budget::Fetched;
use api::{Api, ApiSettings, MemoryBudget, Services};
use bytes::{BufMut, Bytes, BytesMut};
use controller::ClusterStatus;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use host::{Host, RealHost};
use metadata::plan::{AlterConfigs, AlterReassignments, CreatePartitions, ElectLeaders, PartitionOutcomes};
use metadata::{Image, PartitionImage, TopicImage};
use no_coordinators::NoCoordinators;
use records::{BatchBuilder, BatchHeader, Compression};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicId, TopicPartition, limits};
use wire::ApiKey;
use wire::client::{decode_response, encode_request};
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest, RequestKind, ResponseKind};
use wire::{FrameReader, StrBytes};

type Reply = oneshot::Sender<Result<Appended, DataError>>;

/// Appends wait until the test answers them; fetches return so many bytes.
#[derive(Default)]
struct Script {
    appends: RefCell<Vec<Reply>>,
    fetch_bytes: usize,
    fetches: RefCell<usize>,
}

impl Data for Script {
    fn append(
        &self,
        _: TopicPartition,
        _: Bytes,
        _: BatchHeader,
        _: i16,
    ) -> LocalBoxFuture<'static, Result<Appended, DataError>> {
        let (reply, answer) = oneshot::channel();
        self.appends.borrow_mut().push(reply);
        async move { answer.await.unwrap() }.boxed_local()
    }

    fn fetch(&self, plan: FetchPlan, memory: Fetched) -> LocalBoxFuture<'static, (Vec<FetchedPartition>, Fetched)> {
        *self.fetches.borrow_mut() += 1;
        let bytes = self.fetch_bytes.min(plan.max_bytes);
        let answer = move |tp| FetchedPartition {
            tp,
            error: ErrorCode::None,
            high_watermark: Offset(1),
            last_stable_offset: Offset(1),
            log_start: Offset(0),
            diverging: None,
            records: Bytes::from(vec![7; bytes]),
            current_leader: None,
        };
        async move { (plan.partitions.iter().map(|p| answer(p.tp)).collect(), memory) }.boxed_local()
    }

    fn list_offset(
        &self,
        _: TopicPartition,
        _: i64,
        _: LeaderEpoch,
        _: bool,
    ) -> LocalBoxFuture<'static, Result<(Offset, i64, LeaderEpoch), DataError>> {
        async { Ok((Offset(0), -1, LeaderEpoch(0))) }.boxed_local()
    }

    fn delete_records(
        &self,
        _: TopicPartition,
        offset: Offset,
        _: Duration,
    ) -> LocalBoxFuture<'static, Result<Offset, DataError>> {
        async move { Ok(offset) }.boxed_local()
    }

    fn describe_log_dirs(&self) -> LocalBoxFuture<'static, Vec<broker::LogDirDescription>> {
        async { Vec::new() }.boxed_local()
    }

    fn epoch_end_offset(
        &self,
        _: TopicPartition,
        _: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> LocalBoxFuture<'static, Result<(LeaderEpoch, Offset), DataError>> {
        async move { Ok((epoch, Offset(0))) }.boxed_local()
    }
}

struct Topics(Arc<Image>);

impl Control for Topics {
    fn image(&self) -> Arc<Image> {
        Arc::clone(&self.0)
    }

    fn image_changed(&self) -> LocalBoxFuture<'static, ()> {
        std::future::pending().boxed_local()
    }

    fn create_topics(
        &self,
        _: Vec<NewTopic>,
        _: bool,
        _: Duration,
    ) -> LocalBoxFuture<'static, Result<Vec<CreatedTopic>, ErrorCode>> {
        async { Err(ErrorCode::RequestTimedOut) }.boxed_local()
    }

    fn delete_topics(
        &self,
        _: Vec<TopicRef>,
        _: Duration,
    ) -> LocalBoxFuture<'static, Result<Vec<DeletedTopic>, ErrorCode>> {
        async { Err(ErrorCode::RequestTimedOut) }.boxed_local()
    }

    fn create_partitions(&self, _: CreatePartitions, _: Duration) -> LocalBoxFuture<'static, Outcomes> {
        async { Err(ErrorCode::RequestTimedOut) }.boxed_local()
    }

    fn elect_leaders(
        &self,
        _: ElectLeaders,
        _: Duration,
    ) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>> {
        async { Err(ErrorCode::RequestTimedOut) }.boxed_local()
    }

    fn alter_reassignments(
        &self,
        _: AlterReassignments,
        _: Duration,
    ) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>> {
        async { Err(ErrorCode::RequestTimedOut) }.boxed_local()
    }

    fn alter_configs(&self, _: AlterConfigs) -> LocalBoxFuture<'static, Outcomes> {
        async { Err(ErrorCode::RequestTimedOut) }.boxed_local()
    }

    fn cluster_status(&self) -> LocalBoxFuture<'static, ClusterStatus> {
        async { ClusterStatus::default() }.boxed_local()
    }

    fn unregister_broker(&self, _: NodeId) -> LocalBoxFuture<'static, Result<(), ErrorCode>> {
        async { Err(ErrorCode::RequestTimedOut) }.boxed_local()
    }

    fn allocate_producer_ids(&self) -> LocalBoxFuture<'static, Result<(i64, i32), ErrorCode>> {
        async { Ok((0, 10)) }.boxed_local()
    }
}

fn image() -> Image {
    let partition = PartitionImage {
        replicas: vec![NodeId(1)],
        isr: vec![NodeId(1)],
        leader: Some(NodeId(1)),
        ..PartitionImage::default()
    };
    let topic = TopicImage {
        id: TopicId(uuid::Uuid::from_u128(1)),
        name: "t".to_owned(),
        internal: false,
        configs: BTreeMap::new(),
        partitions: vec![Arc::new(partition)],
        created_short: false,
    };
    let mut image = Image::default();
    image.names.insert("t".to_owned(), topic.id);
    image.topics.insert(topic.id, Arc::new(topic));
    image
}

/// Runs `test` against a served connection; `done` resolves when the server has closed it.
fn connected<F: Future<Output = ()>>(
    settings: ApiSettings,
    script: Script,
    test: impl FnOnce(TcpStream, Rc<Script>, Arc<MemoryBudget>, tokio::task::JoinHandle<()>) -> F + 'static,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let host: host::HostRef = Arc::new(RealHost::new());
        let api = Api::new(settings);
        let script = Rc::new(script);
        let data: Rc<dyn Data> = Rc::clone(&script) as _;
        let control = Rc::new(Topics(Arc::new(image())));
        let budget = Arc::clone(&api.budget);
        let services = Services::new(
            NodeId(1),
            Arc::clone(&host),
            Arc::clone(&api.settings),
            Arc::clone(&budget),
            data,
            control,
            Rc::new(NoCoordinators),
        );
        let mut listener = host.net().listen("127.0.0.1", 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, incoming) = tokio::join!(TcpStream::connect(address), listener.accept());
        let incoming = incoming.unwrap();
        let done = tokio::task::spawn_local(async move { api.serve(services, incoming).await });
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, test(client.unwrap(), script, budget, done))
            .await
            .expect("the test hangs");
    });
}

fn produce(correlation: i32, acks: i16) -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(RealHost::new().wall_ms(), Some(b"k"), Some(b"v"), &[]);
    let partition = PartitionProduceData::default().with_records(Some(batch.build()));
    let topic = TopicProduceData::default()
        .with_name(StrBytes::from_static_str("t").into())
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic]);
    encode_request(
        ApiKey::Produce,
        9,
        correlation,
        "tester",
        &RequestKind::Produce(request),
    )
    .unwrap()
}

fn metadata_request(correlation: i32) -> Bytes {
    let request = RequestKind::Metadata(MetadataRequest::default());
    encode_request(ApiKey::Metadata, 12, correlation, "tester", &request).unwrap()
}

fn fetch_request(correlation: i32) -> Bytes {
    let partition = FetchPartition::default().with_partition_max_bytes(64 << 20);
    let topic = FetchTopic::default()
        .with_topic(StrBytes::from_static_str("t").into())
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_session_epoch(-1)
        .with_max_bytes(64 << 20)
        .with_topics(vec![topic]);
    encode_request(ApiKey::Fetch, 11, correlation, "tester", &RequestKind::Fetch(request)).unwrap()
}

fn correlation(frame: &Bytes) -> i32 {
    i32::from_be_bytes(frame[..4].try_into().unwrap())
}

async fn appends(script: &Script, count: usize) {
    while script.appends.borrow().len() < count {
        tokio::task::yield_now().await;
    }
}

fn reply(script: &Script, index: usize, base: i64) {
    let (dead, _) = oneshot::channel();
    let reply = std::mem::replace(&mut script.appends.borrow_mut()[index], dead);
    reply
        .send(Ok(Appended {
            base_offset: Offset(base),
            log_append_time: -1,
            log_start: Offset(0),
        }))
        .unwrap();
}

/// True if nothing arrives for a while although the server had its turn.
async fn silent(reader: &mut FrameReader, client: &mut TcpStream) -> bool {
    tokio::time::timeout(Duration::from_millis(100), reader.next(client))
        .await
        .is_err()
}

#[test]
fn answers_keep_the_order_of_requests() {
    connected(
        ApiSettings::default(),
        Script::default(),
        |mut client, script, _, _done| async move {
            let mut reader = FrameReader::new(1 << 20);
            let all = [
                produce(1, -1),
                produce(2, -1),
                produce(3, 1),
                metadata_request(4),
                produce(5, -1),
            ]
            .concat();
            client.write_all(&all).await.unwrap();
            appends(&script, 3).await;
            // The last ones first: nothing may overtake.
            reply(&script, 2, 30);
            reply(&script, 1, 20);
            assert!(silent(&mut reader, &mut client).await);
            assert_eq!(script.appends.borrow().len(), 3, "the produce behind Metadata waits");
            reply(&script, 0, 10);
            for (id, base) in [(1, 10), (2, 20), (3, 30)] {
                let frame = reader.next(&mut client).await.unwrap().unwrap();
                let (correlation, response) = decode_response(ApiKey::Produce, 9, frame).unwrap();
                let ResponseKind::Produce(response) = response else {
                    panic!("not a produce response")
                };
                assert_eq!(
                    (correlation, response.responses[0].partition_responses[0].base_offset),
                    (id, base)
                );
            }
            assert_eq!(correlation(&reader.next(&mut client).await.unwrap().unwrap()), 4);
            appends(&script, 4).await;
            reply(&script, 3, 40);
            assert_eq!(correlation(&reader.next(&mut client).await.unwrap().unwrap()), 5);
        },
    );
}

#[test]
fn pipelined_produce_has_a_limit() {
    connected(
        ApiSettings::default(),
        Script::default(),
        |mut client, script, _, _done| async move {
            let max = limits::PIPELINED_PRODUCE_MAX;
            let mut reader = FrameReader::new(1 << 20);
            let count = i32::try_from(max).unwrap() + 4;
            let all: Vec<u8> = (0..count).flat_map(|id| produce(id, -1).to_vec()).collect();
            client.write_all(&all).await.unwrap();
            appends(&script, max).await;
            assert!(silent(&mut reader, &mut client).await);
            assert_eq!(script.appends.borrow().len(), max);
            reply(&script, 0, 0);
            assert_eq!(correlation(&reader.next(&mut client).await.unwrap().unwrap()), 0);
            appends(&script, max + 1).await;
            assert_eq!(script.appends.borrow().len(), max + 1);
        },
    );
}

#[test]
fn acks_0_is_silent_and_an_error_closes() {
    connected(
        ApiSettings::default(),
        Script::default(),
        |mut client, script, _, done| async move {
            let mut reader = FrameReader::new(1 << 20);
            client
                .write_all(&[produce(1, 0), metadata_request(2)].concat())
                .await
                .unwrap();
            appends(&script, 1).await;
            reply(&script, 0, 0);
            assert_eq!(correlation(&reader.next(&mut client).await.unwrap().unwrap()), 2);
            client.write_all(&produce(3, 0)).await.unwrap();
            appends(&script, 2).await;
            let (dead, _) = oneshot::channel();
            let second = std::mem::replace(&mut script.appends.borrow_mut()[1], dead);
            second
                .send(Err(DataError {
                    code: ErrorCode::NotLeaderOrFollower,
                    leader: None,
                }))
                .unwrap();
            assert!(reader.next(&mut client).await.unwrap().is_none());
            done.await.unwrap();
        },
    );
}

#[test]
fn bad_input_closes_after_what_was_asked_before() {
    let oversize = || Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
    let garbage = || Bytes::from_static(&[0, 0, 0, 5, 0xff, 0xff, 1, 2, 3]);
    let mut unserved = BytesMut::new();
    unserved.put_slice(&[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 9, 0xff, 0xff]);
    for bad in [oversize(), garbage(), unserved.freeze()] {
        connected(
            ApiSettings::default(),
            Script::default(),
            move |mut client, _, _, done| async move {
                let mut reader = FrameReader::new(1 << 20);
                client.write_all(&metadata_request(1)).await.unwrap();
                assert_eq!(correlation(&reader.next(&mut client).await.unwrap().unwrap()), 1);
                client.write_all(&bad).await.unwrap();
                done.await.unwrap();
            },
        );
    }
}

#[test]
fn bad_input_waits_for_the_appends_before_it() {
    connected(
        ApiSettings::default(),
        Script::default(),
        |mut client, script, _, done| async move {
            let mut reader = FrameReader::new(1 << 20);
            let all = [&produce(1, -1)[..], &produce(2, -1), &[0, 0, 0, 3, 0, 0, 0]].concat();
            client.write_all(&all).await.unwrap();
            appends(&script, 2).await;
            assert!(silent(&mut reader, &mut client).await);
            reply(&script, 1, 20);
            reply(&script, 0, 10);
            for id in [1, 2] {
                assert_eq!(correlation(&reader.next(&mut client).await.unwrap().unwrap()), id);
            }
            assert!(reader.next(&mut client).await.unwrap().is_none());
            done.await.unwrap();
        },
    );
}

#[test]
fn half_a_frame_waits_and_then_times_out() {
    let settings = ApiSettings {
        connections_max_idle: Duration::from_millis(200),
        ..ApiSettings::default()
    };
    connected(settings, Script::default(), |mut client, _, budget, done| async move {
        let mut reader = FrameReader::new(1 << 20);
        let whole = metadata_request(1);
        client.write_all(&whole[..9]).await.unwrap();
        assert!(silent(&mut reader, &mut client).await);
        client.write_all(&whole[9..]).await.unwrap();
        assert_eq!(correlation(&reader.next(&mut client).await.unwrap().unwrap()), 1);
        client.write_all(&whole[..9]).await.unwrap();
        done.await.unwrap();
        let all = budget.draw(ApiKey::Metadata as i16, usize::MAX).now_or_never();
        assert!(all.is_some(), "the memory of the half frame came back");
    });
}

#[test]
fn unknown_api_versions_version_is_answered_in_version_0() {
    connected(
        ApiSettings::default(),
        Script::default(),
        |mut client, _, _, _done| async move {
            let mut reader = FrameReader::new(1 << 20);
            client
                .write_all(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0])
                .await
                .unwrap();
            let frame = reader.next(&mut client).await.unwrap().unwrap();
            let (id, response) = decode_response(ApiKey::ApiVersions, 0, frame).unwrap();
            let ResponseKind::ApiVersions(response) = response else {
                panic!("not ApiVersions")
            };
            assert_eq!((id, response.error_code, response.api_keys.len()), (7, 35, 1));
            let request = RequestKind::ApiVersions(ApiVersionsRequest::default());
            let request = encode_request(ApiKey::ApiVersions, 2, 8, "tester", &request).unwrap();
            client.write_all(&request).await.unwrap();
            assert_eq!(
                correlation(&reader.next(&mut client).await.unwrap().unwrap()),
                8,
                "the connection lives on"
            );
        },
    );
}

#[test]
fn a_slow_reader_holds_one_answer() {
    let script = Script {
        fetch_bytes: 16 << 20,
        ..Script::default()
    };
    connected(
        ApiSettings::default(),
        script,
        |mut client, script, _, _done| async move {
            let all: Vec<u8> = (0..20).flat_map(|id| fetch_request(id).to_vec()).collect();
            client.write_all(&all).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            // 16 MiB do not fit the socket's buffers, so the second is not fetched before the first is read.
            assert_eq!(*script.fetches.borrow(), 1);
            let mut length = [0; 4];
            client.read_exact(&mut length).await.unwrap();
            let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
            client.read_exact(&mut body).await.unwrap();
            while *script.fetches.borrow() < 2 {
                tokio::task::yield_now().await;
            }
        },
    );
}
