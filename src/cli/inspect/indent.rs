//! JSON indented, and otherwise as it was written: members in their order, numbers to their last
//! digit.

use serde::de::IgnoredAny;

/// The lines of a JSON text, however deeply it is nested; `None` when it is none.
pub(super) fn indented(text: &str) -> Option<impl Iterator<Item = String>> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(Lines { rest: text.trim(), depth: 0 })
}

/// Lines of a text that is known to be JSON. One is made when it is asked for: indented, a text
/// may be many times as long.
struct Lines<'a> {
    rest: &'a str,
    depth: usize,
}

impl Iterator for Lines<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.rest.is_empty() {
            return None;
        }
        let mut line = String::new();
        while let Some(token) = self.token() {
            let is_end = matches!(token, "}" | "]");
            if is_end {
                self.depth = self.depth.saturating_sub(1);
            }
            if line.is_empty() {
                line.push_str(&"  ".repeat(self.depth));
            }
            line.push_str(token);
            let next = self.rest.chars().next();
            let ends = match token {
                "{" | "[" => {
                    self.depth += 1;
                    // What is empty stays on its line.
                    if matches!(next, Some('}' | ']')) {
                        self.depth -= 1;
                        line.push_str(self.token().unwrap_or_default());
                        next_ends(self.rest)
                    } else {
                        true
                    }
                }
                ":" => {
                    line.push(' ');
                    false
                }
                "," => true,
                _ => next_ends(self.rest),
            };
            if ends {
                break;
            }
        }
        Some(line)
    }
}

/// Whether what follows a value stands on a line of its own.
fn next_ends(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['}', ']'])
}

impl<'a> Lines<'a> {
    /// The next token, and with it the white space that follows it.
    fn token(&mut self) -> Option<&'a str> {
        let end = match self.rest.as_bytes() {
            [] => return None,
            [b'{' | b'}' | b'[' | b']' | b',' | b':', ..] => 1,
            [b'"', inside @ ..] => {
                let mut is_escaped = false;
                let quote = inside.iter().position(|byte| {
                    let is_quote = *byte == b'"' && !is_escaped;
                    is_escaped = *byte == b'\\' && !is_escaped;
                    is_quote
                });
                quote.map_or(self.rest.len(), |at| at + 2)
            }
            word => {
                let ends = |byte: &u8| b"{}[],: \t\r\n\"".contains(byte);
                word.iter().position(ends).unwrap_or(word.len()).max(1)
            }
        };
        let (token, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest.trim_start();
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn all(text: &str) -> Option<String> {
        indented(text).map(|lines| lines.map(|line| line + "\n").collect())
    }

    #[test]
    fn json_is_indented_and_nothing_else() {
        let text = " {\"b\":1.50e+3,\"a\" : [ 1,{ },[]\n, \"x\\\"{,\\\\\"],\"e\":{}, \"n\":\
            12345678901234567890123}\n";
        let expected = "{\n  \"b\": 1.50e+3,\n  \"a\": [\n    1,\n    {},\n    [],\n    \
            \"x\\\"{,\\\\\"\n  ],\n  \"e\": {},\n  \"n\": 12345678901234567890123\n}\n";
        assert_eq!(all(text).unwrap(), expected);
        assert_eq!(all("[]").unwrap(), "[]\n");
        assert_eq!(all("[[]]").unwrap(), "[\n  []\n]\n");
        assert_eq!(all(" \"a\" ").unwrap(), "\"a\"\n");
        for no in ["", "{", "{} x", "{'a':1}", "[1,]"] {
            assert!(all(no).is_none(), "{no}");
        }
        let deep = 10_000;
        let text = "[".repeat(deep) + &"]".repeat(deep);
        let lines = indented(&text).unwrap();
        let outer = 2 * (deep - 1);
        assert_eq!(lines.map(|line| line.trim_start().len()).sum::<usize>(), outer + 2);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\\PC\"\\\\]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".{0,5}", inner, 0..6)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_laid_out_as_serde_lays_it_out(value in json()) {
            let expected = serde_json::to_string_pretty(&value).unwrap() + "\n";
            prop_assert_eq!(all(&value.to_string()).unwrap(), expected.clone());
            prop_assert_eq!(all(&expected).unwrap(), expected);
        }
    }
}
