//! Where authentication sits in a request: the names, never the values.

use std::fmt;

use crate::flow::head::Field;

/// Schemes of Authorization (RFC 9110 section 16.4.1) that may be named: an unknown first word
/// could be the secret itself.
const SCHEMES: [&str; 8] =
    ["Basic", "Bearer", "Digest", "Negotiate", "NTLM", "Token", "OAuth", "AWS4-HMAC-SHA256"];

/// Parts of names under which credentials travel.
const HINTS: [&str; 10] = [
    "token", "session", "sess", "auth", "jwt", "apikey", "api-key", "api_key", "secret", "password",
];

/// Names that are credentials as a whole.
const NAMES: [&str; 6] = ["sid", "sig", "signature", "key", "phpsessid", "jsessionid"];

/// Where a credential stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In `Authorization` or `Proxy-Authorization`, as spelled, by a scheme that is known.
    Authorization(String, Option<&'static str>),
    /// In another header.
    Header(String),
    /// In a cookie.
    Cookie(String),
    /// In a parameter of the query.
    Query(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Authorization(name, Some(scheme)) => write!(f, "header {name} {scheme}"),
            Place::Authorization(name, None) | Place::Header(name) => write!(f, "header {name}"),
            Place::Cookie(name) => write!(f, "cookie {name}"),
            Place::Query(name) => write!(f, "query {name}"),
        }
    }
}

/// The headers, cookies and query keys of a request that carry credentials.
pub fn places(fields: &[Field], query: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for field in fields {
        let name = field.name.to_ascii_lowercase();
        if matches!(name.as_str(), "authorization" | "proxy-authorization") {
            let first = field.value.split_once(' ').map(|(scheme, _)| scheme);
            let known = first.and_then(|it| SCHEMES.iter().find(|s| s.eq_ignore_ascii_case(it)));
            places.push(Place::Authorization(field.name.clone(), known.copied()));
        } else if name == "cookie" {
            // Without a name there is only a value.
            let names = field.value.split(';').filter_map(|it| Some(it.split_once('=')?.0));
            let named = names.map(str::trim).filter(|name| carries_credentials(name));
            places.extend(named.map(|name| Place::Cookie(name.to_owned())));
        } else if carries_credentials(&name) && !name.starts_with("sec-") {
            places.push(Place::Header(field.name.clone()));
        }
    }
    let keys = query.split('&').filter_map(|pair| pair.split('=').next());
    let named = keys.filter(|name| carries_credentials(name));
    places.extend(named.map(|name| Place::Query(name.to_owned())));
    places
}

fn carries_credentials(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || HINTS.iter().any(|hint| name.contains(hint))
}
