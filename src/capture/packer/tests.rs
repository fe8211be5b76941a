use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crossbeam_channel::unbounded;
use tempfile::TempDir;

use super::*;
use crate::capture::bundle::part_path;
use crate::capture::entry::{SegmentHeader, put_ended};
use crate::capture::journal::{JournalFolder, SegmentWriter};
use crate::capture::read::Bundle;
use crate::capture::writer::tests::request;
use crate::fault::testing::DEADLINE;
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
            losses: Losses::default(),
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
        let mut frame = Vec::new();
        put_ended(&mut frame, request(id));
        writer.append_made(&frame);
    }
    writer.finish(Losses::default(), 2).unwrap();
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
    let flows = 2_000;
    let journal = Journal::of(vec![flows, 1]);
    let shared = Shared::default();
    let looks_later = AtomicU64::new(0);
    // The capture ends while the first thread has packed some flows of the first part; it looks at
    // the traffic after each.
    let traffic = || {
        let packed = shared.packed.load(Ordering::Relaxed);
        if packed >= 100 && thread::current().name() == Some("packer") {
            let was_closing = shared.closing.swap(true, Ordering::Relaxed);
            looks_later.fetch_add(u64::from(was_closing), Ordering::Relaxed);
        }
        Traffic::default()
    };
    let (sender, jobs) = unbounded();
    let packed = thread::scope(|scope| {
        let packer = scope.spawn(|| run(&jobs, &journal.places, &shared, &traffic));
        let mut all = journal.jobs();
        sender.send(all.next().unwrap()).unwrap();
        wait_until(|| shared.closing.load(Ordering::Relaxed));
        assert!(journal.places.folder.packed(1).exists() && !journal.part(1).exists());
        all.for_each(|job| sender.send(job).unwrap());
        drop(sender);
        packer.join().unwrap()
    });
    // The first thread has left it there, with most of its flows to come.
    assert_eq!(looks_later.load(Ordering::Relaxed), 0);
    assert_eq!(packed.paths, journal.parts());
    assert_eq!((packed.counts.traces, packed.lost), (flows + 1, 0));
    // Flows that were packed twice would count twice.
    assert_eq!(shared.packed.load(Ordering::Relaxed), flows + 1);
    assert_eq!(Bundle::open(&journal.part(1)).unwrap().trace_ids().len(), flows as usize);
}

/// Keeps a part from being made, as a disk without room does, until it is dropped.
struct NoRoom(PathBuf);

impl NoRoom {
    fn for_part(journal: &Journal, part: u32) -> Self {
        let path = journal.places.folder.packed(part);
        std::fs::create_dir(&path).unwrap();
        NoRoom(path)
    }
}

