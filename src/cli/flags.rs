//! The table of commands and flags. The parser, the help and the README's table are made of it.

use std::ffi::OsString;

use crate::error::{Error, Result};
use crate::near::nearest;

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
    /// `flowtap export`
    Export,
    /// `flowtap recover`
    Recover,
}

/// What a command is, in words.
#[derive(Debug)]
pub struct CommandText {
    /// The command.
    pub command: Command,
    /// Its name.
    pub name: &'static str,
    /// What follows the name.
    pub arguments: &'static str,
    /// One line.
    pub about: &'static str,
    /// Examples, a line each.
    pub examples: &'static str,
}

/// All commands.
pub const COMMANDS: [CommandText; 6] = [
    CommandText {
        command: Command::Proxy,
        name: "proxy",
        arguments: "[OPTIONS]",
        about: "Intercept traffic and capture it into a bundle",
        examples: "  flowtap proxy -o capture.zip\n  \
                   flowtap proxy -d 'api.example.com' -d '*.example.org' -o api.zip\n  \
                   curl -x http://127.0.0.1:8080 --cacert ~/.flowtap/flowtap-ca-cert.pem \
                   https://example.com/",
    },
    CommandText {
        command: Command::Mcp,
        name: "mcp",
        arguments: "[OPTIONS]",
        about: "Serve MCP on standard input and output, with a proxy or for one that runs already",
        examples: "  flowtap mcp\n  flowtap mcp -p 8081 -o api.zip -d 'api.example.com'\n  \
                   claude mcp add flowtap -- flowtap mcp",
    },
    CommandText {
        command: Command::Discover,
        name: "discover",
        arguments: "[OPTIONS]",
        about: "Pass everything through untouched and list the hosts seen",
        examples: "  flowtap discover -p 8080",
    },
    CommandText {
        command: Command::Inspect,
        name: "inspect",
        arguments: "[OPTIONS] BUNDLE",
        about: "Show what a bundle holds, or one trace of it in full",
        examples: "  flowtap inspect capture.zip\n  flowtap inspect capture.zip --trace t_0001",
    },
    CommandText {
        command: Command::Export,
        name: "export",
        arguments: "[OPTIONS] BUNDLE",
        about: "Write what a bundle holds, with all its parts, as HAR 1.2",
        examples: "  flowtap export capture.zip --har capture.har\n  \
                   flowtap export capture.zip --har - --redact",
    },
    CommandText {
        command: Command::Recover,
        name: "recover",
        arguments: "[OPTIONS] FILE",
        about: "Make a whole bundle of what a killed capture to FILE left behind",
        examples: "  flowtap recover capture.zip\n  \
                   flowtap recover capture.zip.journal-2 -o second.zip",
    },
];

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
    /// Its default, in words.
    pub default: &'static str,
    /// What it does: one sentence without a full stop.
    pub about: &'static str,
    /// The commands that take it.
    pub commands: &'static [Command],
}

const PROXY: &[Command] = &[Command::Proxy, Command::Mcp];
const ALL: &[Command] = &[Command::Proxy, Command::Mcp, Command::Discover];

