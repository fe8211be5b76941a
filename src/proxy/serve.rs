//! Serving requests on a client connection: one exchange after another, in order.

use crate::flow::record::{Exchange as Record, Intervention, Message, Scheme, Timing};
use crate::http::device_page;
use crate::http::head::{HeadError, Parsed};
use crate::http::reply;
use crate::http::rewrite::{ConnectionField, names_host};
use crate::http::target::host_value;
use crate::limits::{EMPTY_LINES, HEAD_BYTES, REPLAY_TIMEOUT, TURN_REQUESTS};
use crate::notice::Notice;
use crate::options::Options;
use crate::proxy::conn::{Conn, Phase, UpstreamState};
use crate::proxy::context::{Command, Connected, Context, Dial, Now, Via};
use crate::proxy::exchange::{Exchange, Failure, RequestFacts, Route, Step, micros};
use crate::proxy::link::End;
use crate::proxy::request::{self, Decision};

/// Why an exchange is not whole though its response is.
const UNSENT: &str = "the request's body was not sent on to its end";

impl Conn {
    /// Serves what can be served. Returns whether anything was done, or `None` when this
    /// connection has had its share of the turn.
    pub(super) fn serve(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        if self.exchange.is_some() {
            return Some(self.serve_exchange(cx));
        }
        if self.head_began.is_none()
            && let Err(error) = self.skip_empty_lines()
        {
            self.refuse_head(&error, cx);
            return Some(false);
        }
        // A CR alone may become an empty line.
        if matches!(self.client.input.bytes(), [] | b"\r") || !self.client.has_room() {
            if self.client.is_exhausted() || self.client.broken {
                self.close(cx);
            }
            return Some(false);
        }
        if self.requests_this_turn >= TURN_REQUESTS {
            return None;
        }
        if self.head_began.is_none() {
            self.head_began = Some(cx.now);
            self.since = cx.now.instant;
        }
        match self.head_reader.request(self.client.input.bytes(), &mut cx.heads.request) {
            Ok(Parsed::Complete) => {
                #[cfg(test)]
                crate::fault::testing::fault_in("head", self.client.input.bytes());
                self.requests_this_turn += 1;
                self.begin_request(cx);
                Some(true)
            }
            Ok(Parsed::Partial) => {
                if self.client.end.is_some() {
                    self.refuse(400, "the request ended before its head did", None, cx);
                }
                Some(false)
            }
            Err(error) => {
                self.refuse_head(&error, cx);
                Some(false)
            }
        }
    }

    /// Leaves out empty lines before a request: some clients send one behind a body (RFC 9112
    /// section 2.2), and nobody may ever ask for anything behind it.
    fn skip_empty_lines(&mut self) -> Result<(), HeadError> {
        while let [b'\r', rest @ ..] = self.client.input.bytes() {
            match rest.first() {
                Some(b'\n') if self.empty_lines >= EMPTY_LINES => {
                    return Err(HeadError::EmptyLines);
                }
                Some(b'\n') => {
                    self.empty_lines += 1;
                    self.client.input.consume("\r\n".len());
                }
                None if self.client.end.is_some() => self.client.input.clear(),
                _ => break,
            }
        }
        Ok(())
    }

    fn refuse_head(&mut self, error: &HeadError, cx: &mut Context<'_>) {
        let route = self.inside.as_ref().map(|inside| inside.route.clone());
        self.refuse(error.status(), &error.to_string(), route, cx);
    }

    fn begin_request(&mut self, cx: &mut Context<'_>) {
        let bytes = self.client.input.bytes();
        let began = self.head_began.take().unwrap_or(cx.now);
        self.empty_lines = 0;
        let last = self.last_authority.as_ref();
        let decision = request::decide(bytes, self.inside.as_ref(), last, began, cx);
        let length = cx.heads.request.len;
        match decision {
            Decision::Forward(facts) => {
                self.client.input.consume(length);
                self.forward(*facts, cx);
            }
            Decision::Connect(authority) => {
                self.client.input.consume(length);
                self.connect(authority, cx);
            }
            Decision::DevicePage { method, path, version, keep_alive } => {
                self.client.input.consume(length);
                let certificate = &cx.shared.certificate;
                let certificates = device_page::Certificates {
                    pem: &certificate.pem,
                    der: &certificate.der,
                    p12: &certificate.pkcs12,
                };
                let page = device_page::page(&method, &path, certificates);
                let keep_alive = keep_alive && !self.stopping;
                let connection = ConnectionField::of(keep_alive, version);
                page.write(self.client.output.storage(), connection, method == b"HEAD");
                self.since = cx.now.instant;
                if !keep_alive {
                    self.linger(cx);
                }
            }
            Decision::Refuse { status, reason, route } => {
                self.refuse_request(status, &reason, route, length, began, cx);
            }
        }
    }

