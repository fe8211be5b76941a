//! The settings of `ca` and of the commands below it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Flags, STANDARD_OUTPUT, home, none_left, number, path, text};
use crate::cli::flags::Id;
use crate::error::{Error, Result};
use crate::tls::authority::{Authority, AuthoritySource, KnownCa};

/// Where the CA is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaPlace {
    /// The configuration folder.
    pub confdir: PathBuf,
    /// Whether the user named that.
    pub confdir_given: bool,
    /// The CA file that the user named.
    pub file: Option<PathBuf>,
}

impl CaPlace {
    /// Loads the CA, or makes it where there is none yet, as `proxy` does.
    ///
    /// # Errors
    /// Those of [`Authority::open`].
    pub fn open(&self) -> Result<Authority> {
        Authority::open(&self.source(home().as_deref()))
    }

    /// Finds the certificate of a CA whose trust is to be taken back, and makes none.
    ///
    /// # Errors
    /// Those of [`KnownCa::find`].
    pub fn known(&self) -> Result<KnownCa> {
        KnownCa::find(&self.source(home().as_deref()))
    }

    /// Whether there is a CA, or may be one.
    pub fn is_there(&self) -> bool {
        KnownCa::is_there(&self.source(home().as_deref()))
    }

    fn source<'a>(&'a self, home: Option<&'a Path>) -> AuthoritySource<'a> {
        AuthoritySource {
            confdir: &self.confdir,
            confdir_given: self.confdir_given,
            file: self.file.as_deref(),
            home,
        }
    }
}

/// What `ca` is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaShow {
    /// The CA.
    pub place: CaPlace,
    /// Whether to show a QR code, and nothing else.
    pub qr: bool,
    /// The port that it leads to.
    pub port: u16,
}

/// The trust stores that a command is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaStores {
    /// The system's.
    pub system: bool,
    /// NSS databases.
    pub nss: bool,
    /// Java's.
    pub java: bool,
    /// JDKs that the user named.
    pub java_homes: Vec<PathBuf>,
}

impl CaStores {
    /// Whether the user named none, which means all.
    pub fn none_named(&self) -> bool {
        !self.system && !self.nss && !self.java && self.java_homes.is_empty()
    }
}

/// What `ca install` and `ca uninstall` are to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaChange {
    /// The CA.
    pub place: CaPlace,
    /// The stores to change.
    pub stores: CaStores,
    /// Whether the user has agreed already.
    pub yes: bool,
    /// Whether to say only what would be done.
    pub dry_run: bool,
    /// Whether to do by sudo what needs root.
    pub sudo: bool,
}

/// The form of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaFormat {
    /// PEM.
    Pem,
    /// DER.
    Der,
    /// PKCS#12.
    P12,
}

/// What `ca export` is to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaExport {
    /// The CA.
    pub place: CaPlace,
    /// In which form.
    pub format: CaFormat,
    /// The password of a PKCS#12 file.
    pub password: String,
    /// Where to; `None` for the standard output.
    pub output: Option<PathBuf>,
}

/// What `ca check` is to prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCheck {
    /// The CA.
    pub place: CaPlace,
    /// The stores that have to trust it.
    pub stores: CaStores,
    /// The server to ask, as name and port; `None` for flowtap itself.
    pub host: Option<(String, u16)>,
    /// The host and port of a running proxy; `None` for one of its own.
    pub proxy: Option<(String, u16)>,
}

/// The settings of `ca`.
pub fn ca(flags: Flags, arguments: Vec<OsString>) -> Result<CaShow> {
    none_left("ca", &arguments)?;
    let (place, rest) = place(flags)?;
    let (mut qr, mut port) = (false, 8080);
    for (id, value) in rest {
        match id {
            Id::Qr => qr = true,
            Id::Port => {
                let given = number("--port", &value, 1, u64::from(u16::MAX))?;
                port = u16::try_from(given).unwrap_or(port);
            }
            _ => {}
        }
    }
    Ok(CaShow { place, qr, port })
}

