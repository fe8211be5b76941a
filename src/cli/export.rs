//! `flowtap export`: a bundle as a file of another format.

use std::io::{self, Write};

use crate::capture::export::{Exported, Kind, export, write_whole};
use crate::capture::parts::Parts;
use crate::cli::results::Reader;
use crate::cli::settings::Export;
use crate::cli::words::visible;
use crate::error::{Error, Result};
use crate::flow::redact::Redactor;
use crate::notice::count;

/// Exports a bundle, and says on standard error what was written and what could not be read.
///
/// # Errors
/// When the bundle cannot be read or the file cannot be written.
pub fn run(settings: &Export) -> Result<()> {
    let redactor = if settings.redact { Redactor::default() } else { Redactor::off() };
    let bundle = settings.bundle.as_path();
    let filter = settings.filter.as_ref();
    let kind = settings.kind;
    let Some(file) = &settings.file else {
        let mut out = io::BufWriter::new(Reader::new(io::stdout().lock()));
        let exported = export(bundle, kind, &mut out, &redactor, filter);
        return match exported {
            Err(_) if out.get_ref().has_gone() => Ok(()),
            exported => exported.map(|exported| say(kind, &exported, "-")),
        };
    };
    if Parts::open(bundle)?.has(file) {
        let (kind, file) = (kind.name(), file.display());
        return Err(Error::usage(format!("--{kind} {file} would replace the bundle itself")));
    }
    let exported = write_whole(file, |out| export(bundle, kind, out, &redactor, filter))?;
    say(kind, &exported, &file.display().to_string());
    Ok(())
}

fn say(kind: Kind, exported: &Exported, file: &str) {
    let Exported { entries, parts, left_out } = exported;
    let mut text = String::new();
    for line in left_out {
        text.push_str(&format!("warning: left out: {}\n", visible(line)));
    }
    let parts = if *parts > 1 { format!(" of {parts} parts") } else { String::new() };
    let (name, entries) = (kind.name(), count(*entries, kind.entry()));
    text.push_str(&format!("{name:<6} {} ({entries}{parts})\n", visible(file)));
    // There is nobody else to tell when standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}
