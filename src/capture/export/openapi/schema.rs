//! A JSON Schema (2020-12) that all values of one place keep to.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::text::{Texts, is_email};
use super::{Room, is_secret};
use crate::flow::template::is_id;
use crate::limits::{OPENAPI_MEMBERS, OPENAPI_NAME_BYTES};

/// What was seen of the values of one place.
#[derive(Debug, Default)]
pub(super) struct Schema {
    nulls: bool,
    booleans: bool,
    integers: bool,
    numbers: bool,
    /// What all strings are.
    strings: Option<Texts>,
    arrays: bool,
    /// What all items of arrays are; `None` where there was no room for it.
    items: Option<Box<Schema>>,
    objects: Option<Objects>,
}

/// What was seen of objects.
#[derive(Debug, Default)]
struct Objects {
    seen: u64,
    members: BTreeMap<String, Member>,
    /// Members whose names are ids, or too many.
    others: Option<Box<Schema>>,
    /// Whether there was no room for some members, so that nothing is known of the others.
    is_open: bool,
}

#[derive(Debug, Default)]
struct Member {
    /// Objects that have it.
    seen: u64,
    schema: Schema,
}

impl Schema {
    /// Takes one more value. Parts for which there is no room are not looked at.
    pub(super) fn add(&mut self, value: &Value, room: &mut Room) {
        match value {
            Value::Null => self.nulls = true,
            Value::Bool(_) => self.booleans = true,
            Value::Number(number) if number.is_f64() => self.numbers = true,
            Value::Number(_) => self.integers = true,
            Value::String(text) => {
                let texts = Texts::of(text);
                self.strings = Some(self.strings.map_or(texts, |all| all.and(texts)));
            }
            Value::Array(items) => {
                if !std::mem::replace(&mut self.arrays, true) && room.take() {
                    self.items = Some(Box::default());
                }
                if let Some(all) = &mut self.items {
                    items.iter().for_each(|item| all.add(item, room));
                }
            }
            Value::Object(members) => {
                let objects = self.objects.get_or_insert_default();
                objects.seen += 1;
                for (name, value) in members {
                    objects.add(name, value, room);
                }
            }
        }
    }

    fn types(&self) -> Vec<&'static str> {
        let numbers = self.numbers;
        [
            (self.objects.is_some(), "object"),
            (self.arrays, "array"),
            (self.strings.is_some(), "string"),
            (numbers, "number"),
            (self.integers && !numbers, "integer"),
            (self.booleans, "boolean"),
            (self.nulls, "null"),
        ]
        .into_iter()
        .filter_map(|(seen, name)| seen.then_some(name))
        .collect()
    }
}

impl Objects {
    fn add(&mut self, name: &str, value: &Value, room: &mut Room) {
        if let Some(member) = self.members.get_mut(name) {
            member.seen += 1;
            member.schema.add(value, room);
        } else if is_dynamic(name) || self.members.len() >= OPENAPI_MEMBERS {
            if self.others.is_none() && !self.is_open && room.take() {
                self.others = Some(Box::default());
            }
            match &mut self.others {
                Some(others) => others.add(value, room),
                None => self.is_open = true,
            }
        } else if room.take() {
            let member = self.members.entry(name.to_owned()).or_default();
            member.seen = 1;
            member.schema.add(value, room);
        } else {
            self.is_open = true;
        }
    }

    fn required(&self) -> Vec<&str> {
        let always = self.members.iter().filter(|(_, member)| member.seen == self.seen);
        always.map(|(name, _)| name.as_str()).collect()
    }
}

