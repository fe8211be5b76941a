//! Processes are killed at random moments under load: what clients had seen a second before is in
//! the bundle.
//!
//! `FLOWTAP_CRASH_KILLS` sets how many are killed, and `FLOWTAP_CRASH_SEED` repeats a run: the
//! seed of a single kill is in the message of its failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::load::{Exchange, Load, Seen, origin, websocket_message};
use crate::random::Random;
use crate::support::bundle::{Bundle, fields};
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::tls::test_ca;
use crate::turns::{STARVED, Waits};

/// What may be lost.
const SECOND: Duration = Duration::from_secs(1);

/// Kills that run beside each other.
const BESIDE: u64 = 4;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

#[test]
fn what_clients_had_seen_a_second_before_a_kill_is_in_the_bundle() {
    let kills = number("FLOWTAP_CRASH_KILLS").unwrap_or(10);
    let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let seed = number("FLOWTAP_CRASH_SEED").unwrap_or(clock);
    println!("{kills} kills, FLOWTAP_CRASH_SEED={seed}");
    let origins = (origin(None), origin(Some(test_ca().server(&["localhost"]))));
    let next = AtomicU64::new(0);
    let sums = Mutex::new(Sums::default());
    std::thread::scope(|scope| {
        for _ in 0..BESIDE.min(kills) {
            scope.spawn(|| {
                loop {
                    // Another takes the place of one that cannot be judged, up to twice as many.
                    let most = kills + sums.lock().unwrap().starved.min(kills);
                    let count = |kill| (kill < most).then_some(kill + 1);
                    let kill = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
                    let Ok(kill) = kill else { break };
                    // The others are worth knowing too.
                    let outcome = catch_unwind(|| round(seed + kill, origins));
                    let outcome = outcome.unwrap_or(Sums { failed: 1, ..Sums::default() });
                    let mut sums = sums.lock().unwrap();
                    sums.add(&outcome);
                    println!("kill {}: seed {}: {outcome:?}", kill + 1, seed + kill);
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap();
    println!("all: {sums:?}");
    assert_eq!(sums.failed, 0);
    assert!(sums.rounds >= kills, "{} rounds of {kills}", sums.rounds);
    let starved = sums.starved;
    assert!(
        kills < 10 || sums.due_exchanges > 100,
        "hardly anything was put to the test; {starved} rounds had no processor for too long"
    );
}

/// What a kill put to the test.
#[derive(Debug, Default)]
struct Sums {
    rounds: u64,
    /// Exchanges that had to be in a bundle, and were.
    due_exchanges: usize,
    /// WebSocket messages that had to be.
    due_messages: usize,
    /// Exchanges that were in a bundle.
    exchanges: usize,
    parts: usize,
    /// Captures that ended before they were killed.
    ended: u64,
    /// Recoveries that were killed too.
    recoveries_killed: u64,
    /// Captures that had no processor for too long to keep their word.
    starved: u64,
    failed: u64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.rounds += other.rounds;
        self.due_exchanges += other.due_exchanges;
        self.due_messages += other.due_messages;
        self.exchanges += other.exchanges;
        self.parts += other.parts;
        self.ended += other.ended;
        self.recoveries_killed += other.recoveries_killed;
        self.starved += other.starved;
        self.failed += other.failed;
    }
}

/// One capture that is killed, and its recovery.
fn round(seed: u64, (plain, tls): (std::net::SocketAddr, std::net::SocketAddr)) -> Sums {
    let mut random = Random::new(seed);
    let traces = [1, 7, 50, 300, 9_999][random.below(5) as usize].to_string();
    let setup = Setup::proxy().args(["--bundle-traces", &traces, "--loops", "2"]);
    let folder = setup.dir().to_owned();
    let output = folder.join("capture.zip");
    let older = random.one_of(3);
    if older {
        fs::write(&output, OLDER).unwrap();
    }
    let mut tap = setup.start();
    let load = Arc::new(Load {
        proxy: tap.addr,
        plain,
        tls,
        ca: tap.ca_file(),
        stops: AtomicBool::new(false),
        seen: Mutex::default(),
    });
    let clients = std::thread::spawn({
        let load = load.clone();
        move || load.run()
    });
    let (before, ending) = match random.below(10) {
        // Right at the start.
        0 => (random.below(300), None),
        // While the bundle is being made at the end.
        1 | 2 => (1_100 + random.below(600), Some(random.below(600))),
        _ => (1_100 + random.below(1_400), None),
    };
    let mut waits = Waits::default();
    waits.watch(&tap, before);
    if let Some(time) = ending {
        tap.signal(Signal::TERM);
        waits.watch(&tap, time);
    }
    let killed = Instant::now();
    let ended = kill(&mut tap);
    load.stops.store(true, Ordering::Relaxed);
    clients.join().unwrap_or_else(|_| panic!("seed {seed}: a client failed"));

    let mut sums = Sums { rounds: 1, ended: u64::from(ended), ..Sums::default() };
    // What had no processor for so long could not keep its word.
    let is_starved = waits.before(killed) > STARVED;
    sums.starved = u64::from(is_starved);
    // The process may have been killed when all was done.
    let is_done = !folder.join("capture.zip.journal").exists();
    let paths = match ended || is_done {
        true => parts(&output),
        false => {
            let is_cut = random.one_of(4);
            if is_cut {
                sums.recoveries_killed += cut_short(&output, random.below(150));
            }
            recovered(&output, seed, is_cut)
        }
    };
    if older && !(ended || is_done) {
        let mut files = fs::read_dir(&folder).unwrap().flatten();
        let is_older = |path: PathBuf| path.is_file() && fs::read(path).unwrap() == OLDER;
        assert!(files.any(|file| is_older(file.path())), "seed {seed}: the older file is gone");
    }
    sums.parts = paths.len();
    let seen = std::mem::take(&mut *load.seen.lock().unwrap());
    check(&paths, &seen, killed, seed, &mut sums);
    sums
}

const OLDER: &[u8] = b"the user's older file";

/// Kills the proxy; whether it had ended in good order before.
fn kill(tap: &mut Flowtap) -> bool {
    tap.signal(Signal::KILL);
    tap.keep_until_its_end().status.success()
}

fn command(output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
    command.arg("recover").arg(output);
    command
}

/// Kills a recovery; whether it was still at work.
fn cut_short(output: &Path, after_ms: u64) -> u64 {
    let mut command = command(output);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::park_timeout(Duration::from_millis(after_ms));
    child.kill().unwrap();
    u64::from(!child.wait().unwrap().success())
}

/// Recovers the capture; the parts of its bundle.
fn recovered(output: &Path, seed: u64, is_second: bool) -> Vec<PathBuf> {
    let Output { status, stdout, stderr } = command(output).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    let folder = output.with_file_name("capture.zip.journal");
    // The first may have been killed when all was done.
    let was_done = is_second && stderr.contains("nothing to recover");
    assert!(status.success() || was_done, "seed {seed}: {stderr}");
    assert!(!folder.exists(), "seed {seed}: {stderr}");
    let stdout = String::from_utf8(stdout).unwrap();
    let listed: Vec<_> = stdout.lines().map(PathBuf::from).collect();
    match listed.is_empty() {
        false => listed,
        true => parts(output),
    }
}

/// The parts of the capture that stand at the output, or beside what keeps that place.
fn parts(output: &Path) -> Vec<PathBuf> {
    let is_older = fs::read(output).is_ok_and(|bytes| bytes == OLDER);
    let stem = if is_older { "capture-recovered" } else { "capture" };
    let name = |part: u32| match part {
        1 => output.with_file_name(format!("{stem}.zip")),
        _ => output.with_file_name(format!("{stem}-{part:04}.zip")),
    };
    (1..).map(name).take_while(|path| path.exists()).collect()
}

/// Puts what clients saw beside what the bundle has.
fn check(paths: &[PathBuf], seen: &Seen, killed: Instant, seed: u64, sums: &mut Sums) {
    judge(paths, seed);
    let bundles: Vec<_> = paths.iter().map(|path| Bundle::open(path)).collect();
    let mut traces = BTreeMap::new();
    let mut sockets = BTreeMap::new();
    let begun: BTreeSet<_> = seen.begun.iter().copied().collect();
    let opened: BTreeSet<_> = seen.sockets.iter().copied().collect();
    for bundle in &bundles {
        for trace in bundle.traces() {
            let id = id_of(&trace["request"]["url"]);
            assert!(begun.contains(&id), "seed {seed}: nobody sent {trace}");
            check_trace(bundle, &trace, id, seed);
            assert!(traces.insert(id, trace).is_none(), "seed {seed}: {id} is there twice");
        }
        let count = bundle.json("manifest.json")["stats"]["ws_connection_count"].as_u64().unwrap();
        for number in 1..=count {
            let name = format!("ws_{number:04}");
            let socket = bundle.json(&format!("ws/{name}.json"));
            let id = id_of(&socket["url"]);
            assert!(opened.contains(&id), "seed {seed}: nobody opened {socket}");
            let messages = bundle.messages(&name);
            check_messages(&messages, id, seed);
            let before = sockets.insert(id, messages.len());
            assert!(before.is_none(), "seed {seed}: {id} is there twice");
        }
    }
    sums.exchanges = traces.len();
    if sums.starved > 0 {
        return;
    }
    let is_due = |at: Instant| killed.saturating_duration_since(at) > SECOND;
    let newest = seen.exchanges.iter().filter(|(id, _)| traces.contains_key(id));
    let newest = newest.map(|(_, at)| killed.saturating_duration_since(*at)).min();
    for (id, at) in seen.exchanges.iter().filter(|(_, at)| is_due(*at)) {
        let trace = traces.get(id).unwrap_or_else(|| {
            let age = killed - *at;
            panic!("seed {seed}: {id} is lost, {age:?} old; the newest that is there: {newest:?}")
        });
        assert!(trace["error"].is_null(), "seed {seed}: {trace}");
        sums.due_exchanges += 1;
    }
    for (id, number, at) in seen.messages.iter().filter(|(_, _, at)| is_due(*at)) {
        let recorded = sockets.get(id).copied().unwrap_or(0) as u64;
        let age = killed - *at;
        let text = format!("seed {seed}: message {number} of {id} is lost, {age:?} old");
        // Each message has its echo.
        assert!(recorded >= 2 * number, "{text}: {recorded} are there");
        sums.due_messages += 1;
    }
}

fn judge(paths: &[PathBuf], seed: u64) {
    if paths.is_empty() {
        return;
    }
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check_bundle.py");
    let output = Command::new("python3").arg(checker).args(paths).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let more = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "seed {seed}: against the format: {text}{more}");
}

fn id_of(url: &Value) -> u64 {
    url.as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap()
}

/// A trace has what was sent, byte for byte; one that failed has the beginning of it.
fn check_trace(bundle: &Bundle, trace: &Value, id: u64, seed: u64) {
    let exchange = Exchange::new(id);
    let named = format!("X-Id: {id}");
    assert!(fields(&trace["request"]).contains(&named), "seed {seed}: {trace}");
    let bodies = [
        (bundle.body(trace, "request"), exchange.request_body()),
        (bundle.body(trace, "response"), exchange.response_body()),
    ];
    if trace["error"].is_null() {
        assert_eq!(trace["response"]["status"], 200, "seed {seed}: {trace}");
        assert!(fields(&trace["response"]).contains(&named), "seed {seed}: {trace}");
        assert!(bodies.iter().all(|(got, sent)| got == sent), "seed {seed}: {trace}");
    } else {
        assert!(bodies.iter().all(|(got, sent)| sent.starts_with(got)), "seed {seed}: {trace}");
    }
}

/// Messages are those that were sent and echoed, in their order.
fn check_messages(messages: &[(String, String, Vec<u8>)], id: u64, seed: u64) {
    for (at, (direction, opcode, payload)) in messages.iter().enumerate() {
        let (first, sent) = websocket_message(id, at as u64 / 2 + 1);
        let expected = (
            if at % 2 == 0 { "send" } else { "receive" },
            if first == 0x88 { "close" } else { "binary" },
        );
        let same = (direction.as_str(), opcode.as_str()) == expected && *payload == sent;
        assert!(same, "seed {seed}: message {at} of {id} is {direction} {opcode}");
    }
}
