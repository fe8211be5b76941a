//! Completion in fish.

use super::{Entry, HELP, Operand, VERSION, forms, run_programs};
use crate::cli::flags::{Flag, Values, under};

/// The part that is the same whatever the commands are. It walks over the words before the cursor
/// as flowtap reads them.
const WALK: &str = r#"
# The command so far, and below it the words of the program that it runs, if it has come to one.
function __flowtap_walk
    set -l words (commandline -opc)
    set -e words[1]
    set -l command
    set -l skip no
    set -l operands no
    while set -q words[1]
        set -l word $words[1]
        if test $skip = yes
            set skip no
        else if test "$word" = -- -o $operands = yes; or not string match -q -- '-*' $word
            set -l longer (string trim -- "$command $word")
            if test "$word" = --
                set operands yes
                set -e words[1]
            end
            if test "$word" != -- -a $operands = no; and contains -- $longer $__flowtap_commands
                set command $longer
            else if contains -- "$command" $__flowtap_programs
                printf '%s\n' "$command " $words
                return
            else
                set operands yes
            end
            test "$word" = --; and continue
        else if contains -- "$command $word" $__flowtap_valued
            set skip yes
        end
        set -e words[1]
    end
    printf '%s\n' "$command"
end

# Whether the command is this one, and its program has not begun.
function __flowtap_is
    set -l walked (__flowtap_walk)
    test "$walked[1]" = "$argv"
end

# Whether the command is this one, and what comes is a program or belongs to one.
function __flowtap_runs
    set -l walked (__flowtap_walk)
    contains -- (string trim -- "$walked[1]") $__flowtap_programs
end

# Completes the program and what that takes.
function __flowtap_program
    set -l walked (__flowtap_walk)
    if set -q walked[2]
        complete -C (string join ' ' -- (string escape -- $walked[2..-1]) (commandline -ct))
    else
        __fish_complete_command
    end
end
"#;

/// The script.
pub(super) fn script(all: &[Entry]) -> String {
    let mut script =
        String::from("# Completion of flowtap in fish; made by: flowtap completions fish\n\n");
    let names = all.iter().map(|entry| quoted(entry.text.name));
    script.push_str(&format!("set -g __flowtap_commands {}\n", joined(names)));
    let programs = run_programs(all).map(|entry| quoted(entry.text.name));
    script.push_str(&format!("set -g __flowtap_programs {}\n", joined(programs)));
    let valued = all.iter().flat_map(|entry| {
        let flags = entry.flags.iter().filter(|flag| !flag.value.is_empty());
        flags.flat_map(|flag| forms(flag)).map(|it| quoted(&format!("{} {it}", entry.text.name)))
    });
    script.push_str(&format!("set -g __flowtap_valued {}\n", joined(valued)));
    script.push_str(WALK);
    script.push_str("\ncomplete -c flowtap -f\n");
    let mut line = |command: &str, rest: &str| {
        let condition = quoted(&format!("__flowtap_is {}", quoted(command)));
        script.push_str(&format!("complete -c flowtap -n {condition} {rest}\n"));
    };
    line("", &format!("-s h -l help -d {}", quoted(HELP)));
    line("", &format!("-s V -l version -d {}", quoted(VERSION)));
    for entry in under("", all) {
        line("", &word(entry));
    }
    for entry in all {
        let name = entry.text.name;
        line(name, &format!("-s h -l help -d {}", quoted(HELP)));
        for flag in &entry.flags {
            line(name, &option(flag));
        }
        let subcommands = entry.subcommands(all);
        if !subcommands.is_empty() {
            subcommands.iter().for_each(|below| line(name, &word(below)));
            continue;
        }
        match entry.operand(all) {
            Operand::Files => line(name, "-F"),
            Operand::Choices(words) => line(name, &format!("-a {}", quoted(&words.join(" ")))),
            Operand::Program | Operand::Any => {}
        }
    }
    if run_programs(all).next().is_some() {
        script.push_str("complete -c flowtap -n __flowtap_runs -a '(__flowtap_program)'\n");
    }
    script
}

fn word(entry: &Entry) -> String {
    format!("-a {} -d {}", quoted(entry.word()), quoted(entry.text.about))
}

fn option(flag: &Flag) -> String {
    let short = flag.short.map_or(String::new(), |letter| format!("-s {letter} "));
    let value = match (flag.value, flag.values) {
        ("", _) => String::new(),
        (_, Values::Any) => " -x".to_owned(),
        (_, Values::Files) => " -r -F".to_owned(),
        (_, Values::Folders) => " -x -a '(__fish_complete_directories)'".to_owned(),
        (_, Values::Choices(words)) => format!(" -x -a {}", quoted(&words.join(" "))),
    };
    format!("{short}-l {} -d {}{value}", flag.long, quoted(flag.about))
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// A word in single quotes, between which fish knows two escapes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