    fn forward(&mut self, facts: RequestFacts, cx: &mut Context<'_>) {
        self.last_authority = Some(facts.route.authority.clone());
        if let Some(discovered) = &cx.shared.discovered {
            discovered.seen(&crate::proxy::open::display_host(&facts.route));
        }
        let id = cx.shared.new_flow_id();
        let exchange = Exchange::new(id, facts, self.peer, cx.options.capture_body_limit);
        self.exchange = Some(Box::new(exchange));
        self.touch(cx.now);
        self.admit(cx);
    }

    /// Asks for an upstream connection for the exchange in hand.
    pub(super) fn dial(&mut self, cx: &mut Context<'_>) {
        let Some(exchange) = &self.exchange else { return };
        let route = &exchange.facts().route;
        // Again, where a connection of the pool has failed: that one's wait is over.
        self.activity = cx.now.instant;
        let via = self.via(exchange.facts(), cx);
        self.upstream.reset();
        self.upstream_state = UpstreamState::Dialling;
        cx.commands.push(Command::Dial(Dial {
            authority: route.authority.clone(),
            tls: route.tls.clone(),
            via,
            reuse: exchange.reuse(),
        }));
    }

    /// How the server of a request is reached. An upstream proxy takes a request in absolute form
    /// only where that says all: one that came through a tunnel goes through a tunnel.
    fn via(&self, facts: &RequestFacts, cx: &Context<'_>) -> Via {
        let RequestFacts { route, outgoing, upgrade, .. } = facts;
        // Whatever answers TRACE repeats the head, and would the credentials for the proxy in it.
        let is_trace = outgoing.get(..6).is_some_and(|it| it.eq_ignore_ascii_case(b"TRACE "));
        let tunnels = route.scheme == Scheme::Https || self.inside.is_some();
        match cx.shared.proxy_for(&route.authority, tunnels) {
            None => Via::Direct,
            Some(proxy)
                if !tunnels
                    && proxy.forwards()
                    && !upgrade
                    && !is_trace
                    && names_host(outgoing, &route.authority) =>
            {
                Via::Forward(proxy.clone())
            }
            Some(proxy) => Via::Tunnel(proxy.clone()),
        }
    }

    /// The upstream connection is ready for the exchange or the relay that waits for it.
    pub(super) fn use_upstream(&mut self, connected: Connected, cx: &mut Context<'_>) {
        self.upstream_state = UpstreamState::InUse;
        match &mut self.exchange {
            Some(exchange) => exchange.connected(connected, &mut self.upstream, cx.now),
            None => self.tunnel_connected(cx),
        }
    }

    fn serve_exchange(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(exchange) = &mut self.exchange else { return false };
        #[cfg(test)]
        {
            crate::fault::testing::fault_in("exchange", &exchange.facts().head);
            crate::fault::testing::fault_in("more", self.client.input.bytes());
            crate::fault::testing::fault_in("response", self.upstream.input.bytes());
        }
        let gone = self.client.broken || self.client.input.is_empty();
        if let Some(End::Cut(reason)) = self.client.end.as_ref().filter(|_| gone) {
            let reason = format!("the client went away: {reason}");
            self.client.broken = true;
            self.record_exchange(Some(reason), cx);
            self.close(cx);
            return false;
        }
        let sent = match exchange.move_request(&mut self.client, &mut self.upstream, cx) {
            Ok(moved) => moved,
            Err(failure) => {
                self.exchange_failed(failure, cx);
                return true;
            }
        };
        if exchange.has_gathered() {
            self.touch(cx.now);
            self.judge_gathered(cx);
            return true;
        }
        match exchange.move_response(&mut self.upstream, &mut self.client, cx) {
            Ok(_) if exchange.has_gathered() => {
                self.touch(cx.now);
                self.judge_gathered(cx);
                true
            }
            Ok(Step::Switch) => {
                self.switch_protocols(cx);
                true
            }
            Ok(step) => {
                let moved = sent || step == Step::Progress;
                if moved {
                    self.touch(cx.now);
                }
                self.finish_exchange(cx) || moved
            }
            Err(failure) => {
                self.exchange_failed(failure, cx);
                true
            }
        }
    }

