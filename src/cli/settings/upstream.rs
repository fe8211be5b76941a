//! Upstream proxies: from flags, or from the environment that other programs go by.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{path, text};
use crate::cli::flags::Id;
use crate::cli::words::visible;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::upstream::{Exceptions, UpstreamProxy, Upstreams, is_loopback};

/// What flags say of upstream proxies.
#[derive(Debug, Default)]
pub(super) struct Given {
    upstream: Option<Choice>,
    except: Exceptions,
    /// The exceptions as they were written.
    except_text: Vec<String>,
    roots: Vec<PathBuf>,
}

#[derive(Debug)]
enum Choice {
    None,
    Proxy(Arc<UpstreamProxy>),
}

/// A variable of the environment that is set.
#[derive(Debug)]
struct Variable {
    name: &'static str,
    value: OsString,
}

/// How variables are read.
type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Given {
    /// Takes the value of one of its flags.
    pub(super) fn take(&mut self, id: Id, value: OsString) -> Result<()> {
        match id {
            Id::Upstream => {
                // The URL may hold a password: no error quotes it.
                let url = text("--upstream", &value)?;
                self.upstream = Some(match url.as_str() {
                    "none" => Choice::None,
                    url => Choice::Proxy(Arc::new(UpstreamProxy::parse(url).map_err(|error| {
                        Error::usage(format!("--upstream takes the URL of a proxy: {error}"))
                    })?)),
                });
            }
            Id::NoUpstream => {
                let list = text("--no-upstream", &value)?;
                let (except, unknown) = Exceptions::read(&list);
                if let Some(unknown) = unknown.first() {
                    return Err(Error::usage(format!(
                        "--no-upstream takes names, addresses, networks such as 10.0.0.0/8 and *, \
                         parted by commas, not '{unknown}'"
                    )));
                }
                self.except.extend(except);
                self.except_text.push(list);
            }
            _ => self.roots.push(path("--upstream-ca", value)?),
        }
        Ok(())
    }

    /// Settles which proxies are used, by the flags or else by the environment.
    pub(super) fn settle(self, config: &mut Config, environment: Environment<'_>) -> Result<()> {
        let Given { upstream, except, except_text, roots } = self;
        config.upstream_ca = roots;
        let mut settled = match upstream {
            Some(Choice::None) => return Ok(()),
            Some(Choice::Proxy(proxy)) => {
                if is_own(&proxy, config.listen) {
                    return Err(Error::usage(format!(
                        "--upstream {proxy} is where this proxy itself listens"
                    )));
                }
                let lines = vec![format!("upstream {proxy} (--upstream)")];
                let (http, https) = (Some(proxy.clone()), Some(proxy));
                Settled { upstreams: Upstreams { http, https, ..Upstreams::default() }, lines }
            }
            None => from_environment(config.listen, environment)?,
        };
        settled.upstreams.except.extend(except);
        if settled.upstreams.except.are_all() {
            settled.upstreams = Upstreams::default();
            settled.lines.retain(|line| line.starts_with("note: "));
        }
        if !settled.upstreams.is_none() && !except_text.is_empty() {
            let list = except_text.join(",");
            settled.lines.push(format!("upstream none for {} (--no-upstream)", visible(&list)));
        }
        config.upstreams = settled.upstreams;
        config.upstream_lines = settled.lines;
        Ok(())
    }
}

/// Which proxies are used, and what the user is told of them.
#[derive(Debug, Default)]
struct Settled {
    upstreams: Upstreams,
    lines: Vec<String>,
}

