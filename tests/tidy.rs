//! The tree keeps its own rules: sizes, the direction of dependencies, documented flags.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{HashMap, HashSet};
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
    &["error", "fault", "limits", "near", "random"],
    &["stats", "notice"],
    &["flow", "http"],
    &["tls", "hosts", "names", "discovered", "upstream"],
    &["options", "trust"],
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
        || ["simulation", "/tests/"].iter().any(|part| name.contains(part));
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

/// A program that is linked statically with glibc dies where it asks for names of hosts or users:
/// what asks looks first whether it may.
#[test]
fn the_c_library_is_asked_for_names_in_two_places() {
    let asks = ["to_socket_addrs(", "home_dir("];
    let mut found: Vec<_> = sources()
        .into_iter()
        .filter(|(name, text)| asks.iter().any(|it| outside_tests(name, text).contains(it)))
        .map(|(name, _)| name)
        .collect();
    found.sort();
    assert_eq!(found, ["cli/settings.rs", "net/resolver.rs"]);
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

#[test]
fn the_documents_tell_the_promised_version_of_rust() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut lines = manifest.lines().filter_map(|line| line.strip_prefix("rust-version = \""));
    let version = lines.next().and_then(|rest| rest.strip_suffix('"')).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!("Rust {version} ")), "Rust {version} is not in README.md");
}

/// Names of tests as the documents give them: the file, or what a `tests.rs` is of, and the
/// function.
fn names_of_tests() -> HashSet<String> {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    rust_files(&root().join("tests"), &mut files);
    let mut names = HashSet::new();
    for path in files {
        let is_of_folder = path.ends_with("tests.rs");
        let named = if is_of_folder { path.parent().unwrap() } else { &path };
        let file = named.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        for test in text.split("#[test]\n").skip(1) {
            let function = test.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            names.insert(format!("{file}::{}", function.unwrap()));
        }
    }
    names
}

/// The words in backquotes that name tests.
fn named_tests(text: &str) -> Vec<&str> {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|it| it.split_once("::").is_some_and(|(a, b)| is_word(a) && is_word(b))).collect()
}

#[test]
fn every_promise_has_tests_that_exist() {
    let names = names_of_tests();
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let guarantees = readme.split("## Guarantees\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut rows = 0;
    for text in [security.as_str(), guarantees] {
        for name in named_tests(text) {
            assert!(names.contains(name), "there is no test {name}");
        }
        let heads = ["| could try |", "| promise |", "|---"];
        let is_row =
            |line: &&str| line.starts_with('|') && !heads.iter().any(|it| line.starts_with(it));
        for row in text.lines().filter(is_row) {
            rows += 1;
            let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
            assert!(!named_tests(last).is_empty(), "no test keeps this: {row}");
        }
    }
    assert!(rows > 30, "{rows} rows");
    assert_eq!(guarantees.matches("| **").count(), 6);
}

/// Everything that flowtap writes may hold secrets. Two modules make files with modes of their
/// own; all others use these.
#[test]
fn files_are_made_private() {
    let makers = ["capture/private.rs", "tls/ca_file.rs"];
    let ways = ["File::create", "fs::write(", "OpenOptions::new(", "File::options(", "create_dir"];
    let mut found = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !makers.contains(&name.as_str())) {
        for line in outside_tests(name, text).lines() {
            if ways.iter().any(|way| line.contains(way)) {
                found.push(format!("{name}: {line}"));
            }
        }
    }
    assert!(found.is_empty(), "use capture::private for files:\n{}", found.join("\n"));
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
    assert_has_table("docs/agents.md", "tools", &tools::readme_table());
    assert_has_table("docs/options.md", "options", &options::docs_table());
}

/// One constant of `limits.rs`: its name, its value as documents have it, and its reason.
struct Bound {
    name: String,
    value: String,
    reason: String,
}

/// All bounds, in their order.
fn bounds() -> Vec<Bound> {
    let text = fs::read_to_string(root().join("src/limits.rs")).unwrap();
    let (mut bounds, mut known, mut reason) = (Vec::new(), HashMap::new(), Vec::new());
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("/// ") {
            reason.push(words);
            continue;
        }
        if let Some(bound) = line.strip_prefix("pub const ") {
            let (name, rest) = bound.split_once(": ").unwrap();
            let (_, value) = rest.trim_end_matches(';').split_once(" = ").unwrap();
            let (number, shown) = read_bound(name, value, &known);
            known.insert(name.to_owned(), number);
            let reason = reason.join(" ").replace("[`", "`").replace("`]", "`");
            let reason = reason.replace('|', "\\|");
            bounds.push(Bound { name: name.to_owned(), value: shown, reason });
        }
        reason.clear();
    }
    bounds
}

/// The number of a bound, and how documents show it.
fn read_bound(name: &str, value: &str, known: &HashMap<String, u64>) -> (u64, String) {
    for (begin, unit) in [("Duration::from_secs(", "s"), ("Duration::from_millis(", "ms")] {
        if let Some(wait) = value.strip_prefix(begin) {
            let number = number(wait.trim_end_matches(')'), known);
            return (number, format!("{} {unit}", grouped(number)));
        }
    }
    let number = number(value, known);
    if !name.contains("BYTES") {
        return (number, grouped(number));
    }
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, shift)| number.trailing_zeros() >= *shift);
    let shown = unit.map(|(unit, shift)| format!("{} {unit}", grouped(number >> shift)));
    (number, shown.unwrap_or_else(|| format!("{} bytes", grouped(number))))
}

/// The value of a sum or difference of products of numbers and names.
fn number(text: &str, known: &HashMap<String, u64>) -> u64 {
    if let Some((one, other)) = text.split_once(" - ") {
        return number(one, known) - number(other, known);
    }
    let factor = |factor: &str| {
        let digits = factor.trim().replace('_', "");
        let digits = digits.strip_suffix(".0").unwrap_or(&digits);
        digits.parse().unwrap_or_else(|_| known[factor.trim()])
    };
    text.split(" + ").map(|product| product.split(" * ").map(factor).product::<u64>()).sum()
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let places = digits.char_indices();
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    places.flat_map(|(at, digit)| [comma(at).then_some(','), Some(digit)]).flatten().collect()
}

#[test]
fn the_document_of_limits_has_every_bound_with_its_value() {
    let text = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let (told, _) = text.split_once("<!-- bounds -->").unwrap();
    let all = bounds();
    let defaults = options::docs_table();
    for row in told.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, what, limit, constant, change, _, _] = cells[..] else { panic!("{row}") };
        if let Some(name) = constant.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
            let bound = all.iter().find(|bound| bound.name == name);
            let bound = bound.unwrap_or_else(|| panic!("{what}: there is no {name}"));
            assert_eq!(bound.value, limit, "{what}: {name}");
        }
        for option in change.split('`').skip(1).step_by(2).filter(|it| !it.contains(['-', ' '])) {
            assert!(defaults.contains(&format!("| `{option}` |")), "{what}: no option {option}");
        }
    }
    let rest = all.iter().filter(|bound| !told.contains(&format!("| `{}` |", bound.name)));
    let rows =
        rest.map(|Bound { name, value, reason }| format!("| `{name}` | {value} | {reason} |\n"));
    let table =
        format!("| bound | value | what, and why |\n|---|---|---|\n{}", rows.collect::<String>());
    assert_has_table("docs/limits.md", "bounds", &table);
}
