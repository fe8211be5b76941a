//! The scripts of `flowtap completions` in the shells that they are for, and the page of
//! `flowtap man` in what shows such pages.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command as Process, Output};

use flowtap::cli::completions::{SHELLS, Shell, script};
use flowtap::cli::flags::{Command, CommandText, Entry, Flag, Id, Values, entries};
use flowtap::cli::man;
use tempfile::TempDir;

/// A shell that waits for ever is ended by then.
const DEADLINE: &str = "60";

fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    let mut process = Process::new("timeout");
    process.args([DEADLINE, program]).args(arguments).current_dir(folder);
    // Nothing of the user's own set-up is to be seen.
    process.env("HOME", folder).env("XDG_CONFIG_HOME", folder).env("TERM", "dumb");
    let output = process.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output
}

fn lines(output: &Output) -> BTreeSet<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// A folder with a script for each of the shells here, and a few files to complete to.
struct Shells {
    folder: TempDir,
}

impl Shells {
    fn new(all: &[Entry]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, shell) in SHELLS {
            fs::write(folder.path().join(name), script(*shell, all)).unwrap();
        }
        fs::create_dir(folder.path().join("folder")).unwrap();
        fs::write(folder.path().join("for me.zip"), "").unwrap();
        Shells { folder }
    }

    /// What the word at the end of a line completes to.
    fn complete(&self, shell: Shell, line: &str) -> BTreeSet<String> {
        let folder = self.folder.path();
        match shell {
            Shell::Bash => {
                let text = "source ./bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _flowtap; \
                            ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"";
                // As bash parts words: = is one of its own.
                let words = line.replace('=', " = ");
                let words = words.split(' ').filter(|word| !word.is_empty());
                let mut words: Vec<_> = words.collect();
                if line.ends_with(' ') {
                    words.push("");
                }
                let mut arguments = vec!["--norc", "-c", text, "bash"];
                arguments.extend(words);
                lines(&run("bash", &arguments, folder))
            }
            Shell::Zsh => {
                let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/completions/zsh_hits.zsh");
                lines(&run("zsh", &["-f", driver, "./zsh", line], folder))
            }
            Shell::Fish => {
                let text = format!("source ./fish; complete -C '{line}'");
                let found = lines(&run("fish", &["-N", "-c", &text], folder));
                // Behind a tab is what it means. A joined value is shown with its option.
                let word = |line: String| line.split('\t').next().unwrap().to_owned();
                let value = |word: String| match word.split_once('=') {
                    Some((_, value)) => value.to_owned(),
                    None => word,
                };
                found.into_iter().map(word).map(value).collect()
            }
            Shell::PowerShell => panic!("there is none here"),
        }
        .into_iter()
        .map(|word| word.trim_end_matches('/').replace('\\', ""))
        .collect()
    }

    fn assert(&self, line: &str, expected: &[&str]) {
        let expected: BTreeSet<_> = expected.iter().map(|&word| word.to_owned()).collect();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert_eq!(self.complete(shell, line), expected, "{shell:?}: {line}");
        }
    }
}

#[test]
fn shells_complete_commands_options_and_values() {
    let shells = Shells::new(&entries());
    let commands: Vec<_> = Command::ALL.iter().map(|command| command.text().name).collect();
    let first: Vec<_> = commands.iter().copied().filter(|name| !name.contains(' ')).collect();
    shells.assert("flowtap ", &first);
    shells.assert("flowtap disc", &["discover"]);
    shells.assert("flowtap proxy --lis", &["--listen"]);
    shells.assert("flowtap proxy --port ", &[]);
    shells.assert("flowtap proxy -p 1 --no-mcp --lis", &["--listen"]);
    shells.assert("flowtap proxy --confdir fo", &["folder"]);
    shells.assert("flowtap proxy --output fo", &["folder", "for me.zip"]);
    shells.assert("flowtap proxy --output=fo", &["folder", "for me.zip"]);
    shells.assert("flowtap inspect --trace t_0001 fo", &["folder", "for me.zip"]);
    shells.assert("flowtap completions ", &["bash", "zsh", "fish", "powershell"]);
}

#[test]
fn every_option_is_completed() {
    let shells = Shells::new(&entries());
    for command in Command::ALL {
        let name = command.text().name;
        let expected: BTreeSet<_> =
            command.flags().map(|it| it.long).chain(["help"]).map(|it| format!("--{it}")).collect();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let found = shells.complete(shell, &format!("flowtap {name} --"));
            assert_eq!(found, expected, "{shell:?}: {name}");
        }
    }
}