/// Whether a member's name is one of many, made by what it is about.
fn is_dynamic(name: &str) -> bool {
    name.len() > OPENAPI_NAME_BYTES
        || is_id(name)
        || is_email(name)
        || name.starts_with('/')
        || name.contains("://")
        || is_secret(name)
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let types = self.types();
        match types.as_slice() {
            [] => {}
            [one] => map.serialize_entry("type", one)?,
            many => map.serialize_entry("type", many)?,
        }
        if let Some(format) = self.strings.and_then(Texts::format) {
            map.serialize_entry("format", format)?;
        }
        if let Some(items) = &self.items {
            map.serialize_entry("items", items)?;
        }
        if let Some(objects) = &self.objects {
            if !objects.members.is_empty() {
                let members = objects.members.iter().map(|(name, member)| (name, &member.schema));
                map.serialize_entry("properties", &members.collect::<BTreeMap<_, _>>())?;
            }
            let required = objects.required();
            if !required.is_empty() {
                map.serialize_entry("required", &required)?;
            }
            if let Some(others) = objects.others.as_ref().filter(|_| !objects.is_open) {
                map.serialize_entry("additionalProperties", others)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(values: &[Value]) -> Value {
        let mut schema = Schema::default();
        let mut room = Room::default();
        values.iter().for_each(|value| schema.add(value, &mut room));
        serde_json::to_value(schema).unwrap()
    }

    #[test]
    fn members_of_all_values_are_merged() {
        let values = [
            json!({"id": 1, "name": "x", "tags": ["a"], "at": "2026-10-21T07:28:00Z"}),
            json!({"id": 2, "name": null, "tags": [], "ratio": 1.5, "at": "2026-10-22T07:28:00Z"}),
        ];
        let expected = json!({
            "type": "object",
            "properties": {
                "id": {"type": "integer"},
                "name": {"type": ["string", "null"]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "at": {"type": "string", "format": "date-time"},
                "ratio": {"type": "number"},
            },
            "required": ["at", "id", "name", "tags"],
        });
        assert_eq!(schema(&values), expected);
    }

    #[test]
    fn mixed_values_have_all_their_types() {
        let values = [json!(1), json!(1.5), json!([{"a": 1}, {}]), json!({}), json!(true)];
        let expected = json!({
            "type": ["object", "array", "number", "boolean"],
            "items": {"type": "object", "properties": {"a": {"type": "integer"}}},
        });
        assert_eq!(schema(&values), expected);
        assert_eq!(schema(&[json!([])]), json!({"type": "array", "items": {}}));
        assert_eq!(schema(&[json!("a@b.example"), json!("c")]), json!({"type": "string"}));
        assert_eq!(schema(&[]), json!({}));
    }

    #[test]
    fn names_that_are_ids_make_a_map() {
        let values = [
            json!({"by": {"3f2a91bc-9d1e-4b7a-8c55-0242ac120002": {"n": 1}}, "200": "ok"}),
            json!({"by": {"77aa91bc-9d1e-4b7a-8c55-0242ac120002": {"n": null}}, "404": "gone"}),
        ];
        let expected = json!({
            "type": "object",
            "properties": {
                "by": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "properties": {"n": {"type": ["integer", "null"]}},
                        "required": ["n"],
                    },
                },
            },
            "required": ["by"],
            "additionalProperties": {"type": "string"},
        });
        assert_eq!(schema(&values), expected);
    }

    #[test]
    fn members_beyond_the_limit_are_a_map() {
        let name = |number: usize| format!("name-{}", "x".repeat(number));
        let all = (0..OPENAPI_MEMBERS + 5)
            .map(|number| (name(number % 100) + &"y".repeat(number / 100), json!(1)));
        let schema = schema(&[Value::Object(all.collect())]);
        assert_eq!(schema["properties"].as_object().unwrap().len(), OPENAPI_MEMBERS);
        assert_eq!(schema["additionalProperties"], json!({"type": "integer"}));
    }

    #[test]
    fn without_room_nothing_is_added_and_it_is_counted() {
        let mut schema = Schema::default();
        let mut room = Room { schemas: 2, ..Room::default() };
        schema.add(&json!({"a": {"b": 1, "c": 2}, "d": 3}), &mut room);
        assert_eq!((room.schemas, room.left_out), (0, 2));
        let value = serde_json::to_value(schema).unwrap();
        assert_eq!(value["properties"]["a"]["properties"], json!({"b": {"type": "integer"}}));
    }

    #[test]
    fn arrays_inside_of_arrays_and_maps_take_room() {
        let mut schema = Schema::default();
        let mut room = Room { schemas: 3, ..Room::default() };
        schema.add(&json!([[[[[1]]]]]), &mut room);
        assert_eq!((room.schemas, room.left_out), (0, 1));
        let value = serde_json::to_value(&schema).unwrap();
        let third = &value["items"]["items"]["items"];
        assert_eq!(third, &json!({"type": "array"}));

        let mut schema = Schema::default();
        let mut room = Room { schemas: 1, ..Room::default() };
        schema.add(&json!({"1": {"2": {"3": 4}}}), &mut room);
        let value = serde_json::to_value(&schema).unwrap();
        assert_eq!(value, json!({"type": "object", "additionalProperties": {"type": "object"}}));
    }
}
