//! `flowtap proxy` is killed, and `flowtap recover` makes the bundle.

// Support code outside #[test] functions fails a test by panicking, as the tests themselves do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod command;
mod kills;
mod load;
mod random;
// The tests of the proxy use all of it.
#[allow(dead_code, unused_imports)]
#[path = "../proxy/support/mod.rs"]
mod support;
