//! The words about commands and flags: the help, and the README's table.

use super::{Command, FLAGS, Flag};

/// The help of a command, or of flowtap.
pub fn help(command: Option<Command>) -> String {
    let Some(command) = command else {
        let mut help = format!(
            "flowtap {}\nAn intercepting HTTP/HTTPS proxy that captures traffic into a bundle\n\n\
             Usage: flowtap COMMAND [OPTIONS]\n\nCommands:\n",
            env!("CARGO_PKG_VERSION")
        );
        for text in Command::ALL.iter().map(|command| command.text()) {
            help.push_str(&format!("  {:<13} {}\n", text.name, text.about));
        }
        help.push_str(
            "\nOptions:\n  -h, --help     Show help, of a command where it follows one\n  \
             -V, --version  Show the version\n\nExample:\n  flowtap proxy -o capture.zip\n",
        );
        return help;
    };
    let text = command.text();
    let mut help = format!("{}\n\nUsage: flowtap {} {}\n", text.about, text.name, text.arguments);
    let mut subcommands = command.subcommands().map(|sub| sub.text()).peekable();
    if subcommands.peek().is_some() {
        help.push_str("\nCommands:\n");
        subcommands.for_each(|sub| help.push_str(&format!("  {:<13} {}\n", sub.name, sub.about)));
    }
    help.push_str("\nOptions:\n");
    for flag in command.flags() {
        let default = match flag.default {
            "" | "none" => String::new(),
            default => format!(" [default: {default}]"),
        };
        help.push_str(&format!("  {}\n          {}{default}\n", spelled(flag), flag.about));
    }
    help.push_str("  -h, --help\n          Show this help\n");
    help.push_str(&format!("\nExamples:\n{}\n", text.examples));
    help
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
