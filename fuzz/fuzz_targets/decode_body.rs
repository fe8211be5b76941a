#![no_main]
//! Content codings: the first byte chooses the stack, the rest is the body.

use flowtap::flow::decode::{Caps, Coding, decode};
use libfuzzer_sys::fuzz_target;

const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, mut body)) = bytes.split_first() else { return };
    let stack = [CODINGS[usize::from(choice & 3)], CODINGS[usize::from(choice >> 2 & 3)]];
    let stack = if choice & 16 == 0 { &stack[..1] } else { &stack[..] };
    let caps = Caps { bytes: 1 << 20, ratio: 200, free_bytes: 1 << 16 };
    let mut out = Vec::new();
    let _ = decode(stack, &mut body, &mut out, caps);
    assert!(out.len() <= 1 << 20);
});
