//! The live line on a terminal, and notices as lines.

use std::collections::{HashMap, HashSet};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::cli::flow_lines::FlowLines;
use crate::cli::printer::Printer;
use crate::cli::words::{size, visible};
use crate::error::Result;
use crate::notice::{Notice, count_were};
use crate::stats::Stats;

/// How often the live line changes.
const LIVE_INTERVAL: Duration = Duration::from_millis(250);
/// How often to look where there is no live line: never, in effect.
const NO_LIVE_INTERVAL: Duration = Duration::from_secs(24 * 3_600);
/// Takes the live line away.
const CLEAR: &str = "\r\x1b[K";
/// Failures that are told apart; later new ones are counted together.
const FAILURES: usize = 200;

/// Whether the user wants no colour (no-color.org).
pub fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The columns of the terminal that standard error goes to.
pub(super) fn width() -> usize {
    // Some terminals do not tell, and say 0.
    let told = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    if told == 0 { 80 } else { usize::from(told) }
}

/// The columns for what is printed to standard output: those of its terminal, or what reads well
/// in a file.
pub(super) fn columns() -> usize {
    let told = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    if told == 0 { 100 } else { usize::from(told) }
}

/// Prints to standard error: lines that stay, and below them one that changes.
#[derive(Debug)]
pub struct Status {
    printer: Printer,
    stats: Arc<Stats>,
    live: bool,
    shown: bool,
    ca: PathBuf,
    distrusted: HashSet<String>,
    failures: HashMap<String, u64>,
    faults: HashSet<String>,
    /// Flows that are shown as they end.
    flows: Option<FlowLines>,
    flows_printed: Instant,
    more_failures: u64,
    last: (Instant, u64),
}

