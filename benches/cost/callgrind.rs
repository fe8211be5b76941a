//! Instructions, as valgrind's callgrind counts them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Case, Subject};

pub(crate) const TOOL: &str = "valgrind";

/// Threads by where nothing else is.
const THREADS: [(&str, &str); 3] = [
    ("loop", "flowtap::net::service::"),
    ("recorder", "flowtap::capture::writer::"),
    ("packer", "flowtap::capture::trace::"),
];
/// Threads that do the same for each request, however busy the machine is.
const GUARDED: [&str; 2] = ["loop", "packer"];

/// Functions that take less for each request are not shown.
const SHOWN: f64 = 100.0;

/// Instructions of some threads and of all for each request.
pub(crate) fn measure(case: &Case, subject: &Subject) -> BTreeMap<&'static str, f64> {
    case.each(|requests| {
        let folder = run(case, requests, subject);
        let mut counts = BTreeMap::new();
        for (thread, _, counted) in threads(folder.path()) {
            let total = counted.lines().find_map(|line| line.strip_prefix("totals: "));
            let total: u64 = total.and_then(|it| it.trim().parse().ok()).expect("a sum");
            *counts.entry("all").or_default() += total;
            if GUARDED.contains(&thread) {
                *counts.entry(thread).or_default() += total;
            }
        }
        counts
    })
}

/// Prints the functions that take most, with all that they call, by thread.
pub(crate) fn print_functions(case: &Case, subject: &Subject) {
    let functions = case.each(|requests| {
        let folder = run(case, requests, subject);
        let mut functions = BTreeMap::new();
        for (thread, file, _) in threads(folder.path()) {
            for (function, count) in annotate(&file) {
                *functions.entry((thread, function)).or_default() += count;
            }
        }
        functions
    });
    let mut functions: Vec<_> =
        functions.into_iter().filter(|(_, count)| *count >= SHOWN).collect();
    functions.sort_by(|((thread, _), count), ((other, _), than)| {
        thread.cmp(other).then(than.total_cmp(count))
    });
    println!("| thread | function, with what it calls | instructions a request |\n|---|---|--:|");
    for ((thread, function), count) in functions {
        println!("| {thread} | `{function}` | {count:.0} |");
    }
}

fn run(case: &Case, requests: u64, subject: &Subject) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut out = "--callgrind-out-file=".to_owned();
    out.push_str(folder.path().join("out").to_str().expect("text"));
    let runner = [TOOL, "-q", "--tool=callgrind", "--separate-threads=yes", &out];
    case.run(requests, runner.map(Into::into).into(), subject).stop();
    folder
}

/// What was counted in each thread: which it is, the file and its text.
fn threads(folder: &Path) -> Vec<(&'static str, PathBuf, String)> {
    let files = fs::read_dir(folder).expect("a folder").flatten().map(|file| file.path());
    let texts = files.map(|path| (path.clone(), fs::read_to_string(path).expect("text")));
    let counted = texts.filter(|(_, text)| text.contains("totals: "));
    let named = counted.map(|(path, text)| {
        let found = THREADS.iter().find(|(_, place)| text.contains(place));
        (found.map_or("others", |(name, _)| name), path, text)
    });
    named.collect()
}

/// Instructions of one thread by function, with what each calls.
fn annotate(file: &Path) -> BTreeMap<String, u64> {
    let mut command = Command::new("callgrind_annotate");
    command.args(["--inclusive=yes", "--threshold=100"]).arg(file);
    let output = command.output().expect("callgrind_annotate, which comes with valgrind").stdout;
    let output = String::from_utf8_lossy(&output);
    let mut functions = BTreeMap::<_, u64>::new();
    for line in output.lines() {
        // "1,234 (5.67%)  file:function [object]"
        let Some((count, rest)) = line.trim_start().split_once(" (") else { continue };
        let Some((_, place)) = rest.split_once("%)") else { continue };
        let Some((_, function)) = place.split_once(':') else { continue };
        let function = function.rsplit_once(" [").map_or(function, |(function, _)| function);
        let Ok(count) = count.replace(',', "").parse::<u64>() else { continue };
        // What was inlined from other files stands by itself, and in the whole too.
        let most = functions.entry(function.to_owned()).or_default();
        *most = count.max(*most);
    }
    functions
}
