//! Black-box tests of `flowtap proxy`: real sockets, scripted origins, raw clients.

// Support code outside #[test] functions fails a test by panicking, as the tests themselves do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent_tasks;
mod capture;
mod connect;
mod connections;
mod device_page;
mod discover;
// Other systems change the limits of no process but their own.
#[cfg(target_os = "linux")]
mod disk;
mod early;
mod edges;
mod ends;
#[path = "../support/frame.rs"]
mod frame;
mod framing;
mod hops;
mod hosts;
mod intercept;
mod lifecycle;
mod limits;
mod masking;
mod memory;
#[path = "../support/open_files.rs"]
mod open_files;
mod options;
mod own_address;
mod plain;
mod pool;
mod refusals;
mod replay;
mod secrets;
mod stopping;
mod streaming;
mod support;
mod terminal;
mod tls;
mod upgrade;
mod upstream;
mod waits;
mod websocket;
