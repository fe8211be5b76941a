//! Hostile responses: what the client gets of them, and what becomes of the server's connection.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::corpus::{Case, Fate, Then, Words, cases};
use crate::reader::{Rest, response};
use crate::requests::{Mode, show};
use crate::support::client::{Client, End};
use crate::support::flowtap::Flowtap;
use crate::support::origin::{Accepted, Origin};
use crate::support::tls::{certificate_in, client_config, test_ca};
use crate::support::{DEADLINE, read_head};

const CORPUS: &str = include_str!("responses.txt");
const MARKER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmarker";
/// The marker as the client gets it: the last that it asks for.
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nmarker";

impl Case {
    /// Whether the server's connection must not be used again.
    fn ends_upstream(&self) -> bool {
        self.drops || !matches!(self.fate, Fate::Passed { then: None })
    }

    fn fails(&self) -> bool {
        !matches!(self.fate, Fate::Passed { then: None })
    }
}

/// What the proxy did with a connection that it must not use again: the case, and whether it was
/// closed before another request came.
type Told = (usize, bool);

/// Answers requests for /N with case N and others with the marker.
/// A reset waits for `go`.
fn serve(
    stream: &mut Accepted,
    (mode, bytewise): (Mode, bool),
    told: &Sender<Told>,
    go: &crossbeam_channel::Receiver<()>,
) {
    loop {
        let head = read_head(stream);
        let head = String::from_utf8_lossy(&head).into_owned();
        if !head.ends_with("\r\n\r\n") {
            return;
        }
        let path = head.split([' ', '/']).nth(2).unwrap();
        let Ok(number) = path.parse::<usize>() else {
            stream.say(MARKER);
            continue;
        };
        let case = &cases(CORPUS)[number];
        let bytes = Words::new("", "").bytes(&case.sent, false);
        let single = if bytewise && bytes.len() < 2_000 { single_bytes(case, &bytes) } else { 0 };
        let (first, rest) = bytes.split_at(single);
        first.chunks(1).for_each(|byte| stream.say(byte));
        stream.say(rest);
        match (case.then, mode) {
            (Then::Keeps, _) => {}
            (Then::Closes, _) => {
                stream.stream.end();
                stream.finish();
            }
            (Then::Cuts, Mode::Tunnel) => stream.finish(),
            (Then::Cuts, Mode::Plain) => {
                if case.fate == Fate::Broken {
                    // A reset takes along what was not read yet.
                    go.recv_timeout(DEADLINE).unwrap();
                }
                stream.reset();
                let _ = told.send((number, true));
                return;
            }
        }
        if case.ends_upstream() || case.then != Then::Keeps {
            let mut more = [0];
            let closed = !matches!(stream.read(&mut more), Ok(1..));
            let _ = told.send((number, closed));
            return;
        }
    }
}

/// How many of the bytes may come one by one. What follows a whole answer comes with its last byte:
/// had it come later, the connection could have been given to the next request in between.
fn single_bytes(case: &Case, bytes: &[u8]) -> usize {
    if !case.drops {
        return bytes.len();
    }
    let passed = Words::new("", "").bytes(case.got.as_ref().unwrap_or(&case.sent), false);
    let same = passed.iter().zip(bytes).take_while(|(one, other)| one == other).count();
    same.saturating_sub(1)
}

struct Stage {
    mode: Mode,
    tap: Flowtap,
    origin: Origin,
    told: Receiver<Told>,
    go: crossbeam_channel::Sender<()>,
    trust: std::sync::Arc<rustls::ClientConfig>,
}

impl Stage {
    fn new(mode: Mode, bytewise: bool) -> Self {
        let tap = Flowtap::start(&["--loops", "1"]);
        let trust = client_config(certificate_in(&tap.ca_file()));
        let (sender, told) = channel();
        let sender = Mutex::new(sender);
        let (go, wait) = crossbeam_channel::unbounded();
        let script = move |_, stream: &mut Accepted| {
            let sender = sender.lock().unwrap().clone();
            serve(stream, (mode, bytewise), &sender, &wait);
        };
        let origin = match mode {
            Mode::Plain => Origin::start(script),
            Mode::Tunnel => Origin::tls(test_ca().server(&["localhost"]), script),
        };
        Stage { mode, tap, origin, told, go, trust }
    }

    /// Asks for these paths on one connection; all that comes. With `reset` the server resets its
    /// connection when a head and two bytes have come.
    fn ask(&self, requests: &[String], reset: bool) -> (Vec<u8>, End) {
        let port = self.origin.addr.port();
        let mut client = match self.mode {
            Mode::Plain => Client::connect(self.tap.addr),
            Mode::Tunnel => {
                Client::tls_with(&self.tap, "localhost", port, self.trust.clone()).unwrap().0
            }
        };
        client.send(requests.concat());
        let mut got = Vec::new();
        if reset {
            got.extend(client.head().into_bytes());
            got.extend(client.take(2));
            self.go.send(()).unwrap();
        }
        let (rest, end) = client.ending();
        got.extend(rest);
        (got, end)
    }

