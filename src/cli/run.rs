//! `flowtap run`: a program with its traffic captured, from its start to its end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::cli::check;
use crate::cli::last_words;
use crate::cli::proxy::{self, Begun, Manner};
use crate::cli::running::Stop;
use crate::cli::settings::Run;
use crate::cli::status::Status;
use crate::cli::verdict;
use crate::error::{Error, Result};
use crate::net::server::Bound;
use crate::stats::Stats;

use browser::Browser;
use environment::{Environment, proxy_url};
use folder::Folder;
use program::{OpenFiles, Program, Unusable, Watch};

mod browser;
mod environment;
mod folder;
mod node;
mod program;

/// The exit status where the capture has failed and the program has not.
const CAPTURE_FAILED: u8 = 1;

/// Runs the program and captures until it has ended. Gives its exit status, or the one that
/// shells give for a program that cannot be started.
///
/// # Errors
/// When something keeps the capture from starting; the program is not started then.
pub(super) fn run(settings: &Run) -> Result<u8> {
    captured(settings).map_err(|error| unchecked(settings, error))
}

fn captured(settings: &Run) -> Result<u8> {
    // What cannot be started must not replace an older bundle by an empty one.
    let wanted = match settings.browser {
        true => Wanted::Browser(Browser::find(&settings.command)?),
        false => match Wanted::program(&settings.command) {
            Ok(wanted) => wanted,
            Err(unusable) => {
                let unusable = unstarted(settings, unusable);
                last_words(format!("flowtap: {}\n", unusable.reason));
                return Ok(unusable.status);
            }
        },
    };
    let mut running = Running {
        wanted,
        quiet: settings.quiet,
        open_files: OpenFiles::now(),
        watch: None,
        folder: Folder::new()?,
        started: Err(Unusable { reason: String::new(), status: CAPTURE_FAILED }),
    };
    let bound = Bound::new(settings.config.listen)?;
    let mut captured = proxy::capture(bound, &settings.config, &mut running)?;
    let Running { folder, started, .. } = running;
    // It goes on without the proxy where that has failed.
    let ended = started.map(Program::wait).map_err(|unusable| unstarted(settings, unusable));
    drop(folder);
    let told = match (captured.tell(settings.quiet), &ended) {
        (Ok(()), Ok(_)) => check(settings, &mut captured.status),
        (Err(error), Ok(_)) => Err(unchecked(settings, error)),
        (told, Err(_)) => told,
    };
    let status = conclude(ended, told, &mut captured.status);
    captured.status.end();
    Ok(status)
}

/// Whether the arguments of `run` begin with a program that is there and is no browser.
pub(super) fn names_program(arguments: &[OsString]) -> bool {
    Wanted::program(arguments).is_ok() && !arguments.first().is_some_and(|it| browser::is_named(it))
}

/// Checks what was captured, where there are rules.
///
/// # Errors
/// When one does not hold, or when that could not be told.
fn check(settings: &Run, status: &mut Status) -> Result<()> {
    let rules = &settings.reports.rules;
    let Some(output) = settings.config.output.as_ref().filter(|_| !rules.is_empty()) else {
        return Ok(());
    };
    let report = check::judge(output, &settings.reports)?;
    if !settings.quiet || !verdict::holds(&report) {
        verdict::text(&report).lines().for_each(|line| status.line(line));
    }
    check::conclude(&report, &settings.reports, &mut |line| status.line(line))
}

/// Has the reports that are wanted tell of an error that kept the capture from being checked.
fn unchecked(settings: &Run, error: Error) -> Error {
    match settings.config.output.as_ref().filter(|_| !settings.reports.rules.is_empty()) {
        Some(output) => check::unjudged(error, output, &settings.reports),
        None => error,
    }
}

/// The same of a program that cannot be started, without which there is nothing to check.
fn unstarted(settings: &Run, unusable: Unusable) -> Unusable {
    let reason = unchecked(settings, Error::new(unusable.reason)).to_string();
    Unusable { reason, ..unusable }
}

