//! The packer: threads that make a part of the bundle from each finished segment.
//!
//! While the capture goes on, one thread of low priority packs when traffic is quiet (`pace`).
//! Only when far too much waits, a second one packs at ordinary priority. When the capture ends,
//! several pack what is left at full speed; a part that the first thread has begun is gone on with
//! by another, since a thread cannot raise its priority again. Parts take their places in order.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::Instant;

use crossbeam_channel::Receiver;

use crate::capture::backlog::Waiting;
use crate::capture::bundle::Counts;
use crate::capture::frame::FileEnd;
use crate::capture::pace::{Pace, Traffic, Turn};
use crate::capture::packing::{Finished, Packing, open_segment};
use crate::capture::place::Places;
use crate::fault;
use crate::limits::PACK_THREADS;

/// A finished segment.
#[derive(Debug)]
pub(super) struct Job {
    /// Its part, from 1.
    pub(super) part: u32,
    /// Where the part will stand.
    pub(super) path: PathBuf,
    /// Flows that were written to the segment.
    pub(super) flows: u64,
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
    let desk = Desk {
        places,
        shared,
        traffic,
        waiting: Waiting::default(),
        order: Mutex::new(Order { next: 1, done: BTreeMap::new(), packed: Packed::default() }),
    };
    thread::scope(|scope| {
        // Where there is no thread for it, all waits for the end.
        let gentle = named().spawn_scoped(scope, || {
            fault::watch_thread();
            desk.pack_gently()
        });
        desk.pass_on(jobs);
        let more = threads().min(desk.waiting.backlog().segments).saturating_sub(1);
        for _ in 0..more {
            // Fewer threads take longer.
            let _ = named().spawn_scoped(scope, || {
                fault::watch_thread();
                desk.pack_all();
            });
        }
        desk.pack_all();
        // A fault of one thread is a fault of the packer.
        let begun = gentle.map(|it| it.join().unwrap_or_else(|fault| resume_unwind(fault)));
        if let Ok(Some(begun)) = begun {
            desk.go_on(begun);
        }
    });
    desk.order.into_inner().unwrap_or_else(PoisonError::into_inner).packed
}

/// A panic fails one part alone, whose segment stays in the journal.
fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    fault::catch(work).unwrap_or_else(|fault| Err(io::Error::other(fault.reason())))
}

/// The threads of one purpose have one name.
fn named() -> Builder {
    Builder::new().name("packer".to_owned())
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(PACK_THREADS)
}

/// A part that was begun and is not finished.
type Begun = (Job, Box<Packing>);

/// What the threads of a packer share.
struct Desk<'a> {
    places: &'a Places,
    shared: &'a Shared,
    traffic: &'a (dyn Fn() -> Traffic + Sync),
    waiting: Waiting<Job>,
    order: Mutex<Order>,
}

/// Sees to it that parts take their places in order.
struct Order {
    /// The part whose turn it is.
    next: u32,
    /// Later parts that are done, or have failed.
    done: BTreeMap<u32, (Job, io::Result<Finished>)>,
    packed: Packed,
}

impl Desk<'_> {
    /// Passes segments on to the thread that packs them, until there are no more.
    fn pass_on(&self, jobs: &Receiver<Job>) {
        let mut before = (self.traffic)().bytes;
        for job in jobs {
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
        self.waiting.close();
    }

    /// Packs at full speed until nothing waits.
    fn pack_all(&self) {
        while let Some(job) = self.waiting.take() {
            self.pack(job);
        }
    }

    fn pack(&self, job: Job) {
        if let Some(begun) = self.begin(job) {
            self.go_on(begun);
        }
    }

    /// Begins a part; `None` when its segment cannot be read or no file can be made for it.
    fn begin(&self, job: Job) -> Option<Begun> {
        match guarded(|| Packing::begin(job.part, &self.places.folder)) {
            Ok(packing) => Some((job, Box::new(packing))),
            Err(error) => {
                self.settle(job, Err(error));
                None
            }
        }
    }

    fn go_on(&self, (job, mut packing): Begun) {
        let result = guarded(|| {
            let went_on = packing.go_on(&self.places.folder, &mut || {
                self.shared.packed.fetch_add(1, Ordering::Relaxed);
                ControlFlow::Continue(())
            });
            went_on.and_then(|_| packing.finish())
        });
        self.settle(job, result);
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
            let begun = self.waiting.take().and_then(|job| self.begin(job));
            let Some((job, mut packing)) = begun else { continue };
            let result = guarded(|| {
                packing.go_on(&self.places.folder, &mut || {
                    self.shared.packed.fetch_add(1, Ordering::Relaxed);
                    self.rest(&mut pace)
                })
            });
            match result {
                Ok(ControlFlow::Break(())) => return Some((job, packing)),
                Ok(ControlFlow::Continue(())) => {
                    self.settle(job, guarded(|| packing.finish()));
                }
                Err(error) => self.settle(job, Err(error)),
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

    /// Moves a part that is done to its place, or counts what is missing, as soon as it is its
    /// turn.
    fn settle(&self, job: Job, result: io::Result<Finished>) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let Order { next, done, packed } = &mut *order;
        done.insert(job.part, (job, result));
        while let Some((job, result)) = done.remove(next) {
            *next += 1;
            let placed = result.and_then(|finished| self.place(&job, finished, packed));
            if let Err(error) = placed {
                // The segment stays in the journal; the next part may be more lucky.
                let segment = self.places.folder.segment(job.part);
                if open_segment(&segment).is_err() {
                    packed.lost += job.flows;
                }
                packed.segment_left |= segment.exists();
                packed.error.get_or_insert((job.path, error));
            }
        }
    }

    /// Puts a part into its place, then removes what it was made from, if all of that could be
    /// read.
    fn place(&self, job: &Job, finished: Finished, packed: &mut Packed) -> io::Result<()> {
        let Finished { counts, file, read } = finished;
        self.places.put(&file, job.part)?;
        let lost = job.flows.saturating_sub(read.flows);
        let torn = read.end != FileEnd::Whole || read.ended_us.is_none();
        // A segment of which not all could be written may well end in a torn frame.
        let whole = lost == 0 && read.damaged == 0 && !(torn && job.finished);
        if whole {
            for file in read.used.iter().chain([&self.places.folder.segment(job.part)]) {
                // What cannot be removed goes with the folder.
                let _ = std::fs::remove_file(file);
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
