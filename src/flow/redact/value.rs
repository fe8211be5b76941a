//! Where the value of a name stands in a text, judged by what surrounds the name.

use std::ops::Range;

use crate::flow::redact::MASK;
use crate::flow::redact::names::Kind;
use crate::flow::redact::pairs::Style;
use crate::flow::redact::shapes::{clip, run};
use crate::limits::MASKED_CONTEXT_BYTES;

/// Where the value of a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The value.
    Value(Range<usize>),
    /// A field line's value, with the scheme or the cookies that it has.
    Line(Range<usize>),
    /// An object or array that begins here.
    Nested(usize),
}

/// What stands directly around a name.
pub(super) struct Around<'t> {
    text: &'t str,
    name: Range<usize>,
    style: Style,
    /// What the name says, once that is known.
    kind: Kind,
    /// The quote that stands before the name.
    opened: Option<u8>,
    /// The quote that closes it, if the name is quoted alone.
    closed: Option<u8>,
    /// Behind the name, its quote and blanks.
    after: usize,
}

impl<'t> Around<'t> {
    /// Looks around; `None` where no value can follow, as with most words.
    pub(super) fn new(text: &'t str, name: Range<usize>, style: Style) -> Option<Self> {
        let opened = before(text, name.start).filter(|byte| is_quote(*byte));
        let rest = text.get(name.end..)?;
        let slashes = run(clip(rest, MASKED_CONTEXT_BYTES), |byte| byte == b'\\');
        let mut after = name.end;
        let mut closed = None;
        if let Some(quote) = rest.as_bytes().get(slashes).filter(|byte| is_quote(**byte)) {
            closed = Some(*quote);
            after += slashes + 1;
        }
        let rest = text.get(after..)?;
        after += match rest.as_bytes() {
            [b']', ..] => 1,
            [b'%', b'5', b'D' | b'd', ..] => 3,
            _ => 0,
        };
        let blanks = clip(text.get(after..)?, 8);
        after += run(blanks, |byte| byte == b' ' || byte == b'\t');
        let around = Around { text, name, style, kind: Kind::Secret, opened, closed, after };
        let next = text.as_bytes().get(after)?;
        let may_follow = b":=>%".contains(next)
            || closed.is_some()
            || quote_entity(rest).is_some()
            || behind_key(rest).is_some()
            || around.is_tag()
            || around.is_bare_attribute();
        may_follow.then_some(around)
    }

    /// Whether the name is that of an element, with a prefix or without.
    fn is_tag(&self) -> bool {
        let head = self.text.as_bytes().get(..self.name.start).unwrap_or_default();
        match head {
            [.., b'<'] => true,
            [prefix @ .., b':'] => {
                let mut prefix = prefix.iter().rev().take(32);
                prefix.find(|byte| !byte.is_ascii_alphanumeric()) == Some(&b'<')
            }
            _ => false,
        }
    }

    /// Whether the name is what an attribute holds, without quotes: `<input type=password>`.
    fn is_bare_attribute(&self) -> bool {
        self.closed.is_none() && before(self.text, self.name.start) == Some(b'=')
    }

    /// Finds the value of a name of this kind; a doubtful one ends sooner.
    pub(super) fn place(&mut self, kind: Kind) -> Option<Place> {
        self.kind = kind;
        let rest = self.text.get(self.after..)?;
        let is_tag = self.is_tag();
        let adjacent = self.after == self.name.end;
        match rest.as_bytes() {
            [b':', b':', ..] | [b'=', b'=', ..] | [b':', b'/', b'/', ..] => None,
            [b':', b'=', ..] | [b'=', b'>', ..] => self.separated(2, false),
            [b':', ..] => self.separated(1, true),
            [b'=', ..] => self.separated(1, false),
            [b'%', b'3', b'D' | b'd', ..] if adjacent => self.encoded(),
            [b'%', b'2', b'2', b'%', b'3', b'A' | b'a', ..] if adjacent => self.encoded_member(),
            [b'&', ..] if adjacent => self.entity_member(),
            [b'<', b'/', ..] if adjacent => self.neighbour(),
            [b'>', ..] if is_tag && adjacent => self.element(self.after + 1),
            _ if is_tag && !adjacent && self.closed.is_none() => {
                let tag = clip(rest, MASKED_CONTEXT_BYTES);
                let end = tag.find(['>', '<'])?;
                let is_open = tag.get(end..)?.starts_with('>') && !tag.get(..end)?.ends_with('/');
                is_open.then(|| self.element(self.after + end + 1)).flatten()
            }
            [b',', ..] if self.closed.is_some() && self.opened == self.closed => self.argument(),
            _ if self.closed.is_some() || self.is_bare_attribute() => self.attribute(),
            _ => None,
        }
    }

