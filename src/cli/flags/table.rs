//! The flags, in words.

use super::{Command, Flag, Id, Values};

const PROXY: &[Command] = &[Command::Proxy, Command::Run, Command::Mcp];
const ALL: &[Command] = &[Command::Proxy, Command::Run, Command::Mcp, Command::Discover];
/// Those whose terminal is their own.
const TERMINAL: &[Command] = &[Command::Proxy, Command::Mcp];
const RUN: &[Command] = &[Command::Run];
/// Those that need the CA.
const WITH_CA: &[Command] = &[
    Command::Proxy,
    Command::Run,
    Command::Mcp,
    Command::Ca,
    Command::CaInstall,
    Command::CaUninstall,
    Command::CaExport,
    Command::CaCheck,
];
/// Those that change or look at trust stores.
const STORES: &[Command] = &[Command::CaInstall, Command::CaUninstall, Command::CaCheck];
/// Those that change trust stores.
const CHANGES: &[Command] = &[Command::CaInstall, Command::CaUninstall];

/// The commands that can check a capture.
const CHECKS: &[Command] = &[Command::Run, Command::Check];
const INSPECT: &[Command] = &[Command::Inspect];

/// The commands that take defaults from configuration files: all that have flags to set.
const CONFIGURED: &[Command] = &[
    Command::Proxy,
    Command::Run,
    Command::Mcp,
    Command::Discover,
    Command::Inspect,
    Command::Check,
    Command::Export,
    Command::Recover,
    Command::Ca,
    Command::CaInstall,
    Command::CaUninstall,
    Command::CaExport,
    Command::CaCheck,
    Command::Config,
];

