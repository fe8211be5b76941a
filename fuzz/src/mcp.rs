//! What agents send: JSON-RPC, HTTP requests, lines, and what a bridge gets back.

use std::io::BufReader;
use std::time::Instant;

use flowtap::limits::{MCP_BODIES_BYTES, MCP_ID_BYTES};
use flowtap::mcp::bridge::events::EventReader;
use flowtap::mcp::http::{Answer, Conn, HttpRequest};
use flowtap::mcp::rpc::{self, Incoming, Message, Read, Request};
use flowtap::mcp::stdio::{Line, next_line};

use super::pieces::Pieces;
use super::rfc9112::{self, Reading};

/// Whatever a client sends is messages or an error with a code, and ids come back as they came.
pub fn json_rpc(data: &[u8]) {
    let one = |read: &Read| match read {
        Ok(Message::Request(request)) => {
            let reply = rpc::result(&request.id, "{}");
            assert!(!reply.contains(['\n', '\u{2028}']));
            if reply.len() > MCP_ID_BYTES {
                // Escaped, an id may be longer than any that is taken.
                return;
            }
            let again = format!("{},\"method\":\"m\"}}", &reply[..reply.len() - 13]);
            let (id, method) = (request.id.clone(), "m".into());
            let same = Ok(Message::Request(Request { id, method, params: Default::default() }));
            assert_eq!(rpc::read(again.as_bytes()), Ok(Incoming::One(same)), "{reply}");
        }
        Ok(_) => {}
        Err(rejected) => assert!([-32600, -32602].contains(&rejected.error.code)),
    };
    match rpc::read(data) {
        Ok(Incoming::One(read)) => one(&read),
        Ok(Incoming::Batch(batch)) => {
            assert!(!batch.is_empty());
            batch.iter().for_each(one);
        }
        Err(error) => assert!([-32700, -32600].contains(&error.code)),
    }
}

/// Requests that come in pieces are those of the whole, with the same answers, and those that the
/// second reading finds. The first byte is the size of the pieces.
pub fn mcp_http(data: &[u8]) {
    let Some((size, input)) = data.split_first() else { return };
    let (requests, output, over) = converse([input].into_iter());
    let (again, output_again, over_again) = converse(input.chunks(usize::from(*size) + 1));
    assert!(over == over_again && requests.len() == again.len());
    let same = |(a, b): (&HttpRequest, &HttpRequest)| {
        (&a.method, &a.path, &a.query, &a.body) == (&b.method, &b.path, &b.query, &b.body)
    };
    assert!(requests.iter().zip(&again).all(same));
    assert_eq!(statuses(&output), statuses(&output_again));

    let mut rest = input;
    for request in &requests {
        let Reading::Whole(second) = rfc9112::request(rest) else {
            panic!("{request:?} in {:?}", String::from_utf8_lossy(rest))
        };
        assert_eq!(request.method.as_bytes(), second.head.start[0]);
        assert_eq!(request.body, second.body);
        for (name, value) in &second.head.fields {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            assert!(request.values(&name).any(|own| own == *value));
        }
        rest = &rest[second.length..];
    }
}

/// The statuses of the answers; not 100, which is given where the body is not there yet. The words
/// of a refusal may differ: what is wrong with the beginning is seen before the end is there.
fn statuses(output: &[u8]) -> Vec<String> {
    let lines = output.split(|&byte| byte == b'\n').map(String::from_utf8_lossy);
    let statuses = lines.filter(|line| line.starts_with("HTTP/1.1 ") && !line.contains(" 100 "));
    statuses.map(|line| line.chars().take(12).collect()).collect()
}

/// What a connection makes of input: its requests, each answered with their number, all output,
/// and whether it is over.
fn converse<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<HttpRequest>, Vec<u8>, bool) {
    thread_local!(static NOW: Instant = Instant::now());
    let now = NOW.with(|now| *now);
    let mut conn = Conn::new(now);
    let mut requests = Vec::new();
    let mut output = Vec::new();
    let allow = |_: &HttpRequest| Ok(());
    for piece in pieces {
        conn.receive(piece, now);
        while let Some(request) = conn.next_request(&allow, MCP_BODIES_BYTES, now) {
            conn.answer(Answer::text(200, &requests.len().to_string()), now);
            requests.push(request);
        }
        output.extend_from_slice(conn.output());
        conn.wrote(conn.output_bytes(), now);
    }
    conn.end_input();
    assert!(conn.next_request(&allow, MCP_BODIES_BYTES, now).is_none());
    (requests, output, conn.is_over())
}

/// Messages of a stream that comes in pieces are those of the whole, and the same when they are
/// written as events again. The first byte is the size of the pieces.
pub fn event_stream(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let read = |size: usize, stream: &[u8]| {
        let mut reader = EventReader::default();
        let mut seen = Vec::new();
        for piece in stream.chunks(size) {
            reader.take(piece, &mut |message| seen.push(message.to_owned()));
            assert!(reader.held_bytes() <= 3 * stream.len());
        }
        (seen, reader.has_reply)
    };
    let whole = read(usize::MAX, stream);
    assert_eq!(read(usize::from(*size) + 1, stream), whole);
    assert_eq!(read(1, stream), whole);
    // One that begins with a space would lose it, and one that holds an end of line is none.
    let is_plain = |message: &String| !message.ends_with('\r') && !message.starts_with(' ');
    if whole.0.iter().all(is_plain) {
        let written: String = whole.0.iter().map(|it| format!("data: {it}\r\n\r\n")).collect();
        assert_eq!(read(usize::MAX, written.as_bytes()), whole);
    }
}

/// Lines are the input without its line ends, however it is read.
pub fn stdio_lines(data: &[u8]) {
    let Some((size, input)) = data.split_first() else { return };
    let size = usize::from(*size) + 1;
    let mut reader = BufReader::with_capacity(size, Pieces { rest: input, size });
    let mut expected = input.split_inclusive(|&byte| byte == b'\n');
    while let Ok(Some(line)) = next_line(&mut reader) {
        let next = expected.next().unwrap_or_default();
        assert_eq!(line, Line::Bytes(next.strip_suffix(b"\n").unwrap_or(next).to_vec()));
    }
    assert_eq!(expected.next(), None);
}
