//! What an exchange tells the readers of flows: its end, and its stages where they are awaited.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::flow::record::{
    Answered, Begun, BodyBlock, Exchange as Record, FlowEvent, Message, Side, Timing, TlsFacts,
    Upstream,
};
use crate::http::head::{HeadReader, is_event_stream};
use crate::proxy::context::{Context, Now};
use crate::proxy::exchange::{Exchange, RequestSide, ResponseSide, micros};
use crate::proxy::outbox::Outbox;

impl Exchange {
    /// Since when the exchange could be told of while it is under way: since its request is
    /// complete. `None` when it was told of, or never will be.
    pub fn unannounced_since(&self) -> Option<Instant> {
        let waits = self.request == RequestSide::Done && self.facts.recorded && !self.announced;
        self.times.request_done.filter(|_| waits).map(|done| done.instant)
    }

    /// Tells of the exchange while it is under way, once, and of its response if there is one.
    pub fn announce(&mut self, client_tls: Option<&Arc<TlsFacts>>, cx: &mut Context<'_>) {
        if self.announced || !cx.shared.live || !self.facts.recorded {
            return;
        }
        self.announced = true;
        cx.outbox.push(FlowEvent::Begun(Arc::new(self.begun(client_tls))));
        if self.response == ResponseSide::Body {
            self.announce_response(cx);
        }
    }

    /// What the exchange began with, as far as its request has come.
    pub(super) fn begun(&self, client_tls: Option<&Arc<TlsFacts>>) -> Begun {
        let body = self.request_copy.so_far();
        Begun {
            id: self.id,
            scheme: self.facts.route.scheme,
            target: self.facts.route.authority.clone(),
            client: self.client,
            client_tls: client_tls.cloned(),
            began_us: self.facts.began.epoch_us,
            request: Message { head: self.facts.head.clone(), body, ..Message::default() },
            whole: self.request_is_taken(),
            intervention: self.intervention,
        }
    }

    /// Tells of the response's head, and of what came of an event stream.
    pub(super) fn announce_response(&mut self, cx: &mut Context<'_>) {
        let Some(head) = self.response_head.clone().filter(|_| self.announced) else { return };
        // It was parsed before; its spans may be overwritten by other connections' heads.
        let parsed = HeadReader::new().response(&head, &mut cx.heads.response);
        self.glimpsed = parsed.is_ok() && is_event_stream(&cx.heads.response, &head);
        cx.outbox.push(FlowEvent::Answered(Arc::new(Answered {
            flow: self.id,
            upstream: self.upstream_facts(),
            head,
        })));
        let tail = self.response_copy.whole().filter(|tail| !tail.is_empty());
        if let Some(tail) = tail.filter(|_| self.glimpsed) {
            let data = Bytes::copy_from_slice(tail);
            let block = BodyBlock { flow: self.id, side: Side::Response, data };
            cx.outbox.push(FlowEvent::Glimpse(block));
        }
    }

    /// The record of the exchange, when it is to be recorded.
    pub fn into_record(
        mut self,
        client_tls: Option<Arc<TlsFacts>>,
        error: Option<String>,
        now: Now,
        outbox: &mut Outbox,
    ) -> Option<Record> {
        if !self.facts.recorded {
            return None;
        }
        self.settle_hold(outbox);
        let timing = self.timing(now);
        let upstream = self.upstream_facts();
        let request_trailers = Bytes::copy_from_slice(self.request_body.trailers());
        let response_trailers = Bytes::copy_from_slice(self.response_body.trailers());
        let response = self.response_head.map(|head| Message {
            head,
            body: self.response_copy.finish(),
            trailers: response_trailers,
        });
        Some(Record {
            id: self.id,
            scheme: self.facts.route.scheme,
            target: Some(self.facts.route.authority),
            client: self.client,
            client_tls,
            upstream,
            request: Message {
                head: self.facts.head,
                body: self.request_copy.finish(),
                trailers: request_trailers,
            },
            response,
            timing,
            error,
            intervention: self.intervention,
        })
    }

    fn upstream_facts(&self) -> Option<Upstream> {
        self.upstream.as_ref().map(|upstream| Upstream {
            address: upstream.address,
            connection: upstream.connection,
            reused: upstream.reused,
            tls: upstream.tls.clone(),
        })
    }

    fn timing(&self, now: Now) -> Timing {
        let between = |from: Option<Now>, to: Option<Now>| match (from, to) {
            (Some(from), Some(to)) => micros(from, to),
            _ => 0,
        };
        let times = &self.times;
        // A server may answer before it has the whole request.
        let ends = [times.request_done, times.answer_began];
        let sent = ends.into_iter().flatten().min_by_key(|end| end.instant);
        Timing {
            began_us: self.facts.began.epoch_us,
            dns_us: self.upstream.as_ref().map_or(0, |upstream| upstream.dns_us),
            connect_us: self.upstream.as_ref().map_or(0, |upstream| upstream.connect_us),
            tls_us: self.upstream.as_ref().map_or(0, |upstream| upstream.tls_us),
            send_us: between(times.connected, sent),
            wait_us: between(times.request_done, times.answer_began),
            receive_us: between(times.answer_began, Some(now)),
            total_us: micros(self.facts.began, now),
        }
    }
}
