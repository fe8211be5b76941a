//! A reader of HTTP/1.1 that shares nothing with the program: strictly by RFC 9112, or with one of
//! the liberties that servers in the field take.

/// A message as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The start line without its end.
    pub(crate) start: Vec<u8>,
    /// The body, transfer coding undone.
    pub(crate) body: Vec<u8>,
}

/// What is left behind the last whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    /// A message that is not whole.
    Incomplete,
    /// What no message begins with, or goes on with.
    Invalid(&'static str),
}

/// The liberties of a reader; none of them is a strict one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Liberties {
    /// An LF alone ends a line.
    pub(crate) bare_lf: bool,
    /// A CR alone ends a line.
    pub(crate) bare_cr: bool,
    /// Content-Length counts where both are given.
    pub(crate) length_wins: bool,
    /// Any value of Transfer-Encoding that holds `chunked` is chunked.
    pub(crate) loose_coding: bool,
    /// Transfer-Encoding is not known at all.
    pub(crate) no_coding: bool,
    /// Of several lengths the last one counts.
    pub(crate) last_length: bool,
    /// A length that begins with 0 is octal.
    pub(crate) octal: bool,
    /// Line ends inside quotes belong to the chunk extension.
    pub(crate) quoted_extension: bool,
    /// Two bytes behind a chunk are skipped, whatever they are.
    pub(crate) any_chunk_end: bool,
    /// A blank before the colon is left out of the name.
    pub(crate) trimmed_name: bool,
    /// A line that begins with a blank continues the one before.
    pub(crate) folding: bool,
}

/// Readers that take one liberty each.
pub(crate) fn liberal_readers() -> Vec<Liberties> {
    let none = Liberties::default();
    vec![
        Liberties { bare_lf: true, ..none },
        Liberties { bare_cr: true, ..none },
        Liberties { length_wins: true, ..none },
        Liberties { loose_coding: true, ..none },
        Liberties { last_length: true, ..none },
        Liberties { octal: true, ..none },
        Liberties { quoted_extension: true, ..none },
        Liberties { any_chunk_end: true, ..none },
        Liberties { trimmed_name: true, ..none },
        Liberties { folding: true, ..none },
    ]
}

/// Why reading stopped.
enum Stop {
    Incomplete,
    Invalid(&'static str),
}

type Read<T> = Result<T, Stop>;

fn invalid<T>(why: &'static str) -> Read<T> {
    Err(Stop::Invalid(why))
}

/// Reads all requests in `bytes`.
pub(crate) fn requests(bytes: &[u8], liberties: Liberties) -> (Vec<Message>, Rest) {
    let mut reader = Reader { bytes, at: 0, liberties };
    let mut messages = Vec::new();
    loop {
        while reader.left().starts_with(b"\r\n") {
            reader.at += 2;
        }
        if matches!(reader.left(), b"" | b"\r") {
            return (messages, Rest::Nothing);
        }
        match reader.request() {
            Ok(message) => messages.push(message),
            Err(Stop::Incomplete) => return (messages, Rest::Incomplete),
            Err(Stop::Invalid(why)) => return (messages, Rest::Invalid(why)),
        }
    }
}

/// Reads the responses to one request of this method: interim ones, and the final one if it is
/// whole. `ended` tells that the connection has ended in order behind `bytes`.
pub(crate) fn response(bytes: &[u8], method: &str, ended: bool) -> (Vec<Message>, Rest, usize) {
    let mut reader = Reader { bytes, at: 0, liberties: Liberties::default() };
    let mut messages = Vec::new();
    loop {
        match reader.response(method, ended) {
            Ok((message, is_final)) => {
                messages.push(message);
                if is_final {
                    return (messages, Rest::Nothing, reader.at);
                }
            }
            Err(Stop::Incomplete) => return (messages, Rest::Incomplete, reader.at),
            Err(Stop::Invalid(why)) => return (messages, Rest::Invalid(why), reader.at),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    liberties: Liberties,
}

struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.0.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_slice()).collect()
    }
}

enum Length {
    None,
    Counted(u64),
    Chunked,
}