/// The settings of `ca install`.
pub fn ca_install(flags: Flags, arguments: Vec<OsString>) -> Result<CaChange> {
    none_left("ca install", &arguments)?;
    change(flags)
}

/// The settings of `ca uninstall`.
pub fn ca_uninstall(flags: Flags, arguments: Vec<OsString>) -> Result<CaChange> {
    none_left("ca uninstall", &arguments)?;
    change(flags)
}

fn change(flags: Flags) -> Result<CaChange> {
    let (place, rest) = place(flags)?;
    let (stores, rest) = stores(rest)?;
    let has = |wanted| rest.iter().any(|(id, _)| *id == wanted);
    let (yes, dry_run, sudo) = (has(Id::Yes), has(Id::DryRun), has(Id::Sudo));
    Ok(CaChange { place, stores, yes, dry_run, sudo })
}

/// The settings of `ca export`.
pub fn ca_export(flags: Flags, arguments: Vec<OsString>) -> Result<CaExport> {
    none_left("ca export", &arguments)?;
    let (place, rest) = place(flags)?;
    let mut export =
        CaExport { place, format: CaFormat::Pem, password: String::new(), output: None };
    let mut has_password = false;
    for (id, value) in rest {
        match id {
            Id::Format => {
                export.format = match text("--format", &value)?.as_str() {
                    "pem" => CaFormat::Pem,
                    "der" | "cer" => CaFormat::Der,
                    "p12" | "pfx" => CaFormat::P12,
                    other => {
                        let words = format!("--format takes pem, der or p12, not '{other}'");
                        return Err(Error::usage(words));
                    }
                };
            }
            Id::Password => {
                let given = value.to_str().map(str::to_owned);
                export.password =
                    given.ok_or_else(|| Error::usage("--password takes text in UTF-8"))?;
                has_password = true;
            }
            Id::Output => {
                let output = path("--output", value)?;
                export.output = Some(output).filter(|output| output.as_os_str() != STANDARD_OUTPUT);
            }
            _ => {}
        }
    }
    if has_password && export.format != CaFormat::P12 {
        return Err(Error::usage("--password is for --format p12 alone"));
    }
    Ok(export)
}

/// The settings of `ca check`.
pub fn ca_check(flags: Flags, arguments: Vec<OsString>) -> Result<CaCheck> {
    let mut arguments = arguments.into_iter();
    let host = arguments.next();
    none_left("ca check", arguments.as_slice())?;
    let host = host.map(|host| host_and_port("ca check", &host, 443)).transpose()?;
    let (place, rest) = place(flags)?;
    let (stores, rest) = stores(rest)?;
    let mut proxy = None;
    for (id, value) in rest {
        if id == Id::Proxy {
            proxy = Some(host_and_port("--proxy", &value, 8080)?);
        }
    }
    Ok(CaCheck { place, stores, host, proxy })
}

/// A host with its port, as `HOST`, `HOST:PORT` or a URL without a path.
fn host_and_port(of: &str, value: &OsString, default: u16) -> Result<(String, u16)> {
    let given = text(of, value)?;
    let refused = || {
        // What may be a password is not said again.
        let shown = given.rsplit_once('@').map_or(given.as_str(), |(_, host)| host);
        Error::usage(format!("{of} takes HOST or HOST:PORT, as example.com:8443, not '{shown}'"))
    };
    let rest = given.strip_prefix("http://").or_else(|| given.strip_prefix("https://"));
    let rest = rest.unwrap_or(&given);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // An IPv6 address has colons of its own, and stands in brackets where a port follows.
    let bare = rest.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !bare && !port.ends_with(']') => {
            (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(refused)?)
        }
        _ => (rest, default),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#[]".contains(c);
    if host.is_empty() || host.contains(is_odd) {
        return Err(refused());
    }
    Ok((host.to_owned(), port))
}

