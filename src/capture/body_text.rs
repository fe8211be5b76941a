//! A body as exports have it: text where it is text, base64 where it is not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::capture::flow::Body;
use crate::flow::charset::body_text;
use crate::flow::redact::Redactor;

/// The text of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BodyText {
    /// `None` where there is nothing to show.
    pub(super) text: Option<String>,
    /// `base64`, if the text is.
    pub(super) encoding: Option<&'static str>,
    /// What a reader should know.
    pub(super) note: Option<String>,
}

impl BodyText {
    pub(super) fn new(body: &Body, content_type: &str, redactor: &Redactor) -> Self {
        let mut shown = BodyText::default();
        let mut notes: Vec<String> = body.note.iter().cloned().collect();
        if let Some(coding) = &body.coding {
            notes.push(format!("its content coding is not undone: {coding}"));
        }
        if body.is_cut {
            let wire = body.wire_bytes.map(|bytes| format!(" of {bytes} bytes"));
            let (kept, wire) = (body.size(), wire.unwrap_or_default());
            notes.push(format!("cut: only the first {kept}{wire} were kept"));
        }
        if body.coding.is_some() && redactor.is_on() && !body.bytes.is_empty() {
            // Secrets in there can be read by whoever decodes as much as came.
            notes.push("what cannot be decoded cannot be masked and is left out".to_owned());
        } else if !body.bytes.is_empty() {
            let is_plain = body.coding.is_none();
            let text = is_plain.then(|| body_text(content_type, &body.bytes, body.is_cut));
            match text.flatten() {
                Some(text) => {
                    shown.text = Some(redactor.text(content_type, &text).into_owned());
                }
                None => {
                    shown.text = Some(base64(content_type, &body.bytes, redactor));
                    shown.encoding = Some("base64");
                }
            }
        }
        shown.note = (!notes.is_empty()).then(|| notes.join("; "));
        shown
    }

    /// What is to be said of it where the encoding alone says too little.
    pub(super) fn comment(&self) -> Option<String> {
        let encoding = self.encoding.map(|_| "binary, as base64");
        let said: Vec<_> = self.note.as_deref().into_iter().chain(encoding).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// Bytes that are no text, masked.
pub(super) fn base64(content_type: &str, bytes: &[u8], redactor: &Redactor) -> String {
    STANDARD.encode(redactor.bytes(content_type, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &Body, content_type: &str, redactor: &Redactor) -> BodyText {
        BodyText::new(body, content_type, redactor)
    }

    #[test]
    fn binary_bodies_are_base64_and_masked() {
        let body = Body { bytes: b"\xff token=abc"[..].into(), ..Body::default() };
        let shown = text(&body, "", &Redactor::off());
        assert_eq!(shown.text.as_deref(), Some("/yB0b2tlbj1hYmM="));
        assert_eq!(shown.encoding, Some("base64"));
        assert_eq!(
            (shown.note.as_deref(), shown.comment().as_deref()),
            (None, Some("binary, as base64"))
        );
        let shown = text(&body, "", &Redactor::default());
        assert_eq!(shown.text.as_deref(), Some("/yB0b2tlbj0qKio="));
    }

    #[test]
    fn what_is_still_coded_is_left_out_when_secrets_are_masked() {
        let body = Body {
            bytes: b"\x1f\x8b"[..].into(),
            wire_bytes: Some(9),
            coding: Some("gzip".into()),
            is_cut: true,
            ..Body::default()
        };
        assert_eq!(text(&body, "", &Redactor::off()).text.as_deref(), Some("H4s="));
        let shown = text(&body, "", &Redactor::default());
        assert_eq!(shown.text, None);
        let comment = shown.comment().unwrap();
        assert!(comment.contains("gzip") && comment.contains("first 2 of 9 bytes"), "{comment}");
    }

    #[test]
    fn an_empty_body_has_no_text() {
        assert_eq!(text(&Body::default(), "text/plain", &Redactor::off()), BodyText::default());
    }
}
