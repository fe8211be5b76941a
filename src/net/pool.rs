//! Idle upstream connections, by where they lead.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::flow::record::Authority;
use crate::limits::POOL_IDLE_MARGIN;
use crate::net::event_loop::ConnKey;
use crate::proxy::context::{Dial, Via};

/// Where a connection leads, how it is secured, which way it goes and for whom. Connections with
/// equal keys are the same to any request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PoolKey {
    authority: Arc<Authority>,
    tls: Option<Arc<str>>,
    via: Via,
    /// The client's connection that alone may use it.
    owner: Option<ConnKey>,
}

impl Hash for PoolKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The way is the same for nearly all.
        self.authority.hash(state);
        self.tls.hash(state);
        if let Some(owner) = self.owner {
            owner.hash(state);
        }
    }
}

impl PoolKey {
    /// The key for a connection to this host and port, with TLS for this server name if any. A
    /// proxy that takes requests in absolute form takes them for all hosts.
    pub(super) fn new(authority: Arc<Authority>, tls: Option<Arc<str>>, via: Via) -> Self {
        let authority = match &via {
            Via::Forward(proxy) => proxy.authority.clone(),
            Via::Direct | Via::Tunnel(_) => authority,
        };
        PoolKey { authority, tls, via, owner: None }
    }

    /// The same for one client's connection alone, and for this host alone, also where a proxy
    /// takes requests for all.
    pub(super) fn owned_by(self, owner: ConnKey, authority: Arc<Authority>) -> Self {
        PoolKey { authority, owner: Some(owner), ..self }
    }

    /// Whether one client's connection alone may use it.
    pub(super) fn is_owned(&self) -> bool {
        self.owner.is_some()
    }

    /// The way that it goes.
    pub(super) fn via(&self) -> &Via {
        &self.via
    }

    /// The host and port it leads to.
    pub(super) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }
}

impl From<&Dial> for PoolKey {
    fn from(dial: &Dial) -> Self {
        PoolKey::new(dial.authority.clone(), dial.tls.clone(), dial.via.clone())
    }
}

/// An idle connection.
#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Instant,
    /// From then on its server may close it at any moment.
    until: Instant,
}

/// Idle connections named by `C`.
#[derive(Debug)]
pub(super) struct Pool<C> {
    idle: HashMap<PoolKey, Vec<Idle<C>>>,
    len: usize,
    /// Those of them that have an owner.
    owned: usize,
    max: usize,
    max_per_key: usize,
    keep: Duration,
}

impl<C: Copy + PartialEq> Pool<C> {
    /// A pool of at most `max` connections that all clients share and as many that have an owner,
    /// `max_per_key` of them to one place, each kept for `keep` at the most.
    pub(super) fn new(max: usize, max_per_key: usize, keep: Duration) -> Self {
        Pool { idle: HashMap::new(), len: 0, owned: 0, max, max_per_key, keep }
    }

    /// Takes the connection that became idle last before `now`, with the time when it did: it is
    /// the least likely to be stale. One that became idle just now, of whose end the poller had no
    /// chance to tell, is taken only where there is no other. One whose time is over is left to
    /// [`Pool::expire`].
    pub(super) fn take(&mut self, key: &PoolKey, now: Instant) -> Option<(Instant, C)> {
        let idle = self.idle.get_mut(key)?;
        let before = idle.iter().rposition(|it| it.since != now && now < it.until);
        let at = before.or_else(|| idle.iter().rposition(|it| now < it.until))?;
        let taken = idle.remove(at);
        if idle.is_empty() && self.idle.len() > EMPTY_KEYS {
            self.idle.remove(key);
        }
        self.count_out(key.is_owned(), 1);
        Some((taken.since, taken.connection))
    }