/// Reads the variables as curl, Go and most others do: the names in lower case win over those in
/// upper case, and what is empty counts as unset.
fn from_environment(listen: SocketAddr, environment: Environment<'_>) -> Result<Settled> {
    let first = |names: &[&'static str]| {
        let set = |name: &&'static str| {
            let value = environment(name).filter(|value| !value.is_empty())?;
            Some(Variable { name, value })
        };
        names.iter().find_map(set)
    };
    let mut lines = Vec::new();
    // Where a web server runs CGI programs, clients set HTTP_PROXY by a header field.
    let is_cgi = environment("REQUEST_METHOD").is_some();
    let plain: &[&str] = if is_cgi { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] };
    if is_cgi && first(&["http_proxy"]).is_none() && first(&["HTTP_PROXY"]).is_some() {
        lines.push("note: HTTP_PROXY is not followed, because REQUEST_METHOD is set".to_owned());
    }
    let all = || first(&["all_proxy", "ALL_PROXY"]);
    let http = first(plain).or_else(all).map(proxy_in).transpose()?;
    let https = first(&["https_proxy", "HTTPS_PROXY"]).or_else(all).map(proxy_in).transpose()?;
    let mut except = Exceptions::default();
    let mut spared = None;
    if let Some(Variable { name, value }) = first(&["no_proxy", "NO_PROXY"]) {
        let list = value.to_string_lossy().into_owned();
        let unknown;
        (except, unknown) = Exceptions::read(&list);
        for entry in unknown {
            lines.push(format!("note: {name} is not followed in '{}'", visible(&entry)));
        }
        spared = Some(format!("upstream none for {} ({name})", visible(&list)));
    }
    let mut keep = |found: Option<(Arc<UpstreamProxy>, &'static str)>| {
        let (proxy, name) = found?;
        if is_own(&proxy, listen) {
            let line = format!("note: {name} is not followed, because it is this proxy itself");
            if !lines.contains(&line) {
                lines.push(line);
            }
            return None;
        }
        Some((proxy, name))
    };
    let (http, https) = (keep(http), keep(https));
    let mut told = match (&http, &https) {
        (Some((one, name)), Some((other, other_name))) if one == other => {
            let names = if name == other_name {
                (*name).to_owned()
            } else {
                format!("{name}, {other_name}")
            };
            vec![format!("upstream {one} ({names})")]
        }
        _ => {
            let line = |what, found: &Option<(Arc<UpstreamProxy>, &str)>| {
                let (proxy, name) = found.as_ref()?;
                Some(format!("upstream {proxy} for {what} ({name})"))
            };
            [line("http", &http), line("https", &https)].into_iter().flatten().collect()
        }
    };
    if !told.is_empty() {
        told.extend(spared);
    }
    told.append(&mut lines);
    let (http, https) = (http.map(|(proxy, _)| proxy), https.map(|(proxy, _)| proxy));
    let upstreams = Upstreams { http, https, except, spares_loopback: true };
    Ok(Settled { upstreams, lines: told })
}

fn proxy_in(variable: Variable) -> Result<(Arc<UpstreamProxy>, &'static str)> {
    let Variable { name, value } = variable;
    let refused = |why: String| {
        Error::new(format!(
            "{name} holds no URL of a proxy: {why}; correct or unset it, or pass --upstream none"
        ))
    };
    let url = value.to_str().ok_or_else(|| refused("it is not in UTF-8".to_owned()))?;
    let proxy = UpstreamProxy::parse(url).map_err(|error| refused(error.to_string()))?;
    Ok((Arc::new(proxy), name))
}

