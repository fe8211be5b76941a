//! Opening tunnels: CONNECT, what the client turns out to speak, and relaying.

use std::sync::Arc;

use crate::flow::record::{Authority, DeflateParameters, FlowEvent, Scheme, WebSocketOpen};
use crate::http::field::{FieldKind, has_token};
use crate::http::head::{HeadReader, values};
use crate::http::reply;
use crate::http::rewrite::ConnectionField;
use crate::http::websocket::deflate_parameters;
use crate::notice::Notice;
use crate::options::ConnectionStrategy;
use crate::proxy::conn::{Conn, Phase, Sniffing, UpstreamState};
use crate::proxy::context::{Command, Connected, Context, Dial, DialError, Reuse, Via};
use crate::proxy::exchange::{Exchange, Route};
use crate::proxy::request::Inside;
use crate::proxy::sniff::{Sniffed, sniff};
use crate::proxy::tunnel::{Relayed, Tunnel};
use crate::proxy::websocket::WebSocketObserver;

impl Conn {
    /// A CONNECT request came. A tunnel that may be intercepted is opened at once, because its
    /// requests find their own upstream connections; any other when the server is there.
    pub(super) fn connect(&mut self, authority: Arc<Authority>, cx: &mut Context<'_>) {
        self.since = cx.now.instant;
        self.touch(cx.now);
        let hosts = &cx.shared.hosts;
        let by_name = cx.shared.discovered.is_some()
            || cx.shared.serves_pages_of(&authority.host)
            || hosts.needs_server_name(&authority.host)
            || cx.options.needs_server_name();
        let intercepts = cx.intercepts(&authority, None);
        if by_name || intercepts {
            self.client.send(reply::CONNECTION_ESTABLISHED);
            let (waits, begun, unreachable) = Default::default();
            self.phase = Phase::Sniffing(Sniffing { authority, waits, begun, unreachable });
            if intercepts && cx.options.connection_strategy == ConnectionStrategy::Eager {
                self.dial_ahead(cx);
            }
            return;
        }
        self.dial_tunnel(authority.clone(), cx);
        self.phase = Phase::Dialling(authority);
    }

    fn dial_tunnel(&mut self, authority: Arc<Authority>, cx: &mut Context<'_>) {
        self.upstream.reset();
        self.upstream_state = UpstreamState::Dialling;
        let via = match cx.shared.proxy_for(&authority, true) {
            None => Via::Direct,
            Some(proxy) => Via::Tunnel(proxy.clone()),
        };
        cx.commands.push(Command::Dial(Dial { authority, tls: None, via, reuse: Reuse::Never }));
    }

    /// Looks at the first bytes of a tunnel.
    pub(super) fn open(&mut self, cx: &mut Context<'_>) -> bool {
        let Phase::Sniffing(sniffing) = &mut self.phase else { return false };
        if !sniffing.begun && !self.client.input.is_empty() {
            sniffing.begun = true;
            self.since = cx.now.instant;
        }
        let authority = sniffing.authority.clone();
        let given_up = sniffing.waits > 1;
        if !self.upstream.input.is_empty() {
            // The server has spoken first: nothing here is for us to read.
            return self.pass_unknown(&authority, cx);
        }
        if self.upstream.end.is_some() {
            // It was of no use to anybody, and whoever speaks later gets another.
            self.drop_upstream(cx);
            let reason = "the server closed the connection before anything was said".to_owned();
            self.opening_failed(DialError { status: 502, reason }, cx);
        }
        match sniff(self.client.input.bytes()) {
            Sniffed::Silence if self.client.end.is_none() => false,
            Sniffed::Silence => {
                self.close(cx);
                false
            }
            Sniffed::Undecided if self.client.end.is_none() && !given_up => false,
            Sniffed::Tls { server_name, lacks_http1 } => {
                self.open_tls(authority, server_name, lacks_http1, cx)
            }
            Sniffed::Http => self.open_plain(authority, cx),
            Sniffed::Undecided | Sniffed::Other => self.pass_unknown(&authority, cx),
        }
    }

    /// What is neither TLS nor HTTP is relayed, unless that is switched off; a host that is left
    /// out is relayed whatever it speaks.
    fn pass_unknown(&mut self, authority: &Arc<Authority>, cx: &mut Context<'_>) -> bool {
        if cx.options.rawtcp || !cx.intercepts(authority, None) {
            self.pass_through(authority, None, cx);
            return true;
        }
        cx.shared.notices.give(Notice::ExchangeFailed {
            what: connect_to(authority),
            reason: "it carries neither TLS nor HTTP, and the option rawtcp is off".to_owned(),
        });
        self.close(cx);
        false
    }

