use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use tempfile::TempDir;

use crate::capture::queue::{FlowReceiver, FlowSender, queue};
use crate::capture::read::Bundle;
use crate::capture::recorder::{Recorder, RecorderConfig, RecorderHandle};
use crate::fault::testing::{
    DEADLINE, FAULTY_HOST, Recorded, ask, config, connect, origin_at, read_head, rest, traces,
};
use crate::flow::control::{ControlError, FlowControl, ResponseEdit, Verdict};
use crate::flow::filter::Filter;
use crate::flow::record::FlowId;
use crate::net::server::{Bound, Server, ServerParts};
use crate::notice::{Notice, Notices};
use crate::options::{Options, SharedOptions};
use crate::proxy::context::DeviceCertificate;
use crate::stats::Stats;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BY_FAULT: &str = "ended by a fault in flowtap: as the test wants it";

/// A proxy that records.
struct Bench {
    server: Server,
    recorder: RecorderHandle,
    stats: Arc<Stats>,
    notices: Receiver<Notice>,
    output: PathBuf,
    _folder: TempDir,
}

fn server(flows: FlowSender, loops: usize, options: Options) -> (Server, Arc<Stats>, Notices) {
    let stats = Arc::new(Stats::default());
    let (notices, _) = Notices::channel(stats.clone());
    start(flows, loops, options, stats, notices)
}

fn start(
    flows: FlowSender,
    loops: usize,
    options: Options,
    stats: Arc<Stats>,
    notices: Notices,
) -> (Server, Arc<Stats>, Notices) {
    crate::fault::install_hook();
    let config = crate::config::Config { loops, ..config("unused".as_ref()) };
    let parts = ServerParts {
        server_tls: None,
        upstream_tls: None,
        certificate: DeviceCertificate::default(),
        // Flows are held only where somebody sees them live.
        flows: None,
        live: Some(flows),
        mcp: None,
        options: Arc::new(SharedOptions::new(options)),
        discovered: None,
        stats: stats.clone(),
        notices: notices.clone(),
    };
    let server = Server::start(&config, Bound::new(config.listen).unwrap(), parts).unwrap();
    (server, stats, notices)
}

