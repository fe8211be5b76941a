//! From flags to checked settings.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;

use crate::capture::private;
use crate::cli::flags::{Command, Id};
use crate::config::{Config, HostRules, McpConfig, Terminal};
use crate::error::{Error, Result};
use crate::flow::filter::{Filter, FilterError};
use crate::hosts::HostPattern;
use crate::limits::{LOOPS_MAX, PART_TRACES, STORED_FLOWS, STORED_FLOWS_MOST};
use crate::names;
use crate::options::Options;
use crate::upstream::Upstreams;

mod ca;
mod check;
mod export;
mod inspect;
mod recover;
mod run;
mod shell;
mod terminal;
mod upstream;

pub use ca::{CaChange, CaCheck, CaExport, CaFormat, CaPlace, CaShow, CaStores};
pub use ca::{ca, ca_check, ca_export, ca_install, ca_uninstall};
pub use check::{Check, Junit, Reports, check};
pub use export::{Export, export};
pub use inspect::{Inspect, InspectForm, inspect};
pub use recover::{Recover, recover};
pub use run::{Run, run};
pub use shell::shell;

/// Flags with their values, as they came; the value is empty for switches.
pub(super) type Flags = Vec<(Id, OsString)>;

/// Has a command's settings read, and does no more: nothing is opened, made or started.
pub(super) fn judge(command: Command, flags: Flags, arguments: Vec<OsString>) -> Result<()> {
    match command {
        Command::Proxy => proxy(flags, arguments).map(drop),
        Command::Run => run(flags, arguments).map(drop),
        Command::Mcp => mcp(flags, arguments).map(drop),
        Command::Discover => discover(flags, arguments).map(drop),
        Command::Inspect => inspect(flags, arguments).map(drop),
        Command::Check => check(flags, arguments).map(drop),
        Command::Export => export(flags, arguments).map(drop),
        Command::Recover => recover(flags, arguments).map(drop),
        Command::Ca => ca(flags, arguments).map(drop),
        Command::CaInstall => ca_install(flags, arguments).map(drop),
        Command::CaUninstall => ca_uninstall(flags, arguments).map(drop),
        Command::CaExport => ca_export(flags, arguments).map(drop),
        Command::CaCheck => ca_check(flags, arguments).map(drop),
        Command::Completions => shell(arguments).map(drop),
        Command::Man => none_left("man", &arguments),
        Command::Config => Ok(()),
    }
}

/// The settings of `proxy`.
pub fn proxy(flags: Flags, arguments: Vec<OsString>) -> Result<Config> {
    none_left("proxy", &arguments)?;
    capturing(flags)
}

/// The settings of `mcp`.
pub fn mcp(flags: Flags, arguments: Vec<OsString>) -> Result<Config> {
    none_left("mcp", &arguments)?;
    capturing(flags)
}

/// What `proxy`, `run` and `mcp` share.
fn capturing(flags: Flags) -> Result<Config> {
    let token = std::env::var_os(TOKEN_VARIABLE).filter(|token| !token.is_empty());
    let token = token.map(|token| mcp_token(TOKEN_VARIABLE, &token)).transpose()?;
    let mut config = Config { output: Some(PathBuf::from("capture.zip")), ..defaults() };
    let mut mcp = McpConfig { port: None, token };
    let mut serves_mcp = true;
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    let mut app = None;
    let mut terminal = terminal::TerminalFlags::default();
    let mut upstream = upstream::Given::default();
    for (id, value) in flags {
        match id {
            Id::Port | Id::Listen | Id::Loops => shared(&mut config, id, &value)?,
            Id::Output => config.output = Some(bundle(value)?),
            Id::NoOutput => config.output = None,
            Id::Domain => include.push(pattern(&value)?),
            Id::Exclude => exclude.push(pattern(&value)?),
            Id::App => app = Some(text("--app", &value)?),
            Id::Confdir => {
                config.confdir = path("--confdir", value)?;
                config.confdir_given = true;
            }
            Id::Ca => config.ca = Some(path("--ca", value)?),
            Id::InsecureUpstream => config.insecure_upstream = true,
            Id::Upstream | Id::NoUpstream | Id::UpstreamCa => upstream.take(id, value)?,
            Id::CaptureBodyLimit | Id::NoRedact | Id::Set => {
                option(&mut config.options, id, &value)?;
            }
            Id::MaxFlows => {
                let flows = number("--max-flows", &value, 1, STORED_FLOWS_MOST as u64)?;
                config.max_flows = usize::try_from(flows).unwrap_or(STORED_FLOWS);
            }
            Id::BundleTraces => {
                config.part_traces = number("--bundle-traces", &value, 1, PART_TRACES)?;
            }
            Id::McpPort => {
                let port = number("--mcp-port", &value, 0, u64::from(u16::MAX))?;
                mcp.port = u16::try_from(port).ok();
            }
            Id::McpToken => mcp.token = Some(mcp_token("--mcp-token", &value)?),
            Id::NoMcp => serves_mcp = false,
            Id::Verbose | Id::Quiet | Id::Color => terminal.take(id, &value)?,
            Id::Qr => config.qr = true,
            _ => return Err(Error::new("a flag of another command")),
        }
    }
    config.output.as_deref().map_or(Ok(()), judge_output)?;
    upstream.settle(&mut config, &|name| std::env::var_os(name))?;
    config.mcp = serves_mcp.then_some(mcp);
    config.terminal = terminal.finish(&mut config.options)?;
    config.hosts = HostRules::new(include, exclude);
    let stem = config.output.as_ref().and_then(|output| output.file_stem());
    let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
    config.app = app.or(stem).unwrap_or_default();
    if config.confdir.as_os_str().is_empty() && config.ca.is_none() {
        return Err(Error::new("HOME is not set: say with --confdir where the CA lives"));
    }
    Ok(config)
}

