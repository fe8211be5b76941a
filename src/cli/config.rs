//! `flowtap config`: what is in force for a command, and who says so.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::files::{self, Given, Origin, VARIABLES, Value, set_key};
use super::flags::{self, Command, Flag, Id, Request};
use super::results;
use super::settings::{self, Flags};
use super::words::visible;
use crate::error::Result;

/// What is shown of a secret.
const MASK: &str = "***";

/// Shows what is in force for the command that the arguments are a line of; for `proxy` if there
/// are none.
///
/// # Errors
/// When a file or the line says what the command would refuse. What is in force is shown first, if
/// the files could be read.
pub(super) fn run(given: &Given) -> Result<()> {
    let mut words = given.arguments.clone();
    if words.is_empty() {
        words.push("proxy".into());
    }
    let mut as_json = given.values.iter().any(|value| value.id == Id::Json);
    if !flags_named(&words).any(|flag| flag.long == "json") {
        let before = words.len();
        words.retain(|word| word != "--json");
        as_json |= words.len() < before;
    }
    let (command, flags, arguments) = match flags::parse(words)? {
        Request::Run { command, flags, arguments } => {
            // Which files are read may be said before the command, too.
            let own = given.values.iter().filter(|value| value.id != Id::Json);
            let own = own.map(|value| (value.id, value.value.clone()));
            (command, own.chain(flags).collect(), arguments)
        }
        Request::Help(_) | Request::Version => {
            let help = flags::help_within(Some(Command::Config), super::status::columns());
            return results::print(help.as_bytes());
        }
    };
    let given = files::gather(command, flags, arguments)?;
    let text = if as_json { in_json(command, &given) } else { in_toml(command, &given) };
    results::print(text.as_bytes())?;
    given.read(|flags, arguments| {
        let (flags, arguments) = completed(command, flags, arguments);
        settings::judge(command, flags, arguments)
    })
}

/// A line with what its command needs and nobody has said, which is no fault here.
fn completed(
    command: Command,
    mut flags: Flags,
    mut arguments: Vec<OsString>,
) -> (Flags, Vec<OsString>) {
    let has = |ids: &[Id]| flags.iter().any(|(id, _)| ids.contains(id));
    let flag = match command {
        Command::Check if !has(&[Id::FailOn, Id::Require]) => Some((Id::Require, "~all")),
        Command::Export if !has(&[Id::Har, Id::JsonLines, Id::OpenApi, Id::Html, Id::Curl]) => {
            Some((Id::Har, "-"))
        }
        _ => None,
    };
    flags.extend(flag.map(|(id, value)| (id, value.into())));
    let argument = match command {
        Command::Run => Some("true"),
        Command::Inspect | Command::Check | Command::Export | Command::Recover => {
            Some("capture.zip")
        }
        Command::Completions => Some("bash"),
        _ => None,
    };
    if arguments.is_empty() {
        arguments.extend(argument.map(OsString::from));
    }
    (flags, arguments)
}

/// The flags of the command that a line is of.
fn flags_named(words: &[OsString]) -> impl Iterator<Item = &'static Flag> {
    let parsed = flags::parse(words.iter().filter(|word| *word != "--json").cloned());
    let command = match parsed {
        Ok(Request::Run { command, .. }) => Some(command),
        _ => None,
    };
    command.into_iter().flat_map(Command::flags)
}

/// What is in force of a flag.
enum InForce<'a> {
    Given(Vec<&'a Value>),
    Variable(&'static str),
    Default,
}

fn in_force<'a>(flag: &Flag, given: &'a Given) -> InForce<'a> {
    let values: Vec<_> = given.values.iter().filter(|value| value.id == flag.id).collect();
    let variable = VARIABLES.iter().find(|(id, _)| *id == flag.id).map(|(_, name)| *name);
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match variable.filter(is_set) {
        _ if !values.is_empty() && flag.repeats => InForce::Given(values),
        // The last one wins.
        _ if !values.is_empty() => {
            InForce::Given(values.into_iter().next_back().into_iter().collect())
        }
        Some(name) => InForce::Variable(name),
        None => InForce::Default,
    }
}

