//! JSON with the places of its values in the text, so that some can be put in the places of others
//! and all else stays as it is spelled.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use memchr::memchr2;
use serde::de::IgnoredAny;

use crate::flow::redact::MASK;
use crate::limits::{MCP_JSON_DEPTH, MCP_JSON_VALUES};

/// `given` with the values of `old` in the places where it has, masked, what `shown` has in their
/// place. `shown` is `old` with its secrets masked. `None` where one is no JSON, or is more than is
/// looked at.
pub(super) fn unmasked(given: &str, shown: &str, old: &str) -> Option<String> {
    let (value, shown, value_of_old) = (parse(given)?, parse(shown)?, parse(old)?);
    let mut filling = Filling { old, edits: Vec::new() };
    filling.fill(&value, &shown, &value_of_old);
    let mut text = String::with_capacity(given.len());
    let mut done = 0;
    for (place, with) in filling.edits {
        text.push_str(given.get(done..place.start)?);
        text.push_str(with);
        done = place.end;
    }
    text.push_str(given.get(done..)?);
    Some(text)
}

/// Whether two texts are the same JSON, whatever the spelling of its strings.
pub(super) fn are_equal(one: &str, other: &str) -> bool {
    parse(one).is_some_and(|one| parse(other).is_some_and(|other| is_equal(&one, &other)))
}

fn is_equal(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Object(one), Kind::Object(other)) => {
            let is_same = |(one, other): (&Member<'_>, &Member<'_>)| {
                one.name == other.name && is_equal(&one.value, &other.value)
            };
            one.len() == other.len() && one.iter().zip(other).all(is_same)
        }
        (Kind::Array(one), Kind::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Kind::Text(one), Kind::Text(other)) => one == other,
        (Kind::Other(one), Kind::Other(other)) => one == other,
        _ => false,
    }
}

/// What is to stand in which places of a text, in order.
struct Filling<'o> {
    old: &'o str,
    edits: Vec<(Range<usize>, &'o str)>,
}

impl Filling<'_> {
    fn fill(&mut self, given: &Value<'_>, shown: &Value<'_>, old: &Value<'_>) {
        match (&given.kind, &shown.kind, &old.kind) {
            (Kind::Object(given), Kind::Object(shown), Kind::Object(old))
                if shown.len() == old.len() =>
            {
                self.members(given, shown, old);
            }
            (Kind::Array(given), Kind::Array(shown), Kind::Array(old))
                if shown.len() == old.len() =>
            {
                self.elements(given, shown, old);
            }
            (Kind::Text(text), Kind::Text(masked), _) if text == masked => {
                self.put(text, &given.place, &old.place);
            }
            _ => {}
        }
    }

    /// Puts what was masked into its place.
    fn put(&mut self, text: &str, place: &Range<usize>, old: &Range<usize>) {
        if let Some(with) = self.old.get(old.clone()).filter(|_| text.contains(MASK)) {
            self.edits.push((place.clone(), with));
        }
    }

    /// Members are those of their names; of equal names the first is the first.
    fn members(&mut self, given: &[Member<'_>], shown: &[Member<'_>], old: &[Member<'_>]) {
        let mut known = places(shown.iter().map(|member| &*member.name));
        for member in given {
            let at = known.get_mut(&*member.name).and_then(VecDeque::pop_front);
            let Some((shown, old)) = at.and_then(|at| shown.get(at).zip(old.get(at))) else {
                continue;
            };
            self.put(&member.name, &member.place, &old.place);
            self.fill(&member.value, &shown.value, &old.value);
        }
    }

    /// Elements are those that are shown equal. Others are those of their number, as long as there
    /// are as many, and nobody else is that one.
    fn elements(&mut self, given: &[Value<'_>], shown: &[Value<'_>], old: &[Value<'_>]) {
        let as_many = given.len() == shown.len();
        let stays = |at: usize, value: &Value<'_>| {
            as_many && shown.get(at).is_some_and(|shown| shown.hash == value.hash)
        };
        let mut known = places(shown.iter().map(|value| value.hash));
        let mut taken = vec![false; shown.len()];
        let mut take = |at: usize| {
            taken.get_mut(at).is_some_and(|taken| !std::mem::replace(taken, true)).then_some(at)
        };
        let mut found: Vec<Option<usize>> = Vec::with_capacity(given.len());
        for (at, value) in given.iter().enumerate() {
            found.push(if stays(at, value) { take(at) } else { None });
        }
        for (value, found) in given.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            while found.is_none()
                && let Some(at) = known.get_mut(&value.hash).and_then(VecDeque::pop_front)
            {
                *found = take(at);
            }
        }
        for (at, found) in found.iter_mut().enumerate().filter(|(_, it)| as_many && it.is_none()) {
            *found = take(at);
        }
        for (value, found) in given.iter().zip(found) {
            if let Some((shown, old)) = found.and_then(|at| shown.get(at).zip(old.get(at))) {
                self.fill(value, shown, old);
            }
        }
    }
}

