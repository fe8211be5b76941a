//! Completion in zsh, by its own `_arguments`.

use super::{Entry, HELP, Operand, VERSION, single_quoted};
use crate::cli::flags::{Flag, Values, under};

/// The script.
pub(super) fn script(all: &[Entry]) -> String {
    let mut script = String::from(
        "#compdef flowtap\n# Completion of flowtap in zsh; made by: flowtap completions zsh\n\n",
    );
    let version = quoted(&format!("(- *){{-V,--version}}[{}]", spec_text(VERSION)));
    let version = version.replace("{-V,--version}", "'{-V,--version}'");
    script.push_str(&level("_flowtap", &format!(" \\\n        {version}"), &under("", all)));
    for entry in all {
        let function = function(entry);
        let mut specs: String = entry.flags.iter().map(|flag| specs(flag)).collect();
        let subcommands = entry.subcommands(all);
        if !subcommands.is_empty() {
            script.push_str(&level(&function, &specs, &subcommands));
            continue;
        }
        match entry.operand(all) {
            Operand::Program => specs.push_str(
                " \\\n        '(-)1:program: _command_names -e' \\\n        '(-)*:: :_normal'",
            ),
            Operand::Files => specs.push_str(" \\\n        '*:file:_files'"),
            Operand::Choices(words) => {
                let choices = words.join(" ");
                specs.push_str(&format!(" \\\n        '*:word:({choices})'"));
            }
            Operand::Any => {}
        }
        script.push_str(&format!("{function}() {{\n    {}{specs}\n}}\n\n", arguments("")));
    }
    // As a file on fpath it is called as the function itself, else it is sourced.
    script.push_str(
        "if [[ ${funcstack[1]} == _flowtap ]]; then\n    _flowtap \"$@\"\nelse\n    \
         compdef _flowtap flowtap\nfi\n",
    );
    script
}

/// The function of a command that further words make another command of.
fn level(function: &str, specs: &str, below: &[&Entry]) -> String {
    let mut text = format!(
        "{function}() {{\n    local curcontext=$curcontext state state_descr line ret=1\n    \
         typeset -A opt_args\n    local -a flowtap_words\n    flowtap_words=(\n"
    );
    for entry in below {
        let about = format!("{}:{}", entry.word(), entry.text.about.replace(':', "\\:"));
        text.push_str(&format!("        {}\n", quoted(&about)));
    }
    text.push_str(&format!(
        "    )\n    {}{specs} \\\n        '(-)1:command:->command' \\\n        \
         '(-)*:: :->arguments' && ret=0\n    case $state in\n        command)\n            \
         _describe -t commands command flowtap_words && ret=0 ;;\n        \
         arguments)\n            case $words[1] in\n",
        arguments(" -C")
    ));
    for entry in below {
        let (word, function) = (entry.word(), self::function(entry));
        text.push_str(&format!("                {word}) {function} && ret=0 ;;\n"));
    }
    text.push_str("            esac ;;\n    esac\n    return ret\n}\n\n");
    text
}

fn arguments(more: &str) -> String {
    let help = spec_text(HELP);
    format!("_arguments{more} -s -S \\\n        '(- *)'{{-h,--help}}'[{help}]'")
}

fn function(entry: &Entry) -> String {
    format!("_flowtap_{}", entry.text.name.replace([' ', '-'], "_"))
}

/// The specifications of a flag, one for each of its forms, which exclude each other unless the
/// flag may be repeated.
fn specs(flag: &Flag) -> String {
    let long = format!("--{}", flag.long);
    let short = flag.short.map(|letter| format!("-{letter}"));
    let excluded = match (&short, flag.repeats) {
        (_, true) => "*".to_owned(),
        (Some(short), false) => format!("({short} {long})"),
        (None, false) => String::new(),
    };
    let about = spec_text(flag.about);
    let (joined_long, joined_short, value) = match flag.value {
        "" => ("", "", String::new()),
        value => ("=", "+", format!(":{}:{}", spec_text(value), action(flag.values))),
    };
    let long = format!("{excluded}{long}{joined_long}[{about}]{value}");
    let short = short.map(|short| format!("{excluded}{short}{joined_short}[{about}]{value}"));
    let all = short.into_iter().chain([long]);
    all.map(|spec| format!(" \\\n        {}", quoted(&spec))).collect()
}

fn action(values: Values) -> String {
    match values {
        Values::Any => " ".to_owned(),
        Values::Files => "_files".to_owned(),
        Values::Folders => "_files -/".to_owned(),
        Values::Choices(words) => format!("({})", words.join(" ")),
    }
}

/// Text inside a specification, where brackets and colons have a meaning.
fn spec_text(text: &str) -> String {
    let escaped = |c: char| if r"\[]:".contains(c) { vec!['\\', c] } else { vec![c] };
    text.chars().flat_map(escaped).collect()
}

fn quoted(text: &str) -> String {
    single_quoted(text, r"'\''")
}
