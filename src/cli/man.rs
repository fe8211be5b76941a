//! The man page, made of the table of flags, for man(7).

use crate::cli::flags::{Entry, Flag};

/// What the page says beside the table.
const DESCRIPTION: &str = "flowtap is an intercepting HTTP/HTTPS proxy. Point a program, a browser \
    or a phone at it, trust its certificate authority, and every exchange and every WebSocket \
    message goes into a capture bundle: one ZIP with metadata as JSON and bodies decoded. What is \
    relayed is not changed by being captured. Agents work with the traffic over MCP meanwhile.";

/// What the program ends with.
const STATUSES: &[(&str, &str)] = &[
    ("0", "All went well"),
    ("1", "It could not do its work; a line on standard error says why"),
    ("2", "It was called wrongly"),
    ("3", "A check did not hold"),
];

/// Variables of the environment.
const VARIABLES: &[(&str, &str)] = &[
    ("FLOWTAP_MCP_TOKEN", "The default of --mcp-token, which other users do not see"),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY", "Upstream proxies, where --upstream names none"),
    ("NO_PROXY", "What is reached without them"),
    ("SSL_CERT_FILE", "The roots that servers are verified by, in place of the system's"),
    ("NO_COLOR", "No colour in the terminal where this is not empty"),
    ("CLICOLOR_FORCE", "Colour where there is no terminal, too"),
];

/// Files.
const FILES: &[(&str, &str)] = &[
    ("flowtap.toml", "Defaults of options, in the working folder; less is taken from there"),
    ("~/.config/flowtap/config.toml", "Defaults of options, the user's own"),
    ("~/.flowtap/flowtap-ca.pem", "The certificate authority with its key"),
    ("~/.flowtap/flowtap-ca-cert.pem", "Its certificate, which clients have to trust"),
];

/// The page about these commands.
pub fn page(all: &[Entry]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".TH FLOWTAP 1 \"\" \"flowtap {version}\" \"User Commands\"\n");
    // Words are not parted: options and names have to be found by searching.
    page.push_str(".nh\n.ad l\n");
    section(&mut page, "NAME");
    page.push_str("flowtap \\- intercept HTTP and HTTPS traffic and capture it into a bundle\n");
    section(&mut page, "SYNOPSIS");
    page.push_str(".B flowtap\n.I COMMAND\n.RI [ OPTIONS ]\n");
    section(&mut page, "DESCRIPTION");
    page.push_str(&format!("{}\n", text(DESCRIPTION)));
    section(&mut page, "COMMANDS");
    for entry in all {
        tagged(&mut page, &format!("\\fB{}\\fR", text(entry.text.name)), &text(entry.text.about));
    }
    section(&mut page, "OPTIONS");
    tagged(
        &mut page,
        "\\fB\\-h\\fR, \\fB\\-\\-help\\fR",
        "Show help, of a command where it follows one",
    );
    tagged(&mut page, "\\fB\\-V\\fR, \\fB\\-\\-version\\fR", "Show the version");
    for entry in all {
        let title = format!("flowtap {}", entry.text.name);
        page.push_str(&format!(".SS \"{}\"\n", text(&title)));
        page.push_str(&format!("{}\n.PP\n", text(&format!("{}.", entry.text.about))));
        let usage = format!("{title} {}", entry.text.arguments);
        page.push_str(&format!("Usage: \\fB{}\\fR\n", text(usage.trim_end())));
        entry.flags.iter().for_each(|flag| option(&mut page, flag));
        page.push_str(".PP\nExamples:\n.PP\n.RS 4\n.nf\n");
        for line in entry.text.examples.lines() {
            page.push_str(&format!("{}\n", text(line.trim_start())));
        }
        page.push_str(".fi\n.RE\n");
    }
    for (title, rows) in [("EXIT STATUS", STATUSES), ("ENVIRONMENT", VARIABLES), ("FILES", FILES)] {
        section(&mut page, title);
        for (name, about) in rows {
            tagged(&mut page, &format!("\\fB{}\\fR", text(name)), &text(about));
        }
    }
    section(&mut page, "SEE ALSO");
    page.push_str(".BR curl (1),\n.BR openssl (1)\n");
    page
}

fn section(page: &mut String, title: &str) {
    page.push_str(&format!(".SH \"{title}\"\n"));
}

fn option(page: &mut String, flag: &Flag) {
    let short = flag.short.map_or(String::new(), |letter| format!("\\fB\\-{letter}\\fR, "));
    let value = match flag.value {
        "" => String::new(),
        value => format!(" \\fI{}\\fR", text(value)),
    };
    let tag = format!("{short}\\fB\\-\\-{}\\fR{value}", text(flag.long));
    let default = match flag.default {
        "" | "none" => String::new(),
        default => format!(" [default: {default}]"),
    };
    tagged(page, &tag, &text(&format!("{}{default}", flag.about)));
}

/// A paragraph under a tag.
fn tagged(page: &mut String, tag: &str, body: &str) {
    page.push_str(&format!(".TP\n{tag}\n{body}\n"));
}

/// Text as roff takes it: each character stands for itself, and none begins a request.
fn text(words: &str) -> String {
    let mut out = String::new();
    for (at, c) in words.char_indices() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '~' => out.push_str("\\(ti"),
            '^' => out.push_str("\\(ha"),
            '`' => out.push_str("\\(ga"),
            '\'' => out.push_str("\\(aq"),
            '"' => out.push_str("\\(dq"),
            '.' if at == 0 => out.push_str("\\&."),
            c if !c.is_ascii() => out.push_str(&format!("\\[u{:04X}]", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::entries;

    #[test]
    fn text_stands_for_itself() {
        assert_eq!(text(".a\\b -c 'd' ~e …"), "\\&.a\\eb \\-c \\(aqd\\(aq \\(tie \\[u2026]");
    }

    #[test]
    fn the_page_has_every_command_and_flag() {
        let page = page(&entries());
        for entry in entries() {
            let own = page.split(&format!(".SS \"flowtap {}\"\n", text(entry.text.name))).nth(1);
            let own = own.unwrap().split("\n.S").next().unwrap();
            assert!(own.contains(&text(entry.text.about)));
            for flag in entry.flags {
                assert!(own.contains(&format!("\\fB\\-\\-{}\\fR", text(flag.long))), "{flag:?}");
                assert!(own.contains(&text(flag.about)), "{flag:?}");
            }
        }
    }
}
