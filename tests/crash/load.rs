//! Clients that keep a proxy busy until it is gone, and remember what they saw and when.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::frame::frame;
use crate::frame_reader::read_frame;
use crate::random::{Random, bytes};
use crate::support::tls::{certificate_in, client_config, handshake};
use crate::support::{DEADLINE, ReadWrite};

type Stream = BufReader<Box<dyn ReadWrite>>;

/// How long a client thinks between two requests, so that many proxies can be loaded at once.
const THOUGHT: Duration = Duration::from_millis(4);

/// A request, all of which its number determines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) id: u64,
    request_bytes: usize,
    response_bytes: usize,
    request_chunked: bool,
    response_chunked: bool,
}

impl Exchange {
    pub(crate) fn new(id: u64) -> Self {
        let mut random = Random::new(id);
        // Past 64 KiB a body has a file of its own in the journal.
        let mut length = || match random.below(12) {
            0 => 65_536 + random.below(200_000) as usize,
            1..4 => 0,
            _ => random.below(3_000) as usize,
        };
        let (request_bytes, response_bytes) = (length(), length());
        let (request_chunked, response_chunked) = (random.one_of(3), random.one_of(3));
        Exchange { id, request_bytes, response_bytes, request_chunked, response_chunked }
    }

    pub(crate) fn request_body(self) -> Vec<u8> {
        bytes(self.id * 2 + 1, self.request_bytes)
    }

    pub(crate) fn response_body(self) -> Vec<u8> {
        bytes(self.id * 2 + 2, self.response_bytes)
    }

    pub(crate) fn path(self) -> String {
        format!("/flow/{}", self.id)
    }

    fn request(self, target: &str, host: &str) -> Vec<u8> {
        let head = format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nX-Id: {}\r\n", self.id);
        message(head, &self.request_body(), self.request_chunked)
    }

    fn response(self) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 Fine\r\nX-Id: {}\r\n", self.id);
        message(head, &self.response_body(), self.response_chunked)
    }
}

fn message(head: String, body: &[u8], is_chunked: bool) -> Vec<u8> {
    let mut bytes = head.into_bytes();
    if !is_chunked {
        bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
        bytes.extend(body);
        return bytes;
    }
    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(10_000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn gone() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn read_head(stream: &mut Stream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Err(gone());
        }
    }
    String::from_utf8(head).map_err(|_| gone())
}

fn read_body(stream: &mut Stream, head: &str) -> io::Result<Vec<u8>> {
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    if let Some(length) = length {
        let mut body = vec![0; length.trim().parse().unwrap()];
        stream.read_exact(&mut body)?;
        return Ok(body);
    }
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(gone());
        }
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk)?;
        body.extend(&chunk[..size]);
        if size == 0 {
            return Ok(body);
        }
    }
}

fn say(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.get_mut().write_all(bytes)?;
    stream.get_mut().flush()
}

/// One WebSocket message: the first byte of its frame, and its payload.
type Message = (u8, Vec<u8>);

/// Message `number` of a connection, from 1; the last one closes it.
pub(crate) fn websocket_message(id: u64, number: u64) -> Message {
    if number == websocket_messages(id) {
        return (0x88, vec![3, 0xe8]);
    }
    let mut random = Random::new(id * 1_000 + number);
    let length = if random.one_of(8) { 100_000 } else { random.below(300) as usize };
    (0x82, bytes(id * 1_000 + number, length))
}

fn websocket_messages(id: u64) -> u64 {
    5 + Random::new(id).below(60)
}

fn write_frame(stream: &mut Stream, (first, payload): &Message, masked: bool) -> io::Result<()> {
    say(stream, &frame(*first, payload, masked))
}

fn next_frame(stream: &mut Stream) -> io::Result<Message> {
    read_frame(|count| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).map(|()| bytes)
    })
}

fn set_up(tcp: &TcpStream) {
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    tcp.set_write_timeout(Some(DEADLINE)).unwrap();
    tcp.set_nodelay(true).unwrap();
}

/// An origin for all proxies; its threads end with the test.
pub(crate) fn origin(tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let tls = tls.clone();
            std::thread::spawn(move || {
                set_up(&tcp);
                let stream: Box<dyn ReadWrite> = match tls {
                    None => Box::new(tcp),
                    Some(tls) => {
                        Box::new(StreamOwned::new(ServerConnection::new(tls).unwrap(), tcp))
                    }
                };
                // A proxy that is killed ends its connections anywhere.
                let _ = serve(BufReader::new(stream));
            });
        }
    });
    address
}

