//! What `proxy` and `discover` share: a running server, signals, notices and the live line.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, never, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::status::Status;
use crate::error::{Error, Result};
use crate::limits::STOP_GRACE;
use crate::net::server::{Server, Stopper};
use crate::notice::Notice;

/// The signals that stop, taken from now on.
pub(super) fn signals() -> Result<Receiver<()>> {
    let mut wanted = vec![SIGINT, SIGTERM];
    // A program under nohup goes on when its terminal closes.
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut taken = Signals::new(wanted)
        .map_err(|error| Error::new(format!("signals cannot be handled: {error}")))?;
    let (sender, receiver) = bounded(SIGNALS);
    thread::spawn(move || {
        for _ in taken.forever() {
            // More than wait already say nothing more.
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}

/// Whether the program was started with this signal ignored, as far as the system tells.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

/// Signals that wait to be noticed.
const SIGNALS: usize = 8;

/// Tells the user what happens until the server was stopped by a signal and has ended. The first
/// signal lets exchanges under way end for a while, the second does not. `results` go to standard
/// output as they come.
pub(super) fn attend(
    server: Server,
    signals: &Receiver<()>,
    notices: &Receiver<Notice>,
    status: &mut Status,
    results: &Receiver<String>,
) -> Result<()> {
    let stopper = server.stopper();
    let (ended_sender, ended) = bounded(1);
    thread::spawn(move || ended_sender.send(server.wait()));
    let mut stops = 0;
    let mut notices = notices.clone();
    let mut results = results.clone();
    let result = loop {
        select! {
            recv(ended) -> result => {
                break result.unwrap_or_else(|_| Err(Error::new("the server's end was not told")));
            }
            recv(signals) -> _ => {
                stops += 1;
                stop(&stopper, stops, status);
            }
            recv(notices) -> notice => match notice {
                Ok(notice) => status.notice(notice),
                Err(_) => notices = never(),
            },
            recv(results) -> result => match result {
                Ok(text) if status.result(&text) => {}
                // A reader that has gone wants no more.
                Ok(_) => {
                    stopper.kill();
                    results = never();
                }
                Err(_) => results = never(),
            },
            default(status.interval()) => {}
        }
        status.refresh();
    };
    for notice in notices.try_iter() {
        status.notice(notice);
    }
    for text in results.try_iter() {
        status.result(&text);
    }
    result
}

fn stop(stopper: &Stopper, stops: u32, status: &mut Status) {
    if stops == 1 {
        let seconds = STOP_GRACE.as_secs();
        status.line(&format!(
            "stopping: exchanges under way have {seconds} s; stop again to cut them short"
        ));
        stopper.stop(STOP_GRACE);
    } else {
        stopper.stop(Duration::ZERO);
        stopper.kill();
    }
}