    /// Ends the exchange if it is done, or if its response is and the request will not be. The
    /// server gets all of the request also where it has answered before.
    fn finish_exchange(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(exchange) = &self.exchange else { return false };
        if !exchange.response_is_done() {
            return false;
        }
        let request_taken = exchange.request_is_taken();
        let request_sent =
            exchange.request_is_passed_on() && self.upstream.is_sent() && !self.upstream.broken;
        let upload_over = self.upstream.end.is_some() || self.upstream.broken;
        let no_more = exchange.rest_is_unwanted() || self.client.is_exhausted();
        if !request_sent && !upload_over && (request_taken || !no_more) {
            return false;
        }
        let is_lost = !request_sent && (request_taken || !exchange.rest_is_unwanted());
        let error = is_lost.then(|| UNSENT.to_owned());
        // Bytes after the response's end belong to nothing that was asked for.
        let clean = self.upstream.input.is_empty()
            && self.upstream.end.is_none()
            && !self.upstream.broken
            && self.upstream.is_sent();
        let used = matches!(self.upstream_state, UpstreamState::InUse);
        let upstream_stays = used && exchange.upstream_stays() && clean;
        let stated = exchange.upstream_idle();
        let client_stays = exchange.client_stays() && !self.stopping;
        let own = exchange.login().cloned();
        self.record_exchange(error, cx);
        if upstream_stays {
            self.upstream_state = UpstreamState::Absent;
            self.upstream.reset();
            cx.commands.push(Command::KeepUpstream { own, stated });
        } else {
            self.drop_upstream(cx);
        }
        self.since = cx.now.instant;
        match (request_taken, client_stays) {
            (true, true) => {}
            (true, false) if self.client.is_exhausted() => self.close(cx),
            _ => self.linger(cx),
        }
        true
    }

    fn exchange_failed(&mut self, failure: Failure, cx: &mut Context<'_>) {
        match failure {
            Failure::Client(status, reason) => self.fail(status, reason, cx),
            Failure::Upstream(status, reason) => {
                let again = self.exchange.as_mut().is_some_and(|e| e.retry(&self.upstream));
                if again {
                    self.drop_upstream(cx);
                    self.dial(cx);
                } else {
                    self.fail(status, reason, cx);
                }
            }
        }
    }

    /// The exchange in hand cannot go on: tells the client as well as that is still possible.
    pub(super) fn fail(&mut self, status: u16, reason: String, cx: &mut Context<'_>) {
        let Some(exchange) = &self.exchange else { return };
        let answered = exchange.is_answered();
        let reset = exchange.ends_by_close();
        let head_only = exchange.facts().method() == b"HEAD";
        // A body that no server will take is still on its way, unless all of it was taken.
        let taken = exchange.request_is_taken() || exchange.has_no_body();
        let stays = exchange.facts().keep_alive
            && taken
            && status >= 500
            && self.client.end.is_none()
            && !self.stopping;
        let connection = ConnectionField::of(stays, exchange.facts().version);
        self.give_notice(&reason, cx);
        self.record_exchange(Some(reason.clone()), cx);
        self.drop_upstream(cx);
        self.since = cx.now.instant;
        if answered {
            self.cut(reset, cx);
            return;
        }
        let output = self.client.output.storage();
        reply::write_error(output, status, &reason, connection, head_only);
        if !stays {
            self.linger(cx);
        }
    }

    fn give_notice(&self, reason: &str, cx: &Context<'_>) {
        let Some(exchange) = &self.exchange else { return };
        let facts = exchange.facts();
        let method = String::from_utf8_lossy(facts.method());
        let scheme = if facts.route.scheme == Scheme::Https { "https" } else { "http" };
        let host = host_value(facts.route.scheme, &facts.route.authority);
        let what = format!("{method} {scheme}://{host}");
        cx.shared.notices.give(Notice::ExchangeFailed { what, reason: reason.to_owned() });
    }

    /// Records the exchange in hand and lets it go.
    pub(super) fn record_exchange(&mut self, error: Option<String>, cx: &mut Context<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        cx.shared.stats.exchanges.add(1);
        if exchange.paused_since().is_some() {
            cx.commands.push(Command::Release(exchange.id()));
        }
        let record = exchange.into_record(self.client_tls.clone(), error, cx.now, cx.outbox);
        if let Some(record) = record {
            cx.outbox.push_ended(record);
        }
    }

    fn refuse(&mut self, status: u16, reason: &str, route: Option<Route>, cx: &mut Context<'_>) {
        let began = self.head_began.take().unwrap_or(cx.now);
        let length = self.client.input.len().min(HEAD_BYTES);
        self.refuse_request(status, reason, route, length, began, cx);
    }

