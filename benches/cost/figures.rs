//! The recorded figures and what may differ from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Figures by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// Instructions may grow by this share: one run differs from the next by 2 % at most, also on a
/// busy machine, but processors and versions of the C library choose other ways to copy and to
/// encrypt.
const INSTRUCTIONS: f64 = 0.15;
/// System calls may grow by this share and by this number: what is not done for each request
/// depends on clocks.
const CALLS: (f64, f64) = (0.10, 0.30);

const HEADER: &str = "\
# What a request costs, by `cargo bench --profile cost --bench cost -- --record`: instructions of\n\
# the event loop, of the packer and of all threads, and system calls of all threads.\n";

/// Another architecture has other instructions.
fn file() -> PathBuf {
    let name = format!("benches/cost/{}.txt", std::env::consts::ARCH);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Writes the figures down.
pub(crate) fn record(figures: &Figures) {
    let mut text = HEADER.to_owned();
    for (name, figure) in figures {
        let digits = if is_instructions(name) { 0 } else { 2 };
        text.push_str(&format!("{name} {figure:.digits$}\n"));
    }
    fs::write(file(), text).expect("a file that can be written");
    println!("recorded in {}", file().display());
}

fn is_instructions(name: &str) -> bool {
    name.contains(" instructions ")
}

/// Prints both, and succeeds when nothing is worse. What is better ought to be recorded.
pub(crate) fn compare(measured: &Figures) -> ExitCode {
    let path = file();
    let text = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; record figures for this architecture", path.display())
    });
    let recorded: Figures = text.lines().filter_map(read_line).collect();
    let names: BTreeSet<_> = measured.keys().chain(recorded.keys()).collect();
    let (mut worse, mut better) = (0, 0);
    println!("| a request | recorded | now | |\n|---|--:|--:|---|");
    for name in names {
        let of = |figures: &Figures| figures.get(name).copied().unwrap_or_default();
        let (before, now) = (of(&recorded), of(measured));
        let margin = match is_instructions(name) {
            true => before * INSTRUCTIONS,
            false => before * CALLS.0 + CALLS.1,
        };
        let verdict = if now > before + margin {
            worse += 1;
            "WORSE"
        } else if now < before - margin {
            better += 1;
            "better"
        } else {
            ""
        };
        println!("| {name} | {before:.2} | {now:.2} | {verdict} |");
    }
    let again = "cargo bench --profile cost --bench cost -- --record";
    if worse > 0 {
        eprintln!("{worse} figures are worse than recorded; if that is meant: {again}");
    }
    if better > 0 {
        eprintln!("{better} figures are better than recorded; keep them so: {again}");
    }
    if worse > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn read_line(line: &str) -> Option<(String, f64)> {
    let (name, figure) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    Some((name.to_owned(), figure.parse().expect("a figure")))
}
