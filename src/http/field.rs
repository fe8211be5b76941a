//! Field lines, and the names that a proxy knows (RFC 9110 section 7.6.1 and its neighbours).

use std::ops::Deref;

use super::head::{Span, list_elements};

/// A field line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// The name as it came.
    pub name: Span,
    /// The value as it came, without the blanks around it.
    pub value: Span,
    /// What the name is: looked up once, since every field of every head is asked about often.
    pub kind: FieldKind,
}

/// The field lines of a head in their order, which tell at once of what kinds there are any: most
/// kinds that a head is asked for are in few heads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldLines {
    lines: Vec<Field>,
    /// A bit for each kind that is there.
    kinds: u32,
}

impl FieldLines {
    /// Puts these in the place of what was there, and keeps its storage.
    pub fn replace(&mut self, lines: impl Iterator<Item = Field>) {
        self.lines.clear();
        self.lines.extend(lines);
        self.kinds = self.lines.iter().fold(0, |kinds, field| kinds | bit(field.kind));
    }

    /// Whether there is a field of this kind.
    pub fn has(&self, kind: FieldKind) -> bool {
        self.kinds & bit(kind) != 0
    }
}

impl Deref for FieldLines {
    type Target = [Field];

    fn deref(&self) -> &[Field] {
        &self.lines
    }
}

impl<'a> IntoIterator for &'a FieldLines {
    type Item = &'a Field;
    type IntoIter = std::slice::Iter<'a, Field>;

    fn into_iter(self) -> Self::IntoIter {
        self.lines.iter()
    }
}

fn bit(kind: FieldKind) -> u32 {
    1 << kind as u32
}

/// What a field is to a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldKind {
    /// It is passed on, unless Connection nominates it.
    #[default]
    EndToEnd,
    /// It is passed on, and nobody may nominate it away: a client could otherwise strip what the
    /// server relies on.
    Protected,
    /// Host; protected.
    Host,
    /// Expect; protected.
    Expect,
    /// Content-Type; protected.
    ContentType,
    /// Authorization; protected.
    Authorization,
    /// WWW-Authenticate; protected.
    WwwAuthenticate,
    /// Content-Length.
    ContentLength,
    /// Transfer-Encoding.
    TransferEncoding,
    /// Trailer.
    Trailer,
    /// Upgrade.
    Upgrade,
    /// Connection; hop-by-hop.
    Connection,
    /// TE; hop-by-hop.
    Te,
    /// Keep-Alive; hop-by-hop.
    KeepAlive,
    /// Another that ends at the next hop.
    HopByHop,
    /// Hop-by-hop in requests.
    ProxyRequest,
    /// Hop-by-hop in responses.
    ProxyResponse,
}

impl FieldKind {
    /// The kind of the field of this name.
    pub fn of(name: &[u8]) -> Self {
        use FieldKind::{
            Authorization, Connection, ContentLength, ContentType, Expect, HopByHop, Host,
            KeepAlive, Protected, ProxyRequest, ProxyResponse, Te, Trailer, TransferEncoding,
            Upgrade, WwwAuthenticate,
        };
        let Some(first) = name.first().map(u8::to_ascii_lowercase) else {
            return FieldKind::EndToEnd;
        };
        // Length and first letter leave one candidate, but for one pair.
        let (known, kind) = match (name.len(), first) {
            (2, b't') => ("TE", Te),
            (4, b'd') => ("Date", Protected),
            (4, b'e') => ("ETag", Protected),
            (4, b'h') => ("Host", Host),
            (4, b'v') => ("Vary", Protected),
            (5, b'r') => ("Range", Protected),
            (6, b'c') => ("Cookie", Protected),
            (6, b'e') => ("Expect", Expect),
            (6, b'o') => ("Origin", Protected),
            (7, b't') => ("Trailer", Trailer),
            (7, b'u') => ("Upgrade", Upgrade),
            (8, b'l') => ("Location", Protected),
            (9, b'f') => ("Forwarded", Protected),
            (10, b'c') => ("Connection", Connection),
            (10, b'k') => ("Keep-Alive", KeepAlive),
            (10, b's') => ("Set-Cookie", Protected),
            (12, b'c') => ("Content-Type", ContentType),
            (13, b'a') => ("Authorization", Authorization),
            (13, b'c') if name.eq_ignore_ascii_case(b"Content-Range") => return Protected,
            (13, b'c') => ("Cache-Control", Protected),
            (14, b'c') => ("Content-Length", ContentLength),
            (14, b'h') => ("HTTP2-Settings", HopByHop),
            (15, b'x') => ("X-Forwarded-For", Protected),
            (16, b'c') => ("Content-Encoding", Protected),
            (16, b'p') => ("Proxy-Connection", HopByHop),
            (16, b'w') => ("WWW-Authenticate", WwwAuthenticate),
            (17, b't') => ("Transfer-Encoding", TransferEncoding),
            (18, b'p') => ("Proxy-Authenticate", ProxyResponse),
            (19, b'p') => ("Proxy-Authorization", ProxyRequest),
            (25, b'p') => ("Proxy-Authentication-Info", ProxyResponse),
            _ => return FieldKind::EndToEnd,
        };
        if name.eq_ignore_ascii_case(known.as_bytes()) { kind } else { FieldKind::EndToEnd }
    }
}

/// The values of all fields of a kind that only one name has.
pub fn values_of<'a>(
    fields: &'a FieldLines,
    buf: &'a [u8],
    kind: FieldKind,
) -> impl Iterator<Item = &'a [u8]> + 'a {
    let lines = if fields.has(kind) { &fields.lines } else { [].as_slice() };
    lines.iter().filter(move |field| field.kind == kind).map(move |field| field.value.of(buf))
}

/// Whether a comma-separated list field of this kind holds `token`, without regard to case.
pub fn has_token(fields: &FieldLines, buf: &[u8], kind: FieldKind, token: &str) -> bool {
    values_of(fields, buf, kind)
        .any(|value| list_elements(value).any(|e| e.eq_ignore_ascii_case(token.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_a_head_are_those_of_its_fields() {
        let of = |kind| Field { kind, ..Field::default() };
        let mut fields = FieldLines::default();
        assert!(!fields.has(FieldKind::EndToEnd));
        fields.replace([FieldKind::Host, FieldKind::ProxyResponse].map(of).into_iter());
        assert!(fields.has(FieldKind::Host) && fields.has(FieldKind::ProxyResponse));
        assert!(!fields.has(FieldKind::EndToEnd) && !fields.has(FieldKind::Te));
        fields.replace([FieldKind::Te].map(of).into_iter());
        assert!(fields.has(FieldKind::Te) && !fields.has(FieldKind::Host));
        assert_eq!(fields.len(), 1);
    }

    #[test]
    fn names_are_known_in_any_case_and_by_their_whole_length() {
        for (name, kind) in [
            ("host", FieldKind::Host),
            ("CONTENT-LENGTH", FieldKind::ContentLength),
            ("Content-Range", FieldKind::Protected),
            ("Cache-Control", FieldKind::Protected),
            ("Connection", FieldKind::Connection),
            ("Keep-Alive", FieldKind::KeepAlive),
            ("Proxy-Authorization", FieldKind::ProxyRequest),
            ("te", FieldKind::Te),
            ("Hosts", FieldKind::EndToEnd),
            ("Hust", FieldKind::EndToEnd),
            ("Content-Lengtx", FieldKind::EndToEnd),
            ("Cache-Controx", FieldKind::EndToEnd),
            ("", FieldKind::EndToEnd),
        ] {
            assert_eq!(FieldKind::of(name.as_bytes()), kind, "{name}");
        }
    }
}
