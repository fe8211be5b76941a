//! Parameters of a query, and fields of a form.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::text::Texts;
use super::{Room, is_secret};
use crate::flow::redact::MASK;
use crate::limits::{OPENAPI_NAME_BYTES, OPENAPI_PARAMETERS};

/// Characters of an example.
const EXAMPLE_CHARS: usize = 100;

/// What was seen of the parameters of one place.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// Requests.
    seen: u64,
    named: BTreeMap<String, Parameter>,
}

#[derive(Debug, Default)]
struct Parameter {
    /// Requests that have it.
    seen: u64,
    /// The last of those.
    last: u64,
    /// Whether a request had it more than once.
    repeats: bool,
    texts: Option<Texts>,
    is_file: bool,
    example: Option<String>,
}

/// A parameter of an operation, as OpenAPI has it.
#[derive(Serialize)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) r#in: &'static str,
    pub(super) required: bool,
    pub(super) schema: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) example: Option<Value>,
}

impl Parameters {
    /// The parameters of the next request follow.
    pub(super) fn begin(&mut self) {
        self.seen += 1;
    }

    /// Takes one of the request. `example` is masked.
    pub(super) fn add(
        &mut self,
        name: &str,
        texts: Texts,
        is_file: bool,
        example: Option<&str>,
        room: &mut Room,
    ) {
        if !self.named.contains_key(name) {
            let fits = self.named.len() < OPENAPI_PARAMETERS
                && name.len() <= OPENAPI_NAME_BYTES
                && !is_secret(name);
            if !fits || !room.take() {
                room.left_out += u64::from(!fits);
                return;
            }
        }
        let parameter = self.named.entry(name.to_owned()).or_default();
        if parameter.last == self.seen {
            parameter.repeats = true;
        } else {
            parameter.seen += 1;
            parameter.last = self.seen;
        }
        parameter.is_file |= is_file;
        parameter.texts = Some(parameter.texts.map_or(texts, |all| all.and(texts)));
        if parameter.example.is_none() {
            parameter.example = example.and_then(shown);
        }
    }

    /// The parameters of a query.
    pub(super) fn query(&self) -> impl Iterator<Item = Written> {
        self.named.iter().map(|(name, parameter)| Written {
            name: name.clone(),
            r#in: "query",
            required: parameter.seen == self.seen,
            schema: parameter.schema(),
            example: parameter.example(),
        })
    }

    /// The schema of a form.
    pub(super) fn schema(&self) -> Value {
        let properties: BTreeMap<_, _> =
            self.named.iter().map(|(name, parameter)| (name, parameter.schema())).collect();
        let always = self.named.iter().filter(|(_, parameter)| parameter.seen == self.seen);
        let required: Vec<_> = always.map(|(name, _)| name).collect();
        let mut schema = json!({ "type": "object", "properties": properties });
        if let (Some(schema), false) = (schema.as_object_mut(), required.is_empty()) {
            schema.insert("required".to_owned(), json!(required));
        }
        schema
    }
}

impl Parameter {
    fn schema(&self) -> Value {
        let one = match (self.is_file, self.texts) {
            (true, _) => {
                json!({ "type": "string", "contentMediaType": "application/octet-stream" })
            }
            (false, Some(texts)) => texts.schema(),
            (false, None) => json!({ "type": "string" }),
        };
        if self.repeats { json!({ "type": "array", "items": one }) } else { one }
    }

    fn example(&self) -> Option<Value> {
        let value = self.texts?.value(self.example.as_deref()?);
        Some(if self.repeats { json!([value]) } else { value })
    }
}

/// An example that tells something.
pub(super) fn shown(text: &str) -> Option<String> {
    let tells = !text.is_empty() && !text.contains(MASK) && text.chars().count() <= EXAMPLE_CHARS;
    tells.then(|| text.to_owned())
}
