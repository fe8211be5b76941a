//! JSON, whole or cut, one value or many, and whatever stands between.
//!
//! The text is not parsed into values and written again: what is not masked stays as it was
//! spelled, and a body that is cut can be read as far as it goes.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr3};

use crate::flow::redact::edits::Edits;
use crate::flow::redact::names::{Kind, is_harmless_member, judge};
use crate::flow::redact::pairs::Style;
use crate::flow::redact::{Masking, credential, pairs};

/// Masks a part of a text that holds JSON.
pub(super) fn mask(masking: &Masking<'_>, edits: &mut Edits<'_>, part: Range<usize>) {
    let mut scan = Scan::new(masking, part.clone());
    scan.run(edits, false);
    if scan.odd {
        edits.loosen();
        // Not JSON after all, or not as the standard has it.
        pairs::find(masking, edits, part, Style::Prose);
    }
}

/// Masks every text of the object or array with which the part begins; gives its end.
pub(super) fn island(masking: &Masking<'_>, edits: &mut Edits<'_>, part: Range<usize>) -> usize {
    let mut scan = Scan::new(masking, part);
    scan.top().key = Key { kind: Kind::Secret, ..Key::default() };
    scan.run(edits, true);
    scan.at
}

/// What the key before a value says of it.
#[derive(Clone, Debug)]
struct Key {
    kind: Kind,
    /// Whether it frees its value from being masked with all of its object.
    harmless: bool,
    /// Whether cookies follow, and whether they are set.
    cookies: Option<bool>,
    role: Role,
}

impl Default for Key {
    fn default() -> Self {
        Key { kind: Kind::Plain, harmless: false, cookies: None, role: Role::Other }
    }
}

/// The part of a member in an object that writes a name and its value as two members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Name,
    Value,
    Other,
}

/// An object or array that is open.
#[derive(Debug, Default)]
struct Frame {
    is_array: bool,
    /// Every text in it is masked.
    secret: bool,
    /// Every text in it is a field of cookies.
    cookies: Option<bool>,
    key: Key,
    /// Elements before the present one.
    elements: usize,
    /// What the name that it writes as a value names: `{"name": "Authorization", "value": …}`.
    names: Option<String>,
    /// The value of that.
    value: Option<Range<usize>>,
}

struct Scan<'m> {
    masking: &'m Masking<'m>,
    at: usize,
    end: usize,
    frames: Vec<Frame>,
    /// Stands below all others when nothing is open.
    root: Frame,
    /// Something was met that JSON does not have.
    odd: bool,
    /// Where the next name of a secret, or secret, may begin: most strings end before.
    beginning: usize,
}

impl<'m> Scan<'m> {
    fn new(masking: &'m Masking<'m>, part: Range<usize>) -> Self {
        let (at, end) = (part.start, part.end);
        Scan {
            masking,
            at,
            end,
            frames: Vec::new(),
            root: Frame::default(),
            odd: false,
            beginning: 0,
        }
    }

    fn top(&mut self) -> &mut Frame {
        self.frames.last_mut().unwrap_or(&mut self.root)
    }

    /// Reads to the end, or to the end of the first value.
    fn run(&mut self, edits: &mut Edits<'_>, one: bool) {
        let text = edits.part(0..self.end).as_bytes();
        while let Some(byte) = text.get(self.at) {
            match byte {
                b'"' => self.string(edits, text),
                b'{' | b'[' => self.open(*byte == b'['),
                b'}' | b']' => self.close(edits),
                b',' => self.next_element(),
                b':' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => self.bare(edits, text),
            }
            if one && self.frames.is_empty() {
                break;
            }
        }
        while !self.frames.is_empty() {
            self.close(edits);
        }
        self.at = self.at.min(self.end);
    }

    fn next_element(&mut self) {
        self.at += 1;
        let top = self.top();
        top.key = Key::default();
        top.elements += 1;
    }

    fn open(&mut self, is_array: bool) {
        self.at += 1;
        let top = self.top();
        let key = std::mem::take(&mut top.key);
        let secret = matches!(key.kind, Kind::Secret | Kind::Code) || top.secret && !key.harmless;
        let cookies = key.cookies.filter(|_| is_array);
        self.frames.push(Frame { is_array, secret, cookies, ..Frame::default() });
    }

    fn close(&mut self, edits: &mut Edits<'_>) {
        self.at += 1;
        let Some(frame) = self.frames.pop() else { return };
        let is_pair = !frame.is_array || frame.elements == 1 && self.top().is_array;
        if let (Some(name), Some(value), true) = (&frame.names, frame.value, is_pair) {
            edits.loosen();
            credential::by_name(edits, name, value);
        }
    }

