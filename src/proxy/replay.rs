//! Requests that tools send: exchanges on connections that have no client.

use bytes::Bytes;

use crate::flow::control::NewRequest;
use crate::flow::record::{FlowId, Intervention};
use crate::limits::REPLAY_TIMEOUT;
use crate::options::Options;
use crate::proxy::conn::Conn;
use crate::proxy::context::{Context, Now};
use crate::proxy::exchange::{Exchange, RequestFacts};
use crate::proxy::link::End;
use crate::proxy::rebuild::sent_request;

/// A request that a tool sends, checked and ready to go.
#[derive(Debug)]
pub struct Replay {
    id: FlowId,
    origin: Option<FlowId>,
    facts: RequestFacts,
    body: Bytes,
}

impl Replay {
    /// Checks a request; `id` will name its flow.
    ///
    /// # Errors
    /// What is wrong with it, in words for whoever made it.
    pub fn new(
        id: FlowId,
        request: NewRequest,
        options: &Options,
        recorded: bool,
        began: Now,
    ) -> Result<Self, String> {
        let facts = sent_request(&request, options, recorded, began)?;
        Ok(Replay { id, origin: request.origin, facts, body: request.body })
    }
}

impl Conn {
    /// A connection without a client, which ends with its only exchange. What would go to the
    /// client is for nobody: whoever runs it throws that away.
    pub fn replay(replay: Replay, cx: &mut Context<'_>) -> Self {
        let Replay { id, origin, facts, body } = replay;
        let mut conn = Conn::new(cx.shared.listen, cx.now);
        conn.client.end = Some(End::Clean);
        conn.limit = cx.now.instant.checked_add(REPLAY_TIMEOUT);
        let intervention = Intervention { replayed: true, origin, ..Intervention::default() };
        let limit = cx.options.capture_body_limit;
        let mut exchange = Exchange::new(id, facts, cx.shared.listen, limit);
        exchange.set_out_whole(body, intervention, cx);
        conn.exchange = Some(Box::new(exchange));
        conn.dial(cx);
        conn
    }

    /// Whether this is what a tool has sent as this flow.
    pub fn is_replay_of(&self, flow: FlowId) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.is_replay() && exchange.id() == flow)
    }
}
