//! WebSocket frames.

use flowtap::flow::record::Opcode;
use flowtap::http::websocket::{MessageReader, Observed, WebSocketError};

/// What a reader saw, with the pieces of a message joined.
#[derive(Debug, PartialEq)]
enum Seen {
    Message(Opcode, bool, Vec<u8>),
    Control(Opcode, Vec<u8>),
    Error(WebSocketError),
    /// What is left of a message, and whether none was under way.
    End(Vec<u8>, bool),
}

/// Frames that come in any pieces give the same messages and the same error as the whole, those
/// that a second reading gives; written again, the messages read the same. The first byte tells
/// whether they are masked and whether permessage-deflate is in force.
pub fn websocket_frames(data: &[u8]) {
    let Some((flags, frames)) = data.split_first() else { return };
    let (masked, deflate) = (flags & 1 != 0, flags & 2 != 0);
    let reader = || MessageReader::new(masked, deflate);
    let whole = observe(reader(), [frames].into_iter());
    assert_eq!(whole, observe(reader(), frames.chunks(1)));
    assert_eq!(whole, observe(reader(), frames.chunks(usize::from(flags >> 2) + 2)));
    assert_eq!(whole, second(frames, masked, deflate));
    let mut written = Vec::new();
    for seen in &whole {
        write(seen, masked.then_some([data[0], 0xfa, 0, 0x3d]), &mut written);
    }
    let again = observe(reader(), [&*written].into_iter());
    let is_whole = |seen: &&Seen| matches!(seen, Seen::Message(..) | Seen::Control(..));
    assert!(again.iter().filter(is_whole).eq(whole.iter().filter(is_whole)), "{again:?}");
    assert_eq!(again.last(), Some(&Seen::End(Vec::new(), true)));
}

fn observe<'a>(mut reader: MessageReader, parts: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut data = Vec::new();
    for part in parts {
        let result = reader.advance(part, &mut |observed| match observed {
            Observed::Data(piece) => data.extend_from_slice(piece),
            Observed::Message { opcode, compressed } => {
                seen.push(Seen::Message(opcode, compressed, std::mem::take(&mut data)));
            }
            Observed::Control { opcode, payload } => {
                seen.push(Seen::Control(opcode, payload.to_vec()));
            }
        });
        seen.extend(result.err().map(Seen::Error));
    }
    seen.push(Seen::End(data, reader.is_between_messages()));
    seen
}

/// A second, independent reading of RFC 6455 section 5 and RFC 7692 section 6: frame by frame,
/// from bytes that are all there.
fn second(mut rest: &[u8], masked: bool, deflate: bool) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut message: Option<(Opcode, bool)> = None;
    let mut data = Vec::new();
    let mut is_closed = false;
    while !rest.is_empty() {
        match frame(rest, masked, deflate, message.is_some(), is_closed) {
            Err(error) => {
                seen.push(Seen::Error(error));
                break;
            }
            Ok(Step::Part(payload)) => {
                data.extend_from_slice(&payload);
                seen.push(Seen::End(data, false));
                return seen;
            }
            Ok(Step::Frame { opcode, compressed, last, payload, length }) => {
                rest = &rest[length..];
                if let 8..=10 = opcode {
                    is_closed |= opcode == 8;
                    seen.push(Seen::Control(kind(opcode), payload));
                    continue;
                }
                data.extend_from_slice(&payload);
                let (first, compressed) = *message.get_or_insert((kind(opcode), compressed));
                if last {
                    message = None;
                    seen.push(Seen::Message(first, compressed, std::mem::take(&mut data)));
                }
            }
        }
    }
    let is_error = matches!(seen.last(), Some(Seen::Error(_)));
    seen.push(Seen::End(data, is_error || is_closed || message.is_none()));
    seen
}

enum Step {
    /// The payload of a data frame as far as it is there.
    Part(Vec<u8>),
    Frame {
        opcode: u8,
        compressed: bool,
        last: bool,
        payload: Vec<u8>,
        length: usize,
    },
}

fn frame(
    bytes: &[u8],
    masked: bool,
    deflate: bool,
    under_way: bool,
    is_closed: bool,
) -> Result<Step, WebSocketError> {
    use WebSocketError as E;
    if is_closed {
        return Err(E::AfterClose);
    }
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else {
        return Ok(Step::Part(Vec::new()));
    };
    let (last, opcode, short) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
    let compressed = first & 0x40 != 0;
    let is_control = opcode & 8 != 0;
    match () {
        () if first & 0x30 != 0 => return Err(E::ReservedBit),
        () if !matches!(opcode, 0..=2 | 8..=10) => return Err(E::Opcode),
        () if is_control && !last => return Err(E::FragmentedControl),
        () if is_control && short > 125 => return Err(E::LongControl),
        () if opcode == 8 && short == 1 => return Err(E::CloseCode),
        () if masked && second & 0x80 == 0 => return Err(E::Unmasked),
        () if !masked && second & 0x80 != 0 => return Err(E::Masked),
        () if compressed && !deflate => return Err(E::ReservedBit),
        () if compressed && !matches!(opcode, 1 | 2) => return Err(E::CompressedBit),
        () if opcode == 0 && !under_way => return Err(E::Continuation),
        () if matches!(opcode, 1 | 2) && under_way => return Err(E::Interleaved),
        () => {}
    }
    let extended = [2, 8].get(usize::from(short).wrapping_sub(126)).copied().unwrap_or(0);
    let header = 2 + extended + if masked { 4 } else { 0 };
    let Some(head) = bytes.get(..header) else { return Ok(Step::Part(Vec::new())) };
    let number = head[2..2 + extended].iter().fold(0_u64, |n, &b| n << 8 | u64::from(b));
    let length = if extended == 0 { u64::from(short) } else { number };
    let least = [126, 65_536].get(usize::from(short).wrapping_sub(126)).copied().unwrap_or(0);
    if length < least {
        return Err(E::LengthForm);
    }
    if length >> 63 != 0 {
        return Err(E::Length);
    }
    let mask = if masked {
        [head[header - 4], head[header - 3], head[header - 2], head[header - 1]]
    } else {
        [0; 4]
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let there = &bytes[header..bytes.len().min(header.saturating_add(length))];
    let payload: Vec<u8> = there.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
    if payload.len() < length {
        return Ok(Step::Part(if is_control { Vec::new() } else { payload }));
    }
    Ok(Step::Frame { opcode, compressed, last, payload, length: header + length })
}

fn kind(opcode: u8) -> Opcode {
    match opcode {
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        _ => Opcode::Pong,
    }
}

/// Writes what was seen as one frame.
fn write(seen: &Seen, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let (opcode, compressed, payload) = match seen {
        Seen::Message(opcode, compressed, payload) => (opcode, *compressed, payload),
        Seen::Control(opcode, payload) => (opcode, false, payload),
        Seen::Error(_) | Seen::End(..) => return,
    };
    let code = match opcode {
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    out.push(0x80 | code | if compressed { 0x40 } else { 0 });
    let flag = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..126 => out.push(flag | length as u8),
        length @ 126..65_536 => {
            out.push(flag | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(flag | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend(mask.iter().flatten());
    let key = mask.unwrap_or_default();
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}
