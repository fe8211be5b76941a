//! The arguments of a call, read with errors that name what is wrong and what is accepted.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::flow::head::Field;
use crate::flow::record::FlowId;
use crate::mcp::tools::reply::{Failure, shorten};

/// The arguments of one call. One that is null counts as left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'a>(&'a Map<String, Value>);

impl<'a> Arguments<'a> {
    /// Arguments of which none is unknown to the tool's schema and none that is required is
    /// missing.
    pub(super) fn check(
        tool: &str,
        schema: &Value,
        given: &'a Map<String, Value>,
    ) -> Result<Self, Failure> {
        let known = schema.get("properties").and_then(Value::as_object);
        let knows = |name: &String| known.is_some_and(|known| known.contains_key(name));
        let names = || match known.filter(|known| !known.is_empty()) {
            None => "it takes none".to_owned(),
            Some(known) => {
                let names: Vec<_> = known.keys().map(String::as_str).collect();
                format!("its arguments are {}", names.join(", "))
            }
        };
        if let Some(unknown) = given.keys().find(|name| !knows(name)) {
            let unknown = shorten(unknown, 60);
            return Err(Failure::new(format!("{tool} has no argument {unknown:?}; {}", names())));
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let is_missing = |name: &&str| given.get(*name).is_none_or(Value::is_null);
        match required.filter_map(Value::as_str).find(is_missing) {
            Some(name) => {
                Err(Failure::new(format!("{tool} needs the argument {name:?}; {}", names())))
            }
            None => Ok(Arguments(given)),
        }
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", other)),
        }
    }

    pub(super) fn required_text(self, name: &str) -> Result<&'a str, Failure> {
        self.text(name)?.ok_or_else(|| Failure::new(format!("the argument {name:?} is missing")))
    }

    pub(super) fn boolean(self, name: &str) -> Result<bool, Failure> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    /// An integer; one that is written as a string is taken too.
    pub(super) fn integer(
        self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match whole_number(value).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None if *range.end() == u64::MAX => {
                Err(wrong(name, &format!("an integer from {}", range.start()), value))
            }
            None => {
                let (start, end) = (range.start(), range.end());
                Err(wrong(name, &format!("an integer from {start} to {end}"), value))
            }
        }
    }

    /// The same as a size.
    pub(super) fn size(
        self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Failure> {
        let range = *range.start() as u64..=*range.end() as u64;
        Ok(self.integer(name, range)?.and_then(|number| usize::try_from(number).ok()))
    }

    /// A flow's id, as string or number.
    pub(super) fn flow_id(self, name: &str) -> Result<FlowId, Failure> {
        match self.get(name) {
            None => Err(Failure::new(format!("the argument {name:?} is missing"))),
            Some(value) => {
                flow_id(value).ok_or_else(|| wrong(name, "a flow's id, such as \"12\"", value))
            }
        }
    }

    /// A list of flows' ids; one that stands alone is taken too.
    pub(super) fn flow_ids(self, name: &str) -> Result<Option<Vec<FlowId>>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let read = |value: &Value| {
            let expected = "an array of flows' ids, such as [\"12\", \"13\"]";
            flow_id(value).ok_or_else(|| wrong(name, expected, value))
        };
        match value {
            Value::Array(items) => items.iter().map(read).collect::<Result<_, _>>().map(Some),
            single => read(single).map(|id| Some(vec![id])),
        }
    }

    /// A list of strings; one that stands alone is taken too.
    pub(super) fn texts(self, name: &str) -> Result<Option<Vec<&'a str>>, Failure> {
        let read = |value: &'a Value| {
            value.as_str().ok_or_else(|| wrong(name, "an array of strings", value))
        };
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => items.iter().map(read).collect::<Result<_, _>>().map(Some),
            Some(single) => read(single).map(|text| Some(vec![text])),
        }
    }

    /// Field lines, given as an object of names and values; several values of one name as an
    /// array.
    pub(super) fn fields(self, name: &str) -> Result<Option<Vec<Field>>, Failure> {
        let expected = "an object of header names and values, such as {\"Accept\": \"*/*\"}";
        let Some(value) = self.get(name) else { return Ok(None) };
        let Some(object) = value.as_object() else { return Err(wrong(name, expected, value)) };
        let mut fields = Vec::new();
        for (field, value) in object {
            let several = std::slice::from_ref(value);
            for value in value.as_array().map_or(several, Vec::as_slice) {
                let text = match value {
                    Value::String(text) => text.trim().to_owned(),
                    Value::Number(number) => number.to_string(),
                    Value::Bool(value) => value.to_string(),
                    other => return Err(wrong(&format!("{name}.{field}"), "a string", other)),
                };
                fields.push(checked(Field { name: field.clone(), value: text })?);
            }
        }
        Ok(Some(fields))
    }
}

/// A field that can stand in a head (RFC 9110 sections 5.1 and 5.5).
fn checked(field: Field) -> Result<Field, Failure> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if field.name.is_empty() || !field.name.bytes().all(is_token) {
        let name = shorten(&field.name, 60);
        return Err(Failure::new(format!("{name:?} is no header name: letters, digits and - are")));
    }
    if field.value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(Failure::new(format!(
            "the value of the header {} has a line end or a NUL, which no header can have",
            field.name
        )));
    }
    Ok(field)
}

fn flow_id(value: &Value) -> Option<FlowId> {
    whole_number(value).map(FlowId)
}

fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            // Some clients write every number with a fraction.
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && *float >= 0.0)?;
            (float < 9e15).then_some(float as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

pub(super) fn wrong(name: &str, expected: &str, found: &Value) -> Failure {
    let mut words = format!("the argument {name:?} must be {expected}, not ");
    let _ = match found {
        Value::Null => write!(words, "null"),
        Value::Bool(value) => write!(words, "{value}"),
        Value::Number(number) => write!(words, "{number}"),
        Value::String(text) => write!(words, "the string {:?}", shorten(text, 40)),
        Value::Array(_) => write!(words, "an array"),
        Value::Object(_) => write!(words, "an object"),
    };
    Failure::new(words)
}
