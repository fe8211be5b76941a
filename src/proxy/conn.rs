//! A client connection: what is spoken on it, and what it waits for.
//!
//! The event loop moves bytes between sockets and the two [`Link`]s, tells what else happened by
//! the methods named for events, and calls [`Conn::advance`], which does all that can be done
//! and leaves commands in the context. How the bytes were split makes no difference.
//!
//! Serving requests is in `proxy::serve`, opening tunnels in `proxy::open`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::flow::record::{Authority, TlsFacts};
use crate::http::head::HeadReader;
use crate::http::reply;
use crate::http::rewrite::ConnectionField;
use crate::limits::{LINGER_TIMEOUT, SILENT_CLIENT, UNDECIDED_CLIENT};
use crate::notice::Notice;
use crate::options::Options;
use crate::proxy::context::{Command, Connected, Context, DialError, Now};
use crate::proxy::exchange::Exchange;
use crate::proxy::link::{End, Link};
use crate::proxy::request::Inside;
use crate::proxy::tunnel::Tunnel;

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// HTTP requests are served.
    Requests,
    /// A tunnel was asked for whose bytes will not be read; the server is being dialled.
    Dialling(Arc<Authority>),
    /// A tunnel was opened; the client's first bytes will tell what it is.
    Sniffing(Sniffing),
    /// The TLS handshake with the client is under way.
    Handshake(Inside),
    /// Bytes are relayed.
    Relaying(Tunnel),
    /// Nothing more is said to the client; what it still sends is thrown away.
    Lingering,
    /// It is over.
    Closed,
}

/// A tunnel before its first bytes.
#[derive(Debug)]
pub(super) struct Sniffing {
    pub(super) authority: Arc<Authority>,
    /// How often a wait for the client has passed. After the first the server is dialled, because
    /// the client may be waiting for it; after the second what the client began to say is taken
    /// for neither TLS nor HTTP.
    pub(super) waits: u8,
    /// The client has begun to speak.
    pub(super) begun: bool,
    /// Why the server cannot be reached that was dialled because the client is silent. A client
    /// that is only slow is told by the answer to its first request.
    pub(super) unreachable: Option<String>,
}

/// The upstream connection at hand.
#[derive(Debug)]
pub(super) enum UpstreamState {
    /// None.
    Absent,
    /// One is being made ready for the exchange in hand.
    Dialling,
    /// One is being dialled ahead of need, for a silent client.
    DiallingAhead,
    /// One that was dialled ahead of need, without TLS.
    Spare(Connected),
    /// One that serves the exchange in hand or the relay.
    InUse,
}

/// A client connection.
#[derive(Debug)]
pub struct Conn {
    /// The client's side.
    pub client: Link,
    /// The server's side, of whichever upstream connection is at hand.
    pub upstream: Link,
    pub(super) peer: SocketAddr,
    pub(super) phase: Phase,
    pub(super) upstream_state: UpstreamState,
    pub(super) inside: Option<Inside>,
    pub(super) client_tls: Option<Arc<TlsFacts>>,
    pub(super) head_reader: HeadReader,
    /// When the first byte of the head in hand was there.
    pub(super) head_began: Option<Now>,
    /// Empty lines before it.
    pub(super) empty_lines: usize,
    pub(super) last_authority: Option<Arc<Authority>>,
    pub(super) exchange: Option<Box<Exchange>>,
    pub(super) stopping: bool,
    /// When it has to be over, where that is known from the beginning.
    pub(super) limit: Option<Instant>,
    pub(super) requests_this_turn: usize,
    /// When the phase, or the wait in it, began.
    pub(super) since: Instant,
    /// When a peer took bytes, or something that was waited for went on.
    pub(super) activity: Instant,
}

impl Conn {
    /// A connection that a client has just opened.
    pub fn new(peer: SocketAddr, now: Now) -> Self {
        Conn {
            client: Link::default(),
            upstream: Link::default(),
            peer,
            phase: Phase::Requests,
            upstream_state: UpstreamState::Absent,
            inside: None,
            client_tls: None,
            head_reader: HeadReader::default(),
            head_began: None,
            empty_lines: 0,
            last_authority: None,
            exchange: None,
            stopping: false,
            limit: None,
            requests_this_turn: 0,
            since: now.instant,
            activity: now.instant,
        }
    }

