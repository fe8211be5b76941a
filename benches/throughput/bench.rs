//! Measuring one load, and the table.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::flowtap::{Flowtap, Setup};
use crate::support::load::{Load, Plan, Target};
use crate::support::origin::{self, Origins};
use crate::support::system::{Cpu, Machine, raise_descriptor_limit};

/// How long one measurement may load flowtap.
const TIME_MAX: Duration = Duration::from_secs(10);
/// With `--quick`, counts are divided by this.
const QUICK: u64 = 10;
/// Requests before what is measured are one for so many of it, beside one on each connection.
const WARM_UP: u64 = 50;

/// What all scenarios have in hand.
pub(crate) struct Bench {
    pub(crate) origins: Origins,
    /// The flowtap to measure.
    pub(crate) program: PathBuf,
    pub(crate) quick: bool,
    /// Files that a process may have open.
    pub(crate) descriptors: u64,
}

/// What a load has cost.
pub(crate) struct Cost {
    pub(crate) requests: u64,
    pub(crate) a_second: f64,
    /// CPU times before and after.
    pub(crate) before: Cpu,
    pub(crate) after: Cpu,
    /// The time in which half of the requests were answered, and 99 of 100; none of what was done
    /// once.
    within_ms: Option<(f64, f64)>,
    others: f64,
}

impl Cost {
    /// So much CPU time for each request, in µs.
    pub(crate) fn each_us(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.requests.max(1) as f64
    }

    /// CPU time of flowtap.
    pub(crate) fn cpu(&self) -> Cpu {
        self.after.since(self.before)
    }
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let program = Setup::default().program;
        let descriptors = raise_descriptor_limit();
        Bench { origins: origin::start(), program, quick: false, descriptors }
    }

    /// Divided where it is to be quick.
    pub(crate) fn scaled(&self, count: u64) -> u64 {
        if self.quick { (count / QUICK).max(1) } else { count }
    }

    /// The flowtap to measure, with capture or without.
    pub(crate) fn setup(&self, capture: bool) -> Setup {
        Setup { program: self.program.clone(), capture, ..Setup::default() }
    }

    pub(crate) fn start(&self, setup: &Setup) -> Flowtap {
        Flowtap::start(setup, &self.origins.certificate_pem)
    }

    /// A load whose connections are open.
    pub(crate) fn load(&self, flowtap: &Flowtap, secure: bool, plan: Plan) -> Load {
        Load::open(&Target::new(flowtap, secure, &self.origins), plan)
    }

    /// Measures so many requests. Caches and buffers are not what is measured: some go before.
    pub(crate) fn measure(&self, flowtap: &Flowtap, load: &mut Load, count: u64) -> Cost {
        let count = self.scaled(count);
        load.run(count / WARM_UP, TIME_MAX);
        let (process, machine) = (flowtap.process(), Machine::now());
        let before = process.cpu();
        let answered = load.run(count, TIME_MAX);
        let after = process.cpu();
        Cost {
            requests: answered.count,
            a_second: answered.count as f64 / answered.took.as_secs_f64(),
            before,
            after,
            within_ms: Some((answered.within_ms(0.5), answered.within_ms(0.99))),
            others: Machine::now().others_since(&machine, after.since(before).all),
        }
    }

    /// A row for a load, with capture and without.
    pub(crate) fn requests(&self, about: &str, secure: bool, plan: Plan, count: u64) {
        for capture in [true, false] {
            let flowtap = self.start(&self.setup(capture));
            let mut load = self.load(&flowtap, secure, plan);
            let cost = self.measure(&flowtap, &mut load, count);
            let packed = flowtap.stop().cpu;
            print_row(about, capture, &cost, Some(packed), "");
        }
    }

    /// Does something of which the CPU time and the memory are measured, once.
    pub(crate) fn once(&self, flowtap: &Flowtap, act: impl FnOnce() -> u64) -> Cost {
        let (process, machine, start) = (flowtap.process(), Machine::now(), Instant::now());
        let before = process.cpu();
        let requests = act();
        let (after, took) = (process.cpu(), start.elapsed());
        Cost {
            requests,
            a_second: requests as f64 / took.as_secs_f64(),
            before,
            after,
            within_ms: None,
            others: Machine::now().others_since(&machine, after.since(before).all),
        }
    }
}

pub(crate) fn print_header() {
    println!(
        "| scenario | capture | requests | a second | CPU a request | loops | with packing | p50 | \
         p99 | others | |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|");
}

/// One row; `packed` are the CPU times when the bundle was done.
pub(crate) fn print_row(about: &str, capture: bool, cost: &Cost, packed: Option<Cpu>, note: &str) {
    let us = |cpu| format!("{:.1} µs", cost.each_us(cpu));
    let packed = packed.map(|packed| us(packed.since(cost.before).all)).unwrap_or_default();
    let within = cost.within_ms.map(|(p50, p99)| format!("{p50:.2} ms | {p99:.2} ms"));
    println!(
        "| {about} | {} | {} | {:.0} | {} | {} | {packed} | {} | {:.0} % | {note} |",
        if capture { "on" } else { "off" },
        cost.requests,
        cost.a_second,
        us(cost.cpu().all),
        us(cost.cpu().loops),
        within.as_deref().unwrap_or("|"),
        cost.others * 100.0,
    );
}

/// A row that has only words.
pub(crate) fn print_note(about: &str, note: &str) {
    println!("| {about} | | | | | | | | | | {note} |");
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
