//! What a request costs: CPU time and memory of a running flowtap under load over loopback, and
//! how both grow.
//!
//! `cargo bench --bench throughput -- [SCENARIO]… [--quick] [--program FLOWTAP]` prints a Markdown
//! table. The CPU time is flowtap's own (user and system), so the cost of the load and of the
//! origin in this process is not in it. Linux only: it reads `/proc`.

// A benchmark that cannot run ends with a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod bench;
mod growth;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;

use bench::Bench;
use scenarios::SCENARIOS;

fn main() {
    let mut bench = Bench::new();
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => bench.quick = true,
            "--program" => bench.program = arguments.next().expect("--program PATH").into(),
            // Cargo says it to every benchmark.
            "--bench" => {}
            name if SCENARIOS.iter().any(|it| it.name == name) => names.push(argument),
            other => {
                eprintln!("no scenario {other:?}; there are:");
                for scenario in SCENARIOS {
                    eprintln!("  {:12} {}", scenario.name, scenario.about);
                }
                std::process::exit(2);
            }
        }
    }
    bench::print_header();
    for scenario in SCENARIOS {
        let named = names.iter().any(|name| name == scenario.name);
        if named || names.is_empty() && scenario.by_default {
            (scenario.run)(&bench);
        }
    }
}
