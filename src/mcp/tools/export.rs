//! Flows as HAR, in the reply or in a file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::capture::har::{har_entry, lacking, write_har};
use crate::capture::messages::Lacking;
use crate::capture::private;
use crate::flow::redact::Redactor;
use crate::flow::stored::StoredFlow;
use crate::limits::{ASIDE_FILES, REPLY_CHARS, REPLY_MOST_CHARS};
use crate::mcp::tools::Work;
use crate::mcp::tools::reply::{Failure, Outcome, Reply, id_text, json_chars, shorten};
use crate::mcp::tools::select::{each, filter, going_on, matches};

/// Flows between two words of progress.
const PROGRESS_FLOWS: usize = 100;
/// Ids of flows that are named as left out.
const NAMED_FLOWS: usize = 20;

pub(super) fn export_flows(work: &Work<'_>) -> Outcome {
    let flows = chosen(work)?;
    match work.arguments.text("path")? {
        Some(path) => to_file(work, flows, path),
        None => to_reply(work, &flows),
    }
}

/// The flows that are asked for, the oldest first.
fn chosen(work: &Work<'_>) -> Result<Vec<Arc<StoredFlow>>, Failure> {
    let filter = filter(work.arguments, "filter")?;
    let named = match work.arguments.flow_ids("flow_ids")? {
        Some(ids) => {
            ids.into_iter().map(|id| work.tools.flow(id)).collect::<Result<Vec<_>, _>>()?
        }
        None => work.tools.store().snapshot(),
    };
    let mut flows = Vec::new();
    each(work.call.cancellation, named, |flow| {
        if filter.as_ref().is_none_or(|it| matches(it, &flow, &work.options.redactor)) {
            flows.push(flow);
        }
        true
    })?;
    flows.sort_by_key(|flow| (flow.timing.began_us, flow.id));
    flows.dedup_by_key(|flow| flow.id);
    Ok(flows)
}

/// As many entries as fit; the newest are the first to go in.
fn to_reply(work: &Work<'_>, flows: &[Arc<StoredFlow>]) -> Outcome {
    let most = work.arguments.size("max_chars", 1_000..=REPLY_MOST_CHARS)?.unwrap_or(REPLY_CHARS);
    let redactor = &work.options.redactor;
    // The frame of the log, and the words about what is left out.
    let mut room = most.saturating_sub(700);
    let (mut entries, mut left_out, mut shortened) = (Vec::new(), Vec::new(), 0);
    let mut messages = Lacking::default();
    for flow in flows.iter().rev() {
        if work.call.cancellation.is_cancelled() {
            return Err(Failure::cancelled());
        }
        // Entries that certainly do not fit need not be made.
        let entry = if room > 500 { entry(flow, redactor, room) } else { None };
        match entry {
            Some((entry, is_short, chars)) => {
                room = room.saturating_sub(chars + 1);
                match is_short {
                    true => shortened += 1,
                    false => messages.add(lacking(flow, redactor)),
                }
                entries.push(entry);
            }
            None => left_out.push(flow.id),
        }
    }
    entries.reverse();
    let mut reply = Reply::default();
    if !left_out.is_empty() || shortened > 0 {
        reply.put("left_out", left_out.len());
        reply.put("bodies_left_out", shortened);
        let ids: Vec<_> = left_out.iter().take(NAMED_FLOWS).map(|id| id_text(*id)).collect();
        reply.put("left_out_flow_ids", ids);
        reply
            .put("note", format!("a HAR of {most} characters holds no more; write a file instead"));
        let mut next = going_on(work, &[]);
        if let Some(next) = next.as_object_mut() {
            next.insert("path".to_owned(), "flows.har".into());
        }
        reply.put("next", next);
    }
    put_lacking(&mut reply, messages);
    let creator = json!({ "name": "flowtap", "version": env!("CARGO_PKG_VERSION") });
    reply.put("log", json!({ "version": "1.2", "creator": creator, "entries": entries }));
    reply.untrusted("log");
    Ok(reply)
}

/// Says what the HAR lacks of the messages of WebSockets.
fn put_lacking(reply: &mut Reply, messages: Lacking) {
    // None is still compressed: what could not be inflated was not kept.
    let Lacking { left_out, cut, coded: _ } = messages;
    for (name, number) in [("messages_left_out", left_out), ("messages_cut", cut)] {
        if number > 0 {
            reply.put(name, number);
        }
    }
}

/// An entry that fits, without its bodies if need be; whether it is without, and its length.
fn entry(flow: &StoredFlow, redactor: &Redactor, room: usize) -> Option<(Value, bool, usize)> {
    let mut entry = har_entry(flow, redactor);
    let chars = json_chars(&entry);
    if chars <= room {
        return Some((entry, false, chars));
    }
    let note = format!("left out: see flow {}", flow.id.0);
    for body in ["/response/content", "/request/postData"] {
        if let Some(Value::Object(body)) = entry.pointer_mut(body) {
            body.remove("encoding");
            if body.insert("text".to_owned(), String::new().into()).is_some() {
                body.insert("comment".to_owned(), note.clone().into());
            }
        }
    }
    if let Some(entry) = entry.as_object_mut()
        && entry.remove("_webSocketMessages").is_some()
    {
        entry.insert("comment".to_owned(), format!("messages {note}").into());
    }
    let chars = json_chars(&entry);
    (chars <= room).then_some((entry, true, chars))
}