/// All flags.
pub const FLAGS: &[Flag] = &[
    Flag {
        id: Id::Port,
        long: "port",
        short: Some('p'),
        value: "PORT",
        default: "8080",
        about: "Listen on this port; 0 picks a free one and prints it",
        commands: ALL,
    },
    Flag {
        id: Id::Listen,
        long: "listen",
        short: None,
        value: "ADDRESS",
        default: "127.0.0.1",
        about: "Listen on this address; anything but loopback lets other machines in",
        commands: ALL,
    },
    Flag {
        id: Id::Output,
        long: "output",
        short: Some('o'),
        value: "FILE",
        default: "capture.zip",
        about: "Write the bundle here; an older one stays until the new one is whole",
        commands: PROXY,
    },
    Flag {
        id: Id::Output,
        long: "output",
        short: Some('o'),
        value: "FILE",
        default: "where the capture wrote",
        about: "Write the recovered bundle here; what another capture has there stays, and the \
                bundle gets the next free name",
        commands: &[Command::Recover],
    },
    Flag {
        id: Id::NoOutput,
        long: "no-output",
        short: None,
        value: "",
        default: "",
        about: "Write no bundle",
        commands: PROXY,
    },
    Flag {
        id: Id::Domain,
        long: "domain",
        short: Some('d'),
        value: "PATTERN",
        default: "all",
        about: "Intercept only hosts that match, repeatable; the rest passes through untouched",
        commands: PROXY,
    },
    Flag {
        id: Id::Exclude,
        long: "exclude",
        short: Some('e'),
        value: "PATTERN",
        default: "none",
        about: "Pass hosts that match through untouched, repeatable; wins over -d",
        commands: PROXY,
    },
    Flag {
        id: Id::App,
        long: "app",
        short: None,
        value: "NAME",
        default: "the output's stem",
        about: "The application's name in the bundle's manifest",
        commands: PROXY,
    },
    Flag {
        id: Id::Confdir,
        long: "confdir",
        short: None,
        value: "FOLDER",
        default: "~/.flowtap",
        about: "Where the CA lives; it is made there on the first start",
        commands: PROXY,
    },
    Flag {
        id: Id::Ca,
        long: "ca",
        short: None,
        value: "FILE",
        default: "none",
        about: "Use the CA in this PEM file, which holds its key and its certificate",
        commands: PROXY,
    },
    Flag {
        id: Id::InsecureUpstream,
        long: "insecure-upstream",
        short: None,
        value: "",
        default: "",
        about: "Do not verify the certificates of origin servers",
        commands: PROXY,
    },
    Flag {
        id: Id::CaptureBodyLimit,
        long: "capture-body-limit",
        short: None,
        value: "SIZE",
        default: "16m",
        about: "Keep this much of each body, as 512k, 16m, 1g or none for no limit; what is \
                longer flows on, its copy is cut, and the trace says so",
        commands: PROXY,
    },
    Flag {
        id: Id::BundleTraces,
        long: "bundle-traces",
        short: None,
        value: "N",
        default: "9999",
        about: "Begin the bundle's next part after this many traces, 9999 at most",
        commands: PROXY,
    },
    Flag {
        id: Id::MaxFlows,
        long: "max-flows",
        short: None,
        value: "N",
        default: "1000",
        about: "Keep this many flows in memory for MCP; the oldest go first",
        commands: PROXY,
    },
    Flag {
        id: Id::NoRedact,
        long: "no-redact",
        short: None,
        value: "",
        default: "",
        about: "Show secrets in MCP replies instead of ***",
        commands: PROXY,
    },
    Flag {
        id: Id::Set,
        long: "set",
        short: None,
        value: "KEY=VALUE",
        default: "none",
        about: "Set an option of docs/options.md, repeatable; a key that is repeated makes a list",
        commands: PROXY,
    },
    Flag {
        id: Id::Loops,
        long: "loops",
        short: None,
        value: "N",
        default: "one a core, at most 4",
        about: "Serve with this many event loops, a thread each",
        commands: ALL,
    },
    Flag {
        id: Id::McpPort,
        long: "mcp-port",
        short: None,
        value: "PORT",
        default: "9011",
        about: "Serve MCP on this port of 127.0.0.1; 0 picks a free one, and so does the default \
                where it is taken",
        commands: PROXY,
    },
    Flag {
        id: Id::McpToken,
        long: "mcp-token",
        short: None,
        value: "TOKEN",
        default: "FLOWTAP_MCP_TOKEN, else none",
        about: "Serve MCP only to clients that send this as their bearer token; other users see \
                arguments, but not the environment",
        commands: PROXY,
    },
    Flag {
        id: Id::NoMcp,
        long: "no-mcp",
        short: None,
        value: "",
        default: "",
        about: "Serve no MCP on a port",
        commands: PROXY,
    },
    Flag {
        id: Id::Trace,
        long: "trace",
        short: None,
        value: "ID",
        default: "none",
        about: "Show this trace or WebSocket connection in full",
        commands: &[Command::Inspect],
    },
    Flag {
        id: Id::Har,
        long: "har",
        short: None,
        value: "FILE",
        default: "none",
        about: "Write HAR 1.2 here, in the place of an older file; - is the standard output",
        commands: &[Command::Export],
    },
    Flag {
        id: Id::Redact,
        long: "redact",
        short: None,
        value: "",
        default: "",
        about: "Mask passwords, tokens, cookies and other secrets",
        commands: &[Command::Export],
    },
];

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
            Value(argument) => arguments.push(argument),
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
    let found = COMMANDS.iter().find(|text| text.name == name);
    found.map(|text| text.command).ok_or_else(|| {
        let names: Vec<_> = COMMANDS.iter().map(|text| text.name).collect();
        Error::usage(format!("there is no command '{name}'; there are: {}", names.join(", ")))
    })
}

