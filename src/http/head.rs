//! Request and response heads (RFC 9112 sections 2 to 5), strictly, as spans into the caller's
//! buffer.
//!
//! A head is searched for its end first, without looking at a byte twice, and parsed once when
//! it is whole. Nothing that two parsers could read differently is accepted: no bare CR or LF,
//! no folded lines, no blank before a colon, no control characters.

use std::fmt;

use httparse::{EMPTY_HEADER, Header, Status};
use memchr::memchr;

use super::field::{Field, FieldKind, FieldLines, values_of};
use super::lines::SectionScanner;
use crate::limits::{EMPTY_LINES, HEAD_BYTES, HEAD_FIELDS, REQUEST_LINE_BYTES};

/// Fields that are parsed without an allocation.
const FIELDS_ON_STACK: usize = 64;

/// A range of bytes in the buffer that a head was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes; empty when the span lies outside `buf`.
    pub fn of<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Where `part`, a subslice of `whole`, lies; an empty span if it does not.
    fn locate(whole: &[u8], part: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize);
        let span = start.and_then(|start| {
            let end = start.checked_add(part.len()).filter(|&end| end <= whole.len())?;
            Some(Span { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
        });
        // An empty value may be a static slice from anywhere.
        span.filter(|_| !part.is_empty()).unwrap_or_default()
    }
}

/// The version in a start line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// A request's head. Its storage can be used again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// Where the request line begins: behind empty lines that were skipped (RFC 9112 2.2).
    pub start: usize,
    /// Bytes of the buffer up to the end of the blank line, skipped empty lines included.
    pub len: usize,
    /// The method as it came.
    pub method: Span,
    /// The request target as it came.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// The field lines in their order.
    pub fields: FieldLines,
}

/// A response's head. Its storage can be used again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the buffer up to the end of the blank line.
    pub len: usize,
    /// The version.
    pub version: Version,
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase as it came; may be empty.
    pub reason: Span,
    /// The field lines in their order.
    pub fields: FieldLines,
}

/// Whether a head is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head is whole and was stored.
    Complete,
    /// More bytes are needed.
    Partial,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// More than [`HEAD_BYTES`].
    TooLarge,
    /// More than [`HEAD_FIELDS`] fields.
    TooManyFields,
    /// A request line of more than [`REQUEST_LINE_BYTES`].
    RequestLineTooLong,
    /// More than [`EMPTY_LINES`] empty lines before the request line.
    EmptyLines,
    /// The request line is malformed.
    RequestLine,
    /// The status line is malformed.
    StatusLine,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
    /// The HTTP/2 connection preface.
    Http2Preface,
    /// A CR or LF alone.
    LineEnd,
    /// A field line without a valid name, with a blank before its colon, or folded.
    FieldName,
    /// A control character in a field's value.
    FieldValue,
}

impl HeadError {
    /// The status that a client gets for a request with this error.
    pub fn status(self) -> u16 {
        match self {
            HeadError::TooLarge | HeadError::TooManyFields => 431,
            HeadError::RequestLineTooLong => 414,
            HeadError::Version | HeadError::Http2Preface => 505,
            _ => 400,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::TooLarge => write!(f, "the head is longer than {HEAD_BYTES} bytes"),
            HeadError::TooManyFields => write!(f, "the head has more than {HEAD_FIELDS} fields"),
            HeadError::RequestLineTooLong => {
                write!(f, "the request line is longer than {REQUEST_LINE_BYTES} bytes")
            }
            HeadError::EmptyLines => f.write_str("too many empty lines before the request line"),
            HeadError::RequestLine => f.write_str("the request line is malformed"),
            HeadError::StatusLine => f.write_str("the status line is malformed"),
            HeadError::Version => f.write_str("the version is neither HTTP/1.0 nor HTTP/1.1"),
            HeadError::Http2Preface => {
                f.write_str("HTTP/2 without negotiation is not supported; use HTTP/1.1")
            }
            HeadError::LineEnd => f.write_str("a line of the head does not end in CR LF"),
            HeadError::FieldName => f.write_str("a field line of the head has no valid name"),
            HeadError::FieldValue => f.write_str("a field value holds a control character"),
        }
    }
}

impl std::error::Error for HeadError {}

/// Reads heads from a buffer that grows, one after the other.
///
/// Until a head is complete, the buffer must begin with the same bytes at each call. After
/// [`Parsed::Complete`] or an error the reader is ready for the next head.
#[derive(Clone, Debug, Default)]
pub struct HeadReader {
    scanner: SectionScanner,
    /// Whether the request line of a partial head was found to be within its limits.
    line_checked: bool,
}

