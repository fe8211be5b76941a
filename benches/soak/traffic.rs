//! Quick requests, most of them good, at a rate that all workers keep together.

use std::io::{self, Read};

use flate2::read::GzDecoder;

use super::bodies::Body;
use super::frames::{Socket, handshake};
use super::origin::{PASSED_HOSTS, verdict};
use super::wire::Wire;
use super::world::{Dice, Outcome, Route, World, at, status};

/// Requests on one connection that is kept alive before it makes place for another.
const KEPT_REQUESTS: u32 = 200;

/// A kind of traffic, and how often it comes beside the others.
struct Kind {
    name: &'static str,
    weight: u64,
    run: fn(&mut Worker<'_>) -> Outcome,
}

const fn kind(name: &'static str, weight: u64, run: fn(&mut Worker<'_>) -> Outcome) -> Kind {
    Kind { name, weight, run }
}

const KINDS: &[Kind] = &[
    kind("plain, kept alive", 2_500, |worker| worker.kept(false, "length", 1, 4_000)),
    kind("intercepted, kept alive", 3_000, |worker| worker.kept(true, "length", 1, 4_000)),
    kind("chunked", 600, |worker| worker.kept(true, "chunked", 1, 20_000)),
    kind("medium", 40, |worker| worker.kept(true, "length", 50_000, 300_000)),
    kind("large", 2, |worker| worker.kept(true, "length", 1_000_000, 5_000_000)),
    kind("large, plain and chunked", 2, |worker| {
        worker.kept(false, "chunked", 1_000_000, 5_000_000)
    }),
    kind("gzip", 500, gzip),
    kind("upload", 600, |worker| worker.upload(1, 10_000)),
    kind("large upload", 2, |worker| worker.upload(1_000_000, 5_000_000)),
    kind("expect 100-continue", 50, expect),
    kind("HEAD, 204, 304", 400, no_body),
    kind("pipelined", 60, pipelined),
    kind("until close", 200, |worker| worker.fresh("close", 1, 20_000)),
    kind("new connections on both sides", 200, |worker| worker.fresh("last", 1, 4_000)),
    kind("new client connection", 500, |worker| worker.fresh("length", 1, 4_000)),
    kind("new host", 80, |worker| {
        let route = Route::secure(worker.world, worker.world.new_host(), worker.secure_port())?;
        worker.once(route, "length", 100)
    }),
    kind("idle connection closed by the server", 100, |worker| {
        let route = Route::plain(worker.world, worker.world.origin.fickle)?;
        worker.once(route, "length", 100)
    }),
    kind("WebSocket", 60, websocket),
    kind("TLS passed through", 60, passed_tls),
    kind("raw tunnel", 40, raw_tunnel),
    kind("upstream refuses", 40, |worker| {
        let route = Route::plain(worker.world, worker.world.origin.refused)?;
        worker.bad_gateway(route, "length")
    }),
    kind("upstream not trusted", 30, |worker| {
        let (world, host) = (worker.world, worker.world.known_host(&mut worker.dice));
        let route = Route::secure(world, host, world.origin.untrusted)?;
        worker.bad_gateway(route, "length")
    }),
    kind("upstream resets at once", 30, |worker| worker.broken("resetnow")),
    kind("upstream resets in the head", 40, |worker| worker.broken("resethead")),
    kind("upstream sends garbage", 40, |worker| worker.broken("garbage")),
    kind("upstream resets in the body", 40, |worker| worker.cut("resetbody")),
    kind("upstream's body too short", 40, |worker| worker.cut("short")),
    kind("upstream's chunks cut", 40, |worker| worker.cut("cut")),
    kind("client resets", 150, client_resets),
    kind("client distrusts", 40, distrusts),
    kind("bad request", 50, bad_request),
];

/// A thread with clients of its own.
pub(crate) struct Worker<'a> {
    world: &'a World,
    dice: Dice,
    /// Connections that are kept alive, plain and intercepted, and how often they were used.
    kept: [Option<(Route, u32)>; 2],
}

impl<'a> Worker<'a> {
    /// Makes traffic until it ends.
    pub(crate) fn run(world: &'a World, seed: u64) {
        let mut worker = Worker { world, dice: Dice::new(seed), kept: [None, None] };
        let all = KINDS.iter().map(|kind| kind.weight).sum();
        while world.next_is_due() {
            let mut at = worker.dice.below(all);
            for kind in KINDS {
                if at < kind.weight {
                    let outcome = (kind.run)(&mut worker);
                    world.ledger.done(kind.name, outcome);
                    break;
                }
                at -= kind.weight;
            }
        }
        for (route, _) in worker.kept.into_iter().flatten() {
            route.close();
        }
    }

