//! Clients and servers that take their time, beside the quick requests.

use std::io::{Error, Result as IoResult};
use std::time::Duration;

use super::bodies::Body;
use super::frames::{Socket, handshake};
use super::origin::event;
use super::traffic::check_verdict;
use super::wire::Wire;
use super::world::{Dice, Outcome, Route, World, at, status};

/// Between the steps of a slow client.
const STEP: Duration = Duration::from_millis(50);
/// Between two messages of a WebSocket that stays open.
const MESSAGES: Duration = Duration::from_millis(200);

type Kind = (&'static str, fn(&World, &mut Dice) -> Outcome);

const KINDS: &[Kind] = &[
    ("slow server, response", |world, dice| {
        let mut route = Route::any(world, dice)?;
        let (id, size) = (world.ledger.begin(), dice.size(100, 20_000));
        route.get("drip", id, size)?;
        world.ledger.must(id);
        route.close();
        Ok(())
    }),
    ("slow server, upload", |world, dice| upload(world, dice, "sip", Duration::ZERO)),
    ("slow client, upload", |world, dice| upload(world, dice, "upload", STEP)),
    ("slow client, head", slow_head),
    ("slow client, response", slow_reader),
    ("event stream", events),
    ("idle connection", idle),
    ("silent tunnel", silent_tunnel),
];

/// Goes through the kinds until the traffic ends.
pub(crate) fn run(world: &World, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut at = seed as usize;
    while world.goes_on() {
        let (name, run) = KINDS[at % KINDS.len()];
        world.ledger.done(name, run(world, &mut dice));
        at += 1;
        world.pause(STEP);
    }
}

fn upload(world: &World, dice: &mut Dice, kind: &str, pause: Duration) -> Outcome {
    let mut route = Route::any(world, dice)?;
    let (id, size) = (world.ledger.begin(), dice.size(20, 60_000));
    let fields = format!("Content-Length: {size}\r\n");
    route.ask("POST", &format!("/{kind}/{id}/{size}"), &fields)?;
    let mut body = Body::new(id, size);
    while !body.is_done() {
        at("body", route.wire.send(body.next(size / 10 + 1)))?;
        world.pause(pause);
    }
    check_verdict(&mut route, size)?;
    world.ledger.must(id);
    route.close();
    Ok(())
}

fn slow_head(world: &World, dice: &mut Dice) -> Outcome {
    let mut route = Route::any(world, dice)?;
    let id = world.ledger.begin();
    let request = route.request("GET", &format!("/length/{id}/100"), "");
    for piece in request.as_bytes().chunks(request.len() / 20 + 1) {
        at("head", route.wire.send(piece))?;
        world.pause(STEP);
    }
    route.whole(id, 100)?;
    world.ledger.must(id);
    route.close();
    Ok(())
}

/// Takes a response that does not fit into the buffers on its way in small steps.
fn slow_reader(world: &World, dice: &mut Dice) -> Outcome {
    let mut route = Route::any(world, dice)?;
    let (id, size) = (world.ledger.begin(), 150_000);
    let head = route.answer("GET", &format!("/length/{id}/{size}"))?;
    status(&head, 200)?;
    let mut body = Body::new(id, size);
    let mut pieces = 0;
    at(
        "body",
        route.wire.body(&head, &mut |bytes| {
            pieces += 1;
            if pieces % 2 == 0 {
                world.pause(STEP);
            }
            checked(body.matches(bytes))
        }),
    )?;
    world.ledger.must(id);
    route.close();
    Ok(())
}

fn checked(right: bool) -> IoResult<()> {
    if right { Ok(()) } else { Err(Error::other("another body")) }
}

/// Reads all events, or goes away after some.
fn events(world: &World, dice: &mut Dice) -> Outcome {
    let mut route = Route::any(world, dice)?;
    let (id, count) = (world.ledger.begin(), 5 + dice.below(10) as usize);
    let head = route.answer("GET", &format!("/events/{id}/{count}"))?;
    status(&head, 200)?;
    let expected: String = (0..count).map(|number| event(id, number)).collect();
    let (mut got, patience) = (Vec::new(), 1 + dice.below(count as u64 * 2) as usize);
    let mut pieces = 0;
    let outcome = route.wire.body(&head, &mut |bytes| {
        got.extend_from_slice(bytes);
        pieces += 1;
        checked(pieces < patience)
    });
    if !expected.as_bytes().starts_with(&got) {
        return Err("other events".to_owned());
    }
    match outcome {
        Ok(_) if got.len() == expected.len() => route.close(),
        Ok(_) => return Err("too few events".to_owned()),
        Err(_) if pieces >= patience => route.wire.reset(),
        Err(error) => return Err(format!("events: {error}")),
    }
    world.ledger.must(id);
    Ok(())
}

/// A connection that has nothing to do between its requests.
fn idle(world: &World, dice: &mut Dice) -> Outcome {
    let mut route = Route::any(world, dice)?;
    for _ in 0..2 {
        let id = world.ledger.begin();
        route.get("length", id, 100)?;
        world.ledger.must(id);
        world.pause(Duration::from_secs(1 + dice.below(5)));
    }
    route.close();
    Ok(())
}

/// A tunnel in which nobody says anything for a while, so that the server is dialled.
fn silent_tunnel(world: &World, dice: &mut Dice) -> Outcome {
    let mut wire = at("tunnel", Wire::tunnel(world.proxy, world.origin.echo))?;
    world.pause(Duration::from_millis(300 + dice.below(1_000)));
    at("send", wire.send(b"hello"))?;
    match at("echo", wire.take(5))? == b"hello" {
        true => wire.close(),
        false => return Err("other bytes came back".to_owned()),
    }
    Ok(())
}

/// WebSockets that stay open for a while, one after the other, until the traffic ends.
pub(crate) fn run_sockets(world: &World, seed: u64, messages: u64) {
    let mut dice = Dice::new(seed);
    while world.goes_on() {
        let outcome = long_socket(world, &mut dice, messages);
        world.ledger.done("WebSocket that stays open", outcome);
    }
}

fn long_socket(world: &World, dice: &mut Dice, messages: u64) -> Outcome {
    let mut route = Route::any(world, dice)?;
    let id = world.ledger.begin_socket();
    route.ask("GET", &format!("/websocket/{id}"), &handshake(dice.below(2) == 0))?;
    let head = at("handshake", route.wire.head())?;
    status(&head, 101)?;
    let mut socket = Socket::new(route.wire, &head);
    for number in 0..messages {
        let message = Body::new(id + number, dice.size(1, 1_000)).bytes();
        at("message", socket.exchange(number % 2 == 0, &message))?;
        if !world.pause(MESSAGES) {
            break;
        }
    }
    let count = at("close", socket.close())?;
    world.ledger.end_socket(id, count);
    Ok(())
}
