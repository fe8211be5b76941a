//! Masking of secrets before anything leaves the process over MCP.
//!
//! A secret is found by the name that it stands under, in whatever writes names and values, or by
//! its looks. Only values are masked, so that what was sent can still be read. Masking takes time
//! in proportion to the text, gives the same for the same text, and changes nothing of what is
//! masked already.
//!
//! A text that is shown in parts is masked as a whole first: half of a secret cannot be told.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use crate::flow::head::Field;
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
}

impl Default for Redactor {
    /// A redactor with the built-in patterns alone.
    fn default() -> Self {
        Redactor { extra: Some(Arc::new([])) }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.extra.as_deref().map(|extra| extra.iter().map(Regex::as_str));
        f.debug_tuple("Redactor").field(&patterns.map(Iterator::collect::<Vec<_>>)).finish()
    }
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

    /// One that masks what these patterns match, and is on. A pattern that stands in its place here
    /// is not compiled again.
    ///
    /// # Errors
    /// Those of [`Redactor::new`].
    pub fn with(&self, extra: &[String]) -> Result<Self, String> {
        let known = self.extra.as_deref().unwrap_or_default();
        let compile = |(index, pattern): (usize, &String)| match known
            .get(index)
            .filter(|known| known.as_str() == pattern)
        {
            Some(same) => Ok(same.clone()),
            None => {
                Regex::new(pattern).map_err(|error| format!("the pattern '{pattern}': {error}"))
            }
        };
        let compiled = extra.iter().enumerate().map(compile).collect::<Result<Vec<_>, _>>()?;
        Ok(Redactor { extra: Some(compiled.into()) })
    }

    /// A redactor that masks nothing.
    pub fn off() -> Self {
        Redactor { extra: None }
    }

    /// Whether it masks anything.
    pub fn is_on(&self) -> bool {
        self.extra.is_some()
    }

    fn masking(&self) -> Option<Masking<'_>> {
        self.extra.as_deref().map(|extra| Masking { extra, level: 0 })
    }

    /// A short text, masked until that changes nothing more.
    fn settled<'a>(
        &self,
        text: &'a str,
        mask: impl for<'t> Fn(&Masking<'_>, &'t str) -> Cow<'t, str>,
    ) -> Cow<'a, str> {
        let Some(masking) = self.masking() else { return Cow::Borrowed(text) };
        match mask(&masking, text) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            masked => media::settled(masked, |text| mask(&masking, text)),
        }
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
        self.masking().map_or(Cow::Borrowed(text), |it| it.text(media_type, text))
    }

    /// Words of any kind: an error message, a filter expression, a comment.
    pub fn words<'a>(&self, words: &'a str) -> Cow<'a, str> {
        self.text("", words)
    }

    /// The value of an option or of anything else that has a name.
    pub fn named<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        self.settled(value, |it, value| credential::named(it, name, value))
    }

    /// Bytes that are no text: the texts between them are masked. Pictures and their like stay.
    pub fn bytes<'a>(&self, media_type: &str, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        self.masking().map_or(Cow::Borrowed(bytes), |it| media::bytes(&it, media_type, bytes))
    }

    /// A JSON value: values of keys that name secrets, and secrets inside of strings.
    pub fn json(&self, value: &mut Value) {
        if let Some(masking) = self.masking() {
            members::mask(&masking, value);
        }
    }
}

/// One masking under way: how deep inside of other texts its text stands.
#[derive(Clone, Copy, Debug)]
struct Masking<'r> {
    extra: &'r [Regex],
    level: usize,
}

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
        for pattern in self.extra {
            for found in pattern.captures_iter(text) {
                let Some(secret) = found.get(1).or_else(|| found.get(0)) else { continue };
                edits.mask(part.start + secret.start()..part.start + secret.end());
            }
        }
    }
}

#[cfg(test)]
mod tests;
