//! What is said to an upstream proxy before it relays: as bytes in and bytes out.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::flow::record::Authority;

use super::connect::Connect;
use super::socks5::Socks5;
use super::{Kind, UpstreamProxy};

/// Where an upstream proxy is asked to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A name or an address, as clients gave it.
    Host(Arc<Authority>),
    /// An address that was looked up.
    Address(SocketAddr),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Host(authority) if authority.host.contains(':') => {
                write!(f, "[{}]:{}", authority.host, authority.port)
            }
            Destination::Host(authority) => write!(f, "{}:{}", authority.host, authority.port),
            Destination::Address(address) => address.fmt(f),
        }
    }
}

/// The handshake by which an upstream proxy becomes a relay to a server.
#[derive(Debug)]
pub struct Handshake {
    machine: Machine,
    to: Destination,
}

#[derive(Debug)]
enum Machine {
    Connect(Connect),
    Socks5(Socks5),
}

/// What of the input a handshake has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes at its beginning that are done with.
    pub bytes: usize,
    /// What follows comes from the server.
    pub done: bool,
}

impl Handshake {
    /// Begins a handshake; what is to be sent first is appended to `output`.
    pub fn new(proxy: &UpstreamProxy, to: Destination, output: &mut Vec<u8>) -> Self {
        let machine = match proxy.kind {
            Kind::Http | Kind::Https => Machine::Connect(Connect::new(proxy, &to, output)),
            Kind::Socks5 | Kind::Socks5h => Machine::Socks5(Socks5::new(proxy, output)),
        };
        Handshake { machine, to }
    }

    /// Reads what has come: `input` begins with what was not used before. What is to be sent next
    /// is appended to `output`.
    ///
    /// # Errors
    /// What the proxy did instead of relaying, in words that follow its name.
    pub fn advance(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Taken, String> {
        match &mut self.machine {
            Machine::Connect(connect) => connect.advance(input, &self.to),
            Machine::Socks5(socks5) => socks5.advance(input, output, &self.to),
        }
    }

    /// What the proxy has not answered yet, in words that follow "did not answer".
    pub fn question(&self) -> String {
        match self.machine {
            Machine::Connect(_) => format!("CONNECT {}", self.to),
            Machine::Socks5(_) => format!("the SOCKS5 request for {}", self.to),
        }
    }
}
