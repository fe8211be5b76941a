//! What all clients share, and a connection of one through the proxy.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;

use super::bodies::Body;
use super::ledger::Ledger;
use super::origin::{HOSTS, Origin};
use super::wire::{Head, Wire};
use crate::support::flowtap::Flowtap;
use crate::support::tls;

/// What went wrong, in words.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Hosts that are asked again and again.
const KNOWN_HOSTS: u64 = 50;
/// How far behind its rate the traffic may be before it gives up catching up.
const BEHIND: Duration = Duration::from_secs(1);

/// Random numbers of one thread, always the same ones.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number below `most`; a splitmix64 generator.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    /// Between two numbers, in which small ones are as frequent as large ones by their length.
    pub(crate) fn size(&mut self, least: u64, most: u64) -> usize {
        let doublings = (most / least).ilog2() + 1;
        let size = least << self.below(u64::from(doublings));
        (size + self.below(size)).min(most) as usize
    }
}

/// What the clients share.
pub(crate) struct World {
    pub(crate) proxy: SocketAddr,
    pub(crate) mcp: SocketAddr,
    pub(crate) origin: Origin,
    pub(crate) ledger: Ledger,
    /// Trusts flowtap's CA.
    pub(crate) trusting: Arc<ClientConfig>,
    /// Trusts the origin itself.
    pub(crate) direct: Arc<ClientConfig>,
    /// Trusts nobody.
    pub(crate) distrusting: Arc<ClientConfig>,
    /// Whether the traffic has ended, for which pauses are cut short.
    ends: Mutex<bool>,
    ended: Condvar,
    hosts: AtomicU64,
    pace: Mutex<Instant>,
    interval: Duration,
}

impl World {
    /// Clients of this proxy, at so many requests a second together.
    pub(crate) fn new(flowtap: &Flowtap, origin: Origin, rate: f64) -> World {
        let ca = fs::read(flowtap.ca()).expect("flowtap's CA");
        // Some sessions are resumed, and most are not.
        let client = |trusted| tls::client(trusted, Resumption::in_memory_sessions(8));
        World {
            proxy: flowtap.address,
            mcp: flowtap.mcp.expect("it serves MCP"),
            ledger: Ledger::default(),
            trusting: client(Some(&ca)),
            direct: client(Some(origin.certificate_pem.as_bytes())),
            distrusting: client(None),
            ends: Mutex::new(false),
            ended: Condvar::new(),
            hosts: AtomicU64::new(KNOWN_HOSTS),
            pace: Mutex::new(Instant::now()),
            interval: Duration::from_secs_f64(1.0 / rate),
            origin,
        }
    }

    fn ends(&self) -> MutexGuard<'_, bool> {
        self.ends.lock().expect("no thread panics with it")
    }

    /// Ends the traffic.
    pub(crate) fn end(&self) {
        *self.ends() = true;
        self.ended.notify_all();
    }

    /// Whether the traffic goes on.
    pub(crate) fn goes_on(&self) -> bool {
        !*self.ends()
    }

    /// Waits for so long, or until the traffic ends; whether it goes on.
    pub(crate) fn pause(&self, length: Duration) -> bool {
        let waited = self.ended.wait_timeout_while(self.ends(), length, |ends| !*ends);
        !*waited.expect("no thread panics with it").0
    }

    /// Waits until the next request is due; whether the traffic goes on.
    pub(crate) fn next_is_due(&self) -> bool {
        let due = {
            let mut next = self.pace.lock().expect("no thread panics with it");
            let now = Instant::now();
            *next = (*next).max(now.checked_sub(BEHIND).unwrap_or(now)) + self.interval;
            *next
        };
        self.pause(due.saturating_duration_since(Instant::now()))
    }

    /// A host that is asked often.
    pub(crate) fn known_host(&self, dice: &mut Dice) -> String {
        format!("h{}.{HOSTS}", dice.below(KNOWN_HOSTS))
    }

    /// A host that nobody has asked yet.
    pub(crate) fn new_host(&self) -> String {
        format!("h{}.{HOSTS}", self.hosts.fetch_add(1, Ordering::Relaxed))
    }

    /// Hosts that were asked so far.
    pub(crate) fn hosts(&self) -> u64 {
        self.hosts.load(Ordering::Relaxed)
    }
}

