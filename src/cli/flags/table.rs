//! The flags, in words.

use super::{Command, Flag, Id, Values};

const PROXY: &[Command] = &[Command::Proxy, Command::Mcp];
const ALL: &[Command] = &[Command::Proxy, Command::Mcp, Command::Discover];

/// The commands that can check a capture.
const CHECKS: &[Command] = &[Command::Check];

/// The commands that take defaults from configuration files: all that have flags to set.
const CONFIGURED: &[Command] = &[
    Command::Proxy,
    Command::Mcp,
    Command::Discover,
    Command::Inspect,
    Command::Check,
    Command::Export,
    Command::Recover,
    Command::Config,
];

/// All flags.
pub const FLAGS: &[Flag] = &[
    Flag::new(Id::Port, "port", "PORT")
        .short('p')
        .default("8080")
        .about("Listen on this port; 0 picks a free one and prints it")
        .of(ALL),
    Flag::new(Id::Listen, "listen", "ADDRESS")
        .default("127.0.0.1")
        .about("Listen on this address; anything but loopback lets other machines in")
        .of(ALL),
    Flag::new(Id::Output, "output", "FILE")
        .short('o')
        .default("capture.zip")
        .about("Write the bundle here; an older one stays until the new one is whole")
        .takes(Values::Files)
        .of(PROXY),
    Flag::new(Id::Output, "output", "FILE")
        .short('o')
        .default("where the capture wrote")
        .about(
            "Write the recovered bundle here; what another capture has there stays, and the \
                bundle gets the next free name",
        )
        .takes(Values::Files)
        .of(&[Command::Recover]),
    Flag::new(Id::NoOutput, "no-output", "").about("Write no bundle").of(PROXY),
    Flag::new(Id::Domain, "domain", "PATTERN")
        .short('d')
        .default("all")
        .about("Intercept only hosts that match, repeatable; the rest passes through untouched")
        .repeats()
        .of(PROXY),
    Flag::new(Id::Exclude, "exclude", "PATTERN")
        .short('e')
        .default("none")
        .about("Pass hosts that match through untouched, repeatable; wins over -d")
        .repeats()
        .of(PROXY),
    Flag::new(Id::App, "app", "NAME")
        .default("the output's stem")
        .about("The application's name in the bundle's manifest")
        .of(PROXY),
    Flag::new(Id::Confdir, "confdir", "FOLDER")
        .default("~/.flowtap")
        .about("Where the CA lives; it is made there on the first start")
        .takes(Values::Folders)
        .of(PROXY),
    Flag::new(Id::Ca, "ca", "FILE")
        .default("none")
        .about("Use the CA in this PEM file, which holds its key and its certificate")
        .takes(Values::Files)
        .of(PROXY),
    Flag::new(Id::InsecureUpstream, "insecure-upstream", "")
        .about("Do not verify the certificates of origin servers")
        .of(PROXY),
    Flag::new(Id::CaptureBodyLimit, "capture-body-limit", "SIZE")
        .default("16m")
        .about(
            "Keep this much of each body, as 512k, 16m, 1g or none for no limit; what is \
                longer flows on, its copy is cut, and the trace says so",
        )
        .of(PROXY),
    Flag::new(Id::BundleTraces, "bundle-traces", "N")
        .default("9999")
        .about("Begin the bundle's next part after this many traces, 9999 at most")
        .of(PROXY),
    Flag::new(Id::MaxFlows, "max-flows", "N")
        .default("1000")
        .about("Keep this many flows in memory for MCP; the oldest go first")
        .of(PROXY),
    Flag::new(Id::NoRedact, "no-redact", "")
        .about("Show secrets in MCP replies instead of ***")
        .of(PROXY),
    Flag::new(Id::Set, "set", "KEY=VALUE")
        .default("none")
        .about("Set an option of docs/options.md, repeatable; a key that is repeated makes a list")
        .repeats()
        .of(PROXY),
    Flag::new(Id::Loops, "loops", "N")
        .default("one a core, at most 4")
        .about("Serve with this many event loops, a thread each")
        .of(ALL),
    Flag::new(Id::McpPort, "mcp-port", "PORT")
        .default("9011")
        .about(
            "Serve MCP on this port of 127.0.0.1; 0 picks a free one, and so does the default \
                where it is taken",
        )
        .of(PROXY),
    Flag::new(Id::McpToken, "mcp-token", "TOKEN")
        .default("FLOWTAP_MCP_TOKEN, else none")
        .about(
            "Serve MCP only to clients that send this as their bearer token; other users see \
                arguments, but not the environment",
        )
        .of(PROXY),
    Flag::new(Id::NoMcp, "no-mcp", "").about("Serve no MCP on a port").of(PROXY),
    Flag::new(Id::Trace, "trace", "ID")
        .default("none")
        .about("Show this trace or WebSocket connection in full")
        .of(&[Command::Inspect]),
    Flag::new(Id::Har, "har", "FILE")
        .default("none")
        .about("Write HAR 1.2 here, in the place of an older file; - is the standard output")
        .takes(Values::Files)
        .of(&[Command::Export]),
    Flag::new(Id::Redact, "redact", "")
        .about("Mask passwords, tokens, cookies and other secrets")
        .of(&[Command::Export]),
    Flag::new(Id::Filter, "filter", "FILTER")
        .default("all")
        .about("Take only the flows that match, as '~d api.example.com & ~c 500'")
        .of(&[Command::Export]),
    Flag::new(Id::FailOn, "fail-on", "FILTER")
        .default("none")
        .about("Fail when a flow matches, repeatable")
        .repeats()
        .of(CHECKS),
    Flag::new(Id::Require, "require", "FILTER")
        .default("none")
        .about("Fail when no flow matches, repeatable")
        .repeats()
        .of(CHECKS),
    Flag::new(Id::Junit, "junit", "FILE")
        .default("none")
        .about("Write what came of the checks here too, as JUnit XML")
        .takes(Values::Files)
        .of(CHECKS),
    Flag::new(Id::Github, "github", "")
        .about("Print what failed as annotations of GitHub Actions too")
        .of(CHECKS),
    Flag::new(Id::NoRedact, "no-redact", "")
        .about("Show secrets in what is listed instead of ***")
        .of(&[Command::Check]),
    Flag::new(Id::Json, "json", "").about("Print JSON").of(&[Command::Config]),
    Flag::new(Id::Config, "config", "FILE")
        .default("flowtap.toml, and the user's config.toml")
        .about("Take defaults from this file alone, as docs/configuration.md has it")
        .takes(Values::Files)
        .of(CONFIGURED),
    Flag::new(Id::NoConfig, "no-config", "").about("Take defaults from no file").of(CONFIGURED),
];
