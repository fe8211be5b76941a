//! The flows of a capture, wherever they stand in its parts.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::capture::bundle::part_path;
use crate::capture::flow::{Bodies, Flow, of_trace, of_websocket};
use crate::capture::read::{self, Bundle, Manifest};
use crate::capture::remains::{instead_of_bundle, rest_of};
use crate::error::{Error, Result};
use crate::limits::EXPORT_PARTS;

/// Where a flow stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// When it began, in milliseconds since the Unix epoch.
    pub(crate) began_ms: u64,
    /// The part, counted from 0.
    pub(crate) part: usize,
    /// Whether it is a WebSocket connection.
    pub(crate) is_socket: bool,
    /// Its id in the part, as `t_0001` or `ws_0001`.
    pub(crate) id: String,
}

/// The parts of a capture, of which some are open.
#[derive(Debug)]
pub(crate) struct Parts {
    paths: Vec<PathBuf>,
    /// The ones that were used last, the latest one at the end.
    open: Vec<(usize, Bundle)>,
    /// Those that stand in their places and cannot be read.
    unreadable: BTreeSet<usize>,
    missing: Vec<String>,
}

impl Parts {
    /// Opens a bundle. Where it is the first part of a capture, the parts that follow it and
    /// stand beside it come with it.
    ///
    /// # Errors
    /// When it cannot be read, or is no bundle; with the way to one while its capture goes on.
    pub(crate) fn open(first: &Path) -> Result<Self> {
        let opened = Bundle::open(first).map_err(|error| match instead_of_bundle(first) {
            Some(way) => Error::new(format!("{error}; {way}")),
            None => error,
        })?;
        let mut parts = Parts {
            paths: vec![first.to_owned()],
            missing: losses(first, opened.manifest()).into_iter().collect(),
            open: vec![(0, opened)],
            unreadable: BTreeSet::new(),
        };
        if let Some((series, 1)) = read::series(first) {
            parts.follow(&series);
            let last = parts.count();
            let rest = rest_of(first, &series);
            parts.missing.extend(rest.map(|rest| format!("what comes after part {last}: {rest}")));
        }
        Ok(parts)
    }

    /// Adds the parts that follow the first one, up to the first that is not there.
    fn follow(&mut self, series: &str) {
        let first = self.path(0).to_owned();
        for number in 2.. {
            let path = part_path(&first, number);
            let belongs = match Bundle::open(&path) {
                Ok(bundle) => {
                    let belongs = is_part(bundle.manifest(), series, number);
                    self.missing.extend(losses(&path, bundle.manifest()).filter(|_| belongs));
                    belongs
                }
                Err(error) => {
                    let is_there = path.symlink_metadata().is_ok();
                    if is_there {
                        self.unreadable.insert(self.count());
                        self.missing.push(error.to_string());
                    }
                    is_there
                }
            };
            if !belongs {
                self.missing.extend(gap(&first, series, number));
                return;
            }
            self.paths.push(path);
        }
    }

    /// What cannot be looked at of the capture: a line for each part that cannot be read or has
    /// lost something when it was made, one where parts are not there though later ones are, and
    /// one where the capture has not ended.
    pub(crate) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Whether this file is one of them, by whatever name.
    pub(crate) fn has(&self, file: &Path) -> bool {
        let Ok(file) = file.canonicalize() else { return false };
        self.paths.iter().any(|part| part.canonicalize().is_ok_and(|part| part == file))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.paths.len()
    }

    /// The file of the part at `number`, counted from 0.
    pub(crate) fn path(&self, number: usize) -> &Path {
        self.paths.get(number).map_or(Path::new(""), PathBuf::as_path)
    }

    /// The part at `number`, counted from 0.
    ///
    /// # Errors
    /// When it can be read no more.
    pub(crate) fn part(&mut self, number: usize) -> Result<&mut Bundle> {
        let found = self.open.iter().position(|(open, _)| *open == number);
        let part = match found {
            Some(at) => self.open.remove(at),
            None => (number, Bundle::open(self.path(number))?),
        };
        if self.open.len() >= EXPORT_PARTS {
            self.open.remove(0);
        }
        self.open.push(part);
        let gone = || Error::new("the bundle cannot be read: a part of it is gone");
        self.open.last_mut().map(|(_, part)| part).ok_or_else(gone)
    }

