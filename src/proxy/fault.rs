//! A fault of flowtap in a connection: what was being done, and the end that it has.

use crate::flow::record::Scheme;
use crate::http::target::host_value;
use crate::proxy::conn::{Conn, Phase, Sniffing};
use crate::proxy::context::Context;
use crate::proxy::exchange::Route;

impl Conn {
    /// What the connection is doing, for the words about a fault.
    pub fn doing(&self) -> String {
        let host = |route: &Route| host_value(route.scheme, &route.authority);
        let what = match &self.phase {
            Phase::Requests => match (&self.exchange, &self.inside) {
                (Some(exchange), _) => {
                    let facts = exchange.facts();
                    let method = String::from_utf8_lossy(facts.method());
                    let is_https = facts.route.scheme == Scheme::Https;
                    let scheme = if is_https { "https" } else { "http" };
                    let stage = exchange.stage();
                    format!("{method} {scheme}://{}, {stage}", host(&facts.route))
                }
                (None, Some(inside)) => format!("reading a request to {}", host(&inside.route)),
                (None, None) => "reading a request".to_owned(),
            },
            Phase::Dialling(authority) | Phase::Sniffing(Sniffing { authority, .. }) => {
                format!("opening a tunnel to {}:{}", authority.host, authority.port)
            }
            Phase::Handshake(inside) => format!("TLS handshake for {}", host(&inside.route)),
            Phase::Relaying(_) => "relaying".to_owned(),
            Phase::Lingering | Phase::Closed => "closing".to_owned(),
        };
        format!("{what}, client {}", self.peer)
    }

    /// Ends the connection because of a fault in handling it. What was under way is recorded with
    /// what it had; a request that was no exchange yet, with its head.
    pub fn end_by_fault(&mut self, reason: &str, cx: &mut Context<'_>) {
        let serves = matches!(self.phase, Phase::Requests) && self.exchange.is_none();
        if serves && !self.client.input.is_empty() {
            self.head_began.get_or_insert(cx.now);
        }
        self.kill(reason, cx);
    }
}
