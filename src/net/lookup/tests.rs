//! Look-ups with servers on loopback.

use super::*;
use crate::fault::testing::DEADLINE;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

/// The answer to a question, with these flags and, for type A, this address.
fn reply(question: &[u8], flags: u16, address: [u8; 4]) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2..4].copy_from_slice(&(0x8000 | flags).to_be_bytes());
    if flags == 0 && question[question.len() - 3] == 1 {
        message[7] = 1;
        message.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        message.extend(address);
    }
    message
}

/// A name server on loopback that answers over UDP with these flags, and over TCP without any.
fn start_server(flags: u16, last: u8) -> SocketAddr {
    // A port that is free for UDP may be taken for TCP.
    let (udp, tcp) = (0..100)
        .find_map(|_| {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
            Some((udp, tcp))
        })
        .unwrap();
    let address = udp.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 512];
        while let Ok((length, peer)) = udp.recv_from(&mut datagram) {
            // A stray one before each; then the answer.
            udp.send_to(b"stray", peer).unwrap();
            udp.send_to(&reply(&datagram[..length], flags, [127, 0, 0, last]), peer).unwrap();
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut message).unwrap();
                let answer = reply(&message, 0, [127, 0, 0, last + 1]);
                let mut sent = u16::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
                sent.extend(answer);
                // In two pieces, as it may come.
                for piece in sent.chunks(7) {
                    stream.write_all(piece).unwrap();
                }
            }
        }
    });
    address
}

fn config(servers: Vec<SocketAddr>) -> Config {
    Config { servers, timeout: DEADLINE, ..Config::default() }
}

fn v4(last: u8) -> Vec<IpAddr> {
    vec![IpAddr::from([127, 0, 0, last])]
}

#[test]
fn a_name_server_is_asked_over_udp() {
    let config = config(vec![start_server(0, 2)]);
    assert_eq!(by_dns("a.example", &config), Ok(v4(2)));
}

#[test]
fn what_is_cut_is_asked_for_over_tcp() {
    assert_eq!(by_dns("a.example", &config(vec![start_server(0x0200, 2)])), Ok(v4(3)));
    let over_tcp = Config { over_tcp: true, ..config(vec![start_server(3, 4)]) };
    assert_eq!(by_dns("a.example", &over_tcp), Ok(v4(5)));
}

#[test]
fn a_server_that_cannot_be_reached_costs_no_time() {
    // Connected to itself, it refuses what others send, and its port is nobody else's meanwhile.
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    closed.connect(closed.local_addr().unwrap()).unwrap();
    let began = Instant::now();
    let config = config(vec![closed.local_addr().unwrap(), start_server(0, 2)]);
    assert_eq!(by_dns("a.example", &config), Ok(v4(2)));
    assert!(began.elapsed() < DEADLINE);
}

#[test]
fn a_silent_server_is_given_up_in_time() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = silent.local_addr().unwrap();
    let config = Config { timeout: Duration::from_millis(20), attempts: 2, ..config(vec![server]) };
    let error = by_dns("a.example", &config).unwrap_err();
    assert!(error.contains(&server.to_string()), "{error}");
    // One that takes TCP connections and says nothing.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let over_tcp =
        Config { over_tcp: true, servers: vec![listener.local_addr().unwrap()], ..config };
    assert!(by_dns("a.example", &over_tcp).is_err());
}

#[test]
fn the_file_of_hosts_comes_first_and_localhost_is_this_machine() {
    let found = |name: &str| without_dns(name, || Some(&b"127.0.0.5 a.example localhost.\n"[..]));
    assert_eq!(found("a.example"), Some(v4(5)));
    assert_eq!(found("127.0.0.9"), Some(v4(9)));
    assert_eq!(found("b.example"), None);
    let nothing = |name: &str| without_dns(name, || None::<&[u8]>);
    let loopback: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for name in ["localhost", "LOCALHOST.", "a.localhost"] {
        assert_eq!(nothing(name), Some(loopback.clone()), "{name}");
    }
    assert_eq!(nothing("notlocalhost"), None);
}

#[test]
fn numbers_are_asked_of_nobody() {
    for name in ["127.1", "1", "0.0.0.0.0", "a.example.7."] {
        let error = by_dns(name, &config(vec![start_server(0, 2)])).unwrap_err();
        assert!(error.contains("no host name"), "{name}: {error}");
    }
}

#[test]
fn this_machine_is_found_by_its_files() {
    let found = look_up("localhost").unwrap();
    assert!(found.contains(&Ipv4Addr::LOCALHOST.into()), "{found:?}");
}
