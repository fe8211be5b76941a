//! Mixed traffic for a long time: whether memory, descriptors, threads and latency stay what they
//! are, whether every answer is right, and whether the bundle holds all of it.

mod agents;
mod bodies;
pub(crate) mod flat;
#[path = "../../tests/support/frame.rs"]
mod frame;
#[path = "../../tests/support/frame_reader.rs"]
mod frame_reader;
mod frames;
mod holding;
mod ledger;
mod origin;
mod recorded;
mod report;
pub(crate) mod samples;
mod slow;
mod traffic;
mod wire;
mod world;

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::flowtap::{Flowtap, Setup};
use crate::support::system::{Machine, Process};
use agents::Agent;
use flat::{Tolerance, WARM_UP};
use origin::{Origin, PASSED_HOSTS};
use samples::{Probe, Sample};
use world::{Outcome, World};

pub(crate) use report::Report;

/// Threads that make quick requests, slow ones, and WebSockets that stay open.
const WORKERS: u64 = 6;
const SLOW: u64 = 6;
const SOCKETS: u64 = 3;
/// How long what was open may take to go when the traffic has ended: lingering connections take
/// two seconds, idle threads of MCP ten.
const SETTLE: Duration = Duration::from_secs(30);
/// Descriptors and threads that may be more than before the traffic: the files of the parts that
/// are packed just then.
const LEFT_OPEN: usize = 4;

/// How long and how hard.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: Option<PathBuf>,
    pub(crate) length: Duration,
    /// Quick requests a second.
    pub(crate) rate: f64,
    /// Between two samples.
    pub(crate) interval: Duration,
    /// Hosts that are asked during the warm-up.
    pub(crate) hosts: u64,
    /// Between the visits of agents.
    pub(crate) visits: Duration,
    /// Messages of a WebSocket that stays open.
    pub(crate) messages: u64,
    pub(crate) tolerance: Tolerance,
    /// Says now and then how it stands.
    pub(crate) tells: bool,
}

impl Plan {
    /// For an hour or so. As many hosts are met in the warm-up as certificates are kept.
    pub(crate) fn long(length: Duration) -> Plan {
        Plan {
            program: None,
            length,
            rate: 200.0,
            interval: Duration::from_secs(5),
            hosts: (length.as_secs() * 3).min(flowtap::limits::CERT_CACHE_HOSTS as u64 + 200),
            visits: Duration::from_secs(4),
            messages: 1_500,
            tolerance: Tolerance {
                memory_share: 0.06,
                memory_kib: 4_096.0,
                count_share: 0.15,
                count: 12.0,
                latency: Some(0.35),
            },
            tells: true,
        }
    }

    /// For CI: everything is checked, but what needs time to tell is judged generously.
    pub(crate) fn short() -> Plan {
        Plan {
            rate: 150.0,
            interval: Duration::from_millis(250),
            hosts: 0,
            visits: Duration::from_millis(300),
            messages: 20,
            tolerance: Tolerance {
                memory_share: 0.0,
                memory_kib: 24_576.0,
                count_share: 1.0,
                count: 100.0,
                latency: None,
            },
            tells: false,
            ..Plan::long(Duration::from_secs(15))
        }
    }
}

