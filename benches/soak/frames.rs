//! WebSockets: a client that sends and checks what comes back, and an origin that sends it back.

use std::io;

use flate2::{Compress, Compression, FlushCompress};

use super::wire::{Head, Wire};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
/// Any mask but zero shows whether masking is undone.
const MASK: [u8; 4] = [0x11, 0x82, 0x33, 0xf4];

/// The first byte of a frame, and its payload unmasked.
type Frame = (u8, Vec<u8>);

fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mut bytes = vec![first];
    let mask_bit = if masked { 0x80 } else { 0 };
    match payload.len() {
        length @ ..=125 => bytes.push(mask_bit | length as u8),
        length @ 126..=65_535 => {
            bytes.push(mask_bit | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(mask_bit | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend(payload);
    }
    bytes
}

fn read(wire: &mut Wire) -> io::Result<Frame> {
    let head = wire.take(2)?;
    let length = match head[1] & 0x7f {
        126 => wire.take(2)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        127 => wire.take(8)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        length => usize::from(length),
    };
    let mask = if head[1] & 0x80 == 0 { vec![0; 4] } else { wire.take(4)? };
    let mut payload = wire.take(length)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((head[0], payload))
}

/// The origin's side: sends every message back, as compressed as it came.
pub(crate) fn serve(mut wire: Wire, head: &Head) -> io::Result<()> {
    let deflates = head.field("sec-websocket-extensions").is_some();
    let extensions = if deflates { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extensions}\r\n"
    ))?;
    loop {
        let (first, payload) = read(&mut wire)?;
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
        let (own_first, own_payload) = read(&mut self.wire)?;
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
