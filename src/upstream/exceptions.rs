//! Hosts that are reached without a proxy: the forms of `NO_PROXY`.

use std::net::IpAddr;

/// A list of hosts, domains and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    all: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// The addresses that share the first `bits` with this one; not in the form of IPv4 inside
    /// IPv6.
    Network { address: IpAddr, bits: u32 },
    /// This name, in lower case, and all below it.
    Domain(String),
}

impl Exceptions {
    /// Reads a list whose entries are parted by commas or blanks, and what in it is no entry.
    ///
    /// An entry is `*` for all hosts; a name, for this and those below it, with or without a dot
    /// or `*.` before it; an address; or a network such as `10.0.0.0/8`. A port may follow a name
    /// or address; then an IPv6 address is in brackets.
    pub fn read(list: &str) -> (Self, Vec<String>) {
        let mut exceptions = Exceptions::default();
        let mut unknown = Vec::new();
        for text in list.split(|c: char| c == ',' || c.is_whitespace()) {
            match text {
                "" => {}
                "*" => exceptions.all = true,
                text => match entry(text) {
                    Some(entry) => exceptions.entries.push(entry),
                    None => unknown.push(text.to_owned()),
                },
            }
        }
        (exceptions, unknown)
    }

    /// Adds those of another list.
    pub fn extend(&mut self, other: Exceptions) {
        self.all |= other.all;
        self.entries.extend(other.entries);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.all && self.entries.is_empty()
    }

    /// Whether all hosts are among them.
    pub fn are_all(&self) -> bool {
        self.all
    }

    /// Whether this host and port are among them. The host is in lower case, without brackets.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        if self.all || self.entries.is_empty() {
            return self.all;
        }
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let name = host.strip_suffix('.').unwrap_or(host);
        self.entries.iter().any(|entry| {
            let is_there = match (&entry.hosts, address) {
                (Hosts::Network { address: own, bits }, Some(address)) => {
                    shares(*own, address, *bits)
                }
                (Hosts::Domain(domain), None) => name
                    .strip_suffix(domain.as_str())
                    .is_some_and(|before| before.is_empty() || before.ends_with('.')),
                _ => false,
            };
            is_there && entry.port.is_none_or(|own| own == port)
        })
    }
}

/// Whether two addresses of one family begin with the same bits.
fn shares(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    let (one, other, width) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (u128::from(one.to_bits()), u128::from(other.to_bits()), u32::BITS)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), u128::BITS),
        _ => return false,
    };
    (one ^ other).checked_shr(width.saturating_sub(bits)).unwrap_or(0) == 0
}

/// Bits before an IPv4 address inside one of IPv6 (RFC 4291 section 2.5.5.2).
const MAPPED_BITS: u32 = 96;

