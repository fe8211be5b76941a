//! The corpus of hostile framing, played against the program: through the proxy in clear and inside
//! intercepted TLS, whole and in pieces.

// Support code outside #[test] functions fails a test by panicking, as the tests themselves do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod corpus;
mod delivery;
mod reader;
mod requests;
mod responses;
mod server;
#[path = "../proxy/support/mod.rs"]
#[expect(dead_code, reason = "the tests of the proxy use all of it")]
mod support;
