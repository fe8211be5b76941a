//! An hour of mixed traffic: memory, descriptors, threads and latency must stay flat, every answer
//! right and the bundle whole.
//!
//! `cargo bench --bench soak -- [--minutes N] [--rate N] [--program FLOWTAP]` prints a Markdown
//! table, and ends with status 1 and the reasons where something is wrong. Without `--minutes` it
//! is the short form, which `tests/soak.rs` runs too. `TMPDIR` names where the bundle is written.
//! Linux only: it reads `/proc`.

// A harness that cannot run ends with a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "mod.rs"]
mod soak;
#[path = "../support"]
#[expect(dead_code, reason = "other benchmarks look at more")]
mod support {
    pub(crate) mod flowtap;
    pub(crate) mod head;
    pub(crate) mod system;
    pub(crate) mod tls;
}

use std::process::ExitCode;
use std::time::Duration;

use soak::Plan;

fn main() -> ExitCode {
    support::system::raise_descriptor_limit();
    let mut plan = Plan::short();
    let mut arguments = std::env::args().skip(1);
    let mut rate = None;
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse::<f64>().ok());
            value.filter(|number| *number > 0.0).unwrap_or_else(|| usage())
        };
        match argument.as_str() {
            "--minutes" => plan = Plan::long(Duration::from_secs_f64(number() * 60.0)),
            "--rate" => rate = Some(number()),
            "--program" => match arguments.next() {
                Some(path) => plan.program = Some(path.into()),
                None => usage(),
            },
            // Cargo says it to every benchmark.
            "--bench" => {}
            _ => usage(),
        }
    }
    plan.rate = rate.unwrap_or(plan.rate);
    let report = soak::run(&plan);
    report.print();
    if report.reasons.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ! {
    eprintln!("usage: soak [--minutes N] [--rate N] [--program FLOWTAP]");
    std::process::exit(2);
}
