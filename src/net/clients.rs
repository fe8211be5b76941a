//! How many connections each client has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The connections of each client, in all loops.
#[derive(Debug, Default)]
pub(super) struct Clients {
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a client, counted as long as this is there.
#[derive(Debug)]
pub(super) struct Place {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    /// Counts one more connection of the client at this address; `None` when it has `most`.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, most: Option<usize>) -> Option<Place> {
        let client = client_of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if most.is_some_and(|most| *count >= most) {
            return None;
        }
        *count += 1;
        Some(Place { clients: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.clients.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Whom an address belongs to: of IPv6, a network of 64 bits is what one machine picks its
/// addresses from.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            // `::1` is no network's.
            IpAddr::V6(if address.is_loopback() { address } else { network.into() })
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_connections_and_no_more() {
        let clients = Arc::new(Clients::default());
        let admit = |address: &str| clients.admit(address.parse().unwrap(), Some(2));
        let first = admit("192.0.2.1").unwrap();
        let second = admit("::ffff:192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        let other = admit("192.0.2.2").unwrap();
        drop(first);
        let third = admit("192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        assert!(clients.admit("192.0.2.1".parse().unwrap(), None).is_some());
        drop((second, third, other));
        assert!(clients.counts.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let same = |one: &str, other: &str| {
            client_of(one.parse().unwrap()) == client_of(other.parse().unwrap())
        };
        assert!(same("2001:db8::1", "2001:db8::ffff:1:2:3"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("::1", "::2") && same("::1", "::1"));
    }
}
