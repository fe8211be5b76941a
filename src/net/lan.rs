//! This machine's own address in its network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// The address by which other machines of the network reach this one: that from which the system
/// would send. Nothing is sent. `None` without a network.
pub fn lan_address() -> Option<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849), which are never near.
    let far: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    far.into_iter().find_map(|(any, far)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((far, 9)).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_loopback() && !address.is_unspecified()).then_some(address)
    })
}
