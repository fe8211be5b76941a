//! The MCP server over raw sockets: its three ways in, what bad clients get, and its limits.

// A helper that fails ends its test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/open_files.rs"]
mod open_files;
#[path = "../support/toolbox.rs"]
mod toolbox;

mod bridge;
mod calls;
mod junk;
mod lifecycle;
mod limits;
mod security;
mod sse;
mod stateless;
mod streamable;
mod support;
