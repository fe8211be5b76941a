//! What a killed capture has left in its journal's folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::capture::journal::{JournalFolder, is_live, journals, output_of, placed_name};
use crate::capture::packing::{Beginning, beginning};
use crate::flow::record::{FlowId, Side};
use crate::limits::RECOVERED_PARTS;

/// The files in a journal's folder, by their names.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// Parts that have a segment.
    pub(super) segments: BTreeSet<u32>,
    /// Flows that have large bodies, and the files of these.
    pub(super) bodies: BTreeMap<FlowId, Vec<PathBuf>>,
    /// Connections that have a file of messages.
    pub(super) websockets: BTreeSet<FlowId>,
    /// Parts of the older capture that was replaced.
    pub(super) replaced: BTreeSet<u32>,
    /// Parts of this capture whose places a newer one took.
    pub(super) placed: BTreeSet<u32>,
    /// What no journal has.
    pub(super) strange: Vec<OsString>,
}

impl Remains {
    /// Lists the folder.
    pub(super) fn of(folder: &JournalFolder) -> io::Result<Self> {
        let mut remains = Remains::default();
        for entry in std::fs::read_dir(folder.path())? {
            let entry = entry?;
            let name = entry.file_name();
            // Opening a named pipe would wait for ever.
            let is_file = entry.file_type()?.is_file();
            let known = is_file && name.to_str().is_some_and(|name| remains.add(folder, name));
            if !known {
                remains.strange.push(name);
            }
        }
        Ok(remains)
    }

    /// Adds a file; whether its name is one that a journal has.
    fn add(&mut self, folder: &JournalFolder, name: &str) -> bool {
        let path = folder.path().join(name);
        let part = |before: &str, behind: &str| {
            let number = between(name, before, behind)?.parse().ok()?;
            (1..=RECOVERED_PARTS).contains(&number).then_some(number)
        };
        // A number that is written otherwise would name another file.
        let is = |named: PathBuf| named == path;
        if let Some(number) = part("segment-", ".flj").filter(|it| is(folder.segment(*it))) {
            return self.segments.insert(number);
        }
        if let Some(number) = part("replaced-", ".zip").filter(|it| is(folder.replaced(*it))) {
            return self.replaced.insert(number);
        }
        if let Some(number) = part("placed-", ".zip").filter(|it| is(folder.placed(*it))) {
            return self.placed.insert(number);
        }
        let flow = |end: &str| Some(FlowId(between(name, "flow-", end)?.parse().ok()?));
        if let Some(flow) = flow(".ws").filter(|flow| is(folder.websocket(*flow))) {
            return self.websockets.insert(flow);
        }
        for (side, end) in [(Side::Request, "-request.body"), (Side::Response, "-response.body")] {
            if let Some(flow) = flow(end).filter(|flow| is(folder.body(*flow, side))) {
                self.bodies.entry(flow).or_default().push(path);
                return true;
            }
        }
        let is_temporary = name.starts_with("packer.tmp") || name.ends_with(".tmp");
        path == folder.lock_file() || part("part-", ".zip").is_some() || is_temporary
    }

    /// Strikes out what belongs to flows that are known to have ended.
    pub(super) fn strike_out(&mut self, folder: &JournalFolder, used: &[PathBuf]) {
        for path in used {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix("flow-").and_then(|rest| rest.split(['-', '.']).next());
            let Some(flow) = number.and_then(|number| number.parse().ok()).map(FlowId) else {
                continue;
            };
            self.bodies.remove(&flow);
            if *path == folder.websocket(flow) {
                self.websockets.remove(&flow);
            }
        }
    }
}

fn between<'a>(name: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    name.strip_prefix(before)?.strip_suffix(behind)
}

/// Whether a folder is a journal, by its name or by what is in it.
pub(super) fn is_journal(path: &Path) -> bool {
    let has_segment = |entries: std::fs::ReadDir| {
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|it| it == "flj"))
    };
    output_of(path).is_some() || std::fs::read_dir(path).is_ok_and(has_segment)
}

