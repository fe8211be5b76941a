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
