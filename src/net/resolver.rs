//! Names to addresses on helper threads: look-ups block, and the loops must not.
//!
//! One look-up runs for each name however many ask for it, and what it found is remembered for
//! a while. Everything is bounded: threads, waiting names, remembered names. Threads are started
//! when names wait, so that some whose name server is silent do not hold up all others.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use crate::fault;
use crate::limits::{
    DIAL_ADDRESSES, RESOLVER_CACHE, RESOLVER_CACHE_NAMES, RESOLVER_FAILURE, RESOLVER_QUEUE_NAMES,
    RESOLVER_THREAD_IDLE, RESOLVER_THREADS,
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
    /// Names that no thread has taken so far.
    queue: VecDeque<String>,
    /// Threads that there are.
    threads: usize,
    /// Those of them that wait for a name.
    idle: usize,
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

/// The resolver that all loops share. Its threads end when they have had nothing to do for
/// [`RESOLVER_THREAD_IDLE`].
#[derive(Clone)]
pub(super) struct Resolver {
    shared: Arc<Shared>,
}

/// What the resolver's handles and threads share.
struct Shared {
    names: Mutex<Names>,
    queued: Condvar,
    lookup: Lookup,
    notices: Notices,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver without a thread so far.
    pub(super) fn new(notices: &Notices) -> Resolver {
        Self::with(usual_lookup(), notices)
    }

    fn with(lookup: Lookup, notices: &Notices) -> Resolver {
        let (names, queued) = Default::default();
        Resolver { shared: Arc::new(Shared { names, queued, lookup, notices: notices.clone() }) }
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
        let mut names = lock(&self.shared.names);
        if let Some((until, addresses)) = names.found.get(name)
            && now < *until
        {
            return Some(addresses.clone());
        }
        if let Some(waiting) = names.waiting.get_mut(name) {
            waiting.add(asker, Box::new(reply));
            return None;
        }
        if names.queue.len() >= RESOLVER_QUEUE_NAMES {
            return Some(Err("too many names wait to be looked up".to_owned()));
        }
        if let Err(error) = self.provide_thread(&mut names) {
            return Some(Err(format!("no thread can be started to look names up: {error}")));
        }
        names.queue.push_back(name.to_owned());
        names.waiting.entry(name.to_owned()).or_default().add(asker, Box::new(reply));
        self.shared.queued.notify_one();
        None
    }

    /// Starts a thread for one more name, if none is free for it and there may be more.
    fn provide_thread(&self, names: &mut Names) -> std::io::Result<()> {
        if names.queue.len() < names.idle || names.threads >= RESOLVER_THREADS {
            return Ok(());
        }
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name("resolver".to_owned());
        match thread.spawn(move || shared.serve()) {
            Ok(_) => names.threads += 1,
            Err(error) if names.threads == 0 => return Err(error),
            // Those that there are look the name up in their time.
            Err(_) => {}
        }
        Ok(())
    }
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn serve(&self) {
        fault::watch_thread();
        while let Some(name) = self.next() {
            self.look_up(&name);
        }
    }

    /// The next name that somebody waits for; `None` where this thread is needed no more.
    fn next(&self) -> Option<String> {
        let mut names = lock(&self.names);
        loop {
            while let Some(name) = names.queue.pop_front() {
                if is_awaited(&mut names, &name) {
                    return Some(name);
                }
            }
            names.idle += 1;
            let nothing = |names: &mut Names| names.queue.is_empty();
            let waited = self.queued.wait_timeout_while(names, RESOLVER_THREAD_IDLE, nothing);
            names = waited.unwrap_or_else(PoisonError::into_inner).0;
            names.idle -= 1;
            if names.queue.is_empty() {
                names.threads -= 1;
                return None;
            }
        }
    }

    fn look_up(&self, name: &str) {
        let began = Instant::now();
        // Whoever waits for the name must hear of it, and the thread goes on.
        let addresses = fault::catch(|| (self.lookup)(name)).unwrap_or_else(|fault| {
            let reason = format!("the name {name} was not looked up: {}", fault.reason());
            self.notices.fault(format!("looking up {name}"), fault);
            Err(reason)
        });
        let waiting = {
            let mut names = lock(&self.names);
            remember(&mut names.found, name, &addresses, began, Instant::now());
            names.waiting.remove(name).unwrap_or_default()
        };
        for (_, reply) in waiting.asked {
            reply(addresses.clone());
        }
    }
}

/// Remembers what a look-up has found. A failure that took long has met a silent name server,
/// which clients who try again at once would only have more threads wait for.
fn remember(
    found: &mut HashMap<String, (Instant, Addresses)>,
    name: &str,
    addresses: &Addresses,
    began: Instant,
    now: Instant,
) {
    let keep = match addresses {
        Ok(_) => RESOLVER_CACHE,
        Err(_) if now.saturating_duration_since(began) >= RESOLVER_FAILURE => RESOLVER_FAILURE,
        Err(_) => return,
    };
    make_room(found, now);
    found.insert(name.to_owned(), (now + keep, addresses.clone()));
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
    use crossbeam_channel::{Receiver, Sender};
    use std::net::Ipv4Addr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn start_with(lookup: Lookup) -> Resolver {
        let (notices, _) = Notices::channel(Arc::default());
        Resolver::with(lookup, &notices)
    }

    #[track_caller]
    fn wait_until(resolver: &Resolver, holds: impl Fn(&Names) -> bool) {
        let begun = Instant::now();
        loop {
            let names = lock(&resolver.shared.names);
            if holds(&names) {
                return;
            }
            let state = (names.threads, names.idle, names.queue.len());
            drop(names);
            assert!(begun.elapsed() < DEADLINE, "threads, free ones, names: {state:?}");
            thread::yield_now();
        }
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
    fn names_of_a_silent_name_server_do_not_hold_up_others() {
        let resolver = start_with(|name| match name {
            "good" => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)].into()),
            _ => loop {
                thread::park();
            },
        });
        assert_eq!(lock(&resolver.shared.names).threads, 0);
        let (sender, receiver) = crossbeam_channel::unbounded();
        let asker = Asker::default();
        let ask = |name: &str| {
            let sender = sender.clone();
            resolver.lookup(name, Instant::now(), &asker, move |it| sender.send(it).unwrap())
        };
        for number in 0..RESOLVER_THREADS - 1 {
            assert!(ask(&format!("silent-{number}")).is_none());
        }
        assert!(ask("good").is_none());
        assert!(receiver.recv_timeout(DEADLINE).unwrap().is_ok());
        assert!(ask("silent-last").is_none());
        // Until the thread that was free has taken it, it has a place among those that wait.
        wait_until(&resolver, |names| names.threads == RESOLVER_THREADS && names.queue.is_empty());
        // More names than there may be threads wait.
        for number in 0..RESOLVER_QUEUE_NAMES {
            assert!(ask(&format!("more-{number}")).is_none());
        }
        let refused = (0..).find_map(|number| ask(&format!("last-{number}"))).unwrap();
        assert!(refused.unwrap_err().contains("too many names"));
        let names = lock(&resolver.shared.names);
        assert_eq!((names.threads, names.idle), (RESOLVER_THREADS, 0));
        assert_eq!(names.queue.len(), RESOLVER_QUEUE_NAMES);
    }

    #[test]
    fn a_thread_that_is_free_looks_the_next_name_up_and_ends_when_there_is_none() {
        let resolver = start_with(|_| Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)].into()));
        let (sender, receiver) = crossbeam_channel::unbounded();
        let asker = Asker::default();
        let state = |wanted: (usize, usize)| {
            wait_until(&resolver, |names| (names.threads, names.idle) == wanted);
        };
        for number in 0..2 * RESOLVER_THREADS {
            let sender = sender.clone();
            let reply = move |it: Addresses| sender.send(it.is_ok()).unwrap();
            let asked = resolver.lookup(&format!("name-{number}"), Instant::now(), &asker, reply);
            assert!(asked.is_none());
            assert!(receiver.recv_timeout(DEADLINE).unwrap());
            state((1, 1));
        }
        state((0, 0));
    }

    #[test]
    fn a_failure_that_took_long_is_remembered_for_a_moment() {
        let resolver = start_with(|_| Err("it does not exist".to_owned()));
        let (now, asker) = (Instant::now(), Asker::default());
        let failed: Addresses = Err("no answer".to_owned());
        let long = RESOLVER_FAILURE;
        let short = long - std::time::Duration::from_millis(1);
        {
            let found = &mut lock(&resolver.shared.names).found;
            remember(found, "slow", &failed, now, now + long);
            remember(found, "quick", &failed, now, now + short);
        }
        let ask = |name: &str, now| resolver.lookup(name, now, &asker, |_| ());
        assert_eq!(ask("slow", now + long + short), Some(failed));
        assert_eq!(ask("slow", now + long + long), None);
        assert_eq!(ask("quick", now + short), None);
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
        assert!(lock(&resolver.shared.names).waiting.keys().all(|name| name.starts_with("last-")));
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
        let kept = lock(&resolver.shared.names).waiting.get("name").map_or(0, |it| it.asked.len());
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