impl Bench {
    fn start(loops: usize, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("capture.zip");
        let stats = Arc::new(Stats::default());
        let (notices, taken) = Notices::channel(stats.clone());
        let (sender, flows) = queue();
        let config =
            RecorderConfig { output: output.clone(), app: "test".to_owned(), part_traces: 100 };
        let recorder = Recorder::start(config, flows, stats.clone(), notices.clone()).unwrap();
        let (server, stats, _) = start(sender, loops, options, stats, notices);
        Bench { server, recorder, stats, notices: taken, output, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn ask(&self, origin: SocketAddr, path: &str) -> TcpStream {
        ask(self.address(), origin, path)
    }

    /// The words about the one fault that there was.
    fn fault(&self) -> (String, String) {
        match self.notices.recv_timeout(DEADLINE).unwrap() {
            Notice::Fault { what, fault } => (what, fault.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// What is recorded once it was told to stop, after so many faults, and whether it ended well.
    fn stop(self, faults: u64) -> (Vec<Recorded>, PathBuf, TempDir) {
        assert_eq!(self.stats.faults.get(), faults);
        self.server.stopper().stop(DEADLINE);
        self.server.wait().unwrap();
        assert_eq!(self.stats.connections.get(), 0, "every connection was counted off");
        let summary = self.recorder.finish(&mut |_| ());
        assert_eq!(summary.error, None);
        (traces(&self.output), self.output, self._folder)
    }
}

/// That the loop still serves, on one connection after another.
fn still_serves(bench: &Bench) {
    let origin = origin_at("127.0.0.1", OK);
    for _ in 0..3 {
        let mut client = bench.ask(origin, "/fine");
        assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_fault_ends_its_connection_alone_and_the_flow_says_so() {
    let origin = origin_at("127.0.0.1", OK);
    for place in ["head", "exchange"] {
        let bench = Bench::start(1, Options::default());
        let mut other = bench.ask(origin, "/other");
        assert!(read_head(&mut other).starts_with("HTTP/1.1 200 "));
        let client = bench.ask(origin, &format!("/fault-in-{place}"));
        assert_eq!(rest(client), "");
        let (what, words) = bench.fault();
        assert!(what.contains(", client 127.0.0.1:"), "{what}");
        assert!(words.contains("as the test wants it in"), "{words}");
        assert!(words.contains("src/fault/testing.rs:"), "{words}");
        if place == "exchange" {
            assert!(what.starts_with(&format!("GET http://{origin}, connecting")), "{what}");
        }
        let request = format!("GET http://{origin}/more HTTP/1.1\r\nHost: {origin}\r\n\r\n");
        other.write_all(request.as_bytes()).unwrap();
        still_serves(&bench);
        let (traces, ..) = bench.stop(1);
        let (url, error, _) =
            traces.iter().find(|(url, ..)| url.contains("fault-in")).expect(place);
        assert!(url.ends_with(&format!("/fault-in-{place}")), "{url}");
        assert!(error.as_ref().unwrap().starts_with(BY_FAULT), "{error:?}");
        assert!(traces.len() >= 5, "{place}: {}", traces.len());
    }
}

#[test]
fn what_a_flow_had_before_a_fault_is_recorded() {
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it";
    let origin = origin_at("127.0.0.1", HALF);
    let bench = Bench::start(1, Options::default());
    let mut client = connect(bench.address());
    client
        .write_all(
            format!(
                "POST http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\nContent-Length: 99\r\n\r\n"
            )
            .as_bytes(),
        )
        .unwrap();
    client.write_all(b"an upload").unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    let mut body = [0; 10];
    client.read_exact(&mut body).unwrap();
    client.write_all(b" fault-in-more").unwrap();
    assert_eq!(rest(client), "");
    assert!(bench.fault().0.contains("in the response's body"));
    still_serves(&bench);
    let (traces, ..) = bench.stop(1);
    let (_, error, trace) = traces.iter().find(|(url, ..)| !url.ends_with("/fine")).unwrap();
    assert!(error.as_ref().unwrap().starts_with(BY_FAULT), "{error:?}");
    assert_eq!((trace.response.status, trace.response.body_size), (200, 10));
    assert_eq!(trace.request.body_size, "an upload".len() as u64);
}

#[test]
fn a_fault_in_what_the_server_said_ends_the_exchange() {
    let origin = origin_at("127.0.0.1", "HTTP/1.1 200 OK\r\nX: fault-in-response\r\n\r\n");
    let bench = Bench::start(1, Options::default());
    assert_eq!(rest(bench.ask(origin, "/")), "");
    assert!(bench.fault().0.contains("waiting for the response"));
    still_serves(&bench);
    let (traces, ..) = bench.stop(1);
    let failed = traces.iter().filter(|(_, error, _)| error.is_some());
    assert_eq!(failed.count(), 1);
}

#[test]
fn a_fault_in_connecting_ends_the_connection_that_wanted_it() {
    let origin = origin_at(FAULTY_HOST, OK);
    let bench = Bench::start(1, Options::default());
    assert_eq!(rest(bench.ask(origin, "/")), "");
    assert!(bench.fault().0.contains("connecting to the server"));
    still_serves(&bench);
    let (traces, ..) = bench.stop(1);
    let (_, error, _) = traces.iter().find(|(url, ..)| !url.ends_with("/fine")).unwrap();
    assert!(error.as_ref().unwrap().starts_with(BY_FAULT), "{error:?}");
}

#[test]
fn a_held_flow_is_let_go_by_a_fault() {
    let origin = origin_at("127.0.0.1", OK);
    let intercept = Filter::parse("~q & ~u held").unwrap();
    let bench = Bench::start(1, Options { intercept, ..Options::default() });
    let mut client = bench.ask(origin, "/held");
    let control = bench.server.control();
    let decide = |verdict| control.decide(FlowId(1), verdict);
    // An edit that is refused leaves it held: that tells when it is.
    let end = Instant::now() + DEADLINE;
    let bad = || Verdict::ResumeResponse(ResponseEdit::default());
    while decide(bad()) == Err(ControlError::NotHeld) {
        assert!(Instant::now() < end, "it is never held");
        std::thread::yield_now();
    }
    client.write_all(b"fault-in-more").unwrap();
    assert_eq!(rest(client), "");
    assert!(bench.fault().0.contains("with the request held"));
    assert_eq!(decide(bad()), Err(ControlError::NotHeld));
    still_serves(&bench);
    let (traces, ..) = bench.stop(1);
    assert_eq!(traces.iter().filter(|(_, error, _)| error.is_some()).count(), 1);
}

#[test]
fn a_websocket_ends_with_the_fault_as_its_reason() {
    let origin = origin_at(
        "127.0.0.1",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x01\x02hi",
    );
    let bench = Bench::start(1, Options::default());
    let mut client = connect(bench.address());
    let request = format!(
        "GET http://{origin}/ws HTTP/1.1\r\nHost: {origin}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    client.write_all(request.as_bytes()).unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 101 "));
    client.write_all(b"\x81\x80\0\0\0\0fault-in-relay").unwrap();
    rest(client);
    assert!(bench.fault().0.starts_with("relaying"));
    still_serves(&bench);
    let (_, output, _folder) = bench.stop(1);
    let mut bundle = Bundle::open(&output).unwrap();
    let id = bundle.websocket_ids()[0].clone();
    let error = bundle.websocket(&id).unwrap().error.unwrap();
    assert!(error.starts_with(BY_FAULT), "{error}");
}

#[test]
fn a_loop_that_cannot_go_on_stops_all_and_records_what_was_under_way() {
    let silent = origin_at("127.0.0.1", "");
    let origin = origin_at("127.0.0.1", OK);
    let bench = Bench::start(1, Options::default());
    let waiting = bench.ask(silent, "/waiting");
    let _asked = bench.ask(origin, "/fault-in-loop");
    assert_eq!(rest(waiting), "");
    let Notice::Failed(reason) = bench.notices.recv_timeout(DEADLINE).unwrap() else {
        panic!("the failure comes first")
    };
    assert!(reason.contains("event loop ended by a fault"), "{reason}");
    let Bench { server, recorder, output, stats, .. } = bench;
    assert!(server.wait().unwrap_err().to_string().contains("ended by a fault"));
    assert_eq!((stats.faults.get(), stats.connections.get()), (1, 0));
    let summary = recorder.finish(&mut |_| ());
    assert_eq!(summary.error, None);
    let traces = traces(&output);
    let (_, error, _) = traces.iter().find(|(url, ..)| url.ends_with("/waiting")).unwrap();
    assert!(error.as_ref().unwrap().contains("ended by a fault"), "{error:?}");
    assert!(traces.iter().any(|(url, ..)| url.ends_with("/fault-in-loop")));
}

#[test]
fn a_loop_that_cannot_go_on_takes_the_others_with_it() {
    let origin = origin_at("127.0.0.1", OK);
    let bench = Bench::start(4, Options::default());
    let _asked = bench.ask(origin, "/fault-in-loop");
    let address = bench.address();
    assert!(bench.server.wait().unwrap_err().to_string().contains("ended by a fault"));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    bench.recorder.finish(&mut |_| ());
    assert_eq!(traces(&bench.output).len(), 1);
}

/// Takes one batch and panics.
fn read_badly(flows: &FlowReceiver) {
    while !matches!(flows.try_receive(), crate::capture::queue::Received::Batch(_)) {
        std::thread::yield_now();
    }
    panic!("a reader with a fault");
}

#[test]
fn a_server_whose_flows_nobody_takes_any_more_stops_by_itself() {
    let (sender, flows) = queue();
    let (server, ..) = server(sender, 2, Options::default());
    let reader = std::thread::spawn(move || {
        crate::fault::watch_thread();
        read_badly(&flows);
    });
    let origin = origin_at("127.0.0.1", OK);
    let address = server.address();
    read_head(&mut ask(address, origin, "/1"));
    reader.join().unwrap_err();
    read_head(&mut ask(address, origin, "/2"));
    let reason = server.wait().unwrap_err().to_string();
    assert!(reason.contains("what reads flows has ended"), "{reason}");
}
