//! The messages of an exchange while they are held, and how they go on from there.

use std::sync::Arc;

use bytes::Bytes;

use crate::flow::record::{Body, FlowEvent, Held, Intervention, Message, Side};
use crate::flow::view::{BodyView, FlowView, MessageView};
use crate::http::body::{BodyLength, BodyReader};
use crate::http::head::{HeadReader, Parsed, Version};
use crate::http::reply;
use crate::proxy::context::{Context, Now};
use crate::proxy::exchange::feed::Feed;
use crate::proxy::exchange::{
    Exchange, Failure, RequestFacts, RequestSide, ResponseSide, Step, bad_response, check_size,
};
use crate::proxy::hold::{HeldBody, HeldShare, Hold};
use crate::proxy::intercept;
use crate::proxy::link::Link;
use crate::proxy::outbox::Outbox;

impl Exchange {
    /// The request does not go on before it was gathered. Returns whether it is held at all.
    pub fn hold_request(&mut self, client: &mut Link, cx: &mut Context<'_>) -> bool {
        let most = cx.options.held_flows;
        let hold = Hold::begin(Side::Request, self.facts.length, &cx.shared.held, most);
        let Some(mut hold) = hold else {
            intercept::tell_of_too_many(cx);
            return false;
        };
        if self.request_body.is_done() {
            hold.end_gathering(true);
        } else if self.facts.expects_continue && self.facts.version == Version::Http11 {
            // The client sends its body only when somebody asks for it.
            client.send(reply::CONTINUE);
            self.continued = true;
        }
        self.hold = Some(Box::new(hold));
        self.request = RequestSide::Held;
        true
    }

    /// The response, whose head is there, does not go on before it was gathered; `at_once` where
    /// nothing of its body is waited for, as of a stream of events, which may never end.
    pub(super) fn hold_response(
        &mut self,
        length: BodyLength,
        at_once: bool,
        cx: &Context<'_>,
    ) -> bool {
        let most = cx.options.held_flows;
        let Some(mut hold) = Hold::begin(Side::Response, length, &cx.shared.held, most) else {
            intercept::tell_of_too_many(cx);
            return false;
        };
        self.response_body = BodyReader::new(length);
        if self.response_body.is_done() || at_once {
            hold.end_gathering(self.response_body.is_done());
        }
        self.hold = Some(Box::new(hold));
        self.response = ResponseSide::Held;
        true
    }

    /// Takes what there is of a request's body that is being gathered.
    pub(super) fn gather_request(
        &mut self,
        client: &mut Link,
        cx: &Context<'_>,
    ) -> Result<bool, Failure> {
        let Some(hold) = &mut self.hold else { return Ok(false) };
        if hold.is_gathered() || hold.paused_since().is_some() {
            return Ok(false);
        }
        let taken = hold
            .gather(&mut self.request_body, &mut client.input)
            .map_err(|error| Failure::Client(400, error.to_string()))?;
        let size = hold.body_so_far().len() as u64;
        check_size(size, cx).map_err(|reason| Failure::Client(413, reason))?;
        let waits = taken == 0 && !hold.is_gathered();
        if waits && let Some(end) = &client.end {
            let reason = end.doubt().unwrap_or("the request ended before its body was complete");
            return Err(Failure::Client(400, reason.to_owned()));
        }
        Ok(!waits)
    }

    /// Takes what there is of a response's body that is being gathered.
    pub(super) fn gather_response(
        &mut self,
        upstream: &mut Link,
        cx: &Context<'_>,
    ) -> Result<Step, Failure> {
        let Some(hold) = &mut self.hold else { return Ok(Step::Wait) };
        if hold.is_gathered() || hold.paused_since().is_some() {
            return Ok(Step::Wait);
        }
        let taken = hold
            .gather(&mut self.response_body, &mut upstream.input)
            .map_err(|error| bad_response(&error.to_string()))?;
        let size = hold.body_so_far().len() as u64;
        check_size(size, cx).map_err(|reason| Failure::Upstream(502, reason))?;
        if taken > 0 || hold.is_gathered() {
            return Ok(Step::Progress);
        }
        let Some(end) = upstream.end.clone() else { return Ok(Step::Wait) };
        self.check_end(&end)?;
        if let Some(hold) = &mut self.hold {
            hold.end_gathering(true);
        }
        Ok(Step::Progress)
    }

