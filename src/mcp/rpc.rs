//! JSON-RPC 2.0 messages: what clients send, strictly, and what they are sent.
//!
//! Nesting and the number of values are judged before anything is parsed, so that no message
//! costs more than its limits say. An id comes back exactly as it came.

use std::fmt;

use memchr::memchr2;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::limits::{
    MCP_BATCH_MESSAGES, MCP_ERROR_BYTES, MCP_ID_BYTES, MCP_JSON_DEPTH, MCP_JSON_VALUES,
};

/// The text is no JSON, or nests too deeply.
pub const PARSE_ERROR: i32 = -32700;
/// The JSON is no request, notification or response.
pub const INVALID_REQUEST: i32 = -32600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// The parameters are wrong.
pub const INVALID_PARAMS: i32 = -32602;
/// A defect of the server.
pub const INTERNAL_ERROR: i32 = -32603;
/// The server cannot take the call now.
pub const BUSY: i32 = -32000;
/// There is no such resource, in the older versions.
pub const RESOURCE_NOT_FOUND: i32 = -32002;
/// Headers and body disagree, from 2026-07-28.
pub const HEADER_MISMATCH: i32 = -32020;
/// The version is not served, from 2026-07-28.
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// A request's id: an integer or a string, never null.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// An integer, of any size, in its digits.
    Integer(String),
    /// A string.
    Text(String),
}

impl Id {
    /// The id as JSON.
    pub fn to_json(&self) -> String {
        match self {
            Id::Integer(digits) => digits.clone(),
            Id::Text(text) => one_line(Value::from(text.as_str()).to_string()),
        }
    }

    /// An id that a message names as a value.
    pub fn from_value(value: &Value) -> Option<Id> {
        match value {
            Value::String(text) => Some(Id::Text(text.clone())),
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                Some(Id::Integer(number.to_string()))
            }
            _ => None,
        }
    }

    fn from_json(json: &str) -> Option<Id> {
        if json.len() > MCP_ID_BYTES {
            return None;
        }
        if json.starts_with('"') {
            return serde_json::from_str(json).ok().map(Id::Text);
        }
        let digits = json.strip_prefix('-').unwrap_or(json);
        let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_integer.then(|| Id::Integer(json.to_owned()))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// An error as a reply carries it.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// One of the codes above.
    pub code: i32,
    /// What was wrong and what is accepted.
    pub message: String,
    /// More, for programs.
    pub data: Option<Value>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        RpcError { code, message: message.into(), data: None }
    }

    /// The error with data.
    #[must_use]
    pub fn with(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its id.
    pub id: Id,
    /// Its method.
    pub method: String,
    /// Its parameters; empty where there are none.
    pub params: Map<String, Value>,
}

/// A message from a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Wants a reply.
    Request(Request),
    /// Wants none.
    Notification {
        /// Its method.
        method: String,
        /// Its parameters; empty where there are none.
        params: Map<String, Value>,
    },
    /// Replies to a request of the server, which makes none.
    Response,
}

/// JSON that is no message. With the id of a request that was recognised as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The request's id.
    pub id: Option<Id>,
    /// What is wrong.
    pub error: RpcError,
}

/// A message, or why it is none.
pub type Read = Result<Message, Rejected>;

/// What a client sent at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// One message.
    One(Read),
    /// A batch, which is never empty.
    Batch(Vec<Read>),
}

/// Reads what a client sent.
///
/// # Errors
/// When it is no JSON ([`PARSE_ERROR`]), or a batch that is empty or too large
/// ([`INVALID_REQUEST`]). The reply has no id.
pub fn read(bytes: &[u8]) -> Result<Incoming, RpcError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| RpcError::new(PARSE_ERROR, "the message is not UTF-8"))?;
    weigh(text)?;
    if text.trim_start().starts_with('[') {
        return read_batch(text);
    }
    read_one(text).map(Incoming::One)
}

fn read_batch(text: &str) -> Result<Incoming, RpcError> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| no_json(&e))?;
    if elements.is_empty() {
        return Err(RpcError::new(INVALID_REQUEST, "the batch is empty"));
    }
    if elements.len() > MCP_BATCH_MESSAGES {
        let reason = format!("a batch has at most {MCP_BATCH_MESSAGES} messages");
        return Err(RpcError::new(INVALID_REQUEST, reason));
    }
    let read = elements.iter().map(|element| read_one(element.get()));
    read.collect::<Result<_, _>>().map(Incoming::Batch)
}

/// What a message may hold, each still as its text. A field that is given twice is an error.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Keeps null apart from a field that is not there.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

