//! The short form of `cargo bench --bench soak`: mixed traffic for some seconds, in which every
//! answer must be right, the bundle whole, and nothing left open.

// Support code outside #[test] functions fails a test by panicking, as the tests themselves do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../benches/soak/mod.rs"]
mod soak;
#[path = "../benches/support"]
#[expect(dead_code, reason = "other benchmarks look at more")]
mod support {
    pub(crate) mod flowtap;
    pub(crate) mod head;
    pub(crate) mod system;
    pub(crate) mod tls;
}

use std::time::Duration;

use soak::Plan;
use soak::flat::{judge, stretches};
use soak::samples::{Probe, Sample};

#[test]
fn mixed_traffic_is_answered_recorded_and_leaves_nothing_open() {
    let report = soak::run(&Plan::short());
    report.print();
    assert!(report.reasons.is_empty(), "{}", report.reasons.join("\n"));
}

const HOUR: Duration = Duration::from_secs(3_600);

/// An hour's samples and probes, with something that grows; the first of these is the time.
fn hour(change: impl Fn(f64, &mut Sample, &mut Probe)) -> Vec<String> {
    let (mut samples, mut probes) = (Vec::new(), Vec::new());
    for second in (0..3_600).step_by(5) {
        let at = Duration::from_secs(second);
        let mut sample = Sample {
            at,
            resident_kib: 60_000,
            anonymous_kib: 50_000,
            descriptors: 300,
            threads: 18,
            cpu: at / 10,
            disk_bytes: 1_000_000 * second,
            requests: 250 * second,
        };
        let millis = Duration::from_millis;
        let mut probe = Probe { at, direct: millis(1), proxied: millis(2) };
        change(second as f64 / 3_600.0, &mut sample, &mut probe);
        samples.push(sample);
        probes.push(probe);
    }
    judge(&stretches(&samples, &probes, HOUR), &Plan::long(HOUR).tolerance)
}

#[test]
fn an_hour_that_is_flat_after_its_warm_up_passes() {
    let reasons = hour(|time, sample, probe| {
        if time < 0.1 {
            sample.resident_kib /= 2;
            sample.descriptors = 20;
        }
        // What slows the machine slows both.
        if time > 0.7 {
            probe.direct *= 5;
            probe.proxied *= 5;
        }
    });
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn what_grows_fails_with_its_reason() {
    type Change = fn(f64, &mut Sample, &mut Probe);
    let cases: &[(&str, Change)] = &[
        ("resident memory", |time, sample, _| sample.resident_kib += (time * 12_288.0) as u64),
        ("anonymous memory", |time, sample, _| sample.anonymous_kib += (time * 12_288.0) as u64),
        ("descriptors", |time, sample, _| sample.descriptors += (time * 200.0) as usize),
        ("threads", |time, sample, _| sample.threads += (time * 30.0) as usize),
        ("latency", |time, _, probe| probe.proxied += Duration::from_millis(4).mul_f64(time)),
    ];
    for (what, change) in cases {
        let reasons = hour(change);
        assert!(reasons.len() == 1 && reasons[0].contains(what), "{what}: {reasons:?}");
    }
}
