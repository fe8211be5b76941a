//! Every bound of the program in one place: its unit last in the name, and why it has this value.
//!
//! What a user can set is in [`crate::config::Config`] and [`crate::options::Options`]; the
//! defaults are here too. docs/limits.md tells users what lies beyond each bound.

use std::time::Duration;

// Heads (RFC 9112 sections 3 and 5). They are the same for all: the buffers of connections, the
// frames of the journal and what `inspect` reads are made for them.

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
/// Bytes that one read asks for, into a buffer that a loop's connections share; and bytes that are
/// encrypted at once.
pub const READ_BYTES: usize = 64 * 1024;
/// Ciphertext of one TLS connection that waits for the rest of its record or handshake message. A
/// message that comes in many records counts with their headers; certificates stay far below.
pub const TLS_PENDING_BYTES: usize = 64 * 1024;
/// What encrypting adds at most to as many bytes as one read asks for: 30 bytes a record of
/// 16 KiB, a key update and a new key's first record.
pub const SEALED_OVERHEAD_BYTES: usize = 1024;
/// Bytes one connection may move in one turn before the others have theirs.
pub const TURN_BYTES: usize = 256 * 1024;
/// Requests one connection may begin in one turn before the others have theirs.
pub const TURN_REQUESTS: usize = 16;
/// WebSocket frames that are read of one connection in one turn before the others have theirs: a
/// turn's bytes of empty frames would be 100,000 messages.
pub const TURN_FRAMES: usize = 128;
/// Connections accepted in one turn.
pub const TURN_ACCEPTS: usize = 64;

/// Bytes of the buffers that a loop keeps for the next connections that need some.
pub const SPARE_BYTES: usize = 2 * 1024 * 1024;
/// A buffer that has grown larger is freed instead of kept.
pub const SPARE_BUFFER_BYTES: usize = 64 * 1024;

// Connections.

/// Event loops by default: the number of cores, but no more than this.
pub const LOOPS_MAX: usize = 4;
/// Idle upstream connections that one loop keeps, in all.
pub const POOL_CONNECTIONS: usize = 1_024;
/// Idle upstream connections that one loop keeps for one host. With few, a load of many clients on
/// one host would close and make connections all the time; others have room beside it.
pub const POOL_CONNECTIONS_PER_HOST: usize = 512;
/// How long an upstream connection stays idle in the pool. Common servers close after 5 to 75 s.
pub const POOL_IDLE: Duration = Duration::from_secs(30);
/// How long before the time that its server states in Keep-Alive it is given up, or half of that
/// time where it is less: a request that is on its way when the server closes fails, and many may
/// not be sent again. It covers a slow way and a loop that is busy.
pub const POOL_IDLE_MARGIN: Duration = Duration::from_secs(1);
/// Client connections that a user may allow, for all or for one: far beyond what open files allow.
pub const CONNECTIONS_MOST: usize = 1_000_000;
/// Descriptors that are not given to connections: standard streams, journal, parts, pollers, and
/// one for each look-up. Those of the connections to the MCP port are kept beside them.
pub const RESERVED_DESCRIPTORS: u64 = 192;
/// How long accepting pauses when descriptors or connections have run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long it takes before the user is told again that connections wait or are turned away.
pub const NOTICE_PAUSE: Duration = Duration::from_secs(60);
/// Name look-ups that run at the same time, each on a thread that is started for it. One whose name
/// server is silent takes 5 to 30 s; with few, some such names stop the look-ups of all clients.
pub const RESOLVER_THREADS: usize = 32;
/// How long a thread without a name waits for the next before it ends.
pub const RESOLVER_THREAD_IDLE: Duration = Duration::from_secs(5);
/// Names whose addresses are remembered.
pub const RESOLVER_CACHE_NAMES: usize = 1_024;
/// Names that wait for a look-up; beyond it a look-up fails at once.
pub const RESOLVER_QUEUE_NAMES: usize = 4_096;
/// How long addresses are remembered; getaddrinfo does not tell their time to live.
pub const RESOLVER_CACHE: Duration = Duration::from_secs(30);
/// How long it is remembered that a look-up failed which took at least as long: one that met a
/// silent name server. Others are quick to ask again.
pub const RESOLVER_FAILURE: Duration = Duration::from_secs(1);
/// Name servers that a look-up of our own asks; the C libraries take as many.
pub const DNS_SERVERS: usize = 3;
/// Domains of the search that a look-up of our own tries.
pub const DNS_SEARCH_DOMAINS: usize = 6;
/// How often a look-up of our own asks each server, whatever resolv.conf says.
pub const DNS_ATTEMPTS: usize = 5;
/// How long a look-up of our own waits for one server, whatever resolv.conf says.
pub const DNS_SERVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a look-up of our own takes in all; nobody waits longer for a connection.
pub const DNS_LOOKUP_TIME: Duration = Duration::from_secs(30);
/// Records of an answer of DNS that are looked at.
pub const DNS_RECORDS: usize = 256;
/// Steps from a name to its addresses, one of them for each alias.
pub const DNS_ALIASES: usize = 8;
/// Bytes of a datagram with an answer; we ask for no more than the 512 of RFC 1035.
pub const DNS_DATAGRAM_BYTES: usize = 4 * 1024;
/// Bytes of the file of hosts that are looked at; lists that block advertisements have some MiB.
pub const HOSTS_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of resolv.conf that are looked at.
pub const RESOLV_CONF_BYTES: u64 = 64 * 1024;
/// Delay before the next address of a name is tried beside the first (RFC 8305 section 5).
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
pub const DIAL_ADDRESSES: usize = 16;
/// Characters of the reason phrase by which an upstream proxy refuses that the user is told.
pub const PROXY_PHRASE_CHARS: usize = 100;

