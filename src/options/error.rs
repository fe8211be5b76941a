//! Why an option is not set.

use std::fmt;

use serde_json::Value;

use crate::options::table::names;

/// Characters of a name or value from outside that an error repeats.
const REPEATED_CHARACTERS: usize = 80;

/// Why an option is not set. Nothing has changed then.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionError {
    /// There is no such option.
    Unknown {
        /// The name that was given.
        name: String,
        /// The option that was probably meant.
        near: Option<&'static str>,
    },
    /// It is decided on when the proxy starts.
    Fixed {
        /// The option.
        name: &'static str,
        /// Why, and what can be done instead.
        why: &'static str,
    },
    /// The value is refused.
    Refused {
        /// The option.
        name: &'static str,
        /// What it takes: its type, or the choices.
        expected: String,
        /// What is wrong with the value.
        reason: Reason,
        /// The value that stays in force, as users see it.
        in_force: Value,
    },
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not of the option's type, or not one of its choices; it is this, in short.
    Type(String),
    /// It is, but not acceptable.
    Because(String),
}

impl Reason {
    /// A value that is not of the right type.
    pub(super) fn type_of(value: &Value) -> Self {
        Reason::Type(short(&value.to_string()))
    }

    pub(super) fn because(reason: impl Into<String>) -> Self {
        Reason::Because(reason.into())
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionError::Unknown { name, near: Some(near) } => {
                write!(f, "there is no option '{}'; did you mean {near}?", short(name))
            }
            OptionError::Unknown { name, near: None } => {
                let names: Vec<_> = names().collect();
                write!(f, "there is no option '{}'; there are: {}", short(name), names.join(", "))
            }
            OptionError::Fixed { name, why } => write!(f, "{name} cannot be set here: {why}"),
            OptionError::Refused { name, expected, reason, in_force } => {
                let in_force = short(&in_force.to_string());
                match reason {
                    Reason::Type(given) => write!(f, "{name} takes {expected}, not {given}")?,
                    Reason::Because(reason) => write!(f, "{name} takes {expected}: {reason}")?,
                }
                write!(f, "; it stays {in_force}")
            }
        }
    }
}

impl std::error::Error for OptionError {}

/// Text from outside that an error can repeat.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(REPEATED_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
