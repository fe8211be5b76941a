//! The load: client connections through the proxy, each on its thread.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::flowtap::Flowtap;
use crate::origin::{STACK_BYTES, read_head};

/// How long an answer may take.
const SILENCE: Duration = Duration::from_secs(20);

/// What is asked, and through which proxy.
pub(crate) struct Target {
    proxy: SocketAddr,
    authority: String,
    /// TLS inside a tunnel; `None` asks in absolute form.
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// The origin on this port, through `flowtap`. Sessions are not resumed, so every connection
    /// pays for its handshake.
    pub(crate) fn new(flowtap: &Flowtap, secure: bool, port: u16) -> Target {
        let tls = secure.then(|| {
            let mut roots = RootCertStore::empty();
            let pem = fs::read(flowtap.ca()).expect("flowtap's CA");
            roots.add(CertificateDer::from_pem_slice(&pem).expect("PEM")).expect("a certificate");
            let provider = ::flowtap::tls::provider::provider();
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("TLS 1.2 and 1.3")
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.resumption = Resumption::disabled();
            Arc::new(config)
        });
        // Over loopback by name with TLS, since that is what clients do; by address without.
        let host = if secure { "localhost" } else { "127.0.0.1" };
        Target { proxy: flowtap.address, authority: format!("{host}:{port}"), tls }
    }

    /// A new connection to the origin.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let mut socket = TcpStream::connect(self.proxy)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE))?;
        let Some(config) = &self.tls else {
            let prefix = format!("http://{}", self.authority);
            return Ok(Connection::new(Box::new(socket), prefix, &self.authority));
        };
        write!(socket, "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", self.authority)?;
        let mut answer = Vec::new();
        read_head(&mut socket, &mut answer)?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let stream = StreamOwned::new(session, socket);
        Ok(Connection::new(Box::new(stream), String::new(), &self.authority))
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One client connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    prefix: String,
    fields: String,
    buffer: Vec<u8>,
}

impl Connection {
    fn new(stream: Box<dyn Stream>, prefix: String, authority: &str) -> Connection {
        let fields = format!(
            "Host: {authority}\r\nUser-Agent: flowtap-bench\r\nAccept: */*\r\n\
             Accept-Encoding: gzip, deflate, br\r\n\r\n"
        );
        Connection { stream, prefix, fields, buffer: Vec::new() }
    }

    /// One request and its whole answer.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET {}{path} HTTP/1.1\r\n{}", self.prefix, self.fields);
        self.stream.write_all(request.as_bytes())?;
        self.stream.flush()?;
        let end = read_head(&mut self.stream, &mut self.buffer)?
            .ok_or_else(|| io::Error::other("the connection ended instead of an answer"))?;
        let head = String::from_utf8_lossy(&self.buffer[..end]);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .and_then(|length| length.parse::<usize>().ok());
        let Some(length) = length.filter(|_| head.starts_with("HTTP/1.1 200")) else {
            return Err(io::Error::other(head.into_owned()));
        };
        let mut left = (end + length) - self.buffer.len();
        self.buffer.clear();
        let mut scratch = [0; 32 * 1024];
        while left > 0 {
            let most = left.min(scratch.len());
            let read = self.stream.read(&mut scratch[..most])?;
            if read == 0 {
                return Err(io::Error::other("the answer is cut"));
            }
            left -= read;
        }
        Ok(())
    }
}

/// Many requests for one path.
pub(crate) struct Load<'a> {
    target: &'a Target,
    path: &'a str,
    connections: usize,
}

impl<'a> Load<'a> {
    /// Requests over so many connections at the same time.
    pub(crate) fn new(target: &'a Target, path: &'a str, connections: usize) -> Load<'a> {
        Load { target, path, connections }
    }

    /// Makes at most `count` requests in at most `time`, each on a new connection if `fresh`, and
    /// tells how many were answered. Any failure ends the benchmark.
    pub(crate) fn run(&self, count: u64, time: Duration, fresh: bool) -> u64 {
        let left = AtomicI64::new(i64::try_from(count).unwrap_or(i64::MAX));
        let answered = AtomicU64::new(0);
        let end = Instant::now() + time;
        let work = || -> io::Result<()> {
            let mut connection = None;
            while left.fetch_sub(1, Ordering::Relaxed) > 0 && Instant::now() < end {
                let mut open = match connection.take() {
                    Some(open) => open,
                    None => self.target.connect()?,
                };
                open.get(self.path)?;
                answered.fetch_add(1, Ordering::Relaxed);
                connection = (!fresh).then_some(open);
            }
            Ok(())
        };
        thread::scope(|scope| {
            for _ in 0..self.connections {
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                builder
                    .spawn_scoped(scope, || work().expect("requests through flowtap"))
                    .expect("a thread");
            }
        });
        answered.into_inner()
    }
}

/// Two descriptors for each connection of this process are more than some systems allow at first.
pub(crate) fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Without it, connecting says what is missing.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
