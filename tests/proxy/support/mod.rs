//! What the tests share: the program under test, origins that misbehave on purpose, raw clients.

pub(crate) mod client;
pub(crate) mod flowtap;
pub(crate) mod origin;
mod self_check;

use std::io::Read;
use std::time::Duration;

/// How long any single wait may take, in seconds, so that a bug fails and does not hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// Reads one head up to and including its blank line; what came before an early end otherwise.
pub(crate) fn read_head(stream: &mut (impl Read + ?Sized)) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0_u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    head
}
