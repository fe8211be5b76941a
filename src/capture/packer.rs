//! The packer: threads that make a part of the bundle from each finished segment.
//!
//! While the capture goes on, one thread of low priority packs when traffic is quiet (`pace`).
//! Only when far too much waits, a second one packs at ordinary priority. When the capture ends,
//! several pack what is left at full speed; a part that the first thread has begun is gone on with
//! by another, since a thread cannot raise its priority again. Parts take their places in order.
//!
//! A part for which there is no room waits in the journal: it is tried again before the next, and
//! at the end once all others are done.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::capture::backlog::Waiting;
use crate::capture::bundle::Counts;
use crate::capture::frame::FileEnd;
use crate::capture::losses::Losses;
use crate::capture::pace::{Pace, Traffic, Turn};
use crate::capture::packing::{Finished, Packing, open_segment};
use crate::capture::place::Places;
use crate::fault;
use crate::limits::{DISK_SLOW, PACK_RETRY, PACK_THREADS};
use crate::notice::Notice;

/// A finished segment.
#[derive(Debug)]
pub(super) struct Job {
    /// Its part, from 1.
    pub(super) part: u32,
    /// Where the part will stand.
    pub(super) path: PathBuf,
    /// Flows that were written to the segment.
    pub(super) flows: u64,
    /// What it tells of, or should.
    pub(super) losses: Losses,
    /// Whether all of it was written, to its last frame.
    pub(super) finished: bool,
}

/// What the packer shares with the recorder's handle.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Flows that stand in the bundle.
    pub(super) packed: AtomicU64,
    /// Flows that stand in the journal.
    pub(super) recorded: AtomicU64,
    /// No more traffic comes: there is nobody to make way for.
    pub(super) closing: AtomicBool,
    /// Grows at least once a second, unless the recorder waits for the disk.
    pub(super) beats: AtomicU64,
}

/// What the packer has made.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) counts: Counts,
    pub(super) paths: Vec<PathBuf>,
    /// The first failure: the part's path and the reason.
    pub(super) error: Option<(PathBuf, io::Error)>,
    /// Flows that were recorded and of which nothing could be read back.
    pub(super) lost: u64,
    /// Flows that could be read back in part only.
    pub(super) damaged: u64,
    /// Whether a segment is left in the journal, since its part is not whole.
    pub(super) segment_left: bool,
}

/// Packs segments until the recorder is done. `traffic` tells what the loops have done so far.
pub(super) fn run(
    jobs: &Receiver<Job>,
    places: &Places,
    shared: &Shared,
    traffic: &(dyn Fn() -> Traffic + Sync),
) -> Packed {
    let desk = Desk::new(places, shared, traffic);
    thread::scope(|scope| {
        // The scope ends when all threads have, after a fault of this one as well.
        let closing = Closing(&desk.waiting);
        // Where there is no thread for it, all waits for the end.
        let gentle = named().spawn_scoped(scope, || {
            fault::watch_thread();
            desk.pack_gently()
        });
        desk.pass_on(jobs);
        drop(closing);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let more = threads(cores, desk.waiting.backlog().segments) - 1;
        let pack_all = || {
            fault::watch_thread();
            desk.pack_all();
        };
        // Fewer threads take longer.
        let others = (0..more).flat_map(|_| named().spawn_scoped(scope, pack_all));
        let others: Vec<_> = others.collect();
        desk.pack_all();
        // What one had in hand when it came to a fault stays in the journal.
        let begun = gentle.map(|it| it.join().unwrap_or_default());
        if let Ok(Some(begun)) = begun {
            desk.go_on(begun);
        }
        others.into_iter().for_each(|it| drop(it.join()));
    });
    desk.pack_aside();
    let order = desk.order.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Where a thread came to a fault, the part that it had in hand has not had its turn.
    let segment_left = order.packed.segment_left || order.next <= desk.last.into_inner();
    Packed { segment_left, ..order.packed }
}

/// Says that no more segments come, at the latest when it goes.
struct Closing<'a>(&'a Waiting<Job>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A panic fails one part alone, whose segment stays in the journal.
fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    fault::catch(work).unwrap_or_else(|fault| Err(io::Error::other(fault.reason())))
}

/// The threads of one purpose have one name.
fn named() -> Builder {
    Builder::new().name("packer".to_owned())
}

/// How many threads pack so many segments; at least one.
fn threads(cores: usize, segments: usize) -> usize {
    cores.min(PACK_THREADS).min(segments).max(1)
}

/// A part that was begun and is not finished.
type Begun = (Job, Box<Packing>);

/// What the threads of a packer share.
struct Desk<'a> {
    places: &'a Places,
    shared: &'a Shared,
    traffic: &'a (dyn Fn() -> Traffic + Sync),
    waiting: Waiting<Job>,
    /// The last part that was passed on.
    last: AtomicU32,
    order: Mutex<Order>,
    /// What could not be packed when several threads did, each with the reason.
    aside: Mutex<BTreeMap<u32, (Job, io::Error)>>,
}