    fn string(&mut self, edits: &mut Edits<'_>, text: &[u8]) {
        let start = self.at + 1;
        let (end, closed) = string_end(text, start);
        self.at = end + usize::from(closed);
        self.odd |= !closed && end < text.len();
        let blanks = text.get(self.at..).unwrap_or_default().iter();
        let blanks = blanks.take_while(|byte| byte.is_ascii_whitespace()).count();
        if text.get(self.at + blanks) == Some(&b':') {
            self.at += blanks + 1;
            self.key(edits, start..end);
        } else {
            self.value(edits, start..end);
        }
    }

    fn key(&mut self, edits: &mut Edits<'_>, range: Range<usize>) {
        let spelled = edits.part(range.clone());
        let name = unescaped(spelled);
        let kind = if self.may_tell(edits, &range) { judge(&name) } else { Kind::Plain };
        let inside_secret = self.top().secret;
        let is = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        let role = if is(&["name", "key", "field", "header"]) {
            Role::Name
        } else if is(&["value", "values", "val", "content"]) {
            Role::Value
        } else {
            Role::Other
        };
        let harmless = inside_secret && kind == Kind::Plain && is_harmless_member(&name);
        let cookies = credential::holds_cookies(&name);
        self.top().key = Key { kind, harmless, cookies, role };
        // A key is no value: it is masked only where it is a secret by its looks.
        if spelled.len() < SHORTEST_KEY || !self.may_tell(edits, &range) {
            return;
        }
        if matches!(name, Cow::Borrowed(_)) {
            pairs::find_shapes(edits, range);
            return;
        }
        let mut inner = Edits::new(&name);
        pairs::find_shapes(&mut inner, 0..name.len());
        if let Cow::Owned(masked) = inner.apply() {
            edits.loosen();
            edits.replace(range, escaped(&masked, spelled));
        }
    }

    fn value(&mut self, edits: &mut Edits<'_>, range: Range<usize>) {
        let text = edits.part(range.clone());
        let may_tell = self.may_tell(edits, &range);
        let top = self.top();
        let key = std::mem::take(&mut top.key);
        let secret = key.kind.hides(text) || top.secret && !key.harmless;
        let cookies = key.cookies.or(top.cookies);
        match key.role {
            Role::Name if may_tell => top.names = is_named(text).then(|| text.to_owned()),
            Role::Value => top.value = Some(range.clone()),
            Role::Other if may_tell && top.is_array && top.elements == 0 => {
                top.names = is_named(text).then(|| text.to_owned());
            }
            Role::Other if top.is_array && top.elements == 1 => top.value = Some(range.clone()),
            Role::Name | Role::Other => {}
        }
        if let Some(sets) = cookies.filter(|_| secret) {
            credential::cookies(edits, range, sets);
        } else if secret {
            credential::credential(edits, range);
        } else if may_tell && text.len() >= SHORTEST_PAIR {
            self.inside(edits, range);
        }
    }

    /// Whether a string may hold a secret or the name of one.
    fn may_tell(&mut self, edits: &Edits<'_>, range: &Range<usize>) -> bool {
        if self.beginning < range.start {
            self.beginning = pairs::next_beginning(edits.part(0..self.end), range.start);
        }
        // Escapes may spell anything.
        let escapes = |text: &str| {
            memchr(b'\\', text.as_bytes()).is_some()
                && (text.contains("\\u") || text.contains("\\/"))
        };
        self.beginning < range.end
            || !self.masking.patterns.is_empty()
            || escapes(edits.part(range.clone()))
    }

    /// What stands in a string: text, or JSON again.
    fn inside(&self, edits: &mut Edits<'_>, range: Range<usize>) {
        let spelled = edits.part(range.clone());
        if !spelled.contains('\\') && !spelled.starts_with(['{', '[', '<']) {
            pairs::find(self.masking, edits, range, Style::Prose);
            return;
        }
        if let Cow::Owned(masked) = self.masking.inner(&unescaped(spelled)) {
            edits.loosen();
            edits.replace(range, escaped(&masked, spelled));
        }
    }

