//! Flows that match the intercept filter are held, and go on when somebody has decided.
//!
//! A flow that cannot match is never touched: a filter that needs no body judges by the head
//! alone, and only where the answer depends on a body is that gathered first.

use std::io;
use std::time::Instant;

use bytes::Bytes;

use crate::flow::control::{Answer, ControlError, RequestEdit, ResponseEdit, Verdict};
use crate::flow::decode::{Caps, codings, decode};
use crate::flow::filter::Filter;
use crate::flow::head::HeadText;
use crate::flow::record::{FlowEvent, FlowId, Released, Side};
use crate::flow::view::BodyView;
use crate::http::body::BodyLength;
use crate::http::hops;
use crate::limits::HELD_BODY_BYTES;
use crate::notice::Notice;
use crate::proxy::conn::{Conn, UpstreamState};
use crate::proxy::context::{Command, Context};
use crate::proxy::exchange::{Exchange, check_length};
use crate::proxy::hold::HeldBody;
use crate::proxy::rebuild;

/// What the rules in force say of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It goes on.
    Pass,
    /// That depends on its body; where that cannot be gathered it goes on.
    Gather,
    /// That depends on its body, and where that cannot be gathered it must not go on.
    GatherOrRefuse,
    /// It is held.
    Hold,
    /// It is answered with this status and goes nowhere.
    Block(u16),
}

/// Why a rule of the block_list cannot look at a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unseen {
    TooLarge,
    Coded,
    NoRoom,
}

/// The filter by which this exchange may be held: where nobody sees it, nobody can decide.
fn intercept<'a>(exchange: &Exchange, cx: &Context<'a>) -> Option<&'a Filter> {
    let is_seen = cx.shared.live && exchange.facts().recorded;
    cx.options.intercept.as_ref().filter(|_| is_seen)
}

/// Judges a request.
pub(super) fn rule_request(exchange: &Exchange, body: BodyView<'_>, cx: &Context<'_>) -> Ruling {
    let (options, intercept) = (cx.options, intercept(exchange, cx));
    let quiet = intercept.is_none() && options.block_list.is_empty();
    if quiet || !exchange.facts().ruled || exchange.is_replay() {
        return Ruling::Pass;
    }
    match block(exchange, body, cx) {
        Some(ruling) => return ruling,
        None if intercept.is_none() => return Ruling::Pass,
        None => {}
    }
    let flow = exchange.view(body, BodyView::NotKept);
    match intercept.map(|filter| filter.evaluate(&flow)) {
        Some(Some(true)) => Ruling::Hold,
        Some(None) => Ruling::Gather,
        Some(Some(false)) | None => Ruling::Pass,
    }
}

/// What the block_list says of a request; `None` where no rule is about it.
fn block(exchange: &Exchange, body: BodyView<'_>, cx: &Context<'_>) -> Option<Ruling> {
    let flow = exchange.view(body, BodyView::NotKept);
    let mut depends = false;
    for rule in &cx.options.block_list {
        match rule.filter.evaluate(&flow) {
            Some(true) => return Some(Ruling::Block(rule.status)),
            Some(false) => {}
            None => depends = true,
        }
    }
    depends.then_some(Ruling::GatherOrRefuse)
}

/// Judges a request of whose body only a part could be gathered. A rule of the block_list that
/// depends on the rest refuses it: a list with a hole would be none.
fn rule_part(exchange: &Exchange, cx: &Context<'_>) -> Ruling {
    if let Some(ruling) = block(exchange, BodyView::Awaited, cx) {
        return ruling;
    }
    rule_request(exchange, BodyView::NotKept, cx)
}

/// Whether a request's body has a content coding that cannot be undone: what it says is not seen.
fn is_hidden(exchange: &Exchange, body: &[u8]) -> bool {
    let head = HeadText::view(&exchange.facts().head);
    match codings(head.values("content-encoding")) {
        None => true,
        Some(codings) if codings.is_empty() => false,
        Some(codings) => {
            let decoded = decode(&codings, &mut &*body, &mut io::sink(), Caps::default());
            decoded.is_err()
        }
    }
}

