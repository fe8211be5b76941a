//! The response side of an exchange: its head, and its body as it passes.

use bytes::Bytes;

use crate::flow::record::{BodyBlock, FlowEvent, Side};
use crate::http::body::{BodyLength, BodyReader, FramingError, response_length};
use crate::http::credentials::logs_connection_in;
use crate::http::field::{FieldKind, values_of};
use crate::http::head::{Parsed, ResponseHead, Version, is_event_stream};
use crate::http::rewrite::{
    ConnectionField, OutgoingResponse, keep_alive, keep_alive_timeout, write_response,
};
use crate::limits::INTERIM_RESPONSES;
use crate::proxy::context::Context;
use crate::proxy::exchange::{
    Exchange, Failure, RequestSide, ResponseSide, Step, bad_response, check_length, check_size,
    early_end,
};
use crate::proxy::intercept::{self, Ruling};
use crate::proxy::link::{End, Link};

impl Exchange {
    pub(super) fn read_head(
        &mut self,
        upstream: &mut Link,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<Step, Failure> {
        if upstream.input.is_empty() && upstream.end.is_none() {
            return Ok(Step::Wait);
        }
        if !upstream.input.is_empty() && self.times.response_began.is_none() {
            self.times.response_began = Some(cx.now);
            self.forget_fed_request();
        }
        if !upstream.input.is_empty() {
            self.times.answer_began.get_or_insert(cx.now);
        }
        let heads = &mut *cx.heads;
        let parsed = self
            .response_reader
            .response(upstream.input.bytes(), &mut heads.response)
            .map_err(|error| bad_response(&error.to_string()))?;
        match parsed {
            Parsed::Complete => self.take_head(upstream, client, cx),
            Parsed::Partial => match &upstream.end {
                None => Ok(Step::Wait),
                Some(end) => Err(Failure::Upstream(502, early_end(end, &upstream.input))),
            },
        }
    }

    fn take_head(
        &mut self,
        upstream: &mut Link,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<Step, Failure> {
        let head = &cx.heads.response;
        let bytes = upstream.input.bytes();
        let length = response_length(head, bytes, self.facts.method())
            .map_err(|error| bad_response(&error.to_string()))?;
        let head_bytes = head.len;
        let step = match head.status {
            101 => {
                let step = self.switch(head, bytes, client)?;
                self.response_head =
                    Some(Bytes::copy_from_slice(bytes.get(..head_bytes).unwrap_or(bytes)));
                step
            }
            100..=199 => {
                self.times.interim = Some(cx.now);
                self.times.answer_began = None;
                self.pass_interim(head, bytes, client)?
            }
            _ => {
                self.upstream_stays = keep_alive(head.version, &head.fields, bytes)
                    && length != BodyLength::UntilClose
                    && upstream.end.is_none()
                    && !upstream.broken;
                self.take_final(length, bytes, client, cx)?;
                Step::Progress
            }
        };
        upstream.input.consume(head_bytes);
        Ok(step)
    }

    fn take_final(
        &mut self,
        length: BodyLength,
        bytes: &[u8],
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), Failure> {
        check_length(length, cx).map_err(|reason| Failure::Upstream(502, reason))?;
        let head = &cx.heads.response;
        let proxy = self.upstream.as_ref().and_then(|upstream| upstream.forwards.as_ref());
        if let Some(proxy) = proxy.filter(|_| head.status == 407) {
            // The client has no part in what is between flowtap and that proxy.
            return Err(Failure::Upstream(502, proxy.authentication_failure()));
        }
        let raw = bytes.get(..head.len).unwrap_or(bytes);
        self.response_head = Some(Bytes::copy_from_slice(raw));
        self.upstream_idle = keep_alive_timeout(&head.fields, bytes);
        let challenges = values_of(&head.fields, bytes, FieldKind::WwwAuthenticate);
        self.login_awaited = logs_connection_in(challenges);
        let ruling = intercept::rule_response(self, length, cx);
        if ruling != Ruling::Pass {
            let stream = is_event_stream(head, bytes);
            if self.hold_response(length, stream, cx) {
                return Ok(());
            }
        }
        self.pass_final(head, bytes, length, client);
        if let BodyLength::Length(length) = length {
            self.response_copy.reserve(length);
        }
        self.response_body = BodyReader::new(length);
        self.response =
            if self.response_body.is_done() { ResponseSide::Done } else { ResponseSide::Body };
        self.announce_response(cx);
        Ok(())
    }

    fn switch(
        &self,
        head: &ResponseHead,
        bytes: &[u8],
        client: &mut Link,
    ) -> Result<Step, Failure> {
        if !self.facts.upgrade || self.request != RequestSide::Done {
            return Err(bad_response("101 (Switching Protocols) was not asked for"));
        }
        let outgoing = OutgoingResponse {
            body: BodyLength::None,
            connection: ConnectionField::Omit,
            upgrade: true,
            client: self.facts.version,
        };
        write_response(client.output.storage(), bytes, head, &outgoing);
        Ok(Step::Switch)
    }

    fn pass_interim(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        client: &mut Link,
    ) -> Result<Step, Failure> {
        self.interim += 1;
        if self.interim > INTERIM_RESPONSES {
            return Err(bad_response("too many interim responses"));
        }
        // A client that was asked for its body already need not be asked again.
        let again = head.status == 100 && self.continued;
        self.continued |= head.status == 100;
        // RFC 9110 section 15.2: an HTTP/1.0 client knows no interim responses.
        if self.facts.version == Version::Http11 && !again {
            let outgoing = OutgoingResponse {
                body: BodyLength::None,
                connection: ConnectionField::Omit,
                upgrade: false,
                client: self.facts.version,
            };
            write_response(client.output.storage(), bytes, head, &outgoing);
        }
        Ok(Step::Progress)
    }

    pub(super) fn pass_final(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        length: BodyLength,
        client: &mut Link,
    ) {
        self.until_close = length == BodyLength::UntilClose;
        self.unchunk = length == BodyLength::Chunked && self.facts.version == Version::Http10;
        // A client that waited for 100 (Continue) and gets a final answer may or may not send
        // its body; nobody can tell which, so the connection ends (RFC 9110 section 10.1.1).
        self.body_in_doubt = self.facts.expects_continue
            && !self.continued
            && !self.request_body.is_done()
            && !self.body_taken;
        self.client_stays &= !self.until_close && !self.unchunk && !self.body_in_doubt;
        // A server that leaves before it has the whole body takes the client's connection with it
        // (RFC 9112 section 9.6), though it may still read on for a while.
        self.upload_ends |= !self.upstream_stays && !self.request_body.is_done();
        let connection = ConnectionField::of(self.client_stays(), self.facts.version);
        let outgoing = OutgoingResponse {
            body: if self.unchunk { BodyLength::UntilClose } else { length },
            connection,
            upgrade: head.status == 426,
            client: self.facts.version,
        };
        write_response(client.output.storage(), bytes, head, &outgoing);
    }

    pub(super) fn move_body(
        &mut self,
        upstream: &mut Link,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<Step, Failure> {
        if !client.has_room() {
            return Ok(Step::Wait);
        }
        if self.response_feed.is_some() {
            self.feed_response(client);
            return Ok(Step::Progress);
        }
        let copy = &mut self.response_copy;
        let outbox = &mut *cx.outbox;
        let unchunk = self.unchunk;
        let limit = cx.options.body_size_limit.unwrap_or(u64::MAX);
        let (flow, glimpsed) = (self.id, self.glimpsed);
        let progress = self
            .response_body
            .advance(upstream.input.bytes(), &mut |piece: &[u8]| {
                copy.push(piece, outbox);
                if glimpsed {
                    let data = Bytes::copy_from_slice(piece);
                    let side = Side::Response;
                    outbox.push(FlowEvent::Glimpse(BodyBlock { flow, side, data }));
                }
                if unchunk && copy.size() <= limit {
                    client.send(piece);
                }
            })
            .map_err(|error| bad_response(&error.to_string()))?;
        // Before anything of it goes on: its end may be among it, and it would pass for whole.
        check_size(self.response_copy.size(), cx)
            .map_err(|reason| Failure::Upstream(502, reason))?;
        if unchunk {
            upstream.input.consume(progress.consumed);
        } else {
            client.forward(&mut upstream.input, progress.consumed);
        }
        if progress.done {
            self.response = ResponseSide::Done;
        } else if let Some(end) = &upstream.end
            && progress.consumed == 0
        {
            return self.end_body(end);
        }
        let moved = progress.consumed > 0 || progress.done;
        Ok(if moved { Step::Progress } else { Step::Wait })
    }

    /// The server's stream has ended inside the body.
    fn end_body(&mut self, end: &End) -> Result<Step, Failure> {
        self.check_end(end)?;
        self.response = ResponseSide::Done;
        Ok(Step::Progress)
    }

    /// Whether the end of the server's stream ends the body well.
    pub(super) fn check_end(&mut self, end: &End) -> Result<(), Failure> {
        self.upstream_stays = false;
        match (self.response_body.finish(), end.doubt()) {
            (Ok(()), None) => Ok(()),
            (Ok(()) | Err(FramingError::Truncated), Some(doubt)) => {
                Err(Failure::Upstream(502, doubt.to_owned()))
            }
            (Err(error), _) => Err(Failure::Upstream(502, error.to_string())),
        }
    }
}
