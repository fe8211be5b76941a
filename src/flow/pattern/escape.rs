//! What follows a backslash.

use crate::flow::pattern::translate::{BACK_REFERENCE, Translator};
use crate::flow::pattern::{PatternError, Units};

/// What an escape stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Escape {
    /// A character, or a byte as the Latin-1 character.
    Literal(char),
    /// A place, written for `regex`.
    Anchor(&'static str),
    /// A class.
    Class(Class),
}

/// A class that has a letter: `\d`, `\w`, `\s` and their opposites.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    kind: Kind,
    pub(super) negated: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Digit,
    Space,
    Word,
}

impl Class {
    /// What is in the class, or in its opposite where it is negated, written for a set of `regex`.
    /// Python's word characters are not quite those of Unicode's recommendation, and its spaces
    /// have the four separators of ASCII.
    pub(super) fn members(self, ascii: bool) -> &'static str {
        match (self.kind, ascii) {
            (Kind::Digit, true) => "0-9",
            (Kind::Digit, false) => r"\p{Nd}",
            (Kind::Space, true) => r"\x09-\x0D\x20",
            (Kind::Space, false) => r"\s\x1C-\x1F",
            (Kind::Word, true) => "0-9A-Za-z_",
            (Kind::Word, false) => r"\p{L}\p{N}_",
        }
    }
}

fn class_of(letter: char) -> Option<Class> {
    let kind = match letter.to_ascii_lowercase() {
        'd' => Kind::Digit,
        's' => Kind::Space,
        'w' => Kind::Word,
        _ => return None,
    };
    Some(Class { kind, negated: letter.is_ascii_uppercase() })
}

impl Translator {
    /// Reads an escape whose backslash, at `position`, has been taken.
    pub(super) fn escape(&mut self, position: usize, in_set: bool) -> Result<Escape, PatternError> {
        let Some(letter) = self.next() else {
            let reason = "a backslash stands at the end; for the character itself write \\\\";
            return Err(PatternError::new(position, reason));
        };
        if let Some(class) = class_of(letter) {
            return Ok(Escape::Class(class));
        }
        if let Some(anchor) = self.anchor(letter).filter(|_| !in_set) {
            return Ok(Escape::Anchor(anchor));
        }
        let literal = match letter {
            'a' => '\x07',
            'b' if in_set => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.hexadecimal(2, position)?,
            'u' if self.units == Units::Characters => self.hexadecimal(4, position)?,
            'U' if self.units == Units::Characters => self.hexadecimal(8, position)?,
            'N' if self.units == Units::Characters => {
                let reason = "characters cannot be given by name; write \\u and four hexadecimal \
                              digits";
                return Err(PatternError::new(position, reason));
            }
            '0'..='9' => self.octal(letter, position, in_set)?,
            'A'..='Z' | 'a'..='z' => {
                let reason = format!("\\{letter} has no meaning; for the letter write {letter}");
                return Err(PatternError::new(position, reason));
            }
            itself => itself,
        };
        Ok(Escape::Literal(literal))
    }

    fn anchor(&self, letter: char) -> Option<&'static str> {
        match letter {
            'A' => Some(r"\A"),
            'Z' | 'z' => Some(r"\z"),
            'b' if self.mode.ascii => Some(r"(?-u:\b)"),
            'b' => Some(r"\b"),
            // Among characters an ASCII one could fall between the bytes of a character.
            'B' if self.units == Units::Bytes => Some(r"(?-u:\B)"),
            'B' => Some(r"\B"),
            _ => None,
        }
    }

    fn hexadecimal(&mut self, digits: usize, position: usize) -> Result<char, PatternError> {
        let mut value = 0;
        for _ in 0..digits {
            let Some(digit) = self.peek().and_then(|next| next.to_digit(16)) else {
                let reason = format!("{digits} hexadecimal digits are expected here");
                return Err(PatternError::new(position, reason));
            };
            self.next();
            value = value << 4 | digit;
        }
        let no_character = || PatternError::new(position, "this is the number of no character");
        char::from_u32(value).ok_or_else(no_character)
    }

    /// An octal escape. As in Python, one or two digits that begin with no 0 are a back-reference
    /// outside of a set.
    fn octal(&mut self, first: char, position: usize, in_set: bool) -> Result<char, PatternError> {
        let mut value = first.to_digit(8);
        let mut digits = 1;
        while let Some(digit) = self.peek().and_then(|next| next.to_digit(8)).filter(|_| digits < 3)
        {
            self.next();
            digits += 1;
            value = value.map(|value| value << 3 | digit);
        }
        let Some(value) = value.filter(|_| in_set || first == '0' || digits == 3) else {
            return Err(PatternError::new(position, BACK_REFERENCE));
        };
        let too_large = || PatternError::new(position, "an octal escape is 377 at most");
        u8::try_from(value).map(char::from).map_err(|_| too_large())
    }
}