/// The settings of `discover`.
pub fn discover(flags: Flags, arguments: Vec<OsString>) -> Result<Config> {
    none_left("discover", &arguments)?;
    let mut config = defaults();
    let mut upstream = upstream::Given::default();
    for (id, value) in flags {
        match id {
            Id::Upstream | Id::NoUpstream | Id::UpstreamCa => upstream.take(id, value)?,
            _ => shared(&mut config, id, &value)?,
        }
    }
    upstream.settle(&mut config, &|name| std::env::var_os(name))?;
    Ok(config)
}

/// A proxy as it is without any flag.
pub(super) fn defaults() -> Config {
    let home = home();
    Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        output: None,
        app: String::new(),
        hosts: HostRules::default(),
        confdir: home.map(|home| home.join(".flowtap")).unwrap_or_default(),
        confdir_given: false,
        ca: None,
        insecure_upstream: false,
        upstreams: Upstreams::default(),
        upstream_ca: Vec::new(),
        upstream_lines: Vec::new(),
        loops: thread::available_parallelism().map_or(1, usize::from).min(LOOPS_MAX),
        part_traces: PART_TRACES,
        mcp: None,
        max_flows: STORED_FLOWS,
        options: Options::default(),
        terminal: Terminal::default(),
        qr: false,
    }
}

/// Holds the token where an argument would show it to other users.
pub(super) const TOKEN_VARIABLE: &str = "FLOWTAP_MCP_TOKEN";

/// A token as a field can hold it (RFC 6750 section 2.1).
fn mcp_token(from: &str, value: &OsString) -> Result<String> {
    let is_visible = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    let text = value.to_str().filter(is_visible).map(str::to_owned);
    text.ok_or_else(|| {
        Error::usage(format!("{from} must be letters, digits and signs, without blanks"))
    })
}

/// The user's home folder.
pub(super) fn home() -> Option<PathBuf> {
    let home = match names::WITHOUT_LIBC {
        true => std::env::var_os("HOME").map(PathBuf::from),
        false => std::env::home_dir(),
    };
    home.filter(|home| !home.as_os_str().is_empty())
}

/// Flags that several commands have.
fn shared(config: &mut Config, id: Id, value: &OsString) -> Result<()> {
    match id {
        Id::Port => {
            let port = number("--port", value, 0, u64::from(u16::MAX))?;
            config.listen.set_port(u16::try_from(port).unwrap_or_default());
        }
        Id::Listen => {
            let address = text("--listen", value)?;
            let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let address: IpAddr = match inner.unwrap_or(&address) {
                "localhost" => Ipv4Addr::LOCALHOST.into(),
                address => address.parse().map_err(|_| {
                    Error::usage(format!("--listen takes an IP address, not '{address}'"))
                })?,
            };
            config.listen.set_ip(address);
        }
        Id::Loops => {
            let loops = number("--loops", value, 1, MOST_LOOPS)?;
            config.loops = usize::try_from(loops).unwrap_or(1);
        }
        _ => {}
    }
    Ok(())
}

