//! HAR 1.2 of stored flows, and of what a bundle holds.
//!
//! Both sources are brought into one form, of which entries are made. A file is written entry by
//! entry, so that no more than one is held in memory.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::capture::flow::{self, Flow};
use crate::capture::messages::Lacking;
use crate::flow::redact::Redactor;
use crate::flow::stored::StoredFlow;

pub mod cookies;
mod entry;

/// Writes flows as a HAR file, in the order in which they began; gives the number of entries.
///
/// # Errors
/// When `out` cannot be written; a part of the file may have been by then.
pub fn write_har(
    out: &mut dyn Write,
    flows: &mut dyn Iterator<Item = Arc<StoredFlow>>,
    redactor: &Redactor,
) -> io::Result<u64> {
    let mut flows: Vec<_> = flows.collect();
    flows.sort_by_key(|flow| (flow.timing.began_us, flow.id));
    let mut log = Log::default();
    log.begin(out)?;
    for stored in flows {
        log.entry(out, &flow::of_stored(&stored), redactor)?;
    }
    log.end(out)
}

/// One flow as an entry of a HAR file.
pub fn har_entry(stored: &StoredFlow, redactor: &Redactor) -> Value {
    let entry = entry::Entry::new(&flow::of_stored(stored), redactor);
    // Only keys that are no text could fail, and there are none.
    serde_json::to_value(entry).unwrap_or_default()
}

/// What the entry of a flow lacks of its messages.
pub(crate) fn lacking(stored: &StoredFlow, redactor: &Redactor) -> Lacking {
    match stored.websocket {
        Some(_) => flow::of_stored(stored).lacking(redactor),
        None => Lacking::default(),
    }
}

/// A HAR file that is being written.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: u64,
}

#[derive(Serialize)]
struct Creator {
    name: &'static str,
    version: &'static str,
}

impl Log {
    /// Writes what stands before the entries.
    pub(super) fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let creator = Creator { name: "flowtap", version: env!("CARGO_PKG_VERSION") };
        out.write_all(b"{\"log\":{\"version\":\"1.2\",\"creator\":")?;
        serde_json::to_writer(&mut *out, &creator)?;
        out.write_all(b",\"entries\":[")
    }

    /// Writes an entry.
    pub(super) fn entry(
        &mut self,
        out: &mut dyn Write,
        flow: &Flow,
        redactor: &Redactor,
    ) -> io::Result<()> {
        out.write_all(if self.entries == 0 { b"\n" } else { b",\n" })?;
        self.entries += 1;
        Ok(serde_json::to_writer(out, &entry::Entry::new(flow, redactor))?)
    }

    /// Writes what stands behind the entries; gives their number.
    pub(super) fn end(&mut self, out: &mut dyn Write) -> io::Result<u64> {
        out.write_all(b"\n]}}\n")?;
        out.flush()?;
        Ok(self.entries)
    }
}
