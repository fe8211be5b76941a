//! The hosts that `discover` has seen, and how often.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::limits::DISCOVERED_HOSTS;

#[derive(Debug, Default)]
struct Hosts {
    counts: HashMap<String, u64>,
    /// Connections to hosts beyond the limit.
    others: u64,
}

/// Counts connections and requests by host; all loops share one.
#[derive(Debug)]
pub struct Discovered {
    hosts: Mutex<Hosts>,
    first_seen: Sender<String>,
}

/// What was seen in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Hosts with their counts, most first, then by name.
    pub hosts: Vec<(String, u64)>,
    /// Counts of hosts beyond [`DISCOVERED_HOSTS`], together.
    pub others: u64,
}

impl Discovered {
    /// An empty count, and where each host arrives when it is seen for the first time. No more
    /// than [`DISCOVERED_HOSTS`] ever do.
    pub fn new() -> (Self, Receiver<String>) {
        let (first_seen, receiver) = unbounded();
        (Discovered { hosts: Mutex::default(), first_seen }, receiver)
    }

    /// Counts one connection or request.
    pub fn seen(&self, host: &str) {
        let mut hosts = self.lock();
        if let Some(count) = hosts.counts.get_mut(host) {
            *count += 1;
        } else if hosts.counts.len() < DISCOVERED_HOSTS {
            hosts.counts.insert(host.to_owned(), 1);
            // Where nobody listens any more the table still has it.
            let _ = self.first_seen.send(host.to_owned());
        } else {
            hosts.others += 1;
        }
    }

    /// What was seen so far.
    pub fn table(&self) -> Table {
        let hosts = self.lock();
        let mut all: Vec<_> = hosts.counts.iter().map(|(host, n)| (host.clone(), *n)).collect();
        all.sort_by(|(host_a, a), (host_b, b)| b.cmp(a).then_with(|| host_a.cmp(host_b)));
        Table { hosts: all, others: hosts.others }
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_arrive_once_and_are_counted() {
        let (discovered, first_seen) = Discovered::new();
        for host in ["b", "a", "b", "c", "c", "c"] {
            discovered.seen(host);
        }
        assert_eq!(first_seen.try_iter().collect::<Vec<_>>(), ["b", "a", "c"]);
        let hosts = [("c", 3), ("b", 2), ("a", 1)];
        let hosts = hosts.map(|(host, count)| (host.to_owned(), count)).to_vec();
        assert_eq!(discovered.table(), Table { hosts, others: 0 });
    }

    #[test]
    fn the_number_of_hosts_is_bounded() {
        let (discovered, first_seen) = Discovered::new();
        for number in 0..DISCOVERED_HOSTS + 5 {
            discovered.seen(&number.to_string());
        }
        assert_eq!(first_seen.try_iter().count(), DISCOVERED_HOSTS);
        assert_eq!(discovered.table().others, 5);
    }
}