    fn request(&self, asks: &str, path: &str) -> String {
        let addr = self.origin.addr;
        let url = if self.mode == Mode::Plain { format!("http://{addr}") } else { String::new() };
        let (method, version, more) = match asks {
            "HEAD" => ("HEAD", "1.1", ""),
            "1.0" => ("GET", "1.0", ""),
            "last" => ("GET", "1.1", "Connection: close\r\n"),
            "upgrade" => ("GET", "1.1", "Upgrade: x\r\nConnection: Upgrade\r\n"),
            _ => ("GET", "1.1", ""),
        };
        format!("{method} {url}/{path} HTTP/{version}\r\nHost: {addr}\r\n{more}\r\n")
    }
}

fn play(mode: Mode, bytewise: bool) {
    let stage = Stage::new(mode, bytewise);
    let mut expected = Vec::new();
    let mut failed = Vec::new();
    for (number, case) in cases(CORPUS).iter().enumerate() {
        let play = || play_case(&stage, number, case);
        if catch_unwind(AssertUnwindSafe(play)).is_err() {
            failed.push(case.name.clone());
        }
        expected.push((case.name.clone(), case.fails()));
        let followed = case.fate != Fate::Broken && !case.closes && case.asks != "1.0";
        expected.extend(vec![("a marker".to_owned(), false); 1 + usize::from(followed)]);
    }
    assert!(failed.is_empty(), "{mode:?}: {failed:?}");
    let mut traces = stage.tap.stop().bundle.traces();
    traces.sort_by_key(|trace| trace["flow"].as_u64());
    for (trace, (case, fails)) in traces.iter().zip(&expected) {
        assert_eq!(trace["error"].is_string(), *fails, "{mode:?} {case}: {trace}");
    }
    assert_eq!(traces.len(), expected.len(), "exchanges in the capture");
}

fn play_case(stage: &Stage, number: usize, case: &Case) {
    let what = (&case.name, stage.mode);
    let marker = stage.request("last", "marker");
    let asked = stage.request(&case.asks, &number.to_string());
    let reset = case.then == Then::Cuts && case.fate == Fate::Broken && stage.mode == Mode::Plain;
    let (got, end) = stage.ask(&[asked, marker.clone()], reset);
    let shown = show(&got);
    let method = if case.asks == "HEAD" { "HEAD" } else { "GET" };
    let words = Words::new("", "");
    let behind = match case.fate {
        Fate::Refused { status, .. } => own_answer(&got, status, method, &shown, what),
        Fate::Passed { then } => {
            let passed = words.bytes(case.got.as_ref().unwrap_or(&case.sent), false);
            let Some(rest) = got.strip_prefix(passed.as_slice()) else {
                panic!("{what:?}: got {shown}, not {}", show(&passed));
            };
            match then {
                Some(status) => own_answer(rest, status, method, &shown, what),
                None => rest,
            }
        }
        Fate::Broken => {
            let ended = end == End::Clean;
            let (messages, rest, _) = response(&got, method, ended);
            assert!(messages.is_empty() && rest == Rest::Incomplete, "{what:?}: {end:?} {shown}");
            assert!(!shown.contains("marker"), "{what:?}: {shown}");
            LAST
        }
        Fate::Cut { .. } => unreachable!("a fate of requests"),
    };
    let ends = case.closes || case.asks == "1.0";
    let follows: &[u8] = if ends && case.fate != Fate::Broken { b"" } else { LAST };
    assert_eq!(show(behind), show(follows), "{what:?}: {shown}");
    assert!(case.fate == Fate::Broken || end == End::Clean, "{what:?}: {end:?} {shown}");
    let other = stage.ask(&[marker], false);
    assert_eq!((show(&other.0), other.1), (show(LAST), End::Clean), "behind {what:?}");
    if case.ends_upstream() || case.then != Then::Keeps {
        let told = stage.told.recv_timeout(DEADLINE).unwrap();
        assert_eq!(told, (number, true), "{what:?}: the server's connection");
    }
}

/// Checks that the proxy itself answers with `status`; what comes behind it.
fn own_answer<'a>(
    got: &'a [u8],
    status: u16,
    method: &str,
    shown: &str,
    what: (&String, Mode),
) -> &'a [u8] {
    let (messages, rest, length) = response(got, method, false);
    assert!(rest == Rest::Nothing && messages.len() == 1, "{what:?}: {shown}");
    let start = format!("HTTP/1.1 {status} ");
    assert!(messages[0].start.starts_with(start.as_bytes()), "{what:?}: {shown}");
    &got[length..]
}

#[test]
fn in_clear_whole() {
    play(Mode::Plain, false);
}

#[test]
fn in_clear_byte_by_byte() {
    play(Mode::Plain, true);
}

#[test]
fn in_a_tunnel_whole() {
    play(Mode::Tunnel, false);
}

#[test]
fn in_a_tunnel_byte_by_byte() {
    play(Mode::Tunnel, true);
}
