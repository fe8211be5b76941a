//! How the threads of a process had processors, as the system tells.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// How a thread has had a processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    /// How long it has waited for one.
    pub(crate) waited_ns: u64,
    /// How often it was given one.
    pub(crate) turns: u64,
    /// Whether it wants one or has it, or waits for a disk.
    pub(crate) is_runnable: bool,
}

/// Those of a process, by thread, whose names begin so; none where the system does not tell.
pub(crate) fn turns_of(process: u32, names: &[&str]) -> BTreeMap<PathBuf, Turns> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let threads = tasks.into_iter().flatten().flatten().map(|entry| entry.path());
    let turns = |thread: PathBuf| {
        let read = |name: &str| fs::read_to_string(thread.join(name)).ok();
        let name = read("comm")?;
        let counts = read("schedstat")?;
        let mut counts = counts.split_whitespace().skip(1).map(str::parse);
        let (waited_ns, turns) = (counts.next()?.ok()?, counts.next()?.ok()?);
        let stat = read("stat")?;
        let is_runnable = stat.contains(") R ") || stat.contains(") D ");
        let turns = Turns { waited_ns, turns, is_runnable };
        names.iter().any(|begin| name.starts_with(begin)).then_some((thread, turns))
    };
    threads.filter_map(turns).collect()
}
