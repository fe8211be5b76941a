//! The messages of WebSocket connections that are open, with small buffers before their files.
//!
//! While nothing can be written, messages are counted and not kept. Where some are missing the
//! file has a [`FrameType::WebSocketGap`], since what came before and after do not fit together:
//! neither the blocks of one message nor the history of permessage-deflate.

use std::collections::HashMap;
use std::io;

use crate::capture::entry::{put_close, put_data, put_gap, put_message, put_open};
use crate::capture::frame::{FrameType, append_frame};
use crate::capture::journal::JournalFolder;
use crate::capture::spill::{SpillFile, SpillFiles};
use crate::flow::record::{
    Direction, FlowId, Opcode, WebSocketClose, WebSocketData, WebSocketMessage, WebSocketOpen,
};
use crate::limits::{BODY_BLOCK_BYTES, JOURNAL_BUFFER_BYTES, WEBSOCKET_MESSAGES};

#[derive(Debug, Default)]
struct Connection {
    buffer: Vec<u8>,
    messages: u64,
    left_out: u64,
    /// Blocks of a message that is past the limit are left out like its end.
    skipping: bool,
    ways: [Way; 2],
    /// Messages that came while nothing could be written.
    missing: u64,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Way {
    /// Whether something of the data message under way is missing.
    is_torn: bool,
    /// Whether a data message is missing before what comes next.
    has_gap: bool,
}

impl Connection {
    fn way(&mut self, direction: Direction) -> &mut Way {
        let [send, receive] = &mut self.ways;
        match direction {
            Direction::Send => send,
            Direction::Receive => receive,
        }
    }

    /// Marks the place where messages are missing, before anything of a data message follows.
    fn mark_gap(&mut self, direction: Direction) {
        if std::mem::take(&mut self.way(direction).has_gap) {
            append_frame(&mut self.buffer, FrameType::WebSocketGap, |out| put_gap(out, direction));
        }
    }

    fn lose(&mut self, direction: Direction, is_data: bool) {
        self.missing += 1;
        if is_data {
            *self.way(direction) = Way { is_torn: false, has_gap: true };
        }
    }
}

/// The files of WebSocket connections that are open, with small buffers before them.
#[derive(Debug, Default)]
pub(super) struct WebSocketFiles {
    connections: HashMap<FlowId, Connection>,
    buffered: usize,
}

/// What became of the end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is kept, or its connection is not known.
    Yes,
    /// It is past the limit of its connection.
    PastLimit,
    /// Something of it came while nothing could be written.
    Lost,
}

impl WebSocketFiles {
    /// A connection was opened.
    pub(super) fn open(&mut self, open: &WebSocketOpen) {
        let mut connection = Connection::default();
        append_frame(&mut connection.buffer, FrameType::WebSocketOpen, |out| put_open(out, open));
        self.buffered += connection.buffer.len();
        self.connections.insert(open.id, connection);
    }

    /// A block of a message.
    pub(super) fn data(&mut self, block: &WebSocketData) {
        self.add(block.flow, |connection| {
            if !connection.skipping && !connection.way(block.direction).is_torn {
                connection.mark_gap(block.direction);
                append_data(&mut connection.buffer, block.direction, &block.data);
            }
        });
    }

    /// The end of a message.
    pub(super) fn message(&mut self, message: &WebSocketMessage) -> Kept {
        let is_data = is_data(message.opcode);
        let mut kept = Kept::Yes;
        self.add(message.flow, |connection| {
            if is_data && connection.way(message.direction).is_torn {
                connection.lose(message.direction, is_data);
                kept = Kept::Lost;
                return;
            }
            if connection.messages >= WEBSOCKET_MESSAGES {
                connection.left_out += 1;
                connection.skipping = true;
                kept = Kept::PastLimit;
                return;
            }
            connection.messages += 1;
            if is_data {
                connection.mark_gap(message.direction);
            }
            let (ahead, rest) = split_payload(&message.payload);
            append_data(&mut connection.buffer, message.direction, ahead);
            append_frame(&mut connection.buffer, FrameType::WebSocketMessage, |out| {
                put_message(out, message, rest);
            });
        });
        kept
    }

    /// A block that cannot be kept.
    pub(super) fn lose_data(&mut self, block: &WebSocketData) {
        self.add(block.flow, |connection| connection.way(block.direction).is_torn = true);
    }

    /// The end of a message that cannot be kept; whether it is one of a connection that is.
    pub(super) fn lose_message(&mut self, message: &WebSocketMessage) -> bool {
        self.add(message.flow, |connection| {
            connection.lose(message.direction, is_data(message.opcode));
        })
    }

