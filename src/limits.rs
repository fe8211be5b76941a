//! Every bound of the program in one place: its unit last in the name, and why it has this value.
//!
//! What a user can set is in [`crate::config::Config`]; the defaults are here too.

use std::time::Duration;

// Heads (RFC 9112 sections 3 and 5).

/// A head that is longer is refused (431 from clients, 502 from servers). Cookies reach 16 KiB
/// in practice; common servers stop at 8 to 64 KiB.
pub const HEAD_BYTES: usize = 64 * 1024;
/// A request line that is longer is refused with 414. RFC 9112 section 3 asks for 8,000 at least.
pub const REQUEST_LINE_BYTES: usize = 16 * 1024;
/// More fields in one head are refused; no real message comes near.
pub const HEAD_FIELDS: usize = 1_000;
/// Empty lines before a request line that are skipped (RFC 9112 section 2.2).
pub const EMPTY_LINES: usize = 8;
/// Chunk extensions of one chunk (RFC 9112 section 7.1.1). Nobody uses them; attackers do.
pub const CHUNK_EXTENSION_BYTES: usize = 4 * 1024;
/// A trailer section (RFC 9112 section 7.1.2).
pub const TRAILER_BYTES: usize = 16 * 1024;
/// Interim (1xx) responses before one final response.
pub const INTERIM_RESPONSES: usize = 16;

// Buffers, per direction of a connection.

/// Above this many queued bytes the source is not read any further.
pub const BUFFER_HIGH_BYTES: usize = 64 * 1024;
/// Above this much input that was not taken nothing more is read: a little more than a head, so
/// that one which is too large is seen to be.
pub const INPUT_BYTES: usize = HEAD_BYTES + 1024;
/// Bytes that one read asks for, and the size of the loop's shared scratch buffer.
pub const READ_BYTES: usize = 64 * 1024;
/// Bytes one connection may move in one turn before the others have theirs.
pub const TURN_BYTES: usize = 256 * 1024;
/// Requests one connection may begin in one turn before the others have theirs.
pub const TURN_REQUESTS: usize = 16;
/// Connections accepted in one turn.
pub const TURN_ACCEPTS: usize = 64;

/// Buffers that a loop keeps for the next connection that needs one.
pub const SPARE_BUFFERS: usize = 32;
/// A buffer that has grown larger is freed instead of kept.
pub const SPARE_BUFFER_BYTES: usize = 64 * 1024;

// Connections.

/// Event loops by default: the number of cores, but no more than this.
pub const LOOPS_MAX: usize = 4;
/// Idle upstream connections that one loop keeps, in all.
pub const POOL_CONNECTIONS: usize = 512;
/// Idle upstream connections that one loop keeps for one host.
pub const POOL_CONNECTIONS_PER_HOST: usize = 64;
/// How long an upstream connection stays idle in the pool. Common servers close after 5 to 75 s.
pub const POOL_IDLE: Duration = Duration::from_secs(30);
/// Descriptors that are not given to connections: standard streams, journal, parts, pollers.
pub const RESERVED_DESCRIPTORS: u64 = 160;
/// How long accepting pauses when descriptors or connections have run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Name look-ups that run at the same time.
pub const RESOLVER_THREADS: usize = 4;
/// Names whose addresses are remembered.
pub const RESOLVER_CACHE_NAMES: usize = 1_024;
/// Names that wait for a look-up; beyond it a look-up fails at once.
pub const RESOLVER_QUEUE_NAMES: usize = 4_096;
/// How long addresses are remembered; getaddrinfo does not tell their time to live.
pub const RESOLVER_CACHE: Duration = Duration::from_secs(30);
/// Delay before the next address of a name is tried beside the first (RFC 8305 section 5).
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
pub const DIAL_ADDRESSES: usize = 16;

// Waits.

