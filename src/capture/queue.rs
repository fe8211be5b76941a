//! The bounded queue between the event loops and a reader of flows: the recorder, or the store of
//! the tools.
//!
//! A loop never blocks on it: a batch that does not fit stays with the loop, which stops reading
//! from its sockets until the recorder has made room and wakes it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, TrySendError, bounded};

use crate::flow::record::FlowEvent;
use crate::limits::{QUEUE_BATCHES, QUEUE_BYTES};

/// Events in the order in which one loop told them.
pub type Batch = Vec<FlowEvent>;

/// Makes a queue with the default bounds.
pub fn queue() -> (FlowSender, FlowReceiver) {
    queue_with_bounds(QUEUE_BATCHES, QUEUE_BYTES)
}

/// Makes a queue with bounds of its own: batches, and bytes in all of them. A batch that is
/// larger than `bytes` is taken when the queue is empty.
pub fn queue_with_bounds(batches: usize, bytes: usize) -> (FlowSender, FlowReceiver) {
    let (sender, receiver) = bounded(batches);
    let room = Arc::new(Room {
        queued_bytes: AtomicUsize::new(0),
        bytes,
        batches,
        any_stalled: AtomicBool::new(false),
        stalled: Mutex::default(),
        is_resting: AtomicBool::new(false),
        resting: Mutex::default(),
    });
    let sender = FlowSender { sender, room: room.clone(), wake: Arc::new(|| {}) };
    (sender, FlowReceiver { receiver, room })
}

type Wake = Arc<dyn Fn() + Send + Sync>;

struct Room {
    queued_bytes: AtomicUsize,
    bytes: usize,
    batches: usize,
    /// Whether `stalled` holds anything: saves the lock on every receive.
    any_stalled: AtomicBool,
    stalled: Mutex<Vec<Wake>>,
    /// Whether `resting` wants to be woken: saves the lock on every send.
    is_resting: AtomicBool,
    resting: Mutex<Option<Thread>>,
}

impl Room {
    fn is_half_full(&self, queued_batches: usize) -> bool {
        self.queued_bytes.load(Ordering::SeqCst) > self.bytes / 2
            || queued_batches > self.batches / 2
    }

    fn wake_resting(&self) {
        if self.is_resting.swap(false, Ordering::SeqCst) {
            let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(thread) = &*resting {
                thread.unpark();
            }
        }
    }

    fn take_stalled(&self) -> Vec<Wake> {
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        self.any_stalled.store(false, Ordering::SeqCst);
        std::mem::take(&mut *stalled)
    }
}

struct Queued {
    batch: Batch,
    weight: usize,
}

/// Why a batch was not taken; it comes back whole.
#[derive(Debug)]
pub enum SendError {
    /// There is no room; the loop is woken when there is.
    Full(Batch),
    /// The recorder is gone.
    Closed(Batch),
}

/// A loop's end of the queue.
#[derive(Clone)]
pub struct FlowSender {
    sender: Sender<Queued>,
    room: Arc<Room>,
    wake: Wake,
}

impl fmt::Debug for FlowSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowSender").finish_non_exhaustive()
    }
}

impl FlowSender {
    /// The same queue for one loop: `wake` is called, from the recorder's thread, when there is
    /// room again after [`FlowSender::try_send`] gave a batch back as [`SendError::Full`].
    pub fn for_loop(&self, wake: impl Fn() + Send + Sync + 'static) -> FlowSender {
        FlowSender { wake: Arc::new(wake), ..self.clone() }
    }

    /// Puts a batch into the queue, or gives it back.
    pub fn try_send(&self, batch: Batch) -> Result<(), SendError> {
        let weight: usize = batch.iter().map(FlowEvent::weight).sum();
        match self.put(Queued { batch, weight }) {
            // The receiver may have emptied the queue before it could see that this loop has
            // stalled, and then nobody would wake it: register first, then try once more.
            Err(SendError::Full(batch)) => {
                let mut stalled = self.room.stalled.lock().unwrap_or_else(PoisonError::into_inner);
                stalled.push(self.wake.clone());
                self.room.any_stalled.store(true, Ordering::SeqCst);
                drop(stalled);
                self.put(Queued { batch, weight })
            }
            other => other,
        }
    }