/// Sees to it that parts take their places in order.
struct Order {
    /// The part whose turn it is.
    next: u32,
    /// Later parts that are done, or have failed for good.
    done: BTreeMap<u32, (Job, io::Result<Finished>)>,
    packed: Packed,
}

impl<'a> Desk<'a> {
    fn new(
        places: &'a Places,
        shared: &'a Shared,
        traffic: &'a (dyn Fn() -> Traffic + Sync),
    ) -> Self {
        let order = Order { next: 1, done: BTreeMap::new(), packed: Packed::default() };
        Desk {
            places,
            shared,
            traffic,
            waiting: Waiting::default(),
            last: AtomicU32::new(0),
            order: Mutex::new(order),
            aside: Mutex::default(),
        }
    }

    /// Passes segments on to the thread that packs them, until there are no more.
    fn pass_on(&self, jobs: &Receiver<Job>) {
        let mut before = (self.traffic)().bytes;
        while let Some(job) = self.next_job(jobs) {
            self.last.store(job.part, Ordering::Relaxed);
            let bytes = (self.traffic)().bytes;
            let backlog = self.waiting.push(job, bytes.saturating_sub(before));
            before = bytes;
            // At the end several threads pack.
            let is_closing = self.shared.closing.load(Ordering::Relaxed);
            if backlog.is_too_long()
                && !is_closing
                && let Some(job) = self.waiting.take()
            {
                self.pack(job);
            }
        }
    }

    /// The next segment, once it is finished. Tells the user meanwhile of a recorder that does not
    /// come out of a write.
    fn next_job(&self, jobs: &Receiver<Job>) -> Option<Job> {
        let beats = || self.shared.beats.load(Ordering::Relaxed);
        let (mut before, mut is_told) = (beats(), false);
        loop {
            match jobs.recv_timeout(DISK_SLOW) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = beats();
            let is_stuck = now == std::mem::replace(&mut before, now);
            if is_stuck && !is_told {
                let journal = self.places.folder.path().display();
                self.places.notices.give(Notice::Warning(format!(
                    "the disk with {journal} is slow; traffic waits for it, and so does stopping"
                )));
            }
            is_told = is_stuck;
        }
    }

    /// Packs at full speed until nothing waits.
    fn pack_all(&self) {
        while let Some(job) = self.waiting.take() {
            self.pack(job);
        }
    }

    /// Packs what was put aside, one part after the other. Each that takes its place makes room in
    /// the journal; where that is not enough, later parts that are done make room for the first.
    fn pack_aside(&self) {
        loop {
            let first = lock(&self.aside).pop_first();
            let Some((part, (job, _))) = first else { return };
            self.pack(job);
            let failed = lock(&self.aside).remove(&part);
            let Some((job, error)) = failed else { continue };
            if self.undo_waiting_parts() {
                lock(&self.aside).insert(part, (job, error));
            } else {
                let mut order = lock(&self.order);
                order.done.insert(part, (job, Err(error)));
                self.place_in_order(&mut order);
            }
        }
    }

    /// Removes the parts that wait for an earlier one, to be made once more; whether there were
    /// any.
    fn undo_waiting_parts(&self) -> bool {
        let done = std::mem::take(&mut lock(&self.order).done);
        let (undone, failed): (Vec<_>, Vec<_>) =
            done.into_iter().partition(|(_, (_, result))| result.is_ok());
        lock(&self.order).done.extend(failed);
        let any = !undone.is_empty();
        for (part, (job, result)) in undone {
            self.uncount(result.map_or(0, |finished| finished.read.passed));
            lock(&self.aside).insert(part, (job, io::ErrorKind::StorageFull.into()));
        }
        any
    }

    /// Flows that were told of as packed are not.
    fn uncount(&self, passed: u64) {
        self.shared.packed.fetch_sub(passed, Ordering::Relaxed);
    }

    /// Whether it could be packed.
    fn pack(&self, job: Job) -> bool {
        self.begin(job).is_some_and(|begun| self.go_on(begun))
    }

    /// Begins a part; `None` when its segment cannot be read or no file can be made for it.
    fn begin(&self, job: Job) -> Option<Begun> {
        let folder = &self.places.folder;
        match guarded(|| folder.check().and_then(|()| Packing::begin(job.part, folder))) {
            Ok(packing) => Some((job, Box::new(packing))),
            Err(error) => {
                self.settle(job, Err(error));
                None
            }
        }
    }

    fn go_on(&self, (job, mut packing): Begun) -> bool {
        let result = guarded(|| {
            packing.go_on(&self.places.folder, &mut || {
                self.shared.packed.fetch_add(1, Ordering::Relaxed);
                ControlFlow::Continue(())
            })
        });
        self.end(job, packing, result.map(drop))
    }

    /// Ends a part of which all was packed, or something could not be.
    fn end(&self, job: Job, packing: Box<Packing>, result: io::Result<()>) -> bool {
        let passed = packing.passed();
        let finished = match result {
            Ok(()) => guarded(|| {
                let mut losses = job.losses;
                let unread = job.flows.saturating_sub(packing.read().flows);
                losses.add(Losses::of_flows(unread));
                packing.finish(losses)
            }),
            // Its files go before others are made.
            Err(error) => {
                drop(packing);
                Err(error)
            }
        };
        if finished.is_err() {
            self.uncount(passed);
        }
        self.settle(job, finished)
    }

