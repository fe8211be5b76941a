//! What MCP costs the traffic.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bench::{Bench, Cost, median, print_row};
use crate::scenarios::KEEP_ALIVE;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::head::head_end;

/// How often an agent lists flows.
const PERIOD: Duration = Duration::from_millis(100);
/// Requests in each measurement.
const REQUESTS: u64 = 60_000;
/// Rounds of the comparison.
const ROUNDS: u64 = 7;

/// One measurement of the comparison.
struct Round {
    cpu_us: f64,
    a_second: f64,
}

/// Measures in turn, without the threads that write the bundle, with MCP and an agent and without,
/// and prints the medians and the medians of the ratios within the rounds: machines drift, and what
/// is measured at the same time can be compared.
pub(crate) fn compare(bench: &Bench) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let rounds = bench.scaled(ROUNDS);
    for round in 0..rounds {
        // Neither is always the first.
        for turn in 0..2 {
            let mcp = (round + turn) % 2 == 0;
            let cost = measure(bench, mcp, usize::from(mcp)).0;
            let round =
                Round { cpu_us: cost.each_us(cost.cpu().traffic()), a_second: cost.a_second };
            if mcp { with.push(round) } else { without.push(round) }
        }
    }
    let ratio = |of: fn(&Round) -> f64| {
        median(with.iter().zip(&without).map(|(with, without)| of(with) / of(without)).collect())
    };
    let about = "intercepted, keep-alive, 100 B; MCP";
    let count = bench.scaled(REQUESTS);
    for (what, rounds) in [("off", &without), ("on, flows listed every 100 ms", &with)] {
        println!(
            "| {about} {what} | on | {count} | {:.0} | {:.1} µs | | | | | | without the writers |",
            median(rounds.iter().map(|round| round.a_second).collect()),
            median(rounds.iter().map(|round| round.cpu_us).collect()),
        );
    }
    println!(
        "| MCP on against off, median of {rounds} rounds | | | ×{:.3} | ×{:.3} | | | | | | |",
        ratio(|round| round.a_second),
        ratio(|round| round.cpu_us),
    );
}

/// With more agents.
pub(crate) fn several(bench: &Bench) {
    for agents in [0, 1, 8] {
        let (cost, flowtap) = measure(bench, true, agents);
        let about = format!("intercepted, keep-alive, 100 B; agents that list flows: {agents}");
        print_row(&about, true, &cost, Some(flowtap.stop().cpu), "");
    }
}

fn measure(bench: &Bench, mcp: bool, agents: usize) -> (Cost, Flowtap) {
    let flowtap = bench.start(&Setup { mcp, ..bench.setup(true) });
    let mut load = bench.load(&flowtap, true, KEEP_ALIVE);
    let done = AtomicBool::new(false);
    let cost = thread::scope(|scope| {
        if let Some(address) = flowtap.mcp {
            let done = &done;
            for _ in 0..agents {
                scope.spawn(move || list_flows(address, done));
            }
        }
        let cost = bench.measure(&flowtap, &mut load, REQUESTS);
        done.store(true, Ordering::Relaxed);
        cost
    });
    (cost, flowtap)
}

/// Lists the newest flows every [`PERIOD`].
fn list_flows(address: SocketAddr, done: &AtomicBool) {
    let mut stream = TcpStream::connect(address).expect("MCP listens");
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"get_flows","arguments":{{}},"_meta":{meta}}}}}"#
    );
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: get_flows\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (mut answer, mut scratch) = (Vec::new(), vec![0; 64 * 1024]);
    while !done.load(Ordering::Relaxed) {
        stream.write_all(request.as_bytes()).expect("MCP reads");
        answer.clear();
        while !is_whole(&answer) {
            let read = stream.read(&mut scratch).expect("an answer");
            assert!(read > 0, "MCP closed the connection");
            answer.extend_from_slice(&scratch[..read]);
        }
        thread::sleep(PERIOD);
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = head_end(answer) else { return false };
    let head = String::from_utf8_lossy(&answer[..end]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    answer.len() >= end + length.and_then(|it| it.parse::<usize>().ok()).expect("its length")
}
