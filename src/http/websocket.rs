//! WebSocket messages as a passive observer of one direction reads them (RFC 6455 section 5).
//!
//! What is relayed does not depend on this: after a broken rule the reader is dead and the bytes
//! flow on unread. The UTF-8 of text messages is not checked.

use std::fmt;

use crate::flow::record::Opcode;

mod deflate;
mod frame;

pub use deflate::deflate_parameters;

use frame::{FrameHeader, Kind, unmask};

/// Most bytes of a frame's header: two, a 64-bit length, and the mask.
const HEADER_BYTES: usize = 14;
/// Most bytes of a control frame's payload (RFC 6455 section 5.5).
const CONTROL_BYTES: usize = 125;
/// Bytes that are unmasked at once.
const UNMASK_BYTES: usize = 1024;

/// What a [`MessageReader`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed<'a> {
    /// The next piece of the data message under way, unmasked; never empty.
    Data(&'a [u8]),
    /// The data message under way has ended; all its pieces came before.
    Message {
        /// `Text` or `Binary`.
        opcode: Opcode,
        /// Whether its payload is compressed (RFC 7692).
        compressed: bool,
    },
    /// A control frame; may stand between the pieces of a data message.
    Control {
        /// `Close`, `Ping` or `Pong`.
        opcode: Opcode,
        /// Its payload, unmasked.
        payload: &'a [u8],
    },
}

/// Which rule the sender broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketError {
    /// A reserved bit without an extension that gives it a meaning.
    ReservedBit,
    /// RSV1 on a frame that may not carry it (RFC 7692 section 6).
    CompressedBit,
    /// A reserved opcode.
    Opcode,
    /// A control frame in fragments.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A close frame with a payload of one byte.
    CloseCode,
    /// A continuation without a message under way.
    Continuation,
    /// A new message before the one under way has ended.
    Interleaved,
    /// An unmasked frame from the client.
    Unmasked,
    /// A masked frame from the server.
    Masked,
    /// A length that is not in its shortest form.
    LengthForm,
    /// A length of 2^63 or more.
    Length,
    /// Bytes after the close frame.
    AfterClose,
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WebSocketError::ReservedBit => "a WebSocket frame has a reserved bit set",
            WebSocketError::CompressedBit => "a WebSocket frame is marked as compressed wrongly",
            WebSocketError::Opcode => "a WebSocket frame has a reserved opcode",
            WebSocketError::FragmentedControl => "a WebSocket control frame is fragmented",
            WebSocketError::LongControl => "a WebSocket control frame exceeds 125 bytes",
            WebSocketError::CloseCode => "a WebSocket close frame has half a status code",
            WebSocketError::Continuation => "a WebSocket frame continues no message",
            WebSocketError::Interleaved => "a WebSocket message begins inside another",
            WebSocketError::Unmasked => "a WebSocket frame from the client is not masked",
            WebSocketError::Masked => "a WebSocket frame from the server is masked",
            WebSocketError::LengthForm => "a WebSocket frame's length is not in its shortest form",
            WebSocketError::Length => "a WebSocket frame's length is out of range",
            WebSocketError::AfterClose => "bytes follow the WebSocket close frame",
        })
    }
}

impl std::error::Error for WebSocketError {}

/// Reads the frames of one direction. Holds no more than a frame header and a control frame.
#[derive(Clone, Debug)]
pub struct MessageReader {
    /// Whether this direction's frames are masked: those of the client.
    masked: bool,
    /// Whether permessage-deflate is in force.
    deflate: bool,
    /// The data message under way.
    message: Option<Message>,
    state: State,
    header: Small<HEADER_BYTES>,
    control: Small<CONTROL_BYTES>,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    opcode: Opcode,
    compressed: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A frame header is awaited.
    Header,
    /// So much of a frame's payload is left.
    Payload { frame: FrameHeader, left: u64 },
    /// A close frame came.
    Closed,
    /// A rule was broken; nothing is read any more.
    Dead,
}

impl MessageReader {
    /// A reader at the first byte after the handshake. `masked` for the direction from the client
    /// to the server; `deflate` when permessage-deflate was agreed on.
    pub fn new(masked: bool, deflate: bool) -> Self {
        MessageReader {
            masked,
            deflate,
            message: None,
            state: State::Header,
            header: Small::new(),
            control: Small::new(),
        }
    }

