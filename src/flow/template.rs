//! Path templates: what differs from call to call becomes `{id}`.

/// Hexadecimal digits from which on a text is taken for an id.
const HEX_CHARS: usize = 8;
/// Characters from which on a mix of letters and digits is taken for an id.
const TOKEN_CHARS: usize = 20;

/// A piece of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What stays the same, slashes and dots included.
    Same(&'a str),
    /// An id.
    Id(&'a str),
}

/// The template of a path: numbers, UUIDs, hexadecimal and long tokens become `{id}`, also as
/// parts of a file's name.
pub fn path_template(path: &str) -> String {
    let text = |piece| match piece {
        Piece::Same(text) => text,
        Piece::Id(_) => "{id}",
    };
    pieces(path).into_iter().map(text).collect()
}

/// The pieces of a path; all together are the path.
pub fn pieces(path: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    for segment in path.split_inclusive('/') {
        let (name, slash) = match segment.strip_suffix('/') {
            Some(name) => (name, Some("/")),
            None => (segment, None),
        };
        // A version such as v1.2 is no id.
        let dotted = if is_id(name) || is_version(name) { vec![name] } else { dotted(name) };
        for part in dotted.into_iter().chain(slash) {
            let is_id = is_id(part) && !is_version(part);
            pieces.push(if is_id { Piece::Id(part) } else { Piece::Same(part) });
        }
    }
    pieces
}

/// The parts of a name, with the dots between them.
fn dotted(name: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for (number, part) in name.split('.').enumerate() {
        let dot = (number > 0).then_some(".");
        parts.extend(dot.into_iter().chain([part]));
    }
    parts
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix(['v', 'V']).is_some_and(|rest| {
        rest.chars().all(|c| c.is_ascii_digit() || c == '.') && !rest.is_empty()
    })
}

/// Whether a text is made by machines to name one of many.
pub fn is_id(text: &str) -> bool {
    let count = |is: fn(&u8) -> bool| text.bytes().filter(is).count();
    let (digits, hex) = (count(u8::is_ascii_digit), count(u8::is_ascii_hexdigit));
    let dashes = count(|byte| matches!(byte, b'-' | b'_'));
    let letters = count(u8::is_ascii_alphabetic);
    let length = text.len();
    if length == 0 || digits == 0 {
        return false;
    }
    let is_number = digits == length;
    let is_hex = length >= HEX_CHARS && hex + dashes == length && digits * 6 >= hex;
    // Words that are joined by dashes have few digits; tokens have many, between letters.
    let is_token = length >= TOKEN_CHARS
        && digits + letters + dashes == length
        && (dashes * 8 < length && digits * 15 >= length);
    is_number || is_hex || is_token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_words() {
        for (path, template) in [
            ("/users/42/posts", "/users/{id}/posts"),
            ("/v1/items/7", "/v1/items/{id}"),
            ("/v1.2/x", "/v1.2/x"),
            ("/o/3f2a91bc-9d1e-4b7a-8c55-0242ac120002", "/o/{id}"),
            ("/o/deadbeef01", "/o/{id}"),
            ("/app.3f2a91bc7d.js", "/app.{id}.js"),
            ("/s/eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9", "/s/{id}"),
            ("/blog/how-to-tell-words-from-ids-2024", "/blog/how-to-tell-words-from-ids-2024"),
            ("/decade/facade", "/decade/facade"),
            ("/api/oauth2/token", "/api/oauth2/token"),
            ("/search", "/search"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(path_template(path), template, "{path}");
            let whole = pieces(path).into_iter().map(|piece| match piece {
                Piece::Same(text) | Piece::Id(text) => text,
            });
            assert_eq!(whole.collect::<String>(), path);
        }
    }
}
