use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::capture::entry::ended;
use crate::capture::queue::{FlowSender, queue};
use crate::flow::record::*;
use crate::flow::stored::StoredBody;

struct Bench {
    sender: FlowSender,
    store: Arc<Store>,
}

impl Bench {
    fn new() -> Self {
        Self::with(StoreLimits::default())
    }

    fn with(limits: StoreLimits) -> Self {
        let (sender, receiver) = queue();
        Bench { sender, store: Arc::new(Store::new(receiver, limits)) }
    }

    fn tell(&self, event: FlowEvent) {
        self.sender.try_send(vec![event]).unwrap();
        self.store.pump();
    }

    fn end(&self, id: u64) {
        self.tell(ended(&exchange(id)));
    }

    fn ids(&self) -> Vec<u64> {
        self.store.snapshot().iter().map(|flow| flow.id.0).collect()
    }

    fn found(&self, id: u64) -> Arc<StoredFlow> {
        match self.store.flow(FlowId(id)) {
            Lookup::Found(flow) => flow,
            other => panic!("flow {id}: {other:?}"),
        }
    }
}

fn message(head: &'static str, body: &'static str) -> Message {
    let body = Body { tail: body.into(), sent_ahead: 0, size: body.len() as u64 };
    Message { head: head.into(), body, trailers: Bytes::new() }
}

fn exchange(id: u64) -> Exchange {
    Exchange {
        id: FlowId(id),
        scheme: Scheme::Http,
        target: None,
        client: "127.0.0.1:9".parse().unwrap(),
        client_tls: None,
        upstream: None,
        request: message("GET / HTTP/1.1\r\n\r\n", "ask"),
        response: Some(message("HTTP/1.1 200 OK\r\n\r\n", "answer")),
        timing: Timing { began_us: id, ..Timing::default() },
        error: None,
        intervention: Intervention::default(),
    }
}

fn begun(id: u64) -> FlowEvent {
    FlowEvent::Begun(begins(id))
}

fn begins(id: u64) -> Arc<Begun> {
    Arc::new(Begun {
        id: FlowId(id),
        scheme: Scheme::Http,
        target: Arc::new(Authority { host: "h".into(), port: 80 }),
        client: "127.0.0.1:9".parse().unwrap(),
        client_tls: None,
        began_us: id,
        request: message("GET /live HTTP/1.1\r\n\r\n", "ask"),
        whole: true,
        intervention: Intervention::default(),
    })
}

fn held(id: u64, side: Side) -> FlowEvent {
    held_as_far(id, side, true)
}

fn held_as_far(id: u64, side: Side, whole: bool) -> FlowEvent {
    let message = message("HELD", "held body");
    let (flow, begun) = (FlowId(id), begins(id));
    FlowEvent::Held(Arc::new(Held { flow, begun, side, message, whole, since_us: 99 }))
}

fn released(id: u64) -> FlowEvent {
    FlowEvent::Released(Released { flow: FlowId(id), timed_out: false })
}

fn block(id: u64, side: Side, bytes: usize) -> BodyBlock {
    BodyBlock { flow: FlowId(id), side, data: Bytes::from(vec![b'x'; bytes]) }
}

fn opened(id: u64) -> FlowEvent {
    FlowEvent::WebSocketOpen(Arc::new(WebSocketOpen {
        id: FlowId(id),
        scheme: Scheme::Http,
        target: Arc::new(Authority { host: "h".into(), port: 80 }),
        client: "127.0.0.1:9".parse().unwrap(),
        request_head: "GET /ws HTTP/1.1\r\n\r\n".into(),
        response_head: "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
        began_us: id,
        deflate: None,
    }))
}

fn text(id: u64, payload: &'static str) -> FlowEvent {
    FlowEvent::WebSocketMessage(WebSocketMessage {
        flow: FlowId(id),
        direction: Direction::Send,
        opcode: Opcode::Text,
        compressed: false,
        time_us: 5,
        payload: payload.into(),
    })
}

fn bytes_of(body: &StoredBody) -> Vec<u8> {
    body.pieces.concat()
}

#[test]
fn the_newest_flows_are_kept_and_the_oldest_are_known_to_be_gone() {
    let bench = Bench::with(StoreLimits { flows: 3, ..StoreLimits::default() });
    (1..=5).for_each(|id| bench.end(id));
    assert_eq!(bench.ids(), [5, 4, 3]);
    assert_eq!(bench.store.count(), 3);
    assert_eq!(bench.store.ids(), Some((FlowId(3), FlowId(5))));
    assert!(matches!(bench.store.flow(FlowId(2)), Lookup::Gone));
    assert!(matches!(bench.store.flow(FlowId(6)), Lookup::Never));
    let flow = bench.found(4);
    assert_eq!(flow.state, FlowState::Ended);
    assert_eq!(bytes_of(&flow.request.body), b"ask");
    assert_eq!(bytes_of(&flow.response.as_ref().unwrap().body), b"answer");
}

