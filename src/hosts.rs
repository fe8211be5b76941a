//! Which hosts are intercepted and recorded: the patterns of `-d` and `-e`.

use std::fmt;
use std::net::IpAddr;

/// A pattern on host names: `api.example.com` is that host, `*.example.com` every host below
/// `example.com`, and a `*` elsewhere any text within one label. A port may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// The whole host, or the labels from the last to the first.
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// A `*` alone: any host.
    Any,
    /// `below`: the first label is `*`, which stands for one label or more.
    Name {
        labels: Vec<String>,
        below: bool,
    },
}

/// Why a pattern is refused: it could never match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pattern: String,
    reason: &'static str,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PatternError { pattern, reason } = self;
        write!(f, "the pattern '{pattern}' can match no host: {reason}")
    }
}

impl std::error::Error for PatternError {}

impl HostPattern {
    /// Reads a pattern.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let fail = |reason| PatternError { pattern: pattern.to_owned(), reason };
        if pattern.contains("://") {
            return Err(fail("give the host alone, without a scheme"));
        }
        if pattern.contains('/') {
            return Err(fail("give the host alone, without a path"));
        }
        if let Ok(address) = pattern.parse::<IpAddr>() {
            let host = Host::Address(address.to_canonical());
            return Ok(HostPattern { host, port: None });
        }
        let (host, port) = match split_port(pattern) {
            Some((host, port)) => {
                let port = port.parse::<u16>().ok().filter(|port| *port != 0);
                (host, Some(port.ok_or_else(|| fail("a port is a number from 1 to 65535"))?))
            }
            None => (pattern, None),
        };
        let host = parse_host(host).map_err(fail)?;
        Ok(HostPattern { host, port })
    }

    /// Whether this host and port match. The host is in lower case or not, without brackets.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|own| own != port) {
            return false;
        }
        match &self.host {
            Host::Any => true,
            Host::Address(address) => {
                host.parse().is_ok_and(|host: IpAddr| host.to_canonical() == *address)
            }
            Host::Name { labels, below } => {
                let host = host.strip_suffix('.').unwrap_or(host);
                let mut theirs = host.rsplit('.');
                for label in labels {
                    if !theirs.next().is_some_and(|their| label_matches(label, their)) {
                        return false;
                    }
                }
                theirs.next().is_some() == *below
            }
        }
    }
}

/// The port after the last colon; brackets hold the colons of an IPv6 address.
fn split_port(pattern: &str) -> Option<(&str, &str)> {
    let (host, port) = pattern.rsplit_once(':')?;
    (!port.contains(']')).then_some((host, port))
}

fn parse_host(host: &str) -> Result<Host, &'static str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host == "*" {
        return Ok(Host::Any);
    }
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<IpAddr>().ok());
        return address
            .map(|it| Host::Address(it.to_canonical()))
            .ok_or("the brackets hold no IPv6 address");
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Host::Address(address.to_canonical()));
    }
    let (below, rest) = match host.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, host),
    };
    let mut labels = Vec::new();
    for label in rest.rsplit('.') {
        labels.push(parse_label(label)?);
    }
    // Such a name is read as an address everywhere (WHATWG URL, section 3.5), and it is none.
    let numeric = |label: &String| label.bytes().all(|byte| byte.is_ascii_digit());
    if !host.contains('*') && labels.first().is_some_and(numeric) {
        return Err("it looks like an IPv4 address and is none");
    }
    Ok(Host::Name { labels, below })
}

fn parse_label(label: &str) -> Result<String, &'static str> {
    if label.is_empty() {
        return Err("a part between two dots is empty");
    }
    let label = if label.is_ascii() {
        label.to_ascii_lowercase()
    } else if label.contains('*') {
        return Err("a * beside letters outside ASCII: write the name in its xn-- form");
    } else {
        idna::domain_to_ascii(label).map_err(|_| "it is not a valid international name")?
    };
    if label.len() > 63 {
        return Err("a part between two dots is longer than 63 characters");
    }
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*');
    if label.bytes().all(valid) { Ok(label) } else { Err("no host name has such characters") }
}