fn to_file(work: &Work<'_>, flows: Vec<Arc<StoredFlow>>, path: &str) -> Outcome {
    let overwrites = work.arguments.boolean("overwrite")?;
    let target = Target::new(&work.tools.surroundings.folder, path)?;
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let path = shorten(path, 200);
            Failure::new(format!("{path} exists; overwrite: true replaces it"))
        }
        io::ErrorKind::ConnectionAborted => Failure::cancelled(),
        _ => Failure::new(format!("cannot write {}: {error}", shorten(path, 200))),
    };
    let total = flows.len();
    let redactor = &work.options.redactor;
    let (mut done, mut messages) = (0, Lacking::default());
    let mut counted = flows.into_iter().inspect(|flow| {
        done += 1;
        messages.add(lacking(flow, redactor));
        if done % PROGRESS_FLOWS == 0 {
            (work.call.progress)(done as f64, Some(total as f64), "flows written");
        }
    });
    let is_cancelled = || work.call.cancellation.is_cancelled();
    let (entries, bytes) = target
        .write(overwrites, |file| {
            let mut file = Watched { file, is_cancelled: &is_cancelled };
            write_har(&mut file, &mut counted, redactor)
        })
        .map_err(refused)?;
    let mut reply = Reply::default();
    reply.put("path", target.path.display().to_string());
    reply.put("entries", entries);
    reply.put("bytes", bytes);
    put_lacking(&mut reply, messages);
    reply.put("secrets", if redactor.is_on() { "masked" } else { "as captured" });
    Ok(reply)
}

/// A file to write.
struct Target {
    path: PathBuf,
}

impl Target {
    /// A file below `folder`. What leads out of it, by `..` or by a link, is refused.
    fn new(folder: &Path, path: &str) -> Result<Self, Failure> {
        let shown = shorten(path, 200);
        let refuse = |reason: &str| {
            Failure::new(format!(
                "the argument \"path\" must name a .har file below {}, such as \"api.har\": \
                 {shown:?} {reason}",
                folder.display()
            ))
        };
        let asked = Path::new(path);
        if asked.components().any(|part| part == Component::ParentDir) {
            return Err(refuse("leads out of it"));
        }
        let is_har = asked.extension().is_some_and(|it| it.eq_ignore_ascii_case("har"));
        let Some(name) = asked.file_name().filter(|_| is_har) else {
            return Err(refuse("does not end in .har"));
        };
        let root = folder.canonicalize().map_err(|error| refuse(&error.to_string()))?;
        let whole = root.join(asked);
        let parent = whole.parent().unwrap_or(&root);
        let parent = parent.canonicalize().map_err(|error| {
            refuse(&format!("stands in a folder that cannot be opened: {error}"))
        })?;
        if !parent.starts_with(&root) {
            return Err(refuse("leads out of it"));
        }
        let path = parent.join(name);
        match fs::symlink_metadata(&path) {
            Ok(there) if !there.is_file() => Err(refuse("is there and is no regular file")),
            _ => Ok(Target { path }),
        }
    }

    /// Writes the file; gives what `write` gives and the bytes. A file that is there is replaced
    /// only when all is written, and one that could not be written whole does not stay.
    fn write(
        &self,
        overwrites: bool,
        write: impl FnOnce(&mut dyn Write) -> io::Result<u64>,
    ) -> io::Result<(u64, u64)> {
        if !overwrites && fs::symlink_metadata(&self.path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (part, file) = self.create_part()?;
        let mut file = BufWriter::new(file);
        let written = write(&mut file).and_then(|given| {
            file.flush()?;
            let bytes = file.get_ref().metadata()?.len();
            if overwrites {
                fs::rename(&part, &self.path)?;
            } else {
                give_name(&part, &self.path, |part, path| fs::hard_link(part, path))?;
            }
            Ok((given, bytes))
        });
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// Makes a file of a free name beside the one to write: another export may be under way, and
    /// one that was killed may have left its own.
    fn create_part(&self) -> io::Result<(PathBuf, File)> {
        for number in 1..=ASIDE_FILES {
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".part-{number}"));
            let part = self.path.with_file_name(name);
            match private::options().write(true).create_new(true).open(&part) {
                Ok(file) => return Ok((part, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many files of unfinished exports stand beside it"))
    }
}

/// Gives a file another name, where nothing is of that name.
fn give_name(
    part: &Path,
    path: &Path,
    link: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    // A link is made only where nothing is.
    match link(part, path) {
        Ok(()) => fs::remove_file(part),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => {
            // There are no links here, as on FAT. An empty file, which is made only where nothing
            // is as well, keeps the name free of others.
            private::create_new(path)?;
            fs::rename(part, path).inspect_err(|_| {
                let _ = fs::remove_file(path);
            })
        }
    }
}

/// A file that can be written no more when the call is given up.
struct Watched<'a> {
    file: &'a mut dyn Write,
    is_cancelled: &'a dyn Fn() -> bool,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.is_cancelled)() {
            // Not Interrupted, which writers try again.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_where_there_are_no_links_too() {
        let folder = tempfile::tempdir().unwrap();
        let (part, path) = (folder.path().join("a.har.part-1"), folder.path().join("a.har"));
        let no_links =
            |_: &Path, _: &Path| -> io::Result<()> { Err(io::ErrorKind::PermissionDenied.into()) };
        let names = || fs::read_dir(folder.path()).unwrap().count();
        fs::write(&part, "new").unwrap();
        give_name(&part, &path, no_links).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("new", 1));
        fs::write(&part, "newer").unwrap();
        let taken = give_name(&part, &path, no_links).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        // What cannot be renamed leaves nothing under the name.
        let (none, free) = (folder.path().join("none"), folder.path().join("b.har"));
        assert!(give_name(&none, &free, no_links).is_err());
        assert_eq!(names(), 2);
    }
}
