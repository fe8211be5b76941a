//! A bundle, with all parts of its capture, as one file of another format.
//!
//! The flows are gone through once, and no more than one is held in memory: a format writes each
//! as it comes, or keeps what it needs of it within named limits.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::capture::flow::Flow;
use crate::capture::parts::Parts;
use crate::capture::private;
use crate::error::{Error, Result};
use crate::flow::filter::Filter;
use crate::flow::redact::Redactor;
use crate::limits::ASIDE_FILES;
use crate::notice::count;

mod curl;
mod har;
mod html;
mod jsonl;
mod line;
mod openapi;

/// What a bundle is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HAR 1.2.
    Har,
    /// An object of JSON a line.
    JsonLines,
    /// OpenAPI 3.1.
    OpenApi,
    /// A page that stands alone.
    Html,
    /// A shell script of curl commands.
    Curl,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Har, Kind::JsonLines, Kind::OpenApi, Kind::Html, Kind::Curl];

    /// Its short name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Har => "har",
            Kind::JsonLines => "jsonl",
            Kind::OpenApi => "openapi",
            Kind::Html => "html",
            Kind::Curl => "curl",
        }
    }

    /// What an entry of its files is called.
    pub fn entry(self) -> &'static str {
        match self {
            Kind::Har => "entry",
            Kind::JsonLines | Kind::Html => "flow",
            Kind::OpenApi => "operation",
            Kind::Curl => "command",
        }
    }

    fn format<'r>(self, about: &'r About<'r>) -> Box<dyn Format + 'r> {
        let redactor = about.redactor;
        match self {
            Kind::Har => Box::new(har::Har::new(redactor)),
            Kind::JsonLines => Box::new(jsonl::JsonLines::new(redactor)),
            Kind::OpenApi => Box::new(openapi::OpenApi::new(redactor)),
            Kind::Html => Box::new(html::Report::new(about)),
            Kind::Curl => Box::new(curl::Script::new(about)),
        }
    }
}

/// What an export wrote.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Entries of the file.
    pub entries: u64,
    /// Parts of the bundle.
    pub parts: usize,
    /// What could not be read, or is too much for the format, and was left out: a line for each.
    pub left_out: Vec<String>,
}

/// A format that is being written.
trait Format {
    /// Writes what stands before the flows.
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()>;

    /// Takes the next flow, in the order in which they began.
    fn flow(&mut self, out: &mut dyn Write, one: &One<'_>) -> io::Result<()>;

    /// Writes the rest; gives the number of entries, and adds to `left` what was left out.
    fn end(&mut self, out: &mut dyn Write, left: &mut Left) -> io::Result<u64>;
}

/// What was left out: a line for each reason.
type Left = Vec<String>;

/// What holds for all flows of an export.
struct About<'r> {
    /// The bundle's file, without its folder.
    name: String,
    redactor: &'r Redactor,
}

/// A flow, and where it stands.
struct One<'f> {
    /// As `inspect --trace` takes it.
    id: &'f str,
    /// The part of the capture, from 1.
    part: usize,
    flow: &'f Flow,
}

