//! Guards what a request costs in instructions and system calls. Unlike time, both are nearly the
//! same on every machine of one architecture, however busy it is.
//!
//! `cargo bench --profile cost --bench cost` compares with the figures in `benches/cost`, and fails
//! where one is worse than they allow; with `-- --record` it writes them anew, and with
//! `-- --functions CASE` it prints how the instructions of a case spread over functions. It needs
//! valgrind and strace.

// A benchmark that cannot run ends with a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod callgrind;
mod figures;
mod strace;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use figures::Figures;
use support::flowtap::{Flowtap, Setup};
use support::load::{Load, Plan, Target};
use support::origin::{self, Origins};

/// The profile that the figures are of; cargo calls the folder of the program after it.
const PROFILE: &str = "cost";

/// A kind of request of which the cost is guarded.
struct Case {
    name: &'static str,
    secure: bool,
    mcp: bool,
    plan: Plan,
    /// Requests of the shorter of two runs; the longer has three times as many.
    requests: u64,
}

/// With one connection, what is done in one turn of a loop does not depend on who is faster then.
const ONE: Plan = Plan { path: "/100", connections: 1, under_way: 1, fresh: false, hosts: 1 };
const KEEP_ALIVE: Case =
    Case { name: "intercepted", secure: true, mcp: false, plan: ONE, requests: 1_000 };

/// What all cases run against.
struct Subject {
    setup: Setup,
    origins: Origins,
}

const CASES: &[Case] = &[
    Case { name: "plain", secure: false, ..KEEP_ALIVE },
    KEEP_ALIVE,
    Case { name: "mcp", mcp: true, ..KEEP_ALIVE },
    Case { name: "10k", plan: Plan { path: "/10240", ..ONE }, ..KEEP_ALIVE },
    Case { name: "handshake", plan: Plan { fresh: true, ..ONE }, requests: 100, ..KEEP_ALIVE },
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let origins = origin::start();
    let confdir = tempfile::tempdir().expect("a temporary folder");
    let setup = Setup { confdir: Some(confdir.path().into()), loops: Some(1), ..Setup::default() };
    // Makes the CA, which takes long under a tool.
    Flowtap::start(&setup, &origins.certificate_pem).stop();
    let subject = Subject { setup, origins };
    match arguments[..] {
        [] => figures::compare(&measure_all(&subject)),
        ["--record"] => {
            figures::record(&measure_all(&subject));
            ExitCode::SUCCESS
        }
        ["--functions", name] if CASES.iter().any(|case| case.name == name) => {
            let case = CASES.iter().find(|case| case.name == name).expect("a case");
            check(callgrind::TOOL);
            callgrind::print_functions(case, &subject);
            ExitCode::SUCCESS
        }
        _ => {
            let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
            eprintln!("usage: cost [--record | --functions {}]", names.join("|"));
            ExitCode::from(2)
        }
    }
}

fn measure_all(subject: &Subject) -> Figures {
    check(callgrind::TOOL);
    check(strace::TOOL);
    let folder = subject.setup.program.parent().and_then(Path::file_name);
    assert!(folder.is_some_and(|name| name == PROFILE), "run it with --profile {PROFILE}");
    let mut figures = Figures::new();
    for case in CASES {
        for (what, count) in callgrind::measure(case, subject) {
            figures.insert(format!("{} instructions {what}", case.name), count);
        }
        for (call, count) in strace::measure(case, subject) {
            figures.insert(format!("{} calls {call}", case.name), count);
        }
    }
    figures
}

/// A tool that is missing must not pass for a figure that is right.
fn check(tool: &str) {
    let found = Command::new(tool).arg("--version").output().is_ok();
    assert!(found, "{tool} is missing; tests/run.sh --setup-only installs it");
}

impl Case {
    /// Runs flowtap under a tool, with so many requests, up to the point where it is to be ended.
    fn run(&self, requests: u64, runner: Vec<OsString>, subject: &Subject) -> Flowtap {
        let setup = Setup { runner, mcp: self.mcp, ..subject.setup.clone() };
        let flowtap = Flowtap::start(&setup, &subject.origins.certificate_pem);
        let target = Target::new(&flowtap, self.secure, &subject.origins);
        let mut load = Load::open(&target, self.plan);
        load.run(requests, Duration::MAX);
        flowtap
    }

    /// What each request adds to counts: the difference of two runs, in which the start and the
    /// first connections are the same.
    fn each<K: Ord + Clone>(&self, count: impl Fn(u64) -> BTreeMap<K, u64>) -> BTreeMap<K, f64> {
        let (few, mut many) = (count(self.requests), count(self.requests * 3));
        for key in few.keys() {
            many.entry(key.clone()).or_default();
        }
        let each = |key: &K, many: u64| {
            let few = few.get(key).copied().unwrap_or_default();
            (many as f64 - few as f64) / (self.requests * 2) as f64
        };
        many.iter().map(|(key, many)| (key.clone(), each(key, *many))).collect()
    }
}
