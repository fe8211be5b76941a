//! The tree keeps its own rules: sizes, the direction of dependencies, documented flags.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use flowtap::cli::flags;
use flowtap::mcp::tools;
use flowtap::options;

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;

/// The floors of the design, the lowest first: a module uses its own floor and those below.
const FLOORS: &[&[&str]] = &[
    &["error", "fault", "limits", "near"],
    &["stats", "notice"],
    &["flow", "http"],
    &["tls", "hosts", "discovered"],
    &["options"],
    &["config"],
    &["capture"],
    &["proxy"],
    &["net"],
    &["mcp"],
    &["cli"],
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Every source file, as its path below `src` and its text.
fn sources() -> Vec<(String, String)> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let name = |path: &Path| path.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The part of a source file before its unit tests; nothing of a file that is only tests.
fn outside_tests<'a>(name: &str, text: &'a str) -> &'a str {
    let only_tests = ["tests.rs", "testing.rs"].iter().any(|end| name.ends_with(end))
        || name.contains("simulation");
    if only_tests { "" } else { text.split("#[cfg(test)]\nmod tests {").next().unwrap() }
}

#[test]
fn files_and_lines_stay_short() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES {
            found.push(format!("{name}: {lines} lines"));
        }
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS {
                found.push(format!("{name}:{}: {} columns", number + 1, line.chars().count()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn functions_stay_short() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let mut start: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words = line.trim_start();
            let begins = words.starts_with("fn ") || words.contains(" fn ") && words.contains('(');
            if begins && start.is_none() && !words.starts_with("//") && !words.ends_with(';') {
                start = Some((number, indent, words.to_owned()));
            } else if let Some((first, own, head)) = &start
                && indent == *own
                && words == "}"
            {
                if number - first + 1 > FUNCTION_LINES {
                    found.push(format!("{name}:{}: {head}", first + 1));
                }
                start = None;
            } else if let Some((_, own, _)) = &start
                && indent <= *own
                && words.ends_with(';')
            {
                start = None;
            }
        }
    }
    assert!(found.is_empty(), "longer than {FUNCTION_LINES} lines:\n{}", found.join("\n"));
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn dependencies_point_one_way() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        let Some(own) = floor(module) else {
            assert!(["lib", "main"].contains(&module), "{module} stands on no floor");
            continue;
        };
        let code = outside_tests(&name, &text).lines();
        let code: Vec<_> = code.filter(|line| !line.trim_start().starts_with("//")).collect();
        for path in code.join("\n").split("crate::").skip(1) {
            let used = path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            match floor(used) {
                Some(theirs) if theirs <= own => {}
                _ => found.push(format!("{name} uses crate::{used}")),
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_panics_on_purpose_outside_tests() {
    let banned = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (number, line) in outside_tests(&name, &text).lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if banned.iter().any(|word| code.contains(word)) {
                found.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_limit_is_used() {
    let sources = sources();
    let (_, limits) = sources.iter().find(|(name, _)| name == "limits.rs").unwrap();
    for line in limits.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let name = line.split(':').next().unwrap();
        let uses = |(file, text): &(String, String)| file != "limits.rs" && text.contains(name);
        assert!(sources.iter().any(uses), "{name} limits nothing");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut above = "";
    let mut dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            dependencies = line.ends_with("dependencies]");
        } else if dependencies && !line.is_empty() && !line.starts_with('#') {
            assert!(above.starts_with("# "), "no reason above: {line}");
        }
        above = line;
    }
}

/// Whether a document has this table at its place.
fn assert_has_table(document: &str, place: &str, table: &str) {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let (begin, end) = (format!("<!-- {place} -->\n"), format!("<!-- /{place} -->"));
    let inside = text.split(&begin).nth(1).and_then(|rest| rest.split(&end).next());
    assert_eq!(inside.unwrap().trim(), table.trim(), "put this into {document}");
}

#[test]
fn the_documents_have_the_tables_of_the_program() {
    assert_has_table("README.md", "options", &flags::readme_table());
    assert_has_table("README.md", "tools", &tools::readme_table());
    assert_has_table("docs/options.md", "options", &options::docs_table());
}
