//! `/etc/resolv.conf`: which name servers are asked, and how (resolv.conf(5)).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::limits::{DNS_ATTEMPTS, DNS_SEARCH_DOMAINS, DNS_SERVER_TIMEOUT, DNS_SERVERS};

const PORT: u16 = 53;
/// The most dots that `ndots` may ask for.
const MOST_NDOTS: usize = 15;

/// How names are looked up in DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// What is put behind a name that has fewer than `ndots` dots.
    pub search: Vec<String>,
    /// So many dots make a name that is first looked up as it is.
    pub ndots: usize,
    /// How long one server may take.
    pub timeout: Duration,
    /// How often each server is asked.
    pub attempts: usize,
    /// Whether questions go over TCP alone.
    pub over_tcp: bool,
}

impl Default for Config {
    /// What holds without the file.
    fn default() -> Self {
        Config {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            over_tcp: false,
        }
    }
}

impl Config {
    /// Reads the file's text. What is not understood is passed over, as the C libraries do.
    /// `index_of` gives the number of a network interface, by which a link-local address is
    /// reached (RFC 4007 section 11).
    #[must_use]
    pub fn read(text: &str, index_of: &dyn Fn(&str) -> Option<u32>) -> Config {
        let mut config = Config::default();
        let mut servers = Vec::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    servers.extend(words.next().and_then(|word| server(word, index_of)));
                }
                Some("search" | "domain") => {
                    let domains = words.map(|word| word.trim_matches('.').to_owned());
                    let domains = domains.filter(|domain| !domain.is_empty());
                    config.search = domains.take(DNS_SEARCH_DOMAINS).collect();
                }
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        servers.truncate(DNS_SERVERS);
        if !servers.is_empty() {
            config.servers = servers;
        }
        config
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<usize>().ok();
        match (name, number) {
            ("ndots", Some(number)) => self.ndots = number.min(MOST_NDOTS),
            ("attempts", Some(number)) => self.attempts = number.clamp(1, DNS_ATTEMPTS),
            ("timeout", Some(number)) => {
                let seconds = u64::try_from(number).unwrap_or(u64::MAX).max(1);
                self.timeout = Duration::from_secs(seconds).min(DNS_SERVER_TIMEOUT);
            }
            ("use-vc", _) => self.over_tcp = true,
            _ => {}
        }
    }
}

/// The address of a name server, with its zone where it has one.
fn server(word: &str, index_of: &dyn Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return Some(SocketAddr::from((word.parse::<IpAddr>().ok()?, PORT)));
    };
    let index = zone.parse().ok().or_else(|| index_of(zone))?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, index).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        Config::read(text, &|name| (name == "eth0").then_some(7))
    }

    /// What networks that announce their name server by router advertisements write.
    #[test]
    fn servers_of_the_link_have_its_zone() {
        let text = "nameserver fe80::1%eth0\nnameserver fe80::2%3\nnameserver fe80::3%eth9\n\
            nameserver 127.0.0.1%eth0\n";
        let servers = ["[fe80::1%7]:53", "[fe80::2%3]:53"].map(|it| it.parse().unwrap());
        assert_eq!(read(text).servers, servers);
    }

    #[test]
    fn the_file_is_read_as_the_c_libraries_do() {
        let text = "# comment\n;nameserver 9.9.9.9\nnameserver 127.0.0.2\nnameserver\tfd00::1\n\
            nameserver what\ndomain old.example\nsearch a.example. b.example\n\
            options ndots:2 timeout:3 attempts:4 rotate use-vc edns0\n";
        let servers = vec!["127.0.0.2:53".parse().unwrap(), "[fd00::1]:53".parse().unwrap()];
        let search = vec!["a.example".to_owned(), "b.example".to_owned()];
        let timeout = Duration::from_secs(3);
        let expected = Config { servers, search, ndots: 2, timeout, attempts: 4, over_tcp: true };
        assert_eq!(read(text), expected);
    }

    #[test]
    fn without_servers_this_machine_is_asked() {
        assert_eq!(read("search example\n").servers, Config::default().servers);
        assert_eq!(read("options ndots timeout:x attempts:-1\n"), Config::default());
    }

    #[test]
    fn what_the_file_asks_for_is_bounded() {
        let text = "nameserver 127.0.0.1\n".repeat(DNS_SERVERS + 1)
            + &format!("search {}\n", "a.example ".repeat(DNS_SEARCH_DOMAINS + 1))
            + "options ndots:99 timeout:99999999999999999 attempts:99\n";
        let config = read(&text);
        assert_eq!(config.servers.len(), DNS_SERVERS);
        assert_eq!(config.search.len(), DNS_SEARCH_DOMAINS);
        assert_eq!((config.ndots, config.attempts), (MOST_NDOTS, DNS_ATTEMPTS));
        assert!(config.timeout <= DNS_SERVER_TIMEOUT);
        let low = read("options timeout:0 attempts:0 ndots:0\n");
        assert_eq!((low.timeout, low.attempts, low.ndots), (Duration::from_secs(1), 1, 0));
    }
}
