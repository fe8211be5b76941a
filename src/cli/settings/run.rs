//! The settings of `run`.

use std::ffi::OsString;

use super::{Flags, Junit, Reports, capturing};
use crate::cli::flags::Id;
use crate::config::Config;
use crate::error::{Error, Result};

/// What `run` is to run, and how it captures.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it captures.
    pub config: Config,
    /// The program and its arguments; those for a browser where `browser` says so.
    pub command: Vec<OsString>,
    /// Whether a browser is wanted.
    pub browser: bool,
    /// Whether nothing is said at the end where all went well.
    pub quiet: bool,
    /// What is checked of the capture.
    pub reports: Reports,
}

/// The settings of `run`.
pub fn run(flags: Flags, arguments: Vec<OsString>) -> Result<Run> {
    let has = |wanted: Id| flags.iter().any(|(id, _)| *id == wanted);
    let (browser, quiet, port) = (has(Id::Browser), has(Id::Quiet), has(Id::Port));
    let named = arguments.first().is_some_and(|program| !program.is_empty());
    if !named && !browser {
        return Err(Error::usage("run needs a command: flowtap run -- curl https://example.com/"));
    }
    let mut reports = Reports::default();
    let mut shared = Vec::new();
    for (id, value) in flags {
        match id {
            Id::Browser | Id::Quiet => {}
            // It is about the replies of tools, too.
            Id::NoRedact => {
                reports.redact = false;
                shared.push((id, value));
            }
            _ => shared.extend(reports.take(id, value)?),
        }
    }
    let mut config = capturing(shared)?;
    if reports.rules.is_empty() && (reports.junit.is_some() || reports.github) {
        return Err(Error::usage("--junit and --github tell of --fail-on and --require"));
    }
    if reports.junit == Some(Junit::Stdout) {
        return Err(Error::usage(
            "--junit takes a file here: the standard output is the program's own",
        ));
    }
    if config.output.is_none() && !reports.rules.is_empty() {
        return Err(Error::usage("--fail-on and --require need a bundle, so no --no-output"));
    }
    if !port {
        config.listen.set_port(0);
    }
    Ok(Run { config, command: arguments, browser, quiet, reports })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Request, parse};

    fn read(line: &str) -> Result<Run> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Request::Run { flags, arguments, .. } => run(flags, arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_follows_the_program_is_for_the_program() {
        for line in [
            "run --confdir /c -o x.zip -- curl -o y --port 5 -- z",
            "run --confdir /c -o x.zip curl -o y --port 5 -- z",
        ] {
            let run = read(line).unwrap();
            assert_eq!(run.command, ["curl", "-o", "y", "--port", "5", "--", "z"]);
            assert_eq!(run.config.listen.to_string(), "127.0.0.1:0");
            assert_eq!(run.config.output, Some("x.zip".into()));
            assert!(!run.browser && !run.quiet);
        }
        let run = read("run --confdir /c -q -p 8081 --browser -- https://a.example/ -x").unwrap();
        assert_eq!(run.command, ["https://a.example/", "-x"]);
        assert_eq!(run.config.listen.port(), 8081);
        assert!(run.browser && run.quiet);
        assert!(read("run --confdir /c --browser").unwrap().command.is_empty());
    }

    #[test]
    fn checks_are_made_of_what_is_captured() {
        let run = read("run --confdir /c --fail-on ~e --no-redact --junit x.xml -- true").unwrap();
        assert_eq!((run.reports.rules.len(), run.reports.redact), (1, false));
        assert!(!run.config.options.redactor.is_on());
        for (line, named) in [
            ("run --confdir /c --github -- true", "--fail-on"),
            ("run --confdir /c --no-output --require ~s -- true", "--no-output"),
            ("run --confdir /c --fail-on ~e --junit - -- true", "--junit takes a file"),
            ("run --confdir /c -o - -- true", "--output takes a file"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn run_needs_a_command() {
        let error = read("run --confdir /c").unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("run needs a command"));
        assert!(read("run --confdir /c -p x true").unwrap_err().to_string().contains("--port"));
    }
}
