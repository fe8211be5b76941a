//! Faults on purpose, in unit tests alone: data that names a place makes a panic there. And what
//! tests of faults need: an origin, a client, settings, the traces of a bundle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::capture::read::{Bundle, Trace};
use crate::config::{Config, HostRules, Terminal};
use crate::options::Options;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Dialling it makes a panic.
pub(crate) const FAULTY_HOST: &str = "127.0.0.77";

/// Panics if `data` holds `fault-in-<place>`.
pub(crate) fn fault_in(place: &str, data: &[u8]) {
    let wanted = format!("fault-in-{place}");
    if data.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
        panic!("as the test wants it in {place}");
    }
}

/// Panics if this is [`FAULTY_HOST`].
pub(crate) fn fault_at(host: &str) {
    assert!(host != FAULTY_HOST, "as the test wants it at the host");
}

/// Settings of a proxy that captures into a folder.
pub(crate) fn config(folder: &Path) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        output: Some(folder.join("capture.zip")),
        app: "test".to_owned(),
        hosts: HostRules::default(),
        confdir: folder.join("conf"),
        confdir_given: true,
        ca: None,
        insecure_upstream: true,
        upstreams: Default::default(),
        upstream_ca: Vec::new(),
        upstream_lines: Vec::new(),
        loops: 2,
        part_traces: 100,
        mcp: None,
        max_flows: 100,
        options: Options::default(),
        terminal: Terminal::default(),
        qr: false,
    }
}

/// Listens at this address and answers every head with `reply` until the proxy closes.
pub(crate) fn origin_at(address: &str, reply: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut stream = stream;
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                while read_head(&mut stream).ends_with("\r\n\r\n") {
                    let _ = stream.write_all(reply.as_bytes());
                }
            });
        }
    });
    address
}

/// A head up to its blank line, or what came before an early end.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A connection with a deadline.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends a request through a proxy.
pub(crate) fn ask(proxy: SocketAddr, origin: SocketAddr, path: &str) -> TcpStream {
    let mut client = connect(proxy);
    let request = format!("GET http://{origin}{path} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    client
}

/// What still comes on a connection until it closes, in whatever way.
pub(crate) fn rest(mut client: TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = client.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A trace of a bundle: its URL, its error, all of it.
pub(crate) type Recorded = (String, Option<String>, Trace);

/// The traces of a bundle that keeps to its format.
pub(crate) fn traces(bundle: &Path) -> Vec<Recorded> {
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check_bundle.py");
    let output = Command::new("python3").arg(checker).arg(bundle).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut bundle = Bundle::open(bundle).unwrap();
    let ids = bundle.trace_ids().to_vec();
    let traces = ids.iter().map(|id| bundle.trace(id).unwrap());
    traces.map(|trace| (trace.request.url.clone(), trace.error.clone(), trace)).collect()
}
