//! What a client must not be led to: the proxy itself, and a proxy's own tools.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::TcpStream;

use crate::flow::record::Authority;
use crate::proxy::context::{DialError, Shared};
use crate::upstream::is_loopback;

/// Why no connection is made to `address`, by which `host` is to be reached.
pub(super) fn refusal(address: SocketAddr, shared: &Shared, host: &str) -> Option<DialError> {
    if is_own(address, shared.listen) {
        return Some(own(host));
    }
    shared.guards(address).then(|| DialError {
        status: 403,
        reason: format!("{host} leads to this proxy's own tools, which are for this machine alone"),
    })
}

/// Why a host that an upstream proxy would connect to must not be asked for, as far as its name
/// shows: it may lead back here from there.
pub(super) fn refusal_of(to: &Authority, shared: &Shared, host: &str) -> Option<DialError> {
    let literal = to.host.parse::<IpAddr>().ok();
    let names = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let loopback = names.into_iter().filter(|_| literal.is_none() && is_loopback(&to.host));
    let mut addresses = literal.into_iter().chain(loopback);
    addresses.find_map(|address| refusal(SocketAddr::new(address, to.port), shared, host))
}

/// The error for a host that is the proxy.
pub(super) fn own(host: &str) -> DialError {
    DialError { status: 508, reason: format!("{host} is this proxy itself") }
}

/// Whether connecting to `address` would reach the proxy itself, as far as an address shows.
fn is_own(address: SocketAddr, listen: SocketAddr) -> bool {
    let (to, own) = (address.ip().to_canonical(), listen.ip().to_canonical());
    // All addresses of IPv6 take those of IPv4 in, and not the other way round.
    let takes = own.is_unspecified() && (own.is_ipv6() || to.is_ipv4());
    // A connection to an unspecified address goes to a loopback one.
    let here = to.is_unspecified() && (own.is_loopback() || own.is_unspecified());
    let meets = to == own || takes && to.is_loopback() || here;
    address.port() == listen.port() && meets
}

/// Whether a connection that was made to `address` has reached the proxy itself. Where the proxy
/// listens on all addresses of the machine, only the system knows them; a connection to one of
/// them comes from the same one.
pub(super) fn has_reached_itself(
    stream: &TcpStream,
    address: SocketAddr,
    listen: SocketAddr,
) -> bool {
    listen.ip().is_unspecified()
        && address.port() == listen.port()
        && stream.local_addr().is_ok_and(|from| ends_here(address, from))
}

fn ends_here(to: SocketAddr, from: SocketAddr) -> bool {
    to.ip().to_canonical() == from.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_knows_its_own_addresses() {
        let own = |to: &str, listen: &str| is_own(to.parse().unwrap(), listen.parse().unwrap());
        assert!(own("127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(own("0.0.0.0:8080", "127.0.0.1:8080"));
        assert!(own("[::ffff:127.0.0.1]:8080", "127.0.0.1:8080"));
        assert!(own("[::ffff:0.0.0.0]:8080", "127.0.0.1:8080"));
        assert!(own("127.0.0.1:8080", "0.0.0.0:8080"));
        assert!(own("[::1]:8080", "[::]:8080"));
        assert!(own("[::]:8080", "[::1]:8080"));
        assert!(own("192.0.2.1:8080", "192.0.2.1:8080"));
        assert!(own("127.0.0.1:8080", "[::]:8080"));
        // Unspecified addresses are nobody's of their own: they need not be told apart.
        assert!(own("[::]:8080", "127.0.0.1:8080") && own("[::]:8080", "0.0.0.0:8080"));
        assert!(own("0.0.0.0:8080", "[::1]:8080") && own("0.0.0.0:8080", "[::]:8080"));
        // Another program may listen there.
        assert!(!own("[::1]:8080", "0.0.0.0:8080"));
        assert!(!own("127.0.0.1:8081", "127.0.0.1:8080"));
        assert!(!own("127.0.0.2:8080", "127.0.0.1:8080"));
        assert!(!own("192.0.2.1:8080", "0.0.0.0:8080"));
    }

    #[test]
    fn a_connection_from_the_address_that_it_goes_to_stays_on_the_machine() {
        let ends = |to: &str, from: &str| ends_here(to.parse().unwrap(), from.parse().unwrap());
        assert!(ends("192.0.2.1:8080", "192.0.2.1:50000"));
        assert!(ends("[::ffff:192.0.2.1]:8080", "192.0.2.1:50000"));
        assert!(ends("[2001:db8::1]:8080", "[2001:db8::1]:50000"));
        assert!(!ends("192.0.2.1:8080", "192.0.2.2:50000"));
    }

    /// A connection over loopback stands in for one to any other address of the machine: to the
    /// system they are the same.
    #[test]
    fn the_system_tells_that_a_connection_has_reached_the_proxy_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(address).unwrap();
        let stream = TcpStream::from_std(stream);
        let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
        assert!(has_reached_itself(&stream, address, everywhere));
        let another_port = SocketAddr::from(([0, 0, 0, 0], 1));
        assert!(!has_reached_itself(&stream, address, another_port));
        // Another program listens on that address.
        let elsewhere = SocketAddr::from(([127, 0, 0, 9], address.port()));
        assert!(!has_reached_itself(&stream, address, elsewhere));
    }
}
