//! The flows that agents can ask for: a bounded number, the newest.
//!
//! The store takes [events](crate::flow::record::FlowEvent) from a queue of its own. Taking one is
//! cheap: nothing is parsed or decoded but WebSocket messages that build on each other, and an
//! exchange is made a [`StoredFlow`] only when somebody looks at it. The event loops never wait
//! for the store: they put batches into its queue, and whoever comes first takes them out, a query
//! or the collector.
//!
//! Queries take a snapshot under the lock and read it outside of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::capture::queue::{FlowReceiver, QueueWatch, Received};
use crate::fault;
use crate::flow::record::{EndedExchange, FlowId};
use crate::flow::stored::{FlowState, StoredFlow};
use crate::limits::{
    COLLECT_INTERVAL, QUEUE_BATCHES, STORED_BODY_BYTES, STORED_BYTES, STORED_FLOWS, UNENDED_BYTES,
    WAIT_STEP,
};
use crate::mcp::store::gone::Gone;
use crate::mcp::store::order::Order;
use crate::mcp::store::socket::Sockets;
use crate::mcp::store::unended::{Bodies, Unended};
use crate::mcp::toolbox::Cancellation;
use crate::notice::Notices;

mod gone;
mod order;
mod socket;
mod taking;
mod unended;

/// What a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Flows; the oldest go first. Those that are held stay, beside so many others.
    pub flows: usize,
    /// Bytes of all flows but those that are held.
    pub bytes: usize,
    /// Bytes of each body.
    pub body_bytes: usize,
    /// Bytes of the bodies of flows that have not ended.
    pub unended_bytes: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits {
            flows: STORED_FLOWS,
            bytes: STORED_BYTES,
            body_bytes: STORED_BODY_BYTES,
            unended_bytes: UNENDED_BYTES,
        }
    }
}

/// What there is of a flow.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It, as far as it has come.
    Found(Arc<StoredFlow>),
    /// It was kept, and went to make room or was cleared.
    Gone,
    /// There was none of this id.
    Never,
}

/// How waiting for the end of a flow went.
#[derive(Clone, Debug)]
pub enum Waited {
    /// It has ended.
    Ended(Arc<StoredFlow>),
    /// It had not ended in time.
    TimedOut,
    /// It ended, but had to make room before anybody saw it.
    Gone,
    /// Nobody waits for it any more.
    Cancelled,
}

/// The flows that are kept.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
    /// Notified when events were taken.
    changed: Condvar,
    watch: QueueWatch,
    limits: StoreLimits,
}

impl Store {
    /// A store that takes the events of this queue.
    pub fn new(flows: FlowReceiver, limits: StoreLimits) -> Self {
        let watch = flows.watch();
        let inner = Inner {
            flows,
            is_closed: false,
            slots: BTreeMap::new(),
            order: Order::default(),
            bytes: 0,
            unended: Unended::new(limits.body_bytes, limits.unended_bytes),
            sockets: Sockets::default(),
            gone: Gone::default(),
            awaited: Vec::new(),
            limits,
        };
        Store { inner: Mutex::new(inner), changed: Condvar::new(), watch, limits }
    }

