//! Which media types APIs speak, and what stands in their bodies.

use super::text::Texts;
use crate::capture::flow::Message;
use crate::flow::charset::body_text;
use crate::flow::head::text;
use crate::flow::multipart::{Part, parameter, parts};
use crate::flow::query::{is_form, parameters};

use super::super::line::value;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Form,
    Multipart,
    /// XML, gRPC and other forms of which no schema is made.
    Opaque,
    /// Text of which no schema is made, as lines and events.
    Text,
    /// What pages are made of: documents, pictures, scripts.
    Page,
    /// No body, or nothing is said of it.
    Unknown,
}

/// Media types of APIs that are neither JSON nor XML.
const OPAQUE: [&str; 12] = [
    "application/grpc",
    "application/grpc-web",
    "application/protobuf",
    "application/x-protobuf",
    "application/vnd.google.protobuf",
    "application/msgpack",
    "application/x-msgpack",
    "application/vnd.msgpack",
    "application/cbor",
    "application/connect+proto",
    "application/proto",
    "application/x-thrift",
];

/// The media type that clients send where nobody has told them of one.
const FORM: &str = "application/x-www-form-urlencoded";

impl Media {
    fn of(name: &str) -> Self {
        let is_one_of = |names: &[&str]| names.contains(&name);
        let is_page =
            ["image/", "audio/", "video/", "font/", "text/css", "text/html", "text/javascript"];
        if name.is_empty() {
            Media::Unknown
        } else if is_one_of(&[
            "application/xhtml+xml",
            "application/javascript",
            "application/wasm",
        ]) || is_page.iter().any(|page| name.starts_with(page))
        {
            Media::Page
        } else if is_one_of(&["application/json", "text/json"]) || name.ends_with("+json") {
            Media::Json
        } else if name == FORM {
            Media::Form
        } else if name == "multipart/form-data" {
            Media::Multipart
        } else if is_one_of(&["application/xml", "text/xml"])
            || name.ends_with("+xml")
            || is_one_of(&OPAQUE)
            || ["application/grpc+", "application/grpc-web"].iter().any(|it| name.starts_with(it))
        {
            Media::Opaque
        } else if is_one_of(&["application/x-ndjson", "application/jsonl", "text/event-stream"]) {
            Media::Text
        } else {
            Media::Unknown
        }
    }

    /// Whether only APIs have such bodies.
    pub(super) fn is_api(self) -> bool {
        !matches!(self, Media::Page | Media::Unknown)
    }
}

/// A body's media type in lower case, without parameters, and what it is. JSON that is called
/// text, a form, or nothing at all, is found out, and so is what else is called a form.
pub(super) fn media(message: &Message) -> (String, Media) {
    let content_type = value(&message.fields, "content-type");
    let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = if is_media_type(&name) { name } else { String::new() };
    let media = Media::of(&name);
    if matches!(name.as_str(), "" | "text/plain" | FORM) && is_json(&message.body.bytes) {
        let name = if name.is_empty() { "application/json".to_owned() } else { name };
        return (name, Media::Json);
    }
    if media == Media::Form && !message.body.bytes.is_empty() {
        let body = &message.body;
        let media = match body_text(content_type, &body.bytes, body.is_cut) {
            Some(text) if is_form(&text) => media,
            Some(_) => Media::Text,
            None => Media::Opaque,
        };
        return (name, media);
    }
    match name.is_empty() {
        true => ("application/octet-stream".to_owned(), media),
        false => (name, media),
    }
}

fn is_media_type(name: &str) -> bool {
    let is_token = |part: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.len() < 128 && part.bytes().all(is_allowed)
    };
    name.split_once('/').is_some_and(|(first, second)| is_token(first) && is_token(second))
}

/// Whether bytes are an object or an array of JSON.
fn is_json(bytes: &[u8]) -> bool {
    let begins = bytes.trim_ascii_start().first();
    matches!(begins, Some(b'{' | b'['))
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// A field of a form.
pub(super) struct FormField {
    pub(super) name: String,
    pub(super) texts: Texts,
    pub(super) is_file: bool,
}

/// The fields of a form.
pub(super) fn form(message: &Message) -> Vec<FormField> {
    let content_type = value(&message.fields, "content-type");
    let text = body_text(content_type, &message.body.bytes, false).unwrap_or_default();
    let pairs = parameters(text.trim_ascii());
    let field = |name: &str, value: &str| FormField {
        name: name.to_owned(),
        texts: Texts::of(value),
        is_file: false,
    };
    pairs.map(|(name, value)| field(&name, &value)).collect()
}

/// The fields of a multipart form (RFC 7578).
pub(super) fn multipart(message: &Message) -> Vec<FormField> {
    let content_type = value(&message.fields, "content-type");
    let parts = parts(content_type, &message.body.bytes);
    let field = |part: Part<'_>| {
        let disposition = part.field("content-disposition");
        Some(FormField {
            name: parameter(disposition, "name").filter(|name| !name.is_empty())?.to_owned(),
            texts: Texts::of(&text(part.body)),
            is_file: parameter(disposition, "filename").is_some(),
        })
    };
    parts.into_iter().flatten().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::flow::Body;
    use crate::flow::head::Field;

    fn message(content_type: &str, body: &'static str) -> Message {
        let field = Field { name: "Content-Type".into(), value: content_type.into() };
        let body = Body { bytes: body.into(), ..Body::default() };
        Message { fields: vec![field], body, ..Message::default() }
    }

    #[test]
    fn apis_are_told_from_pages() {
        for (content_type, body, name, expected) in [
            ("application/json; charset=utf-8", "{}", "application/json", Media::Json),
            ("application/problem+json", "{}", "application/problem+json", Media::Json),
            ("Text/Plain", "[1]", "text/plain", Media::Json),
            ("text/plain", "[1", "text/plain", Media::Unknown),
            ("", "{\"a\":1}", "application/json", Media::Json),
            (FORM, "a=1", FORM, Media::Form),
            (FORM, "", FORM, Media::Form),
            (FORM, "{\"a\":\"b=1\"}", FORM, Media::Json),
            (FORM, "a: b=1", FORM, Media::Text),
            (FORM, "\u{0}=", FORM, Media::Opaque),
            ("", "x", "application/octet-stream", Media::Unknown),
            ("<b>/x", "x", "application/octet-stream", Media::Unknown),
            ("application/grpc-web+proto", "", "application/grpc-web+proto", Media::Opaque),
            ("application/soap+xml", "", "application/soap+xml", Media::Opaque),
            ("image/svg+xml", "", "image/svg+xml", Media::Page),
            ("text/html", "", "text/html", Media::Page),
            ("text/event-stream", "", "text/event-stream", Media::Text),
        ] {
            assert_eq!(media(&message(content_type, body)), (name.into(), expected));
        }
    }

    #[test]
    fn fields_of_forms_are_read() {
        let names = |fields: Vec<FormField>| -> Vec<(String, bool)> {
            fields.into_iter().map(|field| (field.name, field.is_file)).collect()
        };
        let found = form(&message("application/x-www-form-urlencoded", "a=1&b%5B%5D=x+y"));
        assert_eq!(names(found), [("a".into(), false), ("b[]".into(), false)]);
        let body = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X\r\n\
                    Content-Disposition: form-data; name=\"f\"; filename=\"x.png\"\r\n\
                    Content-Type: image/png\r\n\r\n\r\n--X--\r\n";
        let found = multipart(&message("multipart/form-data; boundary=X", body));
        assert_eq!(names(found), [("a".into(), false), ("f".into(), true)]);
        assert!(multipart(&message("multipart/form-data", "no part")).is_empty());
    }
}
