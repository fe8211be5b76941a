//! WebSockets: a client that sends and checks what comes back, and an origin that sends it back.

use std::io;

use flate2::{Compress, Compression, FlushCompress};

use super::frame::frame;
use super::frame_reader::read_frame;
use super::wire::{Head, Wire};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
/// The origin's side: sends every message back, as compressed as it came.
pub(crate) fn serve(mut wire: Wire, head: &Head) -> io::Result<()> {
    let deflates = head.field("sec-websocket-extensions").is_some();
    let extensions = if deflates { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extensions}\r\n"
    ))?;
    loop {
        let (first, payload) = read_frame(|count| wire.take(count))?;
        let answer = if first & 0x0f == PING { FINAL | PONG } else { first };
        wire.send(frame(answer, &payload, false))?;
        if first & 0x0f == CLOSE {
            wire.close();
            return Ok(());
        }
    }
}

/// The client's side of an open WebSocket.
pub(crate) struct Socket {
    wire: Wire,
    deflate: Option<Compress>,
    /// Of both directions, control frames too.
    pub(crate) messages: u64,
}

/// The fields of a handshake, beside Host.
pub(crate) fn handshake(deflate: bool) -> String {
    let offer = match deflate {
        true => "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
        false => "",
    };
    format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}"
    )
}

impl Socket {
    /// A connection whose handshake was answered with this head.
    pub(crate) fn new(wire: Wire, answer: &Head) -> Socket {
        let deflates = answer.field("sec-websocket-extensions").is_some();
        let deflate = deflates.then(|| Compress::new(Compression::fast(), false));
        Socket { wire, deflate, messages: 0 }
    }

    /// Sends a message and reads it back.
    pub(crate) fn exchange(&mut self, text: bool, message: &[u8]) -> io::Result<()> {
        let first = FINAL | if text { TEXT } else { BINARY };
        match &mut self.deflate {
            Some(deflate) => {
                let mut packed = Vec::with_capacity(message.len() + 100);
                deflate.compress_vec(message, &mut packed, FlushCompress::Sync)?;
                // RFC 7692 section 7.2.1.
                packed.truncate(packed.len().saturating_sub(4));
                self.echo(first | COMPRESSED, &packed)
            }
            None => self.echo(first, message),
        }
    }

    /// The same with a message in two fragments and a ping between them.
    pub(crate) fn exchange_fragments(&mut self, message: &[u8]) -> io::Result<()> {
        let (head, tail) = message.split_at(message.len() / 2);
        let frames = [
            frame(TEXT, head, true),
            frame(FINAL | PING, b"in between", true),
            frame(FINAL, tail, true),
        ];
        self.wire.send(frames.concat())?;
        self.await_frame(TEXT, head)?;
        self.await_frame(FINAL | PONG, b"in between")?;
        self.await_frame(FINAL, tail)?;
        self.messages += 4;
        Ok(())
    }

    fn echo(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.wire.send(frame(first, payload, true))?;
        self.await_frame(first, payload)?;
        self.messages += 2;
        Ok(())
    }

    fn await_frame(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let (own_first, own_payload) = read_frame(|count| self.wire.take(count))?;
        if own_first != first || own_payload != payload {
            return Err(io::Error::other("another frame came back"));
        }
        Ok(())
    }

    /// Closes in good order; the messages of both directions.
    pub(crate) fn close(mut self) -> io::Result<u64> {
        self.echo(FINAL | CLOSE, b"\x03\xe8bye")?;
        self.wire.until_closed()?;
        Ok(self.messages)
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.wire.reset();
    }
}
