//! What a configuration file says: keys that are called as the flags are, each with its line.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::flags::{Command, FLAGS, Flag, Id};
use crate::error::Error;
use crate::near::nearest;

/// What is wrong in a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) words: String,
}

impl Fault {
    /// The error about it in this file.
    pub(super) fn of(self, path: &Path) -> Error {
        Error::usage(format!("{}:{}: {}", path.display(), self.line, self.words))
    }
}

/// A key with what stands behind it.
#[derive(Debug)]
pub(super) struct Key {
    /// The command of its table; `None` at the top of the file.
    pub(super) command: Option<Command>,
    pub(super) name: String,
    pub(super) line: usize,
    value: Plain,
}

/// A value, with the line of each of its parts.
#[derive(Clone, Debug)]
enum Plain {
    Switch(bool),
    Number(i64),
    Word(String),
    List(Vec<(Plain, usize)>),
    Table(Vec<(String, Plain, usize)>),
    Other,
}

/// Reads all keys, and checks that there are such flags and what they take.
pub(super) fn read(text: &str) -> Result<Vec<Key>, Fault> {
    let lines = Lines::new(text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| lines.of(&span));
        // What stands in later lines of the message is where it stands.
        let words = error.message().lines().next().unwrap_or_default().to_owned();
        Fault { line, words }
    })?;
    let mut keys = Vec::new();
    walk(table.get_ref(), None, &lines, &mut keys)?;
    Ok(keys)
}

/// Where the lines of a text end, in order.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines(ends.map(|(at, _)| at).collect())
    }

    /// The line in which something begins, from 1 on.
    fn of(&self, span: &Range<usize>) -> usize {
        self.0.partition_point(|end| *end < span.start) + 1
    }
}

fn walk(
    table: &DeTable<'_>,
    command: Option<Command>,
    lines: &Lines,
    keys: &mut Vec<Key>,
) -> Result<(), Fault> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        let line = lines.of(&name.span());
        let name = name.get_ref().as_ref();
        if let (DeValue::Table(below), Some(found)) = (value.get_ref(), below(command, name)) {
            walk(below, Some(found), lines, keys)?;
            continue;
        }
        let key = Key { command, name: name.to_owned(), line, value: plain(value, lines) };
        key.check()?;
        keys.push(key);
    }
    Ok(())
}

/// The command whose table is called so, at the top or inside that of another.
fn below(command: Option<Command>, name: &str) -> Option<Command> {
    let whole = match command {
        Some(command) => format!("{} {name}", command.text().name),
        None => name.to_owned(),
    };
    Command::ALL.iter().copied().find(|command| command.text().name == whole)
}

fn plain(value: &Spanned<DeValue<'_>>, lines: &Lines) -> Plain {
    match value.get_ref() {
        DeValue::Boolean(on) => Plain::Switch(*on),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            number.map_or(Plain::Other, Plain::Number)
        }
        // As it is written: options take fractions of seconds.
        DeValue::Float(number) => Plain::Word(number.as_str().to_owned()),
        DeValue::String(text) => Plain::Word(text.clone().into_owned()),
        DeValue::Array(all) => {
            Plain::List(all.iter().map(|it| (plain(it, lines), lines.of(&it.span()))).collect())
        }
        DeValue::Table(all) => {
            let mut all: Vec<_> = all.iter().collect();
            all.sort_by_key(|(name, _)| name.span().start);
            let entry = |(name, value): (&Spanned<std::borrow::Cow<'_, str>>, &_)| {
                let line = lines.of(&name.span());
                (name.get_ref().clone().into_owned(), plain(value, lines), line)
            };
            Plain::Table(all.into_iter().map(entry).collect())
        }
        DeValue::Datetime(_) => Plain::Other,
    }
}

impl Plain {
    /// As a word of the command line.
    fn word(&self) -> Option<String> {
        match self {
            Plain::Number(number) => Some(number.to_string()),
            Plain::Word(word) => Some(word.clone()),
            _ => None,
        }
    }