// Waits.

/// How often deadlines are looked at; a wait may take so much longer than its limit. Shorter
/// waits have timers of their own.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// From the first byte of a request to the end of its head, however steadily it trickles in.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two requests on one client connection.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(300);
/// A TLS handshake, on either side.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Look-up and connect together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// From the end of the request to the response's head: long, for long polls and builds.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(300);
/// Without progress of a body that is under way, whoever is at fault: who sends it, or who does
/// not read it. Bytes of a chunk's line are none before the line is whole.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(600);
/// Without a byte either way in a tunnel or a WebSocket.
pub const TUNNEL_TIMEOUT: Duration = Duration::from_secs(3_600);
/// A client that is silent for so long after CONNECT may be waiting for the server to speak
/// first, as with SMTP and SSH; then the server is dialled.
pub const SILENT_CLIENT: Duration = Duration::from_millis(100);
/// First bytes in a tunnel that could still become TLS or HTTP are waited for so long; then the
/// tunnel is relayed unread. A client whose server cannot be reached has as long to say its first
/// ones; then it was waiting for the server.
pub const UNDECIDED_CLIENT: Duration = Duration::from_secs(2);
/// How long a flow is held for an agent before it goes on by itself, so that an agent that has
/// gone does not hang somebody's browser.
pub const INTERCEPT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a closing connection is read, so that a reset does not destroy the last answer. What
/// comes in that time is thrown away, however much it is: many clients send all they have before
/// they read, and the others have their turns as with any upload.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long exchanges under way may go on after the first signal to stop.
pub const STOP_GRACE: Duration = Duration::from_secs(3);

/// How long what serves agents on standard output may take to end after that.
pub const STOP_CALLS: Duration = Duration::from_millis(500);
/// How long the last words wait for a terminal that does not take them.
pub const STOP_WORDS: Duration = Duration::from_millis(500);
/// How long a loop that cannot go on waits for the readers of flows to take what it had.
pub const FAULT_FLUSH: Duration = Duration::from_secs(1);

// Flows that are held for somebody's decision.

