//! HAR 1.2.

use std::io::{self, Write};

use super::{Format, Left, One};
use crate::capture::har::Log;
use crate::flow::redact::Redactor;

/// A HAR file that is being written.
pub(super) struct Har<'r> {
    log: Log,
    redactor: &'r Redactor,
}

impl<'r> Har<'r> {
    pub(super) fn new(redactor: &'r Redactor) -> Self {
        Har { log: Log::default(), redactor }
    }
}

impl Format for Har<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.log.begin(out)
    }

    fn flow(&mut self, out: &mut dyn Write, one: &One<'_>) -> io::Result<()> {
        self.log.entry(out, one.flow, self.redactor)
    }

    fn end(&mut self, out: &mut dyn Write, _left: &mut Left) -> io::Result<u64> {
        self.log.end(out)
    }
}
