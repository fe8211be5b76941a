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