    fn secure_port(&self) -> u16 {
        self.world.origin.secure
    }

    /// A connection that is kept alive.
    fn route(&mut self, secure: bool) -> Outcome<(Route, u32)> {
        if let Some(kept) = self.kept[usize::from(secure)].take() {
            return Ok(kept);
        }
        let world = self.world;
        let route = match secure {
            true => Route::secure(world, world.known_host(&mut self.dice), self.secure_port()),
            false => Route::plain(world, world.origin.plain),
        };
        Ok((route?, 0))
    }

    /// Keeps a connection for later, unless it has ended or is old.
    fn keep(&mut self, secure: bool, (route, used): (Route, u32), stays: bool) {
        if stays && used < KEPT_REQUESTS {
            self.kept[usize::from(secure)] = Some((route, used + 1));
        } else {
            route.close();
        }
    }

    fn kept(&mut self, secure: bool, kind: &str, least: u64, most: u64) -> Outcome {
        let mut kept = self.route(secure)?;
        let (id, size) = (self.world.ledger.begin(), self.dice.size(least, most));
        let stays = kept.0.get(kind, id, size)?;
        self.world.ledger.must(id);
        self.keep(secure, kept, stays);
        Ok(())
    }

    /// A request on a connection of its own.
    fn fresh(&mut self, kind: &str, least: u64, most: u64) -> Outcome {
        let (route, size) = (Route::any(self.world, &mut self.dice)?, self.dice.size(least, most));
        self.once(route, kind, size)
    }

    fn once(&mut self, mut route: Route, kind: &str, size: usize) -> Outcome {
        let id = self.world.ledger.begin();
        route.get(kind, id, size)?;
        self.world.ledger.must(id);
        route.close();
        Ok(())
    }

    fn upload(&mut self, least: u64, most: u64) -> Outcome {
        let secure = self.dice.below(2) == 0;
        let chunked = self.dice.below(3) == 0;
        let mut kept = self.route(secure)?;
        let (id, size) = (self.world.ledger.begin(), self.dice.size(least, most));
        let fields = match chunked {
            true => "Transfer-Encoding: chunked\r\n".to_owned(),
            false => format!("Content-Length: {size}\r\n"),
        };
        kept.0.ask("POST", &format!("/upload/{id}/{size}"), &fields)?;
        let mut body = Body::new(id, size);
        while !body.is_done() {
            let piece = body.next(16 * 1024);
            let sent = match chunked {
                true => {
                    let head = format!("{:x}\r\n", piece.len());
                    kept.0.wire.send([head.as_bytes(), piece, b"\r\n"].concat())
                }
                false => kept.0.wire.send(piece),
            };
            at("body", sent)?;
        }
        if chunked {
            at("last chunk", kept.0.wire.send("0\r\n\r\n"))?;
        }
        let stays = check_verdict(&mut kept.0, size)?;
        self.world.ledger.must(id);
        self.keep(secure, kept, stays);
        Ok(())
    }

    /// A request that cannot be answered.
    fn broken(&mut self, kind: &str) -> Outcome {
        let route = Route::any(self.world, &mut self.dice)?;
        self.bad_gateway(route, kind)
    }

    fn bad_gateway(&mut self, mut route: Route, kind: &str) -> Outcome {
        let id = self.world.ledger.begin();
        let head = route.answer("GET", &format!("/{kind}/{id}/10"))?;
        status(&head, 502)?;
        at("body", route.wire.body(&head, &mut |_| Ok(())))?;
        self.world.ledger.must(id);
        route.close();
        Ok(())
    }

    /// A response that breaks off, and must be seen to.
    fn cut(&mut self, kind: &str) -> Outcome {
        let mut route = Route::any(self.world, &mut self.dice)?;
        let (id, size) = (self.world.ledger.begin(), self.dice.size(100, 20_000));
        let head = route.answer("GET", &format!("/{kind}/{id}/{size}"))?;
        // A reset may overtake the head.
        if head.status() != 502 {
            status(&head, 200)?;
            if route.wire.body(&head, &mut |_| Ok(())).is_ok() {
                return Err("the body was cut and looks whole".to_owned());
            }
        }
        self.world.ledger.must(id);
        route.wire.reset();
        Ok(())
    }
}

/// Reads what the origin thinks of a body; whether the connection stays.
pub(crate) fn check_verdict(route: &mut Route, size: usize) -> Outcome<bool> {
    let head = at("head", route.wire.head())?;
    status(&head, 200)?;
    let mut said = Vec::new();
    let stays = at(
        "verdict",
        route.wire.body(&head, &mut |bytes| {
            said.extend_from_slice(bytes);
            Ok(())
        }),
    )?;
    match said == verdict(size, true).as_bytes() {
        true => Ok(stays),
        false => Err(format!("the origin says {:?}", String::from_utf8_lossy(&said))),
    }
}

