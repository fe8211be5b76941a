//! Where a message's body ends (RFC 9112 section 6), and reading it as it passes through.
//!
//! Nothing that could be read in two ways is accepted, in the order of section 6.3.

use std::fmt;

use super::extension;
use super::field::{FieldKind, FieldLines, values_of};
use super::head::{HeadError, RequestHead, ResponseHead, Version, list_elements, parse_fields};
use super::lines::SectionScanner;
use crate::limits::TRAILER_BYTES;

/// How a body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// The body has this many bytes; may be 0.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// The body ends with the connection; only responses.
    UntilClose,
}

/// Why a body's framing is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// Content-Length and Transfer-Encoding in one message.
    LengthAndTransferEncoding,
    /// Content-Length is not one number of decimal digits below 2^63.
    ContentLength,
    /// More than one Content-Length, even with the same value.
    RepeatedContentLength,
    /// More than one Transfer-Encoding field.
    RepeatedTransferEncoding,
    /// Transfer-Encoding does not end in `chunked`, or holds it twice.
    TransferEncoding,
    /// A transfer coding besides `chunked`.
    TransferCoding,
    /// Transfer-Encoding in an HTTP/1.0 message.
    TransferEncodingInHttp10,
    /// Transfer-Encoding in a response that has no body (1xx and 204).
    TransferEncodingWithoutBody,
    /// A chunk's size line is malformed or its size reaches 2^63.
    ChunkSize,
    /// Chunk extensions are malformed or exceed [`crate::limits::CHUNK_EXTENSION_BYTES`].
    ChunkExtension,
    /// A chunk's data is not followed by CR LF.
    ChunkEnd,
    /// The trailer section is malformed.
    Trailer,
    /// The trailer section exceeds [`TRAILER_BYTES`].
    TrailerTooLarge,
    /// A trailer field that would change framing, routing or authentication.
    TrailerField,
    /// The stream ended before the body did.
    Truncated,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FramingError::LengthAndTransferEncoding => {
                "both Content-Length and Transfer-Encoding are given"
            }
            FramingError::ContentLength => "Content-Length is not a decimal number below 2^63",
            FramingError::RepeatedContentLength => "Content-Length is given more than once",
            FramingError::RepeatedTransferEncoding => "Transfer-Encoding is given more than once",
            FramingError::TransferEncoding => "Transfer-Encoding is not exactly \"chunked\"",
            FramingError::TransferCoding => {
                "a transfer coding other than \"chunked\" is not supported"
            }
            FramingError::TransferEncodingInHttp10 => {
                "Transfer-Encoding is given in an HTTP/1.0 message"
            }
            FramingError::TransferEncodingWithoutBody => {
                "Transfer-Encoding is given in a response without a body"
            }
            FramingError::ChunkSize => "a chunk size is malformed or too large",
            FramingError::ChunkExtension => "a chunk extension is malformed or too long",
            FramingError::ChunkEnd => "a chunk is not followed by CR LF",
            FramingError::Trailer => "the trailer section is malformed",
            FramingError::TrailerTooLarge => "the trailer section is too long",
            FramingError::TrailerField => "a trailer field is not allowed there",
            FramingError::Truncated => "the connection ended before the body did",
        })
    }
}

impl std::error::Error for FramingError {}

impl From<HeadError> for FramingError {
    fn from(_: HeadError) -> Self {
        FramingError::Trailer
    }
}

/// How the end of a request's body is known.
pub fn request_length(head: &RequestHead, buf: &[u8]) -> Result<BodyLength, FramingError> {
    Ok(declared_length(head.version, &head.fields, buf)?.unwrap_or(BodyLength::None))
}

/// How the end of a response's body is known. Framing fields are checked even where the response
/// has no body for another reason.
pub fn response_length(
    head: &ResponseHead,
    buf: &[u8],
    request_method: &[u8],
) -> Result<BodyLength, FramingError> {
    let declared = declared_length(head.version, &head.fields, buf)?;
    if matches!(head.status, 100..=199 | 204) {
        // RFC 9112 section 6.1: must not be sent there, and the next message may be hidden in it.
        if declared == Some(BodyLength::Chunked) {
            return Err(FramingError::TransferEncodingWithoutBody);
        }
        return Ok(BodyLength::None);
    }
    let tunnel = request_method == b"CONNECT" && matches!(head.status, 200..=299);
    if head.status == 304 || request_method == b"HEAD" || tunnel {
        return Ok(BodyLength::None);
    }
    Ok(declared.unwrap_or(BodyLength::UntilClose))
}

