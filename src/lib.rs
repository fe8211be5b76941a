//! flowtap: an intercepting HTTP/HTTPS proxy that captures traffic into a bundle.
//!
//! Dependencies between the modules point up this list only: pure data and bytes first, then TLS,
//! then what becomes of flows, then the proxy's state machines, which know no socket, then the
//! sockets, then the tools for agents, and last the words from and to the user.

pub mod error;
pub mod fault;
pub mod limits;
pub mod near;
pub mod random;

pub mod notice;
pub mod stats;

pub mod flow;
pub mod http;

pub mod discovered;
pub mod hosts;
pub mod names;
pub mod tls;
pub mod upstream;

pub mod options;
pub mod trust;

pub mod config;

pub mod capture;

pub mod proxy;

pub mod net;

pub mod mcp;

pub mod cli;