/// Where a client stands when something goes wrong.
pub(crate) fn at<T>(what: &str, result: io::Result<T>) -> Outcome<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// A client's connection to an origin through the proxy.
pub(crate) struct Route {
    pub(crate) wire: Wire,
    /// The authority of its requests.
    host: String,
    /// Whether requests are in absolute form, as without TLS.
    absolute: bool,
}

impl Route {
    /// To a plain port.
    pub(crate) fn plain(world: &World, port: u16) -> Outcome<Route> {
        let wire = at("connect", Wire::connect(world.proxy))?;
        Ok(Route { wire, host: format!("127.0.0.1:{port}"), absolute: true })
    }

    /// To a host at a port with TLS, which is intercepted.
    pub(crate) fn secure(world: &World, host: String, port: u16) -> Outcome<Route> {
        let wire = at("tunnel", Wire::tunnel(world.proxy, port))?;
        let wire = at("TLS", wire.secure(&world.trusting, &host))?;
        Ok(Route { wire, host, absolute: false })
    }

    /// To the usual ports, with TLS every other time.
    pub(crate) fn any(world: &World, dice: &mut Dice) -> Outcome<Route> {
        match dice.below(2) {
            0 => Route::plain(world, world.origin.plain),
            _ => Route::secure(world, world.known_host(dice), world.origin.secure),
        }
    }

    /// To the origin itself, with TLS.
    pub(crate) fn direct(world: &World) -> Outcome<Route> {
        let address = SocketAddr::from(([127, 0, 0, 1], world.origin.secure));
        let host = format!("h0.{HOSTS}");
        let wire = at("connect", Wire::connect(address))?;
        let wire = at("TLS", wire.secure(&world.direct, &host))?;
        Ok(Route { wire, host, absolute: false })
    }

    /// A request's head.
    pub(crate) fn request(&self, method: &str, path: &str, fields: &str) -> String {
        let host = &self.host;
        let target = if self.absolute { format!("http://{host}{path}") } else { path.to_owned() };
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: flowtap-soak\r\n\
             Accept: */*\r\n{fields}\r\n"
        )
    }

    /// Sends a request without a body.
    pub(crate) fn ask(&mut self, method: &str, path: &str, fields: &str) -> Outcome {
        let request = self.request(method, path, fields);
        at("send", self.wire.send(request))
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) fn answer(&mut self, method: &str, path: &str) -> Outcome<Head> {
        self.ask(method, path, "")?;
        at("head", self.wire.head())
    }

    /// Reads an answer that must have this body, and tells whether the connection stays.
    pub(crate) fn whole(&mut self, id: u64, size: usize) -> Outcome<bool> {
        let head = at("head", self.wire.head())?;
        self.rest(&head, id, size)
    }

    /// Reads the body behind this head, which must be a good one.
    pub(crate) fn rest(&mut self, head: &Head, id: u64, size: usize) -> Outcome<bool> {
        status(head, 200)?;
        let mut body = Body::new(id, size);
        let stays = at(
            "body",
            self.wire.body(head, &mut |bytes| match body.matches(bytes) {
                true => Ok(()),
                false => Err(io::Error::other("another body")),
            }),
        )?;
        if !body.is_done() {
            return Err("the body is too short".to_owned());
        }
        Ok(stays)
    }

    /// Asks and checks the whole answer; whether the connection stays.
    pub(crate) fn get(&mut self, kind: &str, id: u64, size: usize) -> Outcome<bool> {
        self.ask("GET", &format!("/{kind}/{id}/{size}"), "")?;
        self.whole(id, size)
    }

    /// Ends the connection in good order.
    pub(crate) fn close(self) {
        self.wire.close();
    }
}

/// Checks the status of an answer.
pub(crate) fn status(head: &Head, status: u16) -> Outcome {
    match head.status() {
        own if own == status => Ok(()),
        _ => Err(format!("{status} was to come, not {:?}", head.text())),
    }
}
