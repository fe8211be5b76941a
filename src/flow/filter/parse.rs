//! The parser of filter expressions.

use crate::flow::filter::operator::{BytesField, OPERATORS, Operator, Statuses, Test, TextField};
use crate::flow::filter::{FilterError, Node};
use crate::flow::pattern::{PatternError, bytes_regex, text_regex};
use crate::limits::{FILTER_CHARS, FILTER_NESTING, FILTER_PATTERNS};
use crate::near::nearest;

/// A parser on its way through an expression.
#[derive(Debug)]
pub(super) struct Parser {
    chars: Vec<char>,
    at: usize,
    /// Parentheses that are open.
    depth: usize,
    patterns: usize,
    /// The first word without quotes that is an operator in other languages.
    operator_word: Option<String>,
}

/// A value behind an operator, quotes and their escapes undone.
struct Value {
    text: String,
    /// Where each of its characters stands in the expression.
    positions: Vec<usize>,
    /// Where it ends there.
    end: usize,
}

type Parsed = Result<Node, FilterError>;

impl Parser {
    /// # Errors
    /// When the expression is too long.
    pub(super) fn new(text: &str) -> Result<Self, FilterError> {
        let chars: Vec<char> = text.chars().take(FILTER_CHARS + 1).collect();
        if chars.len() > FILTER_CHARS {
            let reason = format!("an expression has at most {FILTER_CHARS} characters");
            return Err(FilterError { position: FILTER_CHARS, reason });
        }
        Ok(Parser { chars, at: 0, depth: 0, patterns: 0, operator_word: None })
    }

    /// Parses all of it, and gives the first word without quotes that is an operator in other
    /// languages; `None` when it is blank.
    pub(super) fn parse(mut self) -> Result<Option<(Node, Option<String>)>, FilterError> {
        self.skip_blanks();
        if self.peek().is_none() {
            return Ok(None);
        }
        let root = self.filter()?;
        match self.peek() {
            None => Ok(Some((root, self.operator_word))),
            Some(_) => Err(refused(
                self.at,
                "this parenthesis closes nothing; in a pattern it must be quoted, as in '\\\\)'",
            )),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Whether a sign comes next; it is taken, with the blanks around it.
    fn eat(&mut self, sign: char) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(sign);
        if found {
            self.at += 1;
            self.skip_blanks();
        }
        found
    }

    /// Whether no operand can come any more.
    fn at_end(&mut self) -> bool {
        self.skip_blanks();
        matches!(self.peek(), None | Some(')'))
    }

    /// Operands, until the end or a closing parenthesis.
    fn filter(&mut self) -> Parsed {
        let mut parts = vec![self.or()?];
        while !self.at_end() {
            parts.push(self.or()?);
        }
        Ok(joined(parts, Node::All))
    }

    fn or(&mut self) -> Parsed {
        let mut parts = vec![self.and()?];
        while self.eat('|') {
            self.operand('|')?;
            parts.push(self.and()?);
        }
        Ok(joined(parts, Node::Any))
    }

    fn and(&mut self) -> Parsed {
        let mut parts = vec![self.not()?];
        while self.eat('&') {
            self.operand('&')?;
            parts.push(self.not()?);
        }
        Ok(joined(parts, Node::All))
    }

    fn not(&mut self) -> Parsed {
        let mut negated = false;
        while self.eat('!') {
            self.operand('!')?;
            negated = !negated;
        }
        let operand = self.primary()?;
        Ok(if negated { Node::Not(Box::new(operand)) } else { operand })
    }

    /// Asserts that something comes behind a sign.
    fn operand(&mut self, sign: char) -> Result<(), FilterError> {
        if self.at_end() {
            let reason = format!("an operand is expected behind {sign}: {OPERAND}");
            return Err(refused(self.at, reason));
        }
        Ok(())
    }

    fn primary(&mut self) -> Parsed {
        match self.peek() {
            Some('(') => self.group(),
            Some('~') => self.operator(),
            first => {
                let value = self.value(|| format!("here is expected {OPERAND}"))?;
                let is_word = !matches!(first, Some('"' | '\''));
                let is = |word: &str| value.text.eq_ignore_ascii_case(word);
                if is_word && self.operator_word.is_none() && OPERATOR_WORDS.into_iter().any(is) {
                    self.operator_word = Some(value.text.clone());
                }
                self.text(TextField::Url, &value)
            }
        }
    }

    fn group(&mut self) -> Parsed {
        let opening = self.at;
        if self.depth == FILTER_NESTING {
            let reason = format!("more than {FILTER_NESTING} parentheses are open");
            return Err(refused(opening, reason));
        }
        self.depth += 1;
        self.at += 1;
        self.operand('(')?;
        let inner = self.filter()?;
        if !self.eat(')') {
            return Err(refused(opening, "this parenthesis is not closed"));
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn operator(&mut self) -> Parsed {
        let start = self.at;
        self.at += 1;
        let name = self.take_while(|letter| letter.is_ascii_alphabetic());
        let known = OPERATORS.iter().find(|(known, _)| *known == name);
        let Some((name, operator)) = known else {
            return Err(refused(start, unknown(&name)));
        };
        match *operator {
            Operator::Is(fact) => Ok(Node::Test(Test::Is(fact))),
            Operator::Status => self.status(),
            Operator::Text(field) => {
                let value = self.pattern_of(name)?;
                self.text(field, &value)
            }
            Operator::Bytes(field) => {
                let value = self.pattern_of(name)?;
                self.bytes(field, &value)
            }
        }
    }

    /// A status, or a class of statuses. What else stands at a number would be looked for in URLs,
    /// which nobody means.
    fn status(&mut self) -> Parsed {
        self.skip_blanks();
        let start = self.at;
        let digits = self.take_while(|letter| letter.is_ascii_digit());
        let rest = self.take_while(|letter| is_of_word(letter) && !matches!(letter, '&' | '|'));
        let number = digits.parse().ok();
        let statuses = match (digits.len(), rest.to_ascii_lowercase().as_str()) {
            (1.., "") => Statuses::One(number),
            (1, "xx" | "..") => Statuses::Class(number.unwrap_or_default()),
            _ => return Err(refused(start, STATUS)),
        };
        Ok(Node::Test(Test::Status(statuses)))
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(letter) = self.peek().filter(|letter| wanted(*letter)) {
            taken.push(letter);
            self.at += 1;
        }
        taken
    }

    fn pattern_of(&mut self, name: &str) -> Result<Value, FilterError> {
        self.skip_blanks();
        self.value(|| {
            format!(
                "~{name} needs a pattern: a word, or a text in quotes where it has blanks, \
                 quotes, ( ) or ~"
            )
        })
    }

    fn text(&mut self, field: TextField, value: &Value) -> Parsed {
        self.count_pattern(value)?;
        let regex = text_regex(&value.text, field.flags()).map_err(|error| value.error(error))?;
        Ok(Node::Test(Test::Text(field, regex)))
    }

    fn bytes(&mut self, field: BytesField, value: &Value) -> Parsed {
        self.count_pattern(value)?;
        let regex = bytes_regex(&value.text, field.flags()).map_err(|error| value.error(error))?;
        Ok(Node::Test(Test::Bytes(field, regex)))
    }

    fn count_pattern(&mut self, value: &Value) -> Result<(), FilterError> {
        self.patterns += 1;
        if self.patterns > FILTER_PATTERNS {
            let reason = format!(
                "an expression has at most {FILTER_PATTERNS} patterns; one pattern can have \
                 alternatives, as in 'a|b'"
            );
            return Err(refused(value.start(), reason));
        }
        Ok(())
    }

    /// A word or a quoted text.
    fn value(&mut self, expected: impl FnOnce() -> String) -> Result<Value, FilterError> {
        let mut value = Value { text: String::new(), positions: Vec::new(), end: self.at };
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote, &mut value)?,
            _ => {
                while let Some(letter) = self.peek().filter(|letter| is_of_word(*letter)) {
                    value.push(letter, self.at);
                    self.at += 1;
                }
                if value.text.is_empty() {
                    return Err(refused(self.at, expected()));
                }
            }
        }
        value.end = self.at;
        Ok(value)
    }

    fn quoted(&mut self, quote: char, value: &mut Value) -> Result<(), FilterError> {
        let opening = self.at;
        self.at += 1;
        loop {
            let at = self.at;
            self.at += 1;
            match self.chars.get(at).copied() {
                Some(end) if end == quote => return Ok(()),
                Some('\\') => {
                    let Some(escaped) = self.peek().filter(|escaped| *escaped != '\n') else {
                        return Err(refused(opening, unterminated(quote)));
                    };
                    self.at += 1;
                    value.push(unescaped(escaped), at);
                }
                None | Some('\n' | '\r') => {
                    return Err(refused(opening, unterminated(quote)));
                }
                Some(plain) => value.push(plain, at),
            }
        }
    }
}

impl Value {
    fn push(&mut self, letter: char, position: usize) {
        self.text.push(letter);
        self.positions.push(position);
    }

