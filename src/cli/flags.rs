//! The table of commands and flags. The parser, the help, the man page, the completions of shells
//! and the README's table are made of it.

use std::ffi::OsString;

use crate::error::{Error, Result};
use crate::near::nearest;

mod commands;
mod help;
mod listing;
mod table;

pub use help::{help, help_within, readme_table};
pub(crate) use listing::under;
pub use listing::{Entry, Operand, entries};
pub use table::FLAGS;

/// A command of flowtap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `flowtap proxy`
    Proxy,
    /// `flowtap mcp`
    Mcp,
    /// `flowtap discover`
    Discover,
    /// `flowtap inspect`
    Inspect,
    /// `flowtap check`
    Check,
    /// `flowtap export`
    Export,
    /// `flowtap recover`
    Recover,
    /// `flowtap config`
    Config,
    /// `flowtap completions`
    Completions,
    /// `flowtap man`
    Man,
}

impl Command {
    /// All of them, as the help lists them.
    pub const ALL: &[Command] = &[
        Command::Proxy,
        Command::Mcp,
        Command::Discover,
        Command::Inspect,
        Command::Check,
        Command::Export,
        Command::Recover,
        Command::Config,
        Command::Completions,
        Command::Man,
    ];

    /// What it is, in words.
    pub fn text(self) -> &'static CommandText {
        match self {
            Command::Proxy => &commands::PROXY,
            Command::Mcp => &commands::MCP,
            Command::Discover => &commands::DISCOVER,
            Command::Inspect => &commands::INSPECT,
            Command::Check => &commands::CHECK,
            Command::Export => &commands::EXPORT,
            Command::Recover => &commands::RECOVER,
            Command::Config => &commands::CONFIG,
            Command::Completions => &commands::COMPLETIONS,
            Command::Man => &commands::MAN,
        }
    }

    /// The flags that it takes, as the help lists them.
    pub fn flags(self) -> impl Iterator<Item = &'static Flag> {
        FLAGS.iter().filter(move |flag| flag.commands.contains(&self))
    }
}

/// What a command is, in words.
#[derive(Debug)]
pub struct CommandText {
    /// Its name.
    pub name: &'static str,
    /// What follows the name.
    pub arguments: &'static str,
    /// One line.
    pub about: &'static str,
    /// Examples, a line each.
    pub examples: &'static str,
    /// Whether its first argument is a program, and all that follows is for that.
    pub runs_program: bool,
}

/// Names a flag in the parser's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// `--port`
    Port,
    /// `--listen`
    Listen,
    /// `--output`
    Output,
    /// `--no-output`
    NoOutput,
    /// `--domain`
    Domain,
    /// `--exclude`
    Exclude,
    /// `--app`
    App,
    /// `--confdir`
    Confdir,
    /// `--ca`
    Ca,
    /// `--insecure-upstream`
    InsecureUpstream,
    /// `--capture-body-limit`
    CaptureBodyLimit,
    /// `--bundle-traces`
    BundleTraces,
    /// `--max-flows`
    MaxFlows,
    /// `--no-redact`
    NoRedact,
    /// `--set`
    Set,
    /// `--loops`
    Loops,
    /// `--mcp-port`
    McpPort,
    /// `--mcp-token`
    McpToken,
    /// `--no-mcp`
    NoMcp,
    /// `--trace`
    Trace,
    /// `--har`
    Har,
    /// `--redact`
    Redact,
    /// `--filter`
    Filter,
    /// `--fail-on`
    FailOn,
    /// `--require`
    Require,
    /// `--junit`
    Junit,
    /// `--github`
    Github,
    /// `--config`
    Config,
    /// `--no-config`
    NoConfig,
    /// `--json`
    Json,
}

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Names it.
    pub id: Id,
    /// The long form, without dashes.
    pub long: &'static str,
    /// The short form.
    pub short: Option<char>,
    /// What its value is called; empty for a switch.
    pub value: &'static str,
    /// What its value can be, as far as a shell can complete it.
    pub values: Values,
    /// Its default, in words.
    pub default: &'static str,
    /// What it does: one sentence without a full stop.
    pub about: &'static str,
    /// Whether it may be given more than once, each time for one more.
    pub repeats: bool,
    /// The commands that take it.
    pub commands: &'static [Command],
}

/// What the value of a flag can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Anything.
    Any,
    /// The name of a file.
    Files,
    /// The name of a folder.
    Folders,
    /// One of these words.
    Choices(&'static [&'static str]),
}

impl Flag {
    /// A flag in its long form, and what its value is called; a switch has none.
    const fn new(id: Id, long: &'static str, value: &'static str) -> Flag {
        Flag {
            id,
            long,
            short: None,
            value,
            values: Values::Any,
            default: "",
            about: "",
            repeats: false,
            commands: &[],
        }
    }

    const fn short(mut self, letter: char) -> Flag {
        self.short = Some(letter);
        self
    }

    const fn takes(mut self, values: Values) -> Flag {
        self.values = values;
        self
    }

    const fn default(mut self, words: &'static str) -> Flag {
        self.default = words;
        self
    }

    const fn about(mut self, words: &'static str) -> Flag {
        self.about = words;
        self
    }

    const fn repeats(mut self) -> Flag {
        self.repeats = true;
        self
    }