/// Judges a response whose head is there.
pub(super) fn rule_response(exchange: &Exchange, length: BodyLength, cx: &Context<'_>) -> Ruling {
    let body = match length {
        BodyLength::None | BodyLength::Length(0) => BodyView::Kept(&[]),
        _ => BodyView::Awaited,
    };
    rule_response_body(exchange, body, cx)
}

fn rule_response_body(exchange: &Exchange, body: BodyView<'_>, cx: &Context<'_>) -> Ruling {
    let Some(filter) = intercept(exchange, cx) else { return Ruling::Pass };
    if exchange.is_replay() {
        return Ruling::Pass;
    }
    let request = exchange.request_body().map(pieces);
    let request = request.as_deref().map_or(BodyView::NotKept, BodyView::Kept);
    match filter.evaluate(&exchange.view(request, body)) {
        Some(true) => Ruling::Hold,
        Some(false) => Ruling::Pass,
        None => Ruling::Gather,
    }
}

impl Conn {
    /// The exchange in hand sets out, unless the rules say otherwise.
    pub(super) fn admit(&mut self, cx: &mut Context<'_>) {
        let Some(exchange) = &mut self.exchange else { return };
        if let Err(reason) = check_length(exchange.facts().length, cx) {
            return self.fail(413, reason, cx);
        }
        let body = if exchange.has_no_body() { BodyView::Kept(&[]) } else { BodyView::Awaited };
        match rule_request(exchange, body, cx) {
            Ruling::Pass => self.set_out(cx),
            Ruling::Block(status) => self.block(status, cx),
            ruling @ (Ruling::Gather | Ruling::GatherOrRefuse | Ruling::Hold) => {
                if exchange.hold_request(&mut self.client, cx) {
                    return;
                }
                match ruling {
                    Ruling::GatherOrRefuse => self.refuse_unseen(Unseen::NoRoom, cx),
                    _ => self.set_out(cx),
                }
            }
        }
    }

    /// Gets the exchange in hand its upstream connection, unless it is to go no further.
    fn set_out(&mut self, cx: &mut Context<'_>) {
        if self.answer_last_hop(cx) {
            return;
        }
        let ahead =
            matches!(self.upstream_state, UpstreamState::Spare(_) | UpstreamState::DiallingAhead);
        if ahead && !self.stays_in_tunnel() {
            self.drop_upstream(cx);
        }
        match self.upstream_state {
            UpstreamState::Spare(_) => self.use_spare(cx),
            UpstreamState::DiallingAhead => {}
            _ => self.dial(cx),
        }
    }

    /// Answers a request that may pass no other proxy (RFC 9110 section 7.6.2), in the place of
    /// whoever it is for. Returns whether it is one.
    fn answer_last_hop(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(exchange) = &mut self.exchange else { return false };
        let facts = exchange.facts();
        if !facts.last_hop {
            return false;
        }
        let (head, body) = hops::last_answer(facts.method(), &facts.head);
        let answered = exchange.answer(head, &body, &mut self.client, cx);
        debug_assert_eq!(answered, Ok(()), "a head of our own can be parsed");
        answered.is_ok()
    }

    /// Whether the exchange in hand goes where the tunnel leads: an edit may send it elsewhere.
    fn stays_in_tunnel(&self) -> bool {
        let tunnel = self.inside.as_ref().map(|inside| &inside.route.authority);
        let exchange = self.exchange.as_ref();
        tunnel == exchange.map(|exchange| &exchange.facts().route.authority)
    }

