//! What can be measured, by name.

use crate::agent;
use crate::bench::{Bench, print_row};
use crate::growth;
use crate::support::load::{Load, Plan, Target};

/// Something to measure; it prints its rows.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Runs also where no scenario is named.
    pub(crate) by_default: bool,
    pub(crate) run: fn(&Bench),
}

/// As many connections as keep all threads busy.
const CONNECTIONS: usize = 64;
/// Handshakes at the same time.
const HANDSHAKES: usize = 16;

/// One host, and connections that stay.
pub(crate) const KEEP_ALIVE: Plan =
    Plan { path: "/100", connections: CONNECTIONS, under_way: CONNECTIONS, fresh: false, hosts: 1 };

/// One host, and a new connection for each request.
pub(crate) const FRESH: Plan =
    Plan { connections: HANDSHAKES, under_way: HANDSHAKES, fresh: true, ..KEEP_ALIVE };

const fn scenario(name: &'static str, about: &'static str, run: fn(&Bench)) -> Scenario {
    Scenario { name, about, by_default: true, run }
}

/// All scenarios, in the order of the table.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("plain", "plain HTTP, 100 B", |bench| {
        bench.requests("plain, keep-alive, 100 B", false, KEEP_ALIVE, 60_000);
    }),
    scenario("intercepted", "TLS, 100 B", |bench| {
        bench.requests("intercepted, keep-alive, 100 B", true, KEEP_ALIVE, 60_000);
    }),
    scenario("10k", "TLS, 10 KiB", |bench| {
        let plan = Plan { path: "/10240", ..KEEP_ALIVE };
        bench.requests("intercepted, keep-alive, 10 KiB", true, plan, 40_000);
    }),
    scenario("1m", "TLS, 1 MiB", |bench| {
        let plan = Plan { path: "/1048576", connections: 8, under_way: 8, ..KEEP_ALIVE };
        bench.requests("intercepted, keep-alive, 1 MiB", true, plan, 1_500);
    }),
    scenario("handshake", "a new client connection for each request", |bench| {
        bench.requests("intercepted, new client connection each", true, FRESH, 5_000);
    }),
    scenario("handshakes", "new connections on both sides for each request", |bench| {
        let plan = Plan { path: "/close/100", ..FRESH };
        bench.requests("intercepted, new connections on both sides each", true, plan, 5_000);
    }),
    scenario("mint", "a new host for each request", |bench| {
        let plan = Plan { hosts: u64::MAX, ..FRESH };
        bench.requests("intercepted, new host each", true, plan, 3_000);
    }),
    scenario("half", "time to answer at half of the rate that is possible", half),
    scenario("idle", "memory of connections that wait", idle),
    scenario("download", "memory of one download of 100 MB", download),
    scenario("agent", "MCP on against MCP off, in turns", agent::compare),
    scenario("agents", "0, 1 and 8 agents that poll", agent::several),
    scenario("connections", "1 to 10,000 connections", growth::connections),
    scenario("hosts", "1 to 10,000 hosts", growth::hosts),
    scenario("flows", "1,000 and 100,000 flows captured before", growth::flows),
    scenario("loops", "1 and 2 loops, on as many cores", growth::loops),
    scenario("start", "time and memory of the start, size of the program", growth::start),
    Scenario {
        name: "million",
        about: "1,000,000 flows captured before: a minute and gigabytes of /tmp; only when named",
        by_default: false,
        run: growth::million,
    },
];

/// How much longer answers take through flowtap while it has half as much to do as it can do.
fn half(bench: &Bench) {
    let flowtap = bench.start(&bench.setup(true));
    let mut load = bench.load(&flowtap, true, KEEP_ALIVE);
    let about = "intercepted, keep-alive, 100 B";
    let most = bench.measure(&flowtap, &mut load, 60_000);
    print_row(&format!("{about}; all that is possible"), true, &most, None, "");
    let mut direct = Load::open(&Target::direct(&bench.origins), KEEP_ALIVE);
    for (way, load) in [("without flowtap", &mut direct), ("through it", &mut load)] {
        load.set_rate(most.a_second / 2.0);
        let cost = bench.measure(&flowtap, load, 60_000);
        print_row(&format!("100 B, keep-alive; half of it, {way}"), true, &cost, None, "");
    }
}

/// Growth of the memory by connections that have had one request and stay open.
fn idle(bench: &Bench) {
    let connections = bench.scaled(1_000) as usize;
    for capture in [true, false] {
        let flowtap = bench.start(&bench.setup(capture));
        // What the first connections make is there for all.
        let first = bench.load(&flowtap, true, KEEP_ALIVE);
        let rss = || flowtap.process().memory_kib("VmRSS").expect("it runs");
        let before = rss();
        let mut open = None;
        let cost = bench.once(&flowtap, || {
            open = Some(bench.load(&flowtap, true, Plan { connections, ..KEEP_ALIVE }));
            connections as u64
        });
        let each = rss().saturating_sub(before) as f64 / connections as f64;
        drop((first, open));
        let packed = flowtap.stop().cpu;
        let note = format!("{each:.1} KiB each");
        print_row("idle intercepted connections", capture, &cost, Some(packed), &note);
    }
}

/// Growth of the memory's peak by one large body.
fn download(bench: &Bench) {
    for capture in [true, false] {
        let flowtap = bench.start(&bench.setup(capture));
        drop(bench.load(&flowtap, true, KEEP_ALIVE));
        let process = flowtap.process();
        process.reset_peak();
        let before = process.memory_kib("VmRSS").expect("it runs");
        let target = Target::new(&flowtap, true, &bench.origins);
        let plan = Plan { path: "/100000000", connections: 1, ..KEEP_ALIVE };
        let cost = bench.once(&flowtap, || {
            Load::open(&target, plan);
            1
        });
        let peak = process.memory_kib("VmHWM").expect("it runs").saturating_sub(before);
        let note = format!("peak +{:.1} MiB", peak as f64 / 1024.0);
        let packed = flowtap.stop().cpu;
        print_row("intercepted, one download of 100 MB", capture, &cost, Some(packed), &note);
    }
}
