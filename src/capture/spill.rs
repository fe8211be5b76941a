//! Files of flows that are under way: large bodies, and the messages of WebSocket connections.
//!
//! Any number of flows may be under way, so few files are open at the same time and few bytes
//! wait in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::capture::entry::{put_close, put_data, put_message, put_open};
use crate::capture::frame::{FrameType, append_frame};
use crate::capture::journal::JournalFolder;
use crate::capture::private;
use crate::flow::record::{
    Direction, FlowId, WebSocketClose, WebSocketData, WebSocketMessage, WebSocketOpen,
};
use crate::limits::{BODY_BLOCK_BYTES, JOURNAL_BUFFER_BYTES, SPILL_FILES, WEBSOCKET_MESSAGES};

/// Appends to many files, of which the least recently used are closed.
#[derive(Debug, Default)]
pub(super) struct SpillFiles {
    open: HashMap<PathBuf, (File, u64)>,
    uses: u64,
}

impl SpillFiles {
    /// Appends bytes; makes the file if it is not there.
    pub(super) fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.uses += 1;
        if let Some((file, used)) = self.open.get_mut(path) {
            *used = self.uses;
            return file.write_all(bytes);
        }
        if self.open.len() >= SPILL_FILES {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(path) = oldest.map(|(path, _)| path.clone()) {
                self.open.remove(&path);
            }
        }
        let mut file = private::append(path)?;
        file.write_all(bytes)?;
        self.open.insert(path.to_owned(), (file, self.uses));
        Ok(())
    }

    /// Closes a file that is complete.
    pub(super) fn close(&mut self, path: &Path) {
        self.open.remove(path);
    }
}

#[derive(Debug, Default)]
struct Connection {
    buffer: Vec<u8>,
    messages: u64,
    left_out: u64,
    /// Blocks of a message that is past the limit are left out like its end.
    skipping: bool,
}

/// The files of WebSocket connections that are open, with small buffers before them.
#[derive(Debug, Default)]
pub(super) struct WebSocketFiles {
    connections: HashMap<FlowId, Connection>,
    buffered: usize,
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
            if !connection.skipping {
                append_data(&mut connection.buffer, block.direction, &block.data);
            }
        });
    }

    /// The end of a message. Returns whether it is kept.
    pub(super) fn message(&mut self, message: &WebSocketMessage) -> bool {
        let mut kept = true;
        self.add(message.flow, |connection| {
            if connection.messages >= WEBSOCKET_MESSAGES {
                connection.left_out += 1;
                connection.skipping = true;
                kept = false;
                return;
            }
            connection.messages += 1;
            let (ahead, rest) = split_payload(&message.payload);
            append_data(&mut connection.buffer, message.direction, ahead);
            append_frame(&mut connection.buffer, FrameType::WebSocketMessage, |out| {
                put_message(out, message, rest);
            });
        });
        kept
    }

    /// A connection has ended; gives how many messages its file holds, or `None` when it was
    /// never opened.
    pub(super) fn close(
        &mut self,
        close: &WebSocketClose,
        files: &mut SpillFiles,
        folder: &JournalFolder,
    ) -> io::Result<Option<u64>> {
        let Some(mut connection) = self.connections.remove(&close.flow) else {
            return Ok(None);
        };
        self.buffered -= connection.buffer.len();
        let left_out = connection.left_out;
        append_frame(&mut connection.buffer, FrameType::WebSocketClose, |out| {
            put_close(out, close, left_out);
        });
        let path = folder.websocket(close.flow);
        files.append(&path, &connection.buffer)?;
        files.close(&path);
        Ok(Some(connection.messages))
    }

    /// The connections that have not ended.
    pub(super) fn flows(&self) -> Vec<FlowId> {
        self.connections.keys().copied().collect()
    }

    /// Forgets a connection.
    pub(super) fn forget(&mut self, flow: FlowId) -> bool {
        let forgotten = self.connections.remove(&flow);
        self.buffered -= forgotten.as_ref().map_or(0, |connection| connection.buffer.len());
        forgotten.is_some()
    }

    /// Whether so much waits in memory that it should be flushed.
    pub(super) fn is_full(&self) -> bool {
        self.buffered >= JOURNAL_BUFFER_BYTES
    }

    /// Writes what waits in memory.
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
                let buffer = std::mem::take(&mut connection.buffer);
                self.buffered -= buffer.len();
                files.append(&folder.websocket(*flow), &buffer)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, flow: FlowId, add: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.get_mut(&flow) {
            let before = connection.buffer.len();
            add(connection);
            self.buffered += connection.buffer.len() - before;
        }
    }
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
    use crate::flow::record::{Authority, Opcode, Scheme};
    use std::sync::Arc;

    #[test]
    fn more_files_than_may_be_open_are_all_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = SpillFiles::default();
        let path = |number: usize| folder.path().join(number.to_string());
        for round in [b"a", b"b"] {
            for number in 0..SPILL_FILES * 3 {
                files.append(&path(number), round).unwrap();
                assert!(files.open.len() <= SPILL_FILES);
            }
        }
        for number in 0..SPILL_FILES * 3 {
            assert_eq!(std::fs::read(path(number)).unwrap(), b"ab");
        }
        files.close(&path(SPILL_FILES * 3 - 1));
        assert_eq!(files.open.len(), SPILL_FILES - 1);
    }

    #[test]
    fn messages_past_the_limit_are_counted_and_buffers_are_flushed() {
        let temporary = tempfile::tempdir().unwrap();
        let (folder, _) = JournalFolder::create(&temporary.path().join("c.zip")).unwrap();
        let (mut files, mut sockets) = (SpillFiles::default(), WebSocketFiles::default());
        let flow = FlowId(1);
        sockets.open(&WebSocketOpen {
            id: flow,
            scheme: Scheme::Http,
            target: Arc::new(Authority { host: "h".into(), port: 80 }),
            client: "127.0.0.1:1".parse().unwrap(),
            request_head: "".into(),
            response_head: "".into(),
            began_us: 0,
            deflate: None,
        });
        let message = WebSocketMessage {
            flow,
            direction: Direction::Send,
            opcode: Opcode::Ping,
            compressed: false,
            time_us: 0,
            payload: "".into(),
        };
        for _ in 0..WEBSOCKET_MESSAGES + 3 {
            sockets.message(&message);
            if sockets.is_full() {
                sockets.flush(&mut files, &folder).unwrap();
                assert_eq!(sockets.buffered, 0);
            }
        }
        let close = WebSocketClose { flow, time_us: 0, error: None };
        let kept = sockets.close(&close, &mut files, &folder).unwrap();
        assert_eq!((kept, sockets.buffered), (Some(WEBSOCKET_MESSAGES), 0));
        let bytes = std::fs::read(folder.websocket(flow)).unwrap();
        let mut frames = FrameReader::new(&bytes[..]);
        let mut messages = 0;
        while let Some((kind, payload)) = frames.next_frame().unwrap() {
            messages += u64::from(kind == FrameType::WebSocketMessage);
            if kind == FrameType::WebSocketClose {
                assert_eq!(take_close(payload).unwrap().messages_left_out, 3);
            }
        }
        assert_eq!(messages, WEBSOCKET_MESSAGES);
    }
}
