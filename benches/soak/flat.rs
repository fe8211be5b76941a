//! Whether what was measured stayed flat: quarters of the time after the warm-up, side by side.

use std::time::Duration;

use super::samples::{Probe, Sample};

/// This share of the time fills what has a limit: caches, the store of flows, the allocator's
/// arenas. It is shown and not judged.
pub(crate) const WARM_UP: f64 = 0.1;

/// How much more the last quarter may have than the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    /// Memory, as a share of it, and in KiB whatever it is.
    pub(crate) memory_share: f64,
    pub(crate) memory_kib: f64,
    /// Descriptors and threads, as a share of them, and whatever they are.
    pub(crate) count_share: f64,
    pub(crate) count: f64,
    /// The median probe through flowtap, in times of the median direct one; `None` where a run is
    /// too short for that.
    pub(crate) latency: Option<f64>,
}

/// Figures of one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) resident_kib: f64,
    pub(crate) anonymous_kib: f64,
    pub(crate) descriptors: f64,
    pub(crate) threads: f64,
    /// CPU time of flowtap for each second.
    pub(crate) cpu_share: f64,
    /// CPU time of flowtap for each request, in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) requests_a_second: f64,
    pub(crate) disk_mib: f64,
    /// In ms, of direct probes and of those through flowtap: the median and the 99th percentile.
    pub(crate) direct_ms: (f64, f64),
    pub(crate) proxied_ms: (f64, f64),
}

/// The value at this share of all, in order.
fn at_share(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl Stretch {
    fn new(samples: &[Sample], probes: &[Probe], from: f64, to: f64) -> Stretch {
        let is_in = |at: Duration| (from..to).contains(&at.as_secs_f64());
        let samples: Vec<_> = samples.iter().filter(|sample| is_in(sample.at)).collect();
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
            return Stretch::default();
        };
        let middle = |of: fn(&Sample) -> f64| {
            at_share(samples.iter().map(|sample| of(sample)).collect(), 0.5)
        };
        let (count, cpu) = (last.requests - first.requests, last.cpu - first.cpu);
        let time = (last.at - first.at).as_secs_f64().max(0.001);
        let latency = |of: fn(&Probe) -> Duration| {
            let probes = probes.iter().filter(|probe| is_in(probe.at));
            let all: Vec<_> = probes.map(|probe| of(probe).as_secs_f64() * 1e3).collect();
            (at_share(all.clone(), 0.5), at_share(all, 0.99))
        };
        Stretch {
            resident_kib: middle(|sample| sample.resident_kib as f64),
            anonymous_kib: middle(|sample| sample.anonymous_kib as f64),
            descriptors: middle(|sample| sample.descriptors as f64),
            threads: middle(|sample| sample.threads as f64),
            cpu_share: cpu.as_secs_f64() / time,
            cpu_us: cpu.as_secs_f64() * 1e6 / count.max(1) as f64,
            requests_a_second: count as f64 / time,
            disk_mib: last.disk_bytes as f64 / 1_048_576.0,
            direct_ms: latency(|probe| probe.direct),
            proxied_ms: latency(|probe| probe.proxied),
        }
    }

    /// The median through flowtap in times of the direct one.
    fn latency_ratio(&self) -> f64 {
        self.proxied_ms.0 / self.direct_ms.0.max(0.001)
    }
}

/// The warm-up and the four quarters of the rest.
pub(crate) fn stretches(samples: &[Sample], probes: &[Probe], length: Duration) -> [Stretch; 5] {
    let length = length.as_secs_f64();
    let start = length * WARM_UP;
    let quarter = (length - start) / 4.0;
    let bounds = |number: usize| start + quarter * number as f64;
    let part = |from, to| Stretch::new(samples, probes, from, to);
    [
        part(0.0, start),
        part(bounds(0), bounds(1)),
        part(bounds(1), bounds(2)),
        part(bounds(2), bounds(3)),
        part(bounds(3), f64::MAX),
    ]
}

/// Why it was not flat.
pub(crate) fn judge(stretches: &[Stretch; 5], tolerance: &Tolerance) -> Vec<String> {
    let [_, _, second, _, last] = stretches;
    let mut reasons = Vec::new();
    let mut compare = |what: &str, of: fn(&Stretch) -> f64, share: f64, least: f64| {
        let (before, after) = (of(second), of(last));
        let allowed = before + (before * share).max(least);
        if after > allowed {
            reasons.push(format!(
                "{what} grew from {before:.1} in the second quarter to {after:.1} in the last; \
                 {allowed:.1} is allowed"
            ));
        }
    };
    let (memory, count) = (tolerance.memory_share, tolerance.count_share);
    compare("resident memory (KiB)", |it| it.resident_kib, memory, tolerance.memory_kib);
    compare("anonymous memory (KiB)", |it| it.anonymous_kib, memory, tolerance.memory_kib);
    compare("the number of descriptors", |it| it.descriptors, count, tolerance.count);
    compare("the number of threads", |it| it.threads, count, tolerance.count);
    if let Some(latency) = tolerance.latency {
        compare("the median latency, in direct ones,", Stretch::latency_ratio, latency, 0.0);
    }
    reasons
}

/// How much a value grows an hour after the warm-up, by linear regression.
pub(crate) fn slope_an_hour(samples: &[Sample], length: Duration, of: fn(&Sample) -> f64) -> f64 {
    let start = length.mul_f64(WARM_UP);
    let points: Vec<_> = samples
        .iter()
        .filter(|sample| sample.at >= start)
        .map(|sample| (sample.at.as_secs_f64() / 3_600.0, of(sample)))
        .collect();
    let count = points.len().max(1) as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let above: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if below > 0.0 { above / below } else { 0.0 }
}
