//! Peers that mean harm: each must come to an end or stay bounded, in memory too, and no other
//! client may have to wait for it.

// Support code outside #[test] functions fails a test by panicking, as the tests themselves do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bombs;
mod crowd;
mod heads;
mod measure;
#[path = "../support/open_files.rs"]
mod open_files;
#[path = "../support/processors.rs"]
#[expect(dead_code, reason = "the crash test looks at more")]
mod processors;
mod records;
#[path = "../proxy/support/mod.rs"]
#[expect(dead_code, reason = "the tests of the proxy use all of it")]
mod support;
mod tls;
mod websockets;
