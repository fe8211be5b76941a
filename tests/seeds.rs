//! Replays the seeds of the fuzz targets that read captured bytes, without a fuzzer.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use flowtap::capture::entry;
use flowtap::capture::frame::{FrameReader, FrameType};
use flowtap::flow::decode::{Caps, Coding, decode};

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn coded_bodies_decode_within_the_caps() {
    let codings = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
    for (name, bytes) in seeds("decode_body") {
        let (choice, mut body) = bytes.split_first().unwrap();
        let stack = [codings[usize::from(choice & 3)], codings[usize::from(choice >> 2 & 3)]];
        let stack = if choice & 16 == 0 { &stack[..1] } else { &stack[..] };
        let caps = Caps { bytes: 1 << 20, ratio: 200, free_bytes: 1 << 16 };
        let result = decode(stack, &mut body, &mut Vec::new(), caps);
        let whole = !["cut", "bomb", "malformed"].iter().any(|flaw| name.contains(flaw));
        assert_eq!(result.is_ok(), whole, "{name}: {result:?}");
    }
}

#[test]
fn journal_files_give_their_entries() {
    for (name, bytes) in seeds("journal_frames") {
        if name == "exchange" || name == "open" {
            let read = entry::take_exchange(&bytes).is_some() || entry::take_open(&bytes).is_some();
            assert!(read, "{name}");
            continue;
        }
        let mut frames = FrameReader::new(&bytes[..]);
        let mut read = 0;
        while let Some((kind, payload)) = frames.next_frame().unwrap() {
            let whole = match kind {
                FrameType::Segment => entry::SegmentHeader::take(payload).is_some(),
                FrameType::Exchange => entry::take_exchange(payload).is_some(),
                FrameType::WebSocketOpen => entry::take_open(payload).is_some(),
                FrameType::WebSocketData => entry::take_data(payload).is_some(),
                FrameType::WebSocketMessage => entry::take_message(payload).is_some(),
                FrameType::WebSocketClose => entry::take_close(payload).is_some(),
                FrameType::WebSocketGap => entry::take_gap(payload).is_some(),
                FrameType::Losses => entry::take_losses(payload).is_some(),
                FrameType::WebSocket | FrameType::SegmentEnd => {
                    entry::take_number(payload).is_some()
                }
            };
            assert!(whole, "{name}: {kind:?}");
            read += 1;
        }
        assert!(read >= 1, "{name}");
    }
}
