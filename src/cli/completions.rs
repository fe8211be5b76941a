//! What lets shells complete commands, options and values: a script for each shell, made of the
//! table of flags.

use crate::cli::flags::{Entry, Flag, Operand};

mod bash;
mod fish;
mod powershell;
mod zsh;

/// A shell that a script can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash, from 3.2 on.
    Bash,
    /// zsh.
    Zsh,
    /// fish, from 3.0 on.
    Fish,
    /// PowerShell, from 5.0 on.
    PowerShell,
}

/// The shells by their names.
pub const SHELLS: &[(&str, Shell)] = &[
    ("bash", Shell::Bash),
    ("zsh", Shell::Zsh),
    ("fish", Shell::Fish),
    ("powershell", Shell::PowerShell),
];

/// The script by which a shell completes these commands.
pub fn script(shell: Shell, all: &[Entry]) -> String {
    match shell {
        Shell::Bash => bash::script(all),
        Shell::Zsh => zsh::script(all),
        Shell::Fish => fish::script(all),
        Shell::PowerShell => powershell::script(all),
    }
}

/// What every command takes beside the flags of the table.
const HELP: &str = "Show this help";
/// What flowtap without a command takes.
const VERSION: &str = "Show the version";

/// Both forms of a flag, with their dashes.
fn forms(flag: &Flag) -> impl Iterator<Item = String> {
    let short = flag.short.map(|letter| format!("-{letter}"));
    short.into_iter().chain([format!("--{}", flag.long)])
}

/// A word in single quotes, where `quote` is what stands for a single quote between them.
fn single_quoted(word: &str, quote: &str) -> String {
    format!("'{}'", word.replace('\'', quote))
}

/// The commands whose arguments begin a program of their own.
fn run_programs(all: &[Entry]) -> impl Iterator<Item = &Entry> {
    all.iter().filter(|entry| entry.operand(all) == Operand::Program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::entries;

    #[test]
    fn every_script_has_every_command_and_flag() {
        for (name, shell) in SHELLS {
            let all = entries();
            let script = script(*shell, &all);
            for entry in &all {
                assert!(script.contains(entry.word()), "{name}: {}", entry.text.name);
                for flag in &entry.flags {
                    let wanted = match shell {
                        Shell::Fish => format!("-l {} ", flag.long),
                        _ => format!("--{}", flag.long),
                    };
                    assert!(script.contains(&wanted), "{name}: {wanted}");
                }
            }
            assert!(script.ends_with('\n') && !script.contains("\n\n\n"), "{name}");
        }
    }
}