/// At which places each of these is.
fn places<T: Hash + Eq>(of: impl Iterator<Item = T>) -> HashMap<T, VecDeque<usize>> {
    let mut places: HashMap<T, VecDeque<usize>> = HashMap::new();
    for (at, one) in of.enumerate() {
        places.entry(one).or_default().push_back(at);
    }
    places
}

/// A value and where it stands.
struct Value<'t> {
    kind: Kind<'t>,
    place: Range<usize>,
    /// The same for equal values, whatever their spelling and the order of members.
    hash: u64,
}

enum Kind<'t> {
    Object(Vec<Member<'t>>),
    Array(Vec<Value<'t>>),
    /// A string as it reads.
    Text(Cow<'t, str>),
    /// A number or a literal as it is spelled.
    Other(&'t str),
}

struct Member<'t> {
    name: Cow<'t, str>,
    /// Where the name stands.
    place: Range<usize>,
    value: Value<'t>,
}

fn parse(text: &str) -> Option<Value<'_>> {
    let at = text.len() - text.trim_start_matches('\u{feff}').len();
    serde_json::from_str::<IgnoredAny>(text.get(at..)?).ok()?;
    Parser { text, at, values: 0 }.value(0)
}

/// Reads a text that is known to be JSON.
struct Parser<'t> {
    text: &'t str,
    at: usize,
    values: usize,
}

impl<'t> Parser<'t> {
    /// The value that comes next; `None` where there are too many, or it stands too deep.
    fn value(&mut self, depth: usize) -> Option<Value<'t>> {
        self.values += 1;
        if depth > MCP_JSON_DEPTH || self.values > MCP_JSON_VALUES {
            return None;
        }
        let first = self.next_sign()?;
        let start = self.at;
        let kind = match first {
            b'{' => Kind::Object(self.members(depth)?),
            b'[' => Kind::Array(self.elements(depth)?),
            b'"' => Kind::Text(self.string()?),
            _ => Kind::Other(self.bare()?),
        };
        let hash = kind.hash();
        Some(Value { kind, place: start..self.at, hash })
    }

    fn members(&mut self, depth: usize) -> Option<Vec<Member<'t>>> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            match self.next_sign()? {
                b'}' => break,
                b',' => self.at += 1,
                _ => {
                    let start = self.at;
                    let name = self.string()?;
                    let place = start..self.at;
                    self.next_sign()?;
                    // The colon.
                    self.at += 1;
                    let value = self.value(depth + 1)?;
                    members.push(Member { name, place, value });
                }
            }
        }
        self.at += 1;
        Some(members)
    }

    fn elements(&mut self, depth: usize) -> Option<Vec<Value<'t>>> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            match self.next_sign()? {
                b']' => break,
                b',' => self.at += 1,
                _ => elements.push(self.value(depth + 1)?),
            }
        }
        self.at += 1;
        Some(elements)
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        let start = self.at;
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let found = memchr2(b'"', b'\\', rest)?;
            let is_escape = rest.get(found) == Some(&b'\\');
            self.at += found + if is_escape { 2 } else { 1 };
            if !is_escape {
                break;
            }
        }
        let spelled = self.text.get(start..self.at)?;
        let inside = spelled.get(1..spelled.len() - 1)?;
        if !inside.contains('\\') {
            return Some(Cow::Borrowed(inside));
        }
        // One with half a surrogate pair reads as nothing but itself.
        let read = serde_json::from_str::<String>(spelled);
        Some(read.map_or(Cow::Borrowed(inside), Cow::Owned))
    }

    fn bare(&mut self) -> Option<&'t str> {
        let rest = self.text.get(self.at..)?;
        let ends = |letter: char| ",]}".contains(letter) || letter.is_ascii_whitespace();
        let length = rest.find(ends).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length)
    }

    /// The byte behind the blanks that come next.
    fn next_sign(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += blanks;
        rest.get(blanks).copied()
    }
}

