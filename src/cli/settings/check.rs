//! The settings of `check`, and of the checks that other commands make.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Flags, STANDARD_OUTPUT, filter, none_left_but, path};
use crate::capture::check::{Rule, RuleKind};
use crate::cli::flags::Id;
use crate::error::{Error, Result};

/// What `check` is to check.
#[derive(Clone, Debug)]
pub struct Check {
    /// The bundle.
    pub bundle: PathBuf,
    /// The rules, and what is told of them.
    pub reports: Reports,
}

/// Rules for a capture, and what is told of them.
#[derive(Clone, Debug)]
pub struct Reports {
    /// The rules, in their order.
    pub rules: Vec<Rule>,
    /// Where the report for CI systems goes.
    pub junit: Option<Junit>,
    /// Whether annotations for GitHub Actions are printed.
    pub github: bool,
    /// Whether secrets in what is listed are masked.
    pub redact: bool,
}

/// Where a report as JUnit XML goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Junit {
    /// To the standard output, where nothing else is written then.
    Stdout,
    /// To this file.
    File(PathBuf),
}

impl Junit {
    /// The file that it goes to.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Junit::Stdout => None,
            Junit::File(file) => Some(file),
        }
    }
}

impl Default for Reports {
    fn default() -> Self {
        Reports { rules: Vec::new(), junit: None, github: false, redact: true }
    }
}

impl Reports {
    /// Takes a flag; gives it back if it says nothing about checks.
    ///
    /// # Errors
    /// When its value is none.
    pub(super) fn take(&mut self, id: Id, value: OsString) -> Result<Option<(Id, OsString)>> {
        match id {
            Id::FailOn => self.rule(RuleKind::FailOn, "--fail-on", &value)?,
            Id::Require => self.rule(RuleKind::Require, "--require", &value)?,
            Id::Junit => {
                let file = path("--junit", value)?;
                let is_stdout = file.as_os_str() == STANDARD_OUTPUT;
                self.junit = Some(if is_stdout { Junit::Stdout } else { Junit::File(file) });
            }
            Id::Github => self.github = true,
            Id::NoRedact => self.redact = false,
            _ => return Ok(Some((id, value))),
        }
        Ok(None)
    }

    fn rule(&mut self, kind: RuleKind, flag: &str, value: &OsString) -> Result<()> {
        let filter = filter(flag, value)?;
        let filter = filter.ok_or_else(|| Error::usage(format!("{flag} needs a filter")))?;
        // It would look for the word in URLs, and a rule that never speaks passes everything.
        if let Some(word) = filter.operator_word() {
            return Err(Error::usage(format!(
                "{flag} '{}': write & for and, | for or, ! for not; ~u {word} where the URL is \
                 meant",
                filter.text()
            )));
        }
        self.rules.push(Rule { kind, filter });
        Ok(())
    }
}

/// The settings of `check`.
pub fn check(flags: Flags, arguments: Vec<OsString>) -> Result<Check> {
    const USAGE: &str = "flowtap check capture.zip --fail-on '~c 5xx'";
    let mut arguments = arguments.into_iter();
    let Some(bundle) = arguments.next().map(PathBuf::from) else {
        return Err(Error::usage(format!("check needs a bundle: {USAGE}")));
    };
    let advice = "for a filter use --fail-on or --require";
    none_left_but("check", arguments.as_slice(), advice)?;
    let mut reports = Reports::default();
    for (id, value) in flags {
        reports.take(id, value)?;
    }
    if reports.rules.is_empty() {
        return Err(Error::usage(format!("check needs --fail-on or --require: {USAGE}")));
    }
    if reports.github && reports.junit == Some(Junit::Stdout) {
        return Err(Error::usage(
            "--junit - and --github both write to the standard output: give --junit a file",
        ));
    }
    Ok(Check { bundle, reports })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Request, parse};

    fn read(words: &[&str]) -> Result<Check> {
        match parse(words.iter().map(OsString::from))? {
            Request::Run { flags, arguments, .. } => check(flags, arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rules_keep_their_order() {
        let words = ["check", "b.zip", "--require", "~d a", "--fail-on", "~c 5xx", "--github"];
        let Check { bundle, reports } = read(&words).unwrap();
        let rules: Vec<_> = reports.rules.iter().map(|it| (it.kind, it.filter.text())).collect();
        assert_eq!(rules, [(RuleKind::Require, "~d a"), (RuleKind::FailOn, "~c 5xx")]);
        assert_eq!((bundle, reports.junit), ("b.zip".into(), None));
        assert!(reports.github && reports.redact);
    }

    #[test]
    fn a_check_needs_a_bundle_and_a_rule() {
        let bad: [(&[&str], &str); 5] = [
            (&["check", "--fail-on", "~c 500"], "needs a bundle"),
            (&["check", "b.zip"], "--fail-on or --require"),
            (&["check", "b.zip", "--fail-on", " "], "--fail-on needs a filter"),
            (&["check", "b.zip", "--require", "~nothing"], "--require: at character"),
            (&["check", "b.zip", "~e"], "with '~e'; for a filter use --fail-on or --require"),
        ];
        for (words, named) in bad {
            let error = read(words).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{words:?}: {error}");
        }
    }
}