/// What Transfer-Encoding and Content-Length say together (RFC 9112 sections 6.1 to 6.3).
fn declared_length(
    version: Version,
    fields: &FieldLines,
    buf: &[u8],
) -> Result<Option<BodyLength>, FramingError> {
    let mut codings = values_of(fields, buf, FieldKind::TransferEncoding);
    let mut lengths = values_of(fields, buf, FieldKind::ContentLength);
    let (coding, length) = (codings.next(), lengths.next());
    match (coding, length) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(FramingError::LengthAndTransferEncoding),
        (Some(_), None) if version == Version::Http10 => {
            Err(FramingError::TransferEncodingInHttp10)
        }
        (Some(_), None) if codings.next().is_some() => Err(FramingError::RepeatedTransferEncoding),
        (Some(coding), None) => chunked_alone(coding).map(Some),
        (None, Some(_)) if lengths.next().is_some() => Err(FramingError::RepeatedContentLength),
        (None, Some(length)) => content_length(length).map(|n| Some(BodyLength::Length(n))),
    }
}

fn chunked_alone(value: &[u8]) -> Result<BodyLength, FramingError> {
    const CHUNKED: &[u8] = b"chunked";
    if value.eq_ignore_ascii_case(CHUNKED) {
        return Ok(BodyLength::Chunked);
    }
    let codings = || list_elements(value);
    let count = codings().filter(|coding| coding.eq_ignore_ascii_case(CHUNKED)).count();
    let last = codings().last().is_some_and(|coding| coding.eq_ignore_ascii_case(CHUNKED));
    // RFC 9112 section 6.3, rule 4: without a final chunked the end cannot be known.
    let known_end = last && count == 1 && codings().count() > 1;
    Err(if known_end { FramingError::TransferCoding } else { FramingError::TransferEncoding })
}

/// A length of decimal digits only; 2^63 and more is refused, as signed readers would.
fn content_length(value: &[u8]) -> Result<u64, FramingError> {
    if value.is_empty() {
        return Err(FramingError::ContentLength);
    }
    value
        .iter()
        .try_fold(0_u64, |length, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        })
        .filter(|&length| length <= i64::MAX as u64)
        .ok_or(FramingError::ContentLength)
}

/// What one call of [`BodyReader::advance`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to the message, are valid and can be passed on as they
    /// are. The others must come again at the beginning of the next input.
    pub consumed: usize,
    /// Whether the body has ended.
    pub done: bool,
}

/// Reads a body as it passes through. Of the chunked coding, lines are consumed only when they
/// are whole and valid, the trailer section only as a whole, and chunk data at once.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    /// Bytes of the incomplete line or trailer section that were searched already.
    scanner: SectionScanner,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A body of known length, of which so much is left.
    Counted(u64),
    /// A body that ends with the connection.
    UntilClose,
    /// The line with a chunk's size is awaited.
    ChunkSize,
    /// So much of a chunk's data is left.
    ChunkData(u64),
    /// The CR LF behind a chunk's data is awaited.
    ChunkEnd,
    /// The trailer section and its blank line are awaited. The last chunk's line, of so many bytes,
    /// is passed on with them.
    Trailers(usize),
    Done,
    Failed(FramingError),
}