impl Kind<'_> {
    fn hash(&self) -> u64 {
        match self {
            Kind::Object(members) => {
                let member = |it: &Member<'_>| hash_of((&it.name, it.value.hash));
                // A sum is the same in any order.
                hash_of(('{', members.iter().map(member).fold(0, u64::wrapping_add)))
            }
            Kind::Array(elements) => {
                let mut hasher = DefaultHasher::new();
                elements.iter().for_each(|element| element.hash.hash(&mut hasher));
                hash_of(('[', hasher.finish()))
            }
            Kind::Text(text) => hash_of(('"', text)),
            Kind::Other(spelled) => match spelled.parse::<f64>() {
                Ok(number) => hash_of(('0', number.to_bits())),
                Err(_) => hash_of(('a', spelled)),
            },
        }
    }
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::redact::Redactor;

    /// What becomes of `given` where `old` was shown.
    fn filled(given: &str, old: &str) -> String {
        let shown = Redactor::default().text("application/json", old).into_owned();
        unmasked(given, &shown, old).unwrap()
    }

    #[test]
    fn all_but_the_masked_values_stays_as_it_is_spelled() {
        let old = r#"{"id":1,"token":"s\u0065cret","pin":1234}"#;
        let given = "{\"z\": 12345678901234567890123,\r\n \"a\":1e5, \"token\" : \"\\u002a**\",\
                     \"a\":\"\\u00e9\",\"pin\":\"***\", \"x\":\"***\" }\n";
        let expected = given.replace(r#""\u002a**""#, r#""s\u0065cret""#);
        assert_eq!(filled(given, old), expected.replacen(r#""***""#, "1234", 1));
        let marked = "\u{feff}{\"token\":\"***\"}";
        assert_eq!(filled(marked, old), "\u{feff}{\"token\":\"s\\u0065cret\"}");
    }

    #[test]
    fn members_are_told_by_their_names_in_order() {
        let old = r#"{"token":"a","other":{"token":"b"},"token":"c"}"#;
        let given = r#"{"other":{"token":"***"},"token":"***","token":"***","token":"***"}"#;
        let expected = r#"{"other":{"token":"b"},"token":"a","token":"c","token":"***"}"#;
        assert_eq!(filled(given, old), expected);
        let key = r#"{"ghp_abcdefghijklmnopqrstuvwxyz":{"token":"a"}}"#;
        assert_eq!(filled(r#"{"***":{"token":"***"}}"#, key), key);
    }

    #[test]
    fn elements_are_told_by_what_is_shown_of_them() {
        let old = r#"[{"id":1,"token":"A"},{"id":2,"token":"B"},{"id":3,"token":"C"}]"#;
        for (given, expected) in [
            // Some are left out, moved, or come in between.
            (r#"[{"id":2,"token":"***"}]"#, r#"[{"id":2,"token":"B"}]"#),
            (
                r#"[{"token":"***","id":3.0},{"id":1,"token":"***"},{"id":2,"token":"***"}]"#,
                r#"[{"token":"C","id":3.0},{"id":1,"token":"A"},{"id":2,"token":"B"}]"#,
            ),
            (
                r#"[{},{"id":1,"token":"***"},{"id":2,"token":"***"},{"id":3,"token":"***"}]"#,
                r#"[{},{"id":1,"token":"A"},{"id":2,"token":"B"},{"id":3,"token":"C"}]"#,
            ),
            // One is changed, and the others are still there.
            (
                r#"[{"id":1,"token":"***"},{"id":9,"token":"***"},{"id":3,"token":"***"}]"#,
                r#"[{"id":1,"token":"A"},{"id":9,"token":"B"},{"id":3,"token":"C"}]"#,
            ),
            // Whose number another one has, or of which there are too few, is nobody's.
            (
                r#"[{"id":2,"token":"***"},{"id":9,"token":"***"},{"id":3,"token":"***"}]"#,
                r#"[{"id":2,"token":"B"},{"id":9,"token":"***"},{"id":3,"token":"C"}]"#,
            ),
            (r#"[{"id":9,"token":"***"}]"#, r#"[{"id":9,"token":"***"}]"#),
        ] {
            assert_eq!(filled(given, old), expected, "{given}");
        }
        // Equal ones keep their order, and their numbers where they can.
        let old = r#"{"tokens":["A","B"]}"#;
        assert_eq!(filled(r#"{"tokens":["***","***","x"]}"#, old), r#"{"tokens":["A","B","x"]}"#);
        assert_eq!(filled(r#"{"tokens":["x","***"]}"#, old), r#"{"tokens":["x","B"]}"#);
        assert_eq!(filled(r#"{"tokens":[[],"***"]}"#, old), r#"{"tokens":[[],"B"]}"#);
    }

    #[test]
    fn what_is_no_json_or_too_much_of_it_is_not_looked_at() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for (text, is_read) in [
            (nested(MCP_JSON_DEPTH + 1), true),
            (nested(MCP_JSON_DEPTH + 2), false),
            (nested(1_000_000), false),
            (format!("[{}1]", "1,".repeat(MCP_JSON_VALUES - 2)), true),
            (format!("[{}1]", "1,".repeat(MCP_JSON_VALUES - 1)), false),
            ("{\"a\":1".to_owned(), false),
            ("{\"a\":1} {}".to_owned(), false),
            (String::new(), false),
            (r#"["\ud800", -0.0, true,null , "\\" ]"#.to_owned(), true),
        ] {
            let found = unmasked(&text, &text, &text);
            assert_eq!(found.as_ref(), is_read.then_some(&text), "{:.40}", text);
        }
    }

    #[test]
    fn equal_json_may_spell_its_strings_otherwise() {
        assert!(are_equal(r#"{"a": "\u00e9", "b":[1]}"#, r#"{"a":"é","b":[1]}"#));
        for other in [r#"{"a":"é"}"#, r#"{"a":"é","b":[2]}"#, r#"{"a":"e","b":[1]}"#, "é"] {
            assert!(!are_equal(r#"{"a":"é","b":[1]}"#, other), "{other}");
        }
        // What another of its name hides counts as well.
        assert!(!are_equal(r#"{"a":1,"a":3}"#, r#"{"a":2,"a":3}"#));
    }
}
