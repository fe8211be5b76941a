//! The load: requests over many client connections through flowtap, as many as it answers or at a
//! rate.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Poll};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::flowtap::Flowtap;
use super::head::head_end;
use super::link::{Link, READ_BYTES, wait};
use super::origin::{Origins, host_name};
use super::tls;

/// How long an answer may take.
const SILENCE: Duration = Duration::from_secs(20);
/// For how long nothing is looked at while the next request is not due.
const NAP: Duration = Duration::from_micros(20);

/// The way to the origin.
#[derive(Clone)]
pub(crate) struct Target {
    /// A flowtap; `None` goes to the origin without one.
    proxy: Option<SocketAddr>,
    origin: String,
    /// TLS inside a tunnel; `None` asks in absolute form.
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// The origin with TLS or without. Sessions are not resumed, so every connection pays for its
    /// handshake.
    pub(crate) fn new(flowtap: &Flowtap, secure: bool, origins: &Origins) -> Target {
        let trusted = secure.then(|| fs::read(flowtap.ca()).expect("flowtap's CA"));
        let tls = trusted.map(|pem| tls::client(Some(&pem), Resumption::disabled()));
        let origin = format!("127.0.0.1:{}", origins.port(secure));
        Target { proxy: Some(flowtap.address), origin, tls }
    }

    /// The origin with TLS, without a flowtap.
    pub(crate) fn direct(origins: &Origins) -> Target {
        let trusted = Some(origins.certificate_pem.as_bytes());
        let tls = Some(tls::client(trusted, Resumption::disabled()));
        Target { proxy: None, origin: format!("127.0.0.1:{}", origins.port(true)), tls }
    }
}

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// The path that the origin understands: a number of bytes, `/close/` before it for an
    /// upstream connection of its own.
    pub(crate) path: &'static str,
    /// Client connections.
    pub(crate) connections: usize,
    /// Requests under way at the same time; the connections take turns.
    pub(crate) under_way: usize,
    /// A new connection for each request.
    pub(crate) fresh: bool,
    /// New connections go to so many hosts in turn, which differ in their names; TLS only.
    pub(crate) hosts: u64,
}

/// What came of a run.
pub(crate) struct Answered {
    /// Answers that came whole.
    pub(crate) count: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Microseconds of each, with connecting where it was needed, the shortest first.
    latencies_us: Vec<u32>,
}

impl Answered {
    /// The time in which this share of the requests was answered, in ms.
    pub(crate) fn within_ms(&self, share: f64) -> f64 {
        let at = (self.latencies_us.len() as f64 * share) as usize;
        self.latencies_us.get(at).map_or(0.0, |us| f64::from(*us) / 1e3)
    }
}

/// Client connections and what is asked on them.
pub(crate) struct Load {
    target: Target,
    plan: Plan,
    poll: Poll,
    clients: Vec<Client>,
    /// Clients that have nothing to do, in the order in which they are asked next.
    idle: VecDeque<usize>,
    scratch: Vec<u8>,
    next_host: u64,
    /// From one request to the next; `None` asks as soon as it may.
    interval: Option<Duration>,
}

#[derive(Default)]
struct Client {
    link: Option<Link>,
    request: Vec<u8>,
    input: Vec<u8>,
    stage: Stage,
    since: Option<Instant>,
}

#[derive(Default, PartialEq)]
enum Stage {
    #[default]
    Idle,
    /// CONNECT was sent, for this host.
    Tunnel(String),
    /// A request was sent, and the head of its answer has not come.
    Head,
    /// So much of the body has not come.
    Body(usize),
}

impl Load {
    /// Opens the connections, with one request on each, unless each request has a new one.
    pub(crate) fn open(target: &Target, plan: Plan) -> Load {
        let mut load = Load {
            target: target.clone(),
            plan,
            poll: Poll::new().expect("a poller"),
            clients: (0..plan.connections).map(|_| Client::default()).collect(),
            idle: (0..plan.connections).collect(),
            scratch: vec![0; READ_BYTES],
            next_host: 0,
            interval: None,
        };
        if !plan.fresh {
            load.run(plan.connections as u64, Duration::MAX);
        }
        load
    }

    /// Asks at this rate from now on. Answers are waited for from the time at which a request was
    /// due, even where it was late because too many were under way.
    pub(crate) fn set_rate(&mut self, a_second: f64) {
        self.interval = Some(Duration::from_secs_f64(1.0 / a_second));
    }

