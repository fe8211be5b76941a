//! Regular expressions on `host:port`: the patterns of `allow_hosts` and `ignore_hosts`.

use regex::Regex;

use crate::flow::pattern::{Flags, text_regex};

/// A regular expression that is searched in `host:port`, without regard to case.
#[derive(Clone, Debug)]
pub struct HostRegex {
    text: String,
    regex: Regex,
}

impl HostRegex {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When it cannot be compiled: where and why.
    pub fn new(text: &str) -> Result<Self, String> {
        let flags = Flags { ignore_case: true, ..Flags::default() };
        let regex = text_regex(text, flags).map_err(|error| error.to_string())?;
        Ok(HostRegex { text: text.to_owned(), regex })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is found in this `host:port`.
    pub fn matches(&self, host_and_port: &str) -> bool {
        self.regex.is_match(host_and_port)
    }
}