fn gzip(worker: &mut Worker<'_>) -> Outcome {
    let mut kept = worker.route(true)?;
    let (id, size) = (worker.world.ledger.begin(), worker.dice.size(100, 10_000));
    kept.0.ask("GET", &format!("/gzip/{id}/{size}"), "Accept-Encoding: gzip\r\n")?;
    let head = at("head", kept.0.wire.head())?;
    status(&head, 200)?;
    let mut packed = Vec::new();
    let stays = at(
        "body",
        kept.0.wire.body(&head, &mut |bytes| {
            packed.extend_from_slice(bytes);
            Ok(())
        }),
    )?;
    let mut unpacked = Vec::new();
    at("gzip", GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked))?;
    if unpacked != Body::new(id, size).bytes() {
        return Err("another body".to_owned());
    }
    worker.world.ledger.must(id);
    worker.keep(true, kept, stays);
    Ok(())
}

fn expect(worker: &mut Worker<'_>) -> Outcome {
    let mut route = Route::any(worker.world, &mut worker.dice)?;
    let (id, size) = (worker.world.ledger.begin(), worker.dice.size(10, 5_000));
    let fields = format!("Content-Length: {size}\r\nExpect: 100-continue\r\n");
    route.ask("POST", &format!("/upload/{id}/{size}"), &fields)?;
    status(&at("interim head", route.wire.head())?, 100)?;
    at("body", route.wire.send(Body::new(id, size).bytes()))?;
    check_verdict(&mut route, size)?;
    worker.world.ledger.must(id);
    route.close();
    Ok(())
}

fn no_body(worker: &mut Worker<'_>) -> Outcome {
    let secure = worker.dice.below(2) == 0;
    let mut kept = worker.route(secure)?;
    let id = worker.world.ledger.begin();
    let (method, kind, expected) = match worker.dice.below(3) {
        0 => ("HEAD", "length", 200),
        1 => ("GET", "empty", 204),
        _ => ("GET", "unchanged", 304),
    };
    let head = kept.0.answer(method, &format!("/{kind}/{id}/5000"))?;
    status(&head, expected)?;
    if method == "HEAD" && head.field("content-length") != Some("5000") {
        return Err(format!("no length in {:?}", head.text()));
    }
    worker.world.ledger.must(id);
    worker.keep(secure, kept, true);
    Ok(())
}

fn pipelined(worker: &mut Worker<'_>) -> Outcome {
    let secure = worker.dice.below(2) == 0;
    let mut kept = worker.route(secure)?;
    let mut requests = String::new();
    let mut asked = Vec::new();
    for _ in 0..5 {
        let (id, size) = (worker.world.ledger.begin(), worker.dice.size(1, 4_000));
        requests += &kept.0.request("GET", &format!("/length/{id}/{size}"), "");
        asked.push((id, size));
    }
    at("send", kept.0.wire.send(requests))?;
    let mut stays = true;
    for (id, size) in asked {
        stays = kept.0.whole(id, size)?;
        worker.world.ledger.must(id);
    }
    if !kept.0.wire.is_drained() {
        return Err("more came than was asked for".to_owned());
    }
    worker.keep(secure, kept, stays);
    Ok(())
}

fn websocket(worker: &mut Worker<'_>) -> Outcome {
    let mut route = Route::any(worker.world, &mut worker.dice)?;
    let id = worker.world.ledger.begin_socket();
    route.ask("GET", &format!("/websocket/{id}"), &handshake(worker.dice.below(2) == 0))?;
    let head = at("handshake", route.wire.head())?;
    status(&head, 101)?;
    let mut socket = Socket::new(route.wire, &head);
    for number in 0..worker.dice.below(8) {
        let message = Body::new(id + number, worker.dice.size(1, 2_000)).bytes();
        at(
            "message",
            match number % 3 {
                2 => socket.exchange_fragments(&message),
                text => socket.exchange(text == 0, &message),
            },
        )?;
    }
    if worker.dice.below(5) == 0 {
        socket.reset();
    } else {
        let messages = at("close", socket.close())?;
        worker.world.ledger.end_socket(id, messages);
    }
    Ok(())
}

