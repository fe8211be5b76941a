//! Hostile requests: what the server gets of them, and what the client is told.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::corpus::{Case, Fate, Words, cases};
use crate::delivery::{Delivery, is_long};
use crate::reader::{Liberties, Message, Rest, liberal_readers, requests, response};
use crate::server::Recorder;
use crate::support::client::{Client, End};
use crate::support::flowtap::Flowtap;
use crate::support::tls::{certificate_in, client_config};

const CORPUS: &str = include_str!("requests.txt");

/// What is asked for behind each case on the same connection.
const MARKER: &str = "GET {url}/marker HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n";
/// What is asked for by another client once a message was cut.
const AFTER: &str = "GET {url}/after HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n";

/// How the client reaches the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Tunnel,
}

/// The proxy, a server behind it, and how both are reached.
struct Stage {
    mode: Mode,
    tap: Flowtap,
    server: Recorder,
    trust: std::sync::Arc<rustls::ClientConfig>,
    /// What the capture must hold: for each exchange its case, and whether it failed.
    expected: Vec<(String, bool)>,
    /// Connections to the server below this number were closed by the proxy in a message, or should
    /// have been: what came on them, which may be read only later.
    cut_below: usize,
    cut: BTreeMap<usize, Vec<u8>>,
}

impl Stage {
    fn new(mode: Mode) -> Self {
        let tap = Flowtap::start(&["--loops", "1"]);
        let trust = client_config(certificate_in(&tap.ca_file()));
        let server = Recorder::start(mode == Mode::Tunnel);
        let (expected, cut) = (Vec::new(), BTreeMap::new());
        Stage { mode, tap, server, trust, expected, cut_below: 0, cut }
    }

    fn connect(&self) -> Client {
        match self.mode {
            Mode::Plain => Client::connect(self.tap.addr),
            Mode::Tunnel => {
                let port = self.server.addr.port();
                Client::tls_with(&self.tap, "localhost", port, self.trust.clone()).unwrap().0
            }
        }
    }

    fn host(&self) -> String {
        match self.mode {
            Mode::Plain => self.server.addr.to_string(),
            Mode::Tunnel => format!("localhost:{}", self.server.addr.port()),
        }
    }

    /// Sends all of it, and gets all that comes until the proxy closes.
    fn exchange(&self, bytes: &[u8], delivery: Delivery, refused: bool) -> (Vec<u8>, End) {
        let mut client = self.connect();
        delivery.send(&mut client, self.tap.addr, bytes);
        if !refused {
            // The proxy closes when all is answered, and would wait for more.
            match self.mode {
                Mode::Plain => client.finish(),
                Mode::Tunnel => client.end_tls(),
            }
        }
        client.ending()
    }

    /// What the server got since the last call, on connections that were not cut.
    fn news(&mut self) -> Vec<u8> {
        let (late, news): (Vec<_>, Vec<_>) =
            self.server.news().into_iter().partition(|(number, _)| *number < self.cut_below);
        self.take_cut(late);
        news.into_iter().flat_map(|(_, bytes)| bytes).collect()
    }

    fn take_cut(&mut self, pieces: Vec<(usize, Vec<u8>)>) {
        for (number, bytes) in pieces {
            let cut = self.cut.entry(number).or_default();
            cut.extend(bytes);
            assert_only_a_beginning(("cut", number), cut);
        }
    }

    /// Asks for something else once a message was cut: that goes to the server on a connection of
    /// its own, or on one that nothing of that message came on. All connections before it are over.
    fn cut(&mut self, case: &Case, words: &Words<'_>) {
        let what = (&case.name, self.mode, "the request behind");
        let sent = words.bytes(AFTER, false);
        let (got, end) = self.exchange(&sent, Delivery::Whole, false);
        assert_eq!(end, End::Clean, "{what:?}: {}", show(&got));
        let behind = assert_answers(what, &got, &requests(&sent, Liberties::default()).0);
        assert!(behind.is_empty(), "{what:?}: and {}", show(behind));
        let whole = words.bytes(AFTER, true);
        let mut news = self.server.news();
        let own = news.iter().position(|(_, bytes)| *bytes == whole);
        let own = own.unwrap_or_else(|| panic!("{what:?}: it did not come alone: {news:?}"));
        let (number, _) = news.remove(own);
        assert!(news.iter().all(|piece| piece.0 < number), "{what:?}: {number} in {news:?}");
        self.cut_below = number;
        self.take_cut(news);
        self.expected.push((case.name.clone(), false));
    }
}

pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.iter().take(4_000).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}

fn assert_same(what: impl Debug, got: &[u8], expected: &[u8]) {
    assert!(got == expected, "{what:?}\n got      {}\n expected {}", show(got), show(expected));
}

/// Plays all cases for this mode whose number gives a delivery.
fn play(mode: Mode, delivery: impl Fn(usize) -> Option<Delivery>) {
    let mut stage = Stage::new(mode);
    let host = stage.host();
    let url = if mode == Mode::Plain { format!("http://{host}") } else { String::new() };
    let words = Words::new(&url, &host);
    let wanted = format!("{mode:?}").to_ascii_lowercase();
    let mut failed = Vec::new();
    for (number, case) in cases(CORPUS).iter().enumerate() {
        let fits = case.only.as_ref().is_none_or(|only| *only == wanted);
        if let Some(delivery) = delivery(number).filter(|_| fits) {
            let play = || play_case(&mut stage, case, &words, delivery);
            if catch_unwind(AssertUnwindSafe(play)).is_err() {
                failed.push(case.name.clone());
            }
        }
    }
    assert!(failed.is_empty(), "{mode:?}: {failed:?}");
    assert!(stage.news().is_empty(), "something came late");
    let mut traces = stage.tap.stop().bundle.traces();
    traces.sort_by_key(|trace| trace["flow"].as_u64());
    for (trace, (case, fails)) in traces.iter().zip(&stage.expected) {
        assert_eq!(trace["error"].is_string(), *fails, "{mode:?} {case}: {trace}");
    }
    assert_eq!(traces.len(), stage.expected.len(), "exchanges in the capture");
}

fn play_case(stage: &mut Stage, case: &Case, words: &Words<'_>, delivery: Delivery) {
    let what = (&case.name, stage.mode, delivery);
    let mut sent = words.bytes(&case.sent, false);
    sent.extend(words.bytes(MARKER, false));
    let refused = !matches!(case.fate, Fate::Passed { then: None });
    let (got, end) = stage.exchange(&sent, delivery, refused);
    assert_eq!(end, End::Clean, "{what:?}: {}", show(&got));
    let news = stage.news();
    let (view, rest) = requests(&sent, Liberties::default());
    match case.fate {
        Fate::Refused { status, valid } => {
            assert!(valid || view.is_empty(), "{what:?}: a strict reader takes it: {view:?}");
            assert!(valid || matches!(rest, Rest::Invalid(_)), "{what:?}: {rest:?}");
            assert!(news.is_empty(), "{what:?}: the server got {}", show(&news));
            assert_refusal(what, &got, status);
        }
        Fate::Cut { status, valid } => {
            assert!(valid || matches!(rest, Rest::Invalid(_)), "{what:?}: {rest:?}");
            assert!(valid || view.is_empty(), "{what:?}: a strict reader takes it: {view:?}");
            assert_only_a_beginning(what, &news);
            assert_refusal(what, &got, status);
        }
        Fate::Passed { then } => {
            let mut expected = words.bytes(case.got.as_ref().unwrap(), true);
            if then.is_none() && !case.closes {
                expected.extend(words.bytes(MARKER, true));
            }
            assert_same((what, "to the server"), &news, &expected);
            let count = assert_one_view(what, &sent, &expected, case);
            let behind = assert_answers(what, &got, &view[..count]);
            match then {
                Some(status) => assert_refusal(what, behind, status),
                None => assert!(behind.is_empty(), "{what:?}: and {}", show(behind)),
            }
            // The bundle leaves OPTIONS out.
            let shown = view[..count].iter().filter(|it| !it.start.starts_with(b"OPTIONS "));
            stage.expected.extend(shown.map(|_| (case.name.clone(), false)));
        }
        Fate::Broken => unreachable!("a fate of responses"),
    }
    if refused {
        stage.expected.push((case.name.clone(), true));
    }
    if matches!(case.fate, Fate::Cut { .. }) {
        stage.cut(case, words);
    }
}

/// One answer by the proxy itself, and nothing else.
fn assert_refusal(what: impl Debug, got: &[u8], status: u16) {
    let (messages, rest, length) = response(got, "POST", true);
    assert_eq!((messages.len(), rest), (1, Rest::Nothing), "{what:?}: {}", show(got));
    assert_eq!(length, got.len(), "{what:?}: more than one answer: {}", show(got));
    let start = format!("HTTP/1.1 {status} ");
    assert!(messages[0].start.starts_with(start.as_bytes()), "{what:?}: {}", show(got));
    assert!(messages[0].body.starts_with(b"flowtap: "), "{what:?}: {}", show(got));
}

