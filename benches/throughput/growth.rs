//! Whether the cost of a request stays what it is when something grows.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::bench::{Bench, print_note, print_row};
use crate::scenarios::{FRESH, KEEP_ALIVE};
use crate::support::flowtap::Setup;
use crate::support::load::Plan;

/// Requests that are measured at each size.
const REQUESTS: u64 = 40_000;
/// New connections that are measured at each size.
const HANDSHAKES: u64 = 4_000;
/// Starts that are measured.
const STARTS: u64 = 15;

/// With more connections, of which 64 are asked at the same time, and last with all of them.
pub(crate) fn connections(bench: &Bench) {
    for (connections, under_way) in [(1, 1), (64, 64), (1_000, 64), (10_000, 64), (1_000, 1_000)] {
        let about = format!("intercepted, 100 B; connections: {connections}, busy: {under_way}");
        // Either process has a descriptor for each, and flowtap keeps some back.
        let needed = connections as u64 * 5 / 4;
        if bench.descriptors < needed {
            print_note(&about, &format!("needs {needed} descriptors"));
            continue;
        }
        let flowtap = bench.start(&bench.setup(true));
        let rss = || flowtap.process().memory_kib("VmRSS").expect("it runs");
        let before = rss();
        let mut load = bench.load(&flowtap, true, Plan { connections, under_way, ..KEEP_ALIVE });
        let grown = rss().saturating_sub(before);
        let cost = bench.measure(&flowtap, &mut load, REQUESTS);
        let note = format!("{:.1} KiB each", grown as f64 / connections as f64);
        print_row(&about, true, &cost, Some(flowtap.stop().cpu), &note);
    }
}

/// With more hosts seen: new connections that go to all of them in turn, and connections that
/// stay. Above the size of the pool the new ones pay for connections to the origin too.
pub(crate) fn hosts(bench: &Bench) {
    for hosts in [1, 100, 10_000].map(|hosts| bench.scaled(hosts)) {
        let flowtap = bench.start(&bench.setup(true));
        let plan = Plan { hosts, ..FRESH };
        let mut load = bench.load(&flowtap, true, plan);
        load.run(hosts, Duration::MAX);
        let cost = bench.measure(&flowtap, &mut load, HANDSHAKES);
        let rss = flowtap.process().memory_kib("VmRSS").expect("it runs");
        let note = format!("{:.1} MiB", rss as f64 / 1024.0);
        let about = format!("intercepted, new client connection each; hosts: {hosts}");
        print_row(&about, true, &cost, None, &note);
        let mut load = bench.load(&flowtap, true, Plan { hosts, ..KEEP_ALIVE });
        let cost = bench.measure(&flowtap, &mut load, REQUESTS);
        let about = format!("intercepted, keep-alive, 100 B; hosts seen: {hosts}");
        print_row(&about, true, &cost, Some(flowtap.stop().cpu), "");
    }
}

/// With more flows captured.
pub(crate) fn flows(bench: &Bench) {
    for flows in [1_000, 100_000] {
        captured(bench, flows);
    }
}

/// The same with as many as a long session has.
pub(crate) fn million(bench: &Bench) {
    captured(bench, 1_000_000);
}

fn captured(bench: &Bench, flows: u64) {
    let flows = bench.scaled(flows);
    let flowtap = bench.start(&bench.setup(true));
    let mut load = bench.load(&flowtap, true, KEEP_ALIVE);
    let before = flowtap.process().cpu();
    let first = load.run(flows / 5, Duration::MAX);
    let rest = load.run(flows - first.count, Duration::MAX);
    let cost = bench.measure(&flowtap, &mut load, REQUESTS);
    let all = first.count + rest.count + cost.requests;
    // Packing begins beside busy traffic when much waits.
    let slower = cost.a_second * first.took.as_secs_f64() / first.count as f64;
    let peak = flowtap.process().memory_kib("VmHWM").expect("it runs");
    let stopped = flowtap.process().cpu();
    let ended = flowtap.stop();
    let each_us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / all as f64;
    let note = format!(
        "×{slower:.2} as many a second as at first; peak {:.1} MiB, then {:.1} MiB; the end took \
         {:.1} s, {:.1} s of CPU; journal {:.1} µs and packing {:.1} µs a flow",
        peak as f64 / 1024.0,
        ended.peak_kib as f64 / 1024.0,
        ended.took.as_secs_f64(),
        ended.cpu.since(stopped).all.as_secs_f64(),
        each_us(ended.cpu.since(before).recorder),
        each_us(ended.cpu.since(before).packer),
    );
    let about = format!("intercepted, keep-alive, 100 B; flows before: {flows}");
    print_row(&about, true, &cost, None, &note);
}

/// With more loops, which have a core each.
pub(crate) fn loops(bench: &Bench) {
    let cores = available_parallelism().map_or(1, |cores| cores.get());
    for loops in [1, 2] {
        let about = format!("intercepted, keep-alive, 100 B; loops and cores: {loops}");
        if cores < loops {
            print_note(&about, &format!("needs {loops} cores"));
            continue;
        }
        if Command::new("taskset").arg("--version").output().is_err() {
            print_note(&about, "needs taskset, of util-linux");
            continue;
        }
        let runner = ["taskset".into(), "-c".into(), format!("0-{}", loops - 1).into()];
        let setup = Setup { runner: runner.into(), loops: Some(loops), ..bench.setup(true) };
        let flowtap = bench.start(&setup);
        let mut load = bench.load(&flowtap, true, KEEP_ALIVE);
        let cost = bench.measure(&flowtap, &mut load, REQUESTS);
        print_row(&about, true, &cost, Some(flowtap.stop().cpu), "");
    }
}

/// The start, before any traffic.
pub(crate) fn start(bench: &Bench) {
    let (mut starts_ms, mut memory_kib) = (Vec::new(), Vec::new());
    for _ in 0..bench.scaled(STARTS) {
        let flowtap = bench.start(&bench.setup(true));
        starts_ms.push(flowtap.started_in.as_secs_f64() * 1e3);
        memory_kib.push(flowtap.process().memory_kib("VmRSS").expect("it runs") as f64);
        flowtap.stop();
    }
    // Benchmarks are built with symbols, releases without.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stripped = folder.path().join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(&bench.program).status();
    assert!(strip.is_ok_and(|status| status.success()), "strip, which comes with linkers, failed");
    let program = fs::metadata(&stripped).expect("the program").len();
    let note = format!(
        "listens after {:.1} ms, CA made; {:.1} MiB resident; the program has {:.1} MiB",
        crate::bench::median(starts_ms),
        crate::bench::median(memory_kib) / 1024.0,
        program as f64 / 1_048_576.0,
    );
    print_note("start", &note);
}
