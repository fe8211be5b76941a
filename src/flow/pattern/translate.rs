//! From Python's dialect to that of `regex`: one pass, as Python's own parser makes it.

use std::fmt::Write;

use crate::flow::pattern::escape::Escape;
use crate::flow::pattern::{Flags, PatternError, Units};
use crate::limits::{PATTERN_CHARS, PATTERN_NESTING};

/// Writes a pattern anew for `regex`, which must be built with `unicode(false)` for
/// [`Units::Bytes`].
pub(super) fn translate(pattern: &str, flags: Flags, units: Units) -> Result<String, PatternError> {
    let chars = pattern.chars().count();
    if chars > PATTERN_CHARS {
        let reason = format!("the pattern has {chars} characters, more than {PATTERN_CHARS}");
        return Err(PatternError::new(PATTERN_CHARS, reason));
    }
    let mut translator = Translator::new(pattern, flags, units);
    translator.run()?;
    let case = if translator.mode.flags.ignore_case { "(?i)" } else { "" };
    Ok(format!("{case}{}", translator.out))
}

/// One thing that a pattern is made of: a character, or a byte as the Latin-1 character.
#[derive(Clone, Copy, Debug)]
struct Unit {
    value: char,
    /// The character of the pattern that it belongs to.
    position: usize,
}

/// The flags in force at one place of a pattern.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mode {
    pub(super) flags: Flags,
    /// White space and comments are skipped.
    verbose: bool,
    /// Classes and case are ASCII's.
    pub(super) ascii: bool,
}

/// What stands before the place that is read, for the quantifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// The beginning of the pattern, of a group or of an alternative.
    Nothing,
    /// What has no width.
    Anchor,
    /// What can be repeated.
    Item,
    /// What is repeated already.
    Repeated,
}

/// A group that is not closed yet.
#[derive(Debug)]
struct Group {
    position: usize,
    /// The mode around it.
    outer: Mode,
}

/// The state of the pass.
#[derive(Debug)]
pub(super) struct Translator {
    pattern: Vec<Unit>,
    at: usize,
    length: usize,
    pub(super) units: Units,
    pub(super) mode: Mode,
    pub(super) out: String,
    groups: Vec<Group>,
    names: Vec<String>,
    before: Before,
    /// Whether nothing but flags and comments came so far.
    at_start: bool,
}

impl Translator {
    fn new(pattern: &str, flags: Flags, units: Units) -> Self {
        let mut parts = Vec::with_capacity(pattern.len());
        for (position, value) in pattern.chars().enumerate() {
            match units {
                Units::Characters => parts.push(Unit { value, position }),
                Units::Bytes => {
                    let mut utf_8 = [0; 4];
                    let bytes = value.encode_utf8(&mut utf_8).bytes();
                    parts.extend(bytes.map(|byte| Unit { value: byte.into(), position }));
                }
            }
        }
        Translator {
            pattern: parts,
            at: 0,
            length: pattern.chars().count(),
            units,
            mode: Mode { flags, ascii: units == Units::Bytes, ..Mode::default() },
            out: String::with_capacity(2 * pattern.len()),
            groups: Vec::new(),
            names: Vec::new(),
            before: Before::Nothing,
            at_start: true,
        }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.pattern.get(self.at).map(|unit| unit.value)
    }

