//! How bytes are cut into pieces on their way.

use std::net::SocketAddr;
use std::time::Instant;

use crate::support::DEADLINE;
use crate::support::client::Client;

/// Whether the tests that can take minutes should.
pub(crate) fn is_long() -> bool {
    std::env::var("FLOWTAP_TEST_LONG").is_ok_and(|value| value == "1")
}

/// How bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// At once.
    Whole,
    /// Each byte by itself.
    Bytes,
    /// In two, at a place that the number picks; the second part goes when the first was taken.
    Split(usize),
}

impl Delivery {
    /// Sends `bytes` to the proxy at `to`, which may refuse them before it has all.
    pub(crate) fn send(self, client: &mut Client, to: SocketAddr, bytes: &[u8]) {
        match self {
            Delivery::Whole => {
                client.try_send(bytes);
            }
            Delivery::Bytes => {
                // Long heads are long by what repeats in them.
                let few = bytes.len().min(1_500);
                for byte in &bytes[..few] {
                    client.try_send([*byte]);
                }
                client.try_send(&bytes[few..]);
            }
            Delivery::Split(seed) => {
                let at = 1 + seed.wrapping_mul(7_919) % (bytes.len() - 1).max(1);
                client.try_send(&bytes[..at]);
                wait_until_taken(client, to);
                client.try_send(&bytes[at..]);
            }
        }
    }
}

/// Waits until the proxy at `to` has read all that this client has sent.
fn wait_until_taken(client: &Client, to: SocketAddr) {
    let from = client.tcp.local_addr().unwrap().port();
    let end = Instant::now() + DEADLINE;
    while unread(from, to.port()).is_some_and(|bytes| bytes > 0) {
        assert!(Instant::now() < end, "the proxy does not read");
        std::thread::yield_now();
    }
}

/// Bytes that wait in the socket at port `at` whose peer has port `from`, by the kernel's table.
fn unread(from: u16, at: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let hex = |port: u16| format!(":{port:04X}");
    table.lines().find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote) = (columns.next()?, columns.next()?);
        let queues = columns.nth(1)?;
        let ours = local.ends_with(&hex(at)) && remote.ends_with(&hex(from));
        ours.then(|| u64::from_str_radix(queues.split_once(':')?.1, 16).ok())?
    })
}