    fn put(&self, queued: Queued) -> Result<(), SendError> {
        let weight = queued.weight;
        let before = self.room.queued_bytes.fetch_add(weight, Ordering::SeqCst);
        if before != 0 && before.saturating_add(weight) > self.room.bytes {
            self.room.queued_bytes.fetch_sub(weight, Ordering::SeqCst);
            return Err(SendError::Full(queued.batch));
        }
        let sent = self.sender.try_send(queued);
        if sent.is_err() {
            self.room.queued_bytes.fetch_sub(weight, Ordering::SeqCst);
        }
        if self.room.is_resting.load(Ordering::SeqCst) && self.room.is_half_full(self.sender.len())
        {
            self.room.wake_resting();
        }
        sent.map_err(|error| match error {
            TrySendError::Full(queued) => SendError::Full(queued.batch),
            TrySendError::Disconnected(queued) => SendError::Closed(queued.batch),
        })
    }
}

/// What [`FlowReceiver::try_receive`] came back with.
#[derive(Debug)]
pub enum Received {
    /// The next batch.
    Batch(Batch),
    /// Nothing was there.
    Nothing,
    /// Every loop is gone and the queue is empty.
    Closed,
}

/// The recorder's end of the queue.
pub struct FlowReceiver {
    receiver: Receiver<Queued>,
    room: Arc<Room>,
}

impl fmt::Debug for FlowReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowReceiver").finish_non_exhaustive()
    }
}

impl FlowReceiver {
    /// Takes the next batch if there is one.
    pub fn try_receive(&self) -> Received {
        match self.receiver.try_recv() {
            Ok(queued) => self.taken(queued),
            Err(TryRecvError::Empty) => self.nothing(),
            Err(TryRecvError::Disconnected) => Received::Closed,
        }
    }

    /// A watch on this queue, for whoever shares this receiver with others behind a lock and may
    /// not wait while holding it.
    pub fn watch(&self) -> QueueWatch {
        QueueWatch { receiver: self.receiver.clone(), room: self.room.clone() }
    }

    fn nothing(&self) -> Received {
        // Loops that try at the same moment can keep each other out of an empty queue.
        self.wake_stalled();
        Received::Nothing
    }

    fn taken(&self, queued: Queued) -> Received {
        let before = self.room.queued_bytes.fetch_sub(queued.weight, Ordering::SeqCst);
        let left = before.saturating_sub(queued.weight);
        // Waking at half lets a loop work for a while before it stalls again.
        let enough = left <= self.room.bytes / 2 || self.receiver.is_empty();
        if enough {
            self.wake_stalled();
        }
        Received::Batch(queued.batch)
    }

    fn wake_stalled(&self) {
        if self.room.any_stalled.load(Ordering::SeqCst) {
            for wake in self.room.take_stalled() {
                wake();
            }
        }
    }
}

/// Waits for a queue without taking from it. One thread at a time may rest on a queue.
pub struct QueueWatch {
    receiver: Receiver<Queued>,
    room: Arc<Room>,
}

impl fmt::Debug for QueueWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueWatch").finish_non_exhaustive()
    }
}

impl QueueWatch {
    /// Waits until a batch is there or every loop is gone, but no longer than `timeout`. Whoever
    /// sends meanwhile pays for waking this thread.
    fn wait(&self, timeout: Duration) {
        let mut select = Select::new();
        select.recv(&self.receiver);
        let _ = select.ready_timeout(timeout);
    }

    /// Waits for the next batches, when the queue is empty: lets some gather for `time`, and where
    /// none was there before, as `took` tells, first waits for one, but no longer than `most`.
    ///
    /// While there is traffic this wakes nobody and is woken by nobody.
    pub fn gather(&self, took: bool, time: Duration, most: Duration) {
        if !took {
            self.wait(most);
        }
        self.rest(time);
    }

    /// Lets batches gather for `time`, or until the queue is more than half full. Senders wake
    /// nobody before that, so that a batch costs them no system call.
    fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        let thread = Some(thread::current());
        *self.room.resting.lock().unwrap_or_else(PoisonError::into_inner) = thread;
        self.room.is_resting.store(true, Ordering::SeqCst);
        // Looked at after it is known that this thread rests: what fills the queue from here on
        // wakes it.
        while !self.room.is_half_full(self.receiver.len()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.room.is_resting.load(Ordering::SeqCst) {
                break;
            }
            thread::park_timeout(left);
        }
        self.room.is_resting.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::record::{BodyBlock, FlowId, Side};
    use bytes::Bytes;

    fn block(bytes: usize) -> Batch {
        let data = Bytes::from(vec![0; bytes]);
        vec![FlowEvent::Body(BodyBlock { flow: FlowId(1), side: Side::Request, data })]
    }

