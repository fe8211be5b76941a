//! Requests that tools send.

use super::*;
use crate::flow::control::NewRequest;
use crate::flow::record::{FlowId, Intervention};
use crate::limits::REPLAY_TIMEOUT;

fn request(method: &str, body: &'static str) -> NewRequest {
    NewRequest {
        origin: Some(FlowId(99)),
        recorded_head: Vec::new().into(),
        method: method.into(),
        url: "http://h/again".into(),
        headers: Vec::new(),
        body: body.into(),
    }
}

fn replay(seed: u64, request: NewRequest, servers: Vec<Script>) -> World {
    World::new(seed, b"", servers).replaying(request).patient(BODY_TIMEOUT).run()
}

#[test]
fn a_replay_is_an_exchange_of_its_own_that_names_its_origin() {
    let ok: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    for seed in 0..SEEDS {
        let world = replay(seed, request("POST", "a body"), vec![answers(ok, None)]);
        let exchange = &exchanges(&world)[0];
        let expected =
            Intervention { replayed: true, origin: Some(FlowId(99)), ..Intervention::default() };
        assert_eq!((exchange.intervention, &exchange.error), (expected, &None), "seed {seed}");
        assert_eq!(exchange.request.body.tail, "a body");
        assert_eq!(exchange.response.as_ref().unwrap().body.tail, "ok");
        assert_eq!(world.client_closed, Some(Command::CloseClient));
    }
}

#[test]
fn a_server_that_says_nothing_is_waited_for_no_longer_than_the_limit() {
    let slow: Script = Box::new(|got| {
        let sent = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_vec();
        Reply { sent: if got.is_empty() { Vec::new() } else { sent }, ends: None }
    });
    for script in [Box::new(|_: &[u8]| Reply::default()) as Script, slow] {
        let world = replay(1, request("GET", ""), vec![script]);
        let exchange = &exchanges(&world)[0];
        assert!(exchange.error.as_ref().unwrap().contains("30 s"), "{:?}", exchange.error);
        assert_eq!(exchange.timing.total_us, REPLAY_TIMEOUT.as_micros() as u64);
    }
}
