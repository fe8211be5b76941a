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
    arguments: "[OPTIONS] BUNDLE [FILTER]",
    about: "Show what a bundle holds, or one trace of it in full",
    examples: "  flowtap inspect capture.zip\n  \
               flowtap inspect capture.zip '~d api.example.com & ~c 500' --sort duration -r\n  \
               flowtap inspect capture.zip --json | jq -r .url\n  \
               flowtap inspect capture.zip --trace t_0001\n  \
               flowtap inspect capture.zip --trace t_0001 --curl | sh",
    runs_program: false,
};

pub(super) const CHECK: CommandText = CommandText {
    name: "check",
    arguments: "[OPTIONS] BUNDLE",
    about: "Fail with exit status 3 when a capture is not as it should be",
    examples: "  flowtap check capture.zip --fail-on '~c 5xx' --fail-on '!~d api.example.com'\n  \
               flowtap check capture.zip --require '~m POST & ~u /login & ~c 200' \
               --junit flowtap.xml",
    runs_program: false,
};

pub(super) const EXPORT: CommandText = CommandText {
    name: "export",
    arguments: "[OPTIONS] BUNDLE",
    about: "Write what a bundle holds, with all its parts, as a file of another format",
    examples: "  flowtap export capture.zip --har capture.har\n  \
               flowtap export capture.zip --html report.html --redact\n  \
               flowtap export capture.zip --jsonl - --filter '~c 500'",
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

pub(super) const CA: CommandText = CommandText {
    name: "ca",
    arguments: "[COMMAND] [OPTIONS]",
    about: "Show the CA: its file, its fingerprints, how long it lives, and where it is trusted",
    examples: "  flowtap ca\n  flowtap ca --qr",
    runs_program: false,
};

pub(super) const CA_INSTALL: CommandText = CommandText {
    name: "ca install",
    arguments: "[OPTIONS]",
    about: "Have the system, browsers and Java trust the CA; says what it will do, and asks",
    examples: "  flowtap ca install --dry-run\n  flowtap ca install --nss\n  \
               sudo flowtap ca install --system --confdir ~/.flowtap",
    runs_program: false,
};

pub(super) const CA_UNINSTALL: CommandText = CommandText {
    name: "ca uninstall",
    arguments: "[OPTIONS]",
    about: "Take the trust in the CA back; says what it will do, and asks",
    examples: "  flowtap ca uninstall\n  sudo flowtap ca uninstall --system --confdir ~/.flowtap",
    runs_program: false,
};

pub(super) const CA_EXPORT: CommandText = CommandText {
    name: "ca export",
    arguments: "[OPTIONS]",
    about: "Write the CA's certificate, without its key, as PEM, DER or PKCS#12",
    examples: "  flowtap ca export > flowtap.pem\n  flowtap ca export --format p12 -o flowtap.p12",
    runs_program: false,
};

pub(super) const CA_CHECK: CommandText = CommandText {
    name: "ca check",
    arguments: "[OPTIONS] [HOST[:PORT]]",
    about: "Prove that the CA is trusted: HTTPS through a proxy, judged by the system's roots",
    examples: "  flowtap ca check\n  flowtap ca check example.com --nss\n  \
               flowtap ca check --proxy http://127.0.0.1:8080",
    runs_program: false,
};

pub(super) const RUN: CommandText = CommandText {
    name: "run",
    arguments: "[OPTIONS] -- COMMAND [ARGUMENT]…",
    about: "Run a program, or a browser, with its traffic captured, and end with its exit status",
    examples: "  flowtap run -- curl https://example.com/\n  \
               flowtap run -o tests.zip -- npm test\n  \
               flowtap run --browser https://example.com/\n  \
               flowtap run --browser firefox https://example.com/",
    runs_program: true,
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