/// Flows that are held at the same time by default; more go on unheld, and the user is told. Each
/// keeps a client's connection waiting, and often a server's.
pub const HELD_FLOWS: usize = 1_000;
/// Flows that a user may have held: [`HELD_BYTES`] leaves each of them some kilobytes.
pub const HELD_FLOWS_MOST: usize = 10_000;
/// Bytes of one body that are gathered before its message is held. What is larger is held as far
/// as it came, and its peer waits.
pub const HELD_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that all held messages together have, and what of released ones has still to go out;
/// beyond it bodies are held as far as they came.
pub const HELD_BYTES: usize = 256 * 1024 * 1024;
/// How long a flow may take to end before it is told of while it is under way.
pub const ANNOUNCED_AFTER: Duration = Duration::from_millis(20);
/// How long a request that a tool sends may take, from its beginning to its end.
pub const REPLAY_TIMEOUT: Duration = Duration::from_secs(30);

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
/// Parts of a capture that recovering looks for: a billion flows. A file with a higher number is
/// none of a capture's.
pub const RECOVERED_PARTS: u32 = 100_000;
/// Files of one name that were moved aside; more than anybody would leave there.
pub const ASIDE_FILES: u32 = 1_000;
/// Bytes that wait in memory before they are written to the journal, and again as much for the
/// WebSocket connections together.
pub const JOURNAL_BUFFER_BYTES: usize = 1024 * 1024;
/// How long bytes wait there. A killed capture has what was complete one second before: the rest of
/// that is for the way from a loop to the recorder, which takes [`COLLECT_INTERVAL`], and for a
/// busy machine.
pub const JOURNAL_FLUSH: Duration = Duration::from_millis(250);
/// How long after a failure the recorder first tries to write again.
pub const RESUME_FIRST: Duration = Duration::from_secs(1);
/// How long it waits between later tries: each writes [`JOURNAL_BUFFER_BYTES`] to see whether there
/// is room.
pub const RESUME_MOST: Duration = Duration::from_secs(5);
/// How often the user is warned, at most, that the capture is suspended: a disk that is full but
/// for a little comes and goes.
pub const SUSPENDED_WARNING: Duration = Duration::from_secs(60);
/// How long the recorder may be in one write, and packing at the end with one flow, before the user
/// is told that the disk is waited for.
pub const DISK_SLOW: Duration = Duration::from_secs(5);
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
/// Finished segments that wait for a quiet moment to be packed. With more, packing goes on beside
/// busy traffic at low priority, and with twice as many at that of all else: at the end of a
/// capture they are two seconds' work for a slow core.
pub const PACK_BACKLOG_SEGMENTS: usize = 32;
/// Bytes of traffic whose segments wait so, for the same reason.
pub const PACK_BACKLOG_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Exchanges a second from which on traffic is busy: a twentieth of what one core can do.
pub const BUSY_EXCHANGES: f64 = 1_000.0;
/// Bytes a second from which on traffic is busy: a twentieth of what one core can do.
pub const BUSY_BYTES: f64 = 32.0 * 1024.0 * 1024.0;
/// How often it is judged whether traffic is busy, while there is something to pack.
pub const PACE_INTERVAL: Duration = Duration::from_millis(100);
/// How long a part for which there was no room waits to be tried again, unless another segment is
/// finished before: what is written of it in vain takes room from the journal meanwhile.
pub const PACK_RETRY: Duration = Duration::from_secs(60);
/// Threads that pack at the end of a capture, where there are as many cores and segments.
pub const PACK_THREADS: usize = 4;
/// Bytes of a part of the bundle that are gathered before they are written to its file.
pub const PACK_BUFFER_BYTES: usize = 1024 * 1024;
/// Bytes of the directory and the timeline of a part without WebSockets: they are held in memory
/// until its end.
pub const PART_INDEX_BYTES: usize = 2 * 1024 * 1024;
/// Bodies and payloads that are read from a bundle, which others may have made. `inspect --body`
/// writes longer ones, too.
pub const INSPECTED_ENTRY_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of the messages of one WebSocket that are read for an export, a check or a filter; the
/// others are left out, and told of.
pub const READ_MESSAGES_BYTES: usize = 256 * 1024 * 1024;
/// JSON entries that `inspect` reads: two heads of the largest size, escaped, and room to spare.
/// Values take many times the memory of their text.
pub const INSPECTED_JSON_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of a binary body that `inspect` shows.
pub const INSPECTED_BINARY_BYTES: usize = 256;
/// Bytes of a text that `inspect` shows of one body, indentation included: more than anybody reads
/// along.
pub const INSPECTED_TEXT_BYTES: usize = 1024 * 1024;
/// Parts of a multipart body that `inspect` shows.
pub const INSPECTED_PARTS: usize = 100;
/// Bytes of a URL or host by which flows are sorted: all flows have theirs in memory.
pub const SORTED_TEXT_BYTES: usize = 256;

