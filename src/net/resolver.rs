//! Names to addresses on helper threads: look-ups block, and the loops must not.
//!
//! One look-up runs for each name however many ask for it, and what it found is remembered for
//! a while. Everything is bounded: threads, waiting names, remembered names.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::fault;
use crate::limits::{
    DIAL_ADDRESSES, RESOLVER_CACHE, RESOLVER_CACHE_NAMES, RESOLVER_QUEUE_NAMES, RESOLVER_THREADS,
};
use crate::names;
use crate::notice::Notices;

use super::lookup;

/// The addresses of a name, or why there are none.
pub(super) type Addresses = Result<Arc<[IpAddr]>, String>;

/// Called on a helper thread when a look-up is done.
type Reply = Box<dyn FnOnce(Addresses) + Send>;
type Lookup = fn(&str) -> Addresses;

/// Whoever asks for a name. When the last clone is dropped, the answer is of no more use.
#[derive(Clone, Debug, Default)]
pub(super) struct Asker(Arc<()>);

#[derive(Default)]
struct Names {
    found: HashMap<String, (Instant, Addresses)>,
    waiting: HashMap<String, Waiting>,
}

/// Those who wait for a name.
#[derive(Default)]
struct Waiting {
    asked: Vec<(Weak<()>, Reply)>,
    /// How many there may be before it is looked who of them has given up.
    most: usize,
}

impl Waiting {
    fn add(&mut self, asker: &Asker, reply: Reply) {
        if self.asked.len() >= self.most {
            self.forget_gone();
            // Twice as many, so that each is looked at about once.
            self.most = (2 * self.asked.len()).max(FEW_ASKERS);
        }
        self.asked.push((Arc::downgrade(&asker.0), reply));
    }

    fn forget_gone(&mut self) {
        self.asked.retain(|(asker, _)| asker.strong_count() > 0);
    }
}

/// So many who wait for a name are not worth a look.
const FEW_ASKERS: usize = 16;

/// The resolver that all loops share.
#[derive(Clone)]
pub(super) struct Resolver {
    names: Arc<Mutex<Names>>,
    queue: Sender<String>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// Starts the helper threads; they end when the last clone is dropped.
    pub(super) fn start(notices: &Notices) -> std::io::Result<Resolver> {
        Self::start_with(usual_lookup(), notices)
    }

    fn start_with(lookup: Lookup, notices: &Notices) -> std::io::Result<Resolver> {
        let (queue, wanted) = bounded(RESOLVER_QUEUE_NAMES);
        let names = Arc::<Mutex<Names>>::default();
        for number in 0..RESOLVER_THREADS {
            let (names, wanted, notices) = (names.clone(), wanted.clone(), notices.clone());
            thread::Builder::new()
                .name(format!("resolver-{number}"))
                .spawn(move || serve(&names, &wanted, lookup, &notices))?;
        }
        Ok(Resolver { names, queue })
    }