/// What the server got of a message that was refused under way is whole to no reader.
fn assert_only_a_beginning(what: impl Debug, bytes: &[u8]) {
    let strict = [Liberties::default()];
    for liberties in strict.into_iter().chain(liberal_readers()) {
        let (messages, rest) = requests(bytes, liberties);
        assert!(messages.is_empty(), "{what:?}: {liberties:?} sees {messages:?}");
        assert!(!matches!(rest, Rest::Invalid(_)), "{what:?}: {liberties:?}: {rest:?}");
    }
}

/// The strict reader of what the client sent, and all readers of what the server got, see the same
/// messages. How many that are.
fn assert_one_view(what: impl Debug, sent: &[u8], outgoing: &[u8], case: &Case) -> usize {
    let (view, rest) = requests(sent, Liberties::default());
    let (messages, left) = requests(outgoing, Liberties::default());
    assert_eq!(left, Rest::Nothing, "{what:?}: {}", show(outgoing));
    let whole = view.get(..messages.len()).unwrap_or_default();
    let in_view: Vec<_> = whole.iter().map(by_path).collect();
    let passed: Vec<_> = messages.iter().map(by_path).collect();
    assert_eq!(passed, in_view, "{what:?}");
    let ends = case.closes || matches!(case.fate, Fate::Passed { then: Some(_) });
    assert!(ends || (view.len() == messages.len() && rest == Rest::Nothing), "{what:?}: {rest:?}");
    for liberties in liberal_readers() {
        let (others, left) = requests(outgoing, liberties);
        assert_eq!((others, left), (messages.clone(), Rest::Nothing), "{what:?}: {liberties:?}");
    }
    messages.len()
}

/// A message with its target in origin form and its version left out.
fn by_path(message: &Message) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut parts = message.start.split(|&byte| byte == b' ');
    let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
    let path = match target.strip_prefix(b"http://") {
        None => target,
        Some(rest) => match rest.iter().position(|&byte| byte == b'/') {
            Some(at) => &rest[at..],
            None => b"*",
        },
    };
    (method.to_vec(), path.to_vec(), message.body.clone())
}

/// The server's answers to these requests, in order; what comes behind them.
fn assert_answers<'a>(what: impl Debug, mut got: &'a [u8], asked: &[Message]) -> &'a [u8] {
    for request in asked {
        let method = request.start.split(|&byte| byte == b' ').next().unwrap();
        let method = String::from_utf8_lossy(method).into_owned();
        let (messages, rest, length) = response(got, &method, false);
        assert_eq!((messages.len(), rest), (1, Rest::Nothing), "{what:?}: {}", show(got));
        assert_eq!(messages[0].start, b"HTTP/1.1 200 OK", "{what:?}: {}", show(got));
        let body: &[u8] = if method == "HEAD" { b"" } else { b"ok" };
        assert_eq!(messages[0].body, body, "{what:?}");
        got = &got[length..];
    }
    got
}

/// Each case is cut at a place of its own; in the short form only some are.
fn in_two(mode: Mode) {
    let (rounds, each) = if is_long() { (16, 1) } else { (1, 16) };
    for round in 0..rounds {
        let split = |number: usize| Delivery::Split(number + 1_009 * round);
        play(mode, |number| Some(split(number)).filter(|_| number % each == 0));
    }
}

#[test]
fn there_are_enough_cases() {
    assert!(cases(CORPUS).len() >= 150);
}

#[test]
fn in_clear_whole() {
    play(Mode::Plain, |_| Some(Delivery::Whole));
}

#[test]
fn in_clear_byte_by_byte() {
    play(Mode::Plain, |_| Some(Delivery::Bytes));
}

#[test]
fn in_clear_in_two() {
    in_two(Mode::Plain);
}

#[test]
fn in_a_tunnel_whole() {
    play(Mode::Tunnel, |_| Some(Delivery::Whole));
}

#[test]
fn in_a_tunnel_byte_by_byte() {
    play(Mode::Tunnel, |_| Some(Delivery::Bytes));
}

#[test]
fn in_a_tunnel_in_two() {
    in_two(Mode::Tunnel);
}
