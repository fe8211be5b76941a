//! What a request costs: CPU time and memory of a running flowtap under load over loopback.
//!
//! `cargo bench --bench throughput -- [SCENARIO]… [--quick]` prints a Markdown table. The CPU time
//! is flowtap's own (user and system), so the cost of the load generator and of the origin in this
//! process is not in it. Linux only: it reads `/proc`.

// A benchmark that cannot run ends with a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod flowtap;
mod load;
mod origin;

use std::time::{Duration, Instant};

use flowtap::Flowtap;
use load::{Load, Target};

/// One row of the table, measured with capture and without.
struct Scenario {
    name: &'static str,
    about: &'static str,
    secure: bool,
    /// The path that the origin understands: a number of bytes, `/close/` before it for an
    /// upstream connection of its own.
    path: &'static str,
    kind: Kind,
}

/// What is done and what is measured.
enum Kind {
    /// So many requests at most, on connections that stay or on a new one each.
    Requests { count: u64, fresh: bool },
    /// So many connections that have had one request and stay open: memory of each.
    Idle { connections: usize },
    /// One download: growth of the memory's peak.
    Download,
    /// So many requests at most in each of so many rounds, with an agent that lists flows every
    /// 100 ms, and without MCP.
    Agent { count: u64, rounds: u32 },
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "plain",
        about: "plain, keep-alive, 100 B",
        secure: false,
        path: "/100",
        kind: Kind::Requests { count: 60_000, fresh: false },
    },
    Scenario {
        name: "intercepted",
        about: "intercepted, keep-alive, 100 B",
        secure: true,
        path: "/100",
        kind: Kind::Requests { count: 60_000, fresh: false },
    },
    Scenario {
        name: "10k",
        about: "intercepted, keep-alive, 10 KiB",
        secure: true,
        path: "/10240",
        kind: Kind::Requests { count: 40_000, fresh: false },
    },
    Scenario {
        name: "1m",
        about: "intercepted, keep-alive, 1 MiB",
        secure: true,
        path: "/1048576",
        kind: Kind::Requests { count: 1_500, fresh: false },
    },
    Scenario {
        name: "handshake",
        about: "intercepted, new client connection each",
        secure: true,
        path: "/100",
        kind: Kind::Requests { count: 5_000, fresh: true },
    },
    Scenario {
        name: "handshakes",
        about: "intercepted, new connections on both sides each",
        secure: true,
        path: "/close/100",
        kind: Kind::Requests { count: 5_000, fresh: true },
    },
    Scenario {
        name: "idle",
        about: "idle intercepted connections",
        secure: true,
        path: "/100",
        kind: Kind::Idle { connections: 1_000 },
    },
    Scenario {
        name: "download",
        about: "intercepted, one download of 100 MB",
        secure: true,
        path: "/100000000",
        kind: Kind::Download,
    },
    Scenario {
        name: "agent",
        about: "intercepted, keep-alive, 100 B",
        secure: true,
        path: "/100",
        kind: Kind::Agent { count: 60_000, rounds: 7 },
    },
];

/// Client connections at the same time.
const CONNECTIONS: usize = 32;
/// How long one measurement may load flowtap.
const TIME_MAX: Duration = Duration::from_secs(10);
/// With `--quick`, time and counts are divided by this.
const QUICK: u32 = 10;

fn main() {
    let mut names = Vec::new();
    let mut quick = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            // Cargo says it to every benchmark.
            "--bench" => {}
            name if SCENARIOS.iter().any(|it| it.name == name) => names.push(argument),
            other => {
                let known: Vec<_> = SCENARIOS.iter().map(|it| it.name).collect();
                eprintln!("no scenario {other:?}; there are: {}", known.join(" "));
                std::process::exit(2);
            }
        }
    }
    load::raise_descriptor_limit();
    let origins = origin::start();
    println!(
        "| scenario | capture | requests | a second | CPU a request | with packing | memory |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|");
    for scenario in SCENARIOS {
        if names.is_empty() || names.iter().any(|name| name == scenario.name) {
            for capture in [true, false] {
                measure(scenario, capture, quick, &origins);
            }
        }
    }
}

/// Measures one row and prints it.
fn measure(scenario: &Scenario, capture: bool, quick: bool, origins: &origin::Origins) {
    if let Kind::Agent { count, rounds } = scenario.kind {
        if capture {
            agent::compare(scenario, count, if quick { 1 } else { rounds }, origins);
        }
        return;
    }
    let flowtap = Flowtap::start(capture, true, &origins.certificate_pem);
    let target = Target::new(&flowtap, scenario.secure, origins.port(scenario.secure));
    let divisor = if quick { QUICK } else { 1 };
    // Connections, certificates and caches are not what is measured.
    Load::new(&target, "/100", CONNECTIONS).run(200, TIME_MAX, false);

    let cpu = flowtap.cpu();
    let start = Instant::now();
    let (requests, memory) = match scenario.kind {
        Kind::Requests { count, fresh } => {
            let load = Load::new(&target, scenario.path, CONNECTIONS);
            let count = (count / u64::from(divisor)).max(1);
            (load.run(count, TIME_MAX / divisor, fresh), String::new())
        }
        Kind::Idle { connections } => {
            let count = connections / divisor as usize;
            let before = flowtap.memory_kib("VmRSS");
            let open: Vec<_> = (0..count)
                .map(|_| {
                    let mut connection = target.connect().expect("a connection");
                    connection.get(scenario.path).expect("an answer");
                    connection
                })
                .collect();
            let grown = flowtap.memory_kib("VmRSS").saturating_sub(before);
            drop(open);
            (count as u64, format!("{:.1} KiB each", grown as f64 / count as f64))
        }
        Kind::Agent { .. } => return,
        Kind::Download => {
            flowtap.reset_peak();
            let before = flowtap.memory_kib("VmRSS");
            let mut connection = target.connect().expect("a connection");
            connection.get(scenario.path).expect("an answer");
            let grown = flowtap.memory_kib("VmHWM").saturating_sub(before);
            (1, format!("peak +{:.1} MiB", grown as f64 / 1024.0))
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let loaded = flowtap.cpu().saturating_sub(cpu);
    let packed = flowtap.stop().saturating_sub(cpu);
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / requests.max(1) as f64;
    println!(
        "| {} | {} | {requests} | {:.0} | {:.1} µs | {:.1} µs | {memory} |",
        scenario.about,
        if capture { "on" } else { "off" },
        requests as f64 / seconds,
        each(loaded),
        each(packed),
    );
}