    pub(super) fn peek_second(&self) -> Option<char> {
        self.pattern.get(self.at + 1).map(|unit| unit.value)
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// The character of the pattern that is read next.
    pub(super) fn position(&self) -> usize {
        self.pattern.get(self.at).map_or(self.length, |unit| unit.position)
    }

    fn run(&mut self) -> Result<(), PatternError> {
        loop {
            let position = self.position();
            let Some(next) = self.next() else { break };
            match next {
                '(' => self.open(position)?,
                _ if self.mode.verbose && self.skipped(next) => {}
                _ => {
                    self.at_start = false;
                    self.step(next, position)?;
                }
            }
        }
        match self.groups.pop() {
            Some(group) => Err(PatternError::new(group.position, "this parenthesis is not closed")),
            None => Ok(()),
        }
    }

    fn step(&mut self, next: char, position: usize) -> Result<(), PatternError> {
        match next {
            '|' => self.put("|", Before::Nothing),
            ')' => self.close(position)?,
            '[' => {
                self.set(position)?;
                self.before = Before::Item;
            }
            '.' if self.mode.flags.dot_all => self.put("(?s:.)", Before::Item),
            '.' => self.put(r"[^\n]", Before::Item),
            '^' if self.mode.flags.multi_line => self.put("(?m:^)", Before::Anchor),
            '^' => self.put(r"\A", Before::Anchor),
            '$' if self.mode.flags.multi_line => self.put("(?m:$)", Before::Anchor),
            // Python's matches before a last line end, too.
            '$' => self.put(r"(?:\n?\z)", Before::Anchor),
            '*' | '+' | '?' | '{' => self.quantifier(next, position)?,
            '\\' => self.escaped(position)?,
            literal => self.put_literal(literal),
        }
        Ok(())
    }

    fn put(&mut self, text: &str, then: Before) {
        self.out.push_str(text);
        self.before = then;
    }

    fn put_literal(&mut self, literal: char) {
        self.literal(literal);
        self.before = Before::Item;
    }

    /// Writes one character or byte, inside of a set or outside.
    pub(super) fn literal(&mut self, literal: char) {
        if literal.is_ascii_alphanumeric() || u32::from(literal) > 0xff {
            self.out.push(literal);
        } else {
            // With `unicode(false)` this is a byte. Writing to a String cannot fail.
            let _ = write!(self.out, "\\x{:02X}", u32::from(literal));
        }
    }

    /// White space, and a comment up to the end of its line, in a verbose pattern.
    fn skipped(&mut self, next: char) -> bool {
        if next == '#' {
            self.skip_behind('\n');
            return true;
        }
        matches!(next, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
    }

    /// Skips a comment and the end that it has, unless a backslash stands before that; whether
    /// there was one.
    fn skip_behind(&mut self, end: char) -> bool {
        while let Some(skipped) = self.next() {
            if skipped == end {
                return true;
            }
            if skipped == '\\' {
                self.next();
            }
        }
        false
    }

    fn escaped(&mut self, position: usize) -> Result<(), PatternError> {
        match self.escape(position, false)? {
            Escape::Literal(literal) => self.put_literal(literal),
            Escape::Anchor(anchor) => self.put(anchor, Before::Anchor),
            Escape::Class(class) => {
                self.out.push_str(if class.negated { "[^" } else { "[" });
                self.out.push_str(class.members(self.mode.ascii));
                self.put("]", Before::Item);
            }
        }
        Ok(())
    }

    fn quantifier(&mut self, sign: char, position: usize) -> Result<(), PatternError> {
        let written = match sign {
            '{' => match self.counts(position)? {
                Some(counts) => counts,
                None => {
                    self.put_literal('{');
                    return Ok(());
                }
            },
            sign => sign.to_string(),
        };
        match self.before {
            Before::Item => {}
            Before::Repeated => {
                let reason = "two quantifiers stand behind each other; put the first one and what \
                              it repeats in (?: )";
                return Err(PatternError::new(position, reason));
            }
            Before::Nothing | Before::Anchor => {
                let reason = format!(
                    "there is nothing before the quantifier that it could repeat; for the \
                     character itself write \\{sign}"
                );
                return Err(PatternError::new(position, reason));
            }
        }
        self.put(&written, Before::Repeated);
        if self.eat('?') {
            self.out.push('?');
        } else if self.peek() == Some('+') {
            let reason = "possessive quantifiers are not available; leave the + away, a search \
                          never takes long here";
            return Err(PatternError::new(self.position(), reason));
        }
        Ok(())
    }

    /// Counts in braces behind the brace; `None` and nothing taken where it is a plain brace.
    fn counts(&mut self, position: usize) -> Result<Option<String>, PatternError> {
        let start = self.at;
        if self.peek() == Some('}') {
            return Ok(None);
        }
        let low = self.digits();
        let (comma, high) = match self.eat(',') {
            true => (true, self.digits()),
            false => (false, String::new()),
        };
        if !self.eat('}') {
            self.at = start;
            return Ok(None);
        }
        let number = |digits: &str| match digits.parse::<u32>() {
            Ok(number) if number < u32::MAX => Ok(number),
            _ => Err(PatternError::new(position, "the repeat count is too large")),
        };
        let least = if low.is_empty() { 0 } else { number(&low)? };
        if !comma {
            return Ok(Some(format!("{{{least}}}")));
        }
        if high.is_empty() {
            return Ok(Some(format!("{{{least},}}")));
        }
        let most = number(&high)?;
        if most < least {
            let reason = "the first repeat count is greater than the second";
            return Err(PatternError::new(position, reason));
        }
        Ok(Some(format!("{{{least},{most}}}")))
    }

    fn digits(&mut self) -> String {
        let mut digits = String::new();
        while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
            digits.push(digit);
            self.at += 1;
        }
        digits
    }

    /// What follows an opening parenthesis: a group, a comment, flags for the whole pattern.
    fn open(&mut self, position: usize) -> Result<(), PatternError> {
        let (opening, mode) = match self.extension(position)? {
            Extension::Skipped => return Ok(()),
            Extension::Group { opening, mode } => (opening, mode),
        };
        if self.groups.len() == PATTERN_NESTING {
            let reason = format!("more than {PATTERN_NESTING} groups stand inside each other");
            return Err(PatternError::new(position, reason));
        }
        self.at_start = false;
        self.groups.push(Group { position, outer: self.mode });
        self.mode = mode;
        self.put(&opening, Before::Nothing);
        Ok(())
    }

    fn close(&mut self, position: usize) -> Result<(), PatternError> {
        let Some(group) = self.groups.pop() else {
            let reason = "this parenthesis closes nothing; for the character itself write \\)";
            return Err(PatternError::new(position, reason));
        };
        self.mode = group.outer;
        self.put(")", Before::Item);
        Ok(())
    }

    fn extension(&mut self, position: usize) -> Result<Extension, PatternError> {
        let group = |opening: &str, mode| Extension::Group { opening: opening.to_owned(), mode };
        if !self.eat('?') {
            return Ok(group("(", self.mode));
        }
        let refused = |reason: &str| Err(PatternError::new(position, reason));
        match self.next() {
            Some(':') => Ok(group("(?:", self.mode)),
            Some('P') => self.named(position),
            Some('#') if self.skip_behind(')') => Ok(Extension::Skipped),
            Some('#') => refused("this comment is not closed"),
            Some('=' | '!') => refused(LOOK_AROUND),
            Some('<') if matches!(self.peek(), Some('=' | '!')) => refused(LOOK_AROUND),
            Some('<') => refused("there is no (?<; a named group is written (?P<name>…)"),
            Some('(') => refused(BACK_REFERENCE),
            Some('>') => refused("atomic groups (?>…) are not available; write (?:…)"),
            Some(flag) if flag == '-' || is_flag(flag) => self.flags(flag, position),
            Some(other) => refused(&format!("there is no group that begins with (?{other}")),
            None => refused("this parenthesis is not closed"),
        }
    }

    /// `(?P<name>` or what else begins so.
    fn named(&mut self, position: usize) -> Result<Extension, PatternError> {
        match self.next() {
            Some('<') => {}
            Some('=') => return Err(PatternError::new(position, BACK_REFERENCE)),
            _ => {
                let reason = "(?P must be followed by <name> of a group";
                return Err(PatternError::new(position, reason));
            }
        }
        let start = self.position();
        let mut name = String::new();
        loop {
            match self.next() {
                Some('>') => break,
                Some(letter) => name.push(letter),
                None => {
                    return Err(PatternError::new(start, "this group name has no > at its end"));
                }
            }
        }
        let starts_well = |first: char| first == '_' || first.is_alphabetic();
        let well = name.chars().next().is_some_and(starts_well)
            && name.chars().all(|letter| letter == '_' || letter.is_alphanumeric());
        if !well || self.units == Units::Bytes && !name.is_ascii() {
            let reason = "a group name is made of letters, digits and _, and begins with no digit";
            return Err(PatternError::new(start, reason));
        }
        if self.names.contains(&name) {
            let reason = format!("there is a group of the name {name} already");
            return Err(PatternError::new(start, reason));
        }
        // Names beyond ASCII differ in the two dialects; nobody asks for them, only for numbers.
        let opening = if name.is_ascii() { format!("(?P<{name}>") } else { "(".to_owned() };
        self.names.push(name);
        Ok(Extension::Group { opening, mode: self.mode })
    }

    /// Flags behind `(?`: of the whole pattern, or of a group.
    fn flags(&mut self, first: char, position: usize) -> Result<Extension, PatternError> {
        let mut mode = self.mode;
        let mut on = true;
        let mut next = Some(first);
        loop {
            match next {
                Some('-') if on => on = false,
                Some(flag) if is_flag(flag) => self.set_flag(&mut mode, flag, on)?,
                Some(':') => break,
                Some(')') if on && self.at_start => {
                    self.mode = mode;
                    return Ok(Extension::Skipped);
                }
                Some(')') if on => {
                    let reason = "flags for the whole pattern stand at its beginning; for a part \
                                  of it write (?i:…)";
                    return Err(PatternError::new(position, reason));
                }
                _ => {
                    let reason = "flags are a, i, m, s, u and x, as in (?i) or (?i:…) or (?-i:…)";
                    return Err(PatternError::new(position, reason));
                }
            }
            next = self.next();
        }
        let case = if mode.flags.ignore_case { "(?i:" } else { "(?-i:" };
        Ok(Extension::Group { opening: case.to_owned(), mode })
    }

    fn set_flag(&self, mode: &mut Mode, flag: char, on: bool) -> Result<(), PatternError> {
        let position = self.position().saturating_sub(1);
        match flag {
            'i' => mode.flags.ignore_case = on,
            'm' => mode.flags.multi_line = on,
            's' => mode.flags.dot_all = on,
            'x' => mode.verbose = on,
            'a' if on => mode.ascii = true,
            'u' if on && self.units == Units::Characters => mode.ascii = false,
            'u' if on => {
                let reason = "the flag u cannot be had here: this pattern is matched with bytes";
                return Err(PatternError::new(position, reason));
            }
            _ => {
                let reason = format!("the flag {flag} cannot be switched so");
                return Err(PatternError::new(position, reason));
            }
        }
        Ok(())
    }
}

/// What an opening parenthesis begins.
enum Extension {
    /// Nothing: a comment, or flags, which have been read.
    Skipped,
    /// A group with its own mode.
    Group { opening: String, mode: Mode },
}

fn is_flag(flag: char) -> bool {
    matches!(flag, 'i' | 'm' | 's' | 'x' | 'a' | 'u' | 'L')
}

const LOOK_AROUND: &str = "look-around, (?=…) (?!…) (?<=…) (?<!…), is not available; match the \
                           text around it too, or ask with two patterns, as in `~b foo & !~b bar`";
pub(super) const BACK_REFERENCE: &str =
    "back-references, \\1 (?P=name) (?(1)…), are not available; write out what may be repeated";
