//! The live line on a terminal, and notices as lines.

use std::collections::{HashMap, HashSet};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::cli::flow_lines::FlowLines;
use crate::cli::gathered::{Gathered, said};
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

/// A failure, and how often there was one of its cause.
#[derive(Debug)]
struct Failure {
    line: String,
    count: u64,
}

/// What failures have in common that tell of the same thing: where it happened, whatever the
/// method and the client's port were, and why, whatever numbers the reason has.
fn cause(what: &str, reason: &str) -> String {
    let place = match what.rsplit_once(' ') {
        Some(("request from", peer)) => peer.rsplit_once(':').map_or(peer, |(host, _)| host),
        Some((_, place)) => place,
        None => what,
    };
    let is_digit = |character: char| character.is_ascii_digit();
    let reason: Vec<_> = reason.split(is_digit).filter(|words| !words.is_empty()).collect();
    format!("{place} {}", reason.join("#"))
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
    ca: String,
    /// Hosts whose clients do not trust the CA, and how often that was.
    distrusted: HashMap<String, u64>,
    /// Failures by their cause.
    failures: HashMap<String, Failure>,
    /// All failures and warnings, however often they were repeated.
    failed: u64,
    faults: HashSet<String>,
    /// Flows that are shown as they end.
    flows: Option<FlowLines>,
    flows_printed: Instant,
    more_failures: u64,
    /// What is to be printed at the end, where nothing is printed before.
    gathered: Option<Gathered>,
    last: (Instant, u64),
}

impl Status {
    /// Prints on standard error; the live line only where that is a terminal. `ca` is what
    /// clients are advised to trust.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(stats: Arc<Stats>, ca: String) -> Result<Self> {
        Ok(Status {
            printer: Printer::start()?,
            stats,
            live: io::stderr().is_terminal(),
            shown: false,
            ca,
            distrusted: HashMap::new(),
            failures: HashMap::new(),
            failed: 0,
            faults: HashSet::new(),
            flows: None,
            flows_printed: Instant::now(),
            more_failures: 0,
            gathered: None,
            last: (Instant::now(), 0),
        })
    }

    /// Shows no live line, whatever standard error is.
    pub(super) fn show_no_live_line(&mut self) {
        self.live = false;
    }

    /// As [`Status::new`], but lines that stay are printed at the end, all at once: standard error
    /// is another program's. With `quiet` nothing else is printed at all.
    pub(super) fn gathering(stats: Arc<Stats>, ca: String, quiet: bool) -> Result<Self> {
        let status = Self::new(stats, ca)?;
        let gathered = Some(Gathered::new(quiet));
        Ok(Status { live: false, gathered, ..status })
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

    /// Prints a line of what will soon be over, at once: it says why the end is not yet.
    pub(super) fn passing(&mut self, text: &str) {
        match &self.gathered {
            None => self.line(text),
            Some(Gathered { quiet: true, .. }) => {}
            Some(_) => {
                self.printer.error(said(text));
            }
        }
    }

    /// Prints what stays, in the place of the live line.
    fn print(&mut self, text: &str) {
        if let Some(gathered) = &mut self.gathered {
            if !gathered.take(text) {
                self.stats.notices_dropped.add(1);
            }
            return;
        }
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
                self.failure(cause(&what, &reason), line);
            }
            Notice::ClientDistrusts { host, alert } => {
                self.failed += 1;
                if let Some(count) = self.distrusted.get_mut(&host) {
                    *count += 1;
                } else if self.distrusted.len() < FAILURES {
                    self.distrusted.insert(host.clone(), 1);
                    let (host, ca) = (visible(&host), visible(&self.ca));
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
            Notice::Warning(text) => {
                self.failure(text.clone(), format!("warning: {}", visible(&text)));
            }
        }
    }

    /// Prints a line for the first failure of its cause, and counts the others.
    fn failure(&mut self, cause: String, line: String) {
        self.failed += 1;
        if let Some(failure) = self.failures.get_mut(&cause) {
            failure.count += 1;
        } else if self.failures.len() < FAILURES {
            self.line(&line);
            self.failures.insert(cause, Failure { line, count: 1 });
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
        // The flows that follow are no reason to show no live line below them.
        let is_behind = self.printer.is_behind();
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
            (self.failed, "failures"),
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
        self.show_unless(is_behind, &text);
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
        self.show_unless(self.printer.is_behind(), text);
    }

    /// A terminal that is behind has no use for the live line.
    fn show_unless(&mut self, is_behind: bool, text: &str) {
        if !self.live || is_behind {
            return;
        }
        let text: String = text.chars().take(width().saturating_sub(1)).collect();
        self.shown = self.printer.error(format!("{CLEAR}{text}"));
    }

    /// Takes the live line away, and tells how often failures were repeated.
    pub fn finish(&mut self) {
        self.print_flows();
        let is_gathered = self.gathered.is_some();
        if let Some(gathered) = &mut self.gathered {
            let failures = self.failures.values();
            gathered
                .count(failures.map(|failure| (failure.line.as_str(), failure.count)).collect());
        }
        let failures = self.failures.values().filter(|failure| failure.count > 1 && !is_gathered);
        let mut lines: Vec<_> =
            failures.map(|Failure { line, count }| format!("{count} times: {line}")).collect();
        let distrusted = self.distrusted.iter().filter(|(_, count)| **count > 1);
        lines.extend(distrusted.map(|(host, count)| {
            format!("{count} times: clients refused the CA for {}", visible(host))
        }));
        lines.sort();
        for line in lines {
            self.line(&line);
        }
        let not_shown = self.stats.notices_dropped.get();
        if self.gathered.is_some() && not_shown > 0 {
            self.line(&format!("{not_shown} messages were not shown"));
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
        if let Some(gathered) = self.gathered.filter(|gathered| !gathered.is_empty()) {
            self.printer.error(gathered.text());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_cause_differ_in_method_port_and_numbers_alone() {
        let of = |what: &str| cause(what, "connecting to 127.0.0.1:81 took 12 s");
        assert_eq!(of("GET http://h:80"), of("POST http://h:80"));
        assert_eq!(of("request from [::1]:5"), of("request from [::1]:66"));
        assert_ne!(of("GET http://h:80"), of("GET http://h:81"));
        assert_ne!(of("request from 127.0.0.1:5"), of("request from 127.0.0.2:5"));
        let reason = |reason| cause("CONNECT h:443", reason);
        assert_eq!(reason("5 of 10 bytes"), reason("15 of 1 bytes"));
        assert_ne!(reason("it was reset"), reason("it was refused"));
    }
}