impl BodyReader {
    /// A reader for a body of this length.
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::None | BodyLength::Length(0) => State::Done,
            BodyLength::Length(length) => State::Counted(length),
            BodyLength::Chunked => State::ChunkSize,
            BodyLength::UntilClose => State::UntilClose,
        };
        BodyReader { state, scanner: SectionScanner::default(), trailers: Vec::new() }
    }

    /// Reads what can be read of `input`, which begins with what the last call did not consume.
    /// `data` gets the pieces of the body, transfer coding undone. What cannot be consumed yet
    /// is never more than a chunk's line or the trailer section, both limited.
    pub fn advance(
        &mut self,
        input: &[u8],
        data: &mut impl FnMut(&[u8]),
    ) -> Result<Progress, FramingError> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            let step = self.step(rest, data).inspect_err(|&e| self.state = State::Failed(e))?;
            match step {
                Some(length) => consumed += length,
                None => return Ok(Progress { consumed, done: self.is_done() }),
            }
        }
    }

    /// Tells that the stream has ended. An error if the body had not.
    pub fn finish(&mut self) -> Result<(), FramingError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => {
                self.state = State::Failed(FramingError::Truncated);
                Err(FramingError::Truncated)
            }
        }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The trailer section's field lines as they came, without the blank line.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes one step and tells how many bytes it took; `None` when no step is possible.
    fn step(
        &mut self,
        rest: &[u8],
        data: &mut impl FnMut(&[u8]),
    ) -> Result<Option<usize>, FramingError> {
        match self.state {
            State::Done => Ok(None),
            State::Failed(error) => Err(error),
            _ if rest.is_empty() => Ok(None),
            State::UntilClose => {
                data(rest);
                Ok(Some(rest.len()))
            }
            State::Counted(left) => {
                let (taken, left) = take_data(rest, left, data);
                self.state = if left == 0 { State::Done } else { State::Counted(left) };
                Ok(Some(taken))
            }
            State::ChunkData(left) => {
                let (taken, left) = take_data(rest, left, data);
                self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                Ok(Some(taken))
            }
            State::ChunkEnd => match rest {
                [b'\r', b'\n', ..] => {
                    self.state = State::ChunkSize;
                    Ok(Some(2))
                }
                [b'\r'] => Ok(None),
                _ => Err(FramingError::ChunkEnd),
            },
            State::ChunkSize => self.chunk_size(rest),
            State::Trailers(line) => {
                self.trailer_section(line, rest.get(line..).unwrap_or_default())
            }
        }
    }

    fn chunk_size(&mut self, rest: &[u8]) -> Result<Option<usize>, FramingError> {
        let Some((size, length)) = chunk_line(rest)? else { return Ok(None) };
        self.scanner = SectionScanner::default();
        if size == 0 {
            self.state = State::Trailers(length);
            return Ok(Some(0));
        }
        self.state = State::ChunkData(size);
        Ok(Some(length))
    }

    /// Takes the last chunk's line, of `line` bytes, and the trailer section after it together:
    /// a receiver may take the body for whole once it has the line (RFC 9112 section 8).
    fn trailer_section(&mut self, line: usize, rest: &[u8]) -> Result<Option<usize>, FramingError> {
        let window = rest.get(..TRAILER_BYTES).unwrap_or(rest);
        let Some(end) = self.scanner.find(window).map_err(|_| FramingError::Trailer)? else {
            let full = rest.len() >= TRAILER_BYTES;
            return if full { Err(FramingError::TrailerTooLarge) } else { Ok(None) };
        };
        let section = rest.get(..end).unwrap_or_default();
        parse_fields(section, |name, _| match is_forbidden_trailer(name) {
            true => Err(FramingError::TrailerField),
            false => Ok(()),
        })?;
        self.trailers.extend_from_slice(section.strip_suffix(b"\r\n").unwrap_or_default());
        self.state = State::Done;
        Ok(Some(line + end))
    }
}

/// Shows as much of `rest` as belongs to the `left` bytes; tells how much, and what is left.
fn take_data(rest: &[u8], left: u64, data: &mut impl FnMut(&[u8])) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
    data(rest.get(..taken).unwrap_or_default());
    (taken, left - taken as u64)
}

/// Most hexadecimal digits of a chunk size.
const CHUNK_SIZE_DIGITS: usize = 16;

/// Reads a chunk's size line (RFC 9112 section 7.1): the size and the line's length with its
/// CR LF, or `None` while it is incomplete.
fn chunk_line(rest: &[u8]) -> Result<Option<(u64, usize)>, FramingError> {
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let digits = rest.iter().take(CHUNK_SIZE_DIGITS + 1).take_while(|b| is_digit(b)).count();
    if digits > CHUNK_SIZE_DIGITS {
        return Err(FramingError::ChunkSize);
    }
    let Some(&next) = rest.get(digits) else { return Ok(None) };
    if digits == 0 || !matches!(next, b'\r' | b';' | b' ' | b'\t') {
        return Err(FramingError::ChunkSize);
    }
    let size = rest.iter().take(digits).fold(0_u64, |size, byte| {
        let digit = char::from(*byte).to_digit(16).unwrap_or_default();
        (size << 4) | u64::from(digit)
    });
    if size > i64::MAX as u64 {
        return Err(FramingError::ChunkSize);
    }
    let extension = rest.get(digits..).unwrap_or_default();
    let Some(length) = extension::line_length(extension)? else { return Ok(None) };
    Ok(Some((size, digits + length)))
}

/// Whether a field may not stand in a trailer section, because it would change framing, routing,
/// authentication or how the content is processed (RFC 9110 section 6.5.1).
fn is_forbidden_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: [&str; 20] = [
        "Authorization",
        "Connection",
        "Content-Encoding",
        "Content-Length",
        "Content-Range",
        "Content-Type",
        "Cookie",
        "Expect",
        "Host",
        "Keep-Alive",
        "Max-Forwards",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Set-Cookie",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "WWW-Authenticate",
    ];
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
}

#[cfg(test)]
mod tests;
