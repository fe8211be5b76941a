//! Security schemes, told by where credentials stand.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::is_secret;
use crate::capture::flow::Flow;
use crate::flow::authentication::{Place, places};
use crate::flow::redact::{MASK, Redactor};
use crate::limits::{OPENAPI_NAME_BYTES, OPENAPI_SCHEMES};

/// All schemes of a document, by name.
#[derive(Debug, Default)]
pub(super) struct Schemes {
    named: BTreeMap<String, Value>,
}

/// Parameters of queries that are keys of APIs and not of something else.
const QUERY_KEYS: [&str; 9] = [
    "access_token",
    "api_key",
    "apikey",
    "api-key",
    "app_key",
    "auth_token",
    "token",
    "key",
    "subscription-key",
];

/// Headers that carry a secret which says nothing of who asks.
const FORGERY: [&str; 2] = ["csrf", "xsrf"];

impl Schemes {
    /// The names of the schemes that a request keeps to. `query` is that of its URL, not masked.
    pub(super) fn of(&mut self, flow: &Flow, query: &str) -> BTreeSet<String> {
        let places = places(&flow.request.fields, query);
        let schemes = places.iter().filter_map(|place| scheme(place, query));
        let mut names = BTreeSet::new();
        let is_name = |name: &str| name.len() <= OPENAPI_NAME_BYTES && !is_secret(name);
        for (name, scheme) in schemes.filter(|(name, _)| is_name(name)) {
            if self.named.len() < OPENAPI_SCHEMES || self.named.contains_key(&name) {
                self.named.insert(name.clone(), scheme);
                names.insert(name);
            }
        }
        names
    }

    /// As OpenAPI has them.
    pub(super) fn written(&self) -> &BTreeMap<String, Value> {
        &self.named
    }
}

/// Whether a parameter of a query is a credential.
pub(super) fn is_query_key(name: &str, query: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        // Everything can be called a key; the value's looks decide.
        "key" | "token" => {
            let is_it = |pair: &&str| pair.split('=').next() == Some(name);
            let value = query.split('&').find(is_it).and_then(|pair| pair.split_once('='));
            value.is_some_and(|(_, value)| Redactor::default().named(name, value) == MASK)
        }
        lower => QUERY_KEYS.contains(&lower),
    }
}

fn scheme(place: &Place, query: &str) -> Option<(String, Value)> {
    let api_key = |kind: &str, name: &str| {
        let plain =
            name.replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-', "_");
        let key = if kind == "header" { plain } else { format!("{kind}.{plain}") };
        (key, json!({ "type": "apiKey", "in": kind, "name": name }))
    };
    match place {
        Place::Authorization(name, _) if !name.eq_ignore_ascii_case("authorization") => None,
        Place::Authorization(name, None) => Some(api_key("header", name)),
        Place::Authorization(_, Some(scheme)) => {
            let scheme = scheme.to_ascii_lowercase();
            Some((format!("{scheme}Auth"), json!({ "type": "http", "scheme": scheme })))
        }
        Place::Header(name) => {
            let lower = name.to_ascii_lowercase();
            let is_forgery = FORGERY.iter().any(|part| lower.contains(part));
            (!is_forgery).then(|| api_key("header", &lower))
        }
        Place::Cookie(name) => {
            let lower = name.to_ascii_lowercase();
            let is_forgery = FORGERY.iter().any(|part| lower.contains(part));
            (!is_forgery).then(|| api_key("cookie", name))
        }
        Place::Query(name) => is_query_key(name, query).then(|| api_key("query", name)),
    }
}