    /// Starts the thread that takes events while nobody asks; it ends when every sender of the
    /// queue is gone. Should it panic, `notices` tells that the process has to end.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start_collector(self: &Arc<Self>, notices: Notices) -> io::Result<JoinHandle<()>> {
        let store = self.clone();
        let builder = std::thread::Builder::new().name("flow store".to_owned());
        builder.spawn(move || {
            let collected = notices.supervise("the store of flows", || store.collect());
            while collected.is_none() {
                // The loops would wait for ever for room in its queue, and could not even stop.
                if fault::catch(|| store.collect()).is_ok() {
                    return;
                }
            }
        })
    }

    /// Takes events until every sender of the queue is gone.
    fn collect(&self) {
        loop {
            let (took, is_closed) = self.pump();
            if is_closed {
                return;
            }
            self.watch.gather(took, COLLECT_INTERVAL, Duration::from_secs(60));
        }
    }

    /// Takes what is in the queue: whether something was, and whether every sender is gone and
    /// nothing more will come.
    pub fn pump(&self) -> (bool, bool) {
        let mut inner = self.lock();
        let took = inner.pump();
        let is_closed = inner.is_closed;
        drop(inner);
        if took || is_closed {
            self.changed.notify_all();
        }
        (took, is_closed)
    }

    /// All flows, the newest first.
    pub fn snapshot(&self) -> Vec<Arc<StoredFlow>> {
        let mut inner = self.current();
        let Inner { slots, unended, limits, .. } = &mut *inner;
        let slots = slots.iter_mut().rev();
        slots.map(|(id, slot)| slot.flow(*id, unended, limits.body_bytes)).collect()
    }

    /// One flow.
    pub fn flow(&self, id: FlowId) -> Lookup {
        self.current().look_up(id)
    }

    /// How many flows are kept.
    pub fn count(&self) -> usize {
        self.current().slots.len()
    }

    /// What is kept.
    pub fn limits(&self) -> StoreLimits {
        self.limits
    }

    /// The lowest and the highest id of the flows that are kept.
    pub fn ids(&self) -> Option<(FlowId, FlowId)> {
        let inner = self.current();
        Some((*inner.slots.first_key_value()?.0, *inner.slots.last_key_value()?.0))
    }

    /// Keeps another flow, as one that a tool has made.
    pub fn add(&self, flow: StoredFlow) {
        self.current().put_flow(flow);
    }

    /// Forgets all flows but those that are held; how many.
    pub fn clear(&self) -> usize {
        let mut inner = self.current();
        let mut cleared = 0;
        while inner.evict() {
            cleared += 1;
        }
        cleared
    }

    /// Waits until a flow has ended. It is kept meanwhile.
    pub fn wait_for_end(
        &self,
        id: FlowId,
        deadline: Instant,
        cancellation: &Cancellation,
    ) -> Waited {
        let mut inner = self.current();
        inner.await_end(id);
        let waited = loop {
            match inner.look_up(id) {
                Lookup::Found(flow) if flow.state == FlowState::Ended => {
                    break Waited::Ended(flow);
                }
                Lookup::Gone => break Waited::Gone,
                Lookup::Found(_) | Lookup::Never => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if cancellation.is_cancelled() {
                break Waited::Cancelled;
            }
            if left.is_zero() {
                break Waited::TimedOut;
            }
            let waited = self.changed.wait_timeout(inner, left.min(WAIT_STEP));
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            inner.pump();
        };
        inner.await_no_more(id);
        waited
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store with all that the loops have told.
    fn current(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        if inner.pump() {
            self.changed.notify_all();
        }
        inner
    }
}

#[derive(Debug)]
struct Inner {
    flows: FlowReceiver,
    is_closed: bool,
    slots: BTreeMap<FlowId, Slot>,
    /// The flows that may go, by when something was heard of them last.
    order: Order,
    /// Bytes of the flows that may go.
    bytes: usize,
    unended: Unended,
    sockets: Sockets,
    gone: Gone,
    /// Flows that may not go because somebody waits for their end.
    awaited: Vec<FlowId>,
    limits: StoreLimits,
}

#[derive(Debug)]
struct Slot {
    kept: Kept,
    /// Its place in the order in which flows go; `None` while it may not.
    place: Option<u64>,
    bytes: usize,
    /// Whether more of the response's body came than `kept` has.
    is_behind: bool,
}

#[derive(Debug)]
enum Kept {
    /// An exchange that has ended and that nobody has looked at.
    Ended(EndedExchange, Option<Box<Bodies>>),
    /// A flow. Changing it leaves alone who already reads it.
    Flow(Arc<StoredFlow>),
}

impl Slot {
    fn flow(&mut self, id: FlowId, unended: &Unended, body_bytes: usize) -> Arc<StoredFlow> {
        match &mut self.kept {
            Kept::Flow(flow) => {
                let mut flow = flow.clone();
                // Who looks gets a copy. In what is kept, the bytes would stay when `unended`
                // makes room, and nothing would count them.
                if self.is_behind
                    && let Some(bodies) = unended.get(id)
                    && let Some(response) = &mut Arc::make_mut(&mut flow).response
                {
                    response.body = bodies.response_so_far();
                }
                flow
            }
            Kept::Ended(ended, bodies) => {
                let bodies = bodies.take().map(|bodies| *bodies).unwrap_or_default();
                let flow = Arc::new(taking::stored(ended, bodies, body_bytes));
                self.kept = Kept::Flow(flow.clone());
                flow
            }
        }
    }

    fn is_held(&self) -> bool {
        matches!(&self.kept, Kept::Flow(flow) if matches!(flow.state, FlowState::Paused(_)))
    }
}

impl Inner {
    /// Takes what is in the queue, whether anything was. Bounded, so that loops that are always
    /// faster do not keep it here.
    fn pump(&mut self) -> bool {
        let mut took = false;
        for _ in 0..2 * QUEUE_BATCHES {
            match self.flows.try_receive() {
                Received::Batch(batch) => batch.into_iter().for_each(|event| self.take(event)),
                Received::Nothing => break,
                Received::Closed => {
                    self.is_closed = true;
                    break;
                }
            }
            took = true;
        }
        took
    }

    fn look_up(&mut self, id: FlowId) -> Lookup {
        match self.slots.get_mut(&id) {
            Some(slot) => Lookup::Found(slot.flow(id, &self.unended, self.limits.body_bytes)),
            None if self.gone.contains(id.0) => Lookup::Gone,
            None => Lookup::Never,
        }
    }

    fn await_end(&mut self, id: FlowId) {
        self.awaited.push(id);
        self.place(id);
    }

    fn await_no_more(&mut self, id: FlowId) {
        if let Some(at) = self.awaited.iter().position(|awaited| *awaited == id) {
            self.awaited.swap_remove(at);
        }
        self.place(id);
    }

    /// Takes a flow out of the order, before it is changed.
    fn displace(&mut self, id: FlowId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(&id)?;
        if slot.place.take().is_some() {
            self.bytes = self.bytes.saturating_sub(slot.bytes);
            self.order.leave(|id, place| has_place(&self.slots, id, place));
        }
        self.slots.get_mut(&id)
    }

    /// Something was heard of a flow: it goes after all others, or may not go.
    fn place(&mut self, id: FlowId) {
        self.displace(id);
        if let Some(slot) = self.slots.remove(&id) {
            self.keep(id, slot);
        }
    }

    /// Keeps a flow of which something was heard, in the place of what there was of it.
    fn keep(&mut self, id: FlowId, mut slot: Slot) {
        let may_not_go = !self.awaited.is_empty() && self.awaited.contains(&id);
        slot.place = None;
        if !may_not_go && !slot.is_held() {
            slot.place = Some(self.order.push(id));
            self.bytes += slot.bytes;
        }
        if let Some(before) = self.slots.insert(id, slot)
            && before.place.is_some()
        {
            self.bytes = self.bytes.saturating_sub(before.bytes);
            self.order.leave(|id, place| has_place(&self.slots, id, place));
        }
        while self.order.len() > self.limits.flows || self.bytes > self.limits.bytes {
            if !self.evict() {
                return;
            }
        }
    }

    /// Forgets the flow of which nothing was heard for the longest time; whether there was one.
    fn evict(&mut self) -> bool {
        let first = self.order.pop(|id, place| has_place(&self.slots, id, place));
        let Some(id) = first else { return false };
        if let Some(slot) = self.slots.remove(&id) {
            self.bytes = self.bytes.saturating_sub(slot.bytes);
        }
        self.sockets.close(id);
        self.gone.add(id.0);
        true
    }
}

fn has_place(slots: &BTreeMap<FlowId, Slot>, id: FlowId, place: u64) -> bool {
    slots.get(&id).is_some_and(|slot| slot.place == Some(place))
}

#[cfg(test)]
mod tests;
