//! One HTTPS request through a proxy, by a plain blocking client: what chain is shown, and what
//! is answered.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, Stream};

use crate::error::{Error, Result};
use crate::limits::CHECK_HEAD_BYTES;
use crate::net::lookup::left;
use crate::net::resolver::look_up;
use crate::tls::judge::{client_that_takes_any, server_name};

/// What came of the request.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The chain that was shown, the server's certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The first line of the answer, or why there is none.
    pub answer: std::result::Result<String, String>,
}

/// Asks for the first page of a host, by HTTPS through a proxy. `wait` is how long each step may
/// take: connecting, the answer to CONNECT, TLS, the page. Any chain is taken.
///
/// # Errors
/// When the proxy cannot be reached or opens no tunnel, or when there is no TLS in it.
pub fn probe(proxy: (&str, u16), host: (&str, u16), wait: Duration) -> Result<Probe> {
    let mut stream = connect(proxy, wait)?;
    let (proxy, (name, port)) = (shown(proxy), host);
    let to = shown(host);
    let cut = |error: io::Error| Error::new(format!("{proxy} does not answer: {}", words(&error)));
    let connect = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(connect.as_bytes()).map_err(cut)?;
    let line = first_line(&mut stream).map_err(cut)?;
    if line.split(' ').nth(1) != Some("200") {
        return Err(Error::new(format!("the proxy {proxy} opens no tunnel to {to}: {line}")));
    }
    let client = client_that_takes_any().map_err(Error::new)?;
    let server = server_name(name).map_err(Error::usage)?;
    let mut session = ClientConnection::new(client, server)
        .map_err(|error| Error::new(format!("TLS cannot be set up: {error}")))?;
    stream.begin();
    while session.is_handshaking() {
        session.complete_io(&mut stream).map_err(|error| {
            Error::new(format!("no TLS with {to} through {proxy}: {}", words(&error)))
        })?;
    }
    let chain = session.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let host = if port == 443 { bracketed(name) } else { to };
    let request = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.begin();
    let mut tls = Stream::new(&mut session, &mut stream);
    let answer = tls.write_all(request.as_bytes()).and_then(|()| first_line(&mut tls));
    Ok(Probe { chain, answer: answer.map_err(|error| words(&error)) })
}

/// A stream on which each step has its time, in however many pieces what is waited for comes.
struct Timed {
    stream: TcpStream,
    wait: Duration,
    until: Instant,
}

impl Timed {
    /// Begins the next step.
    fn begin(&mut self) {
        self.until = Instant::now() + self.wait;
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn connect(proxy: (&str, u16), wait: Duration) -> Result<Timed> {
    let shown = shown(proxy);
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(format!("the proxy {shown} cannot be reached: {error}; is it running?"))
    };
    let (host, port) = proxy;
    let addresses = look_up(host).map_err(|reason| failed(&reason))?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses.iter() {
        match TcpStream::connect_timeout(&SocketAddr::new(*address, port), wait) {
            Ok(stream) => return Ok(Timed { stream, wait, until: Instant::now() + wait }),
            Err(error) => last = error,
        }
    }
    Err(failed(&last))
}

/// Reads a head to its end, and gives its first line.
fn first_line(from: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= CHECK_HEAD_BYTES {
            return Err(io::Error::other("its head is too long"));
        }
        // A byte at a time: what follows the head is not this function's.
        from.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    // Nothing of it is to drive a terminal.
    let shown = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' };
    Ok(line.iter().map(shown).collect())
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "nothing came in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        _ => error.to_string(),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A host and port as URLs have them.
fn shown((host, port): (&str, u16)) -> String {
    format!("{}:{port}", bracketed(host))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::limits::CHECK_WAIT;

    /// What a probe says of a proxy that answers CONNECT with this and closes.
    fn failure(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            // The client's request has to be read, or closing would reset the connection.
            first_line(&mut client).unwrap();
            let _ = client.write_all(&answer);
        });
        let failed = probe(("127.0.0.1", port), ("a.example", 443), CHECK_WAIT);
        let failed = failed.unwrap_err().to_string();
        server.join().unwrap();
        failed
    }

    #[test]
    fn what_is_no_tunnel_is_told() {
        let refused = failure(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_vec());
        assert!(refused.contains("opens no tunnel to a.example:443: HTTP/1.1 407"), "{refused}");
        let closed = failure(Vec::new());
        assert!(closed.contains("the connection was closed"), "{closed}");
        let no_tls = failure(b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
        assert!(no_tls.contains("no TLS with a.example:443"), "{no_tls}");
    }

    #[test]
    fn a_head_without_an_end_is_given_up() {
        let endless = failure(vec![b'a'; CHECK_HEAD_BYTES + 1]);
        assert!(endless.contains("too long"), "{endless}");
    }

    #[test]
    fn a_proxy_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wait = Duration::from_millis(50);
        let silent = probe(("127.0.0.1", port), ("a.example", 443), wait);
        let silent = silent.unwrap_err().to_string();
        assert!(silent.ends_with("does not answer: nothing came in time"), "{silent}");
    }

    #[test]
    fn a_proxy_that_answers_bit_by_bit_has_no_more_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wait = Duration::from_millis(200);
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            // Ten times as long as it may take, then closes.
            for _ in 0..100 {
                if client.write_all(b"a").is_err() {
                    return;
                }
                thread::park_timeout(Duration::from_millis(20));
            }
        });
        let slow = probe(("127.0.0.1", port), ("a.example", 443), wait).unwrap_err().to_string();
        assert!(slow.ends_with("does not answer: nothing came in time"), "{slow}");
        server.join().unwrap();
    }

    #[test]
    fn what_a_proxy_says_does_not_drive_the_terminal() {
        let refused = failure(b"HTTP/1.1 403 \x1b[2J\xc2\x9b\xe2\x80\xaeNo\r\n\r\n".to_vec());
        assert!(refused.contains("HTTP/1.1 403 ") && refused.contains("No"), "{refused}");
        assert!(!refused.contains(['\x1b', '\u{9b}', '\u{202e}']), "{refused:?}");
    }

    #[test]
    fn addresses_of_ipv6_stand_in_brackets() {
        assert_eq!((shown(("::1", 1)), shown(("a", 2))), ("[::1]:1".into(), "a:2".into()));
    }
}
