//! Origins on a free port that follow a script and remember what they were sent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::client::{End, ending};
use super::{DEADLINE, ReadWrite, read_head};

/// How long a write must find no room for the way to count as full.
const STUCK: Duration = Duration::from_millis(500);

/// A listening origin. Its threads end with the test process.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    record: Arc<Record>,
}

#[derive(Default)]
struct Record {
    seen: Mutex<Vec<u8>>,
    grown: Condvar,
    connections: AtomicUsize,
    resumed: AtomicUsize,
}

/// One accepted connection, whose reads are remembered.
pub(crate) struct Accepted {
    pub(crate) stream: Box<dyn ReadWrite>,
    tcp: TcpStream,
    record: Arc<Record>,
    /// The server name that the client sent in TLS.
    pub(crate) server_name: Option<String>,
}

impl Origin {
    /// Runs `script` on every connection, with the connection's number from 0.
    pub(crate) fn start(script: impl Fn(usize, &mut Accepted) + Send + Sync + 'static) -> Self {
        Self::listen(None, script)
    }

    /// As [`Origin::start`], inside TLS.
    pub(crate) fn tls(
        config: Arc<ServerConfig>,
        script: impl Fn(usize, &mut Accepted) + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(config), script)
    }

    fn listen(
        config: Option<Arc<ServerConfig>>,
        script: impl Fn(usize, &mut Accepted) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let record = Arc::new(Record::default());
        let origin = Self { addr, record: record.clone() };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let number = record.connections.fetch_add(1, Ordering::SeqCst);
                tcp.set_read_timeout(Some(DEADLINE)).unwrap();
                tcp.set_write_timeout(Some(DEADLINE)).unwrap();
                tcp.set_nodelay(true).unwrap();
                let (script, record, config) = (script.clone(), record.clone(), config.clone());
                std::thread::spawn(move || {
                    if let Some(mut accepted) = Accepted::new(tcp, config, record) {
                        script(number, &mut accepted);
                        accepted.close();
                    }
                });
            }
        });
        origin
    }

    /// Answers the first request head of each connection with `reply` and closes.
    pub(crate) fn answers_and_closes(reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Self::start(move |_, stream| {
            read_head(stream);
            stream.say(&reply);
        })
    }

    /// Answers every request head with `reply` until the client closes.
    pub(crate) fn answers(reply: impl Into<Vec<u8>>) -> Self {
        Self::start(answering(reply))
    }

    /// Answers the first request head of each connection, each when it is told to.
    pub(crate) fn answers_when_told(reply: &'static str) -> (Sender<()>, Self) {
        let (go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let origin = Self::start(move |_, stream| {
            read_head(stream);
            let _ = wait.lock().unwrap().recv_timeout(DEADLINE);
            stream.say(reply.as_bytes());
        });
        (go, origin)
    }

    /// As [`Origin::answers`], inside TLS.
    pub(crate) fn tls_answers(config: Arc<ServerConfig>, reply: impl Into<Vec<u8>>) -> Self {
        Self::tls(config, answering(reply))
    }

    /// Every byte received so far, over all connections.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.record.seen.lock().unwrap()).into_owned()
    }

    /// Waits until what was received ends so.
    pub(crate) fn wait_for(&self, end: &[u8]) {
        let seen = self.record.seen.lock().unwrap();
        let lacks = |seen: &mut Vec<u8>| !seen.ends_with(end);
        let (seen, timeout) = self.record.grown.wait_timeout_while(seen, DEADLINE, lacks).unwrap();
        assert!(!timeout.timed_out(), "the origin saw {:?}", String::from_utf8_lossy(&seen));
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    /// How many of them resumed a TLS session.
    pub(crate) fn resumed(&self) -> usize {
        self.record.resumed.load(Ordering::SeqCst)
    }
}

fn answering(reply: impl Into<Vec<u8>>) -> impl Fn(usize, &mut Accepted) + Send + Sync + 'static {
    let reply = reply.into();
    move |_, stream| {
        while read_head(stream).ends_with(b"\r\n\r\n") {
            stream.say(&reply);
        }
    }
}

impl Accepted {
    fn new(tcp: TcpStream, config: Option<Arc<ServerConfig>>, record: Arc<Record>) -> Option<Self> {
        let own = tcp.try_clone().unwrap();
        let Some(config) = config else {
            return Some(Self { stream: Box::new(own), tcp, record, server_name: None });
        };
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), own);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).ok()?;
        }
        if tls.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
            record.resumed.fetch_add(1, Ordering::SeqCst);
        }
        let server_name = tls.conn.server_name().map(str::to_owned);
        Some(Self { stream: Box::new(tls), tcp, record, server_name })
    }

    /// Sends bytes; a proxy that has gone meanwhile is the test's matter.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Ends the sending side.
    pub(crate) fn finish(&self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Resets the connection at once.
    pub(crate) fn reset(&mut self) {
        super::reset_on_close(&self.tcp);
        self.stream = Box::new(std::io::Cursor::new(Vec::new()));
        let nowhere = TcpListener::bind("127.0.0.1:0").unwrap();
        // Only the last handle closes the connection.
        self.tcp = TcpStream::connect(nowhere.local_addr().unwrap()).unwrap();
    }

    /// Sends as much as there is room for while nobody reads; how much that was.
    pub(crate) fn fill(&mut self) -> usize {
        self.tcp.set_write_timeout(Some(STUCK)).unwrap();
        let block = [b'y'; 65_536];
        let mut sent = 0;
        while let Ok(count @ 1..) = self.tcp.write(&block) {
            sent += count;
        }
        sent
    }

    /// Reads until the proxy closes, and tells how it did.
    pub(crate) fn ending(&mut self) -> End {
        ending(self).1
    }

    /// Reads until the proxy closes; whether it did within the deadline.
    pub(crate) fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// The connection, read without remembering.
    pub(crate) fn unrecorded(&mut self) -> &mut dyn Read {
        &mut self.stream
    }

    /// Ends TLS properly; the connection itself ends when this is dropped.
    fn close(&mut self) {
        self.stream.end();
    }
}

impl Read for Accepted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.record.seen.lock().unwrap().extend_from_slice(&buffer[..count]);
        self.record.grown.notify_all();
        Ok(count)
    }
}

impl Write for Accepted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}