/// Writes what a bundle holds, in the order in which it began. Where the bundle is the first part
/// of a capture, the parts that follow it and stand beside it come with it. A filter leaves out
/// what it does not match.
///
/// # Errors
/// When the bundle cannot be read or `out` cannot be written. A flow that cannot be read is left
/// out, and told of in the result.
pub fn export(
    bundle: &Path,
    kind: Kind,
    out: &mut dyn Write,
    redactor: &Redactor,
    filter: Option<&Filter>,
) -> Result<Exported> {
    let mut parts = Parts::open(bundle)?;
    let left_out = parts.missing().to_vec();
    let mut exported = Exported { parts: parts.count(), left_out, ..Exported::default() };
    let places = parts.places(&mut exported.left_out)?;
    let first = parts.part_number(0)?;
    let written =
        |error: io::Error| Error::new(format!("cannot write the {}: {error}", kind.name()));
    let name = bundle.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let about = About { name, redactor };
    let mut format = kind.format(&about);
    format.begin(out).map_err(written)?;
    for place in places {
        match parts.read(&place)? {
            Ok(read) if filter.is_some_and(|filter| !read.matches(filter)) => {}
            Ok(read) => {
                let id = parts.full_id(&place);
                exported.left_out.extend(parts_left_out(&read, &id, redactor));
                let part = first.saturating_add(place.part);
                let one = One { id: &id, part, flow: &read };
                format.flow(out, &one).map_err(written)?;
            }
            Err(error) => exported.left_out.push(error.to_string()),
        }
    }
    exported.entries = format.end(out, &mut exported.left_out).map_err(written)?;
    Ok(exported)
}

/// What of a flow could not be read or was too much: a line for each.
fn parts_left_out(flow: &Flow, id: &str, redactor: &Redactor) -> Vec<String> {
    let response = flow.response.as_ref().map(|response| &response.message);
    let sides = [("request", Some(&flow.request)), ("response", response)];
    let bodies = sides.into_iter().filter_map(|(side, message)| {
        let body = &message?.body;
        let why = body.note.as_ref().filter(|_| body.unread_bytes.is_some())?;
        Some(format!("the {side}'s body of {id}: {why}"))
    });
    let messages = (flow.messages_left_out > 0).then(|| {
        let messages = count(flow.messages_left_out, "message");
        let why = flow.messages_unread.as_ref().map_or(String::new(), |why| format!("; {why}"));
        format!("{messages} of {id}{why}")
    });
    let coded = flow.messages.iter().flatten().filter(|message| message.is_coded).count();
    let coded = (coded > 0).then(|| {
        let messages = count(coded as u64, "message");
        match redactor.is_on() {
            true => format!("{messages} of {id}: still compressed, and cannot be masked"),
            false => format!("the plain payload of {messages} of {id}: still compressed"),
        }
    });
    bodies.chain(messages).chain(coded).collect()
}

/// Writes a file that appears under its name when `write` has made it whole; until then, and when
/// that fails, what stands there stays. Only its owner can read it. What is no regular file, as a
/// pipe or a terminal, and the file of a standard stream are written to directly.
///
/// # Errors
/// What `write` gives, and when the file cannot be made or take its place.
pub fn write_whole<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    // A link stays what it is: the file goes to where it leads.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failed = |error: io::Error| Error::new(format!("cannot write {}: {error}", path.display()));
    let stream = private::standard_stream(&path);
    if stream.is_some() || path.metadata().is_ok_and(|there| !there.is_file()) {
        if path.is_dir() {
            return Err(Error::new(format!("cannot write {}: it is a folder", path.display())));
        }
        let opened = || private::options().write(true).open(&path).map_err(failed);
        let file = stream.map_or_else(opened, Ok)?;
        let mut out = io::BufWriter::new(file);
        let result = write(&mut out)?;
        out.flush().map_err(failed)?;
        return Ok(result);
    }
    let (aside, file) = create_aside(&path).map_err(failed)?;
    let mut out = io::BufWriter::new(file);
    let result = write(&mut out)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().and_then(|()| std::fs::rename(&aside.0, &path)).map_err(failed)?;
    Ok(result)
}

/// A file that is litter unless it was renamed.
pub(super) struct Aside(PathBuf);

impl Aside {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes a file of a free name beside the one that it is to become.
pub(super) fn create_aside(path: &Path) -> io::Result<(Aside, std::fs::File)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    for number in 1..=ASIDE_FILES {
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(format!(".part-{number}"));
        let aside = path.with_file_name(aside);
        match private::options().write(true).create_new(true).open(&aside) {
            Ok(file) => return Ok((Aside(aside), file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many files of unfinished exports stand beside it"))
}