    /// Looks a name up. Gives the addresses at once where they are remembered; otherwise calls
    /// `reply` later, on another thread, if `asker` is there as long.
    pub(super) fn lookup(
        &self,
        name: &str,
        now: Instant,
        asker: &Asker,
        reply: impl FnOnce(Addresses) + Send + 'static,
    ) -> Option<Addresses> {
        let mut names = lock(&self.names);
        if let Some((until, addresses)) = names.found.get(name)
            && now < *until
        {
            return Some(addresses.clone());
        }
        if let Some(waiting) = names.waiting.get_mut(name) {
            waiting.add(asker, Box::new(reply));
            return None;
        }
        if self.queue.try_send(name.to_owned()).is_err() {
            return Some(Err("too many names wait to be looked up".to_owned()));
        }
        names.waiting.entry(name.to_owned()).or_default().add(asker, Box::new(reply));
        None
    }
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(names: &Mutex<Names>, wanted: &Receiver<String>, lookup: Lookup, notices: &Notices) {
    fault::watch_thread();
    for name in wanted {
        if !is_awaited(&mut lock(names), &name) {
            continue;
        }
        // Whoever waits for the name must hear of it, and the thread goes on.
        let addresses = fault::catch(|| lookup(&name)).unwrap_or_else(|fault| {
            let reason = format!("the name {name} was not looked up: {}", fault.reason());
            notices.fault(format!("looking up {name}"), fault);
            Err(reason)
        });
        let waiting = {
            let mut names = lock(names);
            let now = Instant::now();
            if addresses.is_ok() {
                make_room(&mut names.found, now);
                names.found.insert(name.clone(), (now + RESOLVER_CACHE, addresses.clone()));
            }
            names.waiting.remove(&name).unwrap_or_default()
        };
        for (_, reply) in waiting.asked {
            reply(addresses.clone());
        }
    }
}

/// Whether anybody still waits for a name that was queued. A slow name server must not have the
/// others wait for names that are of no more use.
fn is_awaited(names: &mut Names, name: &str) -> bool {
    let awaited = names.waiting.get_mut(name).is_some_and(|waiting| {
        waiting.forget_gone();
        !waiting.asked.is_empty()
    });
    if !awaited {
        names.waiting.remove(name);
    }
    awaited
}

/// Forgets what is out of date, and everything when that is not enough: the cache is full only
/// under scans, in which no name comes twice.
fn make_room(found: &mut HashMap<String, (Instant, Addresses)>, now: Instant) {
    if found.len() >= RESOLVER_CACHE_NAMES {
        found.retain(|_, (until, _)| *until > now);
        if found.len() >= RESOLVER_CACHE_NAMES {
            found.clear();
        }
    }
}

/// Looks a name up on this thread.
pub(super) fn look_up(name: &str) -> Addresses {
    usual_lookup()(name)
}

fn usual_lookup() -> Lookup {
    if names::WITHOUT_LIBC { lookup::look_up } else { system_lookup }
}

fn system_lookup(name: &str) -> Addresses {
    let found = (name, 0).to_socket_addrs().map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
        format!("the name {name} cannot be resolved: {text}")
    })?;
    in_turns(name, found.map(|address| address.ip()))
}

/// The addresses of a name in the order in which they are tried.
pub(super) fn in_turns(name: &str, found: impl Iterator<Item = IpAddr>) -> Addresses {
    let addresses = interleave(found);
    if addresses.is_empty() {
        return Err(format!("the name {name} has no addresses"));
    }
    Ok(addresses.into())
}

