//! Every queue, frame, batch and buffer has its limit here. Where Kafka has a name for it, the property
//! of that name sets it and the constant is the default.

use std::time::Duration;

/// `socket.request.max.bytes`: a longer frame closes the connection before its body is read.
pub const SOCKET_REQUEST_BYTES_MAX: usize = 100 * 1024 * 1024;
/// A frame that is no Produce: nothing else carries records, so nothing else needs to be long.
pub const CONTROL_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The body of a request has this long to arrive once memory is drawn for it, or else must bring
/// [`REQUEST_BODY_BYTES_PER_WINDOW_MIN`] in every window of this length: memory is not held for what does not come.
pub const REQUEST_BODY_WINDOW: Duration = Duration::from_secs(10);
pub const REQUEST_BODY_BYTES_PER_WINDOW_MIN: usize = 1024 * 1024;
/// Memory for a body is drawn as it comes: for as much as is here once more, but at least and at most this.
pub const REQUEST_STEP_BYTES_MIN: usize = 64 * 1024;
pub const REQUEST_STEP_BYTES_MAX: usize = 1024 * 1024;
/// What a client does not take of an answer at once, it must take at this rate: memory is not held for who does not read.
pub const ANSWER_WINDOW: Duration = Duration::from_secs(10);
pub const ANSWER_BYTES_PER_WINDOW_MIN: usize = 256 * 1024;
/// When a broker has gone silent, each of the others ends its clients' connections within this time, one here and one there;
/// the next broker begins [`SILENCE_STAGGER`] after the one before, up to this number of turns. After all of them the first
/// begins again, so many times in all.
pub const SILENCE_SPREAD: Duration = Duration::from_millis(150);
pub const SILENCE_STAGGER: Duration = Duration::from_millis(400);
pub const SILENCE_TURNS: u32 = 4;
pub const SILENCE_ROUNDS: u32 = 4;
/// A client whose connection is ended between two requests has this long to end its half.
pub const FAREWELL_WINDOW: Duration = Duration::from_secs(1);
/// Answers that their clients do not take at once, beside the records in them, per node: with more, the connections
/// that add to them are closed.
pub const UNSENT_MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// A Fetch that waits keeps no request memory while its frame is no longer than this. A longer one keeps it, so it waits
/// no longer than [`LARGE_FETCH_WAIT`].
pub const FETCH_UNHELD_BYTES: usize = 8 * 1024;
pub const LARGE_FETCH_WAIT: Duration = Duration::from_millis(500);
/// A connection that was refused or broke off is told in the log once per address and this long; addresses that are
/// told apart.
pub const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
pub const COMPLAINT_ADDRESSES_MAX: usize = 1_024;
/// Bytes of a client id in the log.
pub const LOGGED_CLIENT_ID_MAX: usize = 128;
/// `max.message.bytes` of a topic: size of one record batch as it is on the wire.
pub const MESSAGE_BYTES_MAX: usize = 1_048_588;
/// `fetch.max.bytes` of the broker.
pub const FETCH_BYTES_MAX: usize = 55 * 1024 * 1024;
/// Bytes that the batches of one request may have together after decompression while they are checked; so
/// also the most that one batch may have.
pub const DECOMPRESSED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A client's batch is checked and re-encoded on the shard that serves the client while it has no more bytes, no more
/// records, and decompresses to no more than this: some 0.2 ms. Anything larger goes to a pool.
pub const BATCH_BYTES_ON_SHARD: usize = 1024 * 1024 + 64 * 1024;
pub const BATCH_RECORDS_ON_SHARD: i32 = 10_000;
pub const DECOMPRESSED_BYTES_ON_SHARD: usize = 64 * 1024;
/// Threads of that pool, for each shard. They take what time nobody else of the machine wants; what has waited for so long is
/// done all the same.
pub const BATCH_POOL_THREADS: usize = 1;
pub const BACKGROUND_PATIENCE: Duration = Duration::from_secs(1);
/// What decompresses to more than this leaves that pool for a single thread, so that honest batches do not wait behind bombs:
/// some 10 ms. A batch of `max.message.bytes`'s default is at most 16 times smaller than its records if it stays.
pub const DECOMPRESSED_BYTES_ON_POOL: usize = 16 * 1024 * 1024;
/// That thread rests for so many times as long as such a batch took before it begins the next that waits: a flood of them has a
/// quarter of a processor.
pub const IDLE_POOL_RESTS: u32 = 3;
/// Bytes that one fetch reads on a shard, of what the system has in memory: reading and checking takes some 0.5 ms. More of
/// them are read on a pool, as is all that would wait for a disk.
pub const READ_BYTES_ON_SHARD: usize = 1024 * 1024;
/// Partitions of one fetch that are read on that pool at the same time.
pub const COLD_READS_AT_ONCE: usize = 2;
/// Produce requests of one connection that wait for their commit while the next is read.
pub const PIPELINED_PRODUCE_MAX: usize = 16;
/// What `max.connection.creation.rate` is an average of, and the longest that it keeps a connection waiting.
pub const CONNECTION_RATE_WINDOW: Duration = Duration::from_secs(10);
pub const CONNECTION_DELAY_MAX: Duration = Duration::from_secs(1);
/// Connections per node (`max.connections`).
pub const CONNECTIONS_MAX: usize = 15_000;
/// Fetch sessions kept per shard (`max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS_MAX: usize = 1_000;
/// Partitions named in one fetch session.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 10_000;
/// Partitions remembered in all fetch sessions of a shard together.
pub const FETCH_SESSION_CACHED_PARTITIONS_MAX: usize = 200_000;
/// Partitions that one Produce or Fetch may name; their answers are larger than they are.
pub const REQUEST_PARTITIONS_MAX: usize = 100_000;
/// Bytes of one frame on a replica stream.
pub const REPLICA_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes that a leader may have sent to one follower stream without acknowledgement.
pub const FOLLOWER_WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of one record batch in a log: it must fit into a replica frame beside what else is in it, so no topic's
/// `max.message.bytes` is above it.
pub const BATCH_BYTES_MAX: usize = REPLICA_FRAME_BYTES_MAX - 2 * 1024 * 1024;
/// Bytes that a follower keeps of one partition while its log waits for the disk; a leader that keeps to its window
/// never gets there.
pub const FOLLOWER_INBOX_BYTES: usize = 2 * FOLLOWER_WINDOW_BYTES;
/// The first frame on a replica stream, from a peer that is not known yet.
pub const REPLICA_GREETING_BYTES_MAX: usize = 64 * 1024;
/// Positions of one follower's stream that wait for the leader's image to reach their epoch.
pub const STREAM_EARLY_POSITIONS_MAX: usize = 10_000;
/// Answers to positions that wait to be written to one follower: with more, the stream is closed.
pub const STREAM_ANSWERS_MAX: usize = 100_000;
/// Calls waiting at one shard from other shards and the control plane.
pub const SHARD_QUEUE_MAX: usize = 1_024;
/// Memory for request bodies that were read and not yet answered, per node and class.
pub const PRODUCE_MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Fetched records that wait to be written to their clients, per node.
pub const FETCH_MEMORY_BYTES: usize = 256 * 1024 * 1024;
pub const CONTROL_MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// The HTTP listener for metrics and health: connections at the same time, bytes of a request's line and headers, time
/// for these to arrive, and life of a connection, whatever its other end does.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
pub const ADMIN_HEAD_BYTES_MAX: usize = 16 * 1024;
pub const ADMIN_HEADERS_MAX: usize = 64;
pub const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
pub const ADMIN_CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// A shard whose timer has not gone off for so long hangs, and `/livez` says so.
pub const SHARD_SILENCE_MAX: Duration = Duration::from_secs(60);
/// One message between control planes (gRPC).
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Commands that wait at the controller for their turn.
pub const CONTROLLER_QUEUE_MAX: usize = 4_096;
/// Partitions that one CreateTopics request may ask for, as in Kafka's controller.
pub const CREATE_PARTITIONS_MAX: usize = 10_000;
/// Topics or config resources that one AlterConfigs, IncrementalAlterConfigs or CreatePartitions may name; the answer
/// says more of each than the request.
pub const ADMIN_RESOURCES_MAX: usize = 10_000;
/// CreateTopics and its like are given up after the `timeout.ms` of their client, within these: what has no time for one
/// attempt at the controller would never be done, and what waits holds a place in its queue.
pub const ADMIN_TIMEOUT_MIN: Duration = Duration::from_secs(1);
pub const ADMIN_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Leaderships that the controller gives back to preferred leaders at a time, as in Kafka.
pub const LEADER_ELECTIONS_MAX: usize = 1_000;
/// Partitions whose replicas the controller moves by itself at a time.
pub const REPLICA_MOVES_MAX: usize = 50;
/// Bytes of a config's value, as in Kafka's controller.
pub const CONFIG_VALUE_MAX: usize = 32_767;
/// Damaged replicas that a starting broker names one by one; with more, the whole directory counts as damaged.
pub const DAMAGED_REPLICAS_MAX: usize = 10_000;
/// Length of a topic name (Kafka's `Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_MAX: usize = 249;
/// Recent bytes of a partition kept in memory for followers and tail readers.
pub const TAIL_CACHE_BYTES: usize = 1024 * 1024;
/// Batches remembered per producer id for duplicates (KIP-98).
pub const PRODUCER_BATCHES_KEPT: usize = 5;
/// Of a log directory's file system this much is left for what must go on when it is full (`log.dir.reserve.bytes`):
/// so many bytes, or this share of it (one in so many), whichever is more.
pub const LOG_DIR_RESERVE_BYTES_MIN: u64 = 256 * 1024 * 1024;
pub const LOG_DIR_RESERVE_SHARE: u64 = 100;
/// Files of a log directory that are open for reading; beyond them a log has its active segment open while it is written.
pub const OPEN_FILES_MAX: usize = 500;
/// What is read of files around the page cache: ranges of at least so many bytes, into buffers of so many that are used again, so
/// many of a log directory's; and for so many segments it is remembered what was read so.
pub const DIRECT_READ_BYTES_MIN: usize = 256 * 1024;
pub const DIRECT_BUFFER_BYTES: usize = 1024 * 1024 + 4 * 4096;
pub const DIRECT_BUFFERS_KEPT: usize = 4;
pub const DIRECT_SEGMENTS_REMEMBERED: usize = 256;
pub const DIRECT_STRETCHES_REMEMBERED: usize = 16;
/// Memory that a decoded Kafka message may take beside its frame: so much, and so much per byte of the frame.
pub const DECODED_BYTES_BASE: usize = 4 * 1024 * 1024;
pub const DECODED_BYTES_PER_BYTE: usize = 8;
/// Records named one by one in the refusals of one request's batches (KIP-467).
pub const RECORD_ERRORS_MAX: usize = 1_000;
/// Idempotent producers remembered per partition; beyond it the one that was silent longest is forgotten.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 100_000;
/// Records of one entry or snapshot of the metadata log.
pub const METADATA_RECORDS_MAX: usize = 1_000_000;
/// Length of each of the two files of a log directory's journal, at first (or four times what its marks need).
pub const MARKS_JOURNAL_BYTES: u64 = 1024 * 1024;
/// What it grows to where records go through it.
pub const JOURNAL_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// It grows while the disk has so many times as much free.
pub const JOURNAL_ROOM_SHARE: u64 = 16;
/// New bytes of a segment go through the journal if they are fewer; else the segment is synced itself.
pub const JOURNALLED_BYTES_MAX: u64 = 256 * 1024;
/// Segments with bytes that only the journal has for certain; with more, some are synced after each round.
pub const JOURNALLED_FILES_MAX: usize = 2_000;
/// Segments that are synced after a round while the journal is to be relieved.
pub const JOURNAL_COVERED_AT_ONCE: usize = 16;
/// A segment that was not written to for so long, or up to twice, is synced, so that it can be closed.
pub const JOURNAL_IDLE: Duration = Duration::from_secs(10);
/// A larger marks journal is refused unread.
pub const MARKS_JOURNAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// A producer snapshot file larger than this is ignored unread and rebuilt from the log.
pub const PRODUCER_SNAPSHOT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes that must be free in every directory of a node for it to start: what the identity, the marks journal and the
/// metadata log write before anything is served.
pub const START_FREE_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// `log.scrub.bytes.per.second` of each log directory: a terabyte in a day and a half, a few percent of a slow disk.
pub const SCRUB_BYTES_PER_SECOND: u64 = 8 * 1024 * 1024;
/// `log.scrub.interval.ms`: a week.
pub const SCRUB_INTERVAL_MS: i64 = 7 * 24 * 3600 * 1000;

