//! What the two sides agreed on about permessage-deflate (RFC 7692 section 7).

use crate::flow::record::DeflateParameters;
use crate::http::head::trim_blanks;

const EXTENSION: &[u8] = b"permessage-deflate";

/// The parameters that are in force, from the values of Sec-WebSocket-Extensions in the request
/// and in the 101 response. The response counts. `None` when permessage-deflate is not in force:
/// the server did not accept it, the client had not offered it, or what the server said breaks
/// the rules, so that messages could not be read.
pub fn deflate_parameters<'a>(
    mut request: impl Iterator<Item = &'a [u8]>,
    response: impl Iterator<Item = &'a [u8]>,
) -> Option<DeflateParameters> {
    let name = |extension: &'a [u8]| split_quoted(extension, b';').next().unwrap_or_default();
    let offered = request
        .any(|value| split_quoted(value, b',').any(|e| name(e).eq_ignore_ascii_case(EXTENSION)));
    let mut accepted = response
        .flat_map(|value| split_quoted(value, b','))
        .filter(|extension| name(extension).eq_ignore_ascii_case(EXTENSION));
    match (accepted.next(), accepted.next()) {
        (Some(extension), None) if offered => parse(extension),
        _ => None,
    }
}

/// Reads the parameters of an accepted extension.
fn parse(extension: &[u8]) -> Option<DeflateParameters> {
    let mut parameters = DeflateParameters::default();
    let mut windows = [false; 2];
    for parameter in split_quoted(extension, b';').skip(1) {
        let (name, value) = match parameter.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                let (name, value) = parameter.split_at_checked(at)?;
                (trim_blanks(name), Some(trim_blanks(value.strip_prefix(b"=")?)))
            }
            None => (parameter, None),
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let [client_window, server_window] = &mut windows;
        // Inflating needs no more than the largest window, so its size does not matter.
        let seen = match value {
            None if is("client_no_context_takeover") => &mut parameters.client_no_context_takeover,
            None if is("server_no_context_takeover") => &mut parameters.server_no_context_takeover,
            Some(bits) if is("client_max_window_bits") && is_window(bits) => client_window,
            Some(bits) if is("server_max_window_bits") && is_window(bits) => server_window,
            _ => return None,
        };
        if std::mem::replace(seen, true) {
            return None;
        }
    }
    Some(parameters)
}

/// Whether this is a window size from 8 to 15 without leading zeros, quoted or not.
fn is_window(value: &[u8]) -> bool {
    let inner = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
    matches!(inner.unwrap_or(value), b"8" | b"9" | [b'1', b'0'..=b'5'])
}

/// Splits at `separator` outside quoted strings; parts without blanks around them.
fn split_quoted(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |&byte| {
            let was_escaped = std::mem::take(&mut escaped);
            match byte {
                b'"' if !was_escaped => quoted = !quoted,
                b'\\' if quoted && !was_escaped => escaped = true,
                _ => {}
            }
            byte == separator && !quoted
        })
        .map(trim_blanks)
}