/// The families in turn, the system's first choice first (RFC 8305 section 4), without repeats.
fn interleave(found: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut first = Vec::new();
    let mut second = Vec::new();
    for address in found {
        let same = first.first().is_none_or(|it: &IpAddr| it.is_ipv4() == address.is_ipv4());
        let family = if same { &mut first } else { &mut second };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let mut all = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let before = all.len();
        all.extend(first.next());
        all.extend(second.next());
        if all.len() == before {
            all.truncate(DIAL_ADDRESSES);
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::testing::DEADLINE;
    use std::net::Ipv4Addr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn start_with(lookup: Lookup) -> Resolver {
        let (notices, _) = Notices::channel(Arc::default());
        Resolver::start_with(lookup, &notices).unwrap()
    }

    #[test]
    fn a_look_up_that_panics_fails_and_its_thread_goes_on() {
        let resolver = start_with(|name| match name {
            "good" => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)].into()),
            _ => panic!("no look-up"),
        });
        let (sender, receiver) = crossbeam_channel::unbounded();
        let asker = Asker::default();
        let ask = |name: &str| {
            let sender = sender.clone();
            let asked =
                resolver.lookup(name, Instant::now(), &asker, move |it| sender.send(it).unwrap());
            assert!(asked.is_none());
            receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap()
        };
        for number in 0..2 * RESOLVER_THREADS {
            let reason = ask(&format!("bad-{number}")).unwrap_err();
            assert!(reason.contains("bad-") && reason.contains("no look-up"), "{reason}");
        }
        assert!(ask("good").is_ok());
    }

    #[test]
    fn names_that_nobody_waits_for_any_more_are_not_looked_up() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        static GATE: OnceLock<(Sender<()>, Receiver<()>)> = OnceLock::new();
        let (enter, entered) = crossbeam_channel::unbounded();
        let (go, wait) = crossbeam_channel::unbounded::<()>();
        GATE.set((enter, wait)).unwrap();
        let resolver = start_with(|_| {
            let (enter, wait) = GATE.get().unwrap();
            CALLS.fetch_add(1, Ordering::SeqCst);
            enter.send(()).unwrap();
            let _ = wait.recv_timeout(DEADLINE);
            Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)].into())
        });
        let (sender, receiver) = crossbeam_channel::unbounded();
        let ask = |name: &str, asker: &Asker| {
            let sender = sender.clone();
            let asked = resolver
                .lookup(name, Instant::now(), asker, move |it| sender.send(it.is_ok()).unwrap());
            assert!(asked.is_none());
        };
        let (stays, goes) = (Asker::default(), Asker::default());
        for number in 0..RESOLVER_THREADS {
            ask(&format!("slow-{number}"), &goes);
            entered.recv_timeout(DEADLINE).unwrap();
        }
        for number in 0..100 {
            ask(&format!("given-up-{number}"), &goes);
        }
        ask("given-up-0", &stays);
        ask("wanted", &stays);
        drop(goes);
        (0..RESOLVER_THREADS + 2).for_each(|_| go.send(()).unwrap());
        // Those that were under way, and the two that somebody waits for.
        for _ in 0..RESOLVER_THREADS + 2 {
            assert!(receiver.recv_timeout(DEADLINE).unwrap());
        }
        assert_eq!(CALLS.load(Ordering::SeqCst), RESOLVER_THREADS + 2);
        (0..2).for_each(|_| entered.recv_timeout(DEADLINE).unwrap());
        // When all threads have come to these, none has another name in its hands.
        for number in 0..RESOLVER_THREADS {
            ask(&format!("last-{number}"), &stays);
            entered.recv_timeout(DEADLINE).unwrap();
        }
        assert!(lock(&resolver.names).waiting.keys().all(|name| name.starts_with("last-")));
        (0..RESOLVER_THREADS).for_each(|_| go.send(()).unwrap());
    }

    #[test]
    fn those_who_have_given_up_are_not_kept() {
        let resolver = start_with(|_| {
            loop {
                thread::park();
            }
        });
        let stays = Asker::default();
        assert!(resolver.lookup("name", Instant::now(), &stays, |_| ()).is_none());
        for _ in 0..10_000 {
            let goes = Asker::default();
            assert!(resolver.lookup("name", Instant::now(), &goes, |_| ()).is_none());
        }
        let kept = lock(&resolver.names).waiting.get("name").map_or(0, |it| it.asked.len());
        assert!((1..100).contains(&kept), "{kept}");
    }

    #[test]
    fn families_take_turns() {
        let ips =
            |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let found = ips(&["::1", "::2", "::2", "127.0.0.1", "::3"]);
        assert_eq!(interleave(found.into_iter()), ips(&["::1", "127.0.0.1", "::2", "::3"]));
    }

    #[test]
    fn one_look_up_serves_all_who_wait_and_is_remembered() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let lookup: Lookup = |_| {
            CALLS.fetch_add(1, Ordering::SeqCst);
            Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)].into())
        };
        let resolver = start_with(lookup);
        let (sender, receiver) = crossbeam_channel::unbounded();
        let asker = Asker::default();
        let mut expected = 0;
        for _ in 0..100 {
            let sender = sender.clone();
            let now = Instant::now();
            let asked =
                resolver.lookup("name", now, &asker, move |found| sender.send(found).unwrap());
            expected += usize::from(asked.is_none());
        }
        for _ in 0..expected {
            assert!(receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap().is_ok());
        }
        assert!(resolver.lookup("name", Instant::now(), &asker, |_| ()).is_some());
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut found = HashMap::new();
        let now = Instant::now();
        for number in 0..RESOLVER_CACHE_NAMES * 2 {
            make_room(&mut found, now);
            found.insert(number.to_string(), (now + RESOLVER_CACHE, Err(String::new())));
            assert!(found.len() <= RESOLVER_CACHE_NAMES);
        }
    }

    #[test]
    fn a_name_that_does_not_exist_is_named_in_the_error() {
        let error = system_lookup("name.invalid").unwrap_err();
        assert!(error.contains("name.invalid"), "{error}");
    }
}
