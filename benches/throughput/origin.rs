//! The origin: answers `/N` and `/close/N` with N bytes, in plain text and over TLS.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The stack of a thread that serves one connection.
pub(crate) const STACK_BYTES: usize = 256 * 1024;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(120);
/// Bodies are written in such pieces.
static BLOCK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// The two origins, which serve until the process ends.
pub(crate) struct Origins {
    plain: u16,
    secure: u16,
    /// The certificate of the one with TLS, for `localhost`.
    pub(crate) certificate_pem: String,
}

impl Origins {
    /// The port on 127.0.0.1.
    pub(crate) fn port(&self, secure: bool) -> u16 {
        if secure { self.secure } else { self.plain }
    }
}

/// Starts both.
pub(crate) fn start() -> Origins {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(::flowtap::tls::provider::provider())
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a key that fits");
    Origins {
        plain: listen(None),
        secure: listen(Some(Arc::new(config))),
        certificate_pem: made.cert.pem(),
    }
}

fn listen(tls: Option<Arc<ServerConfig>>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let tls = tls.clone();
            thread::Builder::new()
                .stack_size(STACK_BYTES)
                // A connection that breaks ends its thread alone.
                .spawn(move || accept(socket, tls).is_ok())
                .expect("a thread");
        }
    });
    port
}

fn accept(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE))?;
    match tls {
        None => serve(socket),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            serve(StreamOwned::new(connection, socket))
        }
    }
}

fn serve(mut stream: impl Read + Write) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        let Some(end) = read_head(&mut stream, &mut head)? else { return Ok(()) };
        let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let path = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        let path = String::from_utf8_lossy(path);
        let close = path.starts_with("/close/");
        let length = path.rsplit('/').next().and_then(|it| it.parse().ok()).unwrap_or(0);
        head.drain(..end);
        answer(&mut stream, length, close)?;
        if close {
            return Ok(());
        }
    }
}

fn answer(stream: &mut impl Write, mut length: usize, close: bool) -> io::Result<()> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {length}\r\n{connection}\r\n"
    )
    .into_bytes();
    // Head and beginning of the body in one write.
    loop {
        let piece = length.min(BLOCK.len() - if out.is_empty() { 0 } else { 1_024 });
        out.extend_from_slice(&BLOCK[..piece]);
        stream.write_all(&out)?;
        stream.flush()?;
        out.clear();
        length -= piece;
        if length == 0 {
            return Ok(());
        }
    }
}

/// Reads until `buffer` has a whole head, and tells where it ends; `None` when the peer is done.
pub(crate) fn read_head(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut scratch = [0; 4 * 1024];
    loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        match stream.read(&mut scratch)? {
            0 => return Ok(None),
            read => buffer.extend_from_slice(&scratch[..read]),
        }
    }
}