    /// The value behind `=` or `:`.
    fn separated(&self, length: usize, colon: bool) -> Option<Place> {
        let start = self.after + length;
        let rest = self.text.get(start..)?;
        let blanks = run(rest, |byte| byte == b' ' || byte == b'\t');
        let start = start + blanks;
        let rest = self.text.get(start..)?;
        if colon && self.closed.is_none() && self.is_field_of_credentials() {
            // What was masked ended at a quote, and the next one may be none of the field's.
            if rest.starts_with(MASK) {
                return None;
            }
            return Some(Place::Line(start..self.line_end(start)));
        }
        let slashes = run(clip(rest, MASKED_CONTEXT_BYTES), |byte| byte == b'\\');
        match rest.as_bytes().get(slashes)? {
            quote if is_quote(*quote) => self.quoted(start, slashes, *quote),
            b'{' | b'[' if self.closed.is_some() && slashes == 0 => Some(Place::Nested(start)),
            _ if self.closed.is_some() && self.style == Style::Code => None,
            _ if colon => self.bare_behind_colon(start),
            _ => self.bare(start),
        }
    }

    fn is_field_of_credentials(&self) -> bool {
        let name = self.text.get(self.name.clone()).unwrap_or_default();
        let known = ["cookie", "set-cookie", "authorization", "proxy-authorization"];
        self.style == Style::Prose && known.iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    /// The end of a field line: of the line, or of the quotes that the field stands in.
    fn line_end(&self, start: usize) -> usize {
        let rest = self.text.get(start..).unwrap_or_default();
        let ends = |byte: u8| byte == b'\n' || byte == b'\r' || Some(byte) == self.opened;
        let length = run(rest, |byte| !ends(byte));
        start + rest.get(..length).unwrap_or_default().trim_end().len()
    }

    /// A value in quotes, which may be escaped as often as the text around is nested.
    fn quoted(&self, at: usize, slashes: usize, quote: u8) -> Option<Place> {
        let start = at + slashes + 1;
        let rest = self.text.get(start..)?;
        if self.closed.is_none() && self.closes_a_string(quote, rest) {
            return None;
        }
        Some(Place::Value(start..start + quoted_end(rest, slashes, quote)))
    }

    /// Whether the quote behind an unquoted name closes a string that the name stands in.
    fn closes_a_string(&self, quote: u8, rest: &str) -> bool {
        const LINE_BYTES: usize = 128;
        let before = self.text.as_bytes().get(..self.name.start).unwrap_or_default();
        let before = before.iter().rev().take(LINE_BYTES).take_while(|byte| **byte != b'\n');
        let open = before.filter(|byte| **byte == quote).count() % 2 == 1;
        let goes_on = rest.bytes().next().is_none_or(|next| b",)+;}]: ./>&".contains(&next));
        open && (goes_on || self.opened == Some(quote))
    }

    /// A value without quotes behind `=`.
    fn bare(&self, start: usize) -> Option<Place> {
        let is_parameter =
            before(self.text, self.name.start).is_some_and(|it| b"?&;#".contains(&it));
        if self.style == Style::Code && !is_parameter {
            return None;
        }
        let rest = self.text.get(start..)?;
        let ends = |byte: u8| {
            byte.is_ascii_whitespace()
                || b"&\"'`<>\\)".contains(&byte)
                || if is_parameter { byte == b'#' } else { b";,}]|".contains(&byte) }
        };
        let length = self.key_length(rest).unwrap_or_else(|| run(rest, |byte| !ends(byte)));
        let value = rest.get(..length)?;
        // A sentence's full stop is none of it.
        let value = value.strip_suffix('.').unwrap_or(value);
        if !is_word_for_a_value(value) && self.has_scheme(value) {
            let token = run(rest.get(length + 1..)?, |byte| !ends(byte));
            return Some(Place::Value(start..start + length + 1 + token));
        }
        (!is_word_for_a_value(value)).then_some(Place::Value(start..start + value.len()))
    }

    fn has_scheme(&self, value: &str) -> bool {
        value.eq_ignore_ascii_case("bearer") || value.eq_ignore_ascii_case("basic")
    }

    /// A value without quotes behind `:`, which may as well be the rest of a sentence.
    fn bare_behind_colon(&self, start: usize) -> Option<Place> {
        if self.style == Style::Code {
            return None;
        }
        let rest = self.text.get(start..)?;
        let ends = |byte: u8| byte.is_ascii_whitespace() || b",;\"'`<>\\)}]&|".contains(&byte);
        let length = self.key_length(rest).unwrap_or_else(|| run(rest, |byte| !ends(byte)));
        let value = rest.get(..length)?;
        let value = value.strip_suffix('.').unwrap_or(value);
        if is_word_for_a_value(value) {
            return None;
        }
        if self.has_scheme(value) {
            let token = run(rest.get(length + 1..)?, |byte| !ends(byte));
            return Some(Place::Value(start..start + length + 1 + token));
        }
        let begins = self.begins();
        let ends_line = rest.as_bytes().get(length).is_none_or(|it| *it != b' ');
        let odd = |byte: u8| !byte.is_ascii_lowercase();
        let looks_like_one = value.len() >= 5 && value.get(1..)?.bytes().any(odd);
        (begins && ends_line || looks_like_one).then_some(Place::Value(start..start + value.len()))
    }

    /// The length of what may be a key, if only that is a secret: other names, of which one may not
    /// be doubtful, may follow.
    fn key_length(&self, text: &str) -> Option<usize> {
        let more = match self.kind {
            Kind::Doubtful => "_-%+",
            Kind::Grant => "_-%+/.~",
            _ => return None,
        };
        let more = more.as_bytes();
        let length = run(text, |byte| byte.is_ascii_alphanumeric() || more.contains(&byte));
        Some(length + run(text.get(length..).unwrap_or_default(), |byte| byte == b'='))
    }

    /// Whether the name is the first word of its line, or of what a bracket or a comma begins.
    fn begins(&self) -> bool {
        const INDENT_BYTES: usize = 128;
        let before = self.text.as_bytes().get(..self.name.start).unwrap_or_default();
        let mut before = before.iter().rev().take(INDENT_BYTES);
        before
            .find(|byte| !matches!(byte, b' ' | b'\t'))
            .is_none_or(|byte| b"\n\r{,;&?\"'`-".contains(byte))
    }

    /// `name%3Dvalue` within a parameter.
    fn encoded(&self) -> Option<Place> {
        let start = self.after + 3;
        let rest = self.text.get(start..)?;
        let length = run(rest, |byte| !byte.is_ascii_whitespace() && !b"&\"'<>#".contains(&byte));
        let value = rest.get(..length)?;
        let end = ["%26", "%23", "%22", "%3B", "%3b"];
        let end = end.iter().filter_map(|end| value.find(end)).min().unwrap_or(length);
        Some(Place::Value(start..start + end))
    }

    /// `name%22%3A%22value%22`, a member of JSON that is percent-encoded.
    fn encoded_member(&self) -> Option<Place> {
        let rest = self.text.get(self.after + "%22%3A".len()..)?;
        let value = ["%20", "+"].iter().find_map(|blank| rest.strip_prefix(blank)).unwrap_or(rest);
        let value = value.strip_prefix("%22")?;
        let start = self.text.len() - value.len();
        let ends = |byte: u8| byte.is_ascii_whitespace() || b"&\"'<>#;".contains(&byte);
        let mut rest = value.as_bytes();
        while let [byte, after @ ..] = rest
            && !ends(*byte)
            && !rest.starts_with(b"%22")
        {
            rest = after;
        }
        Some(Place::Value(start..start + value.len() - rest.len()))
    }

    /// The string behind a name in JSON that stands in an attribute, its quotes as entities.
    fn entity_member(&self) -> Option<Place> {
        let blank = [' ', '\t'];
        let rest = self.text.get(self.after..)?;
        let rest = rest.get(quote_entity(rest)?.len()..)?.trim_start_matches(blank);
        let value = rest.strip_prefix(':')?.trim_start_matches(blank);
        let value = value.get(quote_entity(value)?.len()..)?;
        let start = self.text.len() - value.len();
        let mut escapes = 0;
        let end = value.bytes().enumerate().position(|(at, byte)| {
            let is_escaped = escapes % 2 == 1;
            escapes = if byte == b'\\' { escapes + 1 } else { 0 };
            let is_quote =
                || byte == b'&' && !is_escaped && value.get(at..).and_then(quote_entity).is_some();
            b"\"<>\n".contains(&byte) || is_quote()
        });
        Some(Place::Value(start..start + end.unwrap_or(value.len())))
    }

    /// The text of an element, up to its end tag.
    fn element(&self, start: usize) -> Option<Place> {
        let rest = self.text.get(start..)?;
        if let Some(data) = rest.strip_prefix("<![CDATA[") {
            let start = start + rest.len() - data.len();
            return Some(Place::Value(start..start + data.find("]]>").unwrap_or(data.len())));
        }
        let length = run(rest, |byte| byte != b'<');
        let after = rest.get(length..)?;
        let name = self.text.get(self.name.clone())?;
        let tag = clip(after, MASKED_CONTEXT_BYTES);
        let ends = match tag.split_once('>') {
            Some((tag, _)) => tag.starts_with("</") && tag.trim_end().ends_with(name),
            // The end of the text cuts it.
            None => tag.len() == after.len(),
        };
        ends.then_some(Place::Value(start..start + length))
    }

    /// The text of the element behind one that has the name as its text, as XML-RPC and property
    /// lists have them: `<name>password</name><value><string>…`.
    fn neighbour(&self) -> Option<Place> {
        const DEPTH: usize = 3;
        if before(self.text, self.name.start) != Some(b'>') {
            return None;
        }
        let mut rest = behind_key(self.text.get(self.after..)?)?.trim_ascii_start();
        for _ in 0..DEPTH {
            let Some(tag) = rest.strip_prefix('<') else { break };
            let length = clip(tag, MASKED_CONTEXT_BYTES).find('>')?;
            let (name, behind) = (tag.get(..length)?, tag.get(length + 1..)?);
            let is_open = name.starts_with(|first: char| first.is_ascii_alphabetic());
            if !is_open || name.ends_with('/') {
                return None;
            }
            rest = behind;
        }
        let start = self.text.len() - rest.len();
        let length = run(rest, |byte| byte != b'<');
        (length > 0).then_some(Place::Value(start..start + length))
    }

    /// The second argument of a call that stores or sends what it is given, with the name as the
    /// first: `setItem("token", "…")`.
    fn argument(&self) -> Option<Place> {
        const CALLS: [&str; 7] =
            ["setItem", "setRequestHeader", "setHeader", "addHeader", "append", ".set", ".header"];
        let head = clip_end(self.text.get(..self.name.start - 1)?, 32);
        let call = head.trim_end_matches(' ').strip_suffix('(')?;
        if !CALLS.iter().any(|known| call.ends_with(known)) {
            return None;
        }
        let rest = self.text.get(self.after + 1..)?;
        let blanks = run(clip(rest, 8), |byte| byte == b' ');
        let quote = rest.as_bytes().get(blanks).copied().filter(|byte| is_quote(*byte))?;
        self.quoted(self.after + 1 + blanks, 0, quote)
    }

    /// The value beside an attribute that has the name: `<input name="token" value="…">`.
    fn attribute(&self) -> Option<Place> {
        let quotes = usize::from(self.closed.is_some());
        if quotes == 1 && self.opened != self.closed {
            return None;
        }
        let name = self.name.start - quotes;
        let bytes = self.text.as_bytes();
        let from = name.saturating_sub(MASKED_CONTEXT_BYTES);
        let start = from + bytes.get(from..name)?.iter().rposition(|byte| *byte == b'<')?;
        let head = self.text.get(start..name)?;
        let named = ["name=", "id=", "type=", "property=", "itemprop=", "autocomplete=", "key="];
        let is_named = |named: &&str| {
            let end = head.len().checked_sub(named.len()).and_then(|end| head.get(end..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(named))
        };
        if head.contains('>') || !named.iter().any(is_named) {
            return None;
        }
        let tag = clip(self.text.get(start..)?, 2 * MASKED_CONTEXT_BYTES);
        let tag = tag.get(..run(tag, |byte| byte != b'>'))?;
        let value = ["value=", "content="].iter().find_map(|it| attribute_value(tag, it))?;
        Some(Place::Value(start + value.start..start + value.end))
    }
}

/// Where the value of an attribute, whose name is given with its `=`, stands in a tag that lacks
/// its `>`.
fn attribute_value(tag: &str, attribute: &str) -> Option<Range<usize>> {
    let begins = |at: &usize| {
        let spelled = tag.get(*at..*at + attribute.len());
        let is_apart = before(tag, *at).is_some_and(|byte| byte.is_ascii_whitespace());
        is_apart && spelled.is_some_and(|spelled| spelled.eq_ignore_ascii_case(attribute))
    };
    let start = (0..tag.len()).find(begins)? + attribute.len();
    let value = tag.get(start..)?;
    if let Some(quote) = value.bytes().next().filter(|byte| is_quote(*byte)) {
        let length = run(value.get(1..)?, |byte| byte != quote);
        return Some(start + 1..start + 1 + length);
    }
    let length = run(value, |byte| !byte.is_ascii_whitespace());
    let spelled = value.get(..length)?;
    // The slash that ends an empty element is none of it.
    let is_last = length == value.len();
    let spelled = spelled.strip_suffix('/').filter(|_| is_last).unwrap_or(spelled);
    Some(start..start + spelled.len())
}

/// The end of a text, in bytes at most.
fn clip_end(text: &str, bytes: usize) -> &str {
    let start = text.floor_char_boundary(text.len().saturating_sub(bytes));
    text.get(start..).unwrap_or_default()
}

/// The length of what follows a quote that so many backslashes escape, up to the quote that closes
/// it or to the end of the line.
pub(super) fn quoted_end(text: &str, slashes: usize, quote: u8) -> usize {
    let mut escapes = 0;
    for (at, byte) in text.bytes().enumerate() {
        let closes =
            byte == quote && if slashes == 0 { escapes % 2 == 0 } else { escapes <= slashes };
        if closes {
            return at - escapes.min(slashes);
        }
        if byte == b'\n' && slashes == 0 && quote != b'`' {
            return at;
        }
        escapes = if byte == b'\\' { escapes + 1 } else { 0 };
    }
    text.len()
}

pub(super) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// What stands behind the end of an element that names its neighbour, with which a text begins.
fn behind_key(text: &str) -> Option<&str> {
    ["</name>", "</key>"].into_iter().find_map(|end| text.strip_prefix(end))
}

/// The entity for a double quote that a text begins with.
fn quote_entity(text: &str) -> Option<&'static str> {
    ["&quot;", "&#34;", "&#x22;"].into_iter().find(|entity| text.starts_with(entity))
}

fn before(text: &str, at: usize) -> Option<u8> {
    at.checked_sub(1).and_then(|before| text.as_bytes().get(before)).copied()
}

/// Whether what stands behind a name without quotes speaks about a value instead of being one.
pub(super) fn is_word_for_a_value(value: &str) -> bool {
    // GraphQL marks with `!` what must be there.
    let value = value.strip_suffix('!').unwrap_or(value);
    const WORDS: [&str; 18] = [
        "",
        "required",
        "optional",
        "string",
        "number",
        "boolean",
        "invalid",
        "missing",
        "expired",
        "incorrect",
        "wrong",
        "empty",
        "expected",
        "must",
        "unknown",
        "redacted",
        "yes",
        "no",
    ];
    WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
}