// Filters and patterns.

/// A filter expression that is longer is refused: a page of text, and nobody writes one.
pub const FILTER_CHARS: usize = 8 * 1024;
/// Parentheses of an expression inside each other; each costs the parser stack.
pub const FILTER_NESTING: usize = 64;
/// Patterns in one expression, each of which may take [`TEXT_PATTERN_BYTES`].
pub const FILTER_PATTERNS: usize = 32;
/// A pattern that is longer is refused.
pub const PATTERN_CHARS: usize = 4 * 1024;
/// Groups of a pattern inside each other; the parser of `regex` stops at four times as many
/// levels, of which a group is up to four.
pub const PATTERN_NESTING: usize = 50;
/// A compiled pattern for text. Each `\w` takes 46 KiB, for the sake of all scripts: an e-mail
/// address with bounded parts, as validators have it, comes to 6 MiB.
pub const TEXT_PATTERN_BYTES: usize = 8 * 1024 * 1024;
/// A compiled pattern for bytes, as for bodies. The worst search takes time in proportion to it
/// for each byte of a body; the e-mail address comes to 18 KiB here, `.{1,1000}` to 100 KiB.
pub const BYTES_PATTERN_BYTES: usize = 256 * 1024;
/// The cache with which each thread searches for one pattern.
pub const PATTERN_CACHE_BYTES: usize = 1024 * 1024;

// The flow store.

/// Flows that are kept for agents by default; the oldest go first.
pub const STORED_FLOWS: usize = 1_000;
/// Flows that a user may have kept: a million takes gigabytes even when all bodies are empty.
pub const STORED_FLOWS_MOST: usize = 1_000_000;
/// Bytes of all flows that are kept by default: what a thousand ordinary ones take, many times
/// over.
pub const STORED_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of all flows that a user may have kept at least: one body as large as is kept.
pub const STORED_BYTES_LEAST: usize = 1024 * 1024;
/// Bytes of all flows that a user may have kept: tools look at all of them for each question.
pub const STORED_BYTES_MOST: usize = 64 * 1024 * 1024 * 1024;
/// Bytes that are kept of each body. An agent reads it 10 KB at a time; the bundle has the rest.
pub const STORED_BODY_BYTES: usize = 1024 * 1024;
/// Bytes of bodies whose flows have not ended, in all; beyond it the oldest are not kept.
pub const UNENDED_BYTES: usize = 16 * 1024 * 1024;
/// Flows that have not ended and of whose bodies something came; more than there are sockets.
pub const UNENDED_FLOWS: usize = 16 * 1024;
/// WebSocket messages of one connection that are kept; the oldest go first.
pub const STORED_MESSAGES: usize = 1_000;
/// Bytes that are kept of each message.
pub const STORED_MESSAGE_BYTES: usize = 256 * 1024;
/// Bytes of all messages of one connection that are kept; the oldest go first.
pub const STORED_SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one message under way that are held, as they came on the wire.
pub const UNENDED_MESSAGE_BYTES: usize = 1024 * 1024;
/// Bytes of all messages under way that are held.
pub const UNENDED_MESSAGES_BYTES: usize = 8 * 1024 * 1024;
/// Directions of WebSocket connections whose compressed messages are read at the same time; each
/// takes about 48 KiB.
pub const STORED_INFLATERS: usize = 256;
/// Inflated bytes of one message. A longer one ends the reading of its direction, since the store
/// has no time to look for its end.
pub const INFLATED_MESSAGE_BYTES: u64 = 16 * 1024 * 1024;
/// Ranges of ids that are remembered as evicted, to tell them from ids that never were.
pub const GONE_RANGES: usize = 4_096;
/// How long events gather before the recorder and the store take them: a fifth of the 50 ms that a
/// flow may take to be seen, and long enough that loops seldom wake them.
pub const COLLECT_INTERVAL: Duration = Duration::from_millis(10);
/// How often a call that waits for a flow looks whether its caller has given it up.
pub const WAIT_STEP: Duration = Duration::from_millis(50);

