//! How two JSON values differ, by the paths of what differs.

use serde_json::{Value, json};

use crate::mcp::tools::compare::VALUE_CHARS;
use crate::mcp::tools::reply::shorten;

/// The first differences, each an array of path, first and second value, and whether there are
/// more. What only one of them has stands beside null, with `+` or `-` before its path.
pub(super) fn find(first: &Value, second: &Value, limit: usize) -> (Vec<Value>, bool) {
    let mut changes = Changes { found: Vec::new(), limit, is_more: false };
    changes.compare("$", first, second);
    (changes.found, changes.is_more)
}

struct Changes {
    found: Vec<Value>,
    limit: usize,
    is_more: bool,
}

impl Changes {
    fn compare(&mut self, path: &str, first: &Value, second: &Value) {
        if self.is_more || first == second {
            return;
        }
        match (first, second) {
            (Value::Object(a), Value::Object(b)) => {
                for (name, value) in a.iter().filter(|(name, value)| b.get(*name) != Some(value)) {
                    match b.get(name) {
                        Some(other) => self.compare(&member(path, name), value, other),
                        None => self.add(|| format!("-{}", member(path, name)), Some(value), None),
                    }
                }
                for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                    self.add(|| format!("+{}", member(path, name)), None, Some(value));
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                let pairs = a.iter().zip(b).enumerate();
                for (at, (value, other)) in pairs.filter(|(_, (value, other))| value != other) {
                    self.compare(&format!("{path}[{at}]"), value, other);
                }
                for (at, value) in a.iter().enumerate().skip(b.len()) {
                    self.add(|| format!("-{path}[{at}]"), Some(value), None);
                }
                for (at, value) in b.iter().enumerate().skip(a.len()) {
                    self.add(|| format!("+{path}[{at}]"), None, Some(value));
                }
            }
            _ => self.add(|| path.to_owned(), Some(first), Some(second)),
        }
    }

    fn add(
        &mut self,
        path: impl FnOnce() -> String,
        first: Option<&Value>,
        second: Option<&Value>,
    ) {
        if self.found.len() >= self.limit {
            self.is_more = true;
            return;
        }
        let path = shorten(&path(), VALUE_CHARS);
        self.found.push(json!([path, first.map(shown), second.map(shown)]));
    }
}

/// The path of a member. Of a path that is longer than what is shown of one, only the beginning
/// is kept: each of the members would have a copy of it.
fn member(path: &str, name: &str) -> String {
    const PATH_BYTES: usize = 4 * VALUE_CHARS;
    if path.len() > PATH_BYTES {
        return path.to_owned();
    }
    let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_plain) {
        format!("{path}.{name}")
    } else {
        format!("{path}[{name:?}]")
    }
}

/// A value, or the beginning of its text when it is long.
fn shown(value: &Value) -> Value {
    match value {
        Value::String(text) => shorten(text, VALUE_CHARS).into(),
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            if text.len() <= VALUE_CHARS {
                value.clone()
            } else {
                shorten(&text, VALUE_CHARS).into()
            }
        }
        small => small.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_by_their_paths() {
        let first = json!({"a": 1, "b": [1, {"c": "x"}], "gone": null, "same": {"x": []}});
        let second = json!({"a": 2, "b": [1, {"c": "y"}, 3], "odd key": true, "same": {"x": []}});
        let (found, is_more) = find(&first, &second, 10);
        let expected = json!([
            ["$.a", 1, 2],
            ["$.b[1].c", "x", "y"],
            ["+$.b[2]", null, 3],
            ["-$.gone", null, null],
            ["+$[\"odd key\"]", null, true],
        ]);
        assert_eq!((Value::from(found), is_more), (expected, false));
    }

    #[test]
    fn the_number_of_differences_and_their_length_are_bounded() {
        let many = |start: u64| (start..start + 100).collect::<Vec<_>>();
        let (found, is_more) = find(&json!(many(0)), &json!(many(1)), 5);
        assert_eq!((found.len(), is_more), (5, true));
        let under = |key: &str, from: u64| {
            let members = (from..from + 20_000).map(|at| (format!("k{at}"), json!(at)));
            json!({ key: serde_json::Map::from_iter(members) })
        };
        let key = "x".repeat(200_000);
        let began = std::time::Instant::now();
        let (found, is_more) = find(&under(&key, 0), &under(&key, 10_000), 5);
        assert_eq!((found.len(), is_more), (5, true));
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        let (found, is_more) = find(&json!("x".repeat(1_000)), &json!(null), 1);
        assert!(!is_more && found[0][1].as_str().unwrap().ends_with("…[+800]"));
    }
}