fn passed_tls(worker: &mut Worker<'_>) -> Outcome {
    let world = worker.world;
    let wire = at("tunnel", Wire::tunnel(world.proxy, world.origin.secure))?;
    let host = format!("h{}.{PASSED_HOSTS}", worker.dice.below(10));
    let mut wire = at("TLS with the origin's certificate", wire.secure(&world.direct, &host))?;
    at("send", wire.send(format!("GET /length/7/1000 HTTP/1.1\r\nHost: {host}\r\n\r\n")))?;
    let head = at("head", wire.head())?;
    status(&head, 200)?;
    let mut body = Body::new(7, 1_000);
    at(
        "body",
        wire.body(&head, &mut |bytes| match body.matches(bytes) {
            true => Ok(()),
            false => Err(io::Error::other("another body")),
        }),
    )?;
    wire.close();
    Ok(())
}

fn raw_tunnel(worker: &mut Worker<'_>) -> Outcome {
    let world = worker.world;
    let mut wire = at("tunnel", Wire::tunnel(world.proxy, world.origin.echo))?;
    let size = worker.dice.size(10, 30_000);
    let bytes = [b"\0\x01not HTTP\r\n".as_slice(), &Body::new(3, size).bytes()].concat();
    at("send", wire.send(&bytes))?;
    if at("echo", wire.take(bytes.len()))? != bytes {
        return Err("other bytes came back".to_owned());
    }
    match worker.dice.below(4) {
        0 => wire.reset(),
        _ => wire.close(),
    }
    Ok(())
}

/// A client that is gone at some point of an exchange.
fn client_resets(worker: &mut Worker<'_>) -> Outcome {
    let world = worker.world;
    let id = world.ledger.begin_bad();
    match worker.dice.below(7) {
        0 => at("connect", Wire::connect(world.proxy))?.reset(),
        1 => at("tunnel", Wire::tunnel(world.proxy, world.origin.secure))?.reset(),
        2 => {
            let mut wire = at("tunnel", Wire::tunnel(world.proxy, world.origin.secure))?;
            at("send", wire.send(b"\x16\x03\x01\x02\x00\x01\x00"))?;
            wire.reset();
        }
        3 => {
            let mut route = Route::any(world, &mut worker.dice)?;
            let request = route.request("GET", &format!("/length/{id}/100"), "");
            at("send", route.wire.send(&request[..request.len() - 10]))?;
            route.wire.reset();
        }
        4 => {
            let mut route = Route::any(world, &mut worker.dice)?;
            let fields = "Content-Length: 50000\r\n";
            route.ask("POST", &format!("/upload/{id}/50000"), fields)?;
            at("body", route.wire.send(Body::new(id, 10_000).bytes()))?;
            route.wire.reset();
        }
        5 => {
            let mut route = Route::any(world, &mut worker.dice)?;
            route.ask("GET", &format!("/slow/{id}/100"), "")?;
            route.wire.reset();
        }
        _ => {
            let mut route = Route::any(world, &mut worker.dice)?;
            let head = route.answer("GET", &format!("/length/{id}/200000"))?;
            status(&head, 200)?;
            route.wire.reset();
        }
    }
    Ok(())
}

fn distrusts(worker: &mut Worker<'_>) -> Outcome {
    let world = worker.world;
    let host = world.known_host(&mut worker.dice);
    let wire = at("tunnel", Wire::tunnel(world.proxy, world.origin.secure))?;
    match wire.secure(&world.distrusting, &host) {
        Ok(_) => Err("a client that trusts nobody went on".to_owned()),
        Err(error) if error.to_string().contains("UnknownIssuer") => Ok(()),
        Err(error) => Err(format!("another failure than that of trust: {error}")),
    }
}

fn bad_request(worker: &mut Worker<'_>) -> Outcome {
    let mut route = Route::any(worker.world, &mut worker.dice)?;
    let fields = ["Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "X: a\0b\r\n"];
    let fields = fields[worker.dice.below(2) as usize];
    let id = worker.world.ledger.begin_bad();
    route.ask("POST", &format!("/length/{id}/0"), fields)?;
    status(&at("head", route.wire.head())?, 400)?;
    route.close();
    Ok(())
}

/// Asks so many new hosts in this time, so that what is kept for each host has reached its limit.
pub(crate) fn meet_hosts(world: &World, hosts: u64, time: std::time::Duration) {
    let each = time.div_f64(hosts.max(1) as f64);
    while world.hosts() < hosts && world.pause(each) {
        let id = world.ledger.begin();
        let outcome = Route::secure(world, world.new_host(), world.origin.secure)
            .and_then(|mut route| route.get("last", id, 100));
        world.ledger.done(
            "new host, before the measurement",
            outcome.map(|_| {
                world.ledger.must(id);
            }),
        );
    }
}
