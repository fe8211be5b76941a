//! The origin. The path of a request, `/KIND/ID/SIZE`, says how it is answered, well or badly.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use rustls::ServerConfig;

use super::bodies::Body;
use super::frames;
use super::wire::{Head, Wire};
use crate::support::tls;

// Delays are what the clients ask for, and make the traffic what it is; nobody waits for them to
// have passed. Each is short, so that a run that ends is not held up.
/// Between the pieces of a body that drips, or that is taken in sips.
const DRIP: Duration = Duration::from_millis(50);
/// Between events of a stream.
const EVENT: Duration = Duration::from_millis(200);
/// Before a slow answer.
const SLOW: Duration = Duration::from_millis(300);
/// How long a connection stays that is closed without a word.
const FICKLE: Duration = Duration::from_millis(20);
/// The size of the chunks.
const CHUNK_BYTES: usize = 4 * 1024;

/// What names of hosts end with: those that are intercepted, and those that pass through.
pub(crate) const HOSTS: &str = "soak.localhost";
pub(crate) const PASSED_HOSTS: &str = "passed.localhost";

/// The listeners, each on a port of 127.0.0.1.
pub(crate) struct Origin {
    pub(crate) plain: u16,
    pub(crate) secure: u16,
    /// With a certificate that nobody trusts.
    pub(crate) untrusted: u16,
    /// Closes connections that are kept alive without saying so.
    pub(crate) fickle: u16,
    /// Sends back what comes.
    pub(crate) echo: u16,
    /// Refuses connections.
    pub(crate) refused: u16,
    /// The certificate of [`Origin::secure`], which covers all hosts.
    pub(crate) certificate_pem: String,
    open: Arc<Open>,
    _refuses: OwnedFd,
}

/// Sockets that are open, to end them.
#[derive(Default)]
struct Open(Mutex<(u64, HashMap<u64, TcpStream>)>);

impl Open {
    fn all(&self) -> MutexGuard<'_, (u64, HashMap<u64, TcpStream>)> {
        self.0.lock().expect("no thread panics with it")
    }

    fn add(&self, tcp: &TcpStream) -> io::Result<u64> {
        let copy = tcp.try_clone()?;
        let mut all = self.all();
        all.0 += 1;
        let number = all.0;
        all.1.insert(number, copy);
        Ok(number)
    }
}

impl Origin {
    /// Starts all of them; their threads end with the process.
    pub(crate) fn start() -> Origin {
        // The address is for requests that are sent again: tools go where CONNECT went.
        let names = [format!("*.{HOSTS}"), format!("*.{PASSED_HOSTS}"), "127.0.0.1".to_owned()];
        let (secure, certificate_pem) = tls::server(names.to_vec());
        let (untrusted, _) = tls::server(names.to_vec());
        let open = Arc::new(Open::default());
        let listen = |tls: Option<Arc<ServerConfig>>, serve: fn(Wire) -> io::Result<()>| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("an address").port();
            let open = open.clone();
            thread::spawn(move || accept(&listener, tls.as_ref(), serve, &open));
            port
        };
        // A port that is taken and not listened on.
        let refuses = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&refuses, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = SocketAddr::try_from(getsockname(&refuses).expect("an address"));
        Origin {
            plain: listen(None, serve),
            secure: listen(Some(secure), serve),
            untrusted: listen(Some(untrusted), serve),
            fickle: listen(None, serve_once),
            echo: listen(None, echo),
            refused: address.expect("of IPv4").port(),
            certificate_pem,
            open: open.clone(),
            _refuses: refuses,
        }
    }

    /// Ends all connections.
    pub(crate) fn close_all(&self) {
        for tcp in self.open.all().1.values() {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }
}

fn accept(
    listener: &TcpListener,
    tls: Option<&Arc<ServerConfig>>,
    serve: fn(Wire) -> io::Result<()>,
    open: &Arc<Open>,
) {
    for tcp in listener.incoming() {
        let Ok(tcp) = tcp else { continue };
        let (tls, open) = (tls.cloned(), open.clone());
        thread::spawn(move || {
            let Ok(number) = open.add(&tcp) else { return };
            let wire = Wire::new(tcp).and_then(|wire| match tls {
                Some(tls) => wire.accept(&tls),
                None => Ok(wire),
            });
            // What breaks is what clients check.
            let _ = wire.and_then(serve);
            open.all().1.remove(&number);
        });
    }
}

/// Sends back what comes, until the peer closes.
fn echo(mut wire: Wire) -> io::Result<()> {
    wire.socket().set_read_timeout(None)?;
    while wire.fill()? {
        let bytes = wire.take_all();
        wire.send(bytes)?;
    }
    Ok(())
}

/// Answers one request as if more could follow, and closes a little later.
fn serve_once(mut wire: Wire) -> io::Result<()> {
    let head = wire.head()?;
    let asked = Asked::new(&head);
    asked.answer(&mut wire, &head)?;
    thread::sleep(FICKLE);
    wire.close();
    Ok(())
}

/// Answers all requests of a connection.
fn serve(mut wire: Wire) -> io::Result<()> {
    // Connections wait in the proxy's pool for as long as it likes.
    wire.socket().set_read_timeout(None)?;
    while let Some(head) = wire.next_head()? {
        let asked = Asked::new(&head);
        match asked.kind.as_str() {
            "resetnow" => {
                wire.reset();
                return Ok(());
            }
            "resethead" => {
                wire.send("HTTP/1.1 200 OK\r\nContent-")?;
                wire.reset();
                return Ok(());
            }
            "resetbody" => {
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", asked.size))?;
                wire.send(Body::new(asked.id, asked.size / 2).bytes())?;
                wire.reset();
                return Ok(());
            }
            "websocket" => return frames::serve(wire, &head),
            _ if asked.answer(&mut wire, &head)? => {}
            _ => break,
        }
    }
    wire.close();
    Ok(())
}