/// More loops than any machine has cores to run.
const MOST_LOOPS: u64 = 256;

pub(super) fn none_left(command: &str, arguments: &[OsString]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(word) => {
            let word = word.to_string_lossy();
            Err(Error::usage(format!("{command} does not know what to do with '{word}'")))
        }
    }
}

/// The same with advice on where a filter goes: mostly it is one that is left.
fn none_left_but(command: &str, arguments: &[OsString], advice: &str) -> Result<()> {
    none_left(command, arguments).map_err(|error| Error::usage(format!("{error}; {advice}")))
}

fn text(flag: &str, value: &OsString) -> Result<String> {
    if value.is_empty() {
        return Err(Error::usage(format!("{flag} needs a value, and got an empty one")));
    }
    let text = value.to_str();
    text.map(str::to_owned).ok_or_else(|| Error::usage(format!("{flag} needs a value in UTF-8")))
}

fn path(flag: &str, value: OsString) -> Result<PathBuf> {
    if value.is_empty() {
        return Err(Error::usage(format!("{flag} needs a path")));
    }
    Ok(PathBuf::from(value))
}

/// Where a bundle goes. It is put together in files beside it.
fn bundle(value: OsString) -> Result<PathBuf> {
    let output = path("--output", value)?;
    if output.as_os_str() == STANDARD_OUTPUT {
        return Err(Error::usage(
            "--output takes a file: a bundle cannot be written to the standard output (./- is a \
             file of that name)",
        ));
    }
    // A link stays what it is: the bundle goes to where it leads.
    Ok(output.canonicalize().unwrap_or(output))
}

/// Refuses a bundle in the place of a file that is written to already.
fn judge_output(output: &Path) -> Result<()> {
    match private::standard_stream(output) {
        None => Ok(()),
        Some(_) => Err(Error::usage(format!(
            "--output takes a file of its own: the standard output or errors go to {}, which the \
             bundle would replace",
            output.display()
        ))),
    }
}

/// What the standard output is called where a file is wanted.
const STANDARD_OUTPUT: &str = "-";

fn pattern(value: &OsString) -> Result<HostPattern> {
    HostPattern::parse(&value.to_string_lossy()).map_err(|error| Error::usage(error.to_string()))
}

/// A filter expression; `None` where it is blank.
fn filter(flag: &str, value: &OsString) -> Result<Option<Filter>> {
    let refused = |error: FilterError| Error::usage(format!("{flag}: {error}"));
    Filter::parse(&text(flag, value)?).map_err(refused)
}

fn number(flag: &str, value: &OsString, least: u64, most: u64) -> Result<u64> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        let value = value.to_string_lossy();
        Error::usage(format!("{flag} takes a number from {least} to {most}, not '{value}'"))
    })
}