// Tools for agents.

/// Bytes of a body's text that a reply shows where nothing else is asked for. What an agent reads
/// fills its context.
pub const BODY_WINDOW_BYTES: usize = 10 * 1024;
/// The same of a body that is no text, which few can read.
pub const BINARY_WINDOW_BYTES: usize = 4 * 1024;
/// Bytes of a body that one reply can show. It stands there twice, escaped, and clients take no
/// event of more than 1 MiB.
pub const BODY_WINDOW_MOST_BYTES: usize = 100_000;
/// Decoded bytes of a body that tools read, to show, search or compare it.
pub const READ_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Characters of a whole reply where nothing else is asked for.
pub const REPLY_CHARS: usize = 40_000;
/// Characters of a whole reply in any case: it travels twice, and clients take no event of more
/// than 1 MiB.
pub const REPLY_MOST_CHARS: usize = 400_000;
/// Bytes of a body that is read as a resource: as base64 it stays below the 1 MiB that clients
/// take.
pub const RESOURCE_BYTES: usize = 700_000;

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
/// Flows of an HTML report; more are left out. A table that browsers scroll smoothly has room for
/// many more, but the file takes seconds to open.
pub const REPORT_FLOWS: usize = 20_000;
/// Bytes of a body in a report, as text or base64; the rest is left out.
pub const REPORT_BODY_BYTES: usize = 256 * 1024;
/// Messages of a WebSocket in a report.
pub const REPORT_MESSAGES: usize = 500;
/// Bytes of a message in a report.
pub const REPORT_MESSAGE_BYTES: usize = 16 * 1024;
/// Bytes of a report from which on bodies are left out: what browsers open in some seconds.
pub const REPORT_BODIES_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a report from which on flows are left out.
pub const REPORT_BYTES: usize = 128 * 1024 * 1024;
/// Operations of one OpenAPI document; calls of others are left out. A large API has some hundreds.
pub const OPENAPI_OPERATIONS: usize = 1_000;
/// Servers of one OpenAPI document; calls to others are left out.
pub const OPENAPI_SERVERS: usize = 100;
/// Parameters of one operation's query, and fields of a form.
pub const OPENAPI_PARAMETERS: usize = 100;
/// Members of one object that have schemas of their own; more are one map.
pub const OPENAPI_MEMBERS: usize = 200;
/// Bytes of the name of a member or a parameter. Longer ones are data.
pub const OPENAPI_NAME_BYTES: usize = 128;
/// Members, items, parameters, bodies and answers of one document: about 50 MiB while it is
/// gathered.
pub const OPENAPI_SCHEMAS: usize = 200_000;
/// Security schemes of one document, and combinations of them for one operation.
pub const OPENAPI_SCHEMES: usize = 20;
/// Bytes of a body that is read for its schema. Values take many times the memory of their text.
pub const OPENAPI_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a body that is an example: what a reader looks over.
pub const OPENAPI_EXAMPLE_BYTES: usize = 2 * 1024;
/// Bytes of all examples that are bodies, of one document. Values take many times the memory of
/// their text.
pub const OPENAPI_EXAMPLES_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a URL of a call: longer ones hold data, and a document has many.
pub const OPENAPI_URL_BYTES: usize = 16 * 1024;
/// Bytes of a request's body that stand in a curl command as one argument: Linux takes 128 KiB. A
/// longer one is written by the shell itself, or stands in a file.
pub const CURL_BODY_BYTES: usize = 64 * 1024;

/// Flows that a report of a check lists for one rule; the others are counted.
pub const CHECK_LISTED: usize = 100;

// TLS.

