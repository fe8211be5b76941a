//! Reading the messages of WebSocket connections as they come (RFC 6455, RFC 7692).

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::flow::decode::inflate::Inflate;
use crate::flow::decode::{Caps, inflate_message};
use crate::flow::record::{
    Direction, FlowId, Opcode, WebSocketData, WebSocketMessage, WebSocketOpen,
};
use crate::flow::stored::{StoredWebSocket, StoredWebSocketMessage};
use crate::limits::{
    DECODED_FREE_BYTES, DECODED_RATIO, INFLATED_MESSAGE_BYTES, STORED_INFLATERS,
    STORED_MESSAGE_BYTES, STORED_MESSAGES, STORED_SOCKET_BYTES, UNENDED_MESSAGE_BYTES,
    UNENDED_MESSAGES_BYTES,
};

/// Bytes that a message takes besides its payload.
const MESSAGE_BYTES: usize = size_of::<StoredWebSocketMessage>() + 2 * size_of::<usize>();

/// The readers of all open connections.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: HashMap<FlowId, Connection>,
    inflaters: usize,
    /// Bytes of messages under way.
    gathered: usize,
}

#[derive(Debug)]
struct Connection {
    ways: [Way; 2],
    /// Bytes of the messages that are kept.
    held: usize,
}

/// One direction of a connection.
#[derive(Debug)]
struct Way {
    /// The message under way, as it came.
    blocks: Vec<Bytes>,
    gathered: usize,
    /// Bytes of it that came, held or not.
    seen: u64,
    inflate: Option<Inflate>,
    /// Whether each message starts with an empty history.
    resets: bool,
    /// Whether the history is lost, so that compressed messages cannot be read.
    lost: bool,
    /// Inflated bytes that the ratio does not judge. Small messages that each inflate to far more
    /// use it up as a large one does.
    free: u64,
}

impl Way {
    fn new(resets: bool) -> Self {
        Way {
            blocks: Vec::new(),
            gathered: 0,
            seen: 0,
            inflate: None,
            resets,
            lost: false,
            free: DECODED_FREE_BYTES,
        }
    }
}

impl Sockets {
    pub(super) fn open(&mut self, open: &WebSocketOpen) {
        let deflate = open.deflate.unwrap_or_default();
        let ways = [
            Way::new(deflate.client_no_context_takeover),
            Way::new(deflate.server_no_context_takeover),
        ];
        self.open.insert(open.id, Connection { ways, held: 0 });
    }

    pub(super) fn close(&mut self, flow: FlowId) {
        if self.open.is_empty() {
            // Nothing to look for, as nearly always.
            return;
        }
        for way in self.open.remove(&flow).into_iter().flat_map(|connection| connection.ways) {
            self.gathered = self.gathered.saturating_sub(way.gathered);
            self.inflaters -= usize::from(way.inflate.is_some());
        }
    }

    pub(super) fn data(&mut self, block: WebSocketData) {
        let Some(way) = self.way(block.flow, block.direction) else { return };
        let (seen, length) = (way.seen, block.data.len());
        way.seen = seen.saturating_add(length as u64);
        let is_whole = way.gathered as u64 == seen;
        let fits = way.gathered + length <= UNENDED_MESSAGE_BYTES;
        if is_whole && fits && self.gathered + length <= UNENDED_MESSAGES_BYTES {
            self.gathered += length;
            if let Some(way) = self.way(block.flow, block.direction) {
                way.gathered += length;
                way.blocks.push(block.data);
            }
        }
    }