/// Sets the option that a flag names or stands for.
fn option(options: &mut Options, id: Id, value: &OsString) -> Result<()> {
    let (flag, set) = match id {
        Id::NoRedact => ("--no-redact", options.set_text("redact", "false")),
        Id::CaptureBodyLimit => {
            let flag = "--capture-body-limit";
            (flag, options.set_text("capture_body_limit", &text(flag, value)?))
        }
        _ => {
            let pair = text("--set", value)?;
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Error::usage(format!("--set takes KEY=VALUE, as anticache=true, not '{pair}'"))
            })?;
            ("--set", options.set_text(key.trim(), value))
        }
    };
    set.map_err(|error| Error::usage(format!("{flag}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Request, parse};

    fn read(line: &str) -> Result<Config> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Request::Run { flags, arguments, .. } => proxy(flags, arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let config = read("proxy --confdir /c").unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.output, Some(PathBuf::from("capture.zip")));
        assert_eq!((config.app.as_str(), config.part_traces), ("capture", 9_999));
        assert_eq!(config.options.capture_body_limit, 16 << 20);
        assert!((1..=LOOPS_MAX).contains(&config.loops));
        assert_eq!(config.mcp.unwrap().port, None);
    }

    #[test]
    fn mcp_has_its_own_flags() {
        let mcp = |line: &str| read(&format!("proxy --confdir /c {line}")).unwrap().mcp;
        let token = Some("a-B_1".to_owned());
        let given = McpConfig { port: Some(0), token };
        assert_eq!(mcp("--mcp-port 0 --mcp-token a-B_1"), Some(given));
        assert_eq!(mcp("--mcp-port 9012").unwrap().port, Some(9_012));
        assert_eq!(mcp("--mcp-port 9012 --no-mcp"), None);
        let command = "mcp --confdir /c --mcp-port 1 -p 0 -d a.example";
        let Request::Run { flags, arguments, .. } =
            parse(command.split_whitespace().map(OsString::from)).unwrap()
        else {
            panic!("{command}");
        };
        assert_eq!(super::mcp(flags, arguments).unwrap().mcp.unwrap().port, Some(1));
    }

    #[test]
    fn flags_are_read() {
        let line = "proxy -p 0 --listen ::1 -o /x/my.zip --confdir /c --loops 3 \
                    --capture-body-limit 512k --bundle-traces 10 --insecure-upstream --no-mcp";
        let config = read(line).unwrap();
        assert_eq!(config.listen.to_string(), "[::1]:0");
        assert_eq!((config.app.as_str(), config.loops, config.part_traces), ("my", 3, 10));
        assert_eq!(config.options.capture_body_limit, 512 << 10);
        assert!(config.insecure_upstream && config.confdir_given);
        assert_eq!(read("proxy --confdir /c --no-output").unwrap().output, None);
        assert_eq!(read("proxy --confdir /c --app x").unwrap().app, "x");
        let all = read("proxy --confdir /c --capture-body-limit none").unwrap();
        assert_eq!(all.options.capture_body_limit, u64::MAX);
    }

    #[test]
    fn options_are_set_and_have_shorthands() {
        let line = "proxy --confdir /c --set anticache=true --set block_list=/~q/404 \
                    --set block_list=|a=b|444 --no-redact --max-flows 5 \
                    --capture-body-limit 1k --set capture_body_limit=2k";
        let config = read(line).unwrap();
        let Config { options, max_flows, .. } = config;
        assert!(options.anticache && !options.redactor.is_on());
        let rules: Vec<_> = options.block_list.iter().map(|rule| rule.text.as_str()).collect();
        assert_eq!(rules, ["/~q/404", "|a=b|444"]);
        assert_eq!(options.capture_body_limit, 2 << 10);
        assert_eq!(max_flows, 5);
        assert_eq!(read("proxy --confdir /c").unwrap().max_flows, 1_000);
        let error = read("proxy --confdir /c --set antichache=true").unwrap_err().to_string();
        assert!(error.contains("did you mean anticache?"), "{error}");
    }

    #[test]
    fn a_value_that_is_empty_is_told_from_one_that_is_not_utf_8() {
        use std::os::unix::ffi::OsStringExt;
        let read = |value: OsString| {
            let words = ["proxy", "--confdir", "/c", "--app"].map(OsString::from);
            match parse(words.into_iter().chain([value])) {
                Ok(Request::Run { flags, arguments, .. }) => proxy(flags, arguments),
                other => panic!("{other:?}"),
            }
        };
        let told = |value: &[u8]| read(OsString::from_vec(value.to_vec())).unwrap_err().to_string();
        assert_eq!(told(b""), "--app needs a value, and got an empty one");
        assert_eq!(told(b"\xff"), "--app needs a value in UTF-8");
    }

    #[test]
    fn bad_values_are_usage_errors_that_name_the_flag() {
        let bad = [
            ("-p 70000", "--port"),
            ("-p x", "--port"),
            ("--listen nowhere", "--listen"),
            ("--bundle-traces 10000", "--bundle-traces"),
            ("--bundle-traces 0", "--bundle-traces"),
            ("--loops 0", "--loops"),
            ("--mcp-port 70000", "--mcp-port"),
            ("--mcp-token \u{e9}", "--mcp-token"),
            ("--capture-body-limit 1x", "--capture-body-limit"),
            ("--capture-body-limit 99999999999g", "--capture-body-limit"),
            ("--max-flows 0", "--max-flows"),
            ("--max-flows 1000001", "--max-flows"),
            ("--set anticache", "KEY=VALUE"),
            ("--set anticache=yes", "--set: anticache takes true or false"),
            ("--set listen_port=80", "--port"),
            ("-d http://a", "http://a"),
            ("-o -", "--output takes a file"),
            ("extra", "extra"),
        ];
        for (line, named) in bad {
            let error = read(&format!("proxy --confdir /c {line}")).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{line}: {error}");
        }
    }
}
