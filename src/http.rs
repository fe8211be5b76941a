//! HTTP/1.1 and WebSocket as pure bytes: no clock, no socket, no TLS.

pub mod body;
pub mod credentials;
pub mod device_page;
pub mod field;
pub mod head;
pub mod hops;
pub mod reply;
pub mod rewrite;
pub mod target;
pub mod websocket;

mod extension;
mod lines;
