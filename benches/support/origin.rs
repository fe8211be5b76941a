//! The origin: answers `/N` and `/close/N` with N bytes, in plain text and over TLS.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::thread;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection};

use super::head::head_end;
use super::link::{Link, READ_BYTES, wait};
use super::tls;

/// The names that the origin with TLS has, beside its address, so that no resolver is needed.
pub(crate) fn host_name(number: u64) -> String {
    format!("h{number}.bench.localhost")
}

/// Bodies are written in such pieces.
static BLOCK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

const PLAIN: Token = Token(0);
const SECURE: Token = Token(1);
/// Connections have the tokens from here on.
const FIRST: usize = 2;

/// The two origins, which serve until the process ends.
pub(crate) struct Origins {
    plain: u16,
    secure: u16,
    /// The certificate of the one with TLS, for every [`host_name`].
    pub(crate) certificate_pem: String,
}

impl Origins {
    /// The port on 127.0.0.1.
    pub(crate) fn port(&self, secure: bool) -> u16 {
        if secure { self.secure } else { self.plain }
    }
}

/// Starts both, on one thread.
pub(crate) fn start() -> Origins {
    let (tls, certificate_pem) = tls::server(vec!["*.bench.localhost".to_owned()]);
    let poll = Poll::new().expect("a poller");
    let listen = |token| {
        let address = "127.0.0.1:0".parse().expect("an address");
        let mut listener = TcpListener::bind(address).expect("a free port");
        poll.registry().register(&mut listener, token, Interest::READABLE).expect("a poller");
        listener
    };
    let (plain, secure) = (listen(PLAIN), listen(SECURE));
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let origins = Origins { plain: port(&plain), secure: port(&secure), certificate_pem };
    let origin = Origin {
        poll,
        plain,
        secure,
        tls,
        clients: Vec::new(),
        free: Vec::new(),
        scratch: vec![0; READ_BYTES],
    };
    thread::spawn(move || origin.run());
    origins
}

struct Origin {
    poll: Poll,
    plain: TcpListener,
    secure: TcpListener,
    tls: Arc<ServerConfig>,
    /// By token, less [`FIRST`].
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    scratch: Vec<u8>,
}

struct Client {
    link: Link,
    input: Vec<u8>,
    /// Bytes of the body that are not handed to the link yet.
    left: usize,
    closes: bool,
}

impl Origin {
    fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        loop {
            wait(&mut self.poll, &mut events, None);
            for event in &events {
                match event.token() {
                    PLAIN | SECURE => self.accept(event.token()),
                    Token(token) => {
                        let at = token - FIRST;
                        let Some(client) = &mut self.clients[at] else { continue };
                        // A connection that breaks ends alone.
                        let goes_on = client.serve(&mut self.scratch, event.is_read_closed());
                        if !goes_on.unwrap_or(false) {
                            self.clients[at] = None;
                            self.free.push(at);
                        }
                    }
                }
            }
        }
    }

    fn accept(&mut self, token: Token) {
        loop {
            let listener = if token == SECURE { &self.secure } else { &self.plain };
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the origin cannot accept: {error}"),
            };
            let at = self.free.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            let mut link =
                Link::new(socket, self.poll.registry(), FIRST + at).expect("a connection");
            if token == SECURE {
                link.start_tls(ServerConnection::new(self.tls.clone()).expect("a session"));
            }
            self.clients[at] = Some(Client { link, input: Vec::new(), left: 0, closes: false });
        }
    }
}

impl Client {
    /// Reads and answers what can be, and tells whether the connection stays.
    fn serve(&mut self, scratch: &mut [u8], ends: bool) -> io::Result<bool> {
        let open = self.link.receive(scratch, &mut self.input, ends)?;
        loop {
            while self.link.flush()? && self.left > 0 {
                let piece = self.left.min(BLOCK.len());
                self.link.send(&BLOCK[..piece])?;
                self.left -= piece;
            }
            if self.left > 0 {
                return Ok(open);
            }
            if self.closes {
                return Ok(false);
            }
            let Some(end) = head_end(&self.input) else { return Ok(open) };
            self.answer(end)?;
        }
    }

    /// Hands the head of the answer and the beginning of its body to the link.
    fn answer(&mut self, end: usize) -> io::Result<()> {
        let head = String::from_utf8_lossy(&self.input[..end]);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let length = path.rsplit('/').next().and_then(|it| it.parse().ok()).unwrap_or(0);
        self.closes = path.starts_with("/close/");
        let connection = if self.closes { "Connection: close\r\n" } else { "" };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {length}\r\n{connection}\r\n"
        )
        .into_bytes();
        self.input.drain(..end);
        // Small answers leave in one write.
        let first = length.min(BLOCK.len() - answer.len());
        answer.extend_from_slice(&BLOCK[..first]);
        self.left = length - first;
        self.link.send(&answer)
    }
}
