//! Black-box tests of `flowtap proxy`: real sockets, scripted origins, raw clients.

mod connect;
mod framing;
mod lifecycle;
mod plain;
mod refusals;
mod support;