impl HeadReader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        HeadReader::default()
    }

    /// Forgets a partial head.
    pub fn reset(&mut self) {
        *self = HeadReader::default();
    }

    /// Reads a request's head at the beginning of `buf`. What `head` holds is of use only after
    /// [`Parsed::Complete`].
    pub fn request(&mut self, buf: &[u8], head: &mut RequestHead) -> Result<Parsed, HeadError> {
        let found = self.find_request(buf);
        let result = match found {
            Ok(None) => return Ok(Parsed::Partial),
            Ok(Some((start, end))) => parse_request(buf, start, end, head),
            Err(error) => Err(error),
        };
        self.reset();
        result.map(|()| Parsed::Complete)
    }

    /// Reads a response's head at the beginning of `buf`. What `head` holds is of use only after
    /// [`Parsed::Complete`].
    pub fn response(&mut self, buf: &[u8], head: &mut ResponseHead) -> Result<Parsed, HeadError> {
        let found = self.find_response(buf);
        let result = match found {
            Ok(None) => return Ok(Parsed::Partial),
            Ok(Some(end)) => parse_response(buf, end, head),
            Err(error) => Err(error),
        };
        self.reset();
        result.map(|()| Parsed::Complete)
    }

    /// Where the request line begins and the head ends.
    fn find_request(&mut self, buf: &[u8]) -> Result<Option<(usize, usize)>, HeadError> {
        let start = skip_empty_lines(buf)?;
        self.scanner.begin_at(start);
        let end = self.find_end(buf, start);
        // However much came at once, a request line that is too long is the first thing to see.
        if matches!(end, Ok(None) | Err(HeadError::TooLarge)) {
            self.check_request_line(buf.get(start..).unwrap_or_default(), start)?;
        }
        Ok(end?.map(|end| (start, end)))
    }

    /// Refuses garbage and endless lines before a blank line comes, if it ever does. `head`
    /// begins with the request line and is `start` bytes into the buffer.
    fn check_request_line(&mut self, head: &[u8], start: usize) -> Result<(), HeadError> {
        if self.line_checked || matches!(head, [] | [b'\r']) {
            return Ok(());
        }
        if !head.first().copied().is_some_and(is_token_byte) {
            return Err(HeadError::RequestLine);
        }
        let with_end = head.get(..REQUEST_LINE_BYTES + "\r\n".len()).unwrap_or(head);
        self.line_checked = self.scanner.line() > start;
        let is_whole = self.line_checked && memchr(b'\n', with_end).is_some();
        if !is_whole && with_end.len() == REQUEST_LINE_BYTES + "\r\n".len() {
            return Err(HeadError::RequestLineTooLong);
        }
        Ok(())
    }

    /// Where the response's head ends.
    fn find_response(&mut self, buf: &[u8]) -> Result<Option<usize>, HeadError> {
        const BEGIN: &[u8] = b"HTTP/";
        let length = buf.len().min(BEGIN.len());
        if buf.get(..length) != BEGIN.get(..length) {
            return Err(HeadError::StatusLine);
        }
        self.find_end(buf, 0)
    }

    fn find_end(&mut self, buf: &[u8], start: usize) -> Result<Option<usize>, HeadError> {
        let most = start.saturating_add(HEAD_BYTES);
        let window = buf.get(..most).unwrap_or(buf);
        let end = self.scanner.find(window).map_err(|_| HeadError::LineEnd)?;
        if end.is_none() && buf.len() >= most {
            return Err(HeadError::TooLarge);
        }
        Ok(end)
    }
}

/// Whether `byte` may stand in a token: a method or a field name (RFC 9110 section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The values of all fields of this name, which is compared without regard to case.
pub fn values<'a>(
    fields: &'a [Field],
    buf: &'a [u8],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> + 'a {
    fields
        .iter()
        .filter(move |field| field.name.of(buf).eq_ignore_ascii_case(name.as_bytes()))
        .map(move |field| field.value.of(buf))
}

/// The elements of a comma-separated list, without blanks around them; empty ones left out.
pub fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_blanks).filter(|element| !element.is_empty())
}

