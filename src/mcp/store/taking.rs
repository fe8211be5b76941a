//! What each event makes of the flows that are kept.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::capture::entry::take_ended;
use crate::flow::record::{
    Answered, Begun, BodyBlock, EndedExchange, Exchange, FlowEvent, FlowId, Held, Intervention,
    Message, Scheme, Side, Timing, WebSocketClose, WebSocketMessage, WebSocketOpen,
};
use crate::flow::stored::{FlowState, StoredBody, StoredFlow, StoredMessage, StoredWebSocket};
use crate::mcp::store::socket::socket_bytes;
use crate::mcp::store::unended::{Bodies, Gathered};
use crate::mcp::store::{Inner, Kept, Slot};

impl Inner {
    pub(super) fn take(&mut self, event: FlowEvent) {
        match event {
            FlowEvent::Body(block) => self.unended.push(block),
            FlowEvent::Exchange(ended) => self.exchange(ended),
            FlowEvent::Begun(begun) => self.put_flow(self.begun(&begun)),
            FlowEvent::Answered(answered) => self.answered(&answered),
            FlowEvent::Glimpse(block) => self.glimpse(block),
            FlowEvent::Held(held) => self.held(&held),
            FlowEvent::Released(released) => self.released(released.flow),
            FlowEvent::WebSocketOpen(open) => self.opened(&open),
            FlowEvent::WebSocketData(block) => self.sockets.data(block),
            FlowEvent::WebSocketMessage(message) => self.message(message),
            FlowEvent::WebSocketClose(close) => self.closed(&close),
        }
    }

    fn exchange(&mut self, ended: EndedExchange) {
        #[cfg(test)]
        crate::fault::testing::fault_in("store", &ended.frame);
        let id = ended.id;
        let bodies = self.unended.take(id).map(|bodies| {
            // What was glimpsed is the beginning of the response once more.
            Box::new(Bodies { glimpsed: Gathered::default(), ..bodies })
        });
        let ahead = bodies.as_ref().map_or(0, |bodies| bodies.kept());
        let bytes = ended.weight() + ahead + size_of::<StoredFlow>();
        self.put(id, Kept::Ended(ended, bodies), bytes);
    }

    fn begun(&self, begun: &Begun) -> StoredFlow {
        let most = self.limits.body_bytes;
        let mut request = StoredMessage {
            head: begun.request.head.clone(),
            body: StoredBody::default(),
            trailers: begun.request.trailers.clone(),
        };
        request.body = match self.unended.get(begun.id) {
            // Its blocks stay where they are until the flow ends.
            Some(bodies) => bodies.request.clone().end(&begun.request.body, most),
            None => Gathered::default().end(&begun.request.body, most),
        };
        request.body.goes_on = !begun.whole;
        StoredFlow {
            id: begun.id,
            state: FlowState::UnderWay,
            scheme: begun.scheme,
            target: Some(begun.target.clone()),
            client: begun.client,
            client_tls: begun.client_tls.clone(),
            upstream: None,
            request,
            response: None,
            timing: Timing { began_us: begun.began_us, ..Timing::default() },
            error: None,
            intervention: begun.intervention,
            held_since_us: 0,
            websocket: None,
        }
    }

    fn answered(&mut self, answered: &Answered) {
        self.change(answered.flow, |flow| {
            flow.upstream = answered.upstream.clone();
            let head = answered.head.clone();
            flow.response = Some(StoredMessage { head, ..StoredMessage::default() });
        });
    }

    fn glimpse(&mut self, block: BodyBlock) {
        if let Some(slot) = self.slots.get_mut(&block.flow) {
            slot.is_behind = block.side == Side::Response;
            self.unended.glimpse(block);
        }
    }

    fn held(&mut self, held: &Held) {
        if !self.slots.contains_key(&held.flow) {
            // It went to make room, or was cleared, while its server took its time. Nobody could
            // decide about it if it stayed away.
            let state = FlowState::Paused(held.side);
            self.put_flow(StoredFlow { state, ..self.begun(&held.begun) });
        }
        let most = self.limits.body_bytes;
        self.change(held.flow, |flow| {
            let mut message = stored_message(&held.message, Gathered::default(), most);
            message.body.goes_on = !held.whole;
            match held.side {
                Side::Request => flow.request = message,
                Side::Response => flow.response = Some(message),
            }
            flow.state = FlowState::Paused(held.side);
            flow.held_since_us = held.since_us;
        });
        if held.side == Side::Response
            && let Some(slot) = self.slots.get_mut(&held.flow)
        {
            // What is held is all of it.
            slot.is_behind = false;
        }
    }

    fn released(&mut self, id: FlowId) {
        self.change(id, |flow| {
            // The flow's end may have come first.
            if flow.state != FlowState::Ended {
                flow.state = FlowState::UnderWay;
            }
            flow.held_since_us = 0;
        });
    }

