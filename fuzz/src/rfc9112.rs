//! A second, independent reading of HTTP/1 framing, written from RFC 9112 and sharing nothing
//! with `flowtap::http`. It is short and slow, reads whole messages only, and takes nothing that
//! the RFC does not define, but for a status line that ends behind its code (section 4 wants a
//! space there, which many servers leave out) and for any target without blanks and control
//! characters (section 3.2 has URIs there; clients send other bytes as they are).

/// What there is of a message at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// All of it.
    Whole(T),
    /// More bytes are needed.
    Part,
    /// It is not what the RFC defines.
    Wrong(&'static str),
}

/// A head: its start line's three parts, its fields, and its length with the blank line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// Method, target, version; or version, status, reason.
    pub start: [&'a [u8]; 3],
    /// Names and values, blanks around the values left out.
    pub fields: Fields<'a>,
    /// Bytes up to the end of the blank line, empty lines before the start line included.
    pub length: usize,
}

/// Names and values.
pub type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

/// How a body ends (section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// There is none.
    None,
    /// After so many bytes.
    After(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    WithConnection,
}

/// A message whose end is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its head.
    pub head: Head<'a>,
    /// Its body with the chunked coding undone.
    pub body: Vec<u8>,
    /// What stood around a chunked body.
    pub chunks: Option<Chunks<'a>>,
    /// Bytes of all of it.
    pub length: usize,
}

/// What stands around the content of a chunked body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunks<'a> {
    /// The lines with the sizes and the extensions, without their ends.
    pub lines: Vec<&'a [u8]>,
    /// The trailer section.
    pub trailers: Fields<'a>,
    /// Bytes of the trailer section with its blank line.
    pub trailer_bytes: usize,
}

fn is_token(text: &[u8]) -> bool {
    let is_tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// Field content (RFC 9110 section 5.5), and reason phrases: visible, obs-text, space, tab.
fn is_text(text: &[u8]) -> bool {
    text.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f))
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn same(a: &[u8], b: &str) -> bool {
    a.eq_ignore_ascii_case(b.as_bytes())
}

/// Lines between `from` and the blank line, and where the line after that begins.
fn section(bytes: &[u8], from: usize) -> Reading<(Vec<&[u8]>, usize)> {
    let mut lines = Vec::new();
    let mut at = from;
    loop {
        let Some(rest) = bytes.get(at..) else { return Reading::Part };
        let Some(end) = rest.iter().position(|&b| b == b'\n') else { return Reading::Part };
        let Some(line) = rest[..end].strip_suffix(b"\r") else {
            return Reading::Wrong("lone line feed");
        };
        if line.contains(&b'\r') {
            return Reading::Wrong("lone carriage return");
        }
        at += end + 1;
        if line.is_empty() {
            return Reading::Whole((lines, at));
        }
        lines.push(line);
    }
}

fn fields<'a>(lines: &[&'a [u8]]) -> Result<Fields<'a>, &'static str> {
    let field = |line: &&'a [u8]| {
        let colon = line.iter().position(|&b| b == b':').ok_or("no colon in a field line")?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err("a field's name is no token");
        }
        if !is_text(value) {
            return Err("a control character in a field's value");
        }
        Ok((name, trimmed(value)))
    };
    lines.iter().map(field).collect()
}

fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// A request's head (sections 2.2 and 3).
pub fn request_head(bytes: &[u8]) -> Reading<Head<'_>> {
    let mut from = 0;
    while bytes[from..].starts_with(b"\r\n") {
        from += 2;
    }
    let (lines, length) = match section(bytes, from) {
        Reading::Whole(whole) => whole,
        Reading::Part => return Reading::Part,
        Reading::Wrong(why) => return Reading::Wrong(why),
    };
    let Some((start, rest)) = lines.split_first() else { return Reading::Part };
    let parts: Vec<&[u8]> = start.split(|&b| b == b' ').collect();
    let [method, target, version] = parts[..] else { return Reading::Wrong("request line") };
    let is_target = !target.is_empty() && target.iter().all(|&b| b > b' ' && b != 0x7f);
    if !is_token(method) || !is_target || !is_version(version) {
        return Reading::Wrong("request line");
    }
    match fields(rest) {
        Ok(fields) => Reading::Whole(Head { start: [method, target, version], fields, length }),
        Err(why) => Reading::Wrong(why),
    }
}

