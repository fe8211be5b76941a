use std::io::Write as _;

use flate2::{Compress, Compression, FlushCompress};

use super::*;
use crate::flow::record::{Authority, DeflateParameters, Scheme};

const FLOW: FlowId = FlowId(1);

fn sockets(deflate: DeflateParameters) -> Sockets {
    let mut sockets = Sockets::default();
    open(&mut sockets, FLOW, deflate);
    sockets
}

fn open(sockets: &mut Sockets, id: FlowId, deflate: DeflateParameters) {
    sockets.open(&WebSocketOpen {
        id,
        scheme: Scheme::Http,
        target: Arc::new(Authority { host: "h".into(), port: 80 }),
        client: "127.0.0.1:9".parse().unwrap(),
        request_head: Bytes::new(),
        response_head: Bytes::new(),
        began_us: 1,
        deflate: Some(deflate),
    });
}

fn message(payload: impl Into<Bytes>, compressed: bool) -> WebSocketMessage {
    WebSocketMessage {
        flow: FLOW,
        direction: Direction::Receive,
        opcode: Opcode::Text,
        compressed,
        time_us: 7,
        payload: payload.into(),
    }
}

fn block(data: impl Into<Bytes>) -> WebSocketData {
    WebSocketData { flow: FLOW, direction: Direction::Receive, data: data.into() }
}

/// Compresses messages as an endpoint with context takeover does.
struct Deflate(Compress);

impl Deflate {
    fn new() -> Self {
        Deflate(Compress::new(Compression::best(), false))
    }

    fn message(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 1_000);
        self.0.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }
}

#[test]
fn messages_are_joined_inflated_and_build_on_each_other() {
    let mut sockets = sockets(DeflateParameters::default());
    let mut deflate = Deflate::new();
    let first = deflate.message(b"price of gold 1,999; price of silver 24");
    let second = deflate.message(b"price of gold 2,001; price of silver 25");
    assert!(second.len() < first.len());
    let (ahead, rest) = first.split_at(9);
    sockets.data(block(ahead.to_vec()));
    let ping = WebSocketMessage { opcode: Opcode::Ping, ..message("p", false) };
    assert_eq!(sockets.message(ping).unwrap().payload, "p");
    let read = sockets.message(message(rest.to_vec(), true)).unwrap();
    assert_eq!(read.payload, "price of gold 1,999; price of silver 24");
    assert_eq!(read.size, 39);
    let read = sockets.message(message(second, true)).unwrap();
    assert_eq!(read.payload, "price of gold 2,001; price of silver 25");
    assert_eq!(sockets.gathered, 0);
    assert!(sockets.message(WebSocketMessage { flow: FlowId(2), ..message("x", false) }).is_none());
}

#[test]
fn the_beginning_of_a_long_message_is_kept_and_its_size_is_known() {
    let mut sockets = sockets(DeflateParameters::default());
    let mut deflate = Deflate::new();
    let mut text = Vec::new();
    for number in 0..100_000 {
        writeln!(text, "{number}").unwrap();
    }
    let read = sockets.message(message(deflate.message(&text), true)).unwrap();
    assert_eq!((read.payload.len(), read.size), (STORED_MESSAGE_BYTES, text.len() as u64));
    let read = sockets.message(message(deflate.message(b"after"), true)).unwrap();
    assert_eq!(read.payload, "after");
    let read = sockets.message(message(text.clone(), false)).unwrap();
    assert_eq!((read.payload.len(), read.size), (STORED_MESSAGE_BYTES, text.len() as u64));
}

#[test]
fn a_message_past_its_bound_is_not_read_even_where_it_is_no_bomb() {
    let mut sockets = sockets(DeflateParameters::default());
    let mut text = Vec::new();
    for number in 0_u64.. {
        writeln!(text, "{:0>60}", number / 8).unwrap();
        if text.len() as u64 > INFLATED_MESSAGE_BYTES {
            break;
        }
    }
    let wire = Deflate::new().message(&text);
    assert!(wire.len() < UNENDED_MESSAGE_BYTES && (wire.len() as u64) * DECODED_RATIO > 17 << 20);
    let read = sockets.message(message(wire, true)).unwrap();
    assert!(read.payload.is_empty());
}

#[test]
fn a_bomb_ends_the_reading_of_its_direction_alone() {
    let mut sockets = sockets(DeflateParameters::default());
    let mut deflate = Deflate::new();
    let bomb = deflate.message(&vec![0; 8 << 20]);
    let wire = bomb.len() as u64;
    let read = sockets.message(message(bomb, true)).unwrap();
    assert_eq!((read.payload.len(), read.size), (0, wire));
    let read = sockets.message(message(deflate.message(b"after"), true)).unwrap();
    assert!(read.payload.is_empty());
    assert_eq!(sockets.inflaters, 0);
    let sent = WebSocketMessage {
        direction: Direction::Send,
        ..message(Deflate::new().message(b"other way"), true)
    };
    assert_eq!(sockets.message(sent).unwrap().payload, "other way");
}

