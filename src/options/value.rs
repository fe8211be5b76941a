//! The types of options: what each takes, how it is read from JSON and shown as JSON.

use std::time::Duration;

use serde_json::{Number, Value};

use crate::flow::redact::MASK;
use crate::limits::{
    OPTION_ITEMS, OPTION_TEXT_BYTES, OPTION_WAIT_LONGEST, OPTION_WAIT_SHORTEST, STORED_BYTES_LEAST,
    STORED_BYTES_MOST,
};
use crate::options::error::{Reason, short};
use crate::options::{ConnectionStrategy, FLOW_DETAIL_MOST, TlsVersion};

/// The names of the strategies.
pub(super) const STRATEGIES: [(&str, ConnectionStrategy); 2] =
    [("eager", ConnectionStrategy::Eager), ("lazy", ConnectionStrategy::Lazy)];
/// The names of the lowest versions of TLS.
pub(super) const TLS_VERSIONS: [(&str, TlsVersion); 2] =
    [("TLS1_2", TlsVersion::Tls12), ("TLS1_3", TlsVersion::Tls13)];

/// The type of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// True or false.
    Flag,
    /// How much is told, from 0 on.
    Detail,
    /// A number within these bounds.
    Count(usize, usize),
    /// A number from 1 up to this, or null for no limit of its own.
    CountOrNull(usize),
    /// A wait.
    Seconds,
    /// A number of bytes, or null for no limit.
    Size,
    /// The bytes of the store.
    StoreSize,
    /// When the server is connected.
    Strategy,
    /// A lowest version of TLS.
    TlsVersion,
    /// A filter expression, or null.
    Filter,
    /// A user's name and password, or null.
    Credentials,
    /// Regular expressions on `host:port`.
    Hosts,
    /// Regular expressions on any text.
    Patterns,
    /// Rules that name a filter and a status.
    BlockRules,
}

impl Kind {
    /// What it takes, in words.
    pub(super) fn expected(self) -> String {
        match self {
            Kind::Flag => "true or false".into(),
            Kind::Detail => format!("a whole number from 0 to {FLOW_DETAIL_MOST}"),
            Kind::Count(least, most) => format!("a whole number from {least} to {most}"),
            Kind::CountOrNull(most) => format!("a whole number from 1 to {most}, or null"),
            Kind::Seconds => {
                let (least, most) =
                    (OPTION_WAIT_SHORTEST.as_secs_f64(), OPTION_WAIT_LONGEST.as_secs());
                format!("seconds, a number from {least} to {most}")
            }
            Kind::Size => {
                "a size as \"512k\", \"16m\" or \"1g\", a number of bytes, or null".into()
            }
            Kind::StoreSize => {
                let (least, most) = (STORED_BYTES_LEAST >> 20, STORED_BYTES_MOST >> 30);
                format!(
                    "a size as \"512m\" or \"1g\", or a number of bytes, from {least}m to {most}g"
                )
            }
            Kind::Strategy => choices(&STRATEGIES),
            Kind::TlsVersion => choices(&TLS_VERSIONS),
            Kind::Filter => "a filter expression, or null".into(),
            Kind::Credentials => "\"user:password\", or null".into(),
            Kind::Hosts => "a list of regular expressions on host:port".into(),
            Kind::Patterns => "a list of regular expressions".into(),
            Kind::BlockRules => "a list of rules as \"/filter/status\"".into(),
        }
    }

    /// What a text on the command line stands for. `now` is the value that a list adds to. A text
    /// that cannot be of this type stays a text, which is then refused.
    pub(super) fn value_of_text(self, now: Value, text: &str) -> Value {
        let as_json = || serde_json::from_str::<Value>(text).ok();
        match self {
            Kind::Flag => as_json().filter(Value::is_boolean),
            Kind::CountOrNull(_) if text.is_empty() => Some(Value::Null),
            Kind::Detail | Kind::Seconds | Kind::Count(..) | Kind::CountOrNull(_) => {
                as_json().filter(Value::is_number)
            }
            Kind::Size | Kind::Filter | Kind::Credentials => text.is_empty().then_some(Value::Null),
            Kind::Hosts | Kind::Patterns | Kind::BlockRules => {
                let mut items = match now {
                    Value::Array(items) if !text.is_empty() => items,
                    _ => Vec::new(),
                };
                items.extend((!text.is_empty()).then(|| Value::from(text)));
                Some(Value::Array(items))
            }
            Kind::Strategy | Kind::TlsVersion | Kind::StoreSize => None,
        }
        .unwrap_or_else(|| Value::from(text))
    }
}

fn choices<T>(names: &[(&str, T)]) -> String {
    let names: Vec<_> = names.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    names.join(" or ")
}

pub(super) fn flag(value: &Value) -> Result<bool, Reason> {
    value.as_bool().ok_or_else(|| Reason::type_of(value))
}

pub(super) fn detail(value: &Value) -> Result<u8, Reason> {
    let detail = value.as_u64().and_then(|number| u8::try_from(number).ok());
    detail.filter(|detail| *detail <= FLOW_DETAIL_MOST).ok_or_else(|| Reason::type_of(value))
}

/// Reads a number within these bounds.
pub(super) fn count(value: &Value, least: usize, most: usize) -> Result<usize, Reason> {
    let count = value.as_u64().and_then(|number| usize::try_from(number).ok());
    count.filter(|count| (least..=most).contains(count)).ok_or_else(|| Reason::type_of(value))
}

