//! JSON values in memory, masked as their text would be.

use std::borrow::Cow;

use serde_json::Value;

use crate::flow::redact::names::{Kind, is_harmless_member, judge};
use crate::flow::redact::{MASK, Masking, credential};

/// Masks a value. It may be nested as deep as memory reaches.
pub(super) fn mask(masking: &Masking<'_>, value: &mut Value) {
    let mut open = vec![(value, Kind::Plain)];
    while let Some((value, kind)) = open.pop() {
        match value {
            Value::String(text) => {
                let masked = match kind.hides(text) {
                    true => credential::header(masking, "authorization", text),
                    false => masking.inner(text),
                };
                if let Cow::Owned(masked) = masked {
                    *text = masked;
                }
            }
            Value::Number(_) if kind == Kind::Code => *value = Value::from(MASK),
            // Numbers in a secret object are none.
            Value::Array(items) => open.extend(items.iter_mut().map(|item| (item, within(kind)))),
            Value::Object(members) => {
                let named = ["name", "key", "field", "header"];
                let named = named.iter().find_map(|name| members.get(*name)?.as_str());
                let named = named.map(str::to_owned).filter(|name| judge(name) != Kind::Plain);
                for (name, member) in members.iter_mut() {
                    let kind = match (judge(name), within(kind)) {
                        (Kind::Plain, Kind::Plain) => Kind::Plain,
                        (Kind::Plain, _) if is_harmless_member(name) => Kind::Plain,
                        (Kind::Plain | Kind::Doubtful, outer) if outer != Kind::Plain => outer,
                        (own, _) => own,
                    };
                    let is_value = ["value", "values", "val", "content"].contains(&name.as_str());
                    if let (Some(named), true, Value::String(text)) = (&named, is_value, &*member) {
                        *member = Value::from(credential::header(masking, named, text));
                    }
                    open.push((member, kind));
                }
            }
            _ => {}
        }
    }
}

/// What the kind of an object says of what is in it.
fn within(kind: Kind) -> Kind {
    match kind {
        Kind::Plain | Kind::Doubtful => Kind::Plain,
        Kind::Secret | Kind::Code => Kind::Secret,
    }
}