    fn start(&self) -> usize {
        self.positions.first().copied().unwrap_or(self.end)
    }

    /// A pattern's mistake as one of the expression.
    fn error(&self, error: PatternError) -> FilterError {
        let position = self.positions.get(error.position).copied().unwrap_or(self.end);
        let PatternError { position: inside, reason } = error;
        FilterError { position, reason: format!("character {inside} of the pattern: {reason}") }
    }
}

fn refused(position: usize, reason: impl Into<String>) -> FilterError {
    FilterError { position, reason: reason.into() }
}

/// Words that stand between operands elsewhere; here they are looked for in URLs, as all words.
const OPERATOR_WORDS: [&str; 3] = ["and", "or", "not"];

const STATUS: &str = "~c needs a status code or a class, as in ~c 404 or ~c 5xx";

const OPERAND: &str = "an operator (~u, ~b, …), a pattern for the URL, or ( )";

/// One operand as it is, several under a node.
fn joined(mut parts: Vec<Node>, node: fn(Vec<Node>) -> Node) -> Node {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            // The order does not change the answer, and often a head decides already.
            parts.sort_by_key(Node::reads_body);
            node(parts)
        }
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

fn is_of_word(letter: char) -> bool {
    !is_blank(letter) && !matches!(letter, '(' | ')' | '~' | '\'' | '"')
}

/// What an escape in quotes stands for: a few control characters, else the character itself.
fn unescaped(escaped: char) -> char {
    match escaped {
        't' => '\t',
        'n' => '\n',
        'f' => '\x0c',
        'r' => '\r',
        itself => itself,
    }
}

fn unterminated(quote: char) -> String {
    format!(
        "this quote is not closed on its line; inside of {quote}…{quote} write \\{quote} for the \
         quote itself"
    )
}

fn unknown(name: &str) -> String {
    let names: Vec<_> = OPERATORS.iter().map(|(name, _)| *name).collect();
    // Everything is near to a name of one or two letters.
    let near = nearest(name, names.iter().copied()).filter(|_| name.len() > 2);
    let near = near.map(|near| format!(" (did you mean ~{near}?)")).unwrap_or_default();
    format!("there is no operator ~{name}{near}; the operators are ~{}", names.join(" ~"))
}
