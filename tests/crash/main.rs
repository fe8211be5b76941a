//! `flowtap proxy` is killed, and `flowtap recover` makes the bundle.

// Support code outside #[test] functions fails a test by panicking, as the tests themselves do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod command;
#[path = "../support/frame.rs"]
mod frame;
#[path = "../support/frame_reader.rs"]
mod frame_reader;
mod kills;
mod load;
#[path = "../support/processors.rs"]
mod processors;
mod random;
#[expect(dead_code, reason = "the tests of the proxy use all of it")]
#[path = "../proxy/support/mod.rs"]
mod support;
mod turns;
