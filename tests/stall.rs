//! A recorder that is behind all the time slows the traffic down and stops none of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use flowtap::capture::entry::take_ended;
use flowtap::capture::queue::{FlowReceiver, Received, queue_with_bounds};
use flowtap::config::{Config, Terminal};
use flowtap::flow::record::FlowEvent;
use flowtap::hosts::HostRules;
use flowtap::net::server::{Bound, Server, ServerParts};
use flowtap::notice::Notices;
use flowtap::options::{Options, SharedOptions};
use flowtap::proxy::context::DeviceCertificate;
use flowtap::stats::Stats;

const CLIENTS: usize = 24;
const BODY_BYTES: usize = 2 * 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(60);

/// Answers one request on each connection with a body of [`BODY_BYTES`].
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.extend_from_slice(&byte);
                }
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
                stream.write_all(&vec![b'x'; BODY_BYTES]).unwrap();
                // The proxy ends the connection, or keeps it until it stops.
                let _ = stream.read(&mut [0]);
            });
        }
    });
    address
}

fn server(flows: flowtap::capture::queue::FlowSender) -> Server {
    let stats = Arc::new(Stats::default());
    let (notices, _) = Notices::channel(stats.clone());
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        output: None,
        app: String::new(),
        hosts: HostRules::default(),
        confdir: "unused".into(),
        confdir_given: true,
        ca: None,
        insecure_upstream: false,
        upstreams: Default::default(),
        upstream_ca: Vec::new(),
        upstream_lines: Vec::new(),
        loops: 1,
        part_traces: 1,
        mcp: None,
        max_flows: 1,
        options: Options::default(),
        terminal: Terminal::default(),
        qr: false,
    };
    let parts = ServerParts {
        server_tls: None,
        upstream_tls: None,
        certificate: DeviceCertificate::default(),
        flows: Some(flows),
        live: None,
        mcp: None,
        options: Arc::new(SharedOptions::new(Options::default())),
        discovered: None,
        stats,
        notices,
    };
    Server::start(&config, Bound::new(config.listen).unwrap(), parts).unwrap()
}

/// Takes everything until the loops are gone: the bytes of response bodies, and the exchanges.
fn drain(receiver: &FlowReceiver) -> (usize, usize) {
    let (mut bytes, mut exchanges) = (0, 0);
    let (watch, mut took) = (receiver.watch(), true);
    loop {
        match receiver.try_receive() {
            Received::Batch(batch) => {
                took = true;
                for event in batch {
                    match event {
                        FlowEvent::Body(block) => bytes += block.data.len(),
                        FlowEvent::Exchange(exchange) => {
                            exchanges += 1;
                            bytes +=
                                take_ended(&exchange).unwrap().response.unwrap().body.tail.len();
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            Received::Closed => return (bytes, exchanges),
            Received::Nothing => {
                assert!(took, "nothing was recorded for a long time");
                took = false;
                watch.gather(false, Duration::ZERO, DEADLINE);
            }
        }
    }
}

#[test]
fn all_downloads_end_though_the_queue_is_full_again_and_again() {
    // Any second batch finds the queue full.
    let (sender, receiver) = queue_with_bounds(1, 1);
    let server = server(sender);
    let proxy = server.address();
    let origin = origin();
    let recorder = thread::spawn(move || drain(&receiver));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(proxy).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let request = format!(
                    "GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(request.as_bytes()).unwrap();
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                got.iter().filter(|byte| **byte == b'x').count()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), BODY_BYTES);
    }
    server.stopper().stop(Duration::ZERO);
    server.wait().unwrap();
    assert_eq!(recorder.join().unwrap(), (CLIENTS * BODY_BYTES, CLIENTS));
}
