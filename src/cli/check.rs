//! `flowtap check`: whether a capture is as it should be.

use std::io::Write as _;
use std::path::Path;

use crate::capture::check::{Report, check};
use crate::capture::export::write_whole;
use crate::capture::parts::{Parts, may_be_of};
use crate::cli::results;
use crate::cli::settings::{Check, Junit, Reports};
use crate::cli::verdict;
use crate::cli::words::visible;
use crate::error::{Error, Result};
use crate::flow::redact::Redactor;
use crate::notice::count;

/// Checks a bundle and prints what came of it.
///
/// # Errors
/// When a rule does not hold; when the bundle, or a flow of it, cannot be read; when a report
/// cannot be written.
pub(super) fn run(settings: &Check) -> Result<()> {
    let report = judge(&settings.bundle, &settings.reports)?;
    let text = verdict::text(&report);
    // There is nobody else to tell when standard error is closed.
    let tell = |words: &str| _ = std::io::stderr().write_all(words.as_bytes());
    let printed = match settings.reports.junit {
        Some(Junit::Stdout) => {
            tell(&text);
            Ok(())
        }
        _ => results::print(text.as_bytes()),
    };
    let concluded = conclude(&report, &settings.reports, &mut |line| tell(&format!("{line}\n")));
    printed.and(concluded)
}

/// Checks a bundle without printing anything, unless it cannot be checked: the reports that are
/// wanted tell of that. Refuses a report that would take the bundle's place.
///
/// # Errors
/// When the bundle cannot be read.
pub(super) fn judge(bundle: &Path, reports: &Reports) -> Result<Report> {
    if let Some(file) = reports.junit.as_ref().and_then(Junit::file)
        && Parts::open(bundle).is_ok_and(|parts| parts.has(file))
    {
        return Err(replacing(file));
    }
    let redactor = if reports.redact { Redactor::default() } else { Redactor::off() };
    check(bundle, &reports.rules, &redactor).map_err(|error| unjudged(error, bundle, reports))
}

/// Writes the reports that are wanted where an error keeps the bundle from being checked: those of
/// an earlier check would be taken for what came of this one. Gives back the error, with what kept
/// a report from being written. After a usage error nothing is written.
pub(super) fn unjudged(error: Error, bundle: &Path, reports: &Reports) -> Error {
    if error.is_usage() {
        return error;
    }
    let file = reports.junit.as_ref().and_then(Junit::file);
    if let Some(file) = file.filter(|file| may_be_of(bundle, file)) {
        return replacing(file);
    }
    let report = Report { missing: vec![error.to_string()], ..Report::default() };
    match write(&report, reports) {
        Ok(()) => error,
        Err(other) => Error::new(format!("{error}; {other}")),
    }
}

fn replacing(junit: &Path) -> Error {
    Error::usage(format!("--junit {} would replace the bundle itself", junit.display()))
}

/// Writes the reports that are wanted. One that cannot be written keeps no other from being.
fn write(report: &Report, reports: &Reports) -> Result<()> {
    let written = match &reports.junit {
        None => Ok(()),
        Some(Junit::Stdout) => results::print(verdict::junit(report).as_bytes()),
        Some(Junit::File(file)) => {
            let failed = |error| Error::new(format!("cannot write {}: {error}", file.display()));
            let xml = verdict::junit(report);
            write_whole(file, |out| out.write_all(xml.as_bytes()).map_err(failed))
        }
    };
    let printed = match reports.github {
        true => results::print(verdict::github(report).as_bytes()),
        false => Ok(()),
    };
    written.and(printed)
}

/// Writes the reports that are wanted, and gives the verdict. `warn` takes what else is to be said.
pub(super) fn conclude(
    report: &Report,
    reports: &Reports,
    warn: &mut dyn FnMut(&str),
) -> Result<()> {
    write(report, reports)?;
    if report.cut > 0 {
        warn(&format!(
            "warning: {} could be looked at in part only: bodies or messages were cut, left out or \
             not decoded",
            count(report.cut, "flow")
        ));
    }
    if let Some(first) = report.missing.first() {
        return Err(Error::new(format!(
            "not all of the capture could be checked: {}",
            visible(first)
        )));
    }
    if let Some(first) = report.unread.first() {
        let unread = count(report.unread.len() as u64, "flow");
        return Err(Error::new(format!("{unread} could not be checked: {}", visible(first))));
    }
    match verdict::holds(report) {
        true => Ok(()),
        false => Err(Error::unmet(verdict::summary(report))),
    }
}
