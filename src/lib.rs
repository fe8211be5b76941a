//! flowtap: an intercepting HTTP/HTTPS proxy that captures traffic into a bundle.
//!
//! The modules stand in the order in which data flows. Dependencies point up this list only:
//! pure bytes first, then TLS, then the proxy's state machines, then the sockets, then what
//! becomes of flows, and last the words from and to the user.

pub mod error;
pub mod limits;

pub mod http;

pub mod flow;

pub mod tls;

pub mod discovered;
pub mod hosts;

pub mod config;
pub mod notice;
pub mod stats;

pub mod capture;

pub mod proxy;

pub mod net;

pub mod cli;
