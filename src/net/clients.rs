//! How many connections each client has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The connections of each client, in all loops.
#[derive(Debug, Default)]
pub(super) struct Clients {
    counts: Mutex<HashMap<IpAddr, Counts>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    served: usize,
    turned_away: usize,
}

impl Counts {
    fn of(&mut self, is_turned_away: bool) -> &mut usize {
        if is_turned_away { &mut self.turned_away } else { &mut self.served }
    }
}

/// One connection of a client, counted as long as this is there.
#[derive(Debug)]
pub(super) struct Place {
    clients: Arc<Clients>,
    client: IpAddr,
    /// Its client has too many: it is only told so.
    pub(super) is_turned_away: bool,
}

impl Clients {
    /// Counts one more connection of the client at this address, of which `most` are served. It
    /// takes a while to tell a client that it has too many; `None` when as many again are told.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, most: Option<usize>) -> Option<Place> {
        let client = client_of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.entry(client).or_default();
        let is_most = |count| most.is_some_and(|most| count >= most);
        let is_turned_away = is_most(counts.served);
        if is_turned_away && is_most(counts.turned_away) {
            return None;
        }
        *counts.of(is_turned_away) += 1;
        Some(Place { clients: self.clone(), client, is_turned_away })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.clients.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = all.get_mut(&self.client) {
            let count = counts.of(self.is_turned_away);
            *count = count.saturating_sub(1);
            if *counts == Counts::default() {
                all.remove(&self.client);
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
        let served = |address: &str| admit(address).filter(|place| !place.is_turned_away);
        let first = served("192.0.2.1").unwrap();
        let second = served("::ffff:192.0.2.1").unwrap();
        assert!(served("192.0.2.1").is_none());
        let other = served("192.0.2.2").unwrap();
        drop(first);
        let third = served("192.0.2.1").unwrap();
        // As many again are told that they are too many, whose places nobody else needs.
        let told = [admit("192.0.2.1").unwrap(), admit("192.0.2.1").unwrap()];
        assert!(told.iter().all(|place| place.is_turned_away));
        assert!(admit("192.0.2.1").is_none());
        drop(second);
        let fourth = served("192.0.2.1").unwrap();
        drop(told);
        assert!(admit("192.0.2.1").unwrap().is_turned_away);
        let any = clients.admit("192.0.2.1".parse().unwrap(), None).unwrap();
        assert!(!any.is_turned_away);
        drop((third, fourth, other, any));
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