/// A value as others may see it.
fn shown(flag: &Flag, value: &Value) -> String {
    let text = value.value.to_string_lossy();
    if ["token", "password"].iter().any(|secret| flag.long.contains(secret)) {
        return MASK.to_owned();
    }
    if flag.id == Id::Set && set_key(&value.value) == "proxyauth" {
        return format!("proxyauth={MASK}");
    }
    let is_proxy = matches!(flag.id, Id::Upstream | Id::Proxy);
    match without_credentials(&text).filter(|_| is_proxy || text.contains("://")) {
        Some(text) => text,
        None => text.into_owned(),
    }
}

/// The address of a proxy, which needs no scheme, with its credentials masked; `None` where it has
/// none.
fn without_credentials(address: &str) -> Option<String> {
    let (before, host) = address.rsplit_once('@')?;
    let is_scheme = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let scheme = before.trim_start().split_once("://").map(|(scheme, _)| scheme).filter(is_scheme);
    let scheme = scheme.map_or(String::new(), |scheme| format!("{scheme}://"));
    Some(format!("{scheme}{MASK}@{host}"))
}

/// A file that can be read again, with the defaults as comments.
fn in_toml(command: Command, given: &Given) -> String {
    let mut text = format!("# What is in force for flowtap {}.\n", command.text().name);
    for (path, is_there) in &given.files {
        let there = if *is_there { "read" } else { "not there" };
        text.push_str(&format!("# {} ({there})\n", visible(&path.to_string_lossy())));
    }
    for flag in described(command) {
        let long = flag.long;
        match in_force(flag, given) {
            InForce::Given(values) => {
                let words: Vec<_> = values.iter().map(|it| quoted(&shown(flag, it))).collect();
                let mut origins: Vec<_> = values.iter().map(|value| origin(value)).collect();
                origins.dedup();
                let value = match flag {
                    Flag { value: "", repeats: true, .. } => values.len().to_string(),
                    Flag { value: "", .. } => "true".to_owned(),
                    Flag { repeats: true, .. } => format!("[{}]", words.join(", ")),
                    _ => words.concat(),
                };
                text.push_str(&format!("{long} = {value}  # {}\n", origins.join(", ")));
            }
            InForce::Variable(name) => {
                text.push_str(&format!("{long} = \"{MASK}\"  # {name}\n"));
            }
            InForce::Default => {
                let default = if flag.value.is_empty() { "false" } else { flag.default };
                text.push_str(&format!("# {long}: {default}  (default)\n"));
            }
        }
    }
    text
}

fn described(command: Command) -> impl Iterator<Item = &'static Flag> {
    command.flags().filter(|flag| ![Id::Config, Id::NoConfig].contains(&flag.id))
}

fn origin(value: &Value) -> String {
    match &value.origin {
        Origin::File(path, line) => format!("{}:{line}", visible(&path.to_string_lossy())),
        Origin::Flag => "option".to_owned(),
    }
}

/// A string of TOML, whose escapes are those of JSON.
fn quoted(text: &str) -> String {
    Json::from(visible(text)).to_string()
}

fn in_json(command: Command, given: &Given) -> String {
    let file = |(path, is_read): &(PathBuf, bool)| {
        let path = path.to_string_lossy();
        json!({"path": path, "read": is_read})
    };
    let files: Vec<_> = given.files.iter().map(file).collect();
    let mut values = Map::new();
    for flag in described(command) {
        let entry = match in_force(flag, given) {
            InForce::Given(all) => {
                let words = all.iter().map(|value| Json::from(shown(flag, value)));
                let value = match flag {
                    Flag { value: "", repeats: true, .. } => json!(all.len()),
                    Flag { value: "", .. } => json!(true),
                    Flag { repeats: true, .. } => words.collect(),
                    _ => words.into_iter().next_back().unwrap_or_default(),
                };
                let mut origins: Vec<_> = all.iter().map(|value| origin_in_json(value)).collect();
                origins.dedup();
                json!({"value": value, "from": origins})
            }
            InForce::Variable(name) => json!({"value": MASK, "from": [{"variable": name}]}),
            InForce::Default if flag.value.is_empty() => json!({"value": false, "from": []}),
            InForce::Default => json!({"value": null, "default": flag.default, "from": []}),
        };
        values.insert(flag.long.to_owned(), entry);
    }
    let all = json!({"command": command.text().name, "files": files, "values": values});
    format!("{all:#}\n")
}

fn origin_in_json(value: &Value) -> Json {
    match &value.origin {
        Origin::File(path, line) => json!({"file": path.to_string_lossy(), "line": line}),
        Origin::Flag => json!({"option": true}),
    }
}