const fn flag(id: Id, long: &'static str, value: &'static str, values: Values) -> Flag {
    let about = "It's a [thing]: $HOME `x` \"y\" \\z";
    let commands = &[];
    Flag { id, long, short: None, value, values, default: "", about, repeats: false, commands }
}

const FLAGS: &[Flag] = &[
    flag(Id::Confdir, "confdir", "FOLDER", Values::Folders),
    flag(Id::App, "format", "FORMAT", Values::Choices(&["pem", "der", "p12"])),
    flag(Id::NoMcp, "yes", "", Values::Any),
];

const fn text(name: &'static str, arguments: &'static str, runs_program: bool) -> CommandText {
    CommandText { name, arguments, about: "It's [one]: $x", examples: "  .x 'y'", runs_program }
}

const TEXTS: &[CommandText] = &[
    text("ca", "[COMMAND] [OPTIONS]", false),
    text("ca export", "[OPTIONS]", false),
    text("ca exhume", "[OPTIONS] FILE", false),
    text("run", "[OPTIONS] -- COMMAND [ARGUMENT]…", true),
];

/// A table with what the real one may come to have: names of two words, programs, choices.
fn made_up() -> Vec<Entry> {
    TEXTS.iter().map(|text| Entry { text, flags: FLAGS.iter().collect() }).collect()
}

#[test]
fn shells_complete_names_of_two_words_and_choices() {
    let shells = Shells::new(&made_up());
    shells.assert("flowtap ", &["ca", "run"]);
    shells.assert("flowtap ca ex", &["export", "exhume"]);
    shells.assert("flowtap ca export --format ", &["pem", "der", "p12"]);
    shells.assert("flowtap ca export --format=p", &["pem", "p12"]);
    shells.assert("flowtap ca --yes exp", &["export"]);
    shells.assert("flowtap ca exhume --yes fo", &["folder", "for me.zip"]);
    shells.assert("flowtap ca export --y", &["--yes"]);
}

#[test]
fn shells_complete_the_program_that_a_command_runs() {
    let shells = Shells::new(&made_up());
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        for begin in ["run", "run --", "run --yes --", "run --format pem"] {
            // Programs of the system, so that no path has to be set.
            let found = shells.complete(shell, &format!("flowtap {begin} timeou"));
            assert!(found.contains("timeout"), "{shell:?}: {begin}: {found:?}");
            let found = shells.complete(shell, &format!("flowtap {begin} cat fo"));
            let files: Vec<_> = found.iter().collect();
            assert_eq!(files, ["folder", "for me.zip"], "{shell:?}: {begin}");
        }
        let found = shells.complete(shell, "flowtap run cat --yes");
        assert!(!found.contains("--yes"), "{shell:?}: {found:?}");
    }
}

#[test]
fn the_man_page_is_sound_and_shows_every_option() {
    let folder = tempfile::tempdir().unwrap();
    for all in [entries(), made_up()] {
        fs::write(folder.path().join("flowtap.1"), man::page(&all)).unwrap();
        let judged = run("groff", &["-man", "-ww", "-z", "flowtap.1"], folder.path());
        assert!(judged.stderr.is_empty(), "{}", String::from_utf8_lossy(&judged.stderr));
        let shown = run("groff", &["-man", "-Tutf8", "-P-cbou", "flowtap.1"], folder.path());
        let shown = String::from_utf8(shown.stdout).unwrap();
        for entry in &all {
            // Bold text and hyphens of roff must come out as what a user types and searches for.
            assert!(shown.contains(&format!("flowtap {}", entry.text.name)), "{shown}");
            for flag in &entry.flags {
                assert!(shown.contains(&format!("--{}", flag.long)), "{shown}");
            }
            for example in entry.text.examples.lines() {
                assert!(shown.contains(example.trim()), "{example}\n{shown}");
            }
        }
    }
}

#[test]
fn the_program_prints_scripts_and_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let flowtap = env!("CARGO_BIN_EXE_flowtap");
    for (name, shell) in SHELLS {
        let printed = run(flowtap, &["completions", name], folder.path());
        assert_eq!(printed.stdout, script(*shell, &entries()).into_bytes(), "{name}");
    }
    let printed = run(flowtap, &["man"], folder.path());
    assert_eq!(printed.stdout, man::page(&entries()).into_bytes());
}
