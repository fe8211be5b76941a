//! Reads WebSocket frames as peers do, for tests and benchmarks (RFC 6455 section 5.2).

use std::io;

/// The first byte of the next frame and its payload, unmasked; `take` reads so many bytes.
pub(crate) fn read_frame(
    mut take: impl FnMut(usize) -> io::Result<Vec<u8>>,
) -> io::Result<(u8, Vec<u8>)> {
    let head = take(2)?;
    let length = match head[1] & 0x7f {
        126 => take(2)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        127 => take(8)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        length => usize::from(length),
    };
    let mask = if head[1] & 0x80 == 0 { vec![0; 4] } else { take(4)? };
    let mut payload = take(length)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((head[0], payload))
}
