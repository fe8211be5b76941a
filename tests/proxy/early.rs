//! Servers that answer before they have the whole request: they get the rest of it all the same.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::{Accepted, Origin};
use crate::support::tls::test_ca;
use crate::support::{DEADLINE, get, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An origin inside TLS that answers one request a connection at its head and reads its body, of so many bytes,
/// when it is told to.
struct Early {
    origin: Origin,
    read: Sender<usize>,
    got: Receiver<usize>,
}

impl Early {
    fn start() -> Self {
        let (read, told) = channel::<usize>();
        let (sender, got) = channel();
        let (told, sender) = (Mutex::new(told), Mutex::new(sender));
        let origin = Origin::tls(test_ca().server(&["localhost"]), move |_, stream| {
            read_head(stream);
            stream.say(OK.as_bytes());
            let Ok(size) = told.lock().unwrap().recv_timeout(DEADLINE) else { return };
            sender.lock().unwrap().send(count(stream, size)).unwrap();
        });
        Early { origin, read, got }
    }
}

/// Reads so many bytes; how many came.
fn count(stream: &mut Accepted, size: usize) -> usize {
    let mut buffer = vec![0; 65_536];
    let mut got = 0;
    while got < size {
        let most = buffer.len().min(size - got);
        match stream.unrecorded().read(&mut buffer[..most]) {
            Ok(count @ 1..) => got += count,
            _ => break,
        }
    }
    got
}

/// Uploads so many bytes and asks for something else behind them. Whether that was answered before
/// the upload was read; the upload has to arrive whole in any case.
fn ends_unread(tap: &Flowtap, early: &Early, other: &Origin, size: usize) -> bool {
    let mut client = Client::connect(tap.addr);
    let to = format!("localhost:{}", early.origin.addr.port());
    client.send(format!(
        "PUT https://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: {size}\r\n\r\n"
    ));
    assert_eq!(client.response().1, b"ok");
    client.send(vec![b'u'; size]);
    client.send(get(other.addr, "/"));
    let ended = client.answers_within(Duration::from_millis(500));
    early.read.send(size).unwrap();
    assert_eq!(early.got.recv_timeout(2 * DEADLINE), Ok(size), "ended before: {ended}");
    assert_eq!(client.response().1, b"ok");
    ended
}

#[test]
fn the_last_of_an_upload_that_was_answered_early_is_sent_inside_tls() {
    let (early, other) = (Early::start(), Origin::answers(OK));
    let tap = Flowtap::start(&["--loops", "1"]);
    let (mut fits, mut exceeds) = (0, 1 << 19);
    while ends_unread(&tap, &early, &other, exceeds) {
        (fits, exceeds) = (exceeds, 2 * exceeds);
    }
    // The largest that fits fills the way, up to the last bytes that the proxy holds.
    while exceeds - fits > 256 {
        let size = fits.midpoint(exceeds);
        match ends_unread(&tap, &early, &other, size) {
            true => fits = size,
            false => exceeds = size,
        }
    }
    assert!(fits > 0, "no upload ended before it was read");
}