#[test]
fn flows_are_bounded_in_bytes_too() {
    let bench = Bench::with(StoreLimits { bytes: 10_000, ..StoreLimits::default() });
    for id in 1..=5 {
        let mut exchange = exchange(id);
        exchange.request.body.tail = Bytes::from(vec![b'x'; 4_000]);
        exchange.request.body.size = 4_000;
        bench.tell(ended(&exchange));
    }
    assert_eq!(bench.ids(), [5, 4]);
}

#[test]
fn a_body_is_kept_up_to_its_limit_and_its_size_is_told() {
    let bench = Bench::with(StoreLimits { body_bytes: 100, ..StoreLimits::default() });
    for side in [Side::Request, Side::Response, Side::Response] {
        bench.tell(FlowEvent::Body(block(1, side, 70)));
    }
    let mut exchange = exchange(1);
    exchange.request.body = Body { tail: "tail".into(), sent_ahead: 70, size: 74 };
    exchange.response.as_mut().unwrap().body =
        Body { tail: "tail".into(), sent_ahead: 140, size: 500 };
    bench.tell(ended(&exchange));
    let flow = bench.found(1);
    assert_eq!((flow.request.body.kept(), flow.request.body.size), (74, 74));
    let body = &flow.response.as_ref().unwrap().body;
    assert_eq!((body.kept(), body.size, body.is_cut()), (100, 500, true));
}

#[test]
fn a_flow_under_way_shows_what_came_and_readers_keep_what_they_have() {
    let bench = Bench::new();
    bench.tell(begun(1));
    let early = bench.found(1);
    assert_eq!((early.state, early.response.is_none()), (FlowState::UnderWay, true));
    assert_eq!(bytes_of(&early.request.body), b"ask");
    bench.tell(FlowEvent::Answered(Arc::new(Answered {
        flow: FlowId(1),
        upstream: None,
        head: "HTTP/1.1 200 OK\r\n\r\n".into(),
    })));
    bench.tell(FlowEvent::Glimpse(block(1, Side::Response, 3)));
    bench.tell(FlowEvent::Glimpse(block(1, Side::Response, 3)));
    let live = bench.found(1);
    assert_eq!(bytes_of(&live.response.as_ref().unwrap().body), b"xxxxxx");
    bench.tell(FlowEvent::Glimpse(block(1, Side::Response, 1)));
    assert_eq!(bench.found(1).response.as_ref().unwrap().body.size, 7);
    assert_eq!(live.response.as_ref().unwrap().body.size, 6);
    assert!(early.response.is_none());
    bench.end(1);
    let flow = bench.found(1);
    assert_eq!(flow.state, FlowState::Ended);
    assert_eq!(bytes_of(&flow.response.as_ref().unwrap().body), b"answer");
    assert_eq!(bench.ids(), [1]);
}

/// Who looks at a stream leaves no copy of what came in the store.
#[test]
fn what_was_looked_at_makes_room_like_all_else() {
    let limits = StoreLimits { unended_bytes: 250, ..StoreLimits::default() };
    let bench = Bench::with(limits);
    let response = |id| bench.found(id).response.clone().unwrap().body;
    let mut seen = Vec::new();
    for id in 1..=20 {
        bench.tell(begun(id));
        bench.tell(FlowEvent::Answered(Arc::new(Answered {
            flow: FlowId(id),
            upstream: None,
            head: "HTTP/1.1 200 OK\r\n\r\n".into(),
        })));
        bench.tell(FlowEvent::Glimpse(block(id, Side::Response, 100)));
        assert_eq!(response(id).kept(), 100);
        assert_eq!(response(id).kept(), 100, "a second look shows it again");
        seen.push(bench.found(id));
        bench.store.snapshot();
    }
    let inner = bench.store.lock();
    assert!(inner.unended.kept() <= 250);
    let in_flows = inner.slots.values().map(|slot| match &slot.kept {
        Kept::Flow(flow) => flow.response.as_ref().map_or(0, |it| it.body.kept()),
        Kept::Ended(..) => 0,
    });
    assert_eq!(in_flows.sum::<u64>(), 0);
    drop(inner);
    assert_eq!((response(1).kept(), response(1).size), (0, 100));
    assert_eq!(response(20).kept(), 100);
    // Readers keep what they have.
    assert!(seen.iter().all(|flow| flow.response.as_ref().unwrap().body.kept() == 100));
}