    /// Puts an idle connection in, where the pool may have `most` now; `stated` is how long its
    /// server says that it keeps it. Returns one that has to be closed because there is no room
    /// for it: the one that has been idle the longest, which is the least likely to be alive, to
    /// that place or of all that are shared or owned as this one is; or this one, where its server
    /// leaves no time.
    pub(super) fn put(
        &mut self,
        key: PoolKey,
        connection: C,
        most: usize,
        stated: Option<Duration>,
        now: Instant,
    ) -> Option<C> {
        let most = self.max.min(most);
        let keep = stated.map_or(self.keep, |stated| self.keep.min(usable(stated)));
        if most == 0 || keep.is_zero() {
            return Some(connection);
        }
        let is_owned = key.is_owned();
        let idle = self.idle.entry(key).or_default();
        idle.push(Idle { connection, since: now, until: now + keep });
        if idle.len() > self.max_per_key {
            return Some(idle.remove(0).connection);
        }
        self.len += 1;
        self.owned += usize::from(is_owned);
        // A login under way is lost with its connection, whatever others ask for meanwhile.
        let count = if is_owned { self.owned } else { self.len.saturating_sub(self.owned) };
        if count > most { self.take_first(|key| key.is_owned() == is_owned) } else { None }
    }

    /// Takes the connection that has been idle the longest.
    pub(super) fn take_oldest(&mut self) -> Option<C> {
        self.take_first(|_| true)
    }

    fn take_first(&mut self, among: impl Fn(&PoolKey) -> bool) -> Option<C> {
        let among = self.idle.iter().filter(|(key, _)| among(key));
        let firsts = among.filter_map(|(key, idle)| Some((idle.first()?.since, key)));
        let key = firsts.min_by_key(|(since, _)| *since)?.1.clone();
        let idle = self.idle.get_mut(&key)?;
        let oldest = idle.remove(0).connection;
        if idle.is_empty() {
            // Places that nobody asks for again would be looked at each time.
            self.idle.remove(&key);
        }
        self.count_out(key.is_owned(), 1);
        Some(oldest)
    }

    /// Takes one certain connection out, because its server has closed it.
    pub(super) fn remove(&mut self, key: &PoolKey, connection: C) {
        let Some(idle) = self.idle.get_mut(key) else { return };
        let before = idle.len();
        idle.retain(|it| it.connection != connection);
        let removed = before - idle.len();
        if idle.is_empty() {
            self.idle.remove(key);
        }
        self.count_out(key.is_owned(), removed);
    }

    /// Takes out all that one client's connection alone may use.
    pub(super) fn take_owned(&mut self, owner: ConnKey) -> Vec<C> {
        let owned = self.idle.extract_if(|key, _| key.owner == Some(owner));
        let taken: Vec<C> = owned.flat_map(|(_, idle)| idle).map(|it| it.connection).collect();
        self.count_out(true, taken.len());
        taken
    }