    /// Reads all of `input`, split anywhere, and shows `sink` what is in it. A broken rule is
    /// told once; after it everything is ignored.
    pub fn advance(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(Observed<'_>),
    ) -> Result<(), WebSocketError> {
        let mut all = usize::MAX;
        self.advance_frames(input, &mut all, sink).map(|_| ())
    }

    /// As [`MessageReader::advance`], until so many frames have begun; counts them down, and tells
    /// how many bytes were read.
    pub fn advance_frames(
        &mut self,
        bytes: &[u8],
        frames: &mut usize,
        sink: &mut impl FnMut(Observed<'_>),
    ) -> Result<usize, WebSocketError> {
        let mut input = bytes;
        while !input.is_empty() {
            let step = match self.state {
                State::Dead => return Ok(bytes.len()),
                State::Header if self.header.is_empty() && *frames == 0 => break,
                State::Closed => Err(WebSocketError::AfterClose),
                State::Header => {
                    *frames = frames.saturating_sub(usize::from(self.header.is_empty()));
                    self.read_header(input, sink)
                }
                State::Payload { frame, left } => Ok(self.read_payload(input, frame, left, sink)),
            };
            let taken = step.inspect_err(|_| self.state = State::Dead)?;
            input = input.get(taken..).unwrap_or_default();
        }
        Ok(bytes.len() - input.len())
    }

    /// Whether the stream may end here: behind a close frame, or between two messages.
    pub fn is_between_messages(&self) -> bool {
        match self.state {
            State::Header => self.header.is_empty() && self.message.is_none(),
            State::Payload { .. } => false,
            State::Closed | State::Dead => true,
        }
    }

    /// Takes bytes of a frame header and tells how many.
    fn read_header(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(Observed<'_>),
    ) -> Result<usize, WebSocketError> {
        let mut taken = 0;
        // The first two bytes tell how many follow.
        loop {
            let wanted = frame::header_length(self.header.bytes());
            let missing = wanted.saturating_sub(self.header.bytes().len());
            if missing == 0 {
                break;
            }
            let rest = input.get(taken..).unwrap_or_default();
            let part = rest.get(..missing.min(rest.len())).unwrap_or_default();
            if part.is_empty() {
                return Ok(taken);
            }
            self.header.push(part);
            taken += part.len();
            if let [first, second, ..] = *self.header.bytes() {
                self.check_start(first, second)?;
            }
        }
        let header = frame::parse(self.header.bytes())?;
        self.header.clear();
        self.begin(header);
        if header.length == 0 {
            self.end_frame(header, sink);
        } else {
            self.state = State::Payload { frame: header, left: header.length };
        }
        Ok(taken)
    }

    /// Checks what a frame's first two bytes tell against the rules and the frames before.
    fn check_start(&self, first: u8, second: u8) -> Result<(), WebSocketError> {
        let start = frame::Start::parse(first, second)?;
        if start.masked != self.masked {
            let wrong = if self.masked { WebSocketError::Unmasked } else { WebSocketError::Masked };
            return Err(wrong);
        }
        if start.compressed && !self.deflate {
            return Err(WebSocketError::ReservedBit);
        }
        let begins = matches!(start.kind, Kind::Data(_));
        if start.compressed && !begins {
            return Err(WebSocketError::CompressedBit);
        }
        match (start.kind, self.message) {
            (Kind::Continuation, None) => Err(WebSocketError::Continuation),
            (Kind::Data(_), Some(_)) => Err(WebSocketError::Interleaved),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, frame: FrameHeader) {
        match frame.start.kind {
            Kind::Data(opcode) => {
                self.message = Some(Message { opcode, compressed: frame.start.compressed });
            }
            Kind::Control(_) => self.control.clear(),
            Kind::Continuation => {}
        }
    }

    /// Takes bytes of a frame's payload and tells how many.
    fn read_payload(
        &mut self,
        input: &[u8],
        frame: FrameHeader,
        left: u64,
        sink: &mut impl FnMut(Observed<'_>),
    ) -> usize {
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let part = input.get(..taken).unwrap_or_default();
        let read = frame.length - left;
        let is_control = matches!(frame.start.kind, Kind::Control(_));
        let control = &mut self.control;
        let mut each = |piece: &[u8]| match is_control {
            true => control.push(piece),
            false => sink(Observed::Data(piece)),
        };
        match frame.mask {
            None => each(part),
            Some(mask) => unmask(part, mask, read, &mut each),
        }
        let left = left - taken as u64;
        if left == 0 {
            self.end_frame(frame, sink);
        } else {
            self.state = State::Payload { frame, left };
        }
        taken
    }

    fn end_frame(&mut self, frame: FrameHeader, sink: &mut impl FnMut(Observed<'_>)) {
        self.state = State::Header;
        match frame.start.kind {
            Kind::Control(opcode) => {
                sink(Observed::Control { opcode, payload: self.control.bytes() });
                if opcode == Opcode::Close {
                    self.state = State::Closed;
                }
            }
            Kind::Data(_) | Kind::Continuation if frame.start.last => {
                if let Some(Message { opcode, compressed }) = self.message.take() {
                    sink(Observed::Message { opcode, compressed });
                }
            }
            Kind::Data(_) | Kind::Continuation => {}
        }
    }
}

/// A few bytes in place.
#[derive(Clone, Copy, Debug)]
struct Small<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Small<N> {
    fn new() -> Self {
        Small { bytes: [0; N], length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends; what does not fit is left out, which callers rule out.
    fn push(&mut self, part: &[u8]) {
        debug_assert!(self.length + part.len() <= N, "{} and {} bytes", self.length, part.len());
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(part) {
            *to = *from;
            self.length += 1;
        }
    }
}

#[cfg(test)]
mod tests;
