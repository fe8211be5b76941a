//! Counters that the loops raise and the live line, the summary and the status read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that several threads raise; reading it is only ever approximate in time.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Raises it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Lowers it, for gauges such as open connections.
    pub fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Its value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Exchanges that ended, recorded or not.
    pub exchanges: Counter,
    /// Client connections open now.
    pub connections: Counter,
    /// Client connections accepted.
    pub accepted: Counter,
    /// Bytes from clients and servers together, as they came from the sockets.
    pub bytes: Counter,
    /// Traces that the recorder wrote.
    pub traces: Counter,
    /// WebSocket connections that the recorder wrote.
    pub websockets: Counter,
    /// WebSocket messages that the recorder wrote.
    pub messages: Counter,
    /// WebSocket messages beyond what is kept of one connection.
    pub messages_left_out: Counter,
    /// Captured bodies that were cut at the capture limit.
    pub bodies_cut: Counter,
    /// Flows that were lost because the recorder could not write.
    pub flows_lost: Counter,
    /// WebSocket messages that were lost for the same reason, of connections that may not be.
    pub messages_lost: Counter,
    /// 1 while the recorder cannot write.
    pub capture_suspended: Counter,
    /// Notices that were not printed because too many waited.
    pub notices_dropped: Counter,
    /// Panics of flowtap that were caught.
    pub faults: Counter,
    /// Clients that refused our certificate.
    pub distrusted: Counter,
    /// Times that accepting stopped because connections or descriptors had run out.
    pub accept_pauses: Counter,
    /// Connections that were turned away because their client had too many.
    pub turned_away: Counter,
    /// Requests that were refused because a rule of the block_list could not look at the body.
    pub undecided: Counter,
}
