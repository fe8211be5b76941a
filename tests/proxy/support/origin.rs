//! Origins on a free port that follow a script and remember what they were sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{DEADLINE, read_head};

/// A listening origin. Its threads end with the test process.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
}

/// One accepted connection, whose reads are remembered.
pub(crate) struct Accepted {
    stream: TcpStream,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Origin {
    /// Runs `script` on every connection, with the connection's number from 0.
    pub(crate) fn start(script: impl Fn(usize, &mut Accepted) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let origin = Self { addr, seen: seen.clone(), connections: connections.clone() };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let mut accepted = Accepted { stream, seen: seen.clone() };
                let script = script.clone();
                std::thread::spawn(move || script(number, &mut accepted));
            }
        });
        origin
    }

    /// Answers the first request head of each connection with `reply` and closes.
    pub(crate) fn answers_and_closes(reply: &'static [u8]) -> Self {
        Self::start(move |_, stream| {
            read_head(stream);
            stream.write_all(reply).unwrap();
        })
    }

    /// Answers every request head with `reply` until the client closes.
    pub(crate) fn answers(reply: &'static [u8]) -> Self {
        Self::start(move |_, stream| {
            while !read_head(stream).is_empty() {
                stream.write_all(reply).unwrap();
            }
        })
    }

    /// Every byte received so far, over all connections.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Read for Accepted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.seen.lock().unwrap().extend_from_slice(&buffer[..count]);
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