    /// Does all that can be done now. Returns whether more can be done in the next turn without
    /// anything else happening: other connections go first.
    pub fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        self.requests_this_turn = 0;
        loop {
            let progressed = match &mut self.phase {
                Phase::Requests => match self.serve(cx) {
                    Some(progressed) => progressed,
                    None => return true,
                },
                Phase::Sniffing(_) => self.open(cx),
                Phase::Relaying(_) => match self.relay(cx) {
                    Some(progressed) => progressed,
                    None => return true,
                },
                Phase::Lingering => self.discard(cx),
                Phase::Dialling(_) | Phase::Handshake(_) => self.abandon_if_gone(cx),
                Phase::Closed => false,
            };
            if !progressed {
                return false;
            }
        }
    }

    /// The client is told why it is not served, and its connection is closed.
    pub fn turn_away(&mut self, reason: &str, cx: &mut Context<'_>) {
        let output = self.client.output.storage();
        reply::write_error(output, 503, reason, ConnectionField::Close, false);
        self.linger(cx);
    }

    /// A peer took bytes, or something that is waited for went on.
    pub fn touch(&mut self, now: Now) {
        self.activity = now.instant;
    }

    /// Bytes came from a peer. Where they are relayed that is all that is waited for. Of a message
    /// only progress counts, or single bytes of a line that never ends could keep a connection.
    pub fn heard(&mut self, now: Now) {
        if matches!(self.phase, Phase::Sniffing(_) | Phase::Relaying(_)) {
            self.activity = now.instant;
        }
    }

    /// Whether more should be read from the client.
    pub fn wants_client(&self) -> bool {
        match self.phase {
            Phase::Closed => false,
            _ => self.client.wants_input(),
        }
    }

    /// Whether more should be read from the server.
    pub fn wants_upstream(&self) -> bool {
        self.upstream.wants_input()
    }

    /// Whether the connection is over, as far as this side of it goes.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The TLS handshake with the client is done.
    pub fn client_secured(&mut self, facts: Arc<TlsFacts>, cx: &mut Context<'_>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Requests);
        match phase {
            Phase::Handshake(inside) => {
                self.client_tls = Some(facts);
                self.inside = Some(inside);
                self.since = cx.now.instant;
            }
            other => self.phase = other,
        }
    }

    /// The client's stream has ended.
    pub fn client_ended(&mut self, end: End) {
        self.client.end.get_or_insert(end);
    }

    /// The TLS handshake with the client has failed, or its TLS did later; `distrust` is the
    /// alert by which it refused our certificate.
    pub fn client_tls_failed(
        &mut self,
        reason: String,
        distrust: Option<&str>,
        cx: &mut Context<'_>,
    ) {
        if let Phase::Handshake(inside) = &self.phase {
            let route = &inside.route;
            let host = route.tls.as_deref().unwrap_or(&route.authority.host).to_owned();
            cx.shared.notices.give(match distrust {
                Some(alert) => {
                    cx.shared.stats.distrusted.add(1);
                    Notice::ClientDistrusts { host, alert: alert.to_owned() }
                }
                None => Notice::ExchangeFailed {
                    what: format!("handshake with a client of {host}"),
                    reason: format!("{reason}; -e {host} passes the host through"),
                },
            });
        }
        self.client.end.get_or_insert(End::Cut(reason));
    }

    /// The server's stream has ended.
    pub fn upstream_ended(&mut self, end: End) {
        self.upstream.end.get_or_insert(end);
    }

    /// The client takes nothing more.
    pub fn client_broke(&mut self, reason: String) {
        self.client.broken = true;
        self.client.output.clear();
        self.client.end = Some(End::Cut(reason));
    }

    /// The server takes nothing more; what it sent before may still be read.
    pub fn upstream_broke(&mut self) {
        self.upstream.broken = true;
        self.upstream.output.clear();
    }

    /// The upstream connection that was asked for is there, and with it came this much and, as may
    /// be, its end.
    pub fn upstream_connected(
        &mut self,
        connected: Connected,
        early: &[u8],
        end: Option<End>,
        cx: &mut Context<'_>,
    ) {
        // Before it is used, or left for another that these are not of.
        self.upstream.input.push(early);
        self.upstream.end = end;
        match self.upstream_state {
            UpstreamState::Dialling => self.use_upstream(connected, cx),
            UpstreamState::DiallingAhead => {
                self.upstream_state = UpstreamState::Spare(connected);
                self.use_spare(cx);
            }
            _ => cx.commands.push(Command::DropUpstream { cut: false }),
        }
    }

    /// The upstream connection that was asked for cannot be had.
    pub fn upstream_failed(&mut self, error: DialError, cx: &mut Context<'_>) {
        let ahead = matches!(self.upstream_state, UpstreamState::DiallingAhead);
        self.upstream_state = UpstreamState::Absent;
        self.upstream.reset();
        match &self.exchange {
            Some(exchange) if ahead && exchange.awaits_upstream() => self.dial(cx),
            // It is held, and has the server dialled when it goes on.
            Some(_) if ahead => {}
            Some(_) => self.fail(error.status, error.reason, cx),
            None => self.opening_failed(error, cx),
        }
    }

    /// When [`Conn::time_out`] is to be called, unless something happens before.
    pub fn deadline(&self, options: &Options) -> Instant {
        let (since, wait) = self.wait(options);
        let deadline = after(since, wait);
        let limit = match &self.phase {
            // However steadily it trickles in.
            Phase::Sniffing(Sniffing { begun: true, .. }) => {
                Some(after(self.since, options.handshake_timeout))
            }
            _ => self.limit,
        };
        limit.map_or(deadline, |limit| limit.min(deadline))
    }

    fn wait(&self, options: &Options) -> (Instant, Duration) {
        match &self.phase {
            Phase::Requests => match &self.exchange {
                None if self.head_began.is_some() => (self.since, options.request_head_timeout),
                None => (self.since, options.idle_timeout),
                Some(exchange) if let Some(since) = exchange.paused_since() => {
                    (since.instant, options.intercept_timeout)
                }
                Some(exchange) if exchange.awaits_upstream() => (self.activity, dial_net(options)),
                Some(exchange) if let Some(since) = exchange.answer_awaited_since() => {
                    (since.instant, options.response_timeout)
                }
                Some(_) => (self.activity, options.body_timeout),
            },
            Phase::Dialling(_) => (self.since, dial_net(options)),
            Phase::Sniffing(Sniffing { waits: 0, .. }) => (self.activity, SILENT_CLIENT),
            Phase::Sniffing(Sniffing { waits: 1, begun: true, .. }) => {
                (self.activity, UNDECIDED_CLIENT)
            }
            Phase::Sniffing(Sniffing { begun: true, .. }) => {
                (self.since, options.handshake_timeout)
            }
            Phase::Sniffing(Sniffing { unreachable: Some(_), .. }) => {
                (self.activity, UNDECIDED_CLIENT)
            }
            Phase::Sniffing(_) => (self.activity, options.tunnel_timeout),
            Phase::Handshake(_) => (self.since, options.handshake_timeout),
            Phase::Relaying(_) => (self.activity, options.tunnel_timeout),
            // What is still to be sent has the time of any body.
            Phase::Lingering if self.client.is_sent() => {
                (self.since.max(self.activity), LINGER_TIMEOUT)
            }
            Phase::Lingering => (self.since.max(self.activity), options.body_timeout),
            Phase::Closed => (self.activity, options.body_timeout),
        }
    }

    /// The deadline has passed.
    pub fn time_out(&mut self, cx: &mut Context<'_>) {
        self.tell_of_handshake(cx);
        match &mut self.phase {
            Phase::Sniffing(sniffing)
                if sniffing.begun
                    && after(self.since, cx.options.handshake_timeout) <= cx.now.instant =>
            {
                self.close(cx);
            }
            Phase::Requests => self.requests_timed_out(cx),
            Phase::Sniffing(sniffing) if sniffing.waits == 0 => {
                sniffing.waits = 1;
                self.dial_ahead(cx);
            }
            Phase::Sniffing(sniffing) if sniffing.begun => sniffing.waits = 2,
            Phase::Sniffing(Sniffing { unreachable: Some(_), .. }) => self.give_silence_up(cx),
            Phase::Relaying(_) => {
                let wait = cx.options.tunnel_timeout.as_secs_f64();
                self.relay_cut(format!("nothing was said for {wait} s (tunnel_timeout)"), cx);
            }
            Phase::Dialling(_)
            | Phase::Sniffing(_)
            | Phase::Handshake(_)
            | Phase::Lingering
            | Phase::Closed => self.close(cx),
        }
    }

    /// Tells of a handshake with the client that has no more time.
    fn tell_of_handshake(&self, cx: &Context<'_>) {
        let host = match &self.phase {
            Phase::Handshake(Inside { route }) => route.tls.as_deref(),
            Phase::Sniffing(Sniffing { authority, begun: true, .. }) => {
                Some(authority.host.as_str())
            }
            _ => None,
        };
        let wait = cx.options.handshake_timeout;
        if let Some(host) = host.filter(|_| after(self.since, wait) <= cx.now.instant) {
            cx.shared.notices.give(Notice::ExchangeFailed {
                what: format!("handshake with a client of {host}"),
                reason: format!(
                    "it did not end within {} s (handshake_timeout)",
                    wait.as_secs_f64()
                ),
            });
        }
    }

    /// The proxy stops: what is under way may end, nothing else begins.
    pub fn stop(&mut self, cx: &mut Context<'_>) {
        self.stopping = true;
        match self.phase {
            Phase::Requests if self.exchange.is_none() && self.head_began.is_none() => {
                self.close(cx);
            }
            Phase::Relaying(_) => self.relay_cut("the proxy was stopped".to_owned(), cx),
            // Closing still sends what is to be sent.
            Phase::Dialling(_) | Phase::Sniffing(_) | Phase::Handshake(_) | Phase::Lingering => {
                self.close(cx)
            }
            Phase::Requests | Phase::Closed => {}
        }
    }

    /// Ends everything now; what was under way is recorded with what it had.
    pub fn kill(&mut self, reason: &str, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Relaying(_) => self.relay_cut(reason.to_owned(), cx),
            _ => {
                self.record_begun(reason, cx);
                let exchange = self.exchange.as_ref();
                let cut = exchange.filter(|exchange| exchange.is_answered());
                let reset = cut.map(|exchange| exchange.ends_by_close());
                self.record_exchange(Some(reason.to_owned()), cx);
                match reset {
                    Some(reset) => self.cut(reset, cx),
                    None => self.close(cx),
                }
            }
        }
    }

    /// Closes the client's connection in order, and the upstream one at once. What was cut stays
    /// so.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        self.drop_upstream(cx);
        if self.is_closed() {
            return;
        }
        self.phase = Phase::Closed;
        cx.commands.push(Command::CloseClient);
    }

    /// Closes both, so that the client can tell that what it got is not whole.
    pub(super) fn cut(&mut self, reset: bool, cx: &mut Context<'_>) {
        self.drop_upstream(cx);
        self.phase = Phase::Closed;
        cx.commands.push(Command::CutClient { reset });
    }

    /// Says nothing more to the client, but reads on for a while: closing with unread bytes
    /// would reset the connection and destroy the answer on its way (RFC 9112 section 9.6).
    pub(super) fn linger(&mut self, cx: &mut Context<'_>) {
        if self.stopping {
            // Nobody waits for slow clients any more; what is queued still goes out.
            self.close(cx);
            return;
        }
        self.drop_upstream(cx);
        self.since = cx.now.instant;
        self.phase = Phase::Lingering;
        cx.commands.push(Command::ShutdownClient { announced: true });
    }

    pub(super) fn drop_upstream(&mut self, cx: &mut Context<'_>) {
        self.end_upstream(false, cx);
    }

    /// Closes the upstream connection; `cut` where the server must see that it did not get all.
    pub(super) fn end_upstream(&mut self, cut: bool, cx: &mut Context<'_>) {
        if !matches!(self.upstream_state, UpstreamState::Absent) {
            self.upstream_state = UpstreamState::Absent;
            cx.commands.push(Command::DropUpstream { cut });
        }
        self.upstream.reset();
    }

    fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        self.client.input.clear();
        if self.client.end.is_some() {
            self.close(cx);
        }
        false
    }

    /// A client that has gone while it waited for a tunnel or a handshake is not kept.
    fn abandon_if_gone(&mut self, cx: &mut Context<'_>) -> bool {
        if self.client.end.is_some() && self.client.input.is_empty() {
            self.close(cx);
        }
        false
    }
}

/// The end of a wait.
fn after(since: Instant, wait: Duration) -> Instant {
    since.checked_add(wait).unwrap_or(since)
}

/// A dial has limits of its own, each twice with a proxy on the way; this is the net below them.
fn dial_net(options: &Options) -> Duration {
    let Options { connect_timeout, handshake_timeout, body_timeout, .. } = options;
    let once = connect_timeout.saturating_add(*handshake_timeout);
    once.saturating_mul(2).saturating_add(*body_timeout)
}