#[test]
fn many_small_bombs_are_as_bad_as_one() {
    let mut sockets = sockets(DeflateParameters::default());
    let mut deflate = Deflate::new();
    let mut read = 0;
    for _ in 0..100 {
        let bomb = deflate.message(&vec![0; 256 << 10]);
        read += u64::from(!sockets.message(message(bomb, true)).unwrap().payload.is_empty());
    }
    // Each uses up what the ratio does not allow: about 200 KiB of 4 MiB.
    assert!((16..30).contains(&read), "{read}");
}

#[test]
fn without_context_takeover_a_bad_message_harms_no_other() {
    let parameters = DeflateParameters { server_no_context_takeover: true, ..Default::default() };
    let mut sockets = sockets(parameters);
    let read = sockets.message(message(&b"\xff\xff\xff"[..], true)).unwrap();
    assert_eq!((read.payload.len(), read.size), (0, 3));
    let read = sockets.message(message(Deflate::new().message(b"fine"), true)).unwrap();
    assert_eq!(read.payload, "fine");
}

#[test]
fn messages_under_way_are_bounded_each_and_in_all() {
    let mut sockets = sockets(DeflateParameters::default());
    let large = Bytes::from(vec![b'x'; UNENDED_MESSAGE_BYTES]);
    sockets.data(block(large.clone()));
    sockets.data(block("more"));
    assert_eq!(sockets.gathered, UNENDED_MESSAGE_BYTES);
    for id in 2..=UNENDED_MESSAGES_BYTES as u64 / UNENDED_MESSAGE_BYTES as u64 + 1 {
        open(&mut sockets, FlowId(id), DeflateParameters::default());
        sockets.data(WebSocketData { flow: FlowId(id), ..block(large.clone()) });
    }
    assert_eq!(sockets.gathered, UNENDED_MESSAGES_BYTES);
    let read = sockets.message(message("end", false)).unwrap();
    assert_eq!(read.payload.len(), STORED_MESSAGE_BYTES);
    assert_eq!(read.size, UNENDED_MESSAGE_BYTES as u64 + 7);
    sockets.close(FlowId(2));
    assert_eq!(sockets.gathered, UNENDED_MESSAGES_BYTES - 2 * UNENDED_MESSAGE_BYTES);
}

#[test]
fn inflaters_are_bounded_and_given_back() {
    let mut sockets = Sockets::default();
    for id in 0..=STORED_INFLATERS as u64 {
        open(&mut sockets, FlowId(id), DeflateParameters::default());
        let text = message(Deflate::new().message(b"text"), true);
        let read = sockets.message(WebSocketMessage { flow: FlowId(id), ..text }).unwrap();
        assert_eq!(read.payload.is_empty(), id == STORED_INFLATERS as u64);
    }
    assert_eq!(sockets.inflaters, STORED_INFLATERS);
    (0..10).for_each(|id| sockets.close(FlowId(id)));
    assert_eq!(sockets.inflaters, STORED_INFLATERS - 10);
}

#[test]
fn the_oldest_messages_of_a_connection_go_first() {
    let mut sockets = sockets(DeflateParameters::default());
    let mut kept = Arc::new(StoredWebSocket::default());
    let (mut grown, mut shrunk) = (0, 0);
    for number in 0..STORED_MESSAGES + 5 {
        let read = sockets.message(message(number.to_string(), false)).unwrap();
        let (added, freed) = sockets.add(FLOW, &mut kept, read);
        (grown, shrunk) = (grown + added, shrunk + freed);
    }
    assert_eq!((kept.messages.len(), kept.left_out), (STORED_MESSAGES, 5));
    assert_eq!(kept.messages[0].payload, "5");
    for _ in 0..STORED_SOCKET_BYTES / STORED_MESSAGE_BYTES {
        let large = vec![b'x'; STORED_MESSAGE_BYTES];
        let read = sockets.message(message(large, false)).unwrap();
        let (added, freed) = sockets.add(FLOW, &mut kept, read);
        (grown, shrunk) = (grown + added, shrunk + freed);
    }
    assert_eq!(kept.messages.len(), STORED_SOCKET_BYTES / STORED_MESSAGE_BYTES - 1);
    let held: usize = kept.messages.iter().map(|it| it.payload.len() + MESSAGE_BYTES).sum();
    assert_eq!(grown - shrunk, held);
}