    /// The message that has ended; `None` when its connection is not known.
    pub(super) fn message(&mut self, message: WebSocketMessage) -> Option<StoredWebSocketMessage> {
        let may_inflate = self.inflaters < STORED_INFLATERS;
        let way = self.way(message.flow, message.direction)?;
        let stored = |payload, size| StoredWebSocketMessage {
            direction: message.direction,
            opcode: message.opcode,
            time_us: message.time_us,
            payload,
            size,
        };
        // Control frames stand between the blocks of a data message and do not end it.
        if !matches!(message.opcode, Opcode::Text | Opcode::Binary) {
            let size = message.payload.len() as u64;
            return Some(stored(message.payload, size));
        }
        let mut blocks = std::mem::take(&mut way.blocks);
        let (gathered, seen) = (std::mem::take(&mut way.gathered), std::mem::take(&mut way.seen));
        let is_whole = gathered as u64 == seen;
        let size = seen.saturating_add(message.payload.len() as u64);
        if is_whole {
            blocks.push(message.payload);
        }
        let had_inflater = way.inflate.is_some();
        let (payload, size) = if message.compressed {
            let can = is_whole && !way.lost && (had_inflater || may_inflate);
            match can.then(|| inflate(way, &blocks, size)).flatten() {
                Some(inflated) => inflated,
                None => {
                    // Only as long as messages build on each other is one that was missed the end.
                    way.lost = !way.resets;
                    way.inflate = if way.lost { None } else { way.inflate.take() };
                    (Bytes::new(), size)
                }
            }
        } else {
            (beginning(blocks), size)
        };
        let has_inflater = way.inflate.is_some();
        self.inflaters = self.inflaters + usize::from(has_inflater) - usize::from(had_inflater);
        self.gathered = self.gathered.saturating_sub(gathered);
        Some(stored(payload, size))
    }

    /// Adds a message to those of its connection, of which the oldest may go; gives by how many
    /// bytes the connection grew and shrank.
    pub(super) fn add(
        &mut self,
        flow: FlowId,
        socket: &mut Arc<StoredWebSocket>,
        message: StoredWebSocketMessage,
    ) -> (usize, usize) {
        let Some(connection) = self.open.get_mut(&flow) else { return (0, 0) };
        let socket = Arc::make_mut(socket);
        let (added, mut freed, mut gone) = (weigh(&message), 0, 0);
        connection.held += added;
        socket.messages.push(Arc::new(message));
        let messages = socket.messages.len();
        for oldest in &socket.messages {
            let fits = connection.held - freed <= STORED_SOCKET_BYTES
                && messages - gone <= STORED_MESSAGES;
            if fits || gone + 1 == messages {
                break;
            }
            freed += weigh(oldest);
            gone += 1;
        }
        connection.held -= freed;
        socket.messages.drain(..gone);
        socket.left_out += gone as u64;
        (added, freed)
    }

    fn way(&mut self, flow: FlowId, direction: Direction) -> Option<&mut Way> {
        let [send, receive] = &mut self.open.get_mut(&flow)?.ways;
        Some(match direction {
            Direction::Send => send,
            Direction::Receive => receive,
        })
    }
}

fn weigh(message: &StoredWebSocketMessage) -> usize {
    message.payload.len() + MESSAGE_BYTES
}

/// Bytes that the messages of a connection take.
pub(super) fn socket_bytes(socket: &StoredWebSocket) -> usize {
    socket.messages.iter().map(|message| weigh(message)).sum()
}

/// Inflates a message of so many bytes: what is kept of it, and the bytes it has.
fn inflate(way: &mut Way, blocks: &[Bytes], wire: u64) -> Option<(Bytes, u64)> {
    let inflate = way.inflate.get_or_insert_with(|| Inflate::new(false));
    if way.resets {
        inflate.reset();
    }
    let mut source = Blocks(blocks.iter().cloned().collect());
    let mut kept = Beginning(Vec::new());
    let caps = Caps { bytes: INFLATED_MESSAGE_BYTES, ratio: DECODED_RATIO, free_bytes: way.free };
    let size = inflate_message(inflate, &mut source, &mut kept, caps, 0).ok()?;
    let judged = wire.saturating_mul(DECODED_RATIO);
    way.free = way.free.saturating_sub(size.saturating_sub(judged));
    Some((Bytes::from(kept.0), size))
}

struct Blocks(std::collections::VecDeque<Bytes>);

impl Read for Blocks {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        let Some(block) = self.0.front_mut() else { return Ok(0) };
        let got = (&block[..]).read(target)?;
        block.advance(got);
        Ok(got)
    }
}

/// Keeps what comes first, and takes everything.
struct Beginning(Vec<u8>);

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = STORED_MESSAGE_BYTES.saturating_sub(self.0.len());
        self.0.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn beginning(blocks: Vec<Bytes>) -> Bytes {
    if let [only] = blocks.as_slice() {
        let mut only = only.clone();
        only.truncate(STORED_MESSAGE_BYTES);
        return only;
    }
    let mut kept = Beginning(Vec::new());
    for block in blocks {
        let _ = kept.write(&block);
    }
    Bytes::from(kept.0)
}

#[cfg(test)]
mod tests;
