//! `flowtap inspect`: what a bundle holds, as a list; one trace or connection in full.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::capture::bundle::part_path;
use crate::capture::curl;
use crate::capture::parts::{Parts, Place};
use crate::capture::read;
use crate::cli::results;
use crate::cli::settings::{Inspect, InspectForm};
use crate::cli::words::{duration, size, visible};
use crate::error::{Error, Result};
use crate::flow::record::Side;
use crate::flow::redact::Redactor;
use crate::notice::{count, count_matches};

mod content;
mod full;
mod indent;
mod list;
mod row;

use list::{Totals, Wanted};
use row::Row;
pub use row::{Column, Sort};

/// Where the words go.
pub struct Streams<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What could not be read, a line each.
    pub warnings: &'a mut dyn Write,
    /// Whether `out` has colour.
    pub colour: bool,
    /// Whether `out` is a terminal.
    pub terminal: bool,
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Streams { colour, terminal, .. } = self;
        f.debug_struct("Streams").field("colour", colour).field("terminal", terminal).finish()
    }
}

/// Shows what a bundle and the parts that follow it hold, in the form that is wanted; or one flow
/// of them. A reader of the output that goes away is no error.
///
/// # Errors
/// When the bundle cannot be read or has no such flow, when nothing of it can be read, and when
/// the output cannot be written.
pub fn run(settings: &Inspect, streams: Streams<'_>) -> Result<()> {
    let mut parts = Parts::open(&settings.bundle)?;
    let Streams { out, warnings, colour, terminal } = streams;
    let mut warnings = Warnings { out: warnings, given: 0 };
    let mut page = Page { out, colour };
    let shown = match &settings.trace {
        None => list(&mut parts, settings, &mut page, &mut warnings),
        Some(id) => match parts.find(id)? {
            Some(place) => one(&mut parts, &place, settings, &mut page, terminal),
            None => return Err(unknown_id(&mut parts, id)?),
        },
    };
    match shown.and_then(|()| page.out.flush().map_err(Failure::Output)) {
        Ok(()) => Ok(()),
        Err(Failure::Output(error)) => results::judge(Err(error)),
        Err(Failure::Bundle(error)) => Err(error),
    }
}

enum Failure {
    Output(io::Error),
    Bundle(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Bundle(error)
    }
}

fn unknown_id(parts: &mut Parts, id: &str) -> Result<Error> {
    let bundle = parts.part(0)?;
    let held = match (bundle.trace_ids(), bundle.websocket_ids()) {
        ([], []) => "it holds nothing".to_owned(),
        ([first, .., last], _) => format!("its traces are {first} to {last}"),
        ([only], _) => format!("its only trace is {only}"),
        ([], [first, ..]) => format!("its first WebSocket is {first}"),
    };
    let further = match parts.count() {
        0 | 1 => String::new(),
        2 => ", and those of its part 2, as 2:t_0001".to_owned(),
        last => format!(", and those of its parts 2 to {last}, as 2:t_0001"),
    };
    let path = parts.path(0).display();
    Ok(Error::new(format!("no trace {} in {path}: {held}{further}", visible(id))))
}

struct Warnings<'a> {
    out: &'a mut dyn Write,
    given: usize,
}

impl Warnings<'_> {
    fn give(&mut self, reason: &str) {
        self.given += 1;
        // There is nobody else to tell when standard error is closed.
        let _ = writeln!(self.out, "warning: left out: {}", visible(reason));
    }
}

struct Page<'a> {
    out: &'a mut dyn Write,
    colour: bool,
}

impl Page<'_> {
    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        self.line(&self.paint(1, text))
    }

    fn paint(&self, code: u8, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A name that has a value.
    fn name(&self, text: &str) -> String {
        self.paint(36, text)
    }

    /// A status code, already padded, in the colour of its class.
    fn status(&self, status: u16, text: &str) -> String {
        let code = match status {
            100..200 => 35,
            200..300 => 32,
            300..400 => 36,
            400..500 => 33,
            _ => 31,
        };
        self.paint(code, text)
    }
}

