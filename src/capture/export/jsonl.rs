//! JSON lines: an object for each flow, as docs/export.md has it.

use std::io::{self, Write};

use super::line::{Caps, Line};
use super::{Format, Left, One};
use crate::flow::redact::Redactor;

/// Lines that are being written.
pub(super) struct JsonLines<'r> {
    lines: u64,
    redactor: &'r Redactor,
}

impl<'r> JsonLines<'r> {
    pub(super) fn new(redactor: &'r Redactor) -> Self {
        JsonLines { lines: 0, redactor }
    }
}

impl Format for JsonLines<'_> {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn flow(&mut self, out: &mut dyn Write, one: &One<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &Line::new(one, self.redactor, &Caps::NONE))?;
        self.lines += 1;
        out.write_all(b"\n")
    }

    fn end(&mut self, out: &mut dyn Write, _left: &mut Left) -> io::Result<u64> {
        out.flush()?;
        Ok(self.lines)
    }
}