    /// Packs when traffic is quiet or too much waits, until the capture ends. Gives back the part
    /// that is under way then.
    fn pack_gently(&self) -> Option<Begun> {
        lower_priority();
        let mut pace = Pace::new(Instant::now(), (self.traffic)());
        while self.waiting.wait_for_job() {
            if self.rest(&mut pace).is_break() {
                return None;
            }
            let Some(job) = self.waiting.take() else { continue };
            let is_packed = match self.begin(job) {
                Some((job, mut packing)) => {
                    let result = guarded(|| {
                        packing.go_on(&self.places.folder, &mut || {
                            self.shared.packed.fetch_add(1, Ordering::Relaxed);
                            self.rest(&mut pace)
                        })
                    });
                    if matches!(result, Ok(ControlFlow::Break(()))) {
                        return Some((job, packing));
                    }
                    self.end(job, packing, result.map(drop))
                }
                None => false,
            };
            if !is_packed {
                self.waiting.wait_for_another(PACK_RETRY);
            }
        }
        None
    }

    /// Waits while traffic has the right of way; breaks off when the capture ends.
    fn rest(&self, pace: &mut Pace) -> ControlFlow<()> {
        loop {
            if self.shared.closing.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            match pace.turn(Instant::now(), (self.traffic)(), || self.waiting.backlog()) {
                Turn::Work => return ControlFlow::Continue(()),
                Turn::Wait(time) if self.waiting.is_closed_within(time) => {
                    return ControlFlow::Break(());
                }
                Turn::Wait(_) => {}
            }
        }
    }

    /// Moves a part that is done to its place as soon as it is its turn. One that failed is tried
    /// again if its segment can be read, and else what is missing is counted. Whether none has to
    /// be tried again.
    fn settle(&self, job: Job, result: io::Result<Finished>) -> bool {
        match result {
            Err(error) if self.can_be_read(&job) => {
                self.put_aside(job, error);
                false
            }
            result => {
                let mut order = lock(&self.order);
                order.done.insert(job.part, (job, result));
                self.place_in_order(&mut order)
            }
        }
    }

    fn can_be_read(&self, job: &Job) -> bool {
        let folder = &self.places.folder;
        folder.check().is_ok() && open_segment(&folder.segment(job.part)).is_ok()
    }

    /// Keeps a segment to be packed later: while the capture goes on with the next, and else at
    /// its end.
    fn put_aside(&self, job: Job, error: io::Error) {
        if let Some(job) = self.waiting.put_back(job, |job| job.part) {
            lock(&self.aside).insert(job.part, (job, error));
        }
    }

    /// Moves what is done to its place, up to a part that is not; whether all could be moved.
    fn place_in_order(&self, order: &mut Order) -> bool {
        let Order { next, done, packed } = order;
        while let Some((job, result)) = done.remove(next) {
            let can_be_tried = result.is_ok();
            let placed = result.and_then(|finished| self.place(&job, finished, packed));
            if let Err(error) = placed {
                let is_lost = !self.can_be_read(&job);
                if can_be_tried && !is_lost {
                    self.put_aside(job, error);
                    return false;
                }
                // The segment stays in the journal; the next part may be more lucky.
                packed.lost += if is_lost { job.flows } else { 0 };
                let folder = &self.places.folder;
                packed.segment_left |= folder.segment(job.part).exists() && folder.check().is_ok();
                packed.error.get_or_insert((job.path, error));
            }
            *next += 1;
        }
        true
    }

    /// Puts a part into its place, then removes what it was made from, if all of that could be
    /// read.
    fn place(&self, job: &Job, finished: Finished, packed: &mut Packed) -> io::Result<()> {
        let Finished { counts, file, read } = finished;
        if let Err(error) = self.places.put(file, job.part) {
            self.uncount(read.passed);
            return Err(error);
        }
        let lost = job.flows.saturating_sub(read.flows);
        let torn = read.end != FileEnd::Whole || read.ended_us.is_none();
        // A segment of which not all could be written may well end in a torn frame.
        let whole = lost == 0 && read.damaged == 0 && !(torn && job.finished);
        if whole {
            for file in read.used.iter().chain([&self.places.folder.segment(job.part)]) {
                self.places.folder.discard(file);
            }
        }
        packed.lost += lost;
        packed.damaged += read.damaged;
        packed.segment_left |= !whole;
        packed.counts.traces += counts.traces;
        packed.counts.websockets += counts.websockets;
        packed.counts.messages += counts.messages;
        packed.counts.bytes += counts.bytes;
        packed.paths.push(job.path.clone());
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets this thread, and no other, run only when little else wants to. It cannot be undone without
/// privileges. Elsewhere than on Linux a priority is that of the whole process.
fn lower_priority() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::setpriority_process(None, LOWEST);
}

/// The niceness of what gives way to all else.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LOWEST: i32 = 19;

#[cfg(test)]
mod tests;