    /// All flows in the order in which they began; of those that cannot be read, a line each is
    /// added to `left_out`. Of parts that cannot be read [`Parts::missing`] tells.
    ///
    /// # Errors
    /// When a part can be read no more.
    pub(crate) fn places(&mut self, left_out: &mut Vec<String>) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for number in 0..self.count() {
            if self.unreadable.contains(&number) {
                continue;
            }
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
                    Ok(began_ms) => places.push(Place { began_ms, part: number, is_socket, id }),
                    Err(error) => left_out.push(error.to_string()),
                }
            }
        }
        places.sort_by_key(|place| place.began_ms);
        Ok(places)
    }

    /// The flow at a place, with its bodies; the inner error is that of this flow alone.
    ///
    /// # Errors
    /// When the part can be read no more.
    pub(crate) fn read(&mut self, place: &Place) -> Result<Result<Flow>> {
        let part = self.part(place.part)?;
        Ok(match place.is_socket {
            true => of_websocket(part, &place.id, Bodies::Read),
            false => of_trace(part, &place.id, Bodies::Read),
        })
    }

    /// The number of a part in its capture, counted from 1, of the one at `number` here.
    ///
    /// # Errors
    /// When the part that was opened can be read no more.
    pub(crate) fn part_number(&mut self, number: usize) -> Result<usize> {
        let opened = usize::try_from(self.part(0)?.manifest().part_number.max(1));
        Ok(opened.unwrap_or(usize::MAX).saturating_add(number))
    }

    /// The id of a flow among those of all parts: of one that stands in a further part with the
    /// part's number before it, as `2:t_0001`.
    pub(crate) fn full_id(&self, place: &Place) -> String {
        match place.part {
            0 => place.id.clone(),
            part => format!("{}:{}", part + 1, place.id),
        }
    }

    /// The place of the flow that has this id, as [`Parts::full_id`] gives them; `None` where
    /// there is none. The part that was opened needs no number, and may have the one that it has
    /// in its capture.
    ///
    /// # Errors
    /// When the part can be read no more.
    pub(crate) fn find(&mut self, full_id: &str) -> Result<Option<Place>> {
        let (number, id) = match full_id.split_once(':') {
            Some((number, id)) => (number.parse::<usize>().ok(), id),
            None => (Some(self.part_number(0)?), full_id),
        };
        let opened = self.part_number(0)?;
        let part = number.and_then(|number| number.checked_sub(opened));
        let Some(part) = part.filter(|part| *part < self.count()) else { return Ok(None) };
        let bundle = self.part(part)?;
        let is_trace = bundle.trace_ids().iter().any(|known| known == id);
        let is_socket = bundle.websocket_ids().iter().any(|known| known == id);
        let place = Place { began_ms: 0, part, is_socket, id: id.to_owned() };
        Ok((is_trace || is_socket).then_some(place))
    }
}

/// Whether a file is the first part of a capture, or has the name of a further one beside it. For
/// where the first cannot be opened, and nobody can tell.
pub(crate) fn may_be_of(first: &Path, file: &Path) -> bool {
    let (first, file) = (whole_path(first), whole_path(file));
    let is_beside = file.parent() == first.parent();
    let name = file.file_name().filter(|_| is_beside);
    file == first || name.is_some_and(|name| part_number(&first, name).is_some())
}

/// A path without links, as far as there is something.
fn whole_path(path: &Path) -> PathBuf {
    if let Ok(whole) = path.canonicalize() {
        return whole;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match (folder.unwrap_or(Path::new(".")).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Tells of what was lost while a part was made.
fn losses(path: &Path, manifest: &Manifest) -> Option<String> {
    let lost = manifest.lost;
    (!lost.is_none()).then(|| format!("{} lost while {} was made", lost.shown(), path.display()))
}

/// Whether a bundle is this part of this capture.
fn is_part(manifest: &Manifest, series: &str, number: u32) -> bool {
    read::is_part(manifest) && manifest.series_id == series && manifest.part_number == number
}

/// Tells of the parts that are not there from `missing` on, where later ones of the capture are.
fn gap(first: &Path, series: &str, missing: u32) -> Option<String> {
    let folder = first.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut later: Vec<_> = names.filter_map(|name| part_number(first, &name)).collect();
    later.retain(|number| *number > missing);
    later.sort_unstable();
    let follows = |number: &u32| {
        let manifest = read::part(&part_path(first, *number));
        manifest.is_some_and(|manifest| is_part(&manifest, series, *number))
    };
    let next = later.into_iter().find(follows)?;
    let path = part_path(first, next);
    let parts = match next - 1 {
        last if last == missing => format!("part {missing}"),
        last => format!("parts {missing} to {last}"),
    };
    Some(format!("{parts} of the capture, not there though {} is", path.display()))
}

/// The number of the part that a capture gives this name.
fn part_number(first: &Path, name: &OsStr) -> Option<u32> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    let number = stem.rsplit_once('-')?.1.parse().ok()?;
    (part_path(first, number).file_name() == Some(name)).then_some(number)
}
