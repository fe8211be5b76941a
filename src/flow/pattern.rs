//! Patterns in the dialect of Python's `re`, compiled for the `regex` crate.
//!
//! People know the dialect from mitmproxy, and `regex` reads parts of it differently: a bare `{`,
//! `\Z`, `$` before a last line end, `&&` in a set. So a pattern is parsed as Python does it and
//! written anew, with every literal escaped and every flag spelled out. What `regex` cannot do
//! (look-around, back-references, possessive quantifiers) is refused with a way around it.

use std::fmt;

use regex::{Regex, RegexBuilder, bytes};

use crate::flow::pattern::translate::translate;
use crate::limits::{BYTES_PATTERN_BYTES, PATTERN_CACHE_BYTES, TEXT_PATTERN_BYTES};

mod escape;
mod set;
mod translate;

/// How a pattern is read, beside the flags that it may set itself, as in `(?i)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// `^` and `$` are the beginning and the end of every line.
    pub multi_line: bool,
    /// `.` is any character, line ends included.
    pub dot_all: bool,
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// The character of the pattern at which it goes wrong, counted from 0.
    pub position: usize,
    /// The reason, and what to write instead where there is something.
    pub reason: String,
}

impl PatternError {
    fn new(position: usize, reason: impl Into<String>) -> Self {
        PatternError { position, reason: reason.into() }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {} of the pattern: {}", self.position, self.reason)
    }
}

impl std::error::Error for PatternError {}

/// What a pattern is matched against, in Python's terms a `str` or a `bytes` pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Units {
    /// Characters: classes and case are Unicode's.
    Characters,
    /// Bytes: classes and case are ASCII's, and a character beyond ASCII is several bytes.
    Bytes,
}

/// Compiles a pattern for text: classes and case are Unicode's.
///
/// # Errors
/// When it is no pattern in Python's dialect, or one that cannot be had here.
pub fn text_regex(pattern: &str, flags: Flags) -> Result<Regex, PatternError> {
    let translated = translate(pattern, flags, Units::Characters)?;
    RegexBuilder::new(&translated)
        .size_limit(TEXT_PATTERN_BYTES)
        .dfa_size_limit(PATTERN_CACHE_BYTES)
        .build()
        .map_err(refused)
}

/// Compiles a pattern for bytes: classes and case are ASCII's, `.` is one byte.
///
/// # Errors
/// When it is no pattern in Python's dialect, or one that cannot be had here.
pub fn bytes_regex(pattern: &str, flags: Flags) -> Result<bytes::Regex, PatternError> {
    let translated = translate(pattern, flags, Units::Bytes)?;
    bytes::RegexBuilder::new(&translated)
        .unicode(false)
        .size_limit(BYTES_PATTERN_BYTES)
        .dfa_size_limit(PATTERN_CACHE_BYTES)
        .build()
        .map_err(refused)
}

/// What `regex` itself does not take, which is no matter of syntax any more.
fn refused(error: regex::Error) -> PatternError {
    let reason = match error {
        regex::Error::CompiledTooBig(most) => format!(
            "compiled, the pattern takes more than {} KiB; use smaller repeat counts",
            most / 1024
        ),
        error => format!("the pattern cannot be compiled: {error}"),
    };
    PatternError::new(0, reason)
}

#[cfg(test)]
mod tests;