    /// Answers a request that goes nowhere, and records it with the reason.
    fn refuse_request(
        &mut self,
        status: u16,
        reason: &str,
        route: Option<Route>,
        head_bytes: usize,
        began: Now,
        cx: &mut Context<'_>,
    ) {
        let what = format!("request from {}", self.peer);
        cx.shared.notices.give(Notice::ExchangeFailed { what, reason: reason.to_owned() });
        self.record_head(reason, route, head_bytes, began, cx);
        let head = self.client.input.bytes().get(..head_bytes).unwrap_or_default();
        // An answer to HEAD has no body, not even one that says what is wrong (RFC 9110 9.3.2).
        let head_only = head.trim_ascii_start().starts_with(b"HEAD ");
        let output = self.client.output.storage();
        reply::write_error(output, status, reason, ConnectionField::Close, head_only);
        self.linger(cx);
    }

    /// Records a request whose head is all there is of it, if it has begun, and lets it go.
    pub(super) fn record_begun(&mut self, reason: &str, cx: &mut Context<'_>) {
        if self.exchange.is_some() {
            return;
        }
        let Some(began) = self.head_began.take() else { return };
        let route = self.inside.as_ref().map(|inside| inside.route.clone());
        let bytes = self.client.input.bytes();
        let head = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|end| end + 4);
        let length = head.unwrap_or(bytes.len()).min(HEAD_BYTES);
        self.record_head(reason, route, length, began, cx);
    }

    /// Records the beginning of the client's input as a request that goes nowhere.
    fn record_head(
        &self,
        reason: &str,
        route: Option<Route>,
        head_bytes: usize,
        began: Now,
        cx: &mut Context<'_>,
    ) {
        cx.shared.stats.exchanges.add(1);
        let head = self.client.input.bytes().get(..head_bytes).unwrap_or_default();
        // Whose secrets a head of nobody knows what host holds is not known either: where hosts
        // are left out, such a head is as well.
        let left_out = !cx.shared.hosts.is_empty() || cx.options.needs_server_name();
        let head = if route.is_none() && left_out { b"" } else { head };
        let recorded = cx.shared.records && route.as_ref().is_none_or(|route| cx.records(route));
        if recorded {
            let record = Record {
                id: cx.shared.new_flow_id(),
                scheme: route.as_ref().map_or(Scheme::Http, |route| route.scheme),
                target: route.map(|route| route.authority),
                client: self.peer,
                client_tls: self.client_tls.clone(),
                upstream: None,
                request: Message {
                    head: request::kept_head(head, cx.options),
                    ..Message::default()
                },
                response: None,
                timing: Timing {
                    began_us: began.epoch_us,
                    total_us: micros(began, cx.now),
                    ..Timing::default()
                },
                error: Some(reason.to_owned()),
                intervention: Intervention::default(),
            };
            cx.outbox.push_ended(record);
        }
    }

    pub(super) fn requests_timed_out(&mut self, cx: &mut Context<'_>) {
        if self.limit.is_some_and(|limit| limit <= cx.now.instant) {
            let limit = REPLAY_TIMEOUT.as_secs();
            self.fail(504, format!("it did not come to its end within {limit} s"), cx);
            return;
        }
        match &self.exchange {
            Some(exchange) if exchange.paused_since().is_some() => self.hold_timed_out(cx),
            None if self.head_began.is_some() => {
                let wait = cx.options.request_head_timeout.as_secs_f64();
                let reason = format!(
                    "the request's head did not come within {wait} s (request_head_timeout)"
                );
                self.refuse(408, &reason, None, cx);
            }
            None => self.close(cx),
            Some(exchange) => {
                let (status, reason) = self.overdue(exchange, cx);
                self.fail(status, reason, cx);
            }
        }
    }

    /// Who has kept an exchange waiting for too long: the status that says so, and the words.
    fn overdue(&self, exchange: &Exchange, cx: &Context<'_>) -> (u16, String) {
        let Options { response_timeout, body_timeout, .. } = cx.options;
        if exchange.awaits_upstream() {
            return (504, "no connection to the server came about in time".to_owned());
        }
        if exchange.answer_awaited_since().is_some() {
            let wait = response_timeout.as_secs_f64();
            return (504, format!("the server did not answer within {wait} s (response_timeout)"));
        }
        let (status, what) = if exchange.is_answered() && !self.client.is_sent() {
            (504, "the client did not read the response's body on")
        } else if !self.upstream.is_sent() {
            (504, "the server did not read the request's body on")
        } else if !exchange.request_is_taken() {
            (408, "the request's body did not go on")
        } else {
            (504, "the response's body did not go on")
        };
        (status, format!("{what} for {} s (body_timeout)", body_timeout.as_secs_f64()))
    }

    fn switch_protocols(&mut self, cx: &mut Context<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        self.phase = Phase::Relaying(self.upgraded(*exchange, cx));
    }
}