/// The list, in the form that is wanted.
fn list(
    parts: &mut Parts,
    settings: &Inspect,
    page: &mut Page<'_>,
    warnings: &mut Warnings<'_>,
) -> std::result::Result<(), Failure> {
    let wanted = Wanted {
        filter: settings.filter.as_ref(),
        sort: settings.sort,
        reverse: settings.reverse,
        limit: settings.limit,
    };
    let columns = settings.columns.as_slice();
    if settings.form == InspectForm::Table {
        page.heading(&titles(columns, parts.count()))?;
    }
    let mut is_first = true;
    let mut show = |parts: &mut Parts, place: &Place, row: &Row| {
        match settings.form {
            InspectForm::Table => table_row(page, columns, row, parts.count())?,
            InspectForm::Json => json_line(page, row)?,
            InspectForm::Curl => {
                if !std::mem::take(&mut is_first) {
                    page.line("")?;
                }
                show_curl(page, parts, place)?;
            }
        }
        Ok(())
    };
    let totals = list::each(parts, &wanted, warnings, &mut show)?;
    if settings.form == InspectForm::Table {
        page.heading(&totals_words(parts, &totals, settings.filter.is_some())?)?;
        goes_on(parts, page)?;
    }
    if totals.read == 0 && warnings.given > 0 {
        page.out.flush()?;
        let path = parts.path(0).display();
        return Err(Error::new(format!("nothing that {path} holds could be read")).into());
    }
    Ok(())
}

/// Pads a text to the width of its column.
fn padded(column: Column, text: &str, parts: usize) -> String {
    let (width, to_the_right) = column.width();
    // Ids of further parts have the part's number before them.
    let more = match (column, parts) {
        (Column::Id, 2..) => parts.to_string().len() + 1,
        _ => 0,
    };
    let width = width + more;
    if to_the_right { format!("{text:>width$}") } else { format!("{text:<width$}") }
}

fn titles(columns: &[Column], parts: usize) -> String {
    let title = |column: &Column| padded(*column, &column.name().to_ascii_uppercase(), parts);
    let titles: Vec<_> = columns.iter().map(title).collect();
    titles.join(" ").trim_end().to_owned()
}

fn table_row(page: &mut Page<'_>, columns: &[Column], row: &Row, parts: usize) -> io::Result<()> {
    let cell = |column: &Column| {
        let text = padded(*column, &column.text(row), parts);
        match column {
            Column::Status => page.status(row.status.unwrap_or_default(), &text),
            Column::Error => page.paint(31, &text),
            _ => text,
        }
    };
    let cells: Vec<_> = columns.iter().map(cell).collect();
    page.line(cells.join(" ").trim_end())
}

fn json_line(page: &mut Page<'_>, row: &Row) -> io::Result<()> {
    serde_json::to_writer(&mut *page.out, row)?;
    page.line("")
}

fn show_curl(
    page: &mut Page<'_>,
    parts: &mut Parts,
    place: &Place,
) -> std::result::Result<(), Failure> {
    let flow = parts.read(place)??;
    let path = parts.path(0).to_string_lossy();
    // It would be taken for options.
    let prefix = if path.starts_with('-') { "./" } else { "" };
    let bundle = curl::word(&format!("{prefix}{path}"));
    let id = parts.full_id(place);
    let output = format!("flowtap inspect {bundle} --trace {id} --body request");
    let source = curl::has_long_body(&flow).then_some(output.as_str());
    page.line(&curl::command(&flow, source, &Redactor::off()))?;
    Ok(())
}

fn totals_words(parts: &mut Parts, totals: &Totals, is_filtered: bool) -> Result<String> {
    let mut words = format!(
        "{}, {}, {}, {} received",
        count(totals.traces, "trace"),
        count(totals.websockets, "WebSocket"),
        count(totals.messages, "message"),
        size(totals.received_bytes)
    );
    if is_filtered {
        words.push_str(&format!("; {}", count_matches(totals.matching(), totals.read, "flow")));
    } else {
        let mut duration_ms = 0.0;
        for number in 0..parts.count() {
            // Of one that cannot be read a warning was given.
            duration_ms += parts.part(number).map_or(0.0, |part| part.manifest().duration_ms);
        }
        let created_at = &parts.part(0)?.manifest().created_at;
        words.push_str(&format!(", {} from {}", duration(duration_ms), visible(created_at)));
    }
    let more = totals.matching().saturating_sub(totals.shown);
    if more > 0 {
        let verb = if more == 1 { "is" } else { "are" };
        words.push_str(&format!("; {more} more {verb} not shown (--limit)"));
    }
    Ok(words)
}

