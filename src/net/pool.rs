//! Idle upstream connections, by where they lead.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::flow::record::Authority;
use crate::proxy::context::Dial;

/// Where a connection leads and how it is secured. Connections with equal keys are the same to
/// any request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    authority: Arc<Authority>,
    tls: Option<Arc<str>>,
}

impl PoolKey {
    /// The key for a connection to this host and port, with TLS for this server name if any.
    pub(super) fn new(authority: Arc<Authority>, tls: Option<Arc<str>>) -> Self {
        PoolKey { authority, tls }
    }

    /// The host and port it leads to.
    pub(super) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }
}

impl From<&Dial> for PoolKey {
    fn from(dial: &Dial) -> Self {
        PoolKey::new(dial.authority.clone(), dial.tls.clone())
    }
}

/// Idle connections named by `C`.
#[derive(Debug)]
pub(super) struct Pool<C> {
    idle: HashMap<PoolKey, Vec<(Instant, C)>>,
    len: usize,
    max: usize,
    max_per_key: usize,
    keep: Duration,
}

impl<C: Copy + PartialEq> Pool<C> {
    /// A pool of at most `max` connections, `max_per_key` of them to one place, each kept for
    /// `keep`.
    pub(super) fn new(max: usize, max_per_key: usize, keep: Duration) -> Self {
        Pool { idle: HashMap::new(), len: 0, max, max_per_key, keep }
    }

    /// Takes the connection that became idle last before `now`, with the time when it did: it is
    /// the least likely to be stale. One that became idle just now, of whose end the poller had no
    /// chance to tell, is taken only where there is no other.
    pub(super) fn take(&mut self, key: &PoolKey, now: Instant) -> Option<(Instant, C)> {
        let idle = self.idle.get_mut(key)?;
        let before = idle.iter().rposition(|(since, _)| *since != now);
        let taken = match before {
            Some(at) => idle.remove(at),
            None => idle.pop()?,
        };
        self.len = self.len.saturating_sub(1);
        if idle.is_empty() && self.idle.len() > EMPTY_KEYS {
            self.idle.remove(key);
        }
        Some(taken)
    }

    /// Puts an idle connection in. Returns one that has to be closed because there is no room
    /// for it: the oldest to that place, or the new one itself.
    pub(super) fn put(&mut self, key: PoolKey, connection: C, now: Instant) -> Option<C> {
        if self.len >= self.max {
            return Some(connection);
        }
        let idle = self.idle.entry(key).or_default();
        idle.push((now, connection));
        if idle.len() > self.max_per_key {
            return Some(idle.remove(0).1);
        }
        self.len += 1;
        None
    }

    /// Takes one certain connection out, because its server has closed it.
    pub(super) fn remove(&mut self, key: &PoolKey, connection: C) {
        let Some(idle) = self.idle.get_mut(key) else { return };
        let before = idle.len();
        idle.retain(|(_, it)| *it != connection);
        self.len = self.len.saturating_sub(before - idle.len());
        if idle.is_empty() {
            self.idle.remove(key);
        }
    }

    /// Whether a certain connection is in it.
    pub(super) fn contains(&self, key: &PoolKey, connection: C) -> bool {
        self.idle.get(key).is_some_and(|idle| idle.iter().any(|(_, it)| *it == connection))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out all that have been idle for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<C> {
        let keep = self.keep;
        let mut expired = Vec::new();
        self.idle.retain(|_, idle| {
            idle.retain(|(since, connection)| {
                let stays = now.saturating_duration_since(*since) < keep;
                if !stays {
                    expired.push(*connection);
                }
                stays
            });
            !idle.is_empty()
        });
        self.len = self.len.saturating_sub(expired.len());
        expired
    }
}

/// Keys without connections that are kept, because the host in use now is used again at once.
const EMPTY_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: &str, tls: Option<&str>) -> PoolKey {
        let authority = Authority { host: host.to_owned(), port: 443 };
        PoolKey::new(Arc::new(authority), tls.map(Arc::from))
    }

    fn pool(max: usize, max_per_key: usize) -> Pool<u32> {
        Pool::new(max, max_per_key, Duration::from_secs(30))
    }

    #[test]
    fn the_last_in_is_the_first_out_of_its_own_place() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut pool = pool(10, 10);
        pool.put(key("a", None), 1, now);
        pool.put(key("a", Some("a")), 2, now);
        pool.put(key("a", None), 3, now);
        assert!(pool.contains(&key("a", None), 3) && !pool.contains(&key("a", None), 2));
        assert_eq!(pool.take(&key("a", None), later), Some((now, 3)));
        assert_eq!(pool.take(&key("a", None), later), Some((now, 1)));
        assert_eq!(pool.take(&key("a", None), later), None);
        assert_eq!(pool.take(&key("a", Some("b")), later), None);
        assert_eq!(pool.take(&key("a", Some("a")), later), Some((now, 2)));
        assert_eq!(pool.len, 0);
    }

    #[test]
    fn what_became_idle_just_now_is_the_last_to_be_taken() {
        let before = Instant::now();
        let now = before + Duration::from_secs(1);
        let mut pool = pool(10, 10);
        for (connection, since) in [(1, before), (2, before), (3, now), (4, now)] {
            pool.put(key("a", None), connection, since);
        }
        let taken = std::iter::from_fn(|| pool.take(&key("a", None), now));
        assert_eq!(taken.collect::<Vec<_>>(), [(before, 2), (before, 1), (now, 4), (now, 3)]);
    }

    #[test]
    fn both_bounds_hold() {
        let now = Instant::now();
        let mut pool = pool(3, 2);
        assert_eq!(pool.put(key("a", None), 1, now), None);
        assert_eq!(pool.put(key("a", None), 2, now), None);
        assert_eq!(pool.put(key("a", None), 3, now), Some(1));
        assert_eq!(pool.put(key("b", None), 4, now), None);
        assert_eq!(pool.put(key("c", None), 5, now), Some(5));
        assert_eq!(pool.len, 3);
    }

    #[test]
    fn the_idle_ones_expire() {
        let start = Instant::now();
        let mut pool = pool(10, 10);
        pool.put(key("a", None), 1, start);
        pool.put(key("b", None), 2, start + Duration::from_secs(20));
        assert_eq!(pool.expire(start + Duration::from_secs(29)), Vec::<u32>::new());
        assert_eq!(pool.expire(start + Duration::from_secs(31)), [1]);
        pool.remove(&key("b", None), 2);
        assert_eq!(pool.len, 0);
    }
}
