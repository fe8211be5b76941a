//! Reading along on a WebSocket connection: messages become flow events, bytes are left alone.

use bytes::Bytes;

use crate::flow::record::{
    Direction, FlowEvent, FlowId, Opcode, WebSocketClose, WebSocketData, WebSocketMessage,
};
use crate::http::websocket::{MessageReader, Observed};
use crate::limits::BODY_BLOCK_BYTES;
use crate::proxy::context::{Context, Now};
use crate::proxy::outbox::Outbox;

/// Reads the messages of both directions of one connection.
#[derive(Debug)]
pub struct WebSocketObserver {
    flow: FlowId,
    sent: Side,
    received: Side,
    failure: Option<String>,
}

#[derive(Debug)]
struct Side {
    direction: Direction,
    reader: MessageReader,
    /// Payload of the data message under way that was not sent ahead.
    pending: Vec<u8>,
    dead: bool,
}

impl WebSocketObserver {
    /// Reads the connection of this flow; `deflate` tells whether permessage-deflate is in force.
    pub fn new(flow: FlowId, deflate: bool) -> Self {
        let side = |direction, masked| Side {
            direction,
            reader: MessageReader::new(masked, deflate),
            pending: Vec::new(),
            dead: false,
        };
        WebSocketObserver {
            flow,
            sent: side(Direction::Send, true),
            received: side(Direction::Receive, false),
            failure: None,
        }
    }

    /// Bytes from the client. Reads until so many frames have begun, and counts them down; tells
    /// how many bytes were read.
    pub fn sent(&mut self, bytes: &[u8], frames: &mut usize, cx: &mut Context<'_>) -> usize {
        let read = self.sent.read(self.flow, bytes, frames, cx.now, cx.outbox);
        self.note(read, bytes.len())
    }

    /// Bytes from the server, in the same way.
    pub fn received(&mut self, bytes: &[u8], frames: &mut usize, cx: &mut Context<'_>) -> usize {
        let read = self.received.read(self.flow, bytes, frames, cx.now, cx.outbox);
        self.note(read, bytes.len())
    }

    fn note(&mut self, read: Result<usize, String>, all: usize) -> usize {
        read.unwrap_or_else(|failure| {
            self.failure.get_or_insert(failure);
            all
        })
    }

    /// The connection has ended, for this reason if it did not end well.
    pub fn close(self, error: Option<String>, cx: &mut Context<'_>) {
        let unfinished = [&self.sent, &self.received]
            .into_iter()
            .find(|side| !side.dead && !side.reader.is_between_messages())
            .map(|side| format!("a message {} was not finished", name(side.direction)));
        cx.outbox.push(FlowEvent::WebSocketClose(WebSocketClose {
            flow: self.flow,
            time_us: cx.now.epoch_us,
            error: self.failure.or(error).or(unfinished),
        }));
    }
}

impl Side {
    /// Reads along; the reason when the frames break the rules, after which it reads no more.
    fn read(
        &mut self,
        flow: FlowId,
        bytes: &[u8],
        frames: &mut usize,
        now: Now,
        outbox: &mut Outbox,
    ) -> Result<usize, String> {
        if self.dead {
            return Ok(bytes.len());
        }
        let Side { direction, reader, pending, .. } = self;
        let direction = *direction;
        let message = |opcode: Opcode, compressed: bool, payload: Bytes| {
            FlowEvent::WebSocketMessage(WebSocketMessage {
                flow,
                direction,
                opcode,
                compressed,
                time_us: now.epoch_us,
                payload,
            })
        };
        let result = reader.advance_frames(bytes, frames, &mut |observed| match observed {
            Observed::Data(bytes) => {
                pending.extend_from_slice(bytes);
                if pending.len() >= BODY_BLOCK_BYTES {
                    let data = Bytes::from(std::mem::take(pending));
                    outbox.push(FlowEvent::WebSocketData(WebSocketData { flow, direction, data }));
                }
            }
            Observed::Message { opcode, compressed } => {
                let payload = Bytes::from(std::mem::take(pending));
                outbox.push(message(opcode, compressed, payload));
            }
            Observed::Control { opcode, payload } => {
                outbox.push(message(opcode, false, Bytes::copy_from_slice(payload)));
            }
        });
        result.map_err(|error| {
            self.dead = true;
            self.pending = Vec::new();
            format!("messages {} were not read any further: {error}", name(direction))
        })
    }
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "from the client",
        Direction::Receive => "from the server",
    }
}
