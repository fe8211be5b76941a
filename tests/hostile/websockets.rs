//! WebSocket peers that flood: their bytes are relayed, and the proxy's copy stays bounded.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use flate2::{Compress, Compression, FlushCompress};

use crate::measure::{is_long, under};
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::{DEADLINE, read_head};

const GROWTH_KIB: u64 = 96 * 1024;
const MASK: [u8; 4] = [0; 4];

/// Counts the bytes that come behind the handshake.
#[derive(Default)]
struct Count {
    bytes: AtomicU64,
    lock: Mutex<()>,
    grown: Condvar,
}

impl Count {
    fn wait_for(&self, bytes: u64) {
        let lacks = |(): &mut ()| self.bytes.load(Ordering::SeqCst) < bytes;
        let guard = self.lock.lock().unwrap();
        let (_guard, timeout) = self.grown.wait_timeout_while(guard, DEADLINE, lacks).unwrap();
        let came = self.bytes.load(Ordering::SeqCst);
        assert!(!timeout.timed_out() && came == bytes, "{came} of {bytes} bytes came");
    }
}

/// A server that switches and counts.
fn counting(deflate: bool) -> (Origin, Arc<Count>) {
    let count = Arc::new(Count::default());
    let own = count.clone();
    let extension = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.say(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\n{extension}\r\n"
            )
            .as_bytes(),
        );
        let mut block = vec![0; 64 * 1024];
        while let Ok(bytes @ 1..) = stream.unrecorded().read(&mut block) {
            let _guard = own.lock.lock().unwrap();
            own.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
            own.grown.notify_all();
        }
    });
    (origin, count)
}

/// Sends `begin` once and `again` over and over, until it was at least `least` bytes and others
/// were measured.
fn flood(what: &str, begin: &[u8], again: &[u8], least: u64) {
    let (origin, count) = counting(what == "bomb");
    let tap = Flowtap::start(&["--loops", "1"]);
    let to = origin.addr;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    ));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    let block = again.repeat(1 + 16 * 1024 / again.len());
    under(what, &tap, GROWTH_KIB, |stop: &AtomicBool| {
        client.send(begin);
        let mut sent = begin.len() as u64;
        while sent < least || !stop.load(Ordering::SeqCst) {
            client.send(&block);
            sent += block.len() as u64;
        }
        count.wait_for(sent);
    });
    drop(client);
    if ["empty frames", "pings"].contains(&what) && !is_long() {
        // Making and checking a bundle of 50,000 messages takes half a minute.
        return;
    }
    let bundle = tap.stop().bundle;
    let connection = bundle.json("ws/ws_0001.json");
    let kept = connection["message_count"].as_u64().unwrap();
    assert!(kept <= 50_000, "{what}: {kept} messages are kept");
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | length], MASK.as_slice(), payload].concat()
}

const MIB: u64 = 1024 * 1024;

#[test]
fn empty_frames() {
    flood("empty frames", b"", &frame(0x82, b""), MIB);
}

#[test]
fn pings() {
    flood("pings", b"", &frame(0x89, b"ping"), MIB);
}

#[test]
fn fragments_without_end() {
    flood("fragments", &frame(0x01, b"a"), &frame(0x00, &[b'a'; 100]), 32 * MIB);
}

#[test]
fn empty_fragments_without_end() {
    flood("empty fragments", &frame(0x01, b"a"), &frame(0x00, b""), 8 * MIB);
}

#[test]
fn continuations_of_nothing() {
    flood("continuations", b"", &frame(0x00, b"a"), MIB);
}

#[test]
fn a_length_that_never_comes() {
    let begin = [&[0x82, 0xff], (u64::MAX >> 1).to_be_bytes().as_slice(), &MASK].concat();
    flood("length", &begin, &[b'a'; 64], 64 * MIB);
}

#[test]
fn a_length_with_its_highest_bit() {
    let begin = [&[0x82, 0xff], u64::MAX.to_be_bytes().as_slice(), &MASK].concat();
    flood("highest bit", &begin, &[b'a'; 64], 8 * MIB);
}

#[test]
fn frames_without_a_mask() {
    flood("unmasked", b"", &[0x82, 0x02, b'a', b'b'], MIB);
}

#[test]
fn a_bomb_of_permessage_deflate() {
    let mut encoder = Compress::new(Compression::best(), false);
    let mut payload = Vec::with_capacity(256 * 1024);
    encoder.compress_vec(&vec![0; 64 << 20], &mut payload, FlushCompress::Sync).unwrap();
    let length = (payload.len() as u64).to_be_bytes();
    // 64 MiB in each message of 64 KiB.
    let message = [&[0xc2, 0xff], length.as_slice(), &MASK, &payload].concat();
    flood("bomb", b"", &message, 2 * MIB);
}