/// Whether a response is a stream of server-sent events, whose bytes are of interest as they come.
pub fn is_event_stream(head: &ResponseHead, buf: &[u8]) -> bool {
    values_of(&head.fields, buf, FieldKind::ContentType).any(|value| {
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default();
        trim_blanks(essence).eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// `bytes` without spaces and tabs around them (RFC 9110 section 5.6.3).
pub fn trim_blanks(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// Parses the field lines in `section`, blank line included, and shows them to `each`.
pub(super) fn parse_fields<E: From<HeadError>>(
    section: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut few = [EMPTY_HEADER; FIELDS_ON_STACK];
    let mut many;
    let mut parsed = httparse::parse_headers(section, &mut few);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many = vec![EMPTY_HEADER; HEAD_FIELDS];
        parsed = httparse::parse_headers(section, &mut many);
    }
    match parsed.map_err(|error| from_httparse(error, HeadError::FieldName))? {
        Status::Complete((length, fields)) if length == section.len() => {
            fields.iter().try_for_each(|field| each(field.name.as_bytes(), field.value))
        }
        _ => Err(HeadError::FieldName.into()),
    }
}

/// Counts the empty lines before a request line, in bytes.
fn skip_empty_lines(buf: &[u8]) -> Result<usize, HeadError> {
    let mut start = 0;
    while buf.get(start..).is_some_and(|rest| rest.starts_with(b"\r\n")) {
        start += 2;
        if start > 2 * EMPTY_LINES {
            return Err(HeadError::EmptyLines);
        }
    }
    Ok(start)
}

fn parse_request(
    buf: &[u8],
    start: usize,
    end: usize,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    let bytes = buf.get(start..end).unwrap_or_default();
    let mut few = [EMPTY_HEADER; FIELDS_ON_STACK];
    let mut many;
    let mut request = httparse::Request::new(&mut few);
    let mut parsed = request.parse(bytes);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many = vec![EMPTY_HEADER; HEAD_FIELDS];
        request = httparse::Request::new(&mut many);
        parsed = request.parse(bytes);
    }
    let parsed = parsed.map_err(|error| request_error(error, bytes))?;
    let (Status::Complete(length), Some(method), Some(target), Some(version)) =
        (parsed, request.method, request.path, request.version)
    else {
        return Err(HeadError::RequestLine);
    };
    if length != bytes.len() {
        return Err(HeadError::RequestLine);
    }
    head.start = start;
    head.len = end;
    head.method = Span::locate(buf, method.as_bytes());
    head.target = Span::locate(buf, target.as_bytes());
    head.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    store_fields(buf, request.headers, &mut head.fields);
    let line = (head.target.end as usize + " HTTP/1.1".len()).saturating_sub(start);
    if line > REQUEST_LINE_BYTES {
        return Err(HeadError::RequestLineTooLong);
    }
    Ok(())
}

fn parse_response(buf: &[u8], end: usize, head: &mut ResponseHead) -> Result<(), HeadError> {
    let bytes = buf.get(..end).unwrap_or_default();
    let mut few = [EMPTY_HEADER; FIELDS_ON_STACK];
    let mut many;
    let mut response = httparse::Response::new(&mut few);
    let mut parsed = response.parse(bytes);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many = vec![EMPTY_HEADER; HEAD_FIELDS];
        response = httparse::Response::new(&mut many);
        parsed = response.parse(bytes);
    }
    let parsed = parsed.map_err(|error| from_httparse(error, HeadError::StatusLine))?;
    let (Status::Complete(length), Some(status), Some(version)) =
        (parsed, response.code, response.version)
    else {
        return Err(HeadError::StatusLine);
    };
    if length != bytes.len() || status < 100 {
        return Err(HeadError::StatusLine);
    }
    head.len = end;
    head.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    head.status = status;
    // httparse gives no reason when it holds bytes beyond ASCII.
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    head.reason = Span::locate(buf, line.get("HTTP/1.1 200 ".len()..).unwrap_or_default());
    store_fields(buf, response.headers, &mut head.fields);
    Ok(())
}

fn store_fields(buf: &[u8], parsed: &[Header<'_>], fields: &mut FieldLines) {
    fields.replace(parsed.iter().map(|field| Field {
        name: Span::locate(buf, field.name.as_bytes()),
        value: Span::locate(buf, field.value),
        kind: FieldKind::of(field.name.as_bytes()),
    }));
}

fn request_error(error: httparse::Error, bytes: &[u8]) -> HeadError {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    if line == b"PRI * HTTP/2.0" {
        return HeadError::Http2Preface;
    }
    // The version is at fault only where the rest of the line is well-formed.
    let version = line.split(|&byte| byte == b' ').nth(2).unwrap_or_default();
    match from_httparse(error, HeadError::RequestLine) {
        HeadError::Version if !version.starts_with(b"HTTP/") => HeadError::RequestLine,
        other => other,
    }
}

fn from_httparse(error: httparse::Error, start_line: HeadError) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::Status | httparse::Error::Token => start_line,
    }
}

#[cfg(test)]
mod tests;
