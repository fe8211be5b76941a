//! System calls, as strace counts them.

use std::collections::BTreeMap;
use std::fs;

use crate::{Case, Subject};

pub(crate) const TOOL: &str = "strace";

/// Calls that are rarer depend on clocks, not on requests.
const RARE: f64 = 0.05;
/// How threads wait for each other depends on which is faster.
const WAITS: [&str; 2] = ["futex", "sched_yield"];

/// System calls by name for each request.
pub(crate) fn measure(case: &Case, subject: &Subject) -> BTreeMap<String, f64> {
    let mut calls = case.each(|requests| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().join("calls");
        let runner = [TOOL.into(), "-f".into(), "-c".into(), "-o".into(), out.clone().into()];
        case.run(requests, runner.into(), subject).stop_child();
        read(&fs::read_to_string(out).expect("what strace counted"))
    });
    calls.retain(|call, count| *count >= RARE && !WAITS.contains(&call.as_str()));
    if case.plan.fresh {
        // Whether two messages of a handshake come in one turn depends on the peer.
        calls.remove("epoll_wait");
    }
    calls
}

/// Reads the table: time in per cent, seconds and microseconds, calls, errors if any, name.
fn read(table: &str) -> BTreeMap<String, u64> {
    let rows = table.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let calls = words.get(3)?.parse().ok()?;
        Some((words.last()?.to_string(), calls))
    });
    rows.filter(|(name, _)| name != "total").collect()
}