    /// Makes so many requests, fewer when `time` is up before. Any failure ends the benchmark.
    pub(crate) fn run(&mut self, count: u64, time: Duration) -> Answered {
        let mut events = Events::with_capacity(1_024);
        let start = Instant::now();
        let (mut left, mut under_way) = (count, 0);
        let mut latencies_us = Vec::new();
        loop {
            if start.elapsed() >= time {
                left = 0;
            }
            let mut due = None;
            while left > 0 && under_way < self.plan.under_way {
                let now = Instant::now();
                let asked = u32::try_from(count - left).unwrap_or(u32::MAX);
                let since = self.interval.map_or(now, |interval| start + interval * asked);
                if since > now {
                    due = Some(since - now);
                    break;
                }
                let Some(at) = self.idle.pop_front() else { break };
                self.ask(at, since).expect("a request through flowtap");
                left -= 1;
                under_way += 1;
            }
            if under_way == 0 && left == 0 {
                latencies_us.sort_unstable();
                let count = latencies_us.len() as u64;
                return Answered { count, took: start.elapsed(), latencies_us };
            }
            // The poller waits for whole milliseconds.
            let time = if due.is_some() { Duration::ZERO } else { SILENCE };
            wait(&mut self.poll, &mut events, Some(time));
            match due.filter(|_| events.is_empty()) {
                Some(due) => thread::sleep(due.min(NAP)),
                None => assert!(!events.is_empty(), "no answer came within {SILENCE:?}"),
            }
            for event in &events {
                let at = event.token().0;
                if self.serve(at, event).expect("an answer through flowtap") {
                    let since = self.clients[at].since.take();
                    let took = since.map_or(Duration::ZERO, |since| since.elapsed());
                    latencies_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
                    under_way -= 1;
                    self.idle.push_back(at);
                }
            }
        }
    }

    /// Sends a request, over a new connection where there is none.
    fn ask(&mut self, at: usize, since: Instant) -> io::Result<()> {
        let client = &mut self.clients[at];
        client.since = Some(since);
        if let Some(link) = &mut client.link {
            client.stage = Stage::Head;
            link.send(&client.request)?;
            return link.flush().map(drop);
        }
        let (origin, path) = (&self.target.origin, self.plan.path);
        let address = self.target.proxy.map_or_else(|| origin.parse(), Ok);
        let socket = TcpStream::connect(address.map_err(io::Error::other)?)?;
        let mut link = Link::new(socket, self.poll.registry(), at)?;
        if let Some(tls) = &self.target.tls {
            let host = host_name(self.next_host % self.plan.hosts);
            self.next_host += 1;
            client.request = request(path, &host);
            if self.target.proxy.is_none() {
                client.stage = Stage::Head;
                link.start_tls(session(tls, host)?);
                link.send(&client.request)?;
                client.link = Some(link);
                return Ok(());
            }
            client.stage = Stage::Tunnel(host);
            link.send(format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n").as_bytes())?;
        } else {
            client.request = request(&format!("http://{origin}{path}"), origin);
            client.stage = Stage::Head;
            link.send(&client.request)?;
        }
        // What the socket does not take yet is written when it has connected.
        link.flush()?;
        client.link = Some(link);
        Ok(())
    }

    /// Reads what came, and tells whether an answer is whole.
    fn serve(&mut self, at: usize, event: &Event) -> io::Result<bool> {
        let client = &mut self.clients[at];
        // What is left of the events of a connection that was dropped.
        let Some(link) = &mut client.link else { return Ok(false) };
        let open = link.receive(&mut self.scratch, &mut client.input, event.is_read_closed())?;
        if let Stage::Tunnel(host) = &client.stage
            && let Some(end) = head_end(&client.input)
            && let Some(tls) = &self.target.tls
        {
            answered_length(&client.input[..end])?;
            client.input.drain(..end);
            link.start_tls(session(tls, host.clone())?);
            // Waits in the session until the handshake is done.
            link.send(&client.request)?;
            client.stage = Stage::Head;
        }
        if client.stage == Stage::Head
            && let Some(end) = head_end(&client.input)
        {
            client.stage = Stage::Body(answered_length(&client.input[..end])?);
            client.input.drain(..end);
        }
        if let Stage::Body(left) = &mut client.stage {
            *left = left.checked_sub(client.input.len()).ok_or_else(|| broken("too much came"))?;
            client.input.clear();
        }
        let whole = client.stage == Stage::Body(0);
        if whole {
            client.stage = Stage::Idle;
        }
        if whole && self.plan.fresh {
            client.link = None;
        } else if !open {
            return Err(broken("the connection was closed"));
        } else {
            link.flush()?;
        }
        Ok(whole)
    }
}

fn session(tls: &Arc<ClientConfig>, host: String) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    ClientConnection::new(tls.clone(), name).map_err(io::Error::other)
}

fn request(target: &str, host: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: flowtap-bench\r\nAccept: */*\r\n\
         Accept-Encoding: gzip, deflate, br\r\n\r\n"
    )
    .into_bytes()
}

fn broken(what: &str) -> io::Error {
    io::Error::other(what)
}

/// The length of the body behind the head of an answer, which must be a good one.
fn answered_length(head: &[u8]) -> io::Result<usize> {
    let head = std::str::from_utf8(head).map_err(io::Error::other)?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(broken(head));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.map_or(Ok(0), |length| length.parse().map_err(io::Error::other))
}