/// A response's head (section 4).
pub fn response_head(bytes: &[u8]) -> Reading<Head<'_>> {
    let (lines, length) = match section(bytes, 0) {
        Reading::Whole(whole) => whole,
        Reading::Part => return Reading::Part,
        Reading::Wrong(why) => return Reading::Wrong(why),
    };
    let Some((start, rest)) = lines.split_first() else { return Reading::Wrong("no status line") };
    let mut parts = start.splitn(3, |&b| b == b' ');
    let mut part = || parts.next().unwrap_or_default();
    let (version, status, reason) = (part(), part(), part());
    let is_status = status.len() == 3 && status.iter().all(u8::is_ascii_digit);
    if !is_version(version) || !is_status || !is_text(reason) {
        return Reading::Wrong("status line");
    }
    match fields(rest) {
        Ok(fields) => Reading::Whole(Head { start: [version, status, reason], fields, length }),
        Err(why) => Reading::Wrong(why),
    }
}

impl<'a> Head<'a> {
    /// The values of a field, in order.
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'a [u8]> + 'h {
        self.fields.iter().filter(move |(own, _)| same(own, name)).map(|(_, value)| *value)
    }

    /// The elements of a field that is a list, in lower case.
    pub fn elements(&self, name: &str) -> Vec<Vec<u8>> {
        let all = self.values(name).flat_map(|value| value.split(|&b| b == b','));
        all.map(trimmed).filter(|it| !it.is_empty()).map(<[u8]>::to_ascii_lowercase).collect()
    }

    /// A response begins with it, and no method can look like it.
    fn version(&self) -> &'a [u8] {
        if is_version(self.start[0]) { self.start[0] } else { self.start[2] }
    }

    /// What Transfer-Encoding and Content-Length say (sections 6.1 to 6.3).
    fn declared(&self) -> Result<Option<Ends>, &'static str> {
        let codings = self.elements("Transfer-Encoding");
        let is_coded = self.values("Transfer-Encoding").next().is_some();
        let lengths: Vec<&[u8]> = self.values("Content-Length").collect();
        if is_coded && !lengths.is_empty() {
            return Err("Content-Length beside Transfer-Encoding");
        }
        if is_coded && self.version() == b"HTTP/1.0" {
            return Err("Transfer-Encoding in HTTP/1.0");
        }
        if is_coded {
            let chunked = codings.iter().filter(|coding| same(coding, "chunked")).count();
            return match codings.last() {
                Some(last) if same(last, "chunked") && chunked == 1 => Ok(Some(Ends::Chunked)),
                _ => Err("chunked is not the last coding, or there twice"),
            };
        }
        match lengths[..] {
            [] => Ok(None),
            [one] if !one.is_empty() && one.iter().all(u8::is_ascii_digit) => {
                let text = String::from_utf8_lossy(one);
                text.parse().map(|n| Some(Ends::After(n))).map_err(|_| "Content-Length too large")
            }
            _ => Err("not one Content-Length"),
        }
    }

    /// How a request's body ends.
    pub fn request_ends(&self) -> Result<Ends, &'static str> {
        Ok(self.declared()?.unwrap_or(Ends::None))
    }

    /// How the body of a response to a request of this method ends.
    pub fn response_ends(&self, method: &[u8]) -> Result<Ends, &'static str> {
        let declared = self.declared()?;
        let is_tunnel = method == b"CONNECT" && self.start[1].starts_with(b"2");
        if method == b"HEAD" || is_tunnel || self.start[1].starts_with(b"1") {
            return Ok(Ends::None);
        }
        match self.start[1] {
            b"204" | b"304" => Ok(Ends::None),
            _ => Ok(declared.unwrap_or(Ends::WithConnection)),
        }
    }
}

/// A chunked body with its trailer section (section 7.1): its content, what stood around it, and
/// its length.
pub fn chunked(bytes: &[u8]) -> Reading<(Vec<u8>, Chunks<'_>, usize)> {
    let (mut content, mut around) = (Vec::new(), Chunks::default());
    match chunks(bytes, &mut content, &mut around) {
        Reading::Whole(length) => Reading::Whole((content, around, length)),
        Reading::Part => Reading::Part,
        Reading::Wrong(why) => Reading::Wrong(why),
    }
}

/// What can be read of a chunked body that may be cut anywhere.
pub fn chunked_so_far(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let _ = chunks(bytes, &mut content, &mut Chunks::default());
    content
}

