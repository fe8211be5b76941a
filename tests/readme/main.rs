//! What README.md tells a new user to type, typed word by word where nothing is installed: the
//! program lies alone in an empty root, in a network of its own that has no way out.
//!
//! A comment before each shell block of README.md says how: `<!-- try: NAME -->`, a name that
//! `story.rs` knows, or `<!-- not tried: WHY -->`. Blocks of docs/*.md may have such marks too.

#![cfg(target_os = "linux")]
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod blocks;
mod names;
mod network;
mod origin;
mod place;
mod program;
mod story;
#[path = "../proxy/support/tls.rs"]
#[expect(dead_code, reason = "the tests of the proxy use all of it")]
mod tls;
