//! Sockets, timers and the event loop: the only place that talks to the operating system about
//! traffic.

pub(crate) mod budget;
mod clients;
pub mod control;
mod deadlines;
mod dial;
mod event_loop;
mod fault;
pub mod lan;
mod listener;
mod lookup;
mod outlet;
mod own;
mod pool;
pub mod probe;
mod resolver;
pub mod server;
mod service;
mod slots;
mod socket;
mod spare;
mod timer;