/// How often deadlines are looked at; a wait may take so much longer than its limit. Shorter
/// waits have timers of their own.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// From the first byte of a request to the end of its head.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two requests on one client connection.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(300);
/// A TLS handshake, on either side.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Look-up and connect together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// From the end of the request to the response's head: long, for long polls and builds.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(300);
/// Without a byte either way while a body is under way.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(600);
/// Without a byte either way in a tunnel or a WebSocket.
pub const TUNNEL_TIMEOUT: Duration = Duration::from_secs(3_600);
/// A client that is silent for so long after CONNECT may be waiting for the server to speak
/// first, as with SMTP and SSH; then the server is dialled.
pub const SILENT_CLIENT: Duration = Duration::from_millis(100);
/// First bytes in a tunnel that could still become TLS or HTTP are waited for so long; then the
/// tunnel is relayed unread.
pub const UNDECIDED_CLIENT: Duration = Duration::from_secs(2);
/// How long a flow is held for an agent before it goes on by itself, so that an agent that has
/// gone does not hang somebody's browser.
pub const INTERCEPT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a closing connection is read, so that a reset does not destroy the last answer.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that are read and thrown away in that time.
pub const LINGER_BYTES: usize = 1024 * 1024;
/// How long exchanges under way may go on after the first signal to stop.
pub const STOP_GRACE: Duration = Duration::from_secs(3);

// Capture.

/// Bytes of a body kept in the bundle by default; the rest flows on uncaptured and is counted.
pub const CAPTURE_BODY_BYTES: u64 = 16 * 1024 * 1024;
/// A captured body travels inside its flow up to this size, and in blocks of this size beyond.
pub const BODY_BLOCK_BYTES: usize = 64 * 1024;
/// Flow events a loop gathers before it sends them as one batch.
pub const BATCH_EVENTS: usize = 64;
/// Bytes a loop gathers before it sends them as one batch.
pub const BATCH_BYTES: usize = 256 * 1024;
/// Batches that wait between all loops and the recorder.
pub const QUEUE_BATCHES: usize = 256;
/// Bytes that wait between all loops and the recorder.
pub const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Traces in one part of the bundle; readers order entries as text and four digits.
pub const PART_TRACES: u64 = 9_999;
/// Decoded bytes of one body (content codings, permessage-deflate).
pub const DECODED_BODY_BYTES: u64 = 64 * 1024 * 1024;
/// Decoded bytes for each byte of a coded body. Real text stays below 100; gzip reaches 1,032 and
/// other codings far more, which only a bomb does over megabytes.
pub const DECODED_RATIO: u64 = 200;
/// Decoded bytes of one body that the ratio does not judge: short runs compress that well.
pub const DECODED_FREE_BYTES: u64 = 4 * 1024 * 1024;
/// The window of a zstd frame (RFC 9659 section 3: HTTP needs no more).
pub const ZSTD_WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of one WebSocket message past the caps that are inflated and thrown away, so that the
/// messages that follow can be read: what 1 MiB on the wire can come to, a second's work.
pub const DRAINED_MESSAGE_BYTES: u64 = 1024 * 1024 * 1024;
/// Steps in which bodies are decoded and copied.
pub const INFLATE_BUFFER_BYTES: usize = 32 * 1024;
/// Content codings that one message may stack.
pub const DECODED_CODINGS: usize = 4;
/// Journal frames that are longer are not read: the longest there is has two heads, two bodies of
/// [`BODY_BLOCK_BYTES`] and two trailer sections.
pub const JOURNAL_FRAME_BYTES: usize = 1024 * 1024;
/// Journals of captures that did not finish, beside one output.
pub const JOURNALS: u32 = 1_000;
/// Files of one name that were moved aside; more than anybody would leave there.
pub const ASIDE_FILES: u32 = 1_000;
/// Bytes that wait in memory before they are written to the journal, and again as much for the
/// WebSocket connections together.
pub const JOURNAL_BUFFER_BYTES: usize = 1024 * 1024;
/// How long bytes wait there: what a killed capture may lose.
pub const JOURNAL_FLUSH: Duration = Duration::from_secs(1);
/// Files of large bodies and WebSocket connections that are open at the same time.
pub const SPILL_FILES: usize = 32;
/// WebSocket messages in one part of the bundle; beyond it the next part begins. Every message is
/// two entries of the archive, whose directory is held in memory while it is written.
pub const PART_MESSAGES: u64 = 20_000;
/// WebSocket messages of one connection that are kept; more are counted. A connection cannot be
/// divided between parts.
pub const WEBSOCKET_MESSAGES: u64 = 50_000;
/// Decoded bytes that are held in memory before they go to a temporary file.
pub const SPOOL_BYTES: usize = 1024 * 1024;
/// Text bodies that are larger are compressed in the bundle. Deflate costs 7 us for each KiB,
/// several times what relaying does; only large bodies are worth that.
pub const COMPRESSED_FROM_BYTES: u64 = 256 * 1024;
/// Bodies and payloads that `inspect` reads from a bundle, which others may have made.
pub const INSPECTED_ENTRY_BYTES: u64 = 64 * 1024 * 1024;
/// JSON entries that `inspect` reads: two heads of the largest size, escaped, and room to spare.
/// Values take many times the memory of their text.
pub const INSPECTED_JSON_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of a binary body that `inspect` shows.
pub const INSPECTED_BINARY_BYTES: usize = 256;

