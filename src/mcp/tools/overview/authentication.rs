//! Where authentication sits in a request: the names, never the values.

use crate::flow::head::HeadText;
use crate::flow::stored::StoredFlow;
use crate::mcp::tools::reply::shorten;

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

/// The headers, cookies and query keys that carry credentials. `query` is masked.
pub(super) fn places(flow: &StoredFlow, query: &str) -> Vec<String> {
    let mut places = Vec::new();
    for field in HeadText::read(&flow.request.head).fields {
        let name = field.name.to_ascii_lowercase();
        if matches!(name.as_str(), "authorization" | "proxy-authorization") {
            let first = field.value.split_once(' ').map(|(scheme, _)| scheme);
            let known = first.and_then(|it| SCHEMES.iter().find(|s| s.eq_ignore_ascii_case(it)));
            let scheme = known.map(|scheme| format!(" {scheme}")).unwrap_or_default();
            places.push(format!("header {}{scheme}", field.name));
        } else if name == "cookie" {
            // Without a name there is only a value.
            let names = field.value.split(';').filter_map(|it| Some(it.split_once('=')?.0));
            let named = names.map(str::trim).filter(|name| carries_credentials(name));
            places.extend(named.map(|name| format!("cookie {}", shorten(name, 40))));
        } else if carries_credentials(&name) && !name.starts_with("sec-") {
            places.push(format!("header {}", shorten(&field.name, 40)));
        }
    }
    let keys = query.split('&').filter_map(|pair| pair.split('=').next());
    let named = keys.filter(|name| carries_credentials(name));
    places.extend(named.map(|name| format!("query {}", shorten(name, 40))));
    places
}

fn carries_credentials(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || HINTS.iter().any(|hint| name.contains(hint))
}
