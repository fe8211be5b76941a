//! The MCP server: agents list, search and read flows, replay and change requests, hold traffic,
//! and set options.

pub mod bridge;
mod dispatch;
mod engine;
mod event_loop;
pub mod http;
mod present;
pub mod rpc;
mod security;
pub mod server;
mod session;
pub mod stdio;
pub mod store;
pub mod toolbox;
pub mod tools;
mod transport;
pub mod version;
mod workers;
