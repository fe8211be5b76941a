//! The words about commands and flags: the help, and the README's table.

use super::{Command, CommandText, FLAGS, Flag, Id};

/// What the options of a command are about, in the order of the help. Those of no group come first.
const GROUPS: &[(&str, &[Id])] = &[
    ("Which traffic", &[Id::Domain, Id::Exclude, Id::Filter, Id::Set]),
    ("The bundle", &[Id::NoOutput, Id::App, Id::CaptureBodyLimit, Id::BundleTraces]),
    ("Certificates", &[Id::Confdir, Id::Ca, Id::InsecureUpstream]),
    ("Agents", &[Id::McpPort, Id::McpToken, Id::NoMcp, Id::MaxFlows]),
];
/// Groups of fewer than so many are none.
const GROUP_LEAST: usize = 3;

/// The help of a command, or of flowtap, in lines of any length.
pub fn help(command: Option<Command>) -> String {
    help_within(command, usize::MAX)
}

/// The help of a command, or of flowtap, in lines that are no longer than `columns`.
pub fn help_within(command: Option<Command>, columns: usize) -> String {
    match command {
        Some(command) => command_help(command, columns),
        None => whole_help(columns),
    }
}

fn whole_help(columns: usize) -> String {
    let mut help = format!(
        "flowtap {}\nAn intercepting HTTP/HTTPS proxy that captures traffic into a bundle\n\n\
         Usage: flowtap COMMAND [OPTIONS]\n\nCommands:\n",
        env!("CARGO_PKG_VERSION")
    );
    let texts: Vec<_> = Command::ALL.iter().map(|command| command.text()).collect();
    help.push_str(&listed(&texts, columns));
    help.push_str(
        "\nOptions:\n  -h, --help     Show help, of a command where it follows one\n  \
         -V, --version  Show the version\n\nExample:\n  flowtap proxy -o capture.zip\n",
    );
    help
}

/// A line for each command.
fn listed(texts: &[&CommandText], columns: usize) -> String {
    let width = texts.iter().map(|text| text.name.len()).max().unwrap_or_default();
    let line = |text: &&CommandText| {
        let about = wrapped(text.about, width + 4, columns);
        format!("  {:<width$}  {about}\n", text.name)
    };
    texts.iter().map(line).collect()
}

fn command_help(command: Command, columns: usize) -> String {
    let text = command.text();
    let usage = format!("Usage: flowtap {} {}", text.name, text.arguments);
    let mut help = format!("{}\n\n{}\n", wrapped(text.about, 0, columns), usage.trim_end());
    let subcommands: Vec<_> = command.subcommands().map(|sub| sub.text()).collect();
    if !subcommands.is_empty() {
        help.push_str("\nCommands:\n");
        help.push_str(&listed(&subcommands, columns));
    }
    let of = |ids: &[Id]| command.flags().filter(|flag| ids.contains(&flag.id)).count();
    let is_group = |(_, ids): &&(_, &[Id])| of(ids) >= GROUP_LEAST;
    let groups: Vec<_> = GROUPS.iter().filter(is_group).collect();
    help.push_str("\nOptions:\n");
    for flag in command.flags().filter(|flag| !groups.iter().any(|(_, ids)| ids.contains(&flag.id)))
    {
        help.push_str(&option(flag, columns));
    }
    help.push_str("  -h, --help\n          Show this help\n");
    for (title, ids) in groups {
        help.push_str(&format!("\n{title}:\n"));
        let flags = command.flags().filter(|flag| ids.contains(&flag.id));
        flags.for_each(|flag| help.push_str(&option(flag, columns)));
    }
    help.push_str(&format!("\nExamples:\n{}\n", text.examples));
    help
}

fn option(flag: &Flag, columns: usize) -> String {
    let default = match flag.default {
        "" | "none" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let about = wrapped(&format!("{}{default}", flag.about), OPTION_INDENT, columns);
    format!("  {}\n{:OPTION_INDENT$}{about}\n", spelled(flag), "")
}

/// Where what an option does begins.
const OPTION_INDENT: usize = 10;
/// A terminal that is narrower than that has its lines broken by itself.
const COLUMNS_LEAST: usize = 40;

/// Text in lines of at most `columns`, the first of which begins at `indent` and the others with
/// that many blanks.
fn wrapped(text: &str, indent: usize, columns: usize) -> String {
    if columns < COLUMNS_LEAST {
        return text.to_owned();
    }
    let (mut out, mut at) = (String::new(), indent);
    for word in text.split(' ') {
        let length = word.chars().count();
        if !out.is_empty() && at.saturating_add(length) >= columns {
            out.push_str(&format!("\n{:indent$}", ""));
            at = indent;
        } else if !out.is_empty() {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += length;
    }
    out
}

/// A flag with both forms and its value.
fn spelled(flag: &Flag) -> String {
    let short = flag.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
    let value = if flag.value.is_empty() { String::new() } else { format!(" {}", flag.value) };
    format!("{short}--{}{value}", flag.long)
}

/// The README's table of options.
pub fn readme_table() -> String {
    let mut table = String::from("| option | default | commands | meaning |\n|---|---|---|---|\n");
    for flag in FLAGS {
        let commands: Vec<_> = flag.commands.iter().map(|it| it.text().name).collect();
        let option = format!("`{}`", spelled(flag).trim_start());
        table.push_str(&format!(
            "| {option} | {} | {} | {} |\n",
            flag.default,
            commands.join(", "),
            flag.about
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_terminal_and_lose_no_word() {
        for &command in Command::ALL {
            let narrow = help_within(Some(command), 60);
            let (options, examples) = narrow.split_once("\nExamples:").unwrap();
            let long = options.lines().find(|line| line.chars().count() > 60);
            assert_eq!(long, None, "{command:?}");
            let words = |help: &str| help.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&narrow), words(&help(Some(command))));
            assert!(examples.contains("flowtap "));
        }
        assert!(help_within(None, 50).lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn options_stand_in_groups_once_each() {
        let help = help(Some(Command::Proxy));
        assert!(help.contains("\nAgents:\n      --max-flows N\n"), "{help}");
        for flag in Command::Proxy.flags() {
            assert_eq!(
                help.matches(&format!("--{}\n", flag.long)).count()
                    + help.matches(&format!("--{} ", flag.long)).count(),
                1,
                "{}",
                flag.long
            );
        }
        assert!(!super::help(Some(Command::Export)).contains("Which traffic"));
    }
}