    /// As the value of an option.
    fn option(&self) -> Option<String> {
        if let Plain::Switch(on) = self { Some(on.to_string()) } else { self.word() }
    }
}

impl Key {
    /// The flag's values, each with its line; none for a switch that is off.
    ///
    /// # Errors
    /// What the flag takes, when this is none.
    pub(super) fn words(&self, flag: &Flag) -> Result<Vec<(OsString, usize)>, &'static str> {
        let line = self.line;
        match (&self.value, flag) {
            (Plain::Table(all), Flag { id: Id::Set, .. }) => pairs(all),
            (Plain::Switch(on), Flag { value: "", .. }) => {
                Ok(on.then(|| (OsString::new(), line)).into_iter().collect())
            }
            (Plain::Number(times @ 0..=9), Flag { value: "", repeats: true, .. }) => {
                Ok((0..*times).map(|_| (OsString::new(), line)).collect())
            }
            (_, Flag { value: "", .. }) => Err("true or false"),
            (Plain::List(all), Flag { repeats: true, .. }) => {
                let word = |(value, line): &(Plain, usize)| Some((value.word()?.into(), *line));
                all.iter().map(word).collect::<Option<_>>().ok_or("a list of strings")
            }
            (value, flag) => {
                let word = value.word().map(|word| vec![(word.into(), line)]);
                word.ok_or(match flag {
                    Flag { id: Id::Set, .. } => "a table, or a list of strings as \"KEY=VALUE\"",
                    Flag { repeats: true, .. } => "a string, or a list of strings",
                    _ => "a string or a whole number",
                })
            }
        }
    }

    /// Checks that there is such a flag, and that it takes such a value.
    fn check(&self) -> Result<(), Fault> {
        let fault = |words: String| Fault { line: self.line, words };
        let name = &self.name;
        if [Id::Config, Id::NoConfig]
            .iter()
            .any(|id| FLAGS.iter().any(|flag| flag.id == *id && flag.long == name))
        {
            return Err(fault(format!("{name} has a meaning on the command line only")));
        }
        let known = || {
            FLAGS
                .iter()
                .filter(|flag| self.command.is_none_or(|command| flag.commands.contains(&command)))
        };
        let mut takes = None;
        for flag in known().filter(|flag| flag.long == name) {
            match self.words(flag) {
                Ok(_) => return Ok(()),
                Err(wanted) => takes = Some(wanted),
            }
        }
        if let Some(wanted) = takes {
            return Err(fault(format!("{name} takes {wanted}")));
        }
        let place = self.command.map_or("flowtap has no option".to_owned(), |command| {
            format!("{} has no option", command.text().name)
        });
        let commands = Command::ALL.iter().filter(|_| self.command.is_none());
        let tables = commands.map(|command| command.text().name);
        let near = nearest(name, known().map(|flag| flag.long).chain(tables));
        let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        Err(fault(format!("{place} {name}{near}")))
    }
}

/// The pairs of a table of options, as the command line has them.
fn pairs(all: &[(String, Plain, usize)]) -> Result<Vec<(OsString, usize)>, &'static str> {
    const TAKES: &str = "a table of true, false, numbers, strings and lists of strings";
    let mut pairs = Vec::new();
    for (key, value, line) in all {
        match value {
            // An empty value empties a list.
            Plain::List(words) if words.is_empty() => pairs.push((format!("{key}=").into(), *line)),
            Plain::List(words) => {
                for (word, line) in words {
                    let word = word.option().ok_or(TAKES)?;
                    pairs.push((format!("{key}={word}").into(), *line));
                }
            }
            value => {
                let word = value.option().ok_or(TAKES)?;
                pairs.push((format!("{key}={word}").into(), *line));
            }
        }
    }
    Ok(pairs)
}