fn entry(text: &str) -> Option<Entry> {
    if let Some((address, bits)) = text.split_once('/') {
        let address = address.parse::<IpAddr>().ok()?;
        let width = if address.is_ipv4() { u32::BITS } else { u128::BITS };
        let bits = bits.parse().ok().filter(|bits| *bits <= width)?;
        // IPv4 inside IPv6, as hosts are not compared.
        let (address, bits) = match (address.to_canonical(), u32::checked_sub(bits, MAPPED_BITS)) {
            (inner @ IpAddr::V4(_), Some(bits)) if address.is_ipv6() => (inner, bits),
            _ => (address, bits),
        };
        return Some(Entry { hosts: Hosts::Network { address, bits }, port: None });
    }
    if let Some(hosts) = address(text) {
        return Some(Entry { hosts, port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, Some(port.parse::<u16>().ok().filter(|port| *port != 0)?))
        }
        _ => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let hosts = match inner {
        Some(inner) => address(inner)?,
        None => address(host).or_else(|| domain(host))?,
    };
    Some(Entry { hosts, port })
}

fn address(text: &str) -> Option<Hosts> {
    let address = text.parse::<IpAddr>().ok()?.to_canonical();
    let bits = if address.is_ipv4() { u32::BITS } else { u128::BITS };
    Some(Hosts::Network { address, bits })
}

fn domain(text: &str) -> Option<Hosts> {
    let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = if name.is_ascii() { name.to_owned() } else { idna::domain_to_ascii(name).ok()? };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    // Such a name would be read as an address, and is none.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let ends_well = name.rsplit('.').next().is_some_and(|last| !is_number(last));
    (ends_well && name.split('.').all(is_label)).then(|| Hosts::Domain(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(list: &str, host: &str, port: u16) -> bool {
        let (exceptions, unknown) = Exceptions::read(list);
        assert!(unknown.is_empty(), "{unknown:?}");
        exceptions.matches(host, port)
    }

    #[test]
    fn every_form_matches_what_it_names_and_nothing_beside_it() {
        for (list, host, port, expected) in [
            ("example.com", "example.com", 443, true),
            ("example.com", "a.b.example.com", 443, true),
            ("example.com", "badexample.com", 443, false),
            ("example.com", "example.com.", 443, true),
            ("Example.COM.", "example.com", 443, true),
            (".example.com", "example.com", 443, true),
            (".example.com", "a.example.com", 443, true),
            ("*.example.com", "a.example.com", 443, true),
            ("bücher.example", "xn--bcher-kva.example", 443, true),
            ("example.com:8443", "a.example.com", 8443, true),
            ("example.com:8443", "a.example.com", 443, false),
            ("10.0.0.0/8", "10.9.8.7", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.1.2.3/8", "10.9.8.7", 80, true),
            ("0.0.0.0/0", "192.0.2.1", 80, true),
            ("0.0.0.0/0", "2001:db8::1", 80, false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", 80, true),
            ("10.0.0.0/8", "10.example", 80, false),
            ("::ffff:10.0.0.0/104", "10.1.1.1", 80, true),
            ("::ffff:10.0.0.0/104", "::ffff:11.1.1.1", 80, false),
            ("192.0.2.1", "192.0.2.1", 80, true),
            ("192.0.2.1", "192.0.2.11", 80, false),
            ("192.0.2.1/32", "192.0.2.1", 80, true),
            ("192.0.2.1:81", "192.0.2.1", 81, true),
            ("192.0.2.1:81", "192.0.2.1", 80, false),
            ("2001:db8::/32", "2001:db8:1::1", 80, true),
            ("2001:db8::/32", "2001:db9::1", 80, false),
            ("::/0", "2001:db9::1", 80, true),
            ("::1", "::1", 80, true),
            ("[::1]", "::1", 80, true),
            ("[::1]:81", "::1", 81, true),
            ("[::1]:81", "::1", 80, false),
            ("*", "anything", 1, true),
            ("a.example, b.example\tc.example", "c.example", 1, true),
            (",, ,", "c.example", 1, false),
            ("", "", 1, false),
        ] {
            assert_eq!(matches(list, host, port), expected, "{list} {host}:{port}");
        }
    }

    #[test]
    fn what_can_match_nothing_is_told() {
        for text in [
            "192.168.*",
            "10.0.0.0/33",
            "::/129",
            "a..b",
            "http://a",
            "a:0",
            "a:x",
            "[a]",
            "[::1",
            "256.1.1.1",
            "a/8",
            "-/",
            ":80",
            ".",
            "*.",
        ] {
            let (exceptions, unknown) = Exceptions::read(&format!("x.example {text}"));
            assert_eq!(unknown, [text]);
            assert!(exceptions.matches("x.example", 1) && !exceptions.is_empty());
        }
    }

    proptest! {
        #[test]
        fn reading_and_matching_never_panics(list in ".{0,60}", host in ".{0,40}") {
            Exceptions::read(&list).0.matches(&host, 80);
        }

        #[test]
        fn a_network_holds_the_addresses_that_share_its_bits(
            address: u32, other: u32, bits in 0_u32..=32
        ) {
            let text = |bits: u32| std::net::Ipv4Addr::from_bits(bits).to_string();
            let list = format!("{}/{bits}", text(address));
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let expected = address & mask == other & mask;
            prop_assert_eq!(matches(&list, &text(other), 80), expected);
        }
    }
}