/// All flags.
pub const FLAGS: &[Flag] = &[
    Flag::new(Id::Port, "port", "PORT")
        .short('p')
        .default("8080")
        .about("Listen on this port; 0 picks a free one and prints it")
        .of(&[Command::Proxy, Command::Mcp, Command::Discover]),
    Flag::new(Id::Port, "port", "PORT")
        .short('p')
        .default("a free one")
        .about("Listen on this port")
        .of(RUN),
    Flag::new(Id::Port, "port", "PORT")
        .short('p')
        .default("8080")
        .about("The port of the proxy that the QR code leads to")
        .of(&[Command::Ca]),
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
    Flag::new(Id::Output, "output", "FILE")
        .short('o')
        .default("-")
        .about(
            "Write the certificate here, in the place of an older file; - is the standard output",
        )
        .takes(Values::Files)
        .of(&[Command::CaExport]),
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
        .of(WITH_CA),
    Flag::new(Id::Ca, "ca", "FILE")
        .default("none")
        .about("Use the CA in this PEM file, which holds its key and its certificate")
        .takes(Values::Files)
        .of(WITH_CA),
    Flag::new(Id::InsecureUpstream, "insecure-upstream", "")
        .about("Do not verify the certificates of origin servers")
        .of(PROXY),
    Flag::new(Id::Upstream, "upstream", "URL")
        .default("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY")
        .about(
            "Reach all servers through this proxy, as http://USER:PASSWORD@HOST:PORT, https://, \
                socks5:// or socks5h://; none uses no proxy",
        )
        .of(ALL),
    Flag::new(Id::NoUpstream, "no-upstream", "HOSTS")
        .default("NO_PROXY, without --upstream")
        .about(
            "Reach these without an upstream proxy, repeatable: names, networks as 10.0.0.0/8, \
                or *, parted by commas",
        )
        .repeats()
        .of(ALL),
    Flag::new(Id::UpstreamCa, "upstream-ca", "FILE")
        .default("the system's roots alone")
        .about("Trust the roots in this PEM file too, for servers and upstream proxies, repeatable")
        .takes(Values::Files)
        .repeats()
        .of(ALL),
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
    Flag::new(Id::Verbose, "verbose", "")
        .short('v')
        .about(
            "Print a line for each exchange wherever standard error goes; -vv its fields too, \
                -vvv bodies, -vvvv bodies in full",
        )
        .repeats()
        .of(TERMINAL),
    Flag::new(Id::Quiet, "quiet", "")
        .short('q')
        .about("Print no lines for exchanges and no live line, but start lines and warnings")
        .of(TERMINAL),
    Flag::new(Id::Color, "color", "WHEN")
        .default("auto")
        .about("Colour: auto (on a terminal, as NO_COLOR and CLICOLOR_FORCE say), always or never")
        .takes(Values::Choices(&["auto", "always", "never"]))
        .of(&[Command::Proxy, Command::Mcp, Command::Inspect]),
    Flag::new(Id::Browser, "browser", "")
        .about(
            "Run a browser with a profile of its own that trusts the CA; the arguments are its \
                name or its path, where any will not do, addresses, and options for it",
        )
        .of(RUN),
    Flag::new(Id::Quiet, "quiet", "")
        .short('q')
        .about("Say nothing at the end unless something went wrong")
        .of(RUN),
    Flag::new(Id::Trace, "trace", "ID")
        .default("none")
        .about("Show this trace or WebSocket connection in full; of a further part as 2:t_0001")
        .of(INSPECT),
    Flag::new(Id::Body, "body", "SIDE")
        .default("none")
        .about("With --trace: write the bytes of its request or response, content coding undone")
        .takes(Values::Choices(&["request", "response"]))
        .of(INSPECT),
    Flag::new(Id::Json, "json", "")
        .about("Show each flow as a line of JSON, for scripts")
        .of(INSPECT),
    Flag::new(Id::Curl, "curl", "")
        .about("Show the curl command that repeats each flow, credentials included")
        .of(INSPECT),
    Flag::new(Id::Sort, "sort", "KEY")
        .default("time")
        .about("Sort by time, size, status, duration, url or host, the least first")
        .takes(Values::Choices(&["time", "size", "status", "duration", "url", "host"]))
        .of(INSPECT),
    Flag::new(Id::Reverse, "reverse", "").short('r').about("Show the last first").of(INSPECT),
    Flag::new(Id::Columns, "columns", "NAMES")
        .default("id,method,status,size,duration,url")
        .about(
            "Show these columns, of id, time, method, status, size, sent, duration, wait, type, \
                host, path, url, server and error",
        )
        .of(INSPECT),
    Flag::new(Id::Limit, "limit", "N")
        .default("all")
        .about("Show this many flows; the totals are of all that match")
        .of(INSPECT),
    Flag::new(Id::Har, "har", "FILE")
        .default("none")
        .about("Write HAR 1.2 here, in the place of an older file; - is the standard output")
        .takes(Values::Files)
        .of(&[Command::Export]),
    Flag::new(Id::JsonLines, "jsonl", "FILE")
        .default("none")
        .about("Write an object of JSON a line here, as docs/export.md has it")
        .takes(Values::Files)
        .of(&[Command::Export]),
    Flag::new(Id::OpenApi, "openapi", "FILE")
        .default("none")
        .about("Write an OpenAPI 3.1 document here of the APIs that were seen")
        .takes(Values::Files)
        .of(&[Command::Export]),
    Flag::new(Id::Html, "html", "FILE")
        .default("none")
        .about("Write a report here, one page that needs no network")
        .takes(Values::Files)
        .of(&[Command::Export]),
    Flag::new(Id::Curl, "curl", "FILE")
        .default("none")
        .about("Write a shell script here that sends the requests again with curl")
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
        .of(RUN),
    Flag::new(Id::Junit, "junit", "FILE")
        .default("none")
        .about(
            "Write what came of the checks here too, as JUnit XML; - is the standard output, and \
                the text goes to standard error then",
        )
        .takes(Values::Files)
        .of(&[Command::Check]),
    Flag::new(Id::Github, "github", "")
        .about("Print what failed as annotations of GitHub Actions too")
        .of(CHECKS),
    Flag::new(Id::NoRedact, "no-redact", "")
        .about("Show secrets in what is listed instead of ***")
        .of(&[Command::Check]),
    Flag::new(Id::System, "system", "")
        .about(
            "Take the system's trust store; without --system, --nss and --java all that is found",
        )
        .of(STORES),
    Flag::new(Id::Nss, "nss", "")
        .about("Take the NSS databases: that of Chromium, and of each profile of Firefox")
        .of(STORES),
    Flag::new(Id::Java, "java", "")
        .about("Take the trust store of Java: JAVA_HOME, else the one whose keytool is on PATH")
        .of(STORES),
    Flag::new(Id::JavaHome, "java-home", "FOLDER")
        .default("none")
        .about("Take this JDK too, repeatable")
        .takes(Values::Folders)
        .repeats()
        .of(STORES),
    Flag::new(Id::Yes, "yes", "")
        .short('y')
        .about("Do not ask; needed where the standard input is no terminal")
        .of(CHANGES),
    Flag::new(Id::DryRun, "dry-run", "")
        .about("Say what would be done, and do nothing")
        .of(CHANGES),
    Flag::new(Id::Sudo, "sudo", "").about("Do what needs root by sudo").of(CHANGES),
    Flag::new(Id::Format, "format", "FORMAT")
        .default("pem")
        .about("Write pem, der or p12")
        .takes(Values::Choices(&["pem", "der", "p12"]))
        .of(&[Command::CaExport]),
    Flag::new(Id::Password, "password", "PASSWORD")
        .default("empty")
        .about("The password of a p12, which protects no secret: no key is in it")
        .of(&[Command::CaExport]),
    Flag::new(Id::Proxy, "proxy", "URL")
        .default("one of its own")
        .about("Check by this running proxy")
        .of(&[Command::CaCheck]),
    Flag::new(Id::Qr, "qr", "")
        .about("Show a QR code of the address where a phone finds the CA and the steps to trust it")
        .of(&[Command::Proxy, Command::Ca]),
    Flag::new(Id::Json, "json", "").about("Print JSON").of(&[Command::Config]),
    Flag::new(Id::Config, "config", "FILE")
        .default("flowtap.toml, and the user's config.toml")
        .about("Take defaults from this file alone, as docs/configuration.md has it")
        .takes(Values::Files)
        .of(CONFIGURED),
    Flag::new(Id::NoConfig, "no-config", "").about("Take defaults from no file").of(CONFIGURED),
];