    /// A number, a literal, or something that JSON does not have.
    fn bare(&mut self, edits: &mut Edits<'_>, text: &[u8]) {
        let start = self.at;
        let rest = text.get(start..).unwrap_or_default();
        let ends = |byte: &u8| b",:\"{}[]".contains(byte) || byte.is_ascii_whitespace();
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        let token = start..start + length;
        let spelled = edits.part(token.clone());
        if spelled.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
            self.at = token.end;
            self.number(edits, token);
        } else if matches!(spelled, "true" | "false" | "null") {
            self.at = token.end;
            self.top().key = Key::default();
        } else if self.frames.is_empty() {
            self.between(edits, rest);
        } else {
            // The last literal of a text that is cut is not odd.
            self.odd |= token.end < self.end;
            self.at = token.end.max(start + 1);
        }
    }

    fn number(&mut self, edits: &mut Edits<'_>, range: Range<usize>) {
        let top = self.top();
        let key = std::mem::take(&mut top.key);
        let mut secret = key.kind == Kind::Code;
        if key.role == Role::Value && !secret {
            secret = top.names.as_deref().is_some_and(|name| judge(name) == Kind::Code);
        }
        let text = edits.part(range.clone());
        if secret || self.masking.patterns.iter().any(|pattern| pattern.is_match(text)) {
            edits.replace(range, "\"***\"");
        }
    }

    /// What stands before, between and behind values: the fields of an event stream, a prefix
    /// against inclusion, lines of a log.
    fn between(&mut self, edits: &mut Edits<'_>, rest: &[u8]) {
        let start = self.at;
        let fields: [&[u8]; 4] = [b"data:", b"event:", b"id:", b"retry:"];
        if let Some(field) = fields.iter().find(|field| rest.starts_with(field)) {
            self.at += field.len();
            return;
        }
        let ends = |byte: &u8| matches!(byte, b'{' | b'[' | b'\n');
        let length = rest.iter().position(ends).unwrap_or(rest.len()).max(1);
        self.at += length;
        pairs::find(self.masking, edits, start..self.at, Style::Prose);
    }
}

/// Fewer bytes hold no name with a value, such as `pin=1`.
const SHORTEST_PAIR: usize = 5;
/// Fewer bytes are no secret by their looks.
const SHORTEST_KEY: usize = 16;

fn is_named(name: &str) -> bool {
    judge(name) != Kind::Plain
}

/// Whether a text is one string, from its first character to its last.
pub(super) fn is_string(text: &str) -> bool {
    text.starts_with('"') && string_end(text.as_bytes(), 1) == (text.len() - 1, true)
}

/// The end of a string that begins at `start`, and whether a quote stands there; a line's end
/// ends it as well, since no string goes beyond.
fn string_end(text: &[u8], start: usize) -> (usize, bool) {
    let mut at = start;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(found) = memchr3(b'"', b'\\', b'\n', rest) else { return (text.len(), false) };
        match rest.get(found) {
            Some(b'"') => return (at + found, true),
            Some(b'\\') if rest.len() > found + 1 => at += found + 2,
            Some(b'\\') => return (text.len(), false),
            _ => return (at + found, false),
        }
    }
}

/// A string as it reads (RFC 8259 section 7). Where it ends within an escape, that is left out.
fn unescaped(spelled: &str) -> Cow<'_, str> {
    if memchr(b'\\', spelled.as_bytes()).is_none() {
        return Cow::Borrowed(spelled);
    }
    let mut text = String::with_capacity(spelled.len());
    let mut rest = spelled;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let mut letters = after.chars();
        match letters.next() {
            Some('u') => {
                let (letter, length) = unicode_escape(after);
                text.push(letter);
                rest = after.get(length..).unwrap_or_default();
                continue;
            }
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some(other) => text.push(other),
            None => {}
        }
        rest = letters.as_str();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of an escape behind its backslash, and the escape's length; a surrogate that is
/// alone reads as U+FFFD.
fn unicode_escape(escape: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = escape.get(at..at + 4)?;
        u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
    };
    match unit(1) {
        Some(high @ 0xd800..0xdc00) => match (escape.get(5..7), unit(7)) {
            (Some("\\u"), Some(low @ 0xdc00..0xe000)) => {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(code).unwrap_or('\u{fffd}'), 11)
            }
            _ => ('\u{fffd}', 5),
        },
        Some(code) => (char::from_u32(code).unwrap_or('\u{fffd}'), 5),
        None => ('u', 1),
    }
}

/// A text as a string of JSON spells it, without the quotes. Control characters stay as they are
/// where the string in whose place it comes has the same so, which JSON forbids: their escapes
/// would be twice as long with each level of texts inside of texts.
fn escaped(text: &str, spelled: &str) -> String {
    let bit = |letter: char| if letter < ' ' { 1_u32 << u32::from(letter) } else { 0 };
    let raw = spelled.chars().fold(0, |raw, letter| raw | bit(letter));
    let stays = |letter: char| raw & bit(letter) != 0;
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(stays) {
        let spoken = piece.trim_end_matches(stays);
        let quoted = serde_json::to_string(spoken).unwrap_or_default();
        let inside = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        out.push_str(inside.unwrap_or_default());
        out.push_str(piece.get(spoken.len()..).unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests;