    fn opened(&mut self, open: &WebSocketOpen) {
        self.unended.take(open.id);
        self.sockets.close(open.id);
        self.sockets.open(open);
        let message =
            |head: &bytes::Bytes| StoredMessage { head: head.clone(), ..StoredMessage::default() };
        let mut flow = StoredFlow {
            id: open.id,
            state: FlowState::UnderWay,
            scheme: open.scheme,
            target: Some(open.target.clone()),
            client: open.client,
            client_tls: None,
            upstream: None,
            request: message(&open.request_head),
            response: Some(message(&open.response_head)),
            timing: Timing { began_us: open.began_us, ..Timing::default() },
            error: None,
            intervention: Default::default(),
            held_since_us: 0,
            websocket: Some(Arc::new(StoredWebSocket::default())),
        };
        if let Some(Slot { kept: Kept::Flow(begun), .. }) = self.slots.get(&open.id) {
            flow.client_tls = begun.client_tls.clone();
            flow.upstream = begun.upstream.clone();
            flow.intervention = begun.intervention;
        }
        self.put_flow(flow);
    }

    fn message(&mut self, message: WebSocketMessage) {
        let id = message.flow;
        let Some(message) = self.sockets.message(message) else { return };
        self.displace(id);
        if let Some(slot) = self.slots.get_mut(&id)
            && let Kept::Flow(flow) = &mut slot.kept
            && let Some(socket) = &mut Arc::make_mut(flow).websocket
        {
            let (added, freed) = self.sockets.add(id, socket, message);
            slot.bytes = (slot.bytes + added).saturating_sub(freed);
        }
        self.place(id);
    }

    fn closed(&mut self, close: &WebSocketClose) {
        self.sockets.close(close.flow);
        self.change(close.flow, |flow| {
            flow.state = FlowState::Ended;
            flow.timing.total_us = close.time_us.saturating_sub(flow.timing.began_us);
            flow.error.clone_from(&close.error);
        });
    }

    pub(super) fn put_flow(&mut self, flow: StoredFlow) {
        let messages = flow.websocket.as_ref().map_or(0, |socket| socket_bytes(socket));
        let (id, bytes) = (flow.id, flow_bytes(&flow) + messages);
        self.put(id, Kept::Flow(Arc::new(flow)), bytes);
    }

    fn put(&mut self, id: FlowId, kept: Kept, bytes: usize) {
        self.keep(id, Slot { kept, place: None, bytes, is_behind: false });
    }

    /// Changes a flow that is under way; one that went to make room stays away.
    fn change(&mut self, id: FlowId, change: impl FnOnce(&mut StoredFlow)) {
        let Some(slot) = self.displace(id) else { return };
        if let Kept::Flow(flow) = &mut slot.kept {
            let flow = Arc::make_mut(flow);
            let before = flow_bytes(flow);
            change(flow);
            slot.bytes = (slot.bytes + flow_bytes(flow)).saturating_sub(before);
        }
        self.place(id);
    }
}

/// An exchange as its readers keep it, with the bodies that went ahead of it.
pub(super) fn stored(ended: &EndedExchange, bodies: Bodies, body_bytes: usize) -> StoredFlow {
    let Some(exchange) = take_ended(ended) else { return unreadable(ended.id) };
    let Exchange { request, response, .. } = exchange;
    StoredFlow {
        id: exchange.id,
        state: FlowState::Ended,
        scheme: exchange.scheme,
        target: exchange.target,
        client: exchange.client,
        client_tls: exchange.client_tls,
        upstream: exchange.upstream,
        request: stored_message(&request, bodies.request, body_bytes),
        response: response.map(|it| stored_message(&it, bodies.response, body_bytes)),
        timing: exchange.timing,
        error: exchange.error,
        intervention: exchange.intervention,
        held_since_us: 0,
        websocket: None,
    }
}

/// What stands for an exchange that was too long to be told of.
fn unreadable(id: FlowId) -> StoredFlow {
    StoredFlow {
        id,
        state: FlowState::Ended,
        scheme: Scheme::Http,
        target: None,
        client: SocketAddr::from(([0, 0, 0, 0], 0)),
        client_tls: None,
        upstream: None,
        request: StoredMessage::default(),
        response: None,
        timing: Timing::default(),
        error: Some("the record of this flow was too long to be kept".to_owned()),
        intervention: Intervention::default(),
        held_since_us: 0,
        websocket: None,
    }
}

fn stored_message(message: &Message, ahead: Gathered, body_bytes: usize) -> StoredMessage {
    StoredMessage {
        head: message.head.clone(),
        body: ahead.end(&message.body, body_bytes),
        trailers: message.trailers.clone(),
    }
}

/// Bytes that a flow takes, but for the messages of a WebSocket.
fn flow_bytes(flow: &StoredFlow) -> usize {
    let message = |it: &StoredMessage| {
        let body = usize::try_from(it.body.kept()).unwrap_or(usize::MAX);
        it.head.len() + it.trailers.len() + body
    };
    let response = flow.response.as_ref().map_or(0, message);
    size_of::<StoredFlow>() + message(&flow.request) + response
}