impl<'a> Reader<'a> {
    fn left(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn request(&mut self) -> Read<Message> {
        let start = self.line(false)?.to_vec();
        let version = check_request_line(&start)?;
        let fields = self.fields()?;
        let hosts = fields.all("host");
        match (hosts.as_slice(), version) {
            ([host], _) if !is_host(host) => return invalid("the host"),
            ([_], _) | ([], "1.0") => {}
            _ => return invalid("the number of hosts"),
        }
        let body = match self.length(&fields, version)? {
            Some(length) => self.body(&length)?,
            None => Vec::new(),
        };
        Ok(Message { start, body })
    }

    fn response(&mut self, method: &str, ended: bool) -> Read<(Message, bool)> {
        let start = self.line(false)?.to_vec();
        let line = String::from_utf8_lossy(&start).into_owned();
        let (version, rest) = match line.split_once(' ') {
            Some(("HTTP/1.1", rest)) => ("1.1", rest),
            Some(("HTTP/1.0", rest)) => ("1.0", rest),
            _ => return invalid("the status line"),
        };
        let status = rest.get(..3).and_then(|digits| digits.parse::<u16>().ok());
        let Some(status @ 100..) = status else { return invalid("the status") };
        if !matches!(rest.as_bytes().get(3), None | Some(b' ')) {
            return invalid("the status");
        }
        let fields = self.fields()?;
        let length = self.length(&fields, version)?;
        let body = match length {
            Some(Length::Chunked) if matches!(status, 100..=199 | 204) => {
                return invalid("a coding without a body");
            }
            _ if matches!(status, 100..=199 | 204 | 304) || method == "HEAD" => Vec::new(),
            Some(length) => self.body(&length)?,
            None if !ended => return Err(Stop::Incomplete),
            None => {
                let body = self.left().to_vec();
                self.at = self.bytes.len();
                body
            }
        };
        Ok((Message { start, body }, !matches!(status, 100 | 102..=199)))
    }

    /// The next line without its end. In a chunk's line quotes may count.
    fn line(&mut self, quotes: bool) -> Read<&'a [u8]> {
        let left = self.left();
        let (mut quoted, mut escaped) = (false, false);
        for (at, &byte) in left.iter().enumerate() {
            let next = left.get(at + 1);
            let was_escaped = escaped;
            escaped = quoted && byte == b'\\' && !was_escaped;
            let (line, length) = match byte {
                _ if was_escaped => continue,
                b'"' if quotes && self.liberties.quoted_extension => {
                    quoted = !quoted;
                    continue;
                }
                _ if quoted => continue,
                b'\r' if next == Some(&b'\n') => (&left[..at], at + 2),
                b'\r' if next.is_none() => return Err(Stop::Incomplete),
                b'\r' if self.liberties.bare_cr => (&left[..at], at + 1),
                b'\n' if self.liberties.bare_lf => (&left[..at], at + 1),
                b'\r' | b'\n' => return invalid("a bare CR or LF"),
                b'\t' => continue,
                0..b' ' | 0x7f => return invalid("a control character"),
                _ => continue,
            };
            self.at += length;
            return Ok(line);
        }
        Err(Stop::Incomplete)
    }

    fn fields(&mut self) -> Read<Fields> {
        let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
        loop {
            let line = self.line(false)?;
            if line.is_empty() {
                return Ok(Fields(fields));
            }
            if matches!(line[0], b' ' | b'\t') {
                match fields.last_mut().filter(|_| self.liberties.folding) {
                    Some((_, value)) => value.extend_from_slice(line),
                    None => return invalid("a folded line"),
                }
                continue;
            }
            let Some(colon) = line.iter().position(|&byte| byte == b':') else {
                return invalid("a line without a colon");
            };
            let mut name = &line[..colon];
            if self.liberties.trimmed_name {
                name = name.trim_ascii();
            }
            if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
                return invalid("a field name");
            }
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
    }

