//! What the flow store costs: each flow that it takes, and a search over all that it keeps.
//!
//! `cargo bench --bench store -- [--quick]` prints a Markdown table of CPU time, which does not
//! depend on what else the machine does. Linux only: it reads `/proc`.

// A benchmark that cannot run ends with a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowtap::capture::entry::ended;
use flowtap::capture::queue::{FlowSender, queue_with_bounds};
use flowtap::flow::control::{ControlError, FlowControl, NewRequest, Verdict};
use flowtap::flow::record::{
    Authority, Body, Exchange, FlowId, Intervention, Message, Scheme, Timing,
};
use flowtap::flow::redact::Redactor;
use flowtap::limits::{BATCH_EVENTS, QUEUE_BATCHES};
use flowtap::mcp::store::{Store, StoreLimits};
use flowtap::mcp::toolbox::{Call, Cancellation, Toolbox};
use flowtap::mcp::tools::{FlowTools, Surroundings};
use flowtap::options::{Options, SharedOptions};
use flowtap::stats::Stats;
use serde_json::json;

/// Flows that are kept while a search runs.
const SEARCHED_FLOWS: usize = 100_000;
/// Flows that are taken by a store that is full.
const TAKEN_FLOWS: usize = 1_000_000;
/// With `--quick`, counts are divided by this.
const QUICK: usize = 10;

fn main() {
    let divisor = if std::env::args().any(|it| it == "--quick") { QUICK } else { 1 };
    println!("| what | flows | each | in all |");
    println!("|---|---|---|---|");
    take(TAKEN_FLOWS / divisor);
    search(SEARCHED_FLOWS / divisor);
}

/// Taking flows, the oldest of which go, with nobody who looks.
fn take(flows: usize) {
    let (sender, receiver) = queue_with_bounds(QUEUE_BATCHES, usize::MAX);
    let store = Store::new(receiver, StoreLimits::default());
    let (mut taken, mut count) = (Duration::ZERO, 0);
    while count < flows {
        // Many at a time: the clock is coarse.
        for _ in 0..QUEUE_BATCHES {
            send(&sender, count, BATCH_EVENTS);
            count += BATCH_EVENTS;
        }
        let start = cpu();
        store.pump();
        taken += cpu().saturating_sub(start);
    }
    row("taken by a full store", count, taken);
}

/// Searching flows with the tool, masking included.
fn search(flows: usize) {
    let (sender, receiver) = queue_with_bounds(16, usize::MAX);
    let limits = StoreLimits { flows, bytes: usize::MAX, ..StoreLimits::default() };
    let store = Arc::new(Store::new(receiver, limits));
    for first in (0..flows).step_by(BATCH_EVENTS) {
        send(&sender, first, BATCH_EVENTS.min(flows - first));
        store.pump();
    }
    assert_eq!(store.snapshot().len(), flows);
    for (name, redactor) in [("unmasked", Redactor::off()), ("masked", Redactor::new(&[]).unwrap())]
    {
        let options = Arc::new(SharedOptions::new(Options { redactor, ..Options::default() }));
        let tools = FlowTools::new(store.clone(), Arc::new(Idle), options, surroundings());
        for (what, tool, arguments) in [
            ("get_flows by URL", "get_flows", json!({"url_pattern": "/users/99$"})),
            ("search_flows in heads", "search_flows", json!({"pattern": "no-such-text"})),
            (
                "search_flows in all",
                "search_flows",
                json!({"pattern": "no-such-text", "in": "all"}),
            ),
            ("get_overview", "get_overview", json!({})),
        ] {
            let cancellation = Cancellation::default();
            let arguments = arguments.as_object().unwrap();
            let call = Call { arguments, cancellation: &cancellation, progress: &|_, _, _| () };
            let start = cpu();
            let result = tools.call(tool, &call).unwrap();
            let took = cpu().saturating_sub(start);
            assert!(!result.is_error, "{:?}", result.content);
            row(&format!("{what}, {name}"), flows, took);
        }
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap())
}

fn row(what: &str, flows: usize, took: Duration) {
    let each = took.as_nanos() / flows.max(1) as u128;
    println!("| {what} | {flows} | {each} ns | {:.1} ms |", took.as_secs_f64() * 1e3);
}

fn send(sender: &FlowSender, first: usize, count: usize) {
    let flows = (first..first + count).map(|id| ended(&exchange(id as u64)));
    sender.try_send(flows.collect()).expect("the queue is emptied after each batch");
}

/// An exchange as an API has them: heads of 300 to 400 bytes, a body of 1 KiB.
fn exchange(id: u64) -> Exchange {
    let request = format!(
        "GET /api/v1/users/{} HTTP/1.1\r\nHost: api.example\r\nUser-Agent: bench/1.0 (made up)\r\n\
         Accept: application/json\r\nAccept-Encoding: gzip, br\r\nAuthorization: Bearer \
         eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLWlzLWhlcmU\r\nCookie: \
         theme=dark; session_id=0123456789abcdef\r\n\r\n",
        id % 1_000
    );
    let response = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-cache\r\n\
                    Server: made-up\r\nX-Request-Id: 6ce24c58-93bf-4bd4-8a12-5c1d2f0a9b11\r\n\
                    Vary: Accept-Encoding\r\nStrict-Transport-Security: max-age=31536000\r\n\r\n";
    let body = format!("{{\"id\":{id},\"text\":\"{}\"}}", "lorem ipsum ".repeat(80));
    let body = Body { size: body.len() as u64, tail: body.into(), sent_ahead: 0 };
    Exchange {
        id: FlowId(id),
        scheme: Scheme::Https,
        target: Some(Arc::new(Authority { host: "api.example".into(), port: 443 })),
        client: "127.0.0.1:40000".parse().unwrap(),
        client_tls: None,
        upstream: None,
        request: Message { head: request.into(), ..Message::default() },
        response: Some(Message { head: response.into(), body, ..Message::default() }),
        timing: Timing { began_us: 1_700_000_000_000_000 + id, ..Timing::default() },
        error: None,
        intervention: Intervention::default(),
    }
}

/// Loops that nobody asks.
struct Idle;

impl FlowControl for Idle {
    fn decide(&self, _: FlowId, _: Verdict) -> Result<(), ControlError> {
        Err(ControlError::NotHeld)
    }

    fn send(&self, _: NewRequest) -> Result<FlowId, ControlError> {
        Err(ControlError::NotHeld)
    }

    fn abandon(&self, _: FlowId) {}
}

fn surroundings() -> Surroundings {
    let next = AtomicU64::new(1 << 40);
    Surroundings {
        listen_address: "127.0.0.1:8080".into(),
        mode: "regular",
        bundle: None,
        folder: PathBuf::from("."),
        started: Instant::now(),
        stats: Arc::new(Stats::default()),
        notices: None,
        new_flow_id: Box::new(move || FlowId(next.fetch_add(1, Ordering::Relaxed))),
    }
}
