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
use crate::limits::GATHERED_BYTES;
use crate::notice::Notice;
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
    /// What is to be printed at the end, where nothing is printed before.
    gathered: Option<Gathered>,
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
            gathered: None,
            last: (Instant::now(), 0),
        })
    }

    /// As [`Status::new`], but lines that stay are printed at the end, all at once: standard error
    /// is another program's. With `quiet` nothing else is printed at all.
    pub(super) fn gathering(stats: Arc<Stats>, ca: PathBuf, quiet: bool) -> Result<Self> {
        let status = Self::new(stats, ca)?;
        let gathered = Some(Gathered { quiet, ..Gathered::default() });
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
                self.line(&format!("the capture goes on; {lost} flows were lost"));
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
        if let Some(gathered) = &mut self.gathered {
            gathered.count(&self.failures);
            repeated.clear();
        }
        let lines: Vec<_> =
            repeated.iter().map(|(line, count)| format!("{count} times: {line}")).collect();
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
        if let Some(gathered) = self.gathered.filter(|gathered| !gathered.lines.is_empty()) {
            self.printer.error(gathered.text());
        }
        self.printer.finish();
    }

    /// Prints one more result, the last, until it is read or `signals` tell of impatience.
    pub(super) fn end_with<T>(self, result: String, signals: &Receiver<T>) {
        self.printer.finish_with(result, signals);
    }
}

/// Lines that are printed at the end, each after the name of who says it.
#[derive(Debug, Default)]
struct Gathered {
    lines: Vec<String>,
    bytes: usize,
    quiet: bool,
}

/// A line beside those of another program.
fn said(line: &str) -> String {
    format!("flowtap: {line}\n")
}

impl Gathered {
    /// Takes lines; false when there is too much, and these are left out.
    fn take(&mut self, lines: &str) -> bool {
        let has_room = self.bytes + lines.len() <= GATHERED_BYTES;
        if has_room {
            self.bytes += lines.len();
            self.lines.extend(lines.lines().map(str::to_owned));
        }
        has_room
    }

    /// Has each line say how often it came.
    fn count(&mut self, counts: &HashMap<String, u64>) {
        for line in &mut self.lines {
            if let Some(count) = counts.get(line).filter(|count| **count > 1) {
                line.push_str(&format!(" ({count} times)"));
            }
        }
    }

    /// All of it, for one write.
    fn text(&self) -> String {
        self.lines.iter().map(|line| said(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_is_told_once_with_its_count_and_bounded() {
        let mut gathered = Gathered::default();
        assert!(gathered.take("a\nb\n") && gathered.take("c\n"));
        gathered.count(&HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 3)]));
        assert_eq!(gathered.text(), "flowtap: a\nflowtap: b (3 times)\nflowtap: c\n");
        assert!(!gathered.take(&"x".repeat(GATHERED_BYTES)));
        assert_eq!(gathered.lines.len(), 3);
    }
}