    /// Whether a certain connection is in it.
    pub(super) fn contains(&self, key: &PoolKey, connection: C) -> bool {
        self.idle.get(key).is_some_and(|idle| idle.iter().any(|it| it.connection == connection))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out all that have been idle for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<C> {
        let mut expired = Vec::new();
        let mut owned = 0;
        self.idle.retain(|key, idle| {
            let before = expired.len();
            idle.retain(|it| {
                let stays = now < it.until;
                if !stays {
                    expired.push(it.connection);
                }
                stays
            });
            if key.is_owned() {
                owned += expired.len() - before;
            }
            !idle.is_empty()
        });
        self.count_out(true, owned);
        self.count_out(false, expired.len() - owned);
        expired
    }

    fn count_out(&mut self, is_owned: bool, count: usize) {
        self.len = self.len.saturating_sub(count);
        if is_owned {
            self.owned = self.owned.saturating_sub(count);
        }
    }
}

/// How much of the time that a server states a connection is used.
fn usable(stated: Duration) -> Duration {
    stated.saturating_sub(POOL_IDLE_MARGIN.min(stated / 2))
}

/// Keys without connections that are kept, because the host in use now is used again at once.
const EMPTY_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: &str, tls: Option<&str>) -> PoolKey {
        let authority = Authority { host: host.to_owned(), port: 443 };
        PoolKey::new(Arc::new(authority), tls.map(Arc::from), Via::Direct)
    }

    fn pool(max: usize, max_per_key: usize) -> Pool<u32> {
        Pool::new(max, max_per_key, Duration::from_secs(30))
    }

    #[test]
    fn the_last_in_is_the_first_out_of_its_own_place() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut pool = pool(10, 10);
        pool.put(key("a", None), 1, 9, None, now);
        pool.put(key("a", Some("a")), 2, 9, None, now);
        pool.put(key("a", None), 3, 9, None, now);
        assert!(pool.contains(&key("a", None), 3) && !pool.contains(&key("a", None), 2));
        assert_eq!(pool.take(&key("a", None), later), Some((now, 3)));
        assert_eq!(pool.take(&key("a", None), later), Some((now, 1)));
        assert_eq!(pool.take(&key("a", None), later), None);
        assert_eq!(pool.take(&key("a", Some("b")), later), None);
        assert_eq!(pool.take(&key("a", Some("a")), later), Some((now, 2)));
        assert_eq!(pool.len, 0);
    }

    #[test]
    fn owned_and_shared_connections_take_no_place_from_each_other() {
        let (mut pool, now) = (pool(2, 9), Instant::now());
        let owner = ConnKey::from_bits(1);
        let owned = |host| {
            let authority = Arc::new(Authority { host: String::from(host), port: 443 });
            key(host, None).owned_by(owner, authority)
        };
        assert_eq!(pool.put(owned("a"), 1, usize::MAX, None, now), None);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(pool.put(key("b", None), 2, 1, None, at(1)), None);
        assert_eq!(pool.put(key("b", None), 3, 1, None, at(2)), Some(2));
        assert_eq!(pool.put(owned("b"), 4, usize::MAX, None, at(3)), None);
        assert_eq!(pool.put(owned("c"), 5, usize::MAX, None, at(4)), Some(1));
        // Where descriptors are wanted, any will do.
        assert_eq!(pool.take_oldest(), Some(3));
        assert_eq!(pool.take(&owned("b"), at(5)), Some((at(3), 4)));
        assert_eq!(pool.put(owned("d"), 6, usize::MAX, None, at(5)), None);
        let mut rest = pool.take_owned(owner);
        rest.sort_unstable();
        assert_eq!((rest, pool.is_empty(), pool.owned), (vec![5, 6], true, 0));
    }

    #[test]
    fn connections_that_go_different_ways_are_different() {
        let proxy = |url| Arc::new(crate::upstream::UpstreamProxy::parse(url).unwrap());
        let to = |host: &str, via| {
            PoolKey::new(Arc::new(Authority { host: host.to_owned(), port: 80 }), None, via)
        };
        let (one, other) = (proxy("http://one:1"), proxy("http://other:1"));
        let tunnel = to("a", Via::Tunnel(one.clone()));
        assert_ne!(tunnel, to("a", Via::Direct));
        assert_ne!(tunnel, to("a", Via::Tunnel(other)));
        assert_ne!(tunnel, to("a", Via::Tunnel(proxy("http://user:word@one:1"))));
        assert_eq!(tunnel, to("a", Via::Tunnel(proxy("http://one:1"))));
        let forward = to("a", Via::Forward(one.clone()));
        assert_ne!(tunnel, forward);
        assert_eq!(forward, to("b", Via::Forward(one)));
        let (mut pool, now) = (pool(10, 10), Instant::now());
        pool.put(tunnel.clone(), 1, 9, None, now);
        assert_eq!(pool.take(&to("a", Via::Direct), now), None);
        assert_eq!(pool.take(&tunnel, now), Some((now, 1)));
    }

    #[test]
    fn what_has_an_owner_is_taken_by_nobody_else() {
        let conns = [1, 2].map(ConnKey::from_bits);
        let own = |host: &str, owner| {
            let authority = Arc::new(Authority { host: host.to_owned(), port: 443 });
            key("a", None).owned_by(owner, authority)
        };
        let (mut pool, now) = (pool(10, 10), Instant::now());
        for (number, owner) in (1..).zip(conns) {
            pool.put(own("a", owner), number, 9, None, now);
        }
        pool.put(own("b", conns[0]), 3, 9, None, now);
        pool.put(key("a", None), 4, 9, None, now);
        assert_eq!(pool.take(&own("a", conns[1]), now), Some((now, 2)));
        assert_eq!(pool.take(&own("a", conns[1]), now), None);
        assert_eq!(pool.take(&key("a", None), now), Some((now, 4)));
        assert_eq!(pool.take(&key("a", None), now), None);
        assert_eq!(pool.take_owned(conns[1]), [0; 0]);
        let mut rest = pool.take_owned(conns[0]);
        rest.sort_unstable();
        assert_eq!((rest, pool.is_empty()), (vec![1, 3], true));
    }

    #[test]
    fn what_became_idle_just_now_is_the_last_to_be_taken() {
        let before = Instant::now();
        let now = before + Duration::from_secs(1);
        let mut pool = pool(10, 10);
        for (connection, since) in [(1, before), (2, before), (3, now), (4, now)] {
            pool.put(key("a", None), connection, 9, None, since);
        }
        let taken = std::iter::from_fn(|| pool.take(&key("a", None), now));
        assert_eq!(taken.collect::<Vec<_>>(), [(before, 2), (before, 1), (now, 4), (now, 3)]);
    }

    #[test]
    fn both_bounds_hold() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut pool = pool(3, 2);
        let mut put = |host, connection, most| {
            let surplus = pool.put(key(host, None), connection, most, None, at(connection.into()));
            (surplus, pool.len)
        };
        assert_eq!(put("a", 1, 9), (None, 1));
        assert_eq!(put("a", 2, 9), (None, 2));
        assert_eq!(put("a", 3, 9), (Some(1), 2));
        assert_eq!(put("b", 4, 9), (None, 3));
        // The one that has been idle the longest makes room, wherever it leads.
        assert_eq!(put("c", 5, 9), (Some(2), 3));
        assert_eq!(put("c", 6, 2), (Some(3), 3));
        assert_eq!(put("d", 7, 0), (Some(7), 3));
        let taken = std::iter::from_fn(|| pool.take_oldest());
        assert_eq!(taken.collect::<Vec<_>>(), [4, 5, 6]);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_connection_is_used_for_less_time_than_its_server_states() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for (stated, usable) in [(5, 4_000), (2, 1_000), (1, 500), (31, 30_000), (u64::MAX, 30_000)]
        {
            let mut pool = pool(10, 10);
            let mut put = |connection, stated| {
                let stated = Some(Duration::from_secs(stated));
                assert_eq!(pool.put(key("a", None), connection, 9, stated, start), None);
            };
            (1..=3).for_each(|connection| put(connection, stated));
            assert_eq!(pool.take(&key("a", None), start), Some((start, 3)));
            assert_eq!(pool.take(&key("a", None), at(usable - 1)), Some((start, 2)), "{stated}");
            assert_eq!(pool.expire(at(usable - 1)), Vec::<u32>::new());
            assert_eq!(pool.take(&key("a", None), at(usable)), None, "{stated}");
            assert_eq!(pool.expire(at(usable)), [1]);
            assert!(pool.is_empty());
        }
        // The time that is left counts, and not which came last.
        let mut pool = pool(10, 10);
        for (connection, stated) in [(1, None), (2, Some(Duration::from_secs(1)))] {
            pool.put(key("a", None), connection, 9, stated, start);
        }
        assert_eq!(pool.take(&key("a", None), at(500)), Some((start, 1)));
        assert_eq!(pool.take(&key("a", None), at(500)), None);
        let none = Some(Duration::ZERO);
        assert_eq!(pool.put(key("a", None), 3, 9, none, at(500)), Some(3));
        assert_eq!(pool.expire(at(500)), [2]);
        assert!(pool.is_empty());
    }

    #[test]
    fn the_idle_ones_expire() {
        let start = Instant::now();
        let mut pool = pool(10, 10);
        pool.put(key("a", None), 1, 9, None, start);
        pool.put(key("b", None), 2, 9, None, start + Duration::from_secs(20));
        assert_eq!(pool.expire(start + Duration::from_secs(29)), Vec::<u32>::new());
        assert_eq!(pool.expire(start + Duration::from_secs(31)), [1]);
        pool.remove(&key("b", None), 2);
        assert_eq!(pool.len, 0);
    }
}
