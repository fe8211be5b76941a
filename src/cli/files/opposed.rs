//! Flags that exclude one another, and those that have no effect beside or without others: no
//! default of a file may make a command line fail that is right by itself.

use std::ffi::{OsStr, OsString};

use super::{Origin, Value};
use crate::cli::flags::{Command, Id};
use crate::cli::run;
use crate::error::Error;

/// Groups of which each flag excludes the others.
const ONE_OF: &[&[Id]] = &[
    &[Id::NoOutput, Id::Output],
    &[Id::NoMcp, Id::McpPort],
    &[Id::Quiet, Id::Verbose],
    &[Id::Json, Id::Curl],
    &[Id::Har, Id::JsonLines, Id::OpenApi, Id::Html, Id::Curl],
];
/// Flags that exclude each of several which go together. Where `inspect` has a filter as its
/// argument, that counts as a flag.
const APART: &[(Id, &[Id])] = &[
    (Id::NoOutput, &[Id::FailOn, Id::Require]),
    (Id::Trace, &[Id::Sort, Id::Reverse, Id::Columns, Id::Limit, Id::Filter]),
];
/// Flags that go before those which they exclude, so that the other way round nothing is to be
/// taken back.
const FIRST: &[(Id, &[Id])] = &[(Id::Body, &[Id::Json, Id::Curl]), (Id::Ca, &[Id::Confdir])];

/// Whether a flag takes back what a weaker place says of the other.
pub(super) fn takes_back(id: Id, below: Id) -> bool {
    let apart =
        |one: Id, other: Id| APART.iter().any(|(id, others)| *id == one && others.contains(&other));
    let in_group = |group: &&[Id]| group.contains(&id) && group.contains(&below);
    id != below && ONE_OF.iter().any(in_group)
        || apart(id, below)
        || apart(below, id)
        || FIRST.iter().any(|(first, others)| *first == below && others.contains(&id))
}

/// A flag that switches off what another sets. On one command line they are no mistake, which
/// scripts put together: of an output the last word counts, and no MCP is none.
const OFF: &[(Id, Id)] = &[(Id::NoOutput, Id::Output), (Id::NoMcp, Id::McpPort)];

/// The flags of a command line without those that others of it switch off or replace.
pub(super) fn without_losers(flags: Vec<Value>) -> Vec<Value> {
    let last = |id: Id| flags.iter().rposition(|flag| flag.id == id);
    let loses = |id: Id| {
        OFF.iter().any(|(off, on)| {
            let off_wins = *off == Id::NoMcp || last(*off) > last(*on);
            last(*off).is_some() && id == if off_wins { *on } else { *off }
        })
    };
    let lost: Vec<_> = flags.iter().map(|flag| loses(flag.id)).collect();
    flags.into_iter().zip(lost).filter(|(_, is_lost)| !is_lost).map(|(flag, _)| flag).collect()
}

/// Two flags of one table of a file of which one switches the other off: where the later one
/// stands, and what is wrong.
pub(super) fn contradiction<'a>(table: impl Iterator<Item = &'a Value>) -> Option<Error> {
    let values: Vec<_> = table.collect();
    let line = |id: Id| {
        values.iter().rev().find(|value| value.id == id).and_then(|value| match &value.origin {
            Origin::File(path, line) => Some((*line, path)),
            Origin::Flag => None,
        })
    };
    OFF.iter().find_map(|(off, on)| {
        let (line, path) = line(*off)?.max(line(*on)?);
        let (off, on) = (super::flag(*off)?.long, super::flag(*on)?.long);
        let path = path.display();
        Some(Error::usage(format!("{path}:{line}: {on} and {off} contradict each other")))
    })
}

/// What the arguments of a command say beside its flags.
pub(super) fn said_by(command: Command, arguments: usize) -> Option<Id> {
    // Behind the bundle stands a filter.
    (command == Command::Inspect && arguments > 1).then_some(Id::Filter)
}

/// The flags that have no effect on a command by what else is said. On the command line they are
/// mistakes; in a file they are defaults for other times.
pub(super) fn idle(command: Command, values: &[Value], arguments: &[OsString]) -> Vec<Id> {
    let mut idle = beside(command, values).to_vec();
    let is_browser = values.iter().any(|value| value.id == Id::Browser);
    if is_browser && run::names_program(arguments) {
        idle.push(Id::Browser);
    }
    idle
}

/// Those that have no effect by what other flags say.
fn beside(command: Command, values: &[Value]) -> &'static [Id] {
    let last = |id: Id| values.iter().rev().find(|value| value.id == id).map(|it| &it.value);
    let is_given = |id: Id| values.iter().any(|it| it.id == id && it.origin == Origin::Flag);
    match command {
        // Both go to the standard output then.
        Command::Check if last(Id::Junit).is_some_and(|it| it == "-") && is_given(Id::Junit) => {
            &[Id::Github]
        }
        Command::Check if last(Id::Junit).is_some_and(|it| it == "-") && is_given(Id::Github) => {
            &[Id::Junit]
        }
        Command::Run if last(Id::FailOn).or(last(Id::Require)).is_none() => {
            &[Id::Junit, Id::Github]
        }
        Command::Inspect => match last(Id::Trace).map(|id| id.to_string_lossy()) {
            None => &[Id::Body],
            // The messages of a WebSocket are no body.
            Some(id) if id.contains("ws_") => &[Id::Sort, Id::Columns, Id::Limit, Id::Body],
            Some(_) => &[Id::Sort, Id::Columns, Id::Limit],
        },
        Command::CaExport if last(Id::Format).is_none_or(|it| it != "p12" && it != "pfx") => {
            &[Id::Password]
        }
        _ => &[],
    }
}

/// Whether a value at the top of a file can be meant for a command. One of the same name that
/// another command takes may be none here.
pub(super) fn is_meant(command: Command, id: Id, value: &OsStr) -> bool {
    match (command, id) {
        // A proxy picks a free port then; here it is the port of a proxy that runs.
        (Command::Ca, Id::Port) => value != "0",
        // It is where captures go, and what these write would take the place of one.
        (Command::CaExport | Command::Recover, Id::Output) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
