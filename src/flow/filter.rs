//! Filter expressions: mitmproxy's language, compiled once.
//!
//! ```text
//! filter   = or { or }            one behind the other is AND, of the lowest precedence
//! or       = and { "|" and }
//! and      = not { "&" not }
//! not      = "!" not | primary
//! primary  = "(" filter ")" | "~" name | "~" name value | "~c" digits | value
//! value    = word | 'quoted' | "quoted"
//! ```
//!
//! A value alone is a pattern for the URL. Patterns are those of [`crate::flow::pattern`]. The
//! answer has three values, because a loop asks before a message's body has come.

use std::fmt;

use crate::flow::filter::operator::Test;
use crate::flow::filter::parse::Parser;
use crate::flow::filter::subject::Subject;
use crate::flow::view::FlowView;

mod head;
mod operator;
mod parse;
mod subject;

/// A compiled filter expression.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    root: Node,
    operator_word: Option<String>,
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
    /// When it does not parse, holds a pattern that cannot be compiled, or is larger than
    /// [`crate::limits`] allows.
    pub fn parse(text: &str) -> Result<Option<Filter>, FilterError> {
        let root = Parser::new(text)?.parse()?;
        let filter = |(root, operator_word)| Filter { text: text.to_owned(), root, operator_word };
        Ok(root.map(filter))
    }

    /// The first `and`, `or` or `not` that stands without quotes or an operator, as it is written.
    /// It is looked for in URLs, which hardly anybody means: a rule with it would never speak.
    pub fn operator_word(&self) -> Option<&str> {
        self.operator_word.as_deref()
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a flow matches; `None` while that depends on a body that is still to come.
    ///
    /// What is not asked for is not looked at: only an expression with a `~b` that decides reads
    /// or decodes a body.
    pub fn evaluate(&self, flow: &FlowView<'_>) -> Option<bool> {
        self.root.evaluate(&Subject::new(flow))
    }

    /// Whether an answer can depend on a body at all, a WebSocket message included.
    pub fn reads_body(&self) -> bool {
        self.root.reads_body()
    }

    /// Whether a flow matches as far as it has come.
    pub fn matches(&self, flow: &FlowView<'_>) -> bool {
        self.evaluate(flow) == Some(true)
    }
}

/// A part of an expression.
#[derive(Clone, Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test(Test),
}

impl Node {
    /// Kleene's logic: what is unknown leaves an answer unknown only if it could change it.
    fn evaluate(&self, flow: &Subject<'_>) -> Option<bool> {
        match self {
            Node::All(parts) => first(parts.iter().map(|part| part.evaluate(flow)), false),
            Node::Any(parts) => first(parts.iter().map(|part| part.evaluate(flow)), true),
            Node::Not(part) => part.evaluate(flow).map(|answer| !answer),
            Node::Test(test) => test.evaluate(flow),
        }
    }

    /// Whether bodies may have to be looked at.
    fn reads_body(&self) -> bool {
        match self {
            Node::All(parts) | Node::Any(parts) => parts.iter().any(Node::reads_body),
            Node::Not(part) => part.reads_body(),
            Node::Test(test) => test.reads_body(),
        }
    }
}

/// `decisive` if one of the answers is, else unknown if one is, else the opposite.
fn first(answers: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for answer in answers {
        match answer {
            Some(answer) if answer == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

#[cfg(test)]
mod tests;
