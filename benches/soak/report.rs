//! What came of it, as Markdown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::flat::Stretch;
use super::recorded::Recorded;
use super::samples::Sample;
use super::world::World;

/// All figures of a run.
pub(crate) struct Report {
    /// Why it failed; empty when all is well.
    pub(crate) reasons: Vec<String>,
    pub(crate) stretches: [Stretch; 5],
    pub(crate) length: Duration,
    pub(crate) before: Sample,
    pub(crate) after: Sample,
    /// Growth of memory after the warm-up by linear regression, MiB an hour.
    pub(crate) resident_slope: f64,
    pub(crate) anonymous_slope: f64,
    pub(crate) peak_kib: u64,
    /// From the signal to the end.
    pub(crate) stop: Duration,
    /// The last words of flowtap.
    pub(crate) said: String,
    pub(crate) own_cpu: Duration,
    pub(crate) cpu: Duration,
    /// The share of the machine that others took.
    pub(crate) others: f64,
    pub(crate) hosts: u64,
    pub(crate) kinds: BTreeMap<&'static str, u64>,
    pub(crate) requests: u64,
    pub(crate) status: Value,
    pub(crate) recorded: Recorded,
    pub(crate) samples: Vec<Sample>,
}

/// A line while it goes on.
pub(crate) fn tell(sample: &Sample, world: &World) {
    eprintln!(
        "{:6.0} s: {} requests, {} hosts, {:.1} MiB ({:.1} anonymous), {} descriptors, \
         {} threads, {:.0} s of CPU, {} MiB on disk, {} failures",
        sample.at.as_secs_f64(),
        sample.requests,
        world.hosts(),
        sample.resident_kib as f64 / 1_024.0,
        sample.anonymous_kib as f64 / 1_024.0,
        sample.descriptors,
        sample.threads,
        sample.cpu.as_secs_f64(),
        sample.disk_bytes >> 20,
        world.ledger.failures().1,
    );
}

impl Report {
    /// Prints everything.
    pub(crate) fn print(&self) {
        println!(
            "| stretch | requests/s | RSS | anonymous | descriptors | threads | CPU \
             | CPU a request | p50 direct, proxied | p99 direct, proxied | on disk |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
        );
        let names = ["warm-up", "1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];
        for (name, it) in names.iter().zip(&self.stretches) {
            println!(
                "| {name} | {:.0} | {:.1} MiB | {:.1} MiB | {:.0} | {:.0} | {:.1} % | {:.0} µs | \
                 {:.2}, {:.2} ms | {:.2}, {:.2} ms | {:.0} MiB |",
                it.requests_a_second,
                it.resident_kib / 1_024.0,
                it.anonymous_kib / 1_024.0,
                it.descriptors,
                it.threads,
                it.cpu_share * 100.0,
                it.cpu_us,
                it.direct_ms.0,
                it.proxied_ms.0,
                it.direct_ms.1,
                it.proxied_ms.1,
                it.disk_mib,
            );
        }
        self.print_sums();
        println!("\n| traffic | times |\n|---|--:|");
        for (kind, count) in &self.kinds {
            println!("| {kind} | {count} |");
        }
        if !self.said.trim().is_empty() {
            println!("\nflowtap said:\n\n```\n{}\n```", self.said.trim());
        }
        match self.reasons.as_slice() {
            [] => println!("\nVerdict: flat, whole and right."),
            reasons => println!("\nVerdict: failed.\n\n- {}", reasons.join("\n- ")),
        }
    }

    fn print_sums(&self) {
        let (before, after, recorded) = (&self.before, &self.after, &self.recorded);
        let mib = |kib: u64| kib as f64 / 1_024.0;
        let share = |cpu: Duration| cpu.as_secs_f64() / self.length.as_secs_f64() * 100.0;
        println!("\n| what | figure |\n|---|---|");
        println!("| length | {:.0} s |", self.length.as_secs_f64());
        println!("| requests | {}, to {} hosts |", self.requests, self.hosts);
        println!(
            "| memory | {:.1} MiB before, {:.1} MiB after, {:.1} MiB at most |",
            mib(before.resident_kib),
            mib(after.resident_kib),
            mib(self.peak_kib),
        );
        println!(
            "| growth after the warm-up, by regression | {:+.2} MiB an hour resident, {:+.2} \
             anonymous |",
            self.resident_slope, self.anonymous_slope,
        );
        println!(
            "| descriptors, threads before | {}, {} |\n| when all clients had gone | {}, {}, \
             {:.1} s later |",
            before.descriptors,
            before.threads,
            after.descriptors,
            after.threads,
            after.at.saturating_sub(self.length).as_secs_f64(),
        );
        println!(
            "| CPU | flowtap {:.1} % of a core, harness {:.1} %; others {:.0} % of the machine |",
            share(self.cpu),
            share(self.own_cpu),
            self.others * 100.0,
        );
        println!(
            "| bundle | {} parts, {} MiB, {} traces ({} of no request), {} WebSockets with {} \
             messages; the end took {:.1} s |",
            recorded.parts.len(),
            recorded.bytes >> 20,
            recorded.traces,
            recorded.nameless,
            recorded.sockets,
            recorded.messages,
            self.stop.as_secs_f64(),
        );
        println!("| samples | {} |", self.samples.len());
        println!("| status | `{}` |", self.status);
    }
}
