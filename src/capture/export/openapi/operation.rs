//! One operation: all requests of a method to one path, and what they were answered.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::media::{Media, form, media, multipart};
use super::parameters::{Parameters, Written, shown};
use super::path::Path;
use super::schema::Schema;
use super::security::is_query_key;
use super::text::Texts;
use super::{super::line::value, Room};
use crate::capture::body_text::BodyText;
use crate::capture::flow::{Flow, Message};
use crate::flow::query::parameters;
use crate::flow::redact::Redactor;
use crate::flow::url::Url;
use crate::limits::{OPENAPI_BODY_BYTES, OPENAPI_EXAMPLE_BYTES, OPENAPI_SCHEMES};

/// Characters of what a response says of itself.
const REASON_CHARS: usize = 100;

/// What was seen of an operation.
#[derive(Debug, Default)]
pub(super) struct Operation {
    calls: u64,
    path: Vec<(String, Option<Texts>, Option<String>)>,
    query: Parameters,
    bodies: u64,
    body: BTreeMap<String, Content>,
    responses: BTreeMap<u16, Answer>,
    /// Schemes that went together.
    security: BTreeSet<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Answer {
    reason: String,
    contents: BTreeMap<String, Content>,
}

#[derive(Debug)]
struct Content {
    media: Media,
    schema: Schema,
    fields: Parameters,
    example: Option<Value>,
}

/// An operation, as OpenAPI has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenOperation {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    pub(super) operation_id: String,
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<Value>,
    responses: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    security: Vec<BTreeMap<String, Vec<String>>>,
}

impl Operation {
    /// Takes one more exchange.
    pub(super) fn add(
        &mut self,
        flow: &Flow,
        path: &Path,
        schemes: BTreeSet<String>,
        redactor: &Redactor,
        room: &mut Room,
    ) {
        self.calls += 1;
        self.add_path(path);
        self.add_query(flow, redactor, room);
        if self.security.len() < OPENAPI_SCHEMES {
            self.security.insert(schemes);
        }
        if !flow.request.body.bytes.is_empty() {
            self.bodies += 1;
            add_content(&mut self.body, &flow.request, redactor, room);
        }
        let Some(response) = &flow.response else { return };
        if !self.responses.contains_key(&response.status) && !room.take() {
            return;
        }
        let answer = self.responses.entry(response.status).or_default();
        if answer.reason.is_empty() {
            let reason = redactor.words(&response.reason);
            answer.reason = reason.chars().take(REASON_CHARS).collect();
        }
        if !response.message.body.bytes.is_empty() {
            add_content(&mut answer.contents, &response.message, redactor, room);
        }
    }

    fn add_path(&mut self, path: &Path) {
        for (number, (name, text)) in path.parameters.iter().enumerate() {
            if self.path.len() <= number {
                self.path.push((name.clone(), None, None));
            }
            if let (Some((_, all, example)), Some(shown)) = (self.path.get_mut(number), shown(text))
            {
                let texts = Texts::of(text);
                *all = Some(all.map_or(texts, |all| all.and(texts)));
                example.get_or_insert(shown);
            }
        }
    }

    fn add_query(&mut self, flow: &Flow, redactor: &Redactor, room: &mut Room) {
        let query = Url::read(&flow.url).query;
        let masked = redactor.url(&flow.url);
        let masked = Url::read(&masked).query;
        self.query.begin();
        let examples = parameters(masked).map(|(_, value)| value);
        for ((name, text), example) in parameters(query).zip(examples) {
            if !is_query_key(&name, query) {
                self.query.add(&name, Texts::of(&text), false, Some(&example), room);
            }
        }
    }

    /// As OpenAPI has it.
    pub(super) fn written(&self, id: String, tag: Option<&str>) -> WrittenOperation {
        let path = self.path.iter().map(|(name, texts, example)| Written {
            name: name.clone(),
            r#in: "path",
            required: true,
            schema: texts.map_or_else(|| json!({ "type": "string" }), Texts::schema),
            example: texts.zip(example.as_deref()).map(|(texts, example)| texts.value(example)),
        });
        let with_none = |scheme: &String| (scheme.clone(), Vec::new());
        let is_open = self.security.iter().all(BTreeSet::is_empty);
        let security = self.security.iter().filter(|_| !is_open);
        let calls = if self.calls == 1 { "call" } else { "calls" };
        WrittenOperation {
            tags: tag.map(str::to_owned).into_iter().collect(),
            operation_id: id,
            description: format!("Inferred from {} {calls}.", self.calls),
            parameters: path.chain(self.query.query()).collect(),
            request_body: (!self.body.is_empty()).then(|| {
                json!({ "required": self.bodies == self.calls, "content": contents(&self.body) })
            }),
            responses: self
                .responses
                .iter()
                .map(|(status, answer)| (status.to_string(), answer.written(*status)))
                .collect(),
            security: security.map(|all| all.iter().map(with_none).collect()).collect(),
        }
    }
}

impl Answer {
    fn written(&self, status: u16) -> Value {
        let description = match self.reason.as_str() {
            "" => format!("Status {status}"),
            reason => reason.to_owned(),
        };
        match self.contents.is_empty() {
            true => json!({ "description": description }),
            false => json!({ "description": description, "content": contents(&self.contents) }),
        }
    }
}

/// Takes a body that is there.
fn add_content(
    contents: &mut BTreeMap<String, Content>,
    message: &Message,
    redactor: &Redactor,
    room: &mut Room,
) {
    let (name, media) = media(message);
    if !contents.contains_key(&name) && !room.take() {
        return;
    }
    let content = contents.entry(name).or_insert_with(|| Content {
        media,
        schema: Schema::default(),
        fields: Parameters::default(),
        example: None,
    });
    let body = &message.body;
    if body.bytes.len() > OPENAPI_BODY_BYTES {
        room.left_out += 1;
        return;
    }
    if body.is_cut || body.coding.is_some() {
        return;
    }
    match content.media {
        Media::Json => content.add_json(message, redactor, room),
        Media::Form | Media::Multipart => {
            let fields = if media == Media::Form { form(message) } else { multipart(message) };
            content.fields.begin();
            for field in fields {
                content.fields.add(&field.name, field.texts, field.is_file, None, room);
            }
        }
        _ => {}
    }
}

impl Content {
    fn add_json(&mut self, message: &Message, redactor: &Redactor, room: &mut Room) {
        let Ok(value) = serde_json::from_slice::<Value>(&message.body.bytes) else { return };
        self.schema.add(&value, room);
        let bytes = message.body.bytes.len();
        if self.example.is_some() || bytes > OPENAPI_EXAMPLE_BYTES || !room.take_example(bytes) {
            return;
        }
        let content_type = self::value(&message.fields, "content-type");
        let shown = BodyText::new(&message.body, content_type, redactor).text;
        self.example = shown.and_then(|text| serde_json::from_str(&text).ok());
    }

    fn written(&self) -> Value {
        let schema = match self.media {
            Media::Json => json!(self.schema),
            Media::Form | Media::Multipart => self.fields.schema(),
            Media::Text => json!({ "type": "string" }),
            _ => json!({}),
        };
        let mut written = json!({ "schema": schema });
        if let (Some(written), Some(example)) = (written.as_object_mut(), &self.example) {
            written.insert("example".to_owned(), example.clone());
        }
        written
    }
}

fn contents(contents: &BTreeMap<String, Content>) -> Value {
    contents.iter().map(|(name, content)| (name.clone(), content.written())).collect()
}
