//! What is looked at while the traffic goes on.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::world::{Outcome, Route, World};
use crate::support::system::Process;

/// Between two probes.
const PROBES: Duration = Duration::from_millis(100);
/// Between two looks at what is still open: the system tells nobody when a process closes something.
const LOOKS: Duration = Duration::from_millis(100);
/// Bytes of a probe's answer.
const PROBE_BYTES: usize = 100;

/// One look at flowtap and its folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Since the traffic began.
    pub(crate) at: Duration,
    pub(crate) resident_kib: u64,
    /// Memory that is no file's: what the process has allocated and touched.
    pub(crate) anonymous_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// CPU time so far.
    pub(crate) cpu: Duration,
    /// The bundle and its journal.
    pub(crate) disk_bytes: u64,
    /// Requests so far.
    pub(crate) requests: u64,
}

impl Sample {
    /// A look at this moment.
    pub(crate) fn take(process: Process, folder: &Path, began: Instant, requests: u64) -> Sample {
        let listed = |name: &str| {
            fs::read_dir(format!("/proc/{}/{name}", process.0)).map_or(0, |list| list.count())
        };
        let kib = |field| process.memory_kib(field).unwrap_or(0);
        Sample {
            at: began.elapsed(),
            resident_kib: kib("VmRSS"),
            anonymous_kib: kib("RssAnon"),
            descriptors: listed("fd"),
            threads: listed("task"),
            cpu: process.cpu().all,
            disk_bytes: bytes_in(folder),
            requests,
        }
    }
}

/// Bytes of all files in a folder and those below.
fn bytes_in(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Files may go while they are counted.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { bytes_in(&entry.path()) } else { about.len() };
    }
    bytes
}

/// A fixed request, made of the origin and through flowtap right after each other.
#[derive(Clone, Copy)]
pub(crate) struct Probe {
    /// Since the traffic began.
    pub(crate) at: Duration,
    pub(crate) direct: Duration,
    pub(crate) proxied: Duration,
}

/// Probes until the traffic ends, over connections that stay.
pub(crate) fn probe(world: &World, began: Instant, probes: &Mutex<Vec<Probe>>) {
    let mut routes = None;
    while world.pause(PROBES) {
        let outcome = probe_once(world, &mut routes).map(|(direct, proxied)| {
            let probe = Probe { at: began.elapsed(), direct, proxied };
            probes.lock().expect("no thread panics with it").push(probe);
        });
        if outcome.is_err() {
            routes = None;
        }
        world.ledger.done("probe", outcome);
    }
    if let Some((direct, proxied)) = routes {
        direct.close();
        proxied.close();
    }
}

fn probe_once(world: &World, routes: &mut Option<(Route, Route)>) -> Outcome<(Duration, Duration)> {
    let (direct, proxied) = match routes {
        Some(routes) => (&mut routes.0, &mut routes.1),
        None => {
            let host = world.known_host(&mut super::world::Dice::new(0));
            let proxied = Route::secure(world, host, world.origin.secure)?;
            let routes = routes.insert((Route::direct(world)?, proxied));
            (&mut routes.0, &mut routes.1)
        }
    };
    let timed = |route: &mut Route, id| {
        let began = Instant::now();
        let stays = route.get("length", id, PROBE_BYTES)?;
        let took = began.elapsed();
        if stays { Ok(took) } else { Err("the connection does not stay".to_owned()) }
    };
    let direct = timed(direct, 0)?;
    let id = world.ledger.begin();
    let proxied = timed(proxied, id)?;
    world.ledger.must(id);
    Ok((direct, proxied))
}

/// Waits until a look finds what `until` wants, for `most` at the longest; the last look.
pub(crate) fn wait(
    look: impl Fn() -> Sample,
    most: Duration,
    until: impl Fn(&Sample) -> bool,
) -> Sample {
    let end = Instant::now() + most;
    loop {
        let sample = look();
        if until(&sample) || Instant::now() > end {
            return sample;
        }
        thread::sleep(LOOKS);
    }
}