#[test]
fn a_held_response_is_shown_and_not_what_came_of_it() {
    let bench = Bench::new();
    bench.tell(begun(1));
    bench.tell(FlowEvent::Answered(Arc::new(Answered {
        flow: FlowId(1),
        upstream: None,
        head: "HTTP/1.1 200 OK\r\n\r\n".into(),
    })));
    bench.tell(FlowEvent::Glimpse(block(1, Side::Response, 3)));
    assert_eq!(bytes_of(&bench.found(1).response.as_ref().unwrap().body), b"xxx");
    bench.tell(held(1, Side::Response));
    let shown = bench.found(1);
    assert_ne!(bytes_of(&shown.response.as_ref().unwrap().body), b"xxx");
}

#[test]
fn a_held_flow_is_never_evicted_or_cleared() {
    let bench = Bench::with(StoreLimits { flows: 2, ..StoreLimits::default() });
    bench.tell(begun(1));
    bench.tell(held(1, Side::Request));
    (2..=6).for_each(|id| bench.end(id));
    let flow = bench.found(1);
    assert_eq!((flow.state, flow.held_since_us), (FlowState::Paused(Side::Request), 99));
    assert_eq!(bytes_of(&flow.request.body), b"held body");
    assert_eq!(bench.ids(), [6, 5, 1]);
    assert_eq!(bench.store.clear(), 2);
    assert_eq!(bench.ids(), [1]);
    bench.tell(released(1));
    assert_eq!(bench.found(1).state, FlowState::UnderWay);
    bench.tell(held(1, Side::Response));
    assert_eq!(bench.found(1).response.as_ref().unwrap().head, "HELD");
    bench.end(1);
    assert_eq!(bench.store.clear(), 1);
    assert!(matches!(bench.store.flow(FlowId(1)), Lookup::Gone));
}

#[test]
fn a_body_that_is_held_in_part_is_not_taken_for_whole() {
    let bench = Bench::with(StoreLimits::default());
    for (id, whole) in [(1, true), (2, false)] {
        bench.tell(begun(id));
        bench.tell(held_as_far(id, Side::Request, whole));
        let body = &bench.found(id).request.body;
        assert_eq!((body.kept(), body.size, body.is_cut()), (9, 9, !whole));
    }
    // The response may be held while the request still comes.
    let mut early = begins(3);
    Arc::make_mut(&mut early).whole = false;
    bench.tell(FlowEvent::Begun(early));
    bench.tell(held(3, Side::Response));
    let flow = bench.found(3);
    assert!(flow.request.body.is_cut() && !flow.response.as_ref().unwrap().body.is_cut());
}

#[test]
fn a_flow_that_went_while_it_was_under_way_is_there_when_it_is_held() {
    let bench = Bench::with(StoreLimits { flows: 2, ..StoreLimits::default() });
    for id in 1..=3 {
        bench.tell(begun(id));
    }
    assert!(matches!(bench.store.flow(FlowId(1)), Lookup::Gone));
    bench.tell(held(1, Side::Response));
    let Lookup::Found(flow) = bench.store.flow(FlowId(1)) else { panic!("it is not there") };
    assert_eq!(flow.state, FlowState::Paused(Side::Response));
    assert_eq!(&flow.request.head[..], b"GET /live HTTP/1.1\r\n\r\n");
    assert_eq!(&flow.response.as_ref().unwrap().head[..], b"HELD");
    assert_eq!(bench.store.count(), 3);
}

#[test]
fn the_messages_of_a_copy_count_like_others() {
    let bench = Bench::with(StoreLimits { bytes: 100_000, ..StoreLimits::default() });
    bench.tell(opened(1));
    for _ in 0..300 {
        bench.tell(text(1, "hello"));
    }
    let copy = StoredFlow::clone(&bench.found(1));
    for id in 2..=50 {
        bench.store.add(StoredFlow { id: FlowId(id), ..copy.clone() });
    }
    assert!(bench.store.count() < 10, "{}", bench.store.count());
}

#[test]
fn held_flows_stand_beside_the_limit_and_leave_room_for_others() {
    let bench = Bench::with(StoreLimits { flows: 2, ..StoreLimits::default() });
    for id in 1..=4 {
        bench.tell(begun(id));
        bench.tell(held(id, Side::Request));
        bench.end(10 + id);
    }
    assert_eq!(bench.ids(), [14, 13, 4, 3, 2, 1]);
    (1..=4).for_each(|id| bench.tell(released(id)));
    assert_eq!(bench.ids(), [4, 3]);
}

