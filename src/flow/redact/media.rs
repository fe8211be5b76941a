//! What a text is, by its media type and by how it begins.

use std::borrow::Cow;

use serde::de::IgnoredAny;

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
    match masking.patterns {
        [] => (masked, loose),
        _ => (extra(masking, text, masked), loose),
    }
}

/// Extra patterns may look at more than a string: they see the whole text once more, as long as
/// JSON stays JSON.
fn extra<'a>(masking: &Masking<'_>, text: &str, masked: Cow<'a, str>) -> Cow<'a, str> {
    let mut edits = Edits::new(&masked);
    masking.find_extra(&mut edits, 0..masked.len());
    let Cow::Owned(again) = edits.apply() else { return masked };
    let is_valid = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    if is_valid(text) && !is_valid(&again) { masked } else { Cow::Owned(again) }
}

/// What a text is like counts before its type, which may be wrong, or have been made so.
fn reading(media_type: &str, text: &str) -> Reading {
    let kind = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is = |part: &str| kind.contains(part);
    let start = text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let is_script = is("script") || is("html") || is("css") || is("xml");
    // Of what is no text, no names without quotes are expressions.
    let is_script = is_script && !text.contains('\0');
    let is_multipart = kind.starts_with("multipart/");
    let may_have_parts = is_multipart || start.starts_with("--") && start.contains("ontent-");
    let may_be_json = is("html") || !is_script && !may_have_parts;
    match start.as_bytes() {
        [b'{' | b'[', ..] if may_be_json || is_json(start) => return Reading::Json,
        _ if may_have_parts && multipart::has_parts(media_type, text) => return Reading::Multipart,
        [b'<', ..] if !is_multipart => return Reading::Code,
        [b'"', ..] if json::is_string(start) => return Reading::Json,
        _ => {}
    }
    let is_form = is("x-www-form-urlencoded");
    let may_be_events = !is_form || text.contains('\n');
    if may_be_events && (start.starts_with("data:") || start.starts_with("event:")) {
        Reading::Json
    } else if is_form || form::is_form(text) {
        Reading::Form
    } else if is_multipart {
        // It may be one part, without what stands before it.
        Reading::Multipart
    } else if is("json") || is("event-stream") || is("ndjson") || is("graphql") {
        Reading::Json
    } else if is_script {
        Reading::Code
    } else if is_url(text) {
        Reading::Url
    } else {
        Reading::Prose
    }
}

/// Whether a text is JSON as far as it goes, one value or many.
fn is_json(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.all(|value| value.map_or_else(|error| error.is_eof(), |_| true))
}

fn is_url(text: &str) -> bool {
    let scheme = ["http://", "https://", "ws://", "wss://"];
    scheme.iter().any(|scheme| text.starts_with(scheme)) && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::flow::redact::Redactor;

    /// Texts as they are sent, with a secret, and types that are none of theirs.
    #[test]
    fn a_wrong_type_hides_no_secret() {
        for text in [
            r#"{"password":"S3CRET","n":1}"#,
            r#"[{"name":"X-Api-Key","value":"S3CRET"},{"pin":1234}]"#,
            "{\"n\":1}\n{\"header\":\"Cookie\",\"value\":\"a=S3CRET\"}\n",
            r#"{"headers":[["Authorization","S3CRET"]],"a":["#,
            "password=S3CRET&user=bob",
            "user=bob&pin=1234&next=https%3A%2F%2Fh%3Ftoken%3DS3CRET",
            "data: {\"name\":\"X-Api-Key\",\"value\":\"S3CRET\"}\n\n",
            "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nS3CRET\r\n--b--\r\n",
        ] {
            for media_type in [
                "text/css",
                "text/javascript",
                "text/html",
                "application/xml",
                "application/json",
                "text/event-stream",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "image/png",
                "text/plain; charset=utf-16",
            ] {
                let found = Redactor::default().text(media_type, text).into_owned();
                let bytes = Redactor::default().bytes(media_type, text.as_bytes()).into_owned();
                for found in [found, String::from_utf8(bytes).unwrap()] {
                    let is_masked = !found.contains("S3CRET") && !found.contains("1234");
                    assert!(is_masked && found.contains("***"), "{media_type}: {found}");
                }
            }
        }
        let form = "text: hello, token: S3CRET\nx=1";
        let found = Redactor::default().text("application/x-www-form-urlencoded", form);
        assert!(found.starts_with("text: hello, token: ***\nx="), "{found}");
        let script = "[e].map(t=>t.token=e.pin)";
        assert_eq!(Redactor::default().text("text/javascript", script), script);
    }

    #[test]
    fn media_stay_where_they_are_what_their_type_says() {
        let texts = |bytes: &[u8]| [bytes, b"\0\xff password=S3CRET "].concat();
        let picture = texts(b"\x89PNG\r\n\x1a\n");
        for (media_type, bytes, stays) in [
            ("image/png", &picture, true),
            ("Image/PNG; a=b", &picture, true),
            ("audio/ogg", &texts(b"OggS"), true),
            ("application/octet-stream", &picture, false),
            ("image/svg+xml", &picture, false),
            ("image/png", &texts(b"x"), false),
            ("video/mp4", &texts(b"\0\0\0\0\x20"), false),
        ] {
            let masked = Redactor::default().bytes(media_type, bytes).into_owned();
            let is_shown = masked.windows(6).any(|letters| letters == b"S3CRET");
            assert_eq!((is_shown, masked == *bytes), (stays, stays), "{media_type}: {bytes:?}");
        }
    }

    /// Letters in pairs, as UTF-16 has them, show a text that no name can be found in.
    #[test]
    fn what_reads_as_utf_16_is_masked_by_its_bytes_too() {
        let utf_16 = |bytes: &[u8]| -> String {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
            String::from_utf16_lossy(&units.collect::<Vec<_>>())
        };
        let body = b" {\"a\":\"\xff\",\"password\":\"S3CRET\",\"b\":1} ";
        for text in [utf_16(body), utf_16(&body[1..])] {
            for charset in ["utf-16", "utf-16be"] {
                let media_type = format!("application/json; charset={charset}");
                let found = Redactor::default().text(&media_type, &text).into_owned();
                assert!(found.contains("\"password\":\"***\",\"b\":1"), "{found}");
            }
            let swapped: Vec<_> = text.encode_utf16().map(u16::swap_bytes).collect();
            let swapped = String::from_utf16_lossy(&swapped);
            let found = Redactor::default().text("text/plain; charset=UTF-16", &swapped);
            assert!(found.contains("\"password\":\"***\""), "{found}");
        }
        // The mark alone makes it so, too.
        let marked = utf_16(b"{\"password\":\"S3CRET\"} ");
        let found = Redactor::default().text("application/json", &marked).into_owned();
        assert!(found.contains("\"password\":\"***\""), "{found}");
        let plain = "{\"name\":\"\u{4e2d}\u{6587}\u{ff0c}caf\u{e9}\"}";
        assert_eq!(Redactor::default().text("text/plain; charset=utf-16", plain), plain);
        let patterns = Redactor::new(&["order-\\d+".to_owned()]).unwrap();
        let text = utf_16(b"\xff\xff order-4711 ");
        let found = patterns.text("text/plain; charset=utf-16", &text);
        assert_eq!(found, "\u{ff}\u{ff} *** ");
        assert_eq!(patterns.text("text/plain; charset=utf-16", "order-4711"), "***");
    }

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