/// Takes out where the CA is.
fn place(flags: Flags) -> Result<(CaPlace, Flags)> {
    let confdir = home().map(|home| home.join(".flowtap")).unwrap_or_default();
    let mut place = CaPlace { confdir, confdir_given: false, file: None };
    let mut rest = Vec::new();
    for (id, value) in flags {
        match id {
            Id::Confdir => {
                place.confdir = path("--confdir", value)?;
                place.confdir_given = true;
            }
            Id::Ca => place.file = Some(path("--ca", value)?),
            _ => rest.push((id, value)),
        }
    }
    if place.confdir.as_os_str().is_empty() && place.file.is_none() {
        return Err(Error::new("HOME is not set: say with --confdir where the CA lives"));
    }
    Ok((place, rest))
}

/// Takes out which stores are meant.
fn stores(flags: Flags) -> Result<(CaStores, Flags)> {
    let mut stores = CaStores::default();
    let mut rest = Vec::new();
    for (id, value) in flags {
        match id {
            Id::System => stores.system = true,
            Id::Nss => stores.nss = true,
            Id::Java => stores.java = true,
            Id::JavaHome => stores.java_homes.push(path("--java-home", value)?),
            _ => rest.push((id, value)),
        }
    }
    Ok((stores, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Request, parse};

    fn flags(line: &str) -> (Flags, Vec<OsString>) {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Request::Run { flags, arguments, .. }) => (flags, arguments),
            other => panic!("{other:?}"),
        }
    }

    fn place() -> CaPlace {
        CaPlace { confdir: "/c".into(), confdir_given: true, file: None }
    }

    #[test]
    fn stores_are_all_unless_some_are_named() {
        let read = |line: &str| {
            let (flags, arguments) = flags(line);
            ca_install(flags, arguments).unwrap()
        };
        let all = read("ca install --confdir /c");
        assert_eq!(all.place, place());
        assert!(all.stores.none_named() && !all.yes && !all.dry_run && !all.sudo);
        let some = read("ca install --confdir /c --nss --java-home /j --java-home /k -y --sudo");
        let homes = vec![PathBuf::from("/j"), "/k".into()];
        let expected = CaStores { nss: true, java_homes: homes, ..CaStores::default() };
        assert_eq!((some.stores.clone(), some.yes, some.sudo), (expected, true, true));
        assert!(!some.stores.none_named());
    }

    #[test]
    fn export_has_three_formats_and_a_password_for_one() {
        let read = |line: &str| {
            let (flags, arguments) = flags(line);
            ca_export(flags, arguments)
        };
        let pem = read("ca export --confdir /c").unwrap();
        assert_eq!((pem.format, pem.output), (CaFormat::Pem, None));
        let p12 = read("ca export --confdir /c --format p12 --password s -o x").unwrap();
        let expected = (CaFormat::P12, "s".to_owned(), Some("x".into()));
        assert_eq!((p12.format, p12.password, p12.output), expected);
        assert_eq!(read("ca export --confdir /c -o -").unwrap().output, None);
        for (line, named) in [
            ("ca export --format jks", "pem, der or p12"),
            ("ca export --password s", "--password is for --format p12"),
            ("ca check a b", "'b'"),
        ] {
            let (flags, arguments) = flags(line);
            let error = match line.contains("check") {
                true => ca_check(flags, arguments).unwrap_err(),
                false => ca_export(flags, arguments).unwrap_err(),
            };
            assert!(error.is_usage() && error.to_string().contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn hosts_are_read_with_and_without_a_port() {
        let read = |host: &str| host_and_port("ca check", &OsString::from(host), 443);
        for (given, host, port) in [
            ("example.com", "example.com", 443),
            ("example.com:8443", "example.com", 8443),
            ("https://example.com/", "example.com", 443),
            ("[::1]:8443", "::1", 8443),
            ("[::1]", "::1", 443),
            ("::1", "::1", 443),
        ] {
            assert_eq!(read(given).unwrap(), (host.to_owned(), port), "{given}");
        }
        for bad in ["", ":1", "a:0", "a:x", "a:70000", "a/b", "u@a", "a b", "http://"] {
            assert!(read(bad).unwrap_err().is_usage(), "{bad}");
        }
    }
}