/// Runs all of it. What could be wrong with flowtap is in the report; a harness that cannot run
/// panics.
pub(crate) fn run(plan: &Plan) -> Report {
    let origin = Origin::start();
    let setup = Setup {
        arguments: vec!["-e".into(), format!("*.{PASSED_HOSTS}").into()],
        ..Setup::default()
    };
    let program = plan.program.clone().unwrap_or_else(|| setup.program.clone());
    let setup = Setup { program, ..setup };
    let flowtap = Flowtap::start(&setup, &origin.certificate_pem);
    let folder = flowtap.folder();
    let process = flowtap.process();
    let world = World::new(&flowtap, origin, plan.rate);
    let mut reasons = Vec::new();

    // What the first agent makes is there for all.
    if let Err(why) = status(&world) {
        reasons.push(why);
    }
    let (began, machine, own) = (Instant::now(), Machine::now(), Process(std::process::id()));
    let look = || Sample::take(process, folder.path(), began, world.ledger.requests());
    let before = look();
    let probes = Mutex::new(Vec::new());
    let samples = make_traffic(plan, &world, began, &probes, &look);
    let length = began.elapsed();
    let end = look();
    let others = Machine::now().others_since(&machine, end.cpu - before.cpu);
    let own_cpu = own.cpu().all;

    world.origin.close_all();
    let after = samples::wait(look, SETTLE, |now| {
        now.descriptors <= before.descriptors && now.threads <= before.threads + LEFT_OPEN
    });
    leaks(&before, &after, &mut reasons);
    let status = status(&world).unwrap_or_else(|why| {
        reasons.push(why);
        Value::Null
    });
    for counter in ["flows_lost", "bodies_cut", "messages_left_out", "held_flows"] {
        if status[counter] != 0 {
            reasons.push(format!("{counter}: {}", status[counter]));
        }
    }
    let ended = flowtap.stop_with(Signal::TERM);

    let probes = probes.into_inner().expect("no thread panics with it");
    let stretches = flat::stretches(&samples, &probes, plan.length);
    reasons.extend(flat::judge(&stretches, &plan.tolerance));
    let (failures, failed) = world.ledger.failures();
    if failed > 0 {
        reasons.push(format!("{failed} failures: {}", failures.join("\n  ")));
    }
    let output = folder.path().join("capture.zip");
    let recorded = recorded::check(&output, &world.ledger.expected(), &mut reasons);
    recorded::judge(&recorded.parts, &mut reasons);
    if folder.path().join("capture.zip.journal").exists() {
        reasons.push("the journal is left behind".to_owned());
    }
    let slope = |of| flat::slope_an_hour(&samples, plan.length, of) / 1_024.0;
    Report {
        reasons,
        stretches,
        length,
        before,
        after,
        resident_slope: slope(|sample| sample.resident_kib as f64),
        anonymous_slope: slope(|sample| sample.anonymous_kib as f64),
        peak_kib: ended.peak_kib,
        stop: ended.took,
        said: ended.said,
        own_cpu,
        cpu: end.cpu - before.cpu,
        others,
        hosts: world.hosts(),
        kinds: world.ledger.kinds(),
        requests: world.ledger.requests(),
        status,
        recorded,
        samples,
    }
}

/// Makes traffic for as long as the plan says, and looks at flowtap meanwhile.
fn make_traffic(
    plan: &Plan,
    world: &World,
    began: Instant,
    probes: &Mutex<Vec<Probe>>,
    look: &(dyn Fn() -> Sample + Sync),
) -> Vec<Sample> {
    thread::scope(|scope| {
        for seed in 0..WORKERS {
            scope.spawn(move || traffic::Worker::run(world, seed));
        }
        for seed in 0..SLOW {
            scope.spawn(move || slow::run(world, 100 + seed));
        }
        for seed in 0..SOCKETS {
            let messages = plan.messages;
            scope.spawn(move || slow::run_sockets(world, 200 + seed, messages));
        }
        let visits = plan.visits;
        for seed in 0..2 {
            scope.spawn(move || agents::run(world, 300 + seed, visits));
        }
        scope.spawn(move || holding::run(world, 400, visits));
        scope.spawn(move || samples::probe(world, began, probes));
        let warm_up = plan.length.mul_f64(WARM_UP);
        let hosts = plan.hosts;
        scope.spawn(move || traffic::meet_hosts(world, hosts, warm_up));

        let mut samples = Vec::new();
        while began.elapsed() < plan.length && world.pause(plan.interval) {
            let sample = look();
            if plan.tells && samples.len() % 12 == 0 {
                report::tell(&sample, world);
            }
            samples.push(sample);
        }
        world.end();
        samples
    })
}

/// What `get_status` says.
fn status(world: &World) -> Outcome<Value> {
    let mut agent = Agent::streamable(world)?;
    let status = agent.call("get_status", &json!({}))?;
    agent.leave(true)?;
    Ok(status)
}

/// What is open after the traffic and was not before.
fn leaks(before: &Sample, after: &Sample, reasons: &mut Vec<String>) {
    for (what, before, after) in [
        ("descriptors", before.descriptors, after.descriptors),
        ("threads", before.threads, after.threads),
    ] {
        if after > before + LEFT_OPEN {
            reasons.push(format!("{after} {what} when all clients had gone, {before} before"));
        }
    }
}
