//! Masking of secrets before anything leaves the process over MCP.
//!
//! A secret is found by the name that it stands under, in whatever writes names and values, or by
//! its looks. Only values are masked, so that what was sent can still be read. Masking takes time
//! in proportion to the text, gives the same for the same text, and changes nothing of what is
//! masked already.
//!
//! The user's own extra patterns are rules like the built-in ones. A pattern that an agent adds
//! sees what those have left, and what the ones before it have: it tells nothing of what is masked
//! already.
//!
//! A text that is shown in parts is masked as a whole first: half of a secret cannot be told.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use crate::flow::charset::{is_pictured, names_utf_16};
use crate::flow::head::Field;
use crate::flow::picture::is_medium;
use crate::flow::redact::edits::Edits;
use crate::limits::MASKED_LEVELS;

mod command;
mod credential;
mod edits;
mod form;
mod json;
mod media;
mod members;
mod multipart;
mod names;
mod pairs;
mod shapes;
mod value;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// Masks secrets. One that is switched off gives everything back as it is. A clone is cheap.
#[derive(Clone)]
pub struct Redactor {
    /// Extra patterns; `None` when it is switched off.
    extra: Option<Arc<[Regex]>>,
    /// How many of them, the first ones, are the user's own; `None` while all are.
    own: Option<usize>,
}

impl Default for Redactor {
    /// A redactor with the built-in patterns alone.
    fn default() -> Self {
        Redactor { extra: Some(Arc::new([])), own: None }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.extra.as_deref().map(|extra| extra.iter().map(Regex::as_str));
        f.debug_tuple("Redactor").field(&patterns.map(Iterator::collect::<Vec<_>>)).finish()
    }
}

/// Why a pattern is none, in one line: what is wrong stands behind a picture of the pattern.
fn reason(error: &regex::Error) -> String {
    let words = error.to_string();
    let last = words.lines().next_back().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl Redactor {
    /// A redactor with extra patterns beside the built-in ones; each match of one is masked, or
    /// its first group where it has one.
    ///
    /// # Errors
    /// When a pattern cannot be compiled: which, where and why.
    pub fn new(extra: &[String]) -> Result<Self, String> {
        Redactor::off().with(extra)
    }

    /// One that masks what these patterns match, and is on. A pattern that is known here is not
    /// compiled again, and comes before those that are new, wherever it stands: they must not see
    /// what it masks.
    ///
    /// # Errors
    /// Those of [`Redactor::new`].
    pub fn with(&self, extra: &[String]) -> Result<Self, String> {
        let known = self.extra.as_deref().unwrap_or_default();
        let known: HashMap<_, _> =
            known.iter().enumerate().map(|(place, it)| (it.as_str(), (place, it))).collect();
        let compile = |pattern: &String| match known.get(pattern.as_str()) {
            Some((place, same)) => Ok((*place, Regex::clone(same))),
            None => Regex::new(pattern)
                .map(|new| (usize::MAX, new))
                .map_err(|error| format!("the pattern '{pattern}': {}", reason(&error))),
        };
        let mut compiled = extra.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
        compiled.sort_by_key(|(place, _)| *place);
        let extra = compiled.into_iter().map(|(_, pattern)| pattern).collect();
        Ok(Redactor { extra: Some(extra), own: self.own })
    }

    /// Takes the patterns that are there for the user's own, and those that come later for an
    /// agent's.
    pub fn settle(&mut self) {
        self.own = Some(self.extra.as_deref().map_or(0, <[Regex]>::len));
    }

    /// One without the patterns that agents have added. What is asked of it tells them nothing: by
    /// their own patterns they could try guesses at secrets.
    pub fn without_added(&self) -> Self {
        let own = |extra: &Arc<[Regex]>| match self.split(extra) {
            (_, []) => extra.clone(),
            (own, _) => own.into(),
        };
        Redactor { extra: self.extra.as_ref().map(own), own: self.own }
    }

    /// A redactor that masks nothing.
    pub fn off() -> Self {
        Redactor { extra: None, own: None }
    }

    /// Whether it masks anything.
    pub fn is_on(&self) -> bool {
        self.extra.is_some()
    }

    /// The user's own patterns, and those that were added.
    fn split<'r>(&self, extra: &'r [Regex]) -> (&'r [Regex], &'r [Regex]) {
        extra.split_at(self.own.map_or(extra.len(), |own| own.min(extra.len())))
    }

    /// What is masked one after another: first what the rules find, built-in ones and the user's
    /// own, then what each pattern does that was added.
    fn stages(&self) -> impl Iterator<Item = Masking<'_>> {
        let (own, added) = self.split(self.extra.as_deref().unwrap_or_default());
        let rules = Masking { patterns: own, built_in: true, level: 0 };
        let stage = |pattern| Masking { patterns: std::slice::from_ref(pattern), ..PATTERN };
        self.is_on().then_some(rules).into_iter().chain(added.iter().map(stage))
    }

    /// A text, masked in one stage after another.
    fn staged<'a>(
        &self,
        text: &'a str,
        mask: impl for<'t> Fn(&Masking<'_>, &'t str) -> Cow<'t, str>,
    ) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for stage in self.stages() {
            if let Cow::Owned(more) = mask(&stage, &masked) {
                masked = Cow::Owned(more);
            }
        }
        masked
    }

    /// A short text, masked until that changes nothing more.
    fn settled<'a>(
        &self,
        text: &'a str,
        mask: impl for<'t> Fn(&Masking<'_>, &'t str) -> Cow<'t, str>,
    ) -> Cow<'a, str> {
        self.staged(text, |stage, text| match mask(stage, text) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            masked => media::settled(masked, |text| mask(stage, text)),
        })
    }

    /// The value of a header field, masked by the field's name and by patterns. The scheme of a
    /// credential stays (`Bearer ***`), and so do the names and attributes of cookies.
    pub fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        self.settled(value, |it, value| credential::header(it, name, value))
    }

    /// Field lines with their values masked.
    pub fn fields(&self, fields: &[Field]) -> Vec<Field> {
        let masked = |field: &Field| Field {
            name: field.name.clone(),
            value: self.header(&field.name, &field.value).into_owned(),
        };
        fields.iter().map(masked).collect()
    }

    /// A whole head, start line included; lines and their ends stay.
    pub fn head<'a>(&self, head: &'a str) -> Cow<'a, str> {
        self.settled(head, credential::head)
    }

    /// A URL, or a request target, with the secrets in its user information, path, query and
    /// fragment masked.
    pub fn url<'a>(&self, url: &'a str) -> Cow<'a, str> {
        self.settled(url, form::url)
    }

    /// A text of this media type (JSON, form, event stream, anything; empty when unknown): valid
    /// JSON stays valid JSON, and only values are masked.
    pub fn text<'a>(&self, media_type: &str, text: &'a str) -> Cow<'a, str> {
        let masked = self.staged(text, |stage, text| stage.text(media_type, text));
        let is_wide =
            names_utf_16(media_type) || !text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        match is_wide.then(|| self.letters(media_type, &masked)).flatten() {
            Some(letters) => Cow::Owned(letters),
            None => masked,
        }
    }

    /// What a text in UTF-16 is where its bytes are letters of their own and tell secrets, as in a
    /// body that is called UTF-16, or begins with its mark, and is none: those letters, masked.
    fn letters(&self, media_type: &str, text: &str) -> Option<String> {
        if text.is_ascii() || !self.is_on() {
            return None;
        }
        /// As long as the shortest name with a value, such as `pin=1`. Of ASCII in UTF-16 each
        /// second byte is NUL.
        const RUN_LETTERS: usize = 5;
        let kind = media_type.split(';').next().unwrap_or_default();
        [u16::to_le_bytes, u16::to_be_bytes].into_iter().find_map(|bytes| {
            let letters: String = text.encode_utf16().flat_map(bytes).map(char::from).collect();
            letters.split('\0').any(|run| run.len() >= RUN_LETTERS).then_some(())?;
            match self.staged(&letters, |stage, text| stage.text(kind, text)) {
                Cow::Owned(masked) if masked != letters => Some(masked),
                _ => None,
            }
        })
    }

    /// Words of any kind: an error message, a filter expression, a comment.
    pub fn words<'a>(&self, words: &'a str) -> Cow<'a, str> {
        self.text("", words)
    }

    /// The value of an option or of anything else that has a name.
    pub fn named<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        self.settled(value, |it, value| credential::named(it, name, value))
    }

    /// Bytes that are no text: the texts between them are masked. Pictures and their like stay,
    /// where they are what their media type says.
    pub fn bytes<'a>(&self, media_type: &str, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.is_on() || is_pictured(media_type) && is_medium(bytes) {
            return Cow::Borrowed(bytes);
        }
        // A letter for each byte, so that what is not masked can be given back as it was.
        let text: String = bytes.iter().copied().map(char::from).collect();
        let byte = |letter: char| u8::try_from(letter).unwrap_or(b'?');
        match self.staged(&text, |stage, text| stage.text(media_type, text)) {
            Cow::Borrowed(_) => Cow::Borrowed(bytes),
            Cow::Owned(masked) => Cow::Owned(masked.chars().map(byte).collect()),
        }
    }

    /// A JSON value: values of keys that name secrets, and secrets inside of strings.
    pub fn json(&self, value: &mut Value) {
        for stage in self.stages() {
            members::mask(&stage, value);
        }
    }
}