    #[test]
    fn a_full_queue_gives_the_batch_back_and_wakes_when_there_is_room() {
        let (sender, receiver) = queue_with_bounds(16, 1_000);
        let (woken, wakes) = crossbeam_channel::unbounded();
        let sender = sender.for_loop(move || woken.send(()).unwrap());
        sender.try_send(block(800)).unwrap();
        assert!(
            matches!(sender.try_send(block(800)), Err(SendError::Full(batch)) if batch.len() == 1)
        );
        assert!(wakes.try_recv().is_err());
        assert!(matches!(receiver.try_receive(), Received::Batch(_)));
        wakes.recv_timeout(Duration::from_secs(1)).unwrap();
        sender.try_send(block(800)).unwrap();
    }

    #[test]
    fn a_batch_larger_than_the_bound_is_taken_when_the_queue_is_empty() {
        let (sender, receiver) = queue_with_bounds(16, 1_000);
        sender.try_send(block(5_000)).unwrap();
        assert!(matches!(sender.try_send(block(1)), Err(SendError::Full(_))));
        assert!(matches!(receiver.try_receive(), Received::Batch(_)));
    }

    #[test]
    fn a_loop_that_stalled_beside_an_empty_queue_is_woken_too() {
        let (sender, receiver) = queue();
        let (woken, wakes) = crossbeam_channel::unbounded();
        sender.room.stalled.lock().unwrap().push(Arc::new(move || woken.send(()).unwrap()));
        sender.room.any_stalled.store(true, Ordering::SeqCst);
        assert!(matches!(receiver.try_receive(), Received::Nothing));
        wakes.recv_timeout(Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn the_number_of_batches_is_bounded_too() {
        let (sender, _receiver) = queue_with_bounds(2, 1_000_000);
        sender.try_send(block(1)).unwrap();
        sender.try_send(block(1)).unwrap();
        assert!(matches!(sender.try_send(block(1)), Err(SendError::Full(_))));
    }

    #[test]
    fn either_end_sees_that_the_other_is_gone() {
        let (sender, receiver) = queue();
        drop(receiver);
        assert!(matches!(sender.try_send(block(1)), Err(SendError::Closed(_))));
        let (sender, receiver) = queue();
        sender.try_send(block(1)).unwrap();
        drop(sender);
        assert!(matches!(receiver.try_receive(), Received::Batch(_)));
        assert!(matches!(receiver.try_receive(), Received::Closed));
    }

    #[test]
    fn taking_what_is_there_does_not_wait() {
        let (sender, receiver) = queue();
        assert!(matches!(receiver.try_receive(), Received::Nothing));
        sender.try_send(block(1)).unwrap();
        assert!(matches!(receiver.try_receive(), Received::Batch(_)));
        drop(sender);
        assert!(matches!(receiver.try_receive(), Received::Closed));
    }

    #[test]
    fn a_watch_sees_what_comes_and_takes_nothing() {
        let (sender, receiver) = queue();
        let watch = receiver.watch();
        let watching = thread::spawn(move || watch.wait(Duration::from_secs(60)));
        sender.try_send(block(1)).unwrap();
        watching.join().unwrap();
        assert!(matches!(receiver.try_receive(), Received::Batch(_)));
        let watch = receiver.watch();
        drop(sender);
        watch.wait(Duration::from_secs(60));
    }

    #[test]
    fn a_queue_that_is_more_than_half_full_ends_a_rest() {
        for (batches, bytes, sent) in [(16, 1_000, 600), (4, 1_000_000, 1)] {
            let (sender, receiver) = queue_with_bounds(batches, bytes);
            let watch = receiver.watch();
            let resting = thread::spawn(move || watch.rest(Duration::from_secs(60)));
            for _ in 0..3 {
                let _ = sender.try_send(block(sent));
            }
            resting.join().unwrap();
        }
    }

    #[test]
    fn gathering_waits_only_where_nothing_came_before() {
        let (sender, receiver) = queue();
        let watch = receiver.watch();
        let (began, long) = (Instant::now(), Duration::from_secs(60));
        watch.gather(true, Duration::from_millis(1), long);
        sender.try_send(block(1)).unwrap();
        watch.gather(false, Duration::from_millis(1), long);
        assert!(matches!(receiver.try_receive(), Received::Batch(_)));
        assert!(began.elapsed() < long);
    }

    #[test]
    fn a_rest_ends_by_itself() {
        let (sender, receiver) = queue();
        sender.try_send(block(1)).unwrap();
        receiver.watch().rest(Duration::from_millis(1));
        assert!(matches!(receiver.try_receive(), Received::Batch(_)));
    }
}
