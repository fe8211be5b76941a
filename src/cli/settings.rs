//! From flags to checked settings.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread;

use crate::cli::flags::Id;
use crate::config::{Config, HostRules};
use crate::error::{Error, Result};
use crate::hosts::HostPattern;
use crate::limits::{CAPTURE_BODY_BYTES, LOOPS_MAX, PART_TRACES};

/// What `inspect` is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// The bundle.
    pub bundle: PathBuf,
    /// One trace or WebSocket connection of it.
    pub trace: Option<String>,
}

/// What `export` is to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The bundle.
    pub bundle: PathBuf,
    /// Where to; `None` for the standard output.
    pub har: Option<PathBuf>,
    /// Whether secrets are masked.
    pub redact: bool,
}

type Flags = Vec<(Id, OsString)>;

/// The settings of `proxy`.
pub fn proxy(flags: Flags, arguments: Vec<OsString>) -> Result<Config> {
    none_left("proxy", &arguments)?;
    let mut config = Config { output: Some(PathBuf::from("capture.zip")), ..defaults() };
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    let mut app = None;
    for (id, value) in flags {
        match id {
            Id::Port | Id::Listen | Id::Loops => shared(&mut config, id, &value)?,
            Id::Output => {
                let output = path("--output", value)?;
                // A link stays what it is: the bundle goes to where it leads.
                config.output = Some(output.canonicalize().unwrap_or(output));
            }
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
            Id::CaptureBodyLimit => config.capture_body_bytes = size(&value)?,
            Id::BundleTraces => {
                config.part_traces = number("--bundle-traces", &value, 1, PART_TRACES)?;
            }
            Id::NoMcp | Id::Trace | Id::Har | Id::Redact => {}
        }
    }
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
    for (id, value) in flags {
        shared(&mut config, id, &value)?;
    }
    Ok(config)
}

/// The settings of `inspect`.
pub fn inspect(flags: Flags, arguments: Vec<OsString>) -> Result<Inspect> {
    let mut arguments = arguments.into_iter();
    let Some(bundle) = arguments.next() else {
        return Err(Error::usage("inspect needs a bundle: flowtap inspect capture.zip"));
    };
    none_left("inspect", arguments.as_slice())?;
    let mut trace = None;
    for (id, value) in flags {
        if id == Id::Trace {
            trace = Some(text("--trace", &value)?);
        }
    }
    Ok(Inspect { bundle: PathBuf::from(bundle), trace })
}

/// The settings of `export`.
pub fn export(flags: Flags, arguments: Vec<OsString>) -> Result<Export> {
    const USAGE: &str = "flowtap export capture.zip --har capture.har";
    let mut arguments = arguments.into_iter();
    let Some(bundle) = arguments.next().map(PathBuf::from) else {
        return Err(Error::usage(format!("export needs a bundle: {USAGE}")));
    };
    none_left("export", arguments.as_slice())?;
    let (mut har, mut redact) = (None, false);
    for (id, value) in flags {
        match id {
            Id::Har => har = Some(path("--har", value)?),
            Id::Redact => redact = true,
            _ => {}
        }
    }
    let Some(har) = har else {
        return Err(Error::usage(format!("export needs --har and a file: {USAGE}")));
    };
    Ok(Export { bundle, har: Some(har).filter(|har| har.as_os_str() != "-"), redact })
}

fn defaults() -> Config {
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
        loops: thread::available_parallelism().map_or(1, usize::from).min(LOOPS_MAX),
        capture_body_bytes: CAPTURE_BODY_BYTES,
        part_traces: PART_TRACES,
    }
}

/// The user's home folder.
pub(super) fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
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

fn none_left(command: &str, arguments: &[OsString]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(word) => {
            let word = word.to_string_lossy();
            Err(Error::usage(format!("{command} does not know what to do with '{word}'")))
        }
    }
}

fn text(flag: &str, value: &OsString) -> Result<String> {
    let text = value.to_str().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| Error::usage(format!("{flag} needs a value in UTF-8")))
}

fn path(flag: &str, value: OsString) -> Result<PathBuf> {
    if value.is_empty() {
        return Err(Error::usage(format!("{flag} needs a path")));
    }
    Ok(PathBuf::from(value))
}

fn pattern(value: &OsString) -> Result<HostPattern> {
    HostPattern::parse(&value.to_string_lossy()).map_err(|error| Error::usage(error.to_string()))
}

fn number(flag: &str, value: &OsString, least: u64, most: u64) -> Result<u64> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        let value = value.to_string_lossy();
        Error::usage(format!("{flag} takes a number from {least} to {most}, not '{value}'"))
    })
}

/// Reads `512k`, `16m`, `1g`, plain bytes, or `none`.
fn size(value: &OsString) -> Result<u64> {
    let text = value.to_string_lossy().to_ascii_lowercase();
    if text == "none" {
        return Ok(u64::MAX);
    }
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k')) => (text.get(..at), 10),
        Some((at, 'm')) => (text.get(..at), 20),
        Some((at, 'g')) => (text.get(..at), 30),
        _ => (Some(text.as_str()), 0),
    };
    let number = digits.and_then(|digits| digits.parse::<u64>().ok());
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| {
        let reason = format!(
            "--capture-body-limit takes a size such as 512k, 16m, 1g or none, not '{text}'"
        );
        Error::usage(reason)
    })
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
        assert_eq!(config.capture_body_bytes, 16 << 20);
        assert!((1..=LOOPS_MAX).contains(&config.loops));
    }

    #[test]
    fn flags_are_read() {
        let line = "proxy -p 0 --listen ::1 -o /x/my.zip --confdir /c --loops 3 \
                    --capture-body-limit 512k --bundle-traces 10 --insecure-upstream --no-mcp";
        let config = read(line).unwrap();
        assert_eq!(config.listen.to_string(), "[::1]:0");
        assert_eq!((config.app.as_str(), config.loops, config.part_traces), ("my", 3, 10));
        assert_eq!(config.capture_body_bytes, 512 << 10);
        assert!(config.insecure_upstream && config.confdir_given);
        assert_eq!(read("proxy --confdir /c --no-output").unwrap().output, None);
        assert_eq!(read("proxy --confdir /c --app x").unwrap().app, "x");
        let all = read("proxy --confdir /c --capture-body-limit none").unwrap();
        assert_eq!(all.capture_body_bytes, u64::MAX);
    }

    #[test]
    fn export_needs_a_bundle_and_a_file() {
        let read = |line: &str| match crate::cli::flags::parse(
            line.split_whitespace().map(OsString::from),
        ) {
            Ok(Request::Run { flags, arguments, .. }) => super::export(flags, arguments),
            other => panic!("{other:?}"),
        };
        let file = read("export b.zip --har x.har").unwrap();
        let expected = Export { bundle: "b.zip".into(), har: Some("x.har".into()), redact: false };
        assert_eq!(file, expected);
        let out = read("export --har - b.zip --redact").unwrap();
        assert_eq!(out, Export { bundle: "b.zip".into(), har: None, redact: true });
        for (line, named) in [
            ("export --har x.har", "needs a bundle"),
            ("export b.zip", "--har"),
            ("export b.zip --har=", "--har"),
            ("export b.zip c.zip --har x", "c.zip"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{line}: {error}");
        }
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
            ("--capture-body-limit 1x", "--capture-body-limit"),
            ("--capture-body-limit 99999999999g", "--capture-body-limit"),
            ("-d http://a", "http://a"),
            ("extra", "extra"),
        ];
        for (line, named) in bad {
            let error = read(&format!("proxy --confdir /c {line}")).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{line}: {error}");
        }
    }
}