    /// A connection has ended: gives how many messages its file holds, or `None` when it is torn.
    pub(super) fn close(
        &mut self,
        close: &WebSocketClose,
        files: &mut SpillFiles,
        folder: &JournalFolder,
    ) -> io::Result<Option<u64>> {
        let Some(mut connection) = self.forget(close.flow) else { return Ok(None) };
        let (left_out, missing) = (connection.left_out, connection.missing);
        let mut close = close.clone();
        if missing > 0 {
            let missing = missing_messages(missing);
            close.error = Some(close.error.map_or(missing.clone(), |e| format!("{e}; {missing}")));
        }
        append_frame(&mut connection.buffer, FrameType::WebSocketClose, |out| {
            put_close(out, &close, left_out);
        });
        let file = SpillFile::WebSocket(close.flow);
        files.append(folder, file, &connection.buffer)?;
        Ok(files.close(file).then_some(connection.messages))
    }

    /// Whether a connection is open, and not lost.
    pub(super) fn knows(&self, flow: FlowId) -> bool {
        self.connections.contains_key(&flow)
    }

    /// The connections that have not ended.
    pub(super) fn flows(&self) -> Vec<FlowId> {
        self.connections.keys().copied().collect()
    }

    fn forget(&mut self, flow: FlowId) -> Option<Connection> {
        let forgotten = self.connections.remove(&flow);
        self.buffered -= forgotten.as_ref().map_or(0, |connection| connection.buffer.len());
        forgotten
    }

    /// Forgets a connection, and removes its file.
    pub(super) fn remove(&mut self, flow: FlowId, files: &mut SpillFiles, folder: &JournalFolder) {
        self.forget(flow);
        files.remove(folder, SpillFile::WebSocket(flow));
    }

    /// Forgets the connections whose files are torn; how many they are.
    pub(super) fn remove_torn(&mut self, files: &mut SpillFiles, folder: &JournalFolder) -> u64 {
        let mut torn = self.flows();
        torn.retain(|flow| files.is_torn(SpillFile::WebSocket(*flow)));
        torn.iter().for_each(|flow| self.remove(*flow, files, folder));
        torn.len() as u64
    }

    /// Whether so much waits in memory that it should be flushed.
    pub(super) fn is_full(&self) -> bool {
        self.buffered >= JOURNAL_BUFFER_BYTES
    }

    /// Writes what waits in memory. After an error the rest still waits.
    pub(super) fn flush(
        &mut self,
        files: &mut SpillFiles,
        folder: &JournalFolder,
    ) -> io::Result<()> {
        if self.buffered == 0 {
            return Ok(());
        }
        for (flow, connection) in &mut self.connections {
            if !connection.buffer.is_empty() {
                files.append(folder, SpillFile::WebSocket(*flow), &connection.buffer)?;
                self.buffered -= connection.buffer.len();
                connection.buffer = Vec::new();
            }
        }
        Ok(())
    }

    /// Whether the connection is known.
    fn add(&mut self, flow: FlowId, add: impl FnOnce(&mut Connection)) -> bool {
        let Some(connection) = self.connections.get_mut(&flow) else { return false };
        let before = connection.buffer.len();
        add(connection);
        self.buffered += connection.buffer.len() - before;
        true
    }
}

fn is_data(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::Text | Opcode::Binary)
}

/// What a connection's JSON says of messages that are not in it.
fn missing_messages(count: u64) -> String {
    format!("{count} messages are missing: they came while nothing could be written")
}

/// The part of a payload that goes ahead in blocks, so that no frame is too long, and the rest.
fn split_payload(payload: &[u8]) -> (&[u8], &[u8]) {
    if payload.len() <= BODY_BLOCK_BYTES {
        return (&[], payload);
    }
    payload.split_at_checked(payload.len() - BODY_BLOCK_BYTES).unwrap_or((&[], payload))
}