/// Matches one label; each `*` stands for any text. The usual greedy match with one way back.
fn label_matches(pattern: &str, label: &str) -> bool {
    let (pattern, label) = (pattern.as_bytes(), label.as_bytes());
    let (mut at, mut of) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while of < label.len() {
        match (pattern.get(at), label.get(of)) {
            (Some(b'*'), _) => {
                star = Some((at, of));
                at += 1;
            }
            (Some(own), Some(theirs)) if own.eq_ignore_ascii_case(theirs) => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((star_at, star_of)) = star else { return false };
                at = star_at + 1;
                of = star_of + 1;
                star = Some((star_at, of));
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// The rules that `-d` and `-e` make: a host is intercepted if it matches one of the first, or
/// there are none, and none of the second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRules {
    include: Vec<HostPattern>,
    exclude: Vec<HostPattern>,
}

impl HostRules {
    /// Rules of these patterns.
    pub fn new(include: Vec<HostPattern>, exclude: Vec<HostPattern>) -> Self {
        HostRules { include, exclude }
    }

    /// Whether there are none: all hosts are intercepted.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a host is intercepted and recorded. `server_name` is the name in a ClientHello;
    /// it can exclude like the host that was asked for, and include where that was an address.
    pub fn decide(&self, host: &str, port: u16, server_name: Option<&str>) -> bool {
        if self.is_empty() {
            return true;
        }
        let any = |patterns: &[HostPattern], host: &str| {
            patterns.iter().any(|pattern| pattern.matches(host, port))
        };
        if any(&self.exclude, host) || server_name.is_some_and(|name| any(&self.exclude, name)) {
            return false;
        }
        self.include.is_empty()
            || any(&self.include, host)
            || is_address(host) && server_name.is_some_and(|name| any(&self.include, name))
    }

    /// Whether the name in a ClientHello can make a difference for this host.
    pub fn needs_server_name(&self, host: &str) -> bool {
        !self.include.is_empty() && is_address(host)
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, host: &str) -> bool {
        HostPattern::parse(pattern).unwrap().matches(host, 443)
    }

    #[test]
    fn a_name_is_exactly_that_host() {
        assert!(matches("api.example.com", "api.example.com"));
        assert!(matches("API.example.com.", "api.EXAMPLE.com"));
        assert!(!matches("example.com", "api.example.com"));
        assert!(!matches("api.example.com", "example.com"));
        assert!(!matches("api.example.com", "xapi.example.com"));
    }

    #[test]
    fn a_leading_star_is_every_host_below() {
        assert!(matches("*.example.com", "a.example.com"));
        assert!(matches("*.example.com", "a.b.example.com"));
        assert!(!matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", "badexample.com"));
        assert!(matches("*", "anything.at.all"));
        assert!(matches("*", "127.0.0.1"));
    }

    #[test]
    fn a_star_elsewhere_stays_within_its_label() {
        assert!(matches("api-*.example.com", "api-1.example.com"));
        assert!(matches("a*b*c.com", "aXbYbZc.com"));
        assert!(!matches("api-*.example.com", "api-1.x.example.com"));
        assert!(!matches("a*b.com", "ac.com"));
        assert!(matches("www.*.com", "www.example.com"));
        assert!(!matches("www.*.com", "www.a.b.com"));
    }

    #[test]
    fn ports_and_addresses() {
        let pattern = HostPattern::parse("*.example.com:8443").unwrap();
        assert!(pattern.matches("a.example.com", 8443));
        assert!(!pattern.matches("a.example.com", 443));
        assert!(HostPattern::parse("[::1]:80").unwrap().matches("::1", 80));
        assert!(!HostPattern::parse("[::1]:80").unwrap().matches("::1", 81));
        assert!(matches("::1", "0:0:0:0:0:0:0:1"));
        assert!(matches("127.0.0.1", "127.0.0.1"));
        assert!(matches("10.0.*.*", "10.0.3.4"));
        assert!(matches("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(matches("[::ffff:127.0.0.1]", "127.0.0.1"));
        assert!(!matches("127.0.0.1", "127.0.0.11"));
    }

    #[test]
    fn international_names_match_their_ascii_form() {
        assert!(matches("bücher.example", "xn--bcher-kva.example"));
        assert!(matches("*.BÜCHER.example", "a.xn--bcher-kva.example"));
    }

    #[test]
    fn patterns_that_match_nothing_are_refused() {
        let long = format!("{}.com", "a".repeat(64));
        let bad = [
            "",
            ".",
            "a..b",
            "https://a.com",
            "a.com/x",
            "a.com:0",
            "a.com:x",
            "a.com:70000",
            "a b.com",
            "[::1",
            "[zz]",
            "a,b",
            "ü*.com",
            "*..com",
            "256.1.1.1",
            &long,
        ];
        for pattern in bad {
            let error = HostPattern::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(pattern), "{error}");
        }
    }

    fn rules(include: &[&str], exclude: &[&str]) -> HostRules {
        let parse = |list: &[&str]| list.iter().map(|p| HostPattern::parse(p).unwrap()).collect();
        HostRules::new(parse(include), parse(exclude))
    }

    #[test]
    fn exclusion_wins() {
        let rules = rules(&["*.example.com"], &["secret.example.com"]);
        assert!(rules.decide("a.example.com", 443, None));
        assert!(!rules.decide("secret.example.com", 443, None));
        assert!(!rules.decide("a.example.com", 443, Some("secret.example.com")));
        assert!(!rules.decide("other.com", 443, None));
        assert!(!rules.decide("other.com", 443, Some("a.example.com")));
    }

    #[test]
    fn the_server_name_includes_where_an_address_was_asked_for() {
        let rules = rules(&["*.example.com"], &[]);
        assert!(rules.decide("192.0.2.1", 443, Some("a.example.com")));
        assert!(!rules.decide("192.0.2.1", 443, None));
        assert!(rules.needs_server_name("192.0.2.1"));
        assert!(!rules.needs_server_name("a.example.com"));
        assert!(HostRules::default().decide("any", 1, None));
    }

    proptest! {
        #[test]
        fn every_name_matches_itself_and_the_star_above_it(
            labels in proptest::collection::vec("[a-z0-9]{1,8}", 2..5)
        ) {
            let name = labels.join(".");
            let last = labels.last().unwrap();
            prop_assume!(last.bytes().any(|byte| byte.is_ascii_alphabetic()));
            prop_assert!(matches(&name, &name.to_uppercase()));
            let starred = format!("*.{}", labels[1..].join("."));
            prop_assert!(matches(&starred, &name));
            prop_assert!(!matches(&starred, &labels[1..].join(".")));
        }

        #[test]
        fn parsing_never_panics(pattern in ".{0,40}", host in ".{0,40}") {
            if let Ok(pattern) = HostPattern::parse(&pattern) {
                pattern.matches(&host, 80);
            }
        }
    }
}
