//! The tools over a store that is fed with made-up events: every tool, argument and failure, what
//! replies cost, and that no secret leaves.

// Clippy takes support of tests for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod bodies;
mod changing;
mod costs;
mod intercept;
mod looking;
mod secrets;
mod streams;
mod sums;