    fn open_tls(
        &mut self,
        authority: Arc<Authority>,
        server_name: Option<String>,
        lacks_http1: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        let name = server_name.as_deref();
        let intercepts = cx.shared.discovered.is_none()
            && (cx.shared.serves_pages_of(&authority.host) || cx.intercepts(&authority, name));
        if !intercepts {
            self.pass_through(&authority, name, cx);
            return true;
        }
        if !self.client.output.is_empty() {
            // The answer to CONNECT goes out in clear before anything of TLS does.
            return false;
        }
        let host = authority.host.clone();
        if lacks_http1 {
            let shown = name.unwrap_or(&host);
            cx.shared.notices.give(Notice::Warning(format!(
                "{shown}: the client does not offer http/1.1, and no other protocol is \
                 intercepted; pass the host through with -e {shown}"
            )));
        }
        let tls = Some(Arc::from(name.unwrap_or(&host)));
        let route = Route { scheme: Scheme::Https, authority, tls };
        self.phase = Phase::Handshake(Inside { route });
        self.since = cx.now.instant;
        cx.commands.push(Command::StartClientTls { server_name, host });
        false
    }

    fn open_plain(&mut self, authority: Arc<Authority>, cx: &mut Context<'_>) -> bool {
        let intercepts = cx.shared.discovered.is_none()
            && (cx.shared.serves_pages_of(&authority.host) || cx.intercepts(&authority, None));
        if intercepts {
            self.inside =
                Some(Inside { route: Route { scheme: Scheme::Http, authority, tls: None } });
            self.phase = Phase::Requests;
        } else {
            self.pass_through(&authority, None, cx);
        }
        true
    }

    /// Relays the tunnel without reading it, over the upstream connection at hand or a new one.
    fn pass_through(
        &mut self,
        authority: &Arc<Authority>,
        server_name: Option<&str>,
        cx: &mut Context<'_>,
    ) {
        if let Some(discovered) = &cx.shared.discovered {
            let name = server_name.unwrap_or(&authority.host);
            discovered.seen(&display(name, authority.port, 443));
        }
        match &self.upstream_state {
            UpstreamState::Spare(_) => {
                self.upstream_state = UpstreamState::InUse;
                self.phase = Phase::Relaying(Tunnel::default());
            }
            UpstreamState::DiallingAhead => {
                self.upstream_state = UpstreamState::Dialling;
                self.phase = Phase::Relaying(Tunnel::default());
            }
            _ => {
                self.dial_tunnel(authority.clone(), cx);
                self.phase = Phase::Relaying(Tunnel::default());
            }
        }
        self.since = cx.now.instant;
    }

    /// Dials before there is a request, unless that was done: the user wants it so, or the client
    /// is silent, and the server may be the one to speak first.
    pub(super) fn dial_ahead(&mut self, cx: &mut Context<'_>) {
        let Phase::Sniffing(sniffing) = &self.phase else { return };
        let authority = sniffing.authority.clone();
        let is_dialled = !matches!(self.upstream_state, UpstreamState::Absent);
        if is_dialled || cx.shared.serves_pages_of(&authority.host) {
            return;
        }
        self.dial_tunnel(authority, cx);
        self.upstream_state = UpstreamState::DiallingAhead;
    }

    /// An upstream connection was dialled ahead and is there: gives it to the exchange that
    /// waits, if there is one by now. One that is held does not wait for it.
    pub(super) fn use_spare(&mut self, cx: &mut Context<'_>) {
        let exchange = self.exchange.as_ref().filter(|exchange| exchange.awaits_upstream());
        let Some(exchange) = exchange else { return };
        if !matches!(self.upstream_state, UpstreamState::Spare(_)) {
            return;
        }
        if !self.upstream.input.is_empty() || self.upstream.end.is_some() {
            // What a server says before it is asked is no answer to anything.
            self.drop_upstream(cx);
            self.dial(cx);
            return;
        }
        let tls = exchange.facts().route.tls.clone();
        match (std::mem::replace(&mut self.upstream_state, UpstreamState::Dialling), tls) {
            (UpstreamState::Spare(connected), None) => {
                // It was made before the request began, and cost it nothing.
                self.use_upstream(Connected { dns_us: 0, connect_us: 0, ..connected }, cx);
            }
            (_, Some(name)) => cx.commands.push(Command::StartUpstreamTls(name)),
            (_, None) => {}
        }
    }

    /// The server of a tunnel that is relayed is there.
    pub(super) fn tunnel_connected(&mut self, cx: &mut Context<'_>) {
        if let Phase::Dialling(_) = &self.phase {
            self.client.send(reply::CONNECTION_ESTABLISHED);
            self.phase = Phase::Relaying(Tunnel::default());
            self.since = cx.now.instant;
        }
    }