    const fn of(mut self, commands: &'static [Command]) -> Flag {
        self.commands = commands;
        self
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// A command with its flags and other arguments, in order.
    Run {
        /// The command.
        command: Command,
        /// Its flags; the value is empty for switches.
        flags: Vec<(Id, OsString)>,
        /// Arguments that are no flags.
        arguments: Vec<OsString>,
    },
    /// The help of one command, or of flowtap.
    Help(Option<Command>),
    /// The version.
    Version,
}

/// Reads a command line, without the program's name. Looks nothing up and checks no value.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut command = None;
    let mut flags = Vec::new();
    let mut arguments = Vec::new();
    while let Some(word) = parser.next().map_err(usage)? {
        use lexopt::Arg::{Long, Short, Value};
        match word {
            Short('h') | Long("help") => return Ok(Request::Help(command)),
            Short('V') | Long("version") if command.is_none() => return Ok(Request::Version),
            Value(name) if command.is_none() => {
                // People come from `spectral capture proxy` and may keep typing it.
                if name != "capture" {
                    command = Some(find_command(&name.to_string_lossy())?);
                }
            }
            Value(argument) => {
                arguments.push(argument);
                if command.is_some_and(|command| command.text().runs_program) {
                    arguments.extend(parser.raw_args().map_err(usage)?);
                }
            }
            Short(letter) => {
                let flag = find_flag(command, |flag| flag.short == Some(letter));
                let flag = flag.ok_or_else(|| unknown(command, &format!("-{letter}")))?;
                flags.push((flag.id, value(&mut parser, flag)?));
            }
            Long(name) => {
                let name = name.to_owned();
                let flag = find_flag(command, |flag| flag.long == name);
                let flag = flag.ok_or_else(|| unknown(command, &format!("--{name}")))?;
                flags.push((flag.id, value(&mut parser, flag)?));
            }
        }
    }
    match command {
        Some(command) => Ok(Request::Run { command, flags, arguments }),
        None => Ok(Request::Help(None)),
    }
}

fn value(parser: &mut lexopt::Parser, flag: &Flag) -> Result<OsString> {
    match flag.value {
        "" => Ok(OsString::new()),
        _ => parser.value().map_err(usage),
    }
}

fn usage(error: lexopt::Error) -> Error {
    Error::usage(error.to_string())
}

fn find_command(name: &str) -> Result<Command> {
    let found = Command::ALL.iter().find(|command| command.text().name == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = Command::ALL.iter().map(|command| command.text().name).collect();
        Error::usage(format!("there is no command '{name}'; there are: {}", names.join(", ")))
    })
}

fn find_flag(command: Option<Command>, wanted: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
    command?.flags().find(|flag| wanted(flag))
}

fn unknown(command: Option<Command>, name: &str) -> Error {
    let Some(command) = command else {
        return Error::usage(format!("the option {name} must follow a command"));
    };
    let known = command.flags().map(|flag| flag.long);
    let near = name.strip_prefix("--").and_then(|name| nearest(name, known));
    let near = near.map(|long| format!("; did you mean --{long}?"));
    let command = command.text().name;
    Error::usage(format!("{command} has no option {name}{}", near.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn run(line: &str) -> (Command, Vec<(Id, OsString)>, Vec<OsString>) {
        match words(line).unwrap() {
            Request::Run { command, flags, arguments } => (command, flags, arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn short_long_and_joined_forms() {
        let expected = vec![(Id::Port, "1".into()), (Id::Domain, "a".into())];
        for line in ["proxy -p 1 -d a", "proxy -p1 -da", "proxy --port=1 --domain a"] {
            assert_eq!(run(line), (Command::Proxy, expected.clone(), Vec::new()), "{line}");
        }
        let inspect = (Command::Inspect, vec![(Id::Trace, "t_1".into())], vec!["x.zip".into()]);
        assert_eq!(run("inspect x.zip --trace t_1"), inspect);
    }

    #[test]
    fn the_word_capture_changes_nothing() {
        assert_eq!(run("capture proxy -p 1"), run("proxy -p 1"));
        assert_eq!(run("capture inspect x"), run("inspect x"));
    }

    #[test]
    fn help_and_version() {
        assert_eq!(words("").unwrap(), Request::Help(None));
        assert_eq!(words("--help").unwrap(), Request::Help(None));
        assert_eq!(words("proxy -h").unwrap(), Request::Help(Some(Command::Proxy)));
        assert_eq!(words("-V").unwrap(), Request::Version);
    }

    #[test]
    fn what_does_not_exist_is_named_with_what_is_near() {
        let error = |line| words(line).unwrap_err().to_string();
        assert!(error("proxi").contains("'proxi'"));
        assert!(error("proxy --prot 1").contains("--port"));
        assert!(error("proxy --outputt x").contains("--output"));
        assert!(error("discover --output x").contains("discover has no option --output"));
        assert!(error("proxy --port").contains("--port"));
        assert!(error("-p 1").contains("-p"));
    }

    #[test]
    fn every_command_and_flag_has_its_words() {
        for &command in Command::ALL {
            let help = help(Some(command));
            assert!(help.contains("Examples:"));
            for flag in command.flags() {
                assert!(help.contains(flag.long) && help.contains(flag.about));
                assert!(!flag.about.is_empty() && !flag.about.ends_with('.'));
            }
        }
    }
}
