//! JSON values in memory, masked as their text would be.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::flow::redact::names::{Kind, is_harmless_member, judge};
use crate::flow::redact::{MASK, Masking, credential};

/// What the keys around a value say of it.
#[derive(Clone, Copy)]
struct Context {
    kind: Kind,
    /// Whether cookies follow, and whether they are set.
    cookies: Option<bool>,
}

/// Masks a value. It may be nested as deep as memory reaches.
pub(super) fn mask(masking: &Masking<'_>, value: &mut Value) {
    let mut open = vec![(value, Context { kind: Kind::Plain, cookies: None })];
    while let Some((value, context)) = open.pop() {
        match value {
            Value::String(text) => mask_text(masking, text, context),
            Value::Number(_) if context.kind == Kind::Code => *value = Value::from(MASK),
            Value::Array(items) => {
                items.iter_mut().for_each(|item| mask_pair(masking, item));
                let inner = Context { kind: within(context.kind), ..context };
                open.extend(items.iter_mut().map(|item| (item, inner)));
            }
            Value::Object(members) => {
                mask_named(masking, members);
                let outer = within(context.kind);
                for (name, member) in members.iter_mut() {
                    let cookies = credential::holds_cookies(name);
                    open.push((member, Context { kind: member_kind(name, outer), cookies }));
                }
            }
            _ => {}
        }
    }
}

fn mask_text(masking: &Masking<'_>, text: &mut String, context: Context) {
    let masked = match (context.kind.hides(text), context.cookies) {
        (true, Some(true)) => credential::header(masking, "set-cookie", text),
        (true, Some(false)) => credential::header(masking, "cookie", text),
        (true, None) => credential::header(masking, "authorization", text),
        (false, _) => masking.inner(text),
    };
    if let Cow::Owned(masked) = masked {
        *text = masked;
    }
}

/// An object that writes a name and its value as two members.
fn mask_named(masking: &Masking<'_>, members: &mut Map<String, Value>) {
    let names = ["name", "key", "field", "header"];
    let name = names.iter().find_map(|name| members.get(*name)?.as_str());
    let Some(name) = name.filter(|name| judge(name) != Kind::Plain).map(str::to_owned) else {
        return;
    };
    for member in ["value", "values", "val", "content"] {
        if let Some(Value::String(text)) = members.get_mut(member)
            && let Cow::Owned(masked) = credential::header(masking, &name, text)
        {
            *text = masked;
        }
    }
}

/// A list of a name and its value, within a list of such.
fn mask_pair(masking: &Masking<'_>, item: &mut Value) {
    let Value::Array(pair) = item else { return };
    if let [Value::String(name), Value::String(value)] = pair.as_mut_slice()
        && judge(name) != Kind::Plain
        && let Cow::Owned(masked) = credential::header(masking, name, value)
    {
        *value = masked;
    }
}

/// What the kind of an object says of what is in it.
fn within(kind: Kind) -> Kind {
    match kind {
        Kind::Plain | Kind::Doubtful | Kind::Grant => Kind::Plain,
        Kind::Secret | Kind::Code => Kind::Secret,
    }
}

/// The kind of a member by its own name and by what stands around its object.
fn member_kind(name: &str, outer: Kind) -> Kind {
    match judge(name) {
        own if outer == Kind::Plain => own,
        Kind::Plain if is_harmless_member(name) => Kind::Plain,
        Kind::Plain | Kind::Doubtful | Kind::Grant => outer,
        own => own,
    }
}