fn append_data(out: &mut Vec<u8>, direction: Direction, data: &[u8]) {
    for block in data.chunks(BODY_BLOCK_BYTES) {
        append_frame(out, FrameType::WebSocketData, |out| put_data(out, direction, block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::entry::take_close;
    use crate::capture::frame::FrameReader;
    use crate::flow::record::{Authority, Scheme};
    use std::sync::Arc;

    const FLOW: FlowId = FlowId(1);

    struct Fixture {
        _parent: tempfile::TempDir,
        folder: JournalFolder,
        files: SpillFiles,
        sockets: WebSocketFiles,
    }

    impl Fixture {
        fn new() -> Self {
            let parent = tempfile::tempdir().unwrap();
            let (folder, _) = JournalFolder::create(&parent.path().join("c.zip")).unwrap();
            let mut sockets = WebSocketFiles::default();
            sockets.open(&WebSocketOpen {
                id: FLOW,
                scheme: Scheme::Http,
                target: Arc::new(Authority { host: "h".into(), port: 80 }),
                client: "127.0.0.1:1".parse().unwrap(),
                request_head: "".into(),
                response_head: "".into(),
                began_us: 0,
                deflate: None,
            });
            Fixture { _parent: parent, folder, files: SpillFiles::default(), sockets }
        }

        fn close(&mut self) -> Option<u64> {
            let close = WebSocketClose { flow: FLOW, time_us: 0, error: None };
            self.sockets.close(&close, &mut self.files, &self.folder).unwrap()
        }

        /// The types of the frames in the file, and what the last says.
        fn frames(&self) -> (Vec<FrameType>, Option<String>, u64) {
            let bytes = std::fs::read(self.folder.websocket(FLOW)).unwrap();
            let mut frames = FrameReader::new(&bytes[..]);
            let (mut kinds, mut error, mut left_out) = (Vec::new(), None, 0);
            while let Some((kind, payload)) = frames.next_frame().unwrap() {
                kinds.push(kind);
                if kind == FrameType::WebSocketClose {
                    let close = take_close(payload).unwrap();
                    (error, left_out) = (close.error, close.messages_left_out);
                }
            }
            (kinds, error, left_out)
        }
    }

    fn message(opcode: Opcode) -> WebSocketMessage {
        WebSocketMessage {
            flow: FLOW,
            direction: Direction::Send,
            opcode,
            compressed: false,
            time_us: 0,
            payload: "".into(),
        }
    }

    fn block() -> WebSocketData {
        WebSocketData { flow: FLOW, direction: Direction::Send, data: "block".into() }
    }

    #[test]
    fn messages_past_the_limit_are_counted_and_buffers_are_flushed() {
        let mut it = Fixture::new();
        for number in 0..WEBSOCKET_MESSAGES + 3 {
            let kept = it.sockets.message(&message(Opcode::Ping));
            assert_eq!(kept == Kept::PastLimit, number >= WEBSOCKET_MESSAGES);
            if it.sockets.is_full() {
                it.sockets.flush(&mut it.files, &it.folder).unwrap();
                assert_eq!(it.sockets.buffered, 0);
            }
        }
        let kept = it.close();
        assert_eq!((kept, it.sockets.buffered), (Some(WEBSOCKET_MESSAGES), 0));
        let (kinds, error, left_out) = it.frames();
        let messages = kinds.iter().filter(|kind| **kind == FrameType::WebSocketMessage);
        assert_eq!((messages.count() as u64, error, left_out), (WEBSOCKET_MESSAGES, None, 3));
    }

    #[test]
    fn messages_of_which_something_is_missing_leave_a_gap() {
        use FrameType::*;
        let mut it = Fixture::new();
        it.sockets.data(&block());
        // The middle of this message comes while nothing can be written, and so does a ping.
        it.sockets.lose_data(&block());
        assert!(it.sockets.lose_message(&message(Opcode::Ping)));
        it.sockets.data(&block());
        assert_eq!(it.sockets.message(&message(Opcode::Pong)), Kept::Yes);
        assert_eq!(it.sockets.message(&message(Opcode::Text)), Kept::Lost);
        it.sockets.data(&block());
        assert_eq!(it.sockets.message(&message(Opcode::Text)), Kept::Yes);
        assert_eq!(it.sockets.message(&message(Opcode::Text)), Kept::Yes);
        assert_eq!(it.close(), Some(3));
        let (kinds, error, _) = it.frames();
        let expected = [
            WebSocketOpen,
            WebSocketData,
            WebSocketMessage,
            WebSocketGap,
            WebSocketData,
            WebSocketMessage,
            WebSocketMessage,
            WebSocketClose,
        ];
        assert_eq!(kinds, expected);
        assert!(error.unwrap().starts_with("2 messages are missing"));
    }

    #[test]
    fn a_control_frame_that_is_missing_parts_nothing() {
        use FrameType::*;
        let mut it = Fixture::new();
        it.sockets.data(&block());
        assert!(it.sockets.lose_message(&message(Opcode::Ping)));
        it.sockets.data(&block());
        assert_eq!(it.sockets.message(&message(Opcode::Text)), Kept::Yes);
        assert_eq!(it.close(), Some(1));
        let kinds = it.frames().0;
        let expected =
            [WebSocketOpen, WebSocketData, WebSocketData, WebSocketMessage, WebSocketClose];
        assert_eq!(kinds, expected);
    }
}