fn find_flag(command: Option<Command>, wanted: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
    let command = command?;
    FLAGS.iter().find(|flag| flag.commands.contains(&command) && wanted(flag))
}

fn unknown(command: Option<Command>, name: &str) -> Error {
    let Some(command) = command else {
        return Error::usage(format!("the option {name} must follow a command"));
    };
    let known = FLAGS.iter().filter(|flag| flag.commands.contains(&command));
    let near = name.strip_prefix("--").and_then(|name| nearest(name, known.map(|flag| flag.long)));
    let near = near.map(|long| format!("; did you mean --{long}?"));
    let command = text(command).name;
    Error::usage(format!("{command} has no option {name}{}", near.unwrap_or_default()))
}

/// The words about a command.
pub fn text(command: Command) -> &'static CommandText {
    let [proxy, mcp, discover, inspect, export, recover] = const { &COMMANDS };
    match command {
        Command::Proxy => proxy,
        Command::Mcp => mcp,
        Command::Discover => discover,
        Command::Inspect => inspect,
        Command::Export => export,
        Command::Recover => recover,
    }
}

/// The help of a command, or of flowtap.
pub fn help(command: Option<Command>) -> String {
    let Some(command) = command else {
        let mut help = format!(
            "flowtap {}\nAn intercepting HTTP/HTTPS proxy that captures traffic into a bundle\n\n\
             Usage: flowtap COMMAND [OPTIONS]\n\nCommands:\n",
            env!("CARGO_PKG_VERSION")
        );
        for text in &COMMANDS {
            help.push_str(&format!("  {:<10} {}\n", text.name, text.about));
        }
        help.push_str(
            "\nOptions:\n  -h, --help     Show help, of a command where it follows one\n  \
             -V, --version  Show the version\n\nExample:\n  flowtap proxy -o capture.zip\n",
        );
        return help;
    };
    let text = text(command);
    let mut help = format!("{}\n\nUsage: flowtap {} {}\n", text.about, text.name, text.arguments);
    help.push_str("\nOptions:\n");
    for flag in FLAGS.iter().filter(|flag| flag.commands.contains(&command)) {
        let default = match flag.default {
            "" | "none" => String::new(),
            default => format!(" [default: {default}]"),
        };
        help.push_str(&format!("  {}\n          {}{default}\n", spelled(flag), flag.about));
    }
    help.push_str("  -h, --help\n          Show this help\n");
    help.push_str(&format!("\nExamples:\n{}\n", text.examples));
    help
}

/// A flag with both forms and its value.
fn spelled(flag: &Flag) -> String {
    let short = flag.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
    let value = if flag.value.is_empty() { String::new() } else { format!(" {}", flag.value) };
    format!("{short}--{}{value}", flag.long)
}

/// The README's table of options.
pub fn readme_table() -> String {
    let mut table = String::from("| option | default | commands | meaning |\n|---|---|---|---|\n");
    for flag in FLAGS {
        let commands: Vec<_> = flag.commands.iter().map(|it| text(*it).name).collect();
        let option = format!("`{}`", spelled(flag).trim_start());
        table.push_str(&format!(
            "| {option} | {} | {} | {} |\n",
            flag.default,
            commands.join(", "),
            flag.about
        ));
    }
    table
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
        for command in COMMANDS.map(|text| text.command) {
            assert_eq!(text(command).command, command);
            let help = help(Some(command));
            assert!(help.contains("Examples:"));
            for flag in FLAGS.iter().filter(|flag| flag.commands.contains(&command)) {
                assert!(help.contains(flag.long) && help.contains(flag.about));
                assert!(!flag.about.is_empty() && !flag.about.ends_with('.'));
            }
        }
    }
}
