//! Errors that end a command, each with a reason that a user can act on.

use std::fmt;

/// Why a command could not do its work, as one line for the user.
#[derive(Debug)]
pub struct Error {
    message: String,
    usage: bool,
}

impl Error {
    /// An error with this one-line message. It names what failed and what to do about it.
    pub fn new(message: impl Into<String>) -> Self {
        Error { message: message.into(), usage: false }
    }

    /// An error in how the command was called.
    pub fn usage(message: impl Into<String>) -> Self {
        Error { message: message.into(), usage: true }
    }

    /// Whether the command was called wrongly: the exit status is 2 then, else 1.
    pub fn is_usage(&self) -> bool {
        self.usage
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The result of whatever can end a command.
pub type Result<T> = std::result::Result<T, Error>;
