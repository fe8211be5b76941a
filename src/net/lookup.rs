//! Names to addresses without the C library: the file of hosts, then DNS over UDP and TCP.

use std::fs::File;
use std::io::{BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Instant;

use crate::limits::{DNS_DATAGRAM_BYTES, RESOLV_CONF_BYTES};
use crate::names::config::Config;
use crate::names::hosts_file;
use crate::names::lookup::{Lookup, Step};

use super::resolver::{Addresses, in_turns};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Looks a name up as the machine's files say. Both are read each time: they are small, and
/// change when a machine changes its network.
pub(super) fn look_up(name: &str) -> Addresses {
    if let Some(found) = without_dns(name, || File::open(HOSTS).ok().map(BufReader::new)) {
        return in_turns(name, found.into_iter());
    }
    let mut text = Vec::new();
    let read = File::open(RESOLV_CONF)
        .and_then(|file| file.take(RESOLV_CONF_BYTES).read_to_end(&mut text));
    let config = Config::read(&String::from_utf8_lossy(&text), &interface_index);
    let found = by_dns(name, &config).map_err(|reason| {
        let hint = read.err().map(|error| format!("; {RESOLV_CONF}: {error}")).unwrap_or_default();
        format!("the name {name} cannot be resolved: {reason}{hint}")
    })?;
    in_turns(name, found.into_iter())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn interface_index(name: &str) -> Option<u32> {
    // The kernel wants a socket for it, whichever.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    rustix::net::netdevice::name_to_index(socket, name).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn interface_index(_name: &str) -> Option<u32> {
    None
}

/// An address itself, what the file of hosts has, or this machine for localhost and the names
/// below it, which are never asked for (RFC 6761 section 6.3).
fn without_dns<F: std::io::BufRead>(
    name: &str,
    hosts: impl FnOnce() -> Option<F>,
) -> Option<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Some(vec![address]);
    }
    let found = hosts().map(|file| hosts_file::addresses(file, name)).unwrap_or_default();
    if !found.is_empty() {
        return Some(found);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

fn by_dns(name: &str, config: &Config) -> std::result::Result<Vec<IpAddr>, String> {
    // Like 127.1: no name, and not to be asked for (RFC 6943 section 3.1.1).
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it is no host name".to_owned());
    }
    let mut lookup = Lookup::new(name, config, Instant::now(), random)?;
    loop {
        match lookup.step(Instant::now()) {
            Step::Done(found) => return found.map(reachable_first),
            Step::Ask { server, over_tcp, messages, until } => {
                let ask = if over_tcp { ask_over_tcp } else { ask_over_udp };
                // A server that cannot be reached has said nothing, and the next is asked.
                let _ = ask(server, &messages, until, &mut lookup);
            }
        }
    }
}

fn ask_over_udp(
    server: SocketAddr,
    messages: &[Vec<u8>],
    until: Instant,
    lookup: &mut Lookup<'_>,
) -> Result<()> {
    let socket = connected(server)?;
    for message in messages {
        socket.send(message)?;
    }
    let mut datagram = [0; DNS_DATAGRAM_BYTES];
    loop {
        socket.set_read_timeout(Some(left(until)?))?;
        let length = socket.recv(&mut datagram)?;
        if lookup.received(datagram.get(..length).unwrap_or_default()) {
            return Ok(());
        }
    }
}

/// A socket that takes datagrams of this peer alone, on a port that the system picks at random.
fn connected(peer: SocketAddr) -> Result<UdpSocket> {
    let own: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0))?;
    socket.connect(peer)?;
    Ok(socket)
}

/// Each message has its length before it (RFC 1035 section 4.2.2).
fn ask_over_tcp(
    server: SocketAddr,
    messages: &[Vec<u8>],
    until: Instant,
    lookup: &mut Lookup<'_>,
) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?)?;
    let mut sent = Vec::new();
    for message in messages {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        sent.extend(length.to_be_bytes());
        sent.extend(message);
    }
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(&sent)?;
    loop {
        let mut length = [0; 2];
        read_until(&mut stream, &mut length, until)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        read_until(&mut stream, &mut message, until)?;
        if lookup.received(&message) {
            return Ok(());
        }
    }
}

fn read_until(stream: &mut TcpStream, mut buffer: &mut [u8], until: Instant) -> Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => buffer = buffer.get_mut(count..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// The time that is left; an error where there is none.
pub(super) fn left(until: Instant) -> Result<std::time::Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Error::from(ErrorKind::TimedOut)) } else { Ok(left) }
}

fn random() -> u16 {
    let mut bytes = [0; 2];
    // Without randomness the port, which the system picks, is what tells answers from forgeries.
    let _ = crate::random::fill(&mut bytes);
    u16::from_be_bytes(bytes)
}

/// IPv6 comes first where the system has a way to it, and last where it has none (the rules 1 and
/// 6 of RFC 6724 section 6, as far as they matter).
fn reachable_first(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let v6 = addresses.iter().find(|address| address.is_ipv6()).copied();
    let has_way = v6.is_some_and(|address| connected(SocketAddr::from((address, 53))).is_ok());
    addresses.sort_by_key(|address| address.is_ipv6() != has_way);
    addresses
}

#[cfg(test)]
mod tests;
