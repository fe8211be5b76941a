//! Replays the fuzz corpora through the fuzz targets' properties, without a fuzzer.

#[allow(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a library's source, for tests"
)]
#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Runs `property` over every file of a corpus.
fn replay(target: &str, property: fn(&[u8])) {
    let folder = fuzz().join("corpus").join(target);
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

/// A test for each target, of the same name.
macro_rules! replayed {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target), properties::$target);
            }
        )*

        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
    };
}

replayed! {
    authority_pem
    bundle_read
    chunked_body
    client_hello
    connect_answers
    cookies
    decode_body
    event_stream
    field_values
    filter
    host_patterns
    journal_entries
    journal_frames
    json_rpc
    mcp_http
    name_lookup
    option_values
    pattern
    proxy_core
    recorded_text
    redact
    request_head
    request_target
    response_head
    socks5_answers
    stdio_lines
    tls_session
    websocket_frames
}

/// The first part of the names in a folder.
fn stems(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).into_iter().flatten().flatten();
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    entries.filter_map(|entry| stem(entry.path())).collect()
}

#[test]
fn the_table_names_every_target_with_its_corpus_and_dictionary() {
    let readme = fs::read_to_string(fuzz().join("README.md")).unwrap_or_default();
    let cargo = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap_or_default();
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let named: BTreeSet<String> = rows.iter().map(|row| row[1].to_owned()).collect();
    let replayed = REPLAYED.iter().map(|&name| name.to_owned()).collect();
    let programs = cargo.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let programs = programs.filter_map(|it| it.strip_suffix(".rs\"")).map(str::to_owned).collect();
    assert_eq!(named, stems("fuzz_targets"));
    assert_eq!(named, stems("corpus"));
    assert_eq!(named, replayed);
    assert_eq!(named, programs);
    let dictionaries: BTreeSet<String> = rows.iter().map(|row| row[4].to_owned()).collect();
    assert_eq!(dictionaries, stems("dictionaries"));
    for row in rows {
        assert!(["small", "large"].contains(&row[2]) && row[3].parse::<u32>().is_ok(), "{row:?}");
        assert!(row[5..7].iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}
