//! The stateless revision 2026-07-28: each request is a POST that names its version, method and
//! tool in its head, and the body must say the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Front, Served, VERSION_FIELD, invalid, refuse};
use crate::mcp::dispatch::{check_version, declared_version, is_stateless};
use crate::mcp::engine::{Peer, stateless_status};
use crate::mcp::http::{Answer, HttpRequest};
use crate::mcp::rpc::{HEADER_MISMATCH, Incoming, Message, Request, RpcError};

/// Holds the method.
const METHOD_FIELD: &str = "mcp-method";
/// Holds the tool's name or the resource's URI.
const NAME_FIELD: &str = "mcp-name";

impl Front {
    /// Takes a request that stands alone.
    pub(super) fn post_stateless(
        &mut self,
        peer: Peer,
        http: &HttpRequest,
        incoming: Incoming,
    ) -> Served {
        match incoming {
            Incoming::One(Ok(Message::Request(request))) => match validate(http, &request) {
                Ok(()) => {
                    self.engine.stateless(request, peer, http.body.len());
                    Served::Wait(Vec::new())
                }
                Err(error) => refuse(stateless_status(error.code), Some(&request.id), &error),
            },
            Incoming::One(Ok(Message::Notification { params, .. })) => notified(http, &params),
            Incoming::One(Err(rejected)) => refuse(400, rejected.id.as_ref(), &rejected.error),
            Incoming::One(Ok(Message::Response)) | Incoming::Batch(_) => {
                invalid(400, None, "the body must be one request or notification")
            }
        }
    }
}

/// Whether messages say by themselves that they stand alone.
pub(super) fn is_declared(incoming: &Incoming) -> bool {
    match incoming {
        Incoming::One(Ok(Message::Request(request))) => is_stateless(&request.params),
        Incoming::One(Ok(Message::Notification { params, .. })) => is_stateless(params),
        _ => false,
    }
}

/// Nothing comes of notifications: whoever drops the reply's stream cancels.
fn notified(http: &HttpRequest, params: &Map<String, Value>) -> Served {
    let declared = match http.only(VERSION_FIELD) {
        Ok(Some(name)) => Value::from(name),
        _ => declared_version(params).cloned().unwrap_or_default(),
    };
    match check_version(&declared) {
        Ok(()) => Served::Answer(Answer::empty(202)),
        Err(error) => refuse(400, None, &error),
    }
}

/// In the order of the specification: what the body must have, what the head must repeat, and
/// whether the version is served.
fn validate(http: &HttpRequest, request: &Request) -> Result<(), RpcError> {
    let declared = declared_version(&request.params)?;
    // A version that is no string has no field that is equal to it.
    repeats(http, VERSION_FIELD, declared.as_str(), |value| Some(value.to_owned()))?;
    repeats(http, METHOD_FIELD, Some(&request.method), |value| Some(value.to_owned()))?;
    let named = match request.method.as_str() {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return check_version(declared),
    };
    if let Some(name) = request.params.get(named).and_then(Value::as_str) {
        repeats(http, NAME_FIELD, Some(name), decode)?;
    }
    check_version(declared)
}

/// Refuses a request whose head does not have a field once, with the body's value.
fn repeats(
    http: &HttpRequest,
    field: &str,
    wanted: Option<&str>,
    decode: impl Fn(&str) -> Option<String>,
) -> Result<(), RpcError> {
    let mismatch = |reason: String| Err(RpcError::new(HEADER_MISMATCH, reason));
    match http.only(field) {
        Err(()) => mismatch(format!("{field} is given more than once, or is no text")),
        Ok(None) => mismatch(format!("{field} is missing")),
        Ok(Some(value)) if wanted.is_some() && decode(value).as_deref() == wanted => Ok(()),
        Ok(Some(value)) => {
            let wanted = wanted.unwrap_or("no string");
            mismatch(format!("{field} is {value:?}, but the body has {wanted:?}"))
        }
    }
}

/// A name as it is, or what is in `=?base64?…?=`.
fn decode(value: &str) -> Option<String> {
    let coded = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(coded) = coded else { return Some(value.to_owned()) };
    String::from_utf8(STANDARD.decode(coded).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_exactly() {
        let good = [
            ("get_flows", "get_flows"),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界"),
            ("=?base64?IHBhZGRlZCA=?=", " padded "),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?="),
            ("=?BASE64?YQ==?=", "=?BASE64?YQ==?="),
            ("=?base64?YQ==", "=?base64?YQ=="),
        ];
        for (value, name) in good {
            assert_eq!(decode(value).as_deref(), Some(name), "{value}");
        }
        // No base64, not padded, bits left over, and no UTF-8.
        for value in ["=?base64?*?=", "=?base64?YQ?=", "=?base64?YR==?=", "=?base64?/w==?="] {
            assert_eq!(decode(value), None, "{value}");
        }
    }
}