#[test]
fn a_flow_of_which_something_is_heard_stays_longer() {
    let bench = Bench::with(StoreLimits { flows: 3, ..StoreLimits::default() });
    bench.tell(opened(1));
    bench.end(2);
    bench.tell(text(1, "still here"));
    bench.end(3);
    bench.end(4);
    assert_eq!(bench.ids(), [4, 3, 1]);
    // One that was evicted while it was under way comes back with its end.
    bench.tell(begun(5));
    (6..=9).for_each(|id| bench.end(id));
    assert!(matches!(bench.store.flow(FlowId(5)), Lookup::Gone));
    bench.end(5);
    assert_eq!(bench.ids(), [9, 8, 5]);
}

#[test]
fn websocket_messages_come_to_their_flow() {
    let bench = Bench::new();
    bench.tell(opened(1));
    bench.tell(text(1, "one"));
    let early = bench.found(1);
    bench.tell(text(1, "two"));
    bench.tell(text(7, "of an unknown connection"));
    let close = WebSocketClose { flow: FlowId(1), time_us: 1_001, error: Some("reset".into()) };
    bench.tell(FlowEvent::WebSocketClose(close));
    let flow = bench.found(1);
    let messages = &flow.websocket.as_ref().unwrap().messages;
    let payloads: Vec<_> = messages.iter().map(|message| &message.payload[..]).collect();
    assert_eq!(payloads, [b"one", b"two"]);
    assert_eq!((flow.state, flow.timing.total_us), (FlowState::Ended, 1_000));
    assert_eq!(flow.error.as_deref(), Some("reset"));
    assert_eq!(early.websocket.as_ref().unwrap().messages.len(), 1);
}

#[test]
fn the_bytes_that_are_counted_are_those_that_are_there() {
    let bench = Bench::with(StoreLimits { flows: 4, ..StoreLimits::default() });
    bench.tell(begun(1));
    bench.tell(held(1, Side::Response));
    bench.tell(opened(2));
    bench.tell(text(2, "message"));
    (3..=9).for_each(|id| bench.end(id));
    bench.tell(released(1));
    bench.end(1);
    bench.store.clear();
    let inner = bench.store.lock();
    assert_eq!((inner.bytes, inner.slots.len(), inner.order.len()), (0, 0, 0));
    assert_eq!(inner.unended.kept(), 0);
}

#[test]
fn waiting_ends_with_the_flow() {
    let bench = Bench::with(StoreLimits { flows: 1, ..StoreLimits::default() });
    bench.tell(begun(1));
    let (store, deadline) = (bench.store.clone(), Instant::now() + Duration::from_secs(60));
    let waiting = std::thread::spawn(move || {
        store.wait_for_end(FlowId(1), deadline, &Cancellation::default())
    });
    let collector = bench.store.start_collector(Notices::channel(Arc::default()).0).unwrap();
    while bench.store.lock().awaited.is_empty() {
        std::thread::yield_now();
    }
    // Many others do not drive it out before it is seen.
    let others = (2..50).map(|id| ended(&exchange(id)));
    let first = [ended(&exchange(1))];
    let after = (50..99).map(|id| ended(&exchange(id)));
    bench.sender.try_send(others.chain(first).chain(after).collect()).unwrap();
    assert!(matches!(waiting.join().unwrap(), Waited::Ended(flow) if flow.id == FlowId(1)));
    assert!(bench.store.lock().awaited.is_empty());
    assert_eq!(bench.store.count(), 1);
    drop(bench.sender);
    collector.join().unwrap();
}

#[test]
fn waiting_ends_at_the_deadline_and_when_it_is_given_up() {
    let bench = Bench::with(StoreLimits { flows: 1, ..StoreLimits::default() });
    let cancellation = Cancellation::default();
    let soon = Instant::now() + Duration::from_millis(1);
    let waited = bench.store.wait_for_end(FlowId(1), soon, &cancellation);
    assert!(matches!(waited, Waited::TimedOut));
    bench.end(1);
    bench.end(2);
    let late = Instant::now() + Duration::from_secs(60);
    let waited = bench.store.wait_for_end(FlowId(1), late, &cancellation);
    assert!(matches!(waited, Waited::Gone));
    cancellation.cancel();
    let waited = bench.store.wait_for_end(FlowId(3), late, &cancellation);
    assert!(matches!(waited, Waited::Cancelled));
}
