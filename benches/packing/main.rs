//! What it costs to make the bundle from the journal, for each flow.
//!
//! `cargo bench --bench packing -- [NAME]… [--quick]` prints a Markdown table of CPU time, user and
//! system, of all that happens between the last flow and the end of the capture, for the exchanges
//! whose names begin so.

// A benchmark that cannot run ends with a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use flowtap::capture::entry::ended;
use flowtap::capture::queue::{SendError, queue};
use flowtap::capture::recorder::{Recorder, RecorderConfig};
use flowtap::flow::record::{
    Authority, Body, BodyBlock, Exchange, FlowEvent, FlowId, Intervention, Message, Scheme, Side,
    Timing, TlsFacts, Upstream,
};
use flowtap::limits::{BATCH_EVENTS, BODY_BLOCK_BYTES, PART_TRACES};
use flowtap::notice::Notices;
use flowtap::stats::Stats;
use rustix::time::{ClockId, clock_gettime};

/// Between two looks at how many flows the recorder has taken, which it tells nobody: it counts.
const LOOKS: Duration = Duration::from_millis(10);

/// Exchanges of one kind.
struct Kind {
    name: &'static str,
    request: &'static str,
    response: &'static str,
    body: Bytes,
    /// In one part of a bundle, and so many bundles.
    flows: u64,
    bundles: u32,
}

fn main() {
    let quick = std::env::args().any(|it| it == "--quick");
    let names: Vec<_> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    println!("| exchanges | flows | CPU each | wall time each |");
    println!("|---|--:|--:|--:|");
    let is_wanted =
        |kind: &Kind| names.is_empty() || names.iter().any(|name| kind.name.starts_with(name));
    for kind in kinds().into_iter().filter(is_wanted) {
        let bundles = if quick { 1 } else { kind.bundles };
        let (mut cpu, mut wall) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..bundles {
            let (more_cpu, more_wall) = pack(&kind);
            cpu += more_cpu;
            wall += more_wall;
        }
        let flows = kind.flows * u64::from(bundles);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / flows as f64;
        println!("| {} | {flows} | {:.2} µs | {:.2} µs |", kind.name, each(cpu), each(wall));
    }
}

fn kinds() -> [Kind; 4] {
    const BARE: &str = "GET /small HTTP/1.1\r\nHost: localhost:18443\r\n\r\n";
    const NGINX: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 \
        10:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 100\r\nConnection: \
        keep-alive\r\n\r\n";
    const BROWSER: &str = "GET /api/v1/users/4711?fields=name,address&page=2 HTTP/1.1\r\nHost: \
        api.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 \
        Firefox/140.0\r\nAccept: application/json, text/plain, */*\r\nAccept-Language: \
        en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nReferer: \
        https://app.example/users\r\nOrigin: https://app.example\r\nAuthorization: Bearer \
        eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLWlzLWhlcmU\r\nCookie: \
        theme=dark; session_id=0123456789abcdef0123456789abcdef\r\nSec-Fetch-Dest: \
        empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-site\r\nConnection: \
        keep-alive\r\n\r\n";
    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: \
        no-cache\r\nServer: made-up\r\nX-Request-Id: 6ce24c58-93bf-4bd4-8a12-5c1d2f0a9b11\r\nVary: \
        Accept-Encoding\r\nETag: W/\"5f-abc\"\r\nStrict-Transport-Security: \
        max-age=31536000\r\n\r\n";
    const GZIPPED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: \
        gzip\r\nCache-Control: no-cache\r\nServer: made-up\r\nX-Request-Id: \
        6ce24c58-93bf-4bd4-8a12-5c1d2f0a9b11\r\nVary: Accept-Encoding\r\n\r\n";
    const IMAGE: &str = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n";
    let text: String = (0..400).map(|n| format!("{{\"id\":{n},\"name\":\"user {n}\"}},")).collect();
    let text = Bytes::from(text.into_bytes());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&text).unwrap();
    let gzip = gzip.finish().unwrap().into();
    let large = (0..1024 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let kind = |name, request, response, body, flows, bundles| Kind {
        name,
        request,
        response,
        body,
        flows,
        bundles,
    };
    [
        kind("100 B, few fields", BARE, NGINX, text.slice(..100), PART_TRACES, 20),
        kind("10 KiB, a browser's fields", BROWSER, PLAIN, text.clone(), PART_TRACES, 5),
        kind("10 KiB with gzip, a browser's fields", BROWSER, GZIPPED, gzip, PART_TRACES, 5),
        kind("1 MiB", BROWSER, IMAGE, large, 200, 2),
    ]
}

