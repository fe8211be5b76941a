//! A bundle, with all parts of its capture, as one HAR file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::capture::bundle::part_path;
use crate::capture::har::{Log, source};
use crate::capture::private;
use crate::capture::read::{self, Bundle};
use crate::error::{Error, Result};
use crate::flow::redact::Redactor;
use crate::limits::{ASIDE_FILES, EXPORT_PARTS};

/// What an export wrote.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Entries of the file.
    pub entries: u64,
    /// Parts of the bundle.
    pub parts: usize,
    /// What could not be read and was left out: a line for each.
    pub left_out: Vec<String>,
}

/// Writes what a bundle holds as HAR, in the order in which it began. Where the bundle is the
/// first part of a capture, the parts that follow it and stand beside it come with it.
///
/// # Errors
/// When the bundle cannot be read or `out` cannot be written. A trace that cannot be read is left
/// out, and told of in the result.
pub fn export(bundle: &Path, out: &mut dyn Write, redactor: &Redactor) -> Result<Exported> {
    let mut parts = Parts::open(bundle)?;
    let mut exported = Exported { parts: parts.paths.len(), ..Exported::default() };
    let flows = parts.flows(&mut exported)?;
    let written = |error: io::Error| Error::new(format!("cannot write the HAR: {error}"));
    let mut log = Log::begin(out).map_err(written)?;
    for flow in flows {
        let part = parts.part(flow.part)?;
        let read = match flow.is_socket {
            true => source::of_websocket(part, &flow.id),
            false => source::of_trace(part, &flow.id),
        };
        match read {
            Ok(read) => log.entry(&read, redactor).map_err(written)?,
            Err(error) => exported.left_out.push(error.to_string()),
        }
    }
    exported.entries = log.end().map_err(written)?;
    Ok(exported)
}

/// Writes a file that appears under its name when `write` has made it whole; until then, and when
/// that fails, what stands there stays. Only its owner can read it. What is no regular file, as a
/// pipe or a terminal, is written to directly.
///
/// # Errors
/// What `write` gives, and when the file cannot be made or take its place.
pub fn write_whole<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    // A link stays what it is: the file goes to where it leads.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failed = |error: io::Error| Error::new(format!("cannot write {}: {error}", path.display()));
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        if path.is_dir() {
            return Err(Error::new(format!("cannot write {}: it is a folder", path.display())));
        }
        let file = private::options().write(true).open(&path).map_err(failed)?;
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

/// A flow of one of the parts.
#[derive(Debug)]
struct Place {
    began_ms: u64,
    part: usize,
    is_socket: bool,
    id: String,
}

/// The parts of a capture, of which some are open.
#[derive(Debug)]
struct Parts {
    paths: Vec<PathBuf>,
    /// The ones that were used last, the latest one at the end.
    open: Vec<(usize, Bundle)>,
}

impl Parts {
    fn open(first: &Path) -> Result<Self> {
        let mut paths = vec![first.to_owned()];
        let opened = Bundle::open(first)?;
        if let Some((series, 1)) = read::series(first) {
            let following = (2..).map(|number| (part_path(first, number), number));
            let follows = |(path, number): &(PathBuf, u32)| {
                read::series(path).is_some_and(|found| found == (series.clone(), *number))
            };
            paths.extend(following.take_while(follows).map(|(path, _)| path));
        }
        Ok(Parts { paths, open: vec![(0, opened)] })
    }

    fn part(&mut self, number: usize) -> Result<&mut Bundle> {
        let found = self.open.iter().position(|(open, _)| *open == number);
        let part = match found {
            Some(at) => self.open.remove(at),
            None => {
                let path = self.paths.get(number).map(PathBuf::as_path).unwrap_or(Path::new(""));
                (number, Bundle::open(path)?)
            }
        };
        if self.open.len() >= EXPORT_PARTS {
            self.open.remove(0);
        }
        self.open.push(part);
        let gone = || Error::new("the bundle cannot be read: a part of it is gone");
        self.open.last_mut().map(|(_, part)| part).ok_or_else(gone)
    }

    /// All flows in the order in which they began.
    fn flows(&mut self, exported: &mut Exported) -> Result<Vec<Place>> {
        let mut flows = Vec::new();
        for number in 0..self.paths.len() {
            let part = self.part(number)?;
            let traces = part.trace_ids().to_vec();
            let sockets = part.websocket_ids().to_vec();
            let ids = traces.into_iter().map(|id| (id, false));
            for (id, is_socket) in ids.chain(sockets.into_iter().map(|id| (id, true))) {
                let began = match is_socket {
                    true => part.websocket(&id).map(|socket| socket.timestamp),
                    false => part.trace(&id).map(|trace| trace.timestamp),
                };
                match began {
                    Ok(began_ms) => flows.push(Place { began_ms, part: number, is_socket, id }),
                    Err(error) => exported.left_out.push(error.to_string()),
                }
            }
        }
        flows.sort_by_key(|flow| flow.began_ms);
        Ok(flows)
    }
}
