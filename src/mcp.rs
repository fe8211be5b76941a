//! The MCP server: agents list, search and read flows, replay and change requests, hold traffic,
//! and set options.

pub mod store;
pub mod toolbox;
pub mod tools;