    /// RFC 9112 section 6.3, and what it leaves open decided for an error.
    fn length(&self, fields: &Fields, version: &str) -> Read<Option<Length>> {
        let Liberties { length_wins, loose_coding, no_coding, last_length, .. } = self.liberties;
        let lengths = fields.all("content-length");
        let mut codings = fields.all("transfer-encoding");
        if no_coding || length_wins && !lengths.is_empty() {
            codings.clear();
        }
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(None),
            ([], [.., last]) if last_length => self.number(last).map(Some),
            ([], [length]) => self.number(length).map(Some),
            ([], _) => invalid("several lengths"),
            (codings, _) if loose_coding => {
                let chunked = |value: &&[u8]| {
                    String::from_utf8_lossy(value).to_ascii_lowercase().contains("chunked")
                };
                Ok(codings.iter().any(chunked).then_some(Length::Chunked))
            }
            (_, [_, ..]) => invalid("a length and a coding"),
            (_, []) if version == "1.0" => invalid("a coding in HTTP/1.0"),
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Length::Chunked)),
            _ => invalid("the coding"),
        }
    }

    fn number(&self, digits: &[u8]) -> Read<Length> {
        let text = String::from_utf8_lossy(digits);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return invalid("the length");
        }
        let octal = self.liberties.octal && digits.len() > 1 && digits[0] == b'0';
        let number = u64::from_str_radix(&text, if octal { 8 } else { 10 });
        match number {
            Ok(0) => Ok(Length::None),
            Ok(number) if number < 1 << 63 => Ok(Length::Counted(number)),
            _ => invalid("the length"),
        }
    }

    fn body(&mut self, length: &Length) -> Read<Vec<u8>> {
        match length {
            Length::None => Ok(Vec::new()),
            Length::Counted(length) => self.take(*length).map(<[u8]>::to_vec),
            Length::Chunked => self.chunks(),
        }
    }

    fn take(&mut self, length: u64) -> Read<&'a [u8]> {
        let length = usize::try_from(length).unwrap();
        let Some(taken) = self.left().get(..length) else { return Err(Stop::Incomplete) };
        self.at += length;
        Ok(taken)
    }

    fn chunks(&mut self) -> Read<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(true)?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let size = u64::from_str_radix(&String::from_utf8_lossy(&line[..digits]), 16);
            let Ok(size @ 0..0x8000_0000_0000_0000) = size else {
                return invalid("a chunk's size");
            };
            if !self.liberties.quoted_extension && !is_extension(&line[digits..]) {
                return invalid("a chunk's extension");
            }
            if size == 0 {
                let forbidden = ["content-length", "transfer-encoding", "host", "authorization"];
                let trailers = self.fields()?;
                return match trailers.0.iter().any(|(name, _)| forbidden.contains(&name.as_str())) {
                    true => invalid("a trailer field"),
                    false => Ok(body),
                };
            }
            body.extend_from_slice(self.take(size)?);
            let end = self.left();
            match end {
                [b'\r', b'\n', ..] => {}
                [_, _, ..] if self.liberties.any_chunk_end => {}
                [] | [b'\r'] => return Err(Stop::Incomplete),
                _ => return invalid("a chunk's end"),
            }
            self.at += 2;
        }
    }
}

fn check_request_line(line: &[u8]) -> Read<&'static str> {
    let parts: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts.as_slice() else { return invalid("the request line") };
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return invalid("the method");
    }
    if target.is_empty() || target.iter().any(|&byte| matches!(byte, b'#' | b'\t')) {
        return invalid("the target");
    }
    let text = String::from_utf8_lossy(target);
    let authority = match text.split_once("://") {
        _ if *method == b"CONNECT" => Some(&*text).filter(|text| text.contains(':')),
        Some(("http" | "https", rest)) => Some(rest.split(['/', '?']).next().unwrap_or_default()),
        _ if text.starts_with('/') => None,
        _ if text == "*" && *method == b"OPTIONS" => None,
        _ => return invalid("the target"),
    };
    let lacks_port = *method == b"CONNECT" && authority.is_none();
    if lacks_port || authority.is_some_and(|authority| !is_host(authority.as_bytes())) {
        return invalid("the authority");
    }
    match *version {
        b"HTTP/1.1" => Ok("1.1"),
        b"HTTP/1.0" => Ok("1.0"),
        _ => invalid("the version"),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_host(host: &[u8]) -> bool {
    let text = String::from_utf8_lossy(host);
    let (name, port) = text.rsplit_once(':').unwrap_or((&text, "1"));
    let named = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    !name.is_empty() && named && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// RFC 9112 section 7.1.1.
fn is_extension(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(rest) = text.trim_ascii_start().strip_prefix(b";") else { return false };
        let rest = rest.trim_ascii_start();
        let name = rest.iter().take_while(|&&byte| is_token(byte)).count();
        if name == 0 {
            return false;
        }
        text = &rest[name..];
        let Some(value) = text.trim_ascii_start().strip_prefix(b"=") else { continue };
        let value = value.trim_ascii_start();
        let length = match value {
            [b'"', quoted @ ..] => {
                let mut escaped = false;
                let end = quoted.iter().position(|&byte| {
                    let ends = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    ends
                });
                end.map_or(0, |end| end + 2)
            }
            _ => value.iter().take_while(|&&byte| is_token(byte)).count(),
        };
        if length == 0 {
            return false;
        }
        text = &value[length..];
    }
    true
}
