//! What a text is, by its media type and by how it begins.

use std::borrow::Cow;

use crate::flow::redact::edits::Edits;
use crate::flow::redact::pairs::Style;
use crate::flow::redact::{Masking, form, json, multipart, pairs};
use crate::limits::MASKED_PASSES;

/// How a text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Json,
    Form,
    Url,
    Multipart,
    Code,
    Prose,
}

/// Masks a text. A text within others is masked once more with those, if need be.
pub(super) fn mask<'a>(masking: &Masking<'_>, media_type: &str, text: &'a str) -> Cow<'a, str> {
    let (masked, loose) = mask_once(masking, media_type, text);
    if !loose || masking.level > 0 {
        return masked;
    }
    settled(masked, |text| mask_once(masking, media_type, text).0)
}

/// Masks what is masked until that changes nothing more: in odd texts a mask may change what the
/// text around it says.
pub(super) fn settled<'a>(
    mut masked: Cow<'a, str>,
    mask: impl Fn(&str) -> Cow<'_, str>,
) -> Cow<'a, str> {
    for _ in 0..MASKED_PASSES {
        match mask(&masked) {
            Cow::Owned(again) if again != *masked => masked = Cow::Owned(again),
            _ => break,
        }
    }
    masked
}

/// Masks a text, and tells whether the result is to be looked at once more.
fn mask_once<'a>(masking: &Masking<'_>, media_type: &str, text: &'a str) -> (Cow<'a, str>, bool) {
    let mut edits = Edits::new(text);
    match reading(media_type, text) {
        Reading::Json => json::mask(masking, &mut edits, 0..text.len()),
        Reading::Form => form::parameters(masking, &mut edits, 0..text.len()),
        Reading::Url => return (form::url(masking, text), true),
        Reading::Multipart => multipart::mask(masking, &mut edits, media_type),
        Reading::Code => pairs::find(masking, &mut edits, 0..text.len(), Style::Code),
        Reading::Prose => pairs::find(masking, &mut edits, 0..text.len(), Style::Prose),
    }
    let loose = edits.is_loose();
    let masked = edits.apply();
    if masking.extra.is_empty() {
        return (masked, loose);
    }
    (extra(masking, text, masked), loose)
}

/// Extra patterns may look at more than a string: they see the whole text once more, as long as
/// JSON stays JSON.
fn extra<'a>(masking: &Masking<'_>, text: &str, masked: Cow<'a, str>) -> Cow<'a, str> {
    let mut edits = Edits::new(&masked);
    masking.find_extra(&mut edits, 0..masked.len());
    let Cow::Owned(again) = edits.apply() else { return masked };
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if is_json(text) && !is_json(&again) { masked } else { Cow::Owned(again) }
}

fn reading(media_type: &str, text: &str) -> Reading {
    let kind = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is = |part: &str| kind.contains(part);
    let start = text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if kind.starts_with("multipart/") {
        return Reading::Multipart;
    }
    let is_script = is("script") || is("html") || is("css") || is("xml");
    match start.as_bytes() {
        [b'<', ..] => return Reading::Code,
        [b'{' | b'[', ..] if !is_script || is("html") => return Reading::Json,
        [b'"', ..] if json::is_string(start) => return Reading::Json,
        _ => {}
    }
    if is("x-www-form-urlencoded") {
        Reading::Form
    } else if is("json") || is("event-stream") || is("ndjson") || is("graphql") {
        Reading::Json
    } else if is_script {
        Reading::Code
    } else if start.starts_with("--") && start.contains("ontent-") {
        Reading::Multipart
    } else if start.starts_with("data:") || start.starts_with("event:") {
        Reading::Json
    } else if is_url(text) {
        Reading::Url
    } else if form::is_form(text) {
        Reading::Form
    } else {
        Reading::Prose
    }
}

fn is_url(text: &str) -> bool {
    let scheme = ["http://", "https://", "ws://", "wss://"];
    scheme.iter().any(|scheme| text.starts_with(scheme)) && !text.contains(char::is_whitespace)
}

/// Masks the texts in bytes that are no text.
pub(super) fn bytes<'a>(masking: &Masking<'_>, media_type: &str, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let kind = media_type.trim_start().to_ascii_lowercase();
    let pictured = ["image/", "audio/", "video/", "font/"];
    if pictured.iter().any(|pictured| kind.starts_with(pictured)) {
        return Cow::Borrowed(bytes);
    }
    // A letter for each byte, so that what is not masked can be given back as it was.
    let text: String = bytes.iter().copied().map(char::from).collect();
    match mask(masking, media_type, &text) {
        Cow::Borrowed(_) => Cow::Borrowed(bytes),
        Cow::Owned(masked) => {
            Cow::Owned(masked.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn masking_again_ends_when_nothing_changes_or_at_the_bound() {
        let passes = Cell::new(0);
        let count = |text: &str| {
            passes.set(passes.get() + 1);
            text.len()
        };
        let shorter = |text: &str| Cow::Owned::<str>("x".repeat(count(text).saturating_sub(1)));
        assert_eq!(settled(Cow::Borrowed("xxx"), |text| shorter(text)), "");
        assert_eq!(passes.replace(0), 4);
        let longer = |text: &str| Cow::Owned::<str>("x".repeat(count(text) + 1));
        let text = settled(Cow::Borrowed(""), |text| longer(text));
        assert_eq!((text.len(), passes.get()), (MASKED_PASSES, MASKED_PASSES));
    }
}
