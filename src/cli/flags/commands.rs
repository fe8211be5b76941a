//! The commands, in words.

use super::CommandText;

pub(super) const PROXY: CommandText = CommandText {
    name: "proxy",
    arguments: "[OPTIONS]",
    about: "Intercept traffic and capture it into a bundle",
    examples: "  flowtap proxy -o capture.zip\n  \
               flowtap proxy -d 'api.example.com' -d '*.example.org' -o api.zip\n  \
               curl -x http://127.0.0.1:8080 --cacert ~/.flowtap/flowtap-ca-cert.pem \
               https://example.com/",
    runs_program: false,
};

pub(super) const MCP: CommandText = CommandText {
    name: "mcp",
    arguments: "[OPTIONS]",
    about: "Serve MCP on standard input and output, with a proxy or for one that runs already",
    examples: "  flowtap mcp\n  flowtap mcp -p 8081 -o api.zip -d 'api.example.com'\n  \
               claude mcp add flowtap -- flowtap mcp",
    runs_program: false,
};

pub(super) const DISCOVER: CommandText = CommandText {
    name: "discover",
    arguments: "[OPTIONS]",
    about: "Pass everything through untouched and list the hosts seen",
    examples: "  flowtap discover -p 8080",
    runs_program: false,
};

pub(super) const INSPECT: CommandText = CommandText {
    name: "inspect",
    arguments: "[OPTIONS] BUNDLE",
    about: "Show what a bundle holds, or one trace of it in full",
    examples: "  flowtap inspect capture.zip\n  flowtap inspect capture.zip --trace t_0001",
    runs_program: false,
};

pub(super) const CHECK: CommandText = CommandText {
    name: "check",
    arguments: "[OPTIONS] BUNDLE",
    about: "Fail with exit status 3 when a capture is not as it should be",
    examples: "  flowtap check capture.zip --fail-on '~c 5..' --fail-on '!~d api.example.com'\n  \
               flowtap check capture.zip --require '~m POST & ~u /login & ~c 200' \
               --junit flowtap.xml",
    runs_program: false,
};

pub(super) const EXPORT: CommandText = CommandText {
    name: "export",
    arguments: "[OPTIONS] BUNDLE",
    about: "Write what a bundle holds, with all its parts, as HAR 1.2",
    examples: "  flowtap export capture.zip --har capture.har\n  \
               flowtap export capture.zip --har - --redact",
    runs_program: false,
};

pub(super) const RECOVER: CommandText = CommandText {
    name: "recover",
    arguments: "[OPTIONS] FILE",
    about: "Make a whole bundle of what a killed capture to FILE left behind",
    examples: "  flowtap recover capture.zip\n  \
               flowtap recover capture.zip.journal-2 -o second.zip",
    runs_program: false,
};

pub(super) const CONFIG: CommandText = CommandText {
    name: "config",
    arguments: "[OPTIONS] [COMMAND] [OPTION]…",
    about: "Show what is in force for a command, and which file, variable or option says so",
    examples: "  flowtap config\n  flowtap config check --json\n  flowtap config proxy -p 8081",
    runs_program: true,
};

pub(super) const COMPLETIONS: CommandText = CommandText {
    name: "completions",
    arguments: "SHELL",
    about: "Print what lets bash, zsh, fish or PowerShell complete commands and options",
    examples: "  flowtap completions bash > ~/.local/share/bash-completion/completions/flowtap\n  \
               flowtap completions zsh > /usr/local/share/zsh/site-functions/_flowtap\n  \
               flowtap completions fish > ~/.config/fish/completions/flowtap.fish\n  \
               flowtap completions powershell >> $PROFILE",
    runs_program: false,
};

pub(super) const MAN: CommandText = CommandText {
    name: "man",
    arguments: "",
    about: "Print the man page",
    examples: "  flowtap man | man -l -\n  flowtap man > /usr/local/share/man/man1/flowtap.1",
    runs_program: false,
};