/// Where to keep a part whose place a newer capture to `output` takes, if the capture that it
/// belongs to did not finish: in the journal of that one, which would not be whole without it.
pub(super) fn keeper(output: &Path, own: &Path, series: &str, part: u32) -> Option<PathBuf> {
    let journal = journals(output).find(|it| it != own && is_of_series(it, series))?;
    Some(journal.join(placed_name(part)))
}

/// Whether a journal is that of this capture.
fn is_of_series(journal: &Path, series: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(journal) else { return false };
    let names = entries.flatten().map(|entry| entry.path());
    let mut segments = names.filter(|path| path.extension().is_some_and(|it| it == "flj"));
    segments.any(|path| match beginning(&path) {
        Beginning::Header(header) => header.series == series,
        _ => false,
    })
}

/// Why the parts of a capture that begins with `first` are not all that there is of it, and what to
/// do; `None` when it has ended.
pub(super) fn rest_of(first: &Path, series: &str) -> Option<String> {
    let journal = journals(first).find(|journal| is_of_series(journal, series))?;
    Some(match is_live(&journal) {
        true => "its capture is still running, or is being recovered".to_owned(),
        false => {
            let (journal, recovering) = (journal.display(), what_recovers(first));
            format!("it is in {journal}, and {recovering}")
        }
    })
}

/// What to do where there is no bundle because its capture has not ended, or where the folder of a
/// journal was named in the place of a bundle; `None` of all other files.
pub(super) fn instead_of_bundle(path: &Path) -> Option<String> {
    const LIVES: &str = "its capture is still running, or is being recovered: the bundle is there \
                         when the flowtap that writes it has ended";
    if path.is_dir() {
        return is_journal(path).then(|| match is_live(path) {
            true => format!("it is the journal of a bundle; {LIVES}"),
            false => {
                let recovering = what_recovers(&output_of(path).unwrap_or(path.to_owned()));
                format!("it is the journal of an unfinished capture, and {recovering}")
            }
        });
    }
    if path.symlink_metadata().is_ok() {
        return None;
    }
    let found: Vec<_> = journals(path).collect();
    match found.iter().any(|journal| is_live(journal)) {
        true => Some(LIVES.to_owned()),
        false => found.first().map(|journal| {
            let (journal, recovering) = (journal.display(), what_recovers(path));
            format!("an unfinished capture is in {journal}, and {recovering}")
        }),
    }
}

/// The command for an unfinished capture, in words. `file` is its output or its journal.
pub(super) fn what_recovers(file: &Path) -> String {
    format!("this makes a bundle of it: flowtap recover {}", quoted(file))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(&byte);
    match text.bytes().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_the_names_that_a_journal_gives_them() {
        let temporary = tempfile::tempdir().unwrap();
        let (folder, _) = JournalFolder::create(&temporary.path().join("c.zip")).unwrap();
        let flow = FlowId(70_000);
        let bodies = [folder.body(flow, Side::Request), folder.body(flow, Side::Response)];
        let beyond = format!("segment-{}.flj", RECOVERED_PARTS + 1);
        let others = [
            "segment-1.flj",
            "flow-1.body",
            "segment-0001.flj.bak",
            "placed-x.zip",
            "note.txt",
            "segment-0000.flj",
            &beyond,
        ];
        for path in [
            folder.segment(12_345),
            folder.websocket(FlowId(3)),
            folder.replaced(1),
            folder.placed(2),
            folder.packed(1),
            folder.temporary(),
        ]
        .into_iter()
        .chain(bodies.clone())
        .chain(others.map(|name| folder.path().join(name)))
        {
            std::fs::write(path, "").unwrap();
        }
        let mut remains = Remains::of(&folder).unwrap();
        assert_eq!(remains.segments, BTreeSet::from([12_345]));
        assert_eq!(remains.websockets, BTreeSet::from([FlowId(3)]));
        assert_eq!(remains.bodies.get(&flow).map(Vec::len), Some(2));
        assert_eq!((remains.replaced.len(), remains.placed.len()), (1, 1));
        remains.strange.sort();
        let mut others = others.map(OsString::from);
        others.sort();
        assert_eq!(remains.strange, others);
        remains.strike_out(&folder, &[bodies[1].clone(), folder.websocket(FlowId(3))]);
        assert!(remains.bodies.is_empty() && remains.websockets.is_empty());
    }
}
