//! Replays the fuzz corpora through the fuzz targets' properties, without a fuzzer.

#[allow(unreachable_pub, clippy::indexing_slicing, reason = "a library's source, for tests")]
#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::fs;
use std::path::Path;

/// Runs `property` over every file of a corpus.
fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let data = fs::read(&path).unwrap_or_default();
        let result = std::panic::catch_unwind(|| property(&data));
        assert!(result.is_ok(), "{} breaks the property", path.display());
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn request_head() {
    replay("request_head", properties::request_head);
}

#[test]
fn response_head() {
    replay("response_head", properties::response_head);
}

#[test]
fn chunked_body() {
    replay("chunked_body", properties::chunked_body);
}

#[test]
fn websocket_frames() {
    replay("websocket_frames", properties::websocket_frames);
}

#[test]
fn client_hello() {
    replay("client_hello", properties::client_hello);
}

#[test]
fn decode_body() {
    replay("decode_body", properties::decode_body);
}

#[test]
fn journal_frames() {
    replay("journal_frames", properties::journal_frames);
}

#[test]
fn filter() {
    replay("filter", properties::filter::filter);
}

#[test]
fn json_rpc() {
    replay("json_rpc", properties::json_rpc);
}

#[test]
fn redact() {
    replay("redact", properties::redact);
}
