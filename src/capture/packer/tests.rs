use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crossbeam_channel::unbounded;
use tempfile::TempDir;

use super::*;
use crate::capture::bundle::part_path;
use crate::capture::entry::{SegmentHeader, put_ended};
use crate::capture::journal::{JournalFolder, SegmentWriter};
use crate::capture::read::Bundle;
use crate::flow::record::{Exchange, FlowId, Intervention, Message, Scheme, Timing};
use crate::limits::PACK_BACKLOG_SEGMENTS;
use crate::notice::Notices;
use crate::stats::Stats;

/// A journal whose segments have these numbers of flows.
struct Journal {
    _parent: TempDir,
    places: Places,
    flows: Vec<u64>,
}

impl Journal {
    fn of(flows: Vec<u64>) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("capture.zip");
        let (folder, _) = JournalFolder::create(&output).unwrap();
        for (part, flows) in (1..).zip(&flows) {
            write_segment(&folder.segment(part), part, *flows);
        }
        let (notices, _) = Notices::channel(Stats::default().into());
        Journal { _parent: parent, places: Places { output, folder, notices }, flows }
    }

    fn jobs(&self) -> impl Iterator<Item = Job> {
        (1..).zip(&self.flows).map(|(part, flows)| Job {
            part,
            path: self.part(part),
            flows: *flows,
            finished: true,
        })
    }

    fn part(&self, part: u32) -> PathBuf {
        part_path(&self.places.output, part)
    }

    fn parts(&self) -> Vec<PathBuf> {
        self.jobs().map(|job| job.path).collect()
    }
}

fn write_segment(path: &Path, part: u32, flows: u64) {
    let header = SegmentHeader {
        series: "s".into(),
        part,
        created_us: 1,
        app: "a".into(),
        file_name: "f".into(),
    };
    let mut writer = SegmentWriter::create(path, &header).unwrap();
    for id in 1..=flows {
        let exchange = Exchange {
            id: FlowId(id),
            scheme: Scheme::Http,
            target: None,
            client: "127.0.0.1:1".parse().unwrap(),
            client_tls: None,
            upstream: None,
            request: Message { head: "GET / HTTP/1.1\r\n\r\n".into(), ..Message::default() },
            response: None,
            timing: Timing::default(),
            error: None,
            intervention: Intervention::default(),
        };
        let mut frame = Vec::new();
        put_ended(&mut frame, exchange.clone());
        writer.append_made(&frame);
    }
    writer.finish(2).unwrap();
}

fn wait_until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < deadline);
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Traffic that is busy whenever it is looked at.
fn busy() -> impl Fn() -> Traffic + Sync {
    let exchanges = AtomicU64::new(0);
    move || Traffic { exchanges: exchanges.fetch_add(1 << 32, Ordering::Relaxed), bytes: 0 }
}

#[test]
fn packing_gives_way_to_traffic_only_while_little_waits() {
    let count = 2 * PACK_BACKLOG_SEGMENTS + 6;
    let journal = Journal::of(vec![1; count]);
    let shared = Shared::default();
    let (sender, jobs) = unbounded();
    let packed = thread::scope(|scope| {
        let packer = scope.spawn(|| run(&jobs, &journal.places, &shared, &busy()));
        journal.jobs().for_each(|job| sender.send(job).unwrap());
        let are_packed = |count: usize| journal.part(count as u32).exists();
        // The last that was begun may be left in the middle.
        wait_until(|| are_packed(count - PACK_BACKLOG_SEGMENTS - 1));
        assert!(!are_packed(count - PACK_BACKLOG_SEGMENTS + 2));
        shared.closing.store(true, Ordering::Relaxed);
        drop(sender);
        packer.join().unwrap()
    });
    assert_eq!((packed.paths, packed.lost, packed.segment_left), (journal.parts(), 0, false));
    assert_eq!(packed.counts.traces, count as u64);
}

#[test]
fn a_part_that_is_under_way_at_the_end_is_gone_on_with() {
    let flows = 20_000;
    let journal = Journal::of(vec![flows, 1]);
    let shared = Shared::default();
    let (sender, jobs) = unbounded();
    let packed = thread::scope(|scope| {
        let packer = scope.spawn(|| run(&jobs, &journal.places, &shared, &Traffic::default));
        let mut all = journal.jobs();
        sender.send(all.next().unwrap()).unwrap();
        wait_until(|| shared.packed.load(Ordering::Relaxed) > 0);
        shared.closing.store(true, Ordering::Relaxed);
        all.for_each(|job| sender.send(job).unwrap());
        drop(sender);
        packer.join().unwrap()
    });
    assert_eq!(packed.paths, journal.parts());
    assert_eq!((packed.counts.traces, packed.lost), (flows + 1, 0));
    assert_eq!(shared.packed.load(Ordering::Relaxed), flows + 1);
    assert_eq!(Bundle::open(&journal.part(1)).unwrap().trace_ids().len(), flows as usize);
}

#[test]
fn parts_take_their_places_in_order_whichever_is_done_first() {
    // The first takes by far the longest, and of the third there is nothing.
    let journal = Journal::of(vec![3_000, 1, 1, 200, 1, 1]);
    std::fs::remove_file(journal.places.folder.segment(3)).unwrap();
    let shared = Shared { closing: true.into(), ..Shared::default() };
    let (sender, jobs) = unbounded();
    journal.jobs().for_each(|job| sender.send(job).unwrap());
    drop(sender);
    let packed = run(&jobs, &journal.places, &shared, &Traffic::default);
    let mut expected = journal.parts();
    let missing = expected.remove(2);
    assert_eq!(packed.paths, expected);
    assert!(expected.iter().all(|path| path.exists()) && !missing.exists());
    let (path, error) = packed.error.unwrap();
    assert_eq!(path, missing);
    assert!(error.to_string().contains("journal cannot be read"), "{error}");
    assert_eq!((packed.lost, packed.segment_left), (1, false));
}

#[test]
fn there_are_not_more_threads_than_cores_and_than_are_of_use() {
    let cores = thread::available_parallelism().unwrap().get();
    assert!((1..=PACK_THREADS.min(cores)).contains(&threads()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_low_priority_is_that_of_one_thread() {
    // The fields behind the name begin with the third.
    let niceness = || -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit_once(')').unwrap().1;
        fields.split_whitespace().nth(19 - 3).unwrap().parse().unwrap()
    };
    let before = niceness();
    let lowered = thread::spawn(move || {
        lower_priority();
        niceness()
    });
    assert_eq!(lowered.join().unwrap(), LOWEST);
    assert_eq!(niceness(), before);
}
