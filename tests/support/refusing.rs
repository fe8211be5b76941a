//! An address that refuses connections.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// An address at which nobody listens. A port that was only free may be somebody's a moment later;
/// this one is bound for as long as this lives.
pub(crate) struct Refusing {
    pub(crate) addr: SocketAddr,
    _socket: OwnedFd,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        // Programs that are started meanwhile need not have it.
        fcntl_setfd(&socket, FdFlags::CLOEXEC).unwrap();
        // Nobody is given this port, but who asks for it may listen there.
        set_socket_reuseaddr(&socket, true).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        Refusing { addr, _socket: socket }
    }
}