/// Reads a number from 1 up to a bound, or null.
pub(super) fn count_or_null(value: &Value, most: usize) -> Result<Option<usize>, Reason> {
    if value.is_null() { Ok(None) } else { count(value, 1, most).map(Some) }
}

/// Reads seconds, to the millisecond, so that what is shown is what is in force.
pub(super) fn seconds(value: &Value) -> Result<Duration, Reason> {
    let read = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let allowed = OPTION_WAIT_SHORTEST..=OPTION_WAIT_LONGEST;
    read.filter(|wait| allowed.contains(wait))
        .map(|wait| Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
        .ok_or_else(|| Reason::type_of(value))
}

pub(super) fn show_seconds(wait: Duration) -> Value {
    if wait.subsec_nanos() == 0 {
        return wait.as_secs().into();
    }
    Number::from_f64(wait.as_secs_f64()).map_or(Value::Null, Value::Number)
}

/// Reads a size: `512k`, `16m`, `1g`, plain bytes, or none.
pub(super) fn size(value: &Value) -> Result<Option<u64>, Reason> {
    let read = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.eq_ignore_ascii_case("none") => return Ok(None),
        Value::String(text) => size_of_text(text),
        // A number beyond what there is stands for "all" in the options.
        other => other.as_u64(),
    };
    read.filter(|bytes| *bytes < u64::MAX).map(Some).ok_or_else(|| Reason::type_of(value))
}

/// Reads the size of the store.
pub(super) fn store_size(value: &Value) -> Result<usize, Reason> {
    let bytes = size(value)?.and_then(|bytes| usize::try_from(bytes).ok());
    let allowed = STORED_BYTES_LEAST..=STORED_BYTES_MOST;
    bytes.filter(|bytes| allowed.contains(bytes)).ok_or_else(|| Reason::type_of(value))
}

/// The units of sizes, the largest first.
const UNITS: [(char, u32); 3] = [('g', 30), ('m', 20), ('k', 10)];

fn size_of_text(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let unit = UNITS.iter().find_map(|(name, shift)| Some((text.strip_suffix(*name)?, *shift)));
    let (digits, shift) = unit.unwrap_or((text.as_str(), 0));
    // A sign is no part of a size, though Rust's own parser takes one.
    let number = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'))?;
    number.checked_mul(1 << shift)
}

pub(super) fn show_size(bytes: Option<u64>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    let whole = |shift: u32| bytes > 0 && bytes.trailing_zeros() >= shift;
    match UNITS.iter().find(|(_, shift)| whole(*shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift).into(),
        None => bytes.into(),
    }
}

pub(super) fn choice<T: Copy>(value: &Value, names: &[(&str, T)]) -> Result<T, Reason> {
    let found = names.iter().find(|(name, _)| value.as_str() == Some(name));
    found.map(|(_, choice)| *choice).ok_or_else(|| Reason::type_of(value))
}

pub(super) fn show_choice<T: PartialEq>(choice: T, names: &[(&str, T)]) -> Value {
    names.iter().find(|(_, it)| *it == choice).map_or(Value::Null, |(name, _)| (*name).into())
}

/// Reads a text that may be missing; one that is blank is.
pub(super) fn text(value: &Value) -> Result<Option<&str>, Reason> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => bounded(text).map(Some).map_err(Reason::Because),
        other => Err(Reason::type_of(other)),
    }
}

/// Reads credentials of Basic authentication (RFC 7617 section 2). No error repeats them.
pub(super) fn credentials(value: &Value) -> Result<Option<String>, Reason> {
    let Some(text) = text(value).map_err(|_| Reason::because("that is something else"))? else {
        return Ok(None);
    };
    match text.split_once(':') {
        None => Err(Reason::because("there is no colon after the user's name")),
        Some(_) if text.contains(char::is_control) => {
            Err(Reason::because("control characters cannot be sent in credentials"))
        }
        Some((_, MASK)) => {
            Err(Reason::because(format!("{MASK} stands for a password that is not shown")))
        }
        Some(_) => Ok(Some(text.to_owned())),
    }
}

/// Reads a list, of which `item` reads each text. What stands in its place among those that are
/// `known`, by their texts, is taken over: lists grow by one item at a time, and patterns take long
/// to compile.
pub(super) fn list<T: Clone>(
    value: &Value,
    known: &[T],
    text_of: impl Fn(&T) -> &str,
    item: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Reason> {
    let Value::Array(values) = value else { return Err(Reason::type_of(value)) };
    if values.len() > OPTION_ITEMS {
        return Err(Reason::because(format!("more than {OPTION_ITEMS} of them are not taken")));
    }
    let read = |(index, value): (usize, &Value)| {
        let Value::String(text) = value else { return Err(Reason::type_of(value)) };
        if let Some(same) = known.get(index).filter(|known| text_of(known) == text) {
            return Ok(same.clone());
        }
        let read = bounded(text).and_then(&item);
        read.map_err(|reason| Reason::because(format!("'{}': {reason}", short(text))))
    };
    values.iter().enumerate().map(read).collect()
}

fn bounded(text: &str) -> Result<&str, String> {
    match text.len() {
        ..=OPTION_TEXT_BYTES => Ok(text),
        _ => Err(format!("a text of more than {OPTION_TEXT_BYTES} bytes is not taken")),
    }
}