/// Whether a proxy is the one that listens here, as far as its name shows.
fn is_own(proxy: &UpstreamProxy, listen: SocketAddr) -> bool {
    let own = listen.ip().to_canonical();
    let host = &proxy.authority.host;
    let is_listened_on = host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical() == own);
    let is_here = is_loopback(host) && (own.is_loopback() || own.is_unspecified());
    proxy.authority.port == listen.port() && (is_listened_on || is_here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::defaults;

    fn settle(flags: &[(Id, &str)], variables: &[(&str, &str)]) -> Result<Config> {
        let mut config = defaults();
        let mut given = Given::default();
        for (id, value) in flags {
            given.take(*id, OsString::from(value))?;
        }
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        given.settle(&mut config, &environment)?;
        Ok(config)
    }

    fn lines(flags: &[(Id, &str)], variables: &[(&str, &str)]) -> Vec<String> {
        settle(flags, variables).unwrap().upstream_lines
    }

    #[test]
    fn the_environment_is_followed_as_by_other_programs() {
        assert_eq!(lines(&[], &[]), [""; 0]);
        assert_eq!(lines(&[], &[("HTTP_PROXY", ""), ("no_proxy", "a")]), [""; 0]);
        let both = [("HTTP_PROXY", "http://u:s3cret@p:1"), ("https_proxy", "u:s3cret@p:1")];
        assert_eq!(lines(&[], &both), ["upstream http://p:1 (HTTP_PROXY, https_proxy)"]);
        let lower = [("HTTP_PROXY", "upper:1"), ("http_proxy", "lower:1")];
        assert_eq!(lines(&[], &lower), ["upstream http://lower:1 for http (http_proxy)"]);
        let all = [("ALL_PROXY", "socks5h://s"), ("HTTPS_PROXY", "https://p")];
        assert_eq!(
            lines(&[], &all),
            [
                "upstream socks5h://s:1080 for http (ALL_PROXY)",
                "upstream https://p:443 for https (HTTPS_PROXY)"
            ]
        );
        let spared = [("all_proxy", "p:1"), ("NO_PROXY", "a.example, 10.*")];
        assert_eq!(
            lines(&[], &spared),
            [
                "upstream http://p:1 (all_proxy)",
                "upstream none for a.example, 10.* (NO_PROXY)",
                "note: NO_PROXY is not followed in '10.*'"
            ]
        );
        let upstreams = settle(&[], &spared).unwrap().upstreams;
        assert!(upstreams.spares_loopback && upstreams.except.matches("a.example", 1));
        let none = settle(&[], &[("all_proxy", "p:1"), ("no_proxy", "*")]).unwrap();
        assert!(none.upstreams.is_none() && none.upstream_lines.is_empty());
    }

    #[test]
    fn a_program_that_a_web_server_runs_does_not_follow_a_header_field() {
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1")];
        let config = settle(&[], &cgi).unwrap();
        assert!(config.upstreams.is_none());
        assert!(config.upstream_lines[0].contains("REQUEST_METHOD"));
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1"), ("http_proxy", "p:1")];
        assert_eq!(lines(&[], &cgi), ["upstream http://p:1 for http (http_proxy)"]);
    }

    #[test]
    fn flags_win_over_the_environment() {
        let variables = [("ALL_PROXY", "p:1"), ("NO_PROXY", "a.example")];
        let flags =
            [(Id::Upstream, "socks5://u:s3cret@[::1]:9"), (Id::NoUpstream, "b.example,::1")];
        assert_eq!(
            lines(&flags, &variables),
            [
                "upstream socks5://[::1]:9 (--upstream)",
                "upstream none for b.example,::1 (--no-upstream)"
            ]
        );
        let upstreams = settle(&flags, &variables).unwrap().upstreams;
        assert!(!upstreams.spares_loopback && upstreams.except.matches("b.example", 1));
        assert!(!upstreams.except.matches("a.example", 1));
        let none = settle(&[(Id::Upstream, "none")], &variables).unwrap();
        assert!(none.upstreams.is_none() && none.upstream_lines.is_empty());
        let more = settle(&[(Id::NoUpstream, "b.example")], &variables).unwrap().upstreams.except;
        assert!(more.matches("a.example", 1) && more.matches("b.example", 1));
    }

    #[test]
    fn the_proxy_itself_is_no_upstream_proxy() {
        for own in ["127.0.0.1:8080", "localhost:8080", "http://[::1]:8080"] {
            let config = settle(&[], &[("http_proxy", own), ("https_proxy", own)]).unwrap();
            assert!(config.upstreams.is_none(), "{own}");
            assert_eq!(config.upstream_lines.len(), 2);
            assert!(config.upstream_lines[0].contains("itself"));
            let error = settle(&[(Id::Upstream, own)], &[]).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains("itself"), "{error}");
        }
        assert!(!settle(&[], &[("http_proxy", "127.0.0.1:8081")]).unwrap().upstreams.is_none());
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_secrets() {
        let secret = "ftp://u:s3cret@p:1";
        let error = settle(&[], &[("HTTPS_PROXY", secret)]).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && error.contains("--upstream none"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        assert!(settle(&[(Id::Upstream, "none")], &[("HTTPS_PROXY", secret)]).is_ok());
        let error = settle(&[(Id::Upstream, secret)], &[]).unwrap_err();
        assert!(error.is_usage() && !error.to_string().contains("s3cret"), "{error}");
        let error = settle(&[(Id::NoUpstream, "a,10.*")], &[]).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("'10.*'"), "{error}");
        assert!(settle(&[(Id::UpstreamCa, "")], &[]).is_err());
    }
}
