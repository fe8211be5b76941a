//! `flowtap check`: whether a capture is as it should be.

use std::io::Write as _;
use std::path::Path;

use crate::capture::check::{Report, check};
use crate::capture::export::write_whole;
use crate::capture::parts::Parts;
use crate::cli::results;
use crate::cli::settings::{Check, Reports};
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
    results::print(verdict::text(&report).as_bytes())?;
    conclude(&report, &settings.reports, &mut |line| {
        // There is nobody else to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "{line}");
    })
}

/// Checks a bundle without printing anything. Refuses a report that would take its place.
pub(super) fn judge(bundle: &Path, reports: &Reports) -> Result<Report> {
    if let Some(file) = &reports.junit
        && Parts::open(bundle)?.has(file)
    {
        let file = file.display();
        return Err(Error::usage(format!("--junit {file} would replace the bundle itself")));
    }
    let redactor = if reports.redact { Redactor::default() } else { Redactor::off() };
    check(bundle, &reports.rules, &redactor)
}

/// Writes the reports that are wanted, and gives the verdict. `warn` takes what else is to be said.
pub(super) fn conclude(
    report: &Report,
    reports: &Reports,
    warn: &mut dyn FnMut(&str),
) -> Result<()> {
    if reports.github {
        results::print(verdict::github(report).as_bytes())?;
    }
    if let Some(file) = &reports.junit {
        let failed = |error| Error::new(format!("cannot write {}: {error}", file.display()));
        let xml = verdict::junit(report);
        write_whole(file, |out| out.write_all(xml.as_bytes()).map_err(failed))?;
    }
    if report.cut > 0 {
        warn(&format!(
            "warning: {} could be looked at in part only: bodies or messages were cut, left out or \
             not decoded",
            count(report.cut, "flow")
        ));
    }
    if let Some(first) = report.missing.first() {
        return Err(Error::new(format!("not all parts could be checked: {}", visible(first))));
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