    /// Whether a message was gathered and has to be judged.
    pub fn has_gathered(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.is_gathered())
    }

    /// The message that is held or being gathered.
    pub fn held_side(&self) -> Option<Side> {
        self.hold.as_ref().map(|hold| hold.side)
    }

    /// Since when somebody has to decide about the exchange.
    pub fn paused_since(&self) -> Option<Now> {
        self.hold.as_ref().and_then(|hold| hold.paused_since())
    }

    /// How the body of the response that is held goes out with this status; `body` where it is
    /// replaced.
    pub fn held_length(&self, body: Option<&Bytes>, status: u16) -> BodyLength {
        match (body, &self.hold) {
            _ if self.is_bodiless(status) => BodyLength::None,
            (Some(body), _) => BodyLength::Length(body.len() as u64),
            (None, Some(hold)) => hold.length,
            (None, None) => BodyLength::None,
        }
    }

    /// How the body of an answer of this status goes out.
    pub fn answer_length(&self, body: &Bytes, status: u16) -> BodyLength {
        match self.is_bodiless(status) {
            true => BodyLength::None,
            false => BodyLength::Length(body.len() as u64),
        }
    }

    /// Whether the response that is held has no body, and one of this status has to have one: the
    /// length that its head may tell is that of another response.
    pub fn lacks_body(&self, status: Option<u16>) -> bool {
        let has_none = self.hold.as_ref().is_some_and(|hold| hold.length == BodyLength::None);
        has_none && status.is_some_and(|status| !self.is_bodiless(status))
    }

    /// What is held; nothing while nothing is.
    pub fn held_body(&self) -> HeldBody {
        self.hold.as_ref().map(|hold| hold.held()).unwrap_or_default()
    }

    /// From now on somebody has to decide: tells of what is held.
    pub fn pause(&mut self, cx: &mut Context<'_>) {
        let begun = Arc::new(self.begun(None));
        let Some(hold) = &mut self.hold else { return };
        hold.pause(cx.now);
        let (HeldBody { body, whole, .. }, size) = (hold.held(), hold.size());
        let (head, reader) = match hold.side {
            Side::Request => (self.facts.head.clone(), &self.request_body),
            Side::Response => (self.response_head.clone().unwrap_or_default(), &self.response_body),
        };
        let message = Message {
            head,
            body: Body { tail: body, sent_ahead: 0, size },
            trailers: Bytes::copy_from_slice(reader.trailers()),
        };
        cx.outbox.push(FlowEvent::Held(Arc::new(Held {
            flow: self.id,
            begun,
            side: hold.side,
            message,
            whole,
            since_us: cx.now.epoch_us,
        })));
    }

    /// What was gathered belongs to the record, whatever became of it. Returns what was held and
    /// what its bytes count, if anything was.
    pub(super) fn settle_hold(&mut self, outbox: &mut Outbox) -> Option<(HeldBody, HeldShare)> {
        let mut hold = self.hold.take()?;
        let copy = match hold.side {
            Side::Request => &mut self.request_copy,
            Side::Response => &mut self.response_copy,
        };
        copy.push(hold.body_so_far(), outbox);
        Some((hold.held(), hold.take_share()))
    }

    /// The request goes on as it came.
    pub fn release_request(&mut self, outbox: &mut Outbox) {
        if let Some((held, share)) = self.settle_hold(outbox) {
            self.request_feed = Feed::new(held.framed, share, held.whole);
        }
        self.request = RequestSide::Upstream;
    }

    /// Sends on what there is room for of a request's body that was held. Returns whether that
    /// was anything.
    pub(super) fn feed_request(&mut self, upstream: &mut Link) -> bool {
        let Some(feed) = &mut self.request_feed else { return false };
        let moved = feed.advance(upstream);
        if !self.may_come_again() {
            self.forget_fed_request();
        }
        moved
    }

    /// Nothing has to be sent again: what of the request has gone on is kept no longer.
    pub(super) fn forget_fed_request(&mut self) {
        self.request_feed.take_if(|feed| feed.is_fed());
    }

    /// Sends on what there is room for of a response's body that was held.
    pub(super) fn feed_response(&mut self, client: &mut Link) {
        let Some(feed) = &mut self.response_feed else { return };
        feed.advance(client);
        if feed.is_fed() {
            if feed.is_all() {
                self.response = ResponseSide::Done;
            }
            self.response_feed = None;
        }
    }

    /// The request goes on with another head and, where there is one, another body.
    pub fn release_edited_request(
        &mut self,
        facts: RequestFacts,
        body: Option<Bytes>,
        outbox: &mut Outbox,
    ) {
        self.intervention.request_edited = true;
        self.facts = facts;
        let Some(body) = body else { return self.release_request(outbox) };
        if let Some(mut hold) = self.hold.take() {
            self.send_whole(body, hold.take_share(), outbox);
        }
    }

    /// A tool sends the request: this is all of its body.
    pub fn set_out_whole(&mut self, body: Bytes, intervention: Intervention, cx: &mut Context<'_>) {
        self.intervention = intervention;
        self.send_whole(body, HeldShare::new(&cx.shared.held), cx.outbox);
    }

    fn send_whole(&mut self, body: Bytes, share: HeldShare, outbox: &mut Outbox) {
        self.request_body = finished();
        self.request_copy.push(&body, outbox);
        self.request_feed = Feed::new(body, share, true);
        self.request = RequestSide::Upstream;
    }

    /// The response goes on: as it came, or with another head, another body.
    ///
    /// # Errors
    /// When the head is malformed, or a body is given where there is none; then nothing has
    /// changed.
    pub fn release_response(
        &mut self,
        head: Option<Bytes>,
        body: Option<Bytes>,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), String> {
        let Some(hold) = &self.hold else { return Ok(()) };
        let held = hold.held();
        let edited = head.is_some() || body.is_some();
        let bytes = head.or_else(|| self.response_head.clone()).unwrap_or_default();
        read_response_head(&bytes, cx)?;
        let status = cx.heads.response.status;
        self.check_body(status, body.as_ref().unwrap_or(&Bytes::new()))?;
        let bodiless = self.is_bodiless(status);
        let body = body.or_else(|| (edited && bodiless).then(Bytes::new));
        let length = match &body {
            Some(_) if bodiless => BodyLength::None,
            Some(body) => BodyLength::Length(body.len() as u64),
            None => hold.length,
        };
        let sent = self.pass_held(&bytes, length, client, cx);
        self.response_head = Some(if edited { sent } else { bytes });
        self.intervention.response_edited |= edited;
        match body {
            Some(body) => {
                // What is still to come of the server's body belongs to nobody any more.
                self.upstream_stays &= held.whole;
                self.response_body = finished();
                let share = self.hold.take().map(|mut hold| hold.take_share());
                self.give_body(body, share, client, cx);
            }
            None => {
                let share = self.settle_hold(cx.outbox).map(|(_, share)| share);
                let bytes = if self.unchunk { held.body } else { held.framed };
                self.release_body(bytes, held.whole, share, client, cx);
            }
        }
        self.announce_response(cx);
        Ok(())
    }

    /// The client gets this answer, and no server was asked.
    ///
    /// # Errors
    /// When the head is malformed, or a body is given where there is none; then nothing has
    /// changed.
    pub fn answer(
        &mut self,
        head: Bytes,
        body: &Bytes,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), String> {
        read_response_head(&head, cx)?;
        let status = cx.heads.response.status;
        self.check_body(status, body)?;
        let whole = match &self.hold {
            Some(hold) => hold.held().whole,
            None => self.request_body.is_done(),
        };
        // Rules answer what they have gathered; tools what was held for them.
        self.intervention.response_edited |= self.paused_since().is_some();
        let share = self.settle_hold(cx.outbox).map(|(_, share)| share);
        self.request = if whole { RequestSide::Done } else { RequestSide::Unwanted };
        self.client_stays &= whole;
        let length = self.answer_length(body, status);
        self.response_head = Some(self.pass_held(&head, length, client, cx));
        self.upstream_stays = false;
        self.response_body = finished();
        self.times.request_done.get_or_insert(cx.now);
        self.give_body(body.clone(), share, client, cx);
        Ok(())
    }

    /// Passes on the head that was read last, and gives it as it goes to the client: what of it
    /// ends at this hop is not in there, nor a length where there is no body.
    fn pass_held(
        &mut self,
        bytes: &[u8],
        length: BodyLength,
        client: &mut Link,
        cx: &Context<'_>,
    ) -> Bytes {
        let before = client.output.storage().len();
        self.pass_final(&cx.heads.response, bytes, length, client);
        Bytes::copy_from_slice(client.output.storage().get(before..).unwrap_or_default())
    }

    /// Takes what there is of a request that has its answer, so that a client that sends all of
    /// it first comes to read that. Returns whether that was anything.
    pub(super) fn take_unwanted(&mut self, client: &mut Link, cx: &mut Context<'_>) -> bool {
        let (copy, outbox) = (&mut self.request_copy, &mut *cx.outbox);
        let mut keep = |piece: &[u8]| copy.push(piece, outbox);
        let taken = self.request_body.advance(client.input.bytes(), &mut keep);
        let consumed = taken.as_ref().map_or(0, |progress| progress.consumed);
        client.input.consume(consumed);
        // The connection ends with the answer: what is wrong with the rest concerns nobody.
        if taken.is_err() || self.request_body.is_done() {
            self.request = RequestSide::Done;
        }
        consumed > 0
    }

    /// The client gets this body, which did not come from the server.
    fn give_body(
        &mut self,
        body: Bytes,
        share: Option<HeldShare>,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) {
        self.response_copy.push(&body, cx.outbox);
        self.release_body(body, true, share, client, cx);
    }

    /// The client gets these bytes, and behind them what is still to come of the server's body;
    /// nothing where this `is_all`.
    fn release_body(
        &mut self,
        bytes: Bytes,
        is_all: bool,
        share: Option<HeldShare>,
        client: &mut Link,
        cx: &Context<'_>,
    ) {
        let share = share.unwrap_or_else(|| HeldShare::new(&cx.shared.held));
        self.response_feed = Feed::new(bytes, share, is_all);
        let is_done = is_all && self.response_feed.is_none();
        self.response = if is_done { ResponseSide::Done } else { ResponseSide::Body };
        self.feed_response(client);
    }

    /// Whether a body may be given with this status.
    fn check_body(&self, status: u16, body: &Bytes) -> Result<(), String> {
        if body.is_empty() || !self.is_bodiless(status) {
            return Ok(());
        }
        let what = match status {
            204 | 304 => format!("a response of status {status}"),
            _ => "a response to HEAD".to_owned(),
        };
        Err(format!("{what} has no body: leave the body out"))
    }

    /// Whether a response of this status has no body (RFC 9110 section 6.4.1).
    fn is_bodiless(&self, status: u16) -> bool {
        matches!(status, 204 | 304) || self.facts.method() == b"HEAD"
    }

    /// The exchange as filters see it; `held` is the body of the message that is judged.
    pub fn view<'a>(
        &'a self,
        request_body: BodyView<'a>,
        response_body: BodyView<'a>,
    ) -> FlowView<'a> {
        FlowView {
            target: Some(&self.facts.route.authority),
            request: MessageView { head: &self.facts.head, body: request_body },
            response: self
                .response_head
                .as_ref()
                .map(|head| MessageView { head, body: response_body }),
            replayed: self.intervention.replayed,
            ..FlowView::new(self.facts.route.scheme, self.client)
        }
    }
}

/// A reader of a body that is over already.
fn finished() -> BodyReader {
    BodyReader::new(BodyLength::None)
}

fn read_response_head(bytes: &[u8], cx: &mut Context<'_>) -> Result<(), String> {
    match HeadReader::new().response(bytes, &mut cx.heads.response) {
        Ok(Parsed::Complete) if cx.heads.response.len == bytes.len() => Ok(()),
        Ok(_) => Err("the head is not complete".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
