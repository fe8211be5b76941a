//! Servers that remember what each of their connections got.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::reader::{Liberties, requests};
use crate::support::origin::{Accepted, Origin};
use crate::support::tls::test_ca;

/// What every request gets: short, and alike.
pub(crate) const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What came, in its order, with the number of its connection.
type Log = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

/// A server that answers every request that a strict reader sees.
pub(crate) struct Recorder {
    pub(crate) addr: SocketAddr,
    log: Log,
    _origin: Origin,
}

impl Recorder {
    /// In TLS, or in clear.
    pub(crate) fn start(tls: bool) -> Self {
        let log = Log::default();
        let own = log.clone();
        let script = move |number, stream: &mut Accepted| record(&own, number, stream);
        let origin = match tls {
            true => Origin::tls(test_ca().server(&["localhost"]), script),
            false => Origin::start(script),
        };
        Recorder { addr: origin.addr, log, _origin: origin }
    }

    /// What came since the last call: a piece for each time that the connection changed, with the
    /// connection's number. They are numbered in the order in which they were opened.
    pub(crate) fn news(&mut self) -> Vec<(usize, Vec<u8>)> {
        let news = std::mem::take(&mut *self.log.lock().unwrap());
        let pieces = news.chunk_by(|one, other| one.0 == other.0);
        let whole = |piece: &[(usize, Vec<u8>)]| {
            (piece[0].0, piece.iter().flat_map(|(_, bytes)| bytes.clone()).collect())
        };
        pieces.map(whole).collect()
    }
}

fn record(log: &Log, number: usize, stream: &mut Accepted) {
    let (mut bytes, mut answered) = (Vec::new(), 0);
    let mut block = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut block) {
        bytes.extend_from_slice(&block[..count]);
        log.lock().unwrap().push((number, block[..count].to_vec()));
        let (messages, _) = requests(&bytes, Liberties::default());
        for message in &messages[answered..] {
            let head_only = message.start.starts_with(b"HEAD ");
            stream.say(if head_only { &ANSWER[..ANSWER.len() - 2] } else { ANSWER });
        }
        answered = messages.len();
    }
}