    /// A message was gathered: judges it as a whole.
    pub(super) fn judge_gathered(&mut self, cx: &mut Context<'_>) {
        let Some(exchange) = &mut self.exchange else { return };
        let held = exchange.held_body();
        let too_large = held.body.len().max(held.framed.len()) >= HELD_BODY_BYTES;
        let pieces = pieces(held.body.clone());
        let body = if held.whole { BodyView::Kept(&pieces) } else { BodyView::NotKept };
        let side = exchange.held_side();
        let ruling = match side {
            Some(Side::Request) if held.whole => {
                let ruling = rule_request(exchange, body, cx);
                let blocks = matches!(ruling, Ruling::Block(_));
                let depends = !blocks && block(exchange, BodyView::Awaited, cx).is_some();
                let hidden = depends && is_hidden(exchange, &held.body);
                if hidden { Ruling::GatherOrRefuse } else { ruling }
            }
            Some(Side::Request) => rule_part(exchange, cx),
            _ => rule_response_body(exchange, body, cx),
        };
        match (ruling, side) {
            (Ruling::Hold, _) => self.pause(cx),
            (Ruling::Block(status), _) => self.block(status, cx),
            (Ruling::GatherOrRefuse, _) => {
                let why = match (held.whole, too_large) {
                    (true, _) => Unseen::Coded,
                    (false, true) => Unseen::TooLarge,
                    (false, false) => Unseen::NoRoom,
                };
                self.refuse_unseen(why, cx);
            }
            (Ruling::Pass | Ruling::Gather, Some(Side::Request)) => {
                exchange.release_request(cx.outbox);
                self.set_out(cx);
            }
            (Ruling::Pass | Ruling::Gather, _) => {
                let released = exchange.release_response(None, None, &mut self.client, cx);
                debug_assert_eq!(released, Ok(()), "the server's own head was parsed before");
            }
        }
    }

    /// Refuses the request in hand, about whose body the block_list has a rule: not all of the
    /// body can be looked at.
    fn refuse_unseen(&mut self, why: Unseen, cx: &mut Context<'_>) {
        cx.shared.stats.undecided.add(1);
        let (status, why) = match why {
            Unseen::TooLarge => (413, format!("it is larger than {HELD_BODY_BYTES} bytes")),
            Unseen::Coded => (415, "its content coding cannot be undone".to_owned()),
            Unseen::NoRoom => (503, "too much is held at the moment".to_owned()),
        };
        let reason = format!("a rule of the block_list looks at the body, and cannot here: {why}");
        self.fail(status, reason, cx);
    }

    fn pause(&mut self, cx: &mut Context<'_>) {
        let tls = self.client_tls.clone();
        let Some(exchange) = &mut self.exchange else { return };
        exchange.announce(tls.as_ref(), cx);
        exchange.pause(cx);
        cx.commands.push(Command::Hold(exchange.id()));
    }

    /// Answers the exchange in hand with a status and nothing else; 444 answers nothing.
    fn block(&mut self, status: u16, cx: &mut Context<'_>) {
        let Some(exchange) = &mut self.exchange else { return };
        let body = Bytes::new();
        let length = exchange.answer_length(&body, status);
        let answer = (status != CLOSES).then(|| rebuild::bare_response(status, length));
        if let Some(head) = answer
            && exchange.answer(head, &body, &mut self.client, cx).is_ok()
        {
            return;
        }
        self.record_exchange(Some("blocked by the block_list".to_owned()), cx);
        self.close(cx);
    }

    /// Somebody has decided about a flow that is held; `timed_out` where nobody has.
    ///
    /// # Errors
    /// When it is not held here, or the edit is not possible; then it stays as it is.
    pub fn decide(
        &mut self,
        flow: FlowId,
        verdict: Verdict,
        timed_out: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), ControlError> {
        let held = self.exchange.as_ref().filter(|exchange| exchange.id() == flow);
        let held = held.filter(|exchange| exchange.paused_since().is_some());
        let side = held.and_then(|exchange| exchange.held_side()).ok_or(ControlError::NotHeld)?;
        match (side, verdict) {
            (_, Verdict::Drop) => {
                self.record_exchange(Some("dropped while it was held".to_owned()), cx);
                self.close(cx);
                return Ok(());
            }
            (Side::Request, Verdict::Resume) => self.resume_request(RequestEdit::default(), cx)?,
            (Side::Request, Verdict::ResumeRequest(edit)) => self.resume_request(edit, cx)?,
            (Side::Request, Verdict::Answer(answer)) => self.give_answer(&answer, cx)?,
            (Side::Response, Verdict::Resume) => {
                self.resume_response(ResponseEdit::default(), cx)?;
            }
            (Side::Response, Verdict::ResumeResponse(edit)) => self.resume_response(edit, cx)?,
            (Side::Response, Verdict::Answer(answer)) => {
                let Answer { status, headers, body } = answer;
                let edit =
                    ResponseEdit { status: Some(status), headers: Some(headers), body: Some(body) };
                self.resume_response(edit, cx)?;
            }
            (Side::Request, Verdict::ResumeResponse(_)) => {
                return Err(refused("the request is held, and there is no response yet"));
            }
            (Side::Response, Verdict::ResumeRequest(_)) => {
                return Err(refused("the response is held: its request has gone out already"));
            }
        }
        // The waits that follow begin now, however long this one was.
        self.touch(cx.now);
        cx.outbox.push(FlowEvent::Released(Released { flow, timed_out }));
        cx.commands.push(Command::Release(flow));
        Ok(())
    }

