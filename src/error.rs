//! Errors that end a command, each with a reason that a user can act on.

use std::fmt;

/// Why a command could not do its work, as one line for the user.
#[derive(Debug)]
pub struct Error {
    message: String,
    status: u8,
}

impl Error {
    /// An error with this one-line message. It names what failed and what to do about it.
    pub fn new(message: impl Into<String>) -> Self {
        Error { message: message.into(), status: 1 }
    }

    /// An error in how the command was called.
    pub fn usage(message: impl Into<String>) -> Self {
        Error { message: message.into(), status: 2 }
    }

    /// Everything worked, and what was asked to be checked did not hold.
    pub fn unmet(message: impl Into<String>) -> Self {
        Error { message: message.into(), status: 3 }
    }

    /// The exit status: 2 when the command was called wrongly, 3 when a check did not hold, 1 when
    /// it could not do its work.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Whether everything worked, and a check did not hold.
    pub fn is_unmet(&self) -> bool {
        self.status == 3
    }

    /// Whether the command was called wrongly.
    pub fn is_usage(&self) -> bool {
        self.status == 2
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