/// What a path asks for.
struct Asked {
    kind: String,
    id: u64,
    size: usize,
}

impl Asked {
    fn new(head: &Head) -> Asked {
        let mut steps = head.word(1).trim_start_matches('/').split('/');
        let mut step = || steps.next().unwrap_or_default();
        let kind = step().to_owned();
        Asked { kind, id: step().parse().unwrap_or(0), size: step().parse().unwrap_or(0) }
    }

    fn body(&self) -> Body {
        Body::new(self.id, self.size)
    }

    /// Answers, and tells whether the connection stays.
    fn answer(&self, wire: &mut Wire, head: &Head) -> io::Result<bool> {
        if head.says("expect", "100-continue") {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        match self.kind.as_str() {
            "upload" | "sip" => self.receive(wire, head)?,
            "chunked" => self.chunked(wire, CHUNK_BYTES, Duration::ZERO, true)?,
            "cut" => {
                self.chunked(wire, CHUNK_BYTES, Duration::ZERO, false)?;
                return Ok(false);
            }
            "drip" => self.chunked(wire, self.size / 20 + 1, DRIP, true)?,
            "events" => self.events(wire)?,
            "close" => {
                wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")?;
                self.write_body(wire)?;
                return Ok(false);
            }
            "last" => {
                self.plain(wire, "Connection: close\r\n", head)?;
                return Ok(false);
            }
            "short" => {
                let claimed = self.size * 2;
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {claimed}\r\n\r\n"))?;
                self.write_body(wire)?;
                return Ok(false);
            }
            "garbage" => {
                wire.send(b"\x00\xffnot HTTP\r\n\r\n")?;
                return Ok(false);
            }
            "gzip" => {
                let body = self.body().gzip();
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\
                     Content-Length: {}\r\n\r\n",
                    body.len()
                ))?;
                wire.send(body)?;
            }
            "empty" => wire.send("HTTP/1.1 204 No Content\r\n\r\n")?,
            "unchanged" => wire.send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n")?,
            "slow" => {
                thread::sleep(SLOW);
                self.plain(wire, "", head)?;
            }
            _ => self.plain(wire, "", head)?,
        }
        Ok(true)
    }

    /// A body with its length before it; a request's own body is read and thrown away.
    fn plain(&self, wire: &mut Wire, fields: &str, head: &Head) -> io::Result<()> {
        wire.body(head, &mut |_| Ok(()))?;
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}Content-Length: {}\r\n\r\n",
            self.size
        )
        .into_bytes();
        if head.word(0) == "HEAD" {
            return wire.send(answer);
        }
        let mut body = self.body();
        answer.extend_from_slice(body.next(usize::MAX));
        wire.send(answer)?;
        while !body.is_done() {
            wire.send(body.next(usize::MAX))?;
        }
        Ok(())
    }

    fn write_body(&self, wire: &mut Wire) -> io::Result<()> {
        let mut body = self.body();
        while !body.is_done() {
            wire.send(body.next(usize::MAX))?;
        }
        Ok(())
    }

    /// A body in chunks of this size, with the last one or without.
    fn chunked(
        &self,
        wire: &mut Wire,
        size: usize,
        pause: Duration,
        whole: bool,
    ) -> io::Result<()> {
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        let mut body = self.body();
        while !body.is_done() {
            let piece = body.next(size);
            let head = format!("{:x}\r\n", piece.len());
            wire.send([head.as_bytes(), piece, b"\r\n"].concat())?;
            thread::sleep(pause);
        }
        if whole { wire.send("0\r\nX-Checked: yes\r\n\r\n") } else { Ok(()) }
    }

    /// A stream of so many events, each of which has the id.
    fn events(&self, wire: &mut Wire) -> io::Result<()> {
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
        )?;
        for number in 0..self.size {
            let event = event(self.id, number);
            wire.send(format!("{:x}\r\n{event}\r\n", event.len()))?;
            thread::sleep(EVENT);
        }
        wire.send("0\r\n\r\n")
    }

    /// Reads a body, slowly or not, and tells what it thinks of it.
    fn receive(&self, wire: &mut Wire, head: &Head) -> io::Result<()> {
        let mut body = self.body();
        let (mut right, mut length) = (true, 0);
        let mut since_pause = 0;
        wire.body(head, &mut |bytes| {
            right &= body.matches(bytes);
            length += bytes.len();
            since_pause += bytes.len();
            if self.kind == "sip" && since_pause > self.size / 20 {
                since_pause = 0;
                thread::sleep(DRIP);
            }
            Ok(())
        })?;
        let verdict = verdict(length, right && body.is_done());
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{verdict}",
            verdict.len()
        ))
    }
}

/// An event of a stream.
pub(crate) fn event(id: u64, number: usize) -> String {
    format!("id: {number}\ndata: {{\"of\": {id}}}\n\n")
}

/// What the origin says about a body that it was sent.
pub(crate) fn verdict(length: usize, right: bool) -> String {
    format!("{length} bytes, {}", if right { "right" } else { "wrong" })
}
