//! Bytes that are relayed as they are: tunnels that are not intercepted, and what follows a
//! switch of protocols.

use crate::limits::TURN_FRAMES;
use crate::proxy::context::{Command, Context};
use crate::proxy::link::{End, Link};
use crate::proxy::websocket::WebSocketObserver;

/// A relay in both directions.
#[derive(Debug, Default)]
pub struct Tunnel {
    /// Reads along, where the protocol is WebSocket.
    pub observer: Option<Box<WebSocketObserver>>,
    client_ended: bool,
    upstream_ended: bool,
}

/// What a relay came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// Nothing more can be done before something else happens.
    Wait,
    /// Something was done.
    Progress,
    /// As many frames were read as one turn may.
    Paused,
    /// Both sides have ended and all bytes are out.
    Over,
    /// One side was cut off: the other must see that too.
    Cut(String),
}

impl Tunnel {
    /// A tunnel whose messages are read by `observer`.
    pub fn observed(observer: WebSocketObserver) -> Self {
        Tunnel { observer: Some(Box::new(observer)), ..Tunnel::default() }
    }

    /// Moves what there is, in both directions.
    pub fn relay(
        &mut self,
        client: &mut Link,
        upstream: &mut Link,
        cx: &mut Context<'_>,
    ) -> Relayed {
        let mut moved = false;
        // The smallest frames take the most work for their bytes.
        let (mut sent, mut received) = (TURN_FRAMES, TURN_FRAMES);
        if !client.input.is_empty() && upstream.has_room() {
            let bytes = client.input.bytes();
            let count = match &mut self.observer {
                Some(observer) => observer.sent(bytes, &mut sent, cx),
                None => bytes.len(),
            };
            upstream.forward(&mut client.input, count);
            moved = true;
        }
        if !upstream.input.is_empty() && client.has_room() {
            let bytes = upstream.input.bytes();
            let count = match &mut self.observer {
                Some(observer) => observer.received(bytes, &mut received, cx),
                None => bytes.len(),
            };
            client.forward(&mut upstream.input, count);
            moved = true;
        }
        // An end is passed on: half-closed connections are legitimate in tunnels.
        if !self.client_ended && client.is_exhausted() {
            if let Some(End::Cut(reason)) = &client.end {
                return Relayed::Cut(reason.clone());
            }
            self.client_ended = true;
            let announced = client.end == Some(End::Clean);
            cx.commands.push(Command::ShutdownUpstream { announced });
        }
        if !self.upstream_ended && upstream.is_exhausted() {
            if let Some(End::Cut(reason)) = &upstream.end {
                return Relayed::Cut(reason.clone());
            }
            self.upstream_ended = true;
            let announced = upstream.end == Some(End::Clean);
            cx.commands.push(Command::ShutdownClient { announced });
        }
        let out = client.is_sent() && upstream.is_sent();
        let over = self.client_ended && self.upstream_ended && out;
        // Nobody is left to hear the rest once the other side takes nothing more.
        let deaf = self.client_ended && client.broken || self.upstream_ended && upstream.broken;
        match (over || deaf, moved) {
            (true, _) => Relayed::Over,
            (false, true) if sent == 0 || received == 0 => Relayed::Paused,
            (false, true) => Relayed::Progress,
            (false, false) => Relayed::Wait,
        }
    }
}
