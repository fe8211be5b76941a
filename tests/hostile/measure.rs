//! What other clients notice of an attack, and what it costs in memory.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::processors::turns_of;
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::get;
use crate::support::origin::Origin;

/// Requests of one measurement.
const REQUESTS: usize = 500;
/// What the attack may add beside doubling: attackers, clients, the server and the proxy share the
/// cores.
const FLOOR_MEDIAN: Duration = Duration::from_millis(5);
const FLOOR_P99: Duration = Duration::from_millis(40);
/// Measurements of which one has to be good.
const TRIES: usize = 6;

/// Whether the tests that can take minutes should.
pub(crate) fn is_long() -> bool {
    std::env::var("FLOWTAP_TEST_LONG").is_ok_and(|value| value == "1")
}

/// How long requests took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
    /// The share of that time in which a loop of the proxy waited for a processor, of the one that
    /// waited most.
    waited: f64,
}

impl Latency {
    /// How long it would have taken the proxy on a machine of its own, about.
    fn alone(&self, time: Duration) -> Duration {
        time.mul_f64(1.0 - self.waited)
    }
}

/// A client that behaves, and its server.
pub(crate) struct Others {
    origin: Origin,
    proxy: SocketAddr,
    process: u32,
}

impl Others {
    pub(crate) fn of(tap: &Flowtap) -> Self {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        Others { origin, proxy: tap.addr, process: tap.child.id() }
    }

    /// Makes requests one after the other.
    pub(crate) fn measure(&self) -> Latency {
        let mut client = Client::connect(self.proxy);
        let request = get(self.origin.addr, "/");
        let (begin, turns) = (Instant::now(), turns_of(self.process, &["loop"]));
        let mut times: Vec<Duration> = (0..REQUESTS)
            .map(|_| {
                let begin = Instant::now();
                client.send(&request);
                assert_eq!(client.response().1, b"ok");
                begin.elapsed()
            })
            .collect();
        times.sort();
        let took = begin.elapsed().as_nanos() as f64;
        let waited = turns_of(self.process, &["loop"]).into_iter().map(|(thread, now)| {
            let before = turns.get(&thread).map_or(0, |before| before.waited_ns);
            (now.waited_ns - before) as f64 / took
        });
        let waited = waited.fold(0.0, f64::max).min(1.0);
        Latency { median: times[REQUESTS / 2], p99: times[REQUESTS * 99 / 100], waited }
    }

    /// Measures until it is as good as `before`, within bounds; else the test fails.
    pub(crate) fn assert_unharmed(&self, what: &str, before: Latency) -> Latency {
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let during = self.measure();
            let median = during.alone(during.median) <= before.median * 2 + FLOOR_MEDIAN;
            if median && during.alone(during.p99) <= before.p99 * 2 + FLOOR_P99 {
                return during;
            }
            seen.push(during);
        }
        panic!("{what}: other clients wait: {seen:?}, and {before:?} before");
    }
}

/// Runs `attack` until `stop` is set, with other clients beside it: they are served as before, and
/// memory grows by no more than `most_kib`.
pub(crate) fn under(
    what: &str,
    tap: &Flowtap,
    most_kib: u64,
    attack: impl FnOnce(&AtomicBool) + Send,
) {
    let others = Others::of(tap);
    let before = others.measure();
    let resident = tap.resident_kib();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| attack(&stop));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            others.assert_unharmed(what, before);
        }));
        stop.store(true, Ordering::SeqCst);
        attacker.join().unwrap();
        outcome.unwrap();
    });
    let after = tap.resident_kib();
    assert!(after <= resident + most_kib, "{what}: {resident} KiB became {after} KiB");
}