/// The exit status, from how the program and the capture have ended, and what a check said of it.
fn conclude(
    ended: std::result::Result<u8, Unusable>,
    captured: Result<()>,
    status: &mut Status,
) -> u8 {
    match (ended, captured) {
        (Err(unusable), _) => {
            status.line(&unusable.reason);
            unusable.status
        }
        (Ok(code), Ok(())) => code,
        (Ok(code), Err(error)) if error.is_unmet() => {
            status.line(&error.to_string());
            if code == 0 { error.status() } else { code }
        }
        (Ok(0), Err(error)) => {
            status.line(&format!("the capture FAILED, though the program did not: {error}"));
            CAPTURE_FAILED
        }
        (Ok(code), Err(error)) => {
            status.line(&format!("the capture FAILED: {error}"));
            code
        }
    }
}

/// What is to be run.
enum Wanted {
    /// A program: where it is, and its name and arguments.
    Program(PathBuf, Vec<OsString>),
    /// A browser, whose arguments depend on the proxy.
    Browser(Browser),
}

impl Wanted {
    fn program(command: &[OsString]) -> std::result::Result<Wanted, Unusable> {
        let path = program::find(command.first().map_or("".as_ref(), OsString::as_os_str))?;
        Ok(Wanted::Program(path, command.to_vec()))
    }
}

/// A program that runs beside its capture.
struct Running {
    wanted: Wanted,
    quiet: bool,
    /// The program has the limit that flowtap was started with.
    open_files: OpenFiles,
    /// Signals, until the program has them.
    watch: Option<Watch>,
    folder: Folder,
    started: std::result::Result<Program, Unusable>,
}

impl Running {
    fn start(&self, begun: &Begun<'_>, watch: Watch) -> std::result::Result<Program, Unusable> {
        let unprepared = |error: std::io::Error| Unusable {
            reason: format!(
                "what programs are to trust cannot be written to {}: {error}; name another place \
                 with TMPDIR",
                self.folder.path().display()
            ),
            status: CAPTURE_FAILED,
        };
        let files = self
            .folder
            .write(begun.authority, &begun.config.upstream_ca, &proxy_url(begun))
            .map_err(unprepared)?;
        let environment = Environment::new(begun, &files);
        let (path, mut command) = match &self.wanted {
            Wanted::Program(path, words) => (path.as_path(), program::command(path, words)),
            Wanted::Browser(browser) => {
                let command = browser.command(&environment, begun.authority, &self.folder);
                (browser.path(), command.map_err(|reason| Unusable { reason, status: 1 })?)
            }
        };
        set_all(&mut command, &environment);
        let spawned = self.open_files.during(|| program::spawn(path, &mut command));
        let child = spawned.map_err(|error| Unusable::new(path, &error))?;
        Ok(Program::attend(child, watch))
    }
}

fn set_all(command: &mut Command, environment: &Environment) {
    for (name, value) in environment.variables(|name| std::env::var_os(name)) {
        match value {
            Some(value) => command.env(&*name, value),
            None => command.env_remove(&*name),
        };
    }
}

impl Manner for Running {
    fn signals(&mut self) -> Result<Receiver<Stop>> {
        let (watch, stops) = Watch::new()?;
        self.watch = Some(watch);
        Ok(stops)
    }

    fn status(&self, stats: Arc<Stats>, ca: String) -> Result<Status> {
        Status::gathering(stats, ca, self.quiet)
    }

    fn begin(&mut self, begun: &Begun<'_>, status: &mut Status) {
        proxy::warnings(begun, status);
        if let Some(watch) = self.watch.take() {
            self.started = self.start(begun, watch);
        }
        if self.started.is_err() {
            begun.stopper.stop(Duration::ZERO);
        }
    }

    fn shows_flows(&self) -> bool {
        false
    }
}