/// One masking under way.
#[derive(Clone, Copy, Debug)]
struct Masking<'r> {
    /// The extra patterns whose matches are masked.
    patterns: &'r [Regex],
    /// Whether the built-in rules are followed, too.
    built_in: bool,
    /// How deep inside of other texts its text stands.
    level: usize,
}

/// One that goes by a pattern alone, but for that.
const PATTERN: Masking<'_> = Masking { patterns: &[], built_in: false, level: 0 };

impl Masking<'_> {
    fn text<'a>(&self, media_type: &str, text: &'a str) -> Cow<'a, str> {
        media::mask(self, media_type, text)
    }

    /// A text that stands inside of this one, in another spelling.
    fn inner<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let level = self.level + 1;
        let inner = Masking { level, ..*self };
        if level >= MASKED_LEVELS { inner.plain(text) } else { inner.text("", text) }
    }

    /// A text of no known structure.
    fn plain<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut edits = Edits::new(text);
        pairs::find(self, &mut edits, 0..text.len(), pairs::Style::Prose);
        edits.apply()
    }

    /// Masks what the extra patterns find in a part of a text.
    fn find_extra(&self, edits: &mut Edits<'_>, part: std::ops::Range<usize>) {
        let text = edits.part(part.clone());
        for found in self.patterns.iter().flat_map(|pattern| pattern.captures_iter(text)) {
            let Some(secret) = found.get(1).or_else(|| found.get(0)) else { continue };
            // Masks would grow with each pattern that matches a part of them.
            if secret.as_str().bytes().any(|byte| byte != b'*') {
                edits.mask(part.start + secret.start()..part.start + secret.end());
            }
        }
    }
}

#[cfg(test)]
mod tests;