impl Drop for NoRoom {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

#[test]
fn a_part_without_room_is_tried_again_before_the_next() {
    let journal = Journal::of(vec![3, 2, 1]);
    let shared = Shared::default();
    let desk = Desk::new(&journal.places, &shared, &Traffic::default);
    let mut jobs = journal.jobs();
    let no_room = NoRoom::for_part(&journal, 1);
    desk.waiting.push(jobs.next().unwrap(), 1);
    desk.waiting.push(jobs.next().unwrap(), 1);
    assert!(!desk.pack(desk.waiting.take().unwrap()));
    // The next may be done meanwhile, and waits.
    assert_eq!(desk.waiting.backlog().segments, 2);
    drop(no_room);
    let again = desk.waiting.take().unwrap();
    assert_eq!(again.part, 1);
    assert!(desk.pack(again) && journal.part(1).exists());
    assert!(desk.pack(desk.waiting.take().unwrap()));
    let packed = desk.order.into_inner().unwrap().packed;
    assert_eq!(packed.paths, journal.parts()[..2]);
    assert!(packed.error.is_none() && !packed.segment_left);
    assert_eq!(shared.packed.load(Ordering::Relaxed), 5);
}

#[test]
fn parts_without_room_are_tried_one_by_one_at_the_end() {
    let journal = Journal::of(vec![3, 2, 1, 4]);
    let shared = Shared::default();
    let desk = Desk::new(&journal.places, &shared, &Traffic::default);
    desk.waiting.close();
    let mut no_room: Vec<_> = [2, 3].map(|part| NoRoom::for_part(&journal, part)).into();
    let packed: Vec<_> = journal.jobs().map(|job| desk.pack(job)).collect();
    assert_eq!(packed, [true, false, false, true]);
    // The last is done and waits for those before it.
    assert!(journal.places.folder.packed(4).exists() && !journal.part(4).exists());
    assert_eq!(shared.packed.load(Ordering::Relaxed), 7);
    no_room.remove(0);
    desk.pack_aside();
    let packed = desk.order.into_inner().unwrap().packed;
    let mut expected = journal.parts();
    let missing = expected.remove(2);
    assert_eq!((packed.paths, packed.counts.traces), (expected, 9));
    let (path, _) = packed.error.unwrap();
    assert_eq!((path, packed.lost, packed.segment_left), (missing, 0, true));
    assert!(journal.places.folder.segment(3).exists());
    assert!(!journal.places.folder.segment(4).exists());
    assert_eq!(shared.packed.load(Ordering::Relaxed), 9);
}

#[test]
fn later_parts_that_are_done_make_room_for_the_first() {
    let journal = Journal::of(vec![3, 2]);
    let shared = Shared::default();
    let desk = Desk::new(&journal.places, &shared, &Traffic::default);
    desk.waiting.close();
    let no_room = NoRoom::for_part(&journal, 1);
    journal.jobs().for_each(|job| _ = desk.pack(job));
    assert!(journal.places.folder.packed(2).exists());
    assert!(desk.undo_waiting_parts());
    assert!(!journal.places.folder.packed(2).exists());
    assert_eq!(shared.packed.load(Ordering::Relaxed), 0);
    drop(no_room);
    desk.pack_aside();
    let packed = desk.order.into_inner().unwrap().packed;
    assert_eq!((packed.paths, packed.error.is_none()), (journal.parts(), true));
    assert_eq!(shared.packed.load(Ordering::Relaxed), 5);
}

#[test]
fn what_another_capture_has_in_the_folder_that_it_took_over_is_left_alone() {
    let journal = Journal::of(vec![3, 2]);
    let places = &journal.places;
    std::fs::write(journal.part(1), "older").unwrap();
    let shared = Shared::default();
    let desk = Desk::new(places, &shared, &Traffic::default);
    desk.waiting.close();
    // The second part is done and waits for the first, which is under way.
    let mut jobs = journal.jobs();
    let begun = desk.begin(jobs.next().unwrap()).unwrap();
    desk.pack(jobs.next().unwrap());
    std::fs::remove_dir_all(places.folder.path()).unwrap();
    let (other, _) = JournalFolder::create(&places.output).unwrap();
    let theirs = [other.packed(1), other.packed(2), other.segment(1), other.replaced(1)];
    theirs.iter().for_each(|path| std::fs::write(path, "theirs").unwrap());
    assert!(desk.go_on(begun));
    drop(desk);
    for path in theirs {
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs", "{}", path.display());
    }
    assert_eq!(std::fs::read(journal.part(1)).unwrap(), b"older");
    assert!(!journal.part(2).exists());
}

#[test]
fn a_fault_in_one_part_is_a_failure_of_that_part() {
    let journal = Journal::of(vec![3, 2, 1]);
    let shared = Shared::default();
    // A fault in the first thread, while it packs the second part.
    let faults = AtomicU64::new(0);
    let traffic = || {
        let packed = shared.packed.load(Ordering::Relaxed);
        if packed == 4 && thread::current().name() == Some("packer") {
            faults.fetch_add(1, Ordering::Relaxed);
            panic!("on purpose");
        }
        Traffic::default()
    };
    let (sender, jobs) = unbounded();
    let packed = thread::scope(|scope| {
        let packer = scope.spawn(|| run(&jobs, &journal.places, &shared, &traffic));
        journal.jobs().for_each(|job| sender.send(job).unwrap());
        wait_until(|| faults.load(Ordering::Relaxed) > 0);
        shared.closing.store(true, Ordering::Relaxed);
        drop(sender);
        packer.join().unwrap()
    });
    assert_eq!((packed.paths, packed.counts.traces), (journal.parts(), 6));
    assert!(packed.error.is_none());
}

/// Runs a packer with a deadline of its own; `None` after a fault in its own thread.
fn run_to_its_end(
    jobs: Receiver<Job>,
    journal: &Arc<Journal>,
    shared: &Arc<Shared>,
    traffic: fn() -> Traffic,
) -> Option<Packed> {
    let (done, ended) = unbounded();
    let (journal, shared) = (journal.clone(), shared.clone());
    thread::spawn(move || {
        let packed = fault::catch(|| run(&jobs, &journal.places, &shared, &traffic));
        done.send(packed.ok()).unwrap();
    });
    ended.recv_timeout(DEADLINE).expect("it does not end")
}

#[test]
fn a_fault_beside_the_parts_ends_the_packer() {
    let journal = Arc::new(Journal::of(vec![1]));
    let (_sender, jobs) = unbounded();
    let traffic = || match thread::current().name() {
        Some("packer") => Traffic::default(),
        _ => panic!("on purpose"),
    };
    assert!(run_to_its_end(jobs, &journal, &Arc::default(), traffic).is_none());
}

#[test]
fn a_fault_while_a_part_takes_its_place_leaves_its_segment() {
    let mut journal = Journal::of(vec![1]);
    journal.places.output.set_file_name("fault-in-place.zip");
    let journal = Arc::new(journal);
    let (sender, jobs) = unbounded();
    journal.jobs().for_each(|job| sender.send(job).unwrap());
    let shared = Arc::<Shared>::default();
    let packing = {
        let (journal, shared) = (journal.clone(), shared.clone());
        thread::spawn(move || run_to_its_end(jobs, &journal, &shared, Traffic::default))
    };
    // The first thread comes to the fault: it alone packs before the capture ends.
    let is_packed = || shared.packed.load(Ordering::Relaxed) == 1;
    wait_until(|| is_packed() && !journal.places.folder.packed(1).exists());
    drop(sender);
    let packed = packing.join().unwrap().unwrap();
    assert!(packed.segment_left && packed.paths.is_empty());
    assert!(journal.places.folder.segment(1).exists());
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
    let many = PACK_THREADS + 5;
    let cases = [(1, many, 1), (2, many, 2), (many, many, PACK_THREADS), (many, 2, 2), (2, 0, 1)];
    for (cores, segments, expected) in cases {
        assert_eq!(threads(cores, segments), expected, "{cores} cores, {segments} segments");
    }
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
