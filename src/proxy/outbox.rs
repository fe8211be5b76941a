//! What a loop has to tell the readers of flows, until it is sent.

use bytes::Bytes;

use crate::capture::entry::put_ended;
use crate::flow::record::{Exchange, FlowEvent};
use crate::limits::{BATCH_BYTES, BATCH_EVENTS};

/// The events that a loop has gathered for the readers of flows.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In the order in which they happened.
    events: Vec<FlowEvent>,
    /// The frames of the exchanges among them, one behind the other.
    frames: Vec<u8>,
    /// Which events they are of, and where they end.
    ends: Vec<(usize, usize)>,
    /// About how many bytes all of it holds.
    weight: usize,
    /// Bytes that the next frames will have, by those before.
    expected: usize,
}

impl Outbox {
    /// Adds one.
    pub fn push(&mut self, event: FlowEvent) {
        self.weight = self.weight.saturating_add(event.weight());
        self.events.push(event);
    }

    /// Adds the end of an exchange.
    pub fn push_ended(&mut self, exchange: Exchange) {
        let start = self.frames.len();
        let ended = put_ended(&mut self.frames, exchange);
        self.ends.push((self.events.len(), self.frames.len()));
        self.weight = self.weight.saturating_add(self.frames.len().saturating_sub(start));
        self.push(FlowEvent::Exchange(ended));
    }

    /// Panics if a frame that is to be sent asks for a fault in the loop.
    #[cfg(test)]
    pub(crate) fn fault_if_wanted(&self) {
        crate::fault::testing::fault_in("loop", &self.frames);
    }

    /// Puts in order what a panic may have left half done.
    pub fn mend(&mut self) {
        let events = self.events.len();
        self.ends.retain(|(at, _)| *at < events);
        // The frame of an exchange whose event did not come about would stand before the next.
        self.frames.truncate(self.ends.last().map_or(0, |(_, end)| *end));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether it is time to send them.
    pub fn is_full(&self) -> bool {
        self.weight >= BATCH_BYTES || self.events.len() >= BATCH_EVENTS
    }

    /// Takes all.
    pub fn take(&mut self) -> Vec<FlowEvent> {
        self.weight = 0;
        let mut events = std::mem::take(&mut self.events);
        // The next ones will be about as many.
        self.events.reserve(events.len().min(BATCH_EVENTS));
        self.expected = self.frames.len().max(self.expected - self.expected / 8).min(BATCH_BYTES);
        let more = Vec::with_capacity(self.expected);
        let mut frames = std::mem::replace(&mut self.frames, more);
        if frames.capacity() > 2 * frames.len() {
            // Whoever keeps a flow keeps the allocation, and counts the bytes in it.
            frames.shrink_to_fit();
        }
        let mut frames = Bytes::from(frames);
        let mut start = 0;
        for (at, end) in self.ends.drain(..) {
            if let Some(FlowEvent::Exchange(ended)) = events.get_mut(at) {
                ended.frame = frames.split_to(end.saturating_sub(start).min(frames.len()));
                start = end;
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::capture::entry::take_ended;
    use crate::flow::record::{FlowId, Intervention, Message, Scheme, Timing, WebSocketClose};

    fn exchange(id: u64, error: &str) -> Exchange {
        Exchange {
            id: FlowId(id),
            scheme: Scheme::Http,
            target: None,
            client: "127.0.0.1:1".parse().unwrap(),
            client_tls: None,
            upstream: None,
            request: Message::default(),
            response: None,
            timing: Timing::default(),
            error: Some(error.to_owned()),
            intervention: Intervention::default(),
        }
    }

    #[test]
    fn each_exchange_gets_its_own_frame() {
        let mut outbox = Outbox::default();
        for round in 0..2 {
            assert!(outbox.is_empty());
            outbox.push_ended(exchange(1, "a"));
            let close = WebSocketClose { flow: FlowId(2), time_us: 0, error: None };
            outbox.push(FlowEvent::WebSocketClose(close));
            outbox.push_ended(exchange(3, "another"));
            let events = outbox.take();
            let [FlowEvent::Exchange(one), _, FlowEvent::Exchange(two)] = &events[..] else {
                panic!("{round}: {events:?}");
            };
            let error = |ended| take_ended(ended).unwrap().error.unwrap();
            assert_eq!((one.id.0, two.id.0), (1, 3));
            assert_eq!((error(one), error(two)), ("a".to_owned(), "another".to_owned()));
        }
    }

    #[test]
    fn what_a_panic_left_half_done_is_in_nobodys_frame() {
        let mut outbox = Outbox::default();
        outbox.push_ended(exchange(1, "a"));
        outbox.frames.extend_from_slice(b"half a frame");
        outbox.mend();
        outbox.push_ended(exchange(2, "b"));
        outbox.ends.push((outbox.events.len(), outbox.frames.len()));
        outbox.mend();
        outbox.push_ended(exchange(3, "c"));
        let events = outbox.take();
        let errors = events.iter().map(|event| match event {
            FlowEvent::Exchange(ended) => take_ended(ended).unwrap().error.unwrap(),
            other => panic!("{other:?}"),
        });
        assert_eq!(errors.collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_batch_keeps_no_more_memory_than_it_counts() {
        let mut outbox = Outbox::default();
        outbox.frames.reserve(BATCH_BYTES);
        outbox.push_ended(exchange(1, "a"));
        let mut events = outbox.take();
        let Some(FlowEvent::Exchange(ended)) = events.pop() else { panic!("{events:?}") };
        let weight = ended.weight();
        // Of one that nobody else has this is the allocation itself.
        assert!(BytesMut::from(ended.frame).capacity() <= 2 * weight);
    }
}