/// The metadata directory learns so often how far the journals of the log directories have come. An older copy of a log
/// directory is found out by that.
pub const JOURNAL_REMEMBERED_EVERY: Duration = Duration::from_secs(2);
/// Bytes that the scrub reads in one go, at most.
pub const SCRUB_PART_BYTES: u64 = 1024 * 1024;
/// File handles that a node needs beside those of client connections and of the segments that it reads: listeners,
/// peers, RocksDB, active segments.
pub const FILE_HANDLES_BESIDE: u64 = 500;
/// Of those, what neither segments that are kept open nor clients may take: for what needs a handle for a moment, a new
/// file, the sync of a directory.
pub const FILE_HANDLES_KEPT: u64 = 64;
/// Members of one group (`group.max.size`).
pub const GROUP_SIZE_MAX: usize = 10_000;
/// Protocols that one member of a group supports.
pub const GROUP_PROTOCOLS_MAX: usize = 100;
/// Bytes of a static member's name, as Kafka's clients check them.
pub const GROUP_INSTANCE_ID_BYTES_MAX: usize = 249;
/// Bytes that the members of one group take: they go out in one answer to its leader.
pub const GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that groups and committed offsets take per shard. Above it nobody new joins and no new offsets are taken.
pub const COORDINATOR_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of the client id that a member id begins with.
pub const MEMBER_ID_PREFIX_BYTES_MAX: usize = 1_024;
/// Records in one batch of tombstones.
pub const TOMBSTONES_PER_BATCH: usize = 1_000;
/// Bytes of what a member says about why it joins or leaves.
pub const GROUP_REASON_MAX: usize = 256;
/// Groups of one request about many that their coordinators are asked about at the same time.
pub const GROUP_CALLS_MAX: usize = 16;
/// FindCoordinator waits so long for `__consumer_offsets` while that is being created.
pub const COORDINATOR_WAIT: Duration = Duration::from_secs(1);
