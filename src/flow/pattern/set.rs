//! Sets in brackets. Unlike `regex`, Python knows no sets inside of sets and no operations on
//! them, so `[`, `&&`, `--` and `~~` are plain characters.

use crate::flow::pattern::PatternError;
use crate::flow::pattern::escape::Escape;
use crate::flow::pattern::translate::Translator;

impl Translator {
    /// Reads a set whose opening bracket, at `position`, has been taken, and writes it.
    pub(super) fn set(&mut self, position: usize) -> Result<(), PatternError> {
        let opening = if self.eat('^') { "[^" } else { "[" };
        self.out.push_str(opening);
        let mut first = true;
        loop {
            let at = self.position();
            let Some(next) = self.next() else {
                return Err(PatternError::new(position, "this bracket is not closed"));
            };
            if next == ']' && !first {
                self.out.push(']');
                return Ok(());
            }
            first = false;
            let low = self.member(next, at)?;
            match low {
                Escape::Literal(low) if self.begins_range() => self.range(low, at)?,
                Escape::Class(_) if self.begins_range() => {
                    let reason = "a range goes from one character to another, and not from a class";
                    return Err(PatternError::new(at, reason));
                }
                low => self.write_member(low),
            }
        }
    }

    /// Whether a hyphen comes that is not the last of the set.
    fn begins_range(&self) -> bool {
        self.peek() == Some('-') && self.peek_second() != Some(']')
    }

    fn range(&mut self, low: char, at: usize) -> Result<(), PatternError> {
        self.next();
        let position = self.position();
        let Some(next) = self.next() else {
            return Err(PatternError::new(position, "the range and its bracket are not closed"));
        };
        match self.member(next, position)? {
            Escape::Literal(high) if low <= high => {
                self.literal(low);
                self.out.push('-');
                self.literal(high);
                Ok(())
            }
            Escape::Literal(_) => {
                let reason = "the range goes backwards; a hyphen itself is written \\-";
                Err(PatternError::new(at, reason))
            }
            _ => {
                let reason = "a range ends in a character; a hyphen itself is written \\-";
                Err(PatternError::new(at, reason))
            }
        }
    }

    fn member(&mut self, next: char, at: usize) -> Result<Escape, PatternError> {
        if next == '\\' { self.escape(at, true) } else { Ok(Escape::Literal(next)) }
    }

    fn write_member(&mut self, member: Escape) {
        match member {
            Escape::Literal(literal) => self.literal(literal),
            Escape::Class(class) => {
                let members = class.members(self.mode.ascii);
                self.out.push_str(if class.negated { "[^" } else { "" });
                self.out.push_str(members);
                self.out.push_str(if class.negated { "]" } else { "" });
            }
            // There are none in sets.
            Escape::Anchor(_) => {}
        }
    }
}