/// Says where the capture goes on.
fn goes_on(parts: &mut Parts, page: &mut Page<'_>) -> std::result::Result<(), Failure> {
    let last = parts.count();
    let file = |number: usize| parts.path(number).display().to_string();
    match last {
        0 | 1 => {}
        2 => page.line(&format!("the capture goes on in {}, which is part 2", file(1)))?,
        _ => {
            let (from, to) = (file(1), file(last - 1));
            page.line(&format!("the capture goes on in {from} to {to}, parts 2 to {last}"))?;
        }
    }
    if last > 1 {
        return Ok(());
    }
    let path = parts.path(0).to_owned();
    let manifest = parts.part(0)?.manifest();
    let after = (manifest.series_id.clone(), manifest.part_number.saturating_add(1));
    let follows = |next: &PathBuf| read::series(next).is_some_and(|found| found == after);
    if let Some(next) = next_parts(&path).into_iter().flatten().find(follows) {
        page.line(&format!("the capture goes on in {}", next.display()))?;
    }
    Ok(())
}

/// The files that the next part may have, by the names that a capture gives its parts.
fn next_parts(path: &Path) -> [Option<PathBuf>; 2] {
    [Some(part_path(path, 2)), after_numbered(path)]
}

/// What follows `capture-0002.zip`.
fn after_numbered(path: &Path) -> Option<PathBuf> {
    let (name, number) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let number: u32 = number.parse().ok().filter(|_| number.len() >= 4)?;
    let mut first = PathBuf::from(name);
    if let Some(extension) = path.extension() {
        first.as_mut_os_string().push(".");
        first.as_mut_os_string().push(extension);
    }
    Some(part_path(&path.with_file_name(first), number.checked_add(1)?))
}

/// One flow, in the form that is wanted.
fn one(
    parts: &mut Parts,
    place: &Place,
    settings: &Inspect,
    page: &mut Page<'_>,
    terminal: bool,
) -> std::result::Result<(), Failure> {
    match (settings.body, settings.form) {
        (Some(side), _) => body(parts, place, side, page, terminal),
        (None, InspectForm::Curl) => show_curl(page, parts, place),
        (None, InspectForm::Json) => match list::read(parts, place, None)?? {
            Some(row) => Ok(json_line(page, &row)?),
            None => Ok(()),
        },
        (None, InspectForm::Table) if place.is_socket => {
            full::websocket(parts.part(place.part)?, &place.id, page)
        }
        (None, InspectForm::Table) => full::trace(parts.part(place.part)?, &place.id, page),
    }
}

/// The bytes of a body; a terminal, which they could drive, gets them as they are shown in full.
fn body(
    parts: &mut Parts,
    place: &Place,
    side: Side,
    page: &mut Page<'_>,
    terminal: bool,
) -> std::result::Result<(), Failure> {
    if place.is_socket {
        return Err(
            Error::usage("--body is for traces; --trace shows a WebSocket's messages").into()
        );
    }
    let bundle = parts.part(place.part)?;
    let trace = bundle.trace(&place.id)?;
    let message = if side == Side::Request { &trace.request } else { &trace.response };
    if terminal {
        return full::body(bundle, message, page);
    }
    if let Some(file) = &message.body_file {
        bundle.write_trace_body(file, page.out)??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_part_follows_from_the_name() {
        let next =
            |path: &str| next_parts(Path::new(path)).map(|next| next.map(PathBuf::into_os_string));
        assert_eq!(next("d/capture.zip"), [Some("d/capture-0002.zip".into()), None]);
        let both = ["d/capture-0002-0002.zip", "d/capture-0003.zip"];
        assert_eq!(next("d/capture-0002.zip"), both.map(|path| Some(path.into())));
        assert_eq!(next("my-api.zip"), [Some("my-api-0002.zip".into()), None]);
    }
}
