//! Edits of requests and responses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::flow::head::{Field, HeadText};
use crate::flow::redact::Redactor;
use crate::mcp::tools::arguments::{Arguments, wrong};
use crate::mcp::tools::reply::Failure;
use crate::mcp::tools::unmask::unmasked_field;

/// A body that the arguments give.
#[derive(Debug)]
pub(super) enum GivenBody {
    /// A text, which may have to go out in another charset.
    Text(String),
    /// These bytes and no others.
    Bytes(Bytes),
}

impl GivenBody {
    /// The body that the arguments give; `None` where they give none.
    pub(super) fn read(arguments: Arguments<'_>) -> Result<Option<Self>, Failure> {
        match (arguments.get("body"), arguments.text("body_base64")?) {
            (Some(_), Some(_)) => Err(Failure::new("body and body_base64 exclude each other")),
            (Some(Value::String(text)), None) => Ok(Some(GivenBody::Text(text.clone()))),
            // A JSON body that was not written as a string is meant as its text.
            (Some(json @ (Value::Object(_) | Value::Array(_))), None) => {
                Ok(Some(GivenBody::Text(json.to_string())))
            }
            (Some(other), None) => Err(wrong("body", "a string", other)),
            (None, Some(base64)) => match STANDARD.decode(base64.trim()) {
                Ok(bytes) => Ok(Some(GivenBody::Bytes(Bytes::from(bytes)))),
                Err(error) => {
                    Err(Failure::new(format!("the argument \"body_base64\" is no base64: {error}")))
                }
            },
            (None, None) => Ok(None),
        }
    }

    /// Its bytes, of a text in UTF-8.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            GivenBody::Text(text) => Bytes::from(text),
            GivenBody::Bytes(bytes) => bytes,
        }
    }
}

/// Changes to the fields of a message.
#[derive(Debug, Default)]
pub(super) struct FieldEdits<'a> {
    /// Fields that are added, or take the place of those of their name.
    pub(super) set: Vec<Field>,
    /// Names whose fields go.
    pub(super) remove: Vec<&'a str>,
}

impl<'a> FieldEdits<'a> {
    pub(super) fn read(arguments: Arguments<'a>) -> Result<Self, Failure> {
        Ok(FieldEdits {
            set: arguments.fields("headers")?.unwrap_or_default(),
            remove: arguments.texts("remove_headers")?.unwrap_or_default(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    pub(super) fn sets(&self, name: &str) -> bool {
        self.set.iter().any(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Those fields of a head with these changes that say what its body is. A new body does not
    /// have the coding of the one that was there.
    pub(super) fn of_body(&self, head: &HeadText, is_new: bool) -> HeadText {
        let names = ["content-type", "content-encoding"];
        let of_body = |field: &&Field| names.iter().any(|it| field.name.eq_ignore_ascii_case(it));
        let stays = |field: &&Field| {
            let is_removed = self.remove.iter().any(|it| field.name.eq_ignore_ascii_case(it));
            let is_of_old = is_new && field.name.eq_ignore_ascii_case("content-encoding");
            !is_removed && !is_of_old && !self.sets(&field.name)
        };
        let stay = head.fields.iter().filter(of_body).filter(stays);
        let fields = stay.chain(self.set.iter().filter(of_body)).cloned().collect();
        HeadText { start: head.start.clone(), fields }
    }

    /// The fields with these changes; tells in `done` what was changed.
    pub(super) fn apply(
        &self,
        mut fields: Vec<Field>,
        redactor: &Redactor,
        done: &mut Vec<String>,
    ) -> Result<Vec<Field>, Failure> {
        for name in &self.remove {
            let before = fields.len();
            fields.retain(|field| !field.name.eq_ignore_ascii_case(name));
            let was_there = if fields.len() < before { "removed" } else { "was not there" };
            done.push(format!("header {name} {was_there}"));
        }
        let mut set: Vec<&Field> = self.set.iter().collect();
        while let Some(first) = set.first().map(|field| field.name.clone()) {
            let (same, others): (Vec<_>, Vec<_>) =
                set.into_iter().partition(|field| field.name.eq_ignore_ascii_case(&first));
            set = others;
            let is_same = |field: &Field| field.name.eq_ignore_ascii_case(&first);
            let place = fields.iter().position(is_same);
            let (old, mut rest): (Vec<_>, Vec<_>) = fields.into_iter().partition(is_same);
            let mut known: Vec<&Field> = old.iter().collect();
            let new = same.into_iter().map(|field| unmasked_field(field, &mut known, redactor));
            let new = new.collect::<Result<Vec<_>, _>>()?;
            let change = if place.is_some() { "replaced" } else { "added" };
            done.push(format!("header {first} {change}"));
            let at = place.unwrap_or(rest.len()).min(rest.len());
            rest.splice(at..at, new);
            fields = rest;
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn fields_are_added_replaced_in_place_and_removed() {
        let fields = vec![field("A", "1"), field("b", "2"), field("A", "3"), field("c", "4")];
        let edits = FieldEdits {
            set: vec![field("a", "new"), field("D", "5"), field("d", "6")],
            remove: vec!["B", "none"],
        };
        let mut done = Vec::new();
        let fields = edits.apply(fields, &Redactor::off(), &mut done).unwrap();
        assert_eq!(fields, [field("a", "new"), field("c", "4"), field("D", "5"), field("d", "6")]);
        let expected = [
            "header B removed",
            "header none was not there",
            "header a replaced",
            "header D added",
        ];
        assert_eq!(done, expected);
    }
}