fn serve(mut stream: Stream) -> io::Result<()> {
    loop {
        let head = read_head(&mut stream)?;
        let path = head.split(' ').nth(1).unwrap();
        let id = path.rsplit('/').next().unwrap().parse().unwrap();
        if path.contains("/socket/") {
            let accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            say(&mut stream, accepted.as_bytes())?;
            loop {
                let message = next_frame(&mut stream)?;
                write_frame(&mut stream, &message, false)?;
                if message.0 == 0x88 {
                    return Ok(());
                }
            }
        }
        let exchange = Exchange::new(id);
        assert!(read_body(&mut stream, &head)? == exchange.request_body());
        say(&mut stream, &exchange.response())?;
    }
}

/// What the clients did, and saw, and when they had seen all of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Requests that were begun.
    pub(crate) begun: Vec<u64>,
    /// Exchanges whose responses were read to the end.
    pub(crate) exchanges: Vec<(u64, Instant)>,
    /// WebSocket connections that were begun.
    pub(crate) sockets: Vec<u64>,
    /// Messages whose echoes were read, by connection and number.
    pub(crate) messages: Vec<(u64, u64, Instant)>,
}

/// What the clients of one proxy share.
pub(crate) struct Load {
    pub(crate) proxy: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// The file with the proxy's certificate.
    pub(crate) ca: PathBuf,
    pub(crate) stops: AtomicBool,
    pub(crate) seen: Mutex<Seen>,
}

/// No two flows of the test have the same number.
static NEXT: AtomicU64 = AtomicU64::new(1);

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Load {
    /// Runs clients until the proxy is gone or `stops` is set.
    pub(crate) fn run(&self) {
        std::thread::scope(|scope| {
            for number in 0..6 {
                scope.spawn(move || {
                    while !self.stops.load(Ordering::Relaxed) {
                        let ended = match number {
                            0..3 => self.plain_client(),
                            3..5 => self.tls_client(),
                            _ => self.socket_client(),
                        };
                        if ended.is_err() {
                            break;
                        }
                    }
                });
            }
        });
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect_timeout(&self.proxy, DEADLINE)?;
        set_up(&tcp);
        Ok(tcp)
    }

    fn plain_client(&self) -> io::Result<()> {
        let mut stream: Stream = BufReader::new(Box::new(self.connect()?));
        let host = self.plain.to_string();
        self.exchanges(&mut stream, &format!("http://{host}"), &host)
    }

    fn tls_client(&self) -> io::Result<()> {
        let host = format!("localhost:{}", self.tls.port());
        let mut tcp = self.connect()?;
        tcp.write_all(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let answer = crate::support::read_head(&mut tcp);
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(gone());
        }
        let tls = handshake(client_config(certificate_in(&self.ca)), "localhost", tcp)?;
        let mut stream: Stream = BufReader::new(Box::new(tls));
        self.exchanges(&mut stream, "", &host)
    }

    /// Some exchanges on one connection.
    fn exchanges(&self, stream: &mut Stream, before: &str, host: &str) -> io::Result<()> {
        for _ in 0..40 {
            if self.stops.load(Ordering::Relaxed) {
                break;
            }
            let exchange = Exchange::new(next());
            self.seen.lock().unwrap().begun.push(exchange.id);
            say(stream, &exchange.request(&format!("{before}{}", exchange.path()), host))?;
            let head = read_head(stream)?;
            let body = read_body(stream, &head)?;
            let now = Instant::now();
            if !head.starts_with("HTTP/1.1 200 Fine\r\n") {
                // It is being stopped.
                return Err(gone());
            }
            assert!(body == exchange.response_body(), "{exchange:?}: {head}");
            self.seen.lock().unwrap().exchanges.push((exchange.id, now));
            std::thread::park_timeout(THOUGHT);
        }
        Ok(())
    }

    fn socket_client(&self) -> io::Result<()> {
        let mut stream: Stream = BufReader::new(Box::new(self.connect()?));
        let id = next();
        self.seen.lock().unwrap().sockets.push(id);
        let host = self.plain;
        let request = format!(
            "GET http://{host}/socket/{id} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        say(&mut stream, request.as_bytes())?;
        if !read_head(&mut stream)?.starts_with("HTTP/1.1 101 ") {
            return Err(gone());
        }
        for number in 1..=websocket_messages(id) {
            let message = websocket_message(id, number);
            write_frame(&mut stream, &message, true)?;
            assert!(next_frame(&mut stream)? == message, "{id} {number}");
            self.seen.lock().unwrap().messages.push((id, number, Instant::now()));
            std::thread::park_timeout(THOUGHT);
        }
        Ok(())
    }
}
