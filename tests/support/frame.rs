//! WebSocket frames as peers write them, for tests and benchmarks (RFC 6455 section 5.2).

/// Any mask but zero shows whether masking is undone.
const MASK: [u8; 4] = [0x11, 0x82, 0x33, 0xf4];

/// A frame with this first byte; a client's is masked.
pub(crate) fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mut bytes = vec![first];
    let mask_bit = if masked { 0x80 } else { 0 };
    match payload.len() {
        length @ ..=125 => bytes.push(mask_bit | length as u8),
        length @ 126..=65_535 => {
            bytes.push(mask_bit | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(mask_bit | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend(payload);
    }
    bytes
}
