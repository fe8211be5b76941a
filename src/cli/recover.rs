//! `flowtap recover`: a whole bundle of what a killed capture left behind.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::capture::recorder::check_output;
use crate::capture::recover::{Found, Recovered, find, recover};
use crate::cli::results;
use crate::cli::settings::Recover;
use crate::error::{Error, Result};
use crate::notice::{count, count_were};

/// Makes the bundles of all killed captures that a file leads to. Their paths go to the standard
/// output, one to a line, and what there is to say of them to standard error.
///
/// # Errors
/// When there is nothing to recover, or when something of it could not be recovered; what could
/// stands all the same.
pub fn run(settings: &Recover) -> Result<()> {
    settings.output.as_deref().map_or(Ok(()), check_output)?;
    let Found { output: origin, journals, live } = find(&settings.file)?;
    let left_alone = |journal: &PathBuf| {
        let journal = journal.display();
        format!("{journal} is left alone: its capture is still running, or is being recovered")
    };
    let left_alone: Vec<_> = live.iter().map(left_alone).collect();
    if journals.is_empty() {
        return Err(Error::new(left_alone.join("; ")));
    }
    let Some(origin) = origin.or_else(|| settings.output.clone()) else {
        return Err(Error::usage(format!(
            "the name of {} does not tell what its bundle is called: say so with -o FILE",
            settings.file.display()
        )));
    };
    let output = settings.output.as_ref().unwrap_or(&origin);
    tell(&left_alone.iter().map(|line| format!("note: {line}\n")).collect::<String>());
    let mut failures = Vec::new();
    for journal in &journals {
        match recover(journal, &origin, output) {
            Ok(recovered) => {
                say(journal, &recovered);
                failures.extend(give(&recovered.paths).err().map(|error| error.to_string()));
                failures.extend(why_it_stays(journal, &recovered));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Error::new(failures.join("; "))),
    }
}

fn why_it_stays(journal: &Path, recovered: &Recovered) -> Option<String> {
    let why = recovered.failures.join(", ");
    let journal = journal.display();
    (!why.is_empty()).then(|| {
        format!("{why}: {journal} stays, and can be removed when nobody needs what is in it")
    })
}

/// Says what was made of a journal.
fn say(journal: &Path, recovered: &Recovered) {
    let Recovered { traces, websockets, messages, paths, open_websockets, under_way, .. } =
        recovered;
    let journal = journal.display();
    let mut text = match paths.len() {
        0 if recovered.failures.is_empty() => format!("{journal}: nothing was recorded in it"),
        0 => format!("{journal}: nothing of it could be read"),
        parts => format!(
            "recovered {journal}: {}, {}, {}{}",
            count(*traces, "trace"),
            count(*websockets, "WebSocket connection"),
            count(*messages, "message"),
            if parts > 1 { format!(" in {parts} parts") } else { String::new() }
        ),
    };
    text.push('\n');
    if *open_websockets > 0 {
        text.push_str(&format!(
            "{} had not ended; the messages until then are there\n",
            count(*open_websockets, "connection")
        ));
    }
    if *under_way > 0 {
        text.push_str(&format!(
            "{} under way: only pieces were written, and are not in the bundle\n",
            count_were(*under_way, "flow")
        ));
    }
    for note in &recovered.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    tell(&text);
}

/// Prints the paths of a bundle, of which a failure tells the first.
fn give(paths: &[PathBuf]) -> Result<()> {
    let Some(first) = paths.first() else { return Ok(()) };
    let mut lines = Vec::new();
    for path in paths {
        lines.extend_from_slice(path.as_os_str().as_encoded_bytes());
        lines.push(b'\n');
    }
    let named = |error| Error::new(format!("{error}; the bundle is {}", first.display()));
    results::print(&lines).map_err(named)
}

fn tell(text: &str) {
    // There is nobody else to tell when standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}
