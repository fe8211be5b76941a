//! Reads the bundle back and compares it with what was asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowtap::capture::read::Bundle;

use super::agents::id_in;
use super::ledger::Expected;
use super::world::Outcome;

/// So many ids are named where something is wrong with them.
const NAMED: usize = 10;

/// What the bundle holds.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) parts: Vec<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) traces: u64,
    pub(crate) sockets: u64,
    pub(crate) messages: u64,
    /// Traces of what was no request, and has no URL.
    pub(crate) nameless: u64,
    /// URLs of traces that nobody here has asked for.
    strange: Vec<String>,
}

/// Reads all parts of the capture with this output.
pub(crate) fn check(output: &Path, expected: &Expected, reasons: &mut Vec<String>) -> Recorded {
    let mut recorded = Recorded::default();
    let mut traces: HashMap<u64, u16> = HashMap::new();
    let mut sockets: HashMap<u64, u64> = HashMap::new();
    for number in 1.. {
        let path = part(output, number);
        if !path.exists() {
            break;
        }
        if let Err(why) = read(&path, &mut recorded, &mut traces, &mut sockets) {
            reasons.push(why);
        }
        recorded.bytes += path.metadata().map_or(0, |about| about.len());
        recorded.parts.push(path);
    }
    tell("URLs", &recorded.strange, reasons);
    let mut wrong = Vec::new();
    for (id, range) in expected.traces.iter().enumerate() {
        let count = traces.remove(&(id as u64)).unwrap_or(0);
        if !(range.least..=range.most).contains(&count) {
            wrong.push(format!("{id} has {count}, not {} to {}", range.least, range.most));
        }
    }
    wrong.extend(traces.keys().map(|id| format!("{id} was never asked")));
    tell("traces", &wrong, reasons);
    if recorded.nameless > expected.nameless {
        reasons.push(format!(
            "{} traces without a URL, and {} requests that were none",
            recorded.nameless, expected.nameless
        ));
    }
    let mut wrong = Vec::new();
    for (id, messages) in &expected.sockets {
        let count = sockets.get(id).copied();
        if count != Some(*messages) {
            wrong.push(format!("{id} has {count:?} messages, not {messages}"));
        }
    }
    tell("WebSockets", &wrong, reasons);
    if recorded.sockets > expected.sockets_begun {
        reasons.push(format!("{} WebSockets, more than were opened", recorded.sockets));
    }
    recorded
}

fn tell(what: &str, wrong: &[String], reasons: &mut Vec<String>) {
    if !wrong.is_empty() {
        let some = wrong[..wrong.len().min(NAMED)].join("; ");
        reasons.push(format!("{} {what} are not as they should be: {some}", wrong.len()));
    }
}

/// A part of the bundle: `capture.zip`, `capture-0002.zip`.
fn part(output: &Path, number: u32) -> PathBuf {
    match number {
        1 => output.to_owned(),
        number => output.with_file_name(format!("capture-{number:04}.zip")),
    }
}

fn read(
    path: &Path,
    recorded: &mut Recorded,
    traces: &mut HashMap<u64, u16>,
    sockets: &mut HashMap<u64, u64>,
) -> Outcome {
    let words = |error: flowtap::error::Error| error.to_string();
    let mut bundle = Bundle::open(path).map_err(words)?;
    for id in bundle.trace_ids().to_vec() {
        let url = bundle.trace(&id).map_err(words)?.request.url;
        recorded.traces += 1;
        match id_in(&url) {
            Some(number) => *traces.entry(number).or_default() += 1,
            None if url == "http://" || url == "https://" => recorded.nameless += 1,
            None => recorded.strange.push(format!("{id} of {}: {url:?}", path.display())),
        }
    }
    for id in bundle.websocket_ids().to_vec() {
        let socket = bundle.websocket(&id).map_err(words)?;
        let number = id_in(&socket.url).ok_or_else(|| format!("{id} has {:?}", socket.url))?;
        if sockets.insert(number, socket.message_count).is_some() {
            return Err(format!("{id} is there twice"));
        }
        recorded.sockets += 1;
        recorded.messages += socket.message_count;
    }
    Ok(())
}

/// Has the independent reader judge all parts.
pub(crate) fn judge(parts: &[PathBuf], reasons: &mut Vec<String>) {
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check_bundle.py");
    for part in parts {
        match Command::new("python3").arg(checker).arg(part).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr);
                let said: Vec<_> = said.lines().take(NAMED).collect();
                reasons.push(format!("{}: {}", part.display(), said.join("; ")));
            }
            Err(error) => {
                reasons.push(format!("python3, which judges the bundle: {error}"));
                return;
            }
        }
    }
}
