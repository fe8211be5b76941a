//! What is to change in a text, gathered by its byte ranges and made in one go.

use std::borrow::Cow;
use std::ops::Range;

use crate::flow::redact::MASK;

/// The edits of one text.
#[derive(Debug)]
pub(super) struct Edits<'t> {
    text: &'t str,
    edits: Vec<Edit>,
    loose: bool,
}

#[derive(Debug)]
struct Edit {
    range: Range<usize>,
    with: Cow<'static, str>,
}

impl<'t> Edits<'t> {
    /// No edit of this text yet.
    pub(super) fn new(text: &'t str) -> Self {
        Edits { text, edits: Vec::new(), loose: false }
    }

    /// The text as it is.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// A part of the text; empty where the range is none of it.
    pub(super) fn part(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or_default()
    }

    /// Masks a range; what is empty, or is the mask, stays.
    pub(super) fn mask(&mut self, range: Range<usize>) {
        if !matches!(self.part(range.clone()), "" | MASK) {
            self.edits.push(Edit { range, with: MASK.into() });
        }
    }

    /// Puts another text in the place of a range.
    pub(super) fn replace(&mut self, range: Range<usize>, with: impl Into<Cow<'static, str>>) {
        self.edits.push(Edit { range, with: with.into() });
    }

    /// Remembers that an edit depends on what stands around it, which edits change.
    pub(super) fn loosen(&mut self) {
        self.loose = true;
    }

    /// Whether there are such edits: then the edited text is to be looked at once more.
    pub(super) fn is_loose(&self) -> bool {
        self.loose && !self.edits.is_empty()
    }

    /// The text with all edits made. Of edits that overlap the first one stands for all.
    pub(super) fn apply(mut self) -> Cow<'t, str> {
        if self.edits.is_empty() {
            return Cow::Borrowed(self.text);
        }
        self.edits
            .sort_by(|a, b| a.range.start.cmp(&b.range.start).then(b.range.end.cmp(&a.range.end)));
        let mut edited = String::with_capacity(self.text.len());
        let mut done = 0;
        for edit in &self.edits {
            if edit.range.start >= done {
                edited.push_str(self.part(done..edit.range.start));
                edited.push_str(&edit.with);
            }
            done = done.max(edit.range.end);
        }
        edited.push_str(self.part(done..self.text.len()));
        Cow::Owned(edited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_made_in_any_order_and_may_overlap() {
        let mut edits = Edits::new("0123456789");
        edits.mask(7..9);
        edits.replace(1..4, "x");
        edits.mask(2..3);
        edits.mask(3..5);
        assert_eq!(edits.apply(), "0x56***9");
    }

    #[test]
    fn what_is_masked_or_empty_stays() {
        let mut edits = Edits::new("a***");
        edits.mask(1..4);
        edits.mask(0..0);
        assert!(matches!(edits.apply(), Cow::Borrowed("a***")));
    }
}