    fn resume_request(
        &mut self,
        edit: RequestEdit,
        cx: &mut Context<'_>,
    ) -> Result<(), ControlError> {
        let Some(exchange) = &mut self.exchange else { return Err(ControlError::NotHeld) };
        if edit.is_empty() {
            exchange.release_request(cx.outbox);
        } else {
            let body = edit.body.clone();
            check_whole(body.is_some(), &exchange.held_body())?;
            let facts = rebuild::edited_request(exchange.facts(), edit, cx)
                .map_err(ControlError::Refused)?;
            exchange.release_edited_request(facts, body, cx.outbox);
        }
        self.set_out(cx);
        Ok(())
    }

    fn resume_response(
        &mut self,
        mut edit: ResponseEdit,
        cx: &mut Context<'_>,
    ) -> Result<(), ControlError> {
        let Some(exchange) = &mut self.exchange else { return Err(ControlError::NotHeld) };
        if exchange.lacks_body(edit.status) {
            edit.body.get_or_insert_default();
        }
        let head = match edit.is_empty() {
            true => None,
            false => {
                let original = exchange.response_head().cloned().unwrap_or_default();
                let length = |status| exchange.held_length(edit.body.as_ref(), status);
                let head = rebuild::edited_response(&original, &edit, length, cx);
                Some(head.map_err(ControlError::Refused)?)
            }
        };
        exchange
            .release_response(head, edit.body, &mut self.client, cx)
            .map_err(ControlError::Refused)
    }

    fn give_answer(&mut self, answer: &Answer, cx: &mut Context<'_>) -> Result<(), ControlError> {
        let Some(exchange) = &mut self.exchange else { return Err(ControlError::NotHeld) };
        let length = exchange.answer_length(&answer.body, answer.status);
        let head = rebuild::response(answer, length).map_err(ControlError::Refused)?;
        exchange.answer(head, &answer.body, &mut self.client, cx).map_err(ControlError::Refused)
    }

    /// Nobody has decided in time.
    pub(super) fn hold_timed_out(&mut self, cx: &mut Context<'_>) {
        if let Some(flow) = self.exchange.as_ref().map(|exchange| exchange.id()) {
            // It was seen to be held when the deadline was worked out.
            let _ = self.decide(flow, Verdict::Resume, true, cx);
        }
    }

    /// Tells of the exchange in hand, which is under way.
    pub fn announce(&mut self, cx: &mut Context<'_>) {
        let tls = self.client_tls.clone();
        if let Some(exchange) = &mut self.exchange {
            exchange.announce(tls.as_ref(), cx);
        }
    }

    /// Since when the exchange in hand could be told of; `None` where there is nothing to tell.
    pub fn unannounced_since(&self) -> Option<Instant> {
        self.exchange.as_ref().and_then(|exchange| exchange.unannounced_since())
    }
}

/// The status that closes the connection instead of being sent, as nginx has it.
const CLOSES: u16 = 444;

fn refused(reason: &str) -> ControlError {
    ControlError::Refused(reason.to_owned())
}

/// A request whose body is held in part goes on with that body or not at all.
fn check_whole(replaces_body: bool, held: &HeldBody) -> Result<(), ControlError> {
    if replaces_body && !held.whole {
        return Err(ControlError::Refused(format!(
            "the request's body is larger than is held ({} bytes are here): it cannot be replaced",
            held.body.len()
        )));
    }
    Ok(())
}

/// A body in the form that filters read.
fn pieces(body: Bytes) -> Vec<Bytes> {
    if body.is_empty() { Vec::new() } else { vec![body] }
}

/// As many flows are held as may be: this one goes on.
pub(super) fn tell_of_too_many(cx: &Context<'_>) {
    let most = cx.options.held_flows;
    cx.shared.notices.give(Notice::Warning(format!(
        "{most} flows are held, as many as may be (held_flows): others that match go on unheld"
    )));
}