/// The length of a chunked body whose content is appended to `content`, and what stands around it
/// put into `around`, as far as it is there.
fn chunks<'a>(bytes: &'a [u8], content: &mut Vec<u8>, around: &mut Chunks<'a>) -> Reading<usize> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let Some(line) = find(rest, b"\r\n") else { return Reading::Part };
        if digits == 0 || !are_extensions(&rest[digits.min(line)..line]) {
            return Reading::Wrong("chunk size line");
        }
        let text = String::from_utf8_lossy(&rest[..digits]);
        let Ok(size) = u64::from_str_radix(&text, 16) else {
            return Reading::Wrong("chunk size too large");
        };
        around.lines.push(&rest[..line]);
        at += line + 2;
        if size == 0 {
            return match section(bytes, at) {
                Reading::Whole((lines, end)) => match fields(&lines) {
                    Ok(trailers) => {
                        (around.trailers, around.trailer_bytes) = (trailers, end - at);
                        Reading::Whole(end)
                    }
                    Err(why) => Reading::Wrong(why),
                },
                Reading::Part => Reading::Part,
                Reading::Wrong(why) => Reading::Wrong(why),
            };
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let there = bytes.get(at..).unwrap_or_default();
        content.extend_from_slice(there.get(..size).unwrap_or(there));
        if there.len() < size {
            return Reading::Part;
        }
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Reading::Wrong("no line end behind a chunk"),
            None => return Reading::Part,
        }
    }
}

/// Chunk extensions (section 7.1.1): names, some with a value, each behind a semicolon.
fn are_extensions(text: &[u8]) -> bool {
    let Some(parts) = divided(text, b';') else { return false };
    let ends_with_blank = text.ends_with(b" ") || text.ends_with(b"\t");
    let is_extension = |part: &&[u8]| match divided(part, b'=').as_deref() {
        Some([name]) => is_token(trimmed(name)),
        Some([name, value]) => is_token(trimmed(name)) && is_value(trimmed(value)),
        _ => false,
    };
    is_text(text)
        && !ends_with_blank
        && trimmed(parts[0]).is_empty()
        && parts[1..].iter().all(is_extension)
}

/// A token or a quoted string.
fn is_value(text: &[u8]) -> bool {
    let is_quoted = text.starts_with(b"\"") && text.len() > 1 && {
        // The quote at the end is the first that can be one.
        let inner = &text[1..text.len() - 1];
        text.ends_with(b"\"") && divided(text, b'"').is_some() && !has_quote(inner)
    };
    is_quoted || is_token(text)
}

/// Whether there is a quote that no backslash is before.
fn has_quote(text: &[u8]) -> bool {
    let mut escaped = false;
    text.iter().any(|&byte| {
        let is_quote = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_quote
    })
}

/// The parts between separators that are not in a quoted string; nothing where one is open.
fn divided(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

fn body<'a>(
    bytes: &'a [u8],
    head: Head<'a>,
    ends: Result<Ends, &'static str>,
) -> Reading<Message<'a>> {
    let rest = &bytes[head.length..];
    let (content, chunks, length) = match ends {
        Err(why) => return Reading::Wrong(why),
        Ok(Ends::None) => (Vec::new(), None, 0),
        Ok(Ends::WithConnection) => (rest.to_vec(), None, rest.len()),
        Ok(Ends::After(count)) => {
            let content = usize::try_from(count).ok().and_then(|count| rest.get(..count));
            let Some(content) = content else { return Reading::Part };
            (content.to_vec(), None, content.len())
        }
        Ok(Ends::Chunked) => match chunked(rest) {
            Reading::Whole((content, chunks, length)) => (content, Some(chunks), length),
            Reading::Part => return Reading::Part,
            Reading::Wrong(why) => return Reading::Wrong(why),
        },
    };
    Reading::Whole(Message { length: head.length + length, head, body: content, chunks })
}

/// A request at the beginning of `bytes`.
pub fn request(bytes: &[u8]) -> Reading<Message<'_>> {
    match request_head(bytes) {
        Reading::Whole(head) => {
            let ends = head.request_ends();
            body(bytes, head, ends)
        }
        Reading::Part => Reading::Part,
        Reading::Wrong(why) => Reading::Wrong(why),
    }
}

/// A response at the beginning of `bytes`, to a request of this method. One that ends with its
/// connection takes all there is.
pub fn response<'a>(bytes: &'a [u8], method: &[u8]) -> Reading<Message<'a>> {
    match response_head(bytes) {
        Reading::Whole(head) => {
            let ends = head.response_ends(method);
            body(bytes, head, ends)
        }
        Reading::Part => Reading::Part,
        Reading::Wrong(why) => Reading::Wrong(why),
    }
}
