//! What MCP costs the traffic: rounds with an agent that lists flows, and without MCP, in turn.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::flowtap::Flowtap;
use crate::load::{Load, Target};
use crate::origin::{Origins, read_head};
use crate::{CONNECTIONS, Scenario, TIME_MAX};

/// How often the agent lists flows.
const PERIOD: Duration = Duration::from_millis(100);

/// One measurement.
struct Cost {
    cpu_us: f64,
    a_second: f64,
}

/// Measures in turn, without the threads that write the bundle, with and without MCP, and prints the medians and the medians of the ratios
/// within the rounds: machines drift, and what is measured at the same time can be compared.
pub(crate) fn compare(scenario: &Scenario, count: u64, rounds: u32, origins: &Origins) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Neither is always the first.
        for turn in 0..2 {
            let mcp = (round + turn) % 2 == 0;
            let cost = measure(scenario, count, mcp, origins);
            if mcp { with.push(cost) } else { without.push(cost) }
        }
    }
    let ratio = |of: fn(&Cost) -> f64| {
        median(with.iter().zip(&without).map(|(with, without)| of(with) / of(without)).collect())
    };
    for (what, costs) in [("off", &without), ("on, flows listed every 100 ms", &with)] {
        println!(
            "| {}, MCP {what} | on | {count} | {:.0} | {:.1} µs | | |",
            scenario.about,
            median(costs.iter().map(|cost| cost.a_second).collect()),
            median(costs.iter().map(|cost| cost.cpu_us).collect()),
        );
    }
    println!(
        "| MCP on against off, median of {rounds} rounds | | | ×{:.3} | ×{:.3} | | |",
        ratio(|cost| cost.a_second),
        ratio(|cost| cost.cpu_us),
    );
}

fn measure(scenario: &Scenario, count: u64, mcp: bool, origins: &Origins) -> Cost {
    let flowtap = Flowtap::start(true, mcp, &origins.certificate_pem);
    let target = Target::new(&flowtap, scenario.secure, origins.port(scenario.secure));
    Load::new(&target, scenario.path, CONNECTIONS).run(2_000, TIME_MAX, false);
    let done = AtomicBool::new(false);
    let cost = thread::scope(|scope| {
        if let Some(address) = flowtap.mcp {
            let done = &done;
            scope.spawn(move || list_flows(address, done));
        }
        let cpu = flowtap.cpu_of_traffic();
        let start = Instant::now();
        let load = Load::new(&target, scenario.path, CONNECTIONS);
        let requests = load.run(count, TIME_MAX, false) as f64;
        let cost = Cost {
            cpu_us: flowtap.cpu_of_traffic().saturating_sub(cpu).as_secs_f64() * 1e6 / requests,
            a_second: requests / start.elapsed().as_secs_f64(),
        };
        done.store(true, Ordering::Relaxed);
        cost
    });
    flowtap.stop();
    cost
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
    let mut buffer = Vec::new();
    while !done.load(Ordering::Relaxed) {
        stream.write_all(request.as_bytes()).expect("MCP reads");
        buffer.clear();
        let end = read_head(&mut stream, &mut buffer).expect("an answer").expect("an answer");
        let head = String::from_utf8_lossy(&buffer[..end]);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.and_then(|it| it.parse().ok()).expect("its length");
        let mut rest = vec![0; (end + length).saturating_sub(buffer.len())];
        stream.read_exact(&mut rest).expect("the rest of it");
        thread::sleep(PERIOD);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
