//! The proxy as state machines without input or output: bytes and a clock in, bytes and
//! commands out.

pub mod body_capture;
pub mod buffer;
pub mod conn;
pub mod context;
pub mod exchange;
mod fault;
pub mod hold;
mod intercept;
pub mod link;
mod open;
pub mod outbox;
mod rebuild;
pub mod replay;
pub mod request;
mod serve;
#[cfg(test)]
mod simulation;
pub mod sniff;
pub mod tunnel;
pub mod websocket;
