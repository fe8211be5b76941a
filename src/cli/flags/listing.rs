//! The commands with their flags, as the help, the man page and the completions list them.

use super::{Command, CommandText, Flag};
use crate::cli::completions::SHELLS;

/// A command with its flags.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The command; a name of two words has the name of another entry before the blank.
    pub text: &'static CommandText,
    /// Its flags.
    pub flags: Vec<&'static Flag>,
}

/// What an argument that is no option can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Nothing that a shell knows.
    Any,
    /// The name of a file.
    Files,
    /// One of these words.
    Choices(Vec<&'static str>),
    /// A program, and then what that takes.
    Program,
}

/// All commands.
pub fn entries() -> Vec<Entry> {
    let entry =
        |command: &Command| Entry { text: command.text(), flags: command.flags().collect() };
    Command::ALL.iter().map(entry).collect()
}

impl Entry {
    /// What its arguments can be, by how they are called.
    pub fn operand(&self, all: &[Entry]) -> Operand {
        let called = |word: &str| self.text.arguments.split([' ', '[', ']']).any(|it| it == word);
        if called("SHELL") {
            Operand::Choices(SHELLS.iter().map(|(name, _)| *name).collect())
        } else if called("COMMAND") && !called("--") && self.subcommands(all).is_empty() {
            Operand::Choices(under("", all).iter().map(|entry| entry.word()).collect())
        } else if self.text.runs_program {
            Operand::Program
        } else if called("BUNDLE") || called("FILE") {
            Operand::Files
        } else {
            Operand::Any
        }
    }

    /// The commands of which this is all but the last word.
    pub fn subcommands<'a>(&self, all: &'a [Entry]) -> Vec<&'a Entry> {
        under(self.text.name, all)
    }

    /// The last word of its name.
    pub fn word(&self) -> &'static str {
        self.text.name.rsplit(' ').next().unwrap_or_default()
    }
}

/// The commands whose names have one word more than `name`.
pub(crate) fn under<'a>(name: &str, all: &'a [Entry]) -> Vec<&'a Entry> {
    let before = |entry: &&Entry| entry.text.name.rsplit_once(' ').map_or("", |(it, _)| it) == name;
    all.iter().filter(before).collect()
}

/// A made-up table with what the real one may have: names of two words, programs, choices.
#[cfg(test)]
pub(crate) fn made_up() -> Vec<Entry> {
    use super::{Id, Values};
    const FLAGS: &[Flag] = &[
        Flag::new(Id::Confdir, "confdir", "FOLDER")
            .about("It's a [folder]: $x")
            .takes(Values::Folders),
        Flag::new(Id::App, "format", "FORMAT")
            .about("Write `pem` or \"der\"")
            .takes(Values::Choices(&["pem", "der"])),
        Flag::new(Id::NoMcp, "quiet", "").short('q').about(".Say nothing\\"),
    ];
    const fn text(name: &'static str, arguments: &'static str, program: bool) -> CommandText {
        let about = "Tell what's there";
        CommandText { name, arguments, about, examples: "  flowtap\n.x", runs_program: program }
    }
    const TEXTS: &[CommandText] = &[
        text("ca", "[COMMAND] [OPTIONS]", false),
        text("ca export", "[OPTIONS]", false),
        text("ca exhume", "[OPTIONS] FILE", false),
        text("run", "[OPTIONS] -- COMMAND", true),
    ];
    TEXTS.iter().map(|text| Entry { text, flags: FLAGS.iter().collect() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_two_words_stands_under_its_first() {
        let all = made_up();
        let names = |entries: Vec<&Entry>| entries.iter().map(|it| it.word()).collect::<Vec<_>>();
        assert_eq!(names(under("", &all)), ["ca", "run"]);
        assert_eq!(names(all[0].subcommands(&all)), ["export", "exhume"]);
        assert!(names(all[3].subcommands(&all)).is_empty());
    }

    #[test]
    fn operands_are_known_by_what_they_are_called() {
        let all = made_up();
        let of = |at: usize| all[at].operand(&all);
        assert_eq!((of(0), of(2), of(3)), (Operand::Any, Operand::Files, Operand::Program));
        let real = entries();
        let of = |name| real.iter().find(|it| it.text.name == name).unwrap().operand(&real);
        assert_eq!((of("inspect"), of("recover")), (Operand::Files, Operand::Files));
        assert_eq!(of("proxy"), Operand::Any);
        let shells = vec!["bash", "zsh", "fish", "powershell"];
        assert_eq!(of("completions"), Operand::Choices(shells));
    }
}
