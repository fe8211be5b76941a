//! What `proxy` and `discover` share: a running server, signals, notices and the live line.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, never, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::status::Status;
use crate::error::{Error, Result};
use crate::fault;
use crate::limits::STOP_GRACE;
use crate::net::server::{Server, Stopper};
use crate::notice::Notice;

/// The signals that stop, as they come, taken from now on.
pub(super) fn signals() -> Result<Receiver<Stop>> {
    let mut wanted = vec![SIGINT, SIGTERM];
    // A program under nohup goes on when its terminal closes.
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut taken = Signals::new(wanted)
        .map_err(|error| Error::new(format!("signals cannot be handled: {error}")))?;
    let (sender, receiver) = bounded(SIGNALS);
    thread::spawn(move || {
        for signal in taken.forever() {
            let stop = if signal == SIGHUP { Stop::HungUp } else { Stop::Asked };
            // More than wait already say nothing more.
            let _ = sender.try_send(stop);
        }
    });
    Ok(receiver)
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Stop; if that was said before, at once.
    Asked,
    /// The terminal has closed. Shells and the system may tell so twice.
    HungUp,
    /// What the proxy was there for has ended.
    Done,
}

/// Whether the program was started with this signal ignored, as far as the system tells.
pub(super) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

/// Signals that wait to be noticed.
pub(super) const SIGNALS: usize = 8;

/// What is attended to while a server runs.
pub(super) struct Attended<'a> {
    pub(super) signals: &'a Receiver<Stop>,
    pub(super) notices: &'a Receiver<Notice>,
    /// Results, for standard output, as they come.
    pub(super) results: Receiver<String>,
    /// Called once, when the server is told to stop.
    pub(super) at_stop: &'a dyn Fn(),
}

/// Tells the user what happens until the server was stopped and has ended. The first signal lets
/// exchanges under way end for a while, the second does not. When a part of flowtap fails, the
/// server is stopped too.
///
/// # Errors
/// What has failed.
pub(super) fn attend(server: Server, attended: Attended<'_>, status: &mut Status) -> Result<()> {
    let stopper = server.stopper();
    let (ended_sender, ended) = bounded(1);
    thread::spawn(move || ended_sender.send(server.wait()));
    let mut stopping = Stopping { stopper, stops: 0, at_stop: attended.at_stop, failed: None };
    let result = fault::catch(|| watch(&ended, attended, &mut stopping, status));
    let result = result.unwrap_or_else(|fault| {
        // Nobody is left to hear of anything, but what was captured must not be lost.
        stopping.at_once();
        let _ = ended.recv_timeout(STOP_GRACE);
        Err(Error::new(format!("flowtap was {}", fault.reason())))
    });
    match stopping.failed {
        Some(reason) => Err(Error::new(reason)),
        None => result,
    }
}

fn watch(
    ended: &Receiver<Result<()>>,
    attended: Attended<'_>,
    stopping: &mut Stopping<'_>,
    status: &mut Status,
) -> Result<()> {
    let (mut notices, mut results) = (attended.notices.clone(), attended.results);
    let mut unread = status.unread().clone();
    let result = loop {
        select! {
            recv(ended) -> result => {
                break result.unwrap_or_else(|_| Err(Error::new("the server's end was not told")));
            }
            recv(attended.signals) -> stop => stopping.signal(stop.unwrap_or(Stop::Asked), status),
            recv(notices) -> notice => match notice {
                Ok(notice) => {
                    if let Notice::Failed(reason) = &notice {
                        stopping.fail(reason);
                    }
                    status.notice(notice);
                }
                Err(_) => notices = never(),
            },
            recv(results) -> result => match result {
                Ok(text) => status.result(&text),
                Err(_) => results = never(),
            },
            recv(unread) -> _ => {
                // A reader that has gone wants no more.
                stopping.at_once();
                (results, unread) = (never(), never());
            }
            default(status.interval()) => {}
        }
        status.refresh();
    };
    for notice in notices.try_iter() {
        if let Notice::Failed(reason) = &notice {
            stopping.fail(reason);
        }
        status.notice(notice);
    }
    for text in results.try_iter() {
        status.result(&text);
    }
    result
}

/// How far a server is in stopping.
struct Stopping<'a> {
    stopper: Stopper,
    stops: u32,
    at_stop: &'a dyn Fn(),
    /// The first failure.
    failed: Option<String>,
}

impl Stopping<'_> {
    fn signal(&mut self, stop: Stop, status: &mut Status) {
        match (self.stops, stop) {
            (0, Stop::Done) => self.begin(),
            (0, _) => {
                // Whoever reads the line finds the server stopping.
                self.begin();
                let seconds = STOP_GRACE.as_secs();
                status.passing(&format!(
                    "stopping: exchanges under way have {seconds} s; stop again to cut them short"
                ));
            }
            (_, Stop::Asked) => self.at_once(),
            (_, Stop::HungUp | Stop::Done) => {}
        }
    }

    fn begin(&mut self) {
        if self.stops == 0 {
            (self.at_stop)();
            self.stopper.stop(STOP_GRACE);
        }
        self.stops += 1;
    }

    fn at_once(&mut self) {
        self.begin();
        self.stopper.stop(Duration::ZERO);
        self.stopper.kill();
    }

    fn fail(&mut self, reason: &str) {
        if self.failed.is_none() {
            self.failed = Some(reason.to_owned());
            self.begin();
        }
    }
}