fn read_one(text: &str) -> Result<Read, RpcError> {
    let invalid = |reason: &str| {
        Ok(Err(Rejected { id: None, error: RpcError::new(INVALID_REQUEST, reason) }))
    };
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => {
            return invalid("a message is a JSON object, with each of its fields once");
        }
        Err(error) => return Err(no_json(&error)),
    };
    if envelope.jsonrpc.map(RawValue::get) != Some(r#""2.0""#) {
        return invalid(r#"a message has "jsonrpc": "2.0""#);
    }
    let id = match envelope.id.map(|id| Id::from_json(id.get())) {
        Some(None) => return invalid("an id is a string or an integer, and not null"),
        Some(Some(id)) => Some(id),
        None => None,
    };
    let Some(method) = envelope.method else {
        let is_response = envelope.result.is_some() != envelope.error.is_some();
        // A client that could not read a message of ours answers without an id.
        return match (is_response, id) {
            (true, Some(_)) => Ok(Ok(Message::Response)),
            (true, None) if envelope.error.is_some() => Ok(Ok(Message::Response)),
            _ => invalid("a message has a method, or a result or an error for an id"),
        };
    };
    let Ok(method) = serde_json::from_str::<String>(method.get()) else {
        return invalid("a method is a string");
    };
    let params = match envelope.params.map(|params| serde_json::from_str(params.get())) {
        None | Some(Ok(Value::Null)) => Ok(Map::new()),
        Some(Ok(Value::Object(params))) => Ok(params),
        Some(Ok(_)) => Err("params must be an object".to_owned()),
        // JSON in its form, with half of a surrogate pair or a number beyond all bounds.
        Some(Err(error)) => Err(format!("params cannot be read: {error}")),
    };
    Ok(match (id, params) {
        (Some(id), Ok(params)) => Ok(Message::Request(Request { id, method, params })),
        (Some(id), Err(reason)) => {
            let error = RpcError::new(INVALID_PARAMS, reason);
            Err(Rejected { id: Some(id), error })
        }
        (None, params) => Ok(Message::Notification { method, params: params.unwrap_or_default() }),
    })
}

fn no_json(error: &serde_json::Error) -> RpcError {
    RpcError::new(PARSE_ERROR, format!("the message is no JSON: {error}"))
}

/// Judges nesting and the number of values by the marks outside of strings.
fn weigh(text: &str) -> Result<(), RpcError> {
    let (mut depth, mut values) = (0_usize, 0_usize);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => {}
        }
        if depth > MCP_JSON_DEPTH {
            let reason = format!("the message nests deeper than {MCP_JSON_DEPTH}");
            return Err(RpcError::new(PARSE_ERROR, reason));
        }
        if values > MCP_JSON_VALUES {
            let reason = format!("the message has more than {MCP_JSON_VALUES} values");
            return Err(RpcError::new(PARSE_ERROR, reason));
        }
    }
    Ok(())
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// A reply with a result, which is JSON of [`one_line`] already.
pub fn result(id: &Id, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.to_json())
}

/// A reply with an error. Without an id where the request's could not be read. Words beyond
/// [`MCP_ERROR_BYTES`] are cut, and data beyond it is left out.
pub fn error(id: Option<&Id>, error: &RpcError) -> String {
    let end = error.message.floor_char_boundary(MCP_ERROR_BYTES);
    let mut message = error.message.get(..end).unwrap_or_default().to_owned();
    if end < error.message.len() {
        message.push('…');
    }
    let mut object = json!({ "code": error.code, "message": message });
    let data = error.data.as_ref().filter(|data| data.to_string().len() <= MCP_ERROR_BYTES);
    if let (Some(data), Some(object)) = (data, object.as_object_mut()) {
        object.insert("data".to_owned(), data.clone());
    }
    let id = id.map_or("null".to_owned(), Id::to_json);
    one_line(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{object}}}"#))
}

/// A notification.
pub fn notification(method: &str, params: &Value) -> String {
    let method = Value::from(method);
    one_line(format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#))
}

/// Several replies as the reply to a batch.
pub fn batch(replies: &[String]) -> String {
    format!("[{}]", replies.join(","))
}

/// JSON that is one line for every reader: some end lines of event streams also at U+0085, U+2028
/// and U+2029, which JSON can hold as they are or escaped.
pub fn one_line(json: String) -> String {
    const ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
    // Most JSON does not even have the bytes that these begin with.
    if memchr2(0xc2, 0xe2, json.as_bytes()).is_none() || !json.contains(ENDS) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        if ENDS.contains(&character) {
            out.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests;
