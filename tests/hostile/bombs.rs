//! Bodies that decode to far more than they are: relayed as they are, and kept as they are where
//! the decoded copy would be too large.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::get;
use crate::support::origin::Origin;

/// What a bomb decodes to.
const MIB: usize = 512;
const MOST_KIB: u64 = 128 * 1024;

fn written(mut encoder: impl Write, write: impl Fn(&mut dyn Write)) {
    write(&mut encoder);
    encoder.flush().unwrap();
}

fn zeros(to: &mut dyn Write) {
    let block = vec![0; 1 << 20];
    (0..MIB).for_each(|_| to.write_all(&block).unwrap());
}

fn gzip(write: impl Fn(&mut dyn Write)) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    written(&mut encoder, write);
    encoder.finish().unwrap()
}

fn zlib() -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    written(&mut encoder, zeros);
    encoder.finish().unwrap()
}

/// A frame of blocks that each repeat one byte (RFC 8878 section 3.1.1.2.2).
fn zstd() -> Vec<u8> {
    const BLOCK: u32 = 128 * 1024;
    // Magic number; no checksum, no content size; a window of 128 KiB.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    let blocks = MIB * 8;
    for number in 0..blocks {
        let last = u32::from(number + 1 == blocks);
        bytes.extend_from_slice(&(BLOCK << 3 | 1 << 1 | last).to_le_bytes()[..3]);
        bytes.push(0);
    }
    bytes
}

/// Waits in a thread for the proxy's end, and gives the most memory in KiB that was resident.
fn peak(tap: &Flowtap) -> std::thread::JoinHandle<u64> {
    let path = format!("/proc/{}/status", tap.child.id());
    std::thread::spawn(move || {
        let mut most = 0;
        // A process that has ended has no memory.
        while let Ok(status) = std::fs::read_to_string(&path)
            && let Some(line) = status.lines().find(|line| line.starts_with("VmHWM:"))
        {
            let kib = line.split_whitespace().nth(1).unwrap();
            most = most.max(kib.parse::<u64>().unwrap());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        most
    })
}

/// Relays one bomb; what is kept of it, and the most memory it took.
fn relay(coding: &str, bomb: &[u8]) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n",
        bomb.len()
    );
    let origin = Origin::answers([head.as_bytes(), bomb].concat());
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let (got, body) = client.response();
    assert!(got.contains(&format!("Content-Encoding: {coding}\r\n")), "{got}");
    assert!(body == bomb, "{coding}: the body was changed");
    let peak = peak(&tap);
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    let kept = bundle.body(&trace, "response");
    // The caps are 64 MiB, and a ratio.
    assert!(kept.len() <= 64 << 20, "{coding}: {} bytes are kept", kept.len());
    assert!(kept == bomb, "{coding}: it is kept neither as it came nor as it decodes");
    let most = peak.join().unwrap();
    assert!(most > 0, "{coding}: it ended before its memory was looked at");
    assert!(most <= MOST_KIB, "{coding}: {most} KiB");
}

#[test]
fn gzip_bomb() {
    relay("gzip", &gzip(zeros));
}

#[test]
fn deflate_bomb() {
    relay("deflate", &zlib());
}

#[test]
fn zstd_bomb() {
    relay("zstd", &zstd());
}

#[test]
fn brotli_bomb() {
    relay("br", include_bytes!("../data/zeros.br"));
}

#[test]
fn stacked_bombs() {
    let inner = gzip(zeros);
    let stacked = gzip(|to| to.write_all(&inner).unwrap());
    relay("gzip, gzip", &stacked);
    let inner = zstd();
    let stacked = gzip(|to| to.write_all(&inner).unwrap());
    relay("zstd, gzip", &stacked);
}