/// Leaf certificates that are kept.
pub const CERT_CACHE_HOSTS: usize = 10_000;
/// Names in one leaf certificate; more are left out.
pub const LEAF_NAMES: usize = 256;
/// Bytes of a CA file; a key and a long chain take 20 KiB.
pub const CA_FILE_BYTES: u64 = 1024 * 1024;
/// Upstream hosts whose TLS sessions are kept for resumption.
pub const RESUMPTION_HOSTS: usize = 4_096;
/// Bytes of a ClientHello that are read before it is refused.
pub const CLIENT_HELLO_BYTES: usize = 64 * 1024;
/// TLS records over which a ClientHello may be spread; clients use one, or a few. All are gone
/// through with each piece that comes.
pub const CLIENT_HELLO_RECORDS: usize = 2_048;

// Options.

/// Items of an option that is a list: they are tried one after the other for each request.
pub const OPTION_ITEMS: usize = 256;
/// Bytes of an option's text, or of one item of its list; far longer than any filter.
pub const OPTION_TEXT_BYTES: usize = 8 * 1024;
/// The shortest wait that an option may set. Deadlines are looked at in steps of
/// [`SWEEP_INTERVAL`]; below this no exchange would ever come to its end.
pub const OPTION_WAIT_SHORTEST: Duration = Duration::from_millis(100);
/// The longest wait that an option may set: a day is as good as for ever.
pub const OPTION_WAIT_LONGEST: Duration = Duration::from_secs(86_400);

// Words to the user.

/// Notices that wait to be printed; more are counted and not printed.
pub const QUEUE_NOTICES: usize = 1_024;
/// Bytes of text that wait for the terminal to take them; more are left out and counted.
pub const PRINTED_BYTES: usize = 1024 * 1024;
/// Bytes of text that `run` keeps to print it at the end; more are left out and counted.
pub const GATHERED_BYTES: usize = 256 * 1024;
/// Bytes of a program's beginning in which `run` looks for a script's interpreter; systems read no
/// more.
pub const SCRIPT_LINE_BYTES: u64 = 256;
/// Notices beside those that say why the process has to end: there are fewer threads.
pub const QUEUE_FAILURES: usize = 64;
/// Bytes of a body, or of a WebSocket message, that the terminal shows where bodies are cut: about
/// a screenful.
pub const PRINTED_BODY_BYTES: usize = 4 * 1024;
/// Hosts that `discover` lists; more are counted together.
pub const DISCOVERED_HOSTS: usize = 100_000;

// The MCP server.