/// Records the flows of one bundle; the CPU time of the process, and the time, that it took to
/// make the bundle then.
fn pack(kind: &Kind) -> (Duration, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let stats = Arc::new(Stats::default());
    let (notices, _given) = Notices::channel(stats.clone());
    let (first_sender, receiver) = queue();
    let output = folder.path().join("capture.zip");
    let config = RecorderConfig { output, app: "bench".into(), part_traces: kind.flows };
    let handle = Recorder::start(config, receiver, stats.clone(), notices).unwrap();
    let (woken, room) = crossbeam_channel::unbounded();
    let sender = first_sender.for_loop(move || {
        let _ = woken.send(());
    });
    drop(first_sender);
    let mut batch = Vec::new();
    for id in 1..=kind.flows {
        events(kind, id, &mut batch);
        if batch.len() < BATCH_EVENTS && id < kind.flows {
            continue;
        }
        while let Err(SendError::Full(back)) = sender.try_send(std::mem::take(&mut batch)) {
            batch = back;
            room.recv().unwrap();
        }
    }
    while stats.traces.get() < kind.flows {
        std::thread::sleep(LOOKS);
    }
    let (cpu_before, started) = (cpu(), Instant::now());
    drop(sender);
    let summary = handle.finish(&mut |_| ());
    let took = (cpu().saturating_sub(cpu_before), started.elapsed());
    assert_eq!((summary.traces, summary.error), (kind.flows, None));
    took
}

/// User and system time of this process.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap()
}

/// Appends the events of a flow, its body in blocks if it is large.
fn events(kind: &Kind, id: u64, batch: &mut Vec<FlowEvent>) {
    let (flow, side) = (FlowId(id), Side::Response);
    let mut tail = kind.body.clone();
    while tail.len() > BODY_BLOCK_BYTES {
        let data = tail.split_to(BODY_BLOCK_BYTES);
        batch.push(FlowEvent::Body(BodyBlock { flow, side, data }));
    }
    let size = kind.body.len() as u64;
    let body = Body { sent_ahead: size - tail.len() as u64, tail, size };
    let tls = Arc::new(TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        server_name: Some("localhost".into()),
        alpn: Some("http/1.1".into()),
        resumed: false,
    });
    let timing = Timing {
        began_us: 1_700_000_000_000_000 + id * 31,
        send_us: 12,
        wait_us: 1_234,
        receive_us: 7,
        total_us: 1_300,
        ..Timing::default()
    };
    let head = |text: &'static str| Bytes::from_static(text.as_bytes());
    batch.push(ended(&Exchange {
        id: flow,
        scheme: Scheme::Https,
        target: Some(Arc::new(Authority { host: "localhost".into(), port: 18443 })),
        client: "127.0.0.1:40000".parse().unwrap(),
        client_tls: Some(tls.clone()),
        upstream: Some(Upstream {
            address: "127.0.0.1:18443".parse().unwrap(),
            connection: 1 + id % 64,
            reused: id > 64,
            tls: Some(tls),
        }),
        request: Message { head: head(kind.request), ..Message::default() },
        response: Some(Message { head: head(kind.response), body, ..Message::default() }),
        timing,
        error: None,
        intervention: Intervention::default(),
    }));
}