impl Status {
    /// Prints on standard error; the live line only where that is a terminal. `ca` is named in
    /// advice.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(stats: Arc<Stats>, ca: PathBuf) -> Result<Self> {
        Ok(Status {
            printer: Printer::start()?,
            stats,
            live: io::stderr().is_terminal(),
            shown: false,
            ca,
            distrusted: HashSet::new(),
            failures: HashMap::new(),
            faults: HashSet::new(),
            flows: None,
            flows_printed: Instant::now(),
            more_failures: 0,
            last: (Instant::now(), 0),
        })
    }

    /// Shows flows as they end.
    pub(super) fn show_flows(&mut self, flows: FlowLines) {
        self.flows = Some(flows);
    }

    /// Whether there is a live line.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// How long to wait for something to print before [`Status::refresh`] is due.
    pub fn interval(&self) -> Duration {
        match &self.flows {
            // The option may be set at any time.
            Some(_) => LIVE_INTERVAL,
            None if self.live => LIVE_INTERVAL,
            None => NO_LIVE_INTERVAL,
        }
    }

    /// Prints a line that stays.
    pub fn line(&mut self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// Prints what stays, in the place of the live line.
    fn print(&mut self, text: &str) {
        let clear = if std::mem::take(&mut self.shown) { CLEAR } else { "" };
        if !self.printer.error(format!("{clear}{text}")) {
            self.stats.notices_dropped.add(1);
        }
    }

    /// Prints a result, on standard output; it may hold text from outside.
    pub fn result(&mut self, text: &str) {
        self.clear();
        if !self.printer.result(format!("{}\n", visible(text))) {
            self.stats.notices_dropped.add(1);
        }
    }

    /// Told, by its end, that nobody reads results any more.
    pub(super) fn unread(&self) -> &Receiver<()> {
        self.printer.unread()
    }

    /// Prints what the loops or the recorder had to say, each thing once.
    pub fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::ExchangeFailed { what, reason } => {
                let line = format!("failed {}: {}", visible(&what), visible(&reason));
                self.failure(line);
            }
            Notice::ClientDistrusts { host, alert } => {
                if self.distrusted.len() < FAILURES && self.distrusted.insert(host.clone()) {
                    let (host, ca) = (visible(&host), self.ca.display());
                    let alert = visible(&alert);
                    self.line(&format!(
                        "a client does not trust the CA for {host} ({alert}): make it trust {ca}, \
                         or pass the host through with -e {host}"
                    ));
                }
            }
            Notice::Fault { what, fault } => {
                // However much else has failed, each is told once.
                let fault = visible(&fault.to_string()).into_owned();
                if self.faults.len() < FAILURES && self.faults.insert(fault.clone()) {
                    let what = visible(&what);
                    self.line(&format!(
                        "FAULT in flowtap, which ended this alone: {what}: {fault}; please report \
                         it"
                    ));
                }
            }
            Notice::Failed(reason) => {
                self.line(&format!("FAULT in flowtap, which has to stop: {}", visible(&reason)));
            }
            // Told however many other things were.
            Notice::CaptureSuspended(text) => self.line(&format!("WARNING: {}", visible(&text))),
            Notice::CaptureResumed(lost) => {
                self.line(&format!("the capture goes on; {} lost", count_were(lost, "flow")));
            }
            Notice::Warning(text) => self.failure(format!("warning: {}", visible(&text))),
        }
    }

    fn failure(&mut self, line: String) {
        if let Some(count) = self.failures.get_mut(&line) {
            *count += 1;
        } else if self.failures.len() < FAILURES {
            self.line(&line);
            self.failures.insert(line, 1);
        } else {
            if self.more_failures == 0 {
                self.line("more failures are counted and not printed");
            }
            self.more_failures += 1;
        }
    }

    /// Shows the flows that have ended, and renews the live line.
    pub fn refresh(&mut self) {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.last.0);
        if now.saturating_duration_since(self.flows_printed) >= LIVE_INTERVAL {
            self.flows_printed = now;
            self.print_flows();
        }
        if !self.live || self.shown && elapsed < LIVE_INTERVAL {
            return;
        }
        let exchanges = self.stats.exchanges.get();
        let rate = exchanges.saturating_sub(self.last.1) as f64 / elapsed.as_secs_f64().max(0.001);
        self.last = (now, exchanges);
        let mut text = format!(
            "{exchanges} flows  {rate:.0}/s  {}  {} connections",
            size(self.stats.bytes.get()),
            self.stats.connections.get()
        );
        if self.stats.capture_suspended.get() > 0 {
            text.push_str("  CAPTURE SUSPENDED");
        }
        for (count, what) in [
            (self.stats.faults.get(), "faults"),
            (self.stats.flows_lost.get(), "lost"),
            (self.stats.messages_lost.get(), "messages lost"),
            (self.stats.messages_left_out.get(), "messages left out"),
            (self.stats.bodies_cut.get(), "bodies cut"),
            (self.stats.notices_dropped.get(), "messages not shown"),
        ] {
            if count > 0 {
                text.push_str(&format!("  {count} {what}"));
            }
        }
        self.show(&text);
    }

    /// Prints the flows that have ended since the last time.
    fn print_flows(&mut self) {
        let lines = self.flows.as_mut().filter(|flows| flows.is_on());
        let lines = lines.map(FlowLines::take).unwrap_or_default();
        if !lines.is_empty() {
            self.print(&lines);
        }
    }

    /// Shows a text on the live line.
    pub fn show(&mut self, text: &str) {
        // A terminal that is behind has no use for it.
        if !self.live || self.printer.is_behind() {
            return;
        }
        let text: String = text.chars().take(width().saturating_sub(1)).collect();
        self.shown = self.printer.error(format!("{CLEAR}{text}"));
    }

    /// Takes the live line away, and tells how often failures were repeated.
    pub fn finish(&mut self) {
        self.print_flows();
        let mut repeated: Vec<_> = self.failures.iter().filter(|(_, count)| **count > 1).collect();
        repeated.sort();
        let lines: Vec<_> =
            repeated.iter().map(|(line, count)| format!("{count} times: {line}")).collect();
        for line in lines {
            self.line(&line);
        }
        if self.more_failures > 0 {
            let count = self.more_failures;
            self.line(&format!("{count} more failures were not printed"));
        }
        self.clear();
    }

    fn clear(&mut self) {
        if self.shown {
            self.print("");
        }
    }

    /// Waits for a moment until all is printed.
    pub(super) fn end(self) {
        self.printer.finish();
    }

    /// Prints one more result, the last, until it is read or `signals` tell of impatience.
    ///
    /// # Errors
    /// When results are lost.
    pub(super) fn end_with<T>(self, result: String, signals: &Receiver<T>) -> Result<()> {
        self.printer.finish_with(result, signals)
    }
}