/// The port where agents look for it.
pub const MCP_PORT: u16 = 9011;
/// Connections to the MCP port, and an eighth of the open files at the most. Each agent has two or
/// three; one more than this takes the place of the one that has been idle the longest.
pub const MCP_CONNECTIONS: usize = 256;
/// Sessions of the older versions. One more takes the place of the one that was unused longest.
pub const MCP_SESSIONS: usize = 128;
/// A session that nobody uses ends after this.
pub const MCP_SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// A request's body; arguments may hold a whole body to send. 413 beyond it.
pub const MCP_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Bodies that are being received, of all connections together, 503 beyond it; and again as much
/// of the calls under way.
pub const MCP_BODIES_BYTES: usize = 64 * 1024 * 1024;
/// From the first byte of a request to its last; agents are on this machine.
pub const MCP_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Without a byte taken while output waits.
pub const MCP_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two requests on one connection.
pub const MCP_KEEP_ALIVE: Duration = Duration::from_secs(300);
/// Nesting of arrays and objects in a message; what tools take nests three deep.
pub const MCP_JSON_DEPTH: usize = 100;
/// Values in a message: each takes many times the memory of its shortest text.
pub const MCP_JSON_VALUES: usize = 200_000;
/// Messages in one batch.
pub const MCP_BATCH_MESSAGES: usize = 64;
/// A request's id, which is echoed, and its progress token, which every notification repeats.
pub const MCP_ID_BYTES: usize = 1024;
/// An error's words, and its data: both may quote what the client sent, and a stream that would
/// have to carry megabytes of it would end.
pub const MCP_ERROR_BYTES: usize = 8 * 1024;
/// A reply that is one JSON object: a large export.
pub const MCP_REPLY_BYTES: usize = 16 * 1024 * 1024;
/// A reply on an event stream: clients take 1 MiB for one event.
pub const MCP_EVENT_BYTES: usize = 1024 * 1024 - 4 * 1024;
/// Bytes that wait on one event stream: the largest replies of all threads at once; a client that
/// reads so little is cut off.
pub const MCP_STREAM_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of output that wait on all connections together; a reply beyond it closes its own.
pub const MCP_OUTPUT_BYTES: usize = 64 * 1024 * 1024;
/// How often an event stream carries a comment, so that both sides see whether the other is there.
pub const MCP_PING: Duration = Duration::from_secs(15);
/// Threads that run calls. Calls may wait for a server for 30 s, and must not block quick ones.
pub const MCP_THREADS: usize = 16;
/// Calls that wait for a thread; beyond it they are refused.
pub const MCP_WAITING_CALLS: usize = 64;
/// How long a thread without a call waits for the next before it ends.
pub const MCP_THREAD_IDLE: Duration = Duration::from_secs(10);
/// Progress and results of calls that wait to be taken; then progress is dropped and results wait.
pub const MCP_CALL_EVENTS: usize = 256;
/// Streams that a client of one connection listens on.
pub const MCP_LISTENS: usize = 16;
/// Requests that a bridge has under way; beyond it they are refused.
pub const MCP_BRIDGED_REQUESTS: usize = 64;
/// How long a bridge waits for a sign that a flowtap listens, and for the answer to `initialize`.
pub const MCP_PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// A file of trusted roots that is looked into, in bytes: bundles of all roots have 250 KB.
pub const TRUST_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// The head of an answer to `flowtap ca check`, in bytes; only its first line is wanted.
pub const CHECK_HEAD_BYTES: usize = 16 * 1024;
/// How long `flowtap ca check` waits for each answer of the proxy, which may have to wait for a
/// server.
pub const CHECK_WAIT: Duration = Duration::from_secs(35);

const _: () = {
    assert!(MCP_THREADS * MCP_EVENT_BYTES < MCP_STREAM_BYTES);
    assert!(MCP_STREAM_BYTES <= MCP_OUTPUT_BYTES);
    // The end comes within 5 s whatever the peers do; packing has the rest. The terminal may be
    // waited for twice: for the summary, and for why it ended.
    let stop = STOP_GRACE.as_millis() + STOP_CALLS.as_millis() + 2 * STOP_WORDS.as_millis();
    assert!(stop < 5_000);
    assert!(MCP_REPLY_BYTES <= MCP_OUTPUT_BYTES && MCP_BODY_BYTES <= MCP_BODIES_BYTES);
    // serde_json gives up at 128.
    assert!(MCP_JSON_DEPTH < 128);
    assert!(2 * (JOURNAL_FLUSH.as_millis() + COLLECT_INTERVAL.as_millis()) < 1_000);
    assert!(REQUEST_LINE_BYTES < HEAD_BYTES);
    assert!(TRAILER_BYTES < HEAD_BYTES);
    assert!(HEAD_BYTES + 2 * EMPTY_LINES < INPUT_BYTES);
    assert!(REQUEST_LINE_BYTES + TRAILER_BYTES + CHUNK_EXTENSION_BYTES < INPUT_BYTES);
    assert!(BODY_BLOCK_BYTES <= BATCH_BYTES && BATCH_BYTES < QUEUE_BYTES);
    assert!(POOL_CONNECTIONS_PER_HOST <= POOL_CONNECTIONS);
    assert!(2 * (HEAD_BYTES + TRAILER_BYTES + BODY_BLOCK_BYTES) < JOURNAL_FRAME_BYTES);
    assert!(((SPILL_FILES + RESOLVER_THREADS) as u64) < RESERVED_DESCRIPTORS);
    assert!(STORED_BODY_BYTES <= STORED_BYTES_LEAST && STORED_BYTES_LEAST <= STORED_BYTES);
    assert!(HELD_FLOWS <= HELD_FLOWS_MOST);
};

/// A larger configuration file is refused: nobody writes so many settings, and a file in a working
/// folder may be anybody's.
pub const CONFIG_FILE_BYTES: u64 = 256 * 1024;