    /// The server of a tunnel cannot be reached.
    pub(super) fn opening_failed(&mut self, error: DialError, cx: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Sniffing(sniffing) if sniffing.waits > 0 && !sniffing.begun => {
                sniffing.unreachable = Some(error.reason);
                self.touch(cx.now);
            }
            Phase::Dialling(authority) => {
                let what = connect_to(authority);
                let output = self.client.output.storage();
                reply::write_error(
                    output,
                    error.status,
                    &error.reason,
                    ConnectionField::Close,
                    false,
                );
                self.linger(cx);
                cx.shared.notices.give(Notice::ExchangeFailed { what, reason: error.reason });
            }
            Phase::Relaying(_) => {
                self.close(cx);
                let what = "a tunnel".to_owned();
                cx.shared.notices.give(Notice::ExchangeFailed { what, reason: error.reason });
            }
            // Nobody waits for it yet: the first request finds out, and is told the reason.
            _ => {}
        }
    }

    /// A client has stayed silent whose server cannot be reached: it was that server's turn.
    pub(super) fn give_silence_up(&mut self, cx: &mut Context<'_>) {
        if let Phase::Sniffing(Sniffing { authority, unreachable, .. }) = &mut self.phase {
            let reason = unreachable.take().unwrap_or_default();
            let what = connect_to(authority);
            cx.shared.notices.give(Notice::ExchangeFailed { what, reason });
        }
        self.close(cx);
    }

    /// Relays what can be relayed. Returns whether anything was done, or `None` when this
    /// connection has had its share of the turn.
    pub(super) fn relay(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        let Phase::Relaying(tunnel) = &mut self.phase else { return Some(false) };
        if !matches!(self.upstream_state, UpstreamState::InUse) {
            if self.client.end.is_some() && self.client.input.is_empty() {
                self.close(cx);
            }
            return Some(false);
        }
        #[cfg(test)]
        crate::fault::testing::fault_in("relay", self.client.input.bytes());
        match tunnel.relay(&mut self.client, &mut self.upstream, cx) {
            Relayed::Wait => Some(false),
            Relayed::Progress => Some(true),
            Relayed::Paused => None,
            Relayed::Over => {
                self.end_relay(None, cx);
                self.close(cx);
                Some(false)
            }
            Relayed::Cut(reason) => {
                self.relay_cut(reason, cx);
                Some(false)
            }
        }
    }

    /// Ends a relay that did not come to its own end.
    pub(super) fn relay_cut(&mut self, reason: String, cx: &mut Context<'_>) {
        self.end_relay(Some(reason), cx);
        self.end_upstream(true, cx);
        self.cut(true, cx);
    }

    fn end_relay(&mut self, error: Option<String>, cx: &mut Context<'_>) {
        if let Phase::Relaying(tunnel) = &mut self.phase
            && let Some(observer) = tunnel.observer.take()
        {
            observer.close(error, cx);
        }
    }

    /// The relay that follows a switch of protocols. A WebSocket's messages are read; any other
    /// protocol ends the exchange's record with the switch.
    pub(super) fn upgraded(&mut self, exchange: Exchange, cx: &mut Context<'_>) -> Tunnel {
        self.since = cx.now.instant;
        self.touch(cx.now);
        let facts = exchange.facts();
        let head = exchange.response_head().cloned().unwrap_or_default();
        let agreed = agreed_websocket(&facts.head, &head, cx);
        let Some(deflate) = agreed.filter(|_| facts.recorded && cx.options.websocket) else {
            self.exchange = Some(Box::new(exchange));
            self.record_exchange(None, cx);
            return Tunnel::default();
        };
        cx.shared.stats.exchanges.add(1);
        cx.outbox.push(FlowEvent::WebSocketOpen(Arc::new(WebSocketOpen {
            id: exchange.id(),
            scheme: facts.route.scheme,
            target: facts.route.authority.clone(),
            client: self.peer,
            request_head: facts.head.clone(),
            response_head: head,
            began_us: facts.began.epoch_us,
            deflate,
        })));
        Tunnel::observed(WebSocketObserver::new(exchange.id(), deflate.is_some()))
    }
}

/// Whether a handshake's response switches to WebSocket, and the permessage-deflate parameters
/// that it agrees to. The server decides: clients that leave parts of the handshake out are heard
/// as long as servers hear them.
fn agreed_websocket(
    request: &[u8],
    response: &[u8],
    cx: &mut Context<'_>,
) -> Option<Option<DeflateParameters>> {
    // Both were parsed before; their spans may be overwritten by other connections' heads.
    HeadReader::new().request(request, &mut cx.heads.request).ok()?;
    HeadReader::new().response(response, &mut cx.heads.response).ok()?;
    let (asked, answered) = (&cx.heads.request.fields, &cx.heads.response.fields);
    let name = "Sec-WebSocket-Extensions";
    has_token(answered, response, FieldKind::Upgrade, "websocket")
        .then(|| deflate_parameters(values(asked, request, name), values(answered, response, name)))
}

/// The request for a tunnel, for the user.
fn connect_to(authority: &Authority) -> String {
    format!("CONNECT {}", display(&authority.host, authority.port, 0))
}

/// The host that a route leads to, as `discover` shows it.
pub(super) fn display_host(route: &Route) -> String {
    let usual = if route.scheme == Scheme::Https { 443 } else { 80 };
    display(&route.authority.host, route.authority.port, usual)
}

fn display(host: &str, port: u16, usual: u16) -> String {
    match (port == usual, host.contains(':')) {
        (true, _) => host.to_owned(),
        (false, true) => format!("[{host}]:{port}"),
        (false, false) => format!("{host}:{port}"),
    }
}