// Masking.

/// Bytes of a name, from its end, that are looked at to tell whether it names a secret. Longer
/// names are paths whose last step names the value.
pub const SECRET_NAME_BYTES: usize = 128;
/// Names of which a thread remembers whether they name secrets; far more than one text has.
pub const JUDGED_NAMES: usize = 1_024;
/// Texts inside of texts (JSON in a string of JSON, a URL in a parameter) that are read as what
/// they are. Each level reads its text once more; below the last one they are masked as any text.
pub const MASKED_LEVELS: usize = 8;
/// Times that a masked text is masked again until nothing changes. Two are enough but for texts
/// that are made to need more.
pub const MASKED_PASSES: usize = 8;
/// Bytes that are looked at around a name for the markup or the line that it stands in: a bound
/// of the work for each name.
pub const MASKED_CONTEXT_BYTES: usize = 512;

// Export.

/// Parts of a bundle that are open at the same time while it is exported: the directory of each
/// takes some megabytes. Flows that began together stand in neighbouring parts.
pub const EXPORT_PARTS: usize = 4;

// TLS.

/// Leaf certificates that are kept.
pub const CERT_CACHE_HOSTS: usize = 10_000;
/// Names in one leaf certificate; a certificate of a server that has more is cut.
pub const LEAF_NAMES: usize = 256;
/// Bytes of a CA file; a key and a long chain take 20 KiB.
pub const CA_FILE_BYTES: u64 = 1024 * 1024;
/// Upstream hosts whose TLS sessions are kept for resumption.
pub const RESUMPTION_HOSTS: usize = 4_096;
/// Bytes of a ClientHello that are read before it is refused.
pub const CLIENT_HELLO_BYTES: usize = 64 * 1024;

// Words to the user.

/// Notices that wait to be printed; more are counted and not printed.
pub const QUEUE_NOTICES: usize = 1_024;
/// Hosts that `discover` lists; more are counted together.
pub const DISCOVERED_HOSTS: usize = 100_000;

const _: () = {
    assert!(REQUEST_LINE_BYTES < HEAD_BYTES);
    assert!(TRAILER_BYTES < HEAD_BYTES);
    assert!(HEAD_BYTES + 2 * EMPTY_LINES < INPUT_BYTES);
    assert!(REQUEST_LINE_BYTES + TRAILER_BYTES + CHUNK_EXTENSION_BYTES < INPUT_BYTES);
    assert!(BODY_BLOCK_BYTES <= BATCH_BYTES && BATCH_BYTES < QUEUE_BYTES);
    assert!(POOL_CONNECTIONS_PER_HOST <= POOL_CONNECTIONS);
    assert!(2 * (HEAD_BYTES + TRAILER_BYTES + BODY_BLOCK_BYTES) < JOURNAL_FRAME_BYTES);
    assert!((SPILL_FILES as u64) < RESERVED_DESCRIPTORS);
};
