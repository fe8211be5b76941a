//! Paths with named parameters, and the names that are made of them.

use std::collections::BTreeMap;

use crate::flow::redact::MASK;
use crate::flow::template::{Piece, pieces};
use crate::limits::OPENAPI_NAME_BYTES;

/// A path of an operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// As OpenAPI has it: `/users/{userId}`.
    pub(super) template: String,
    /// The parameters in order, with what stood in their places.
    pub(super) parameters: Vec<(String, String)>,
}

impl Path {
    /// Reads the path of a URL, whose secrets may be masked.
    pub(super) fn read(path: &str) -> Self {
        let mut read = Path { template: String::new(), parameters: Vec::new() };
        let mut before = "";
        let mut named = BTreeMap::new();
        for piece in pieces(if path.is_empty() { "/" } else { path }) {
            match piece {
                Piece::Same(text) if !text.contains(MASK) => {
                    read.template.push_str(&text.replace('{', "%7B").replace('}', "%7D"));
                    if !matches!(text, "/" | "." | "") {
                        before = text;
                    }
                }
                Piece::Same(text) | Piece::Id(text) => {
                    let name = id_name(before);
                    let same: &mut usize = named.entry(name.clone()).or_default();
                    *same += 1;
                    // Names end in a letter, so that a number tells them apart.
                    let name = if *same == 1 { name } else { format!("{name}{same}") };
                    read.template.push_str(&format!("{{{name}}}"));
                    read.parameters.push((name, text.to_owned()));
                }
            }
        }
        read
    }

    /// What the operation is called: `getUsersByUserId`.
    pub(super) fn operation(&self, method: &str) -> String {
        let mut name = method.to_owned();
        for segment in self.template.split('/') {
            let is_parameter = segment.starts_with('{');
            name.push_str(if is_parameter { "By" } else { "" });
            // Names of parameters have capitals that tell their words apart.
            let segment = segment.trim_matches(['{', '}']);
            let words = if is_parameter { vec![segment.to_owned()] } else { words(segment) };
            words.iter().for_each(|word| name.push_str(&capitalised(word)));
        }
        name
    }

    /// The first segment that says what the path is about.
    pub(super) fn tag(&self) -> Option<&str> {
        let says_nothing = |segment: &&str| {
            let segment = segment.to_ascii_lowercase();
            ["", "api", "apis", "rest"].contains(&segment.as_str()) || is_version(&segment)
        };
        let tag = self.template.split('/').find(|segment| !says_nothing(segment))?;
        (!tag.contains('{')).then_some(tag)
    }
}

/// The name of an id behind this segment: `userId` behind `users`.
fn id_name(before: &str) -> String {
    // What is longer is no name.
    let words = if before.len() > OPENAPI_NAME_BYTES { Vec::new() } else { words(before) };
    let is_version = words.first().is_some_and(|first| is_version(first));
    let mut name = String::new();
    if !is_version {
        for (number, word) in words.iter().enumerate() {
            let is_last = number + 1 == words.len();
            let word = if is_last { singular(word) } else { word.clone() };
            name.push_str(&if number == 0 { word } else { capitalised(&word) });
        }
    }
    if name.is_empty() { "id".to_owned() } else { format!("{name}Id") }
}

/// Whether a segment is a version: `v1`, `v1.2`.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// The words of a segment, in lower case as far as their first letters go.
fn words(segment: &str) -> Vec<String> {
    let words = segment.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.map(|word| first_letter(word, |letter| letter.to_ascii_lowercase())).collect()
}

fn capitalised(word: &str) -> String {
    first_letter(word, |letter| letter.to_ascii_uppercase())
}

fn first_letter(word: &str, change: impl FnOnce(char) -> char) -> String {
    let mut letters = word.chars();
    letters.next().map(change).into_iter().chain(letters).collect()
}

/// One of many, as far as spelling tells.
fn singular(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 1) {
        return format!("{stem}y");
    }
    for end in ["sses", "xes", "ches", "shes"] {
        if let (true, Some(one)) = (word.ends_with(end), word.strip_suffix("es")) {
            return one.to_owned();
        }
    }
    let is_one = ["ss", "us", "is"].iter().any(|end| word.ends_with(end)) || word.len() < 3;
    word.strip_suffix('s').filter(|_| !is_one).unwrap_or(word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_by_what_stands_before_them() {
        for (path, template, operation) in [
            ("/users/42", "/users/{userId}", "getUsersByUserId"),
            (
                "/v1/users/42/posts/7",
                "/v1/users/{userId}/posts/{postId}",
                "getV1UsersByUserIdPostsByPostId",
            ),
            ("/v1/7", "/v1/{id}", "getV1ById"),
            ("/7/8", "/{id}/{id2}", "getByIdById2"),
            ("/x/7/8", "/x/{xId}/{xId2}", "getXByXIdByXId2"),
            ("/order-items/7", "/order-items/{orderItemId}", "getOrderItemsByOrderItemId"),
            ("/categories/7", "/categories/{categoryId}", "getCategoriesByCategoryId"),
            ("/boxes/7", "/boxes/{boxId}", "getBoxesByBoxId"),
            ("/status/7", "/status/{statusId}", "getStatusByStatusId"),
            ("/bot***/getMe", "/{id}/getMe", "getByIdGetMe"),
            ("/a{b}", "/a%7Bb%7D", "getA7Bb7D"),
            ("", "/", "get"),
            ("/", "/", "get"),
        ] {
            let read = Path::read(path);
            assert_eq!(read.template, template, "{path}");
            assert_eq!(read.operation("get"), operation, "{path}");
        }
        let values =
            [("userId".to_owned(), "42".to_owned()), ("postId".to_owned(), "7".to_owned())];
        assert_eq!(Path::read("/users/42/posts/7").parameters, values);
    }

    #[test]
    fn a_path_of_many_ids_takes_no_longer_than_it_is() {
        let many = 100_000;
        let read = Path::read(&"/7".repeat(many));
        assert_eq!(read.parameters.last().unwrap().0, format!("id{many}"));
        let long = format!("/{}/7", "a".repeat(OPENAPI_NAME_BYTES + 1));
        assert_eq!(Path::read(&long).parameters[0].0, "id");
    }

    #[test]
    fn the_tag_is_what_the_path_is_about() {
        let tag = |path: &str| Path::read(path).tag().map(str::to_owned);
        assert_eq!(tag("/api/v1.2/users/42").as_deref(), Some("users"));
        assert_eq!(tag("/users").as_deref(), Some("users"));
        assert_eq!(tag("/42/users"), None);
        assert_eq!(tag("/"), None);
    }
}
