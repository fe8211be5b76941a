#![no_main]
//! A journal file: frames, and what is in them.

use flowtap::capture::entry;
use flowtap::capture::frame::{FrameReader, FrameType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut frames = FrameReader::new(bytes);
    while let Ok(Some((kind, payload))) = frames.next_frame() {
        match kind {
            FrameType::Segment => drop(entry::SegmentHeader::take(payload)),
            FrameType::Exchange => drop(entry::take_exchange(payload)),
            FrameType::WebSocketOpen => drop(entry::take_open(payload)),
            FrameType::WebSocketClose => drop(entry::take_close(payload)),
            _ => {}
        }
    }
    // Checksums keep most of the fuzzer's bytes from the payloads, so these are tried bare.
    let _ = entry::take_exchange(bytes);
    let _ = entry::take_open(bytes);
    let _ = entry::take_message(bytes);
});
