//! Ten usual tasks of an agent over live traffic: what they come to, what they cost, and that no
//! secret is seen.

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::origin::{Accepted, Origin};
use crate::support::read_head;

/// The flows of what a client does before the agent comes.
const FLOWS: u64 = 147;

/// What the tasks may cost together, in tokens that an agent reads and writes.
const TOKENS: usize = 15_000;

/// Secrets in all the places where programs put them. None may ever be seen.
const SECRETS: &[&str] = &[
    "bearer-5f1c9a77e2",
    "session-0b7d33aa91",
    "apikey-77aa21cc90",
    "hunter2-correct-horse",
    "refresh-99dd00ee17",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ",
    "clientsecret-4471bb",
];

fn reply(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn json_reply(status: &str, body: &Value) -> Vec<u8> {
    reply(status, "Content-Type: application/json\r\n", &body.to_string())
}

/// A shop with users, orders, a report of 200 KB, a login, a chat and a stream of events.
fn shop(_: usize, stream: &mut Accepted) {
    loop {
        let head = String::from_utf8_lossy(&read_head(stream)).into_owned();
        let Some(target) = head.split(' ').nth(1) else { return };
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, length)| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        std::io::Read::read_exact(stream, &mut body).unwrap();
        let last = path.rsplit('/').next().unwrap_or_default().to_owned();
        let answer = match path.as_str() {
            "/login" => reply(
                "200 OK",
                &format!(
                    "Content-Type: application/json\r\nSet-Cookie: sid={}; HttpOnly; Path=/\r\n",
                    SECRETS[1]
                ),
                &json!({"access_token": SECRETS[5], "refresh_token": SECRETS[4], "user": "ann"})
                    .to_string(),
            ),
            "/checkout" => json_reply(
                "500 Internal Server Error",
                &json!({"error": "payment provider unreachable: timeout after 3000 ms",
                        "trace": "7f3a"}),
            ),
            "/report" => {
                let rows: Vec<_> = (0..2_600)
                    .map(|row| {
                        json!({"row": row, "order": format!("order-{}", 900_000 + row),
                                      "state": "shipped", "city": "Lund"})
                    })
                    .collect();
                json_reply("200 OK", &json!(rows))
            }
            "/price" => {
                let price = if body.is_empty() { 100 } else { 120 };
                json_reply("200 OK", &json!({"item": "lamp", "price": price, "currency": "SEK"}))
            }
            "/events" => {
                let events = "event: stock\ndata: {\"lamp\": 4}\n\ndata: {\"lamp\": 3}\n\n";
                reply("200 OK", "Content-Type: text/event-stream\r\n", events)
            }
            "/chat" => {
                stream.say(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\n\r\n",
                );
                for number in 0..30 {
                    let text = format!("{{\"n\": {number}, \"text\": \"message {number}\"}}");
                    stream.say(&[0x81, text.len() as u8]);
                    stream.say(text.as_bytes());
                }
                stream.say(b"\x88\x00");
                // The client's own close: a connection that is closed with it unread is reset.
                std::io::Read::read_exact(stream, &mut [0; 6]).unwrap();
                return;
            }
            path if path.starts_with("/users/") => json_reply(
                "200 OK",
                &json!({"id": last, "name": "Ann", "address": {"city": "Lund", "zip": "222 22"}}),
            ),
            path if path.starts_with("/orders/") => {
                json_reply("200 OK", &json!({"id": last, "lines": [{"sku": "lamp", "n": 2}]}))
            }
            _ => json_reply("404 Not Found", &json!({"error": "no such page"})),
        };
        stream.say(&answer);
    }
}

struct Stage {
    tap: Flowtap,
    origin: Origin,
    other: Origin,
}

impl Stage {
    fn ask(&self, method: &str, to: &str, path: &str, body: &str) -> (String, Vec<u8>) {
        let mut client = Client::connect(self.tap.addr);
        client.send(format!(
            "{method} http://{to}{path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: shop-app/2.1\r\n\
             Accept: application/json\r\nAccept-Language: sv\r\nX-Api-Key: {}\r\n\
             Authorization: Bearer {}\r\nCookie: sid={}; theme=dark\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            SECRETS[2],
            SECRETS[0],
            SECRETS[1],
            body.len()
        ));
        client.response()
    }

    fn shop(&self) -> String {
        format!("localhost:{}", self.origin.addr.port())
    }

    /// What a client of the shop does before the agent comes.
    fn traffic(&self) {
        let shop = self.shop();
        let login = json!({"user": "ann", "password": SECRETS[3], "client_secret": SECRETS[6]});
        self.ask("POST", &shop, "/login", &login.to_string());
        for number in 0..60 {
            self.ask("GET", &shop, &format!("/users/{}", 1_000 + number), "");
            self.ask("GET", &shop, &format!("/orders/{}?expand=lines", 5_000 + number), "");
        }
        for number in 0..20 {
            let to = self.other.addr.to_string();
            let key = SECRETS[2];
            self.ask("GET", &to, &format!("/ping/{number}?api_key={key}"), "");
        }
        self.ask("GET", &shop, "/price", "");
        self.ask("GET", &shop, "/price", "{}");
        self.ask("GET", &shop, "/report", "");
        self.ask("GET", &shop, "/events", "");
        self.ask("POST", &shop, "/checkout", &json!({"card_token": SECRETS[4]}).to_string());
        let mut chat = Client::connect(self.tap.addr);
        chat.send(format!(
            "GET http://{shop}/chat HTTP/1.1\r\nHost: {shop}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        chat.head();
        chat.send(b"\x88\x80\0\0\0\0");
        chat.rest();
    }
}

fn stage() -> Stage {
    let tap = Setup::with_mcp().start();
    let stage = Stage { tap, origin: Origin::start(shop), other: Origin::start(shop) };
    stage.traffic();
    // A client has its answer a moment before agents see the flow.
    let ended = json!({"filter": "~s", "limit": 1});
    Agent::of(&stage.tap).wait("get_flows", &ended, |list| list["total"] == FLOWS);
    stage
}

fn id_of(list: &Value) -> Value {
    list["flows"][0]["id"].clone()
}

/// The failing call, and why it failed.
fn find_the_failure(agent: &mut Agent) {
    let list = agent.call("get_flows", json!({"filter": "~c 500"}));
    assert_eq!(list["total"], 1, "{list}");
    let answer = agent.call("get_flow_response", json!({"flow_id": id_of(&list)}));
    assert!(answer.to_string().contains("payment provider unreachable"), "{answer}");
}

/// The flow whose large body holds an id.
fn find_the_body(agent: &mut Agent) {
    let found = agent.call("search_flows", json!({"pattern": "order-902123", "in": "body"}));
    assert_eq!(found["count"], 1, "{found}");
    assert!(found.to_string().contains("order-902123"), "{found}");
    assert!(found.to_string().contains("/report"), "{found}");
}

fn compare_answers(agent: &mut Agent) {
    let list = agent.call("get_flows", json!({"url_pattern": "/price$"}));
    let ids: Vec<_> =
        list["flows"].as_array().unwrap().iter().map(|flow| flow["id"].clone()).collect();
    let compared = agent.call("compare_flows", json!({"flow_id": ids[1], "other_flow_id": ids[0]}));
    let text = compared.to_string();
    assert!(text.contains("price") && text.contains("100") && text.contains("120"), "{text}");
    assert!(!text.contains("lamp"), "only what differs: {text}");
}

fn hold_and_edit(stage: &Stage, agent: &mut Agent) {
    agent.call("set_intercept_filter", json!({"filter": "~q & ~u /orders/held"}));
    let (status, _) = std::thread::scope(|scope| {
        let client = scope.spawn(|| stage.ask("GET", &stage.shop(), "/orders/held", ""));
        agent.wait("get_intercepted_flows", &json!({}), |it| it["count"] == 1);
        let held = agent.call("get_intercepted_flows", json!({}));
        let url = format!("http://{}/orders/edited", stage.shop());
        agent.call("resume_flow", json!({"flow_id": id_of(&held), "url": url}));
        client.join().unwrap()
    });
    assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
    assert!(stage.origin.seen().contains("GET /orders/edited HTTP/1.1\r\n"));
    assert!(!stage.origin.seen().contains("/orders/held"));
}

fn change_a_status(stage: &Stage, agent: &mut Agent) {
    agent.call("set_intercept_filter", json!({"filter": "~s & ~u /users/1000"}));
    let (status, _) = std::thread::scope(|scope| {
        let client = scope.spawn(|| stage.ask("GET", &stage.shop(), "/users/1000", ""));
        agent.wait("get_intercepted_flows", &json!({}), |it| it["count"] == 1);
        let held = agent.call("get_intercepted_flows", json!({}));
        agent.call("resume_flow", json!({"flow_id": id_of(&held), "status": 403}));
        client.join().unwrap()
    });
    assert!(status.starts_with("HTTP/1.1 403 "), "{status}");
    agent.call("set_intercept_filter", json!({"filter": ""}));
}

fn export_one_host(stage: &Stage, agent: &mut Agent) {
    let done = agent.call("export_flows", json!({"filter": "~d ^localhost$", "path": "shop.har"}));
    assert!(done.to_string().len() < 2_000, "{done}");
    let har = std::fs::read(stage.tap.folder().join("shop.har")).unwrap();
    let har: Value = serde_json::from_slice(&har).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    assert!(entries.len() > 120, "{}", entries.len());
    let is_shop = |entry: &Value| entry["request"]["url"].as_str().unwrap().contains("localhost");
    assert!(entries.iter().all(is_shop));
    let text = har.to_string();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in the HAR");
    }
}

fn list_the_endpoints(agent: &mut Agent) {
    let overview = agent.call("get_overview", json!({})).to_string();
    for endpoint in ["/users/{", "/orders/{", "/login", "/checkout", "/report", "/ping/{"] {
        assert!(overview.contains(endpoint), "{endpoint}: {overview}");
    }
    // Where authentication sits, and never with what.
    assert!(overview.to_lowercase().contains("authorization"), "{overview}");
}

fn read_a_message(agent: &mut Agent) {
    let list = agent.call("get_flows", json!({"filter": "~websocket"}));
    let arguments = json!({"flow_id": id_of(&list), "pattern": "message 17"});
    let messages = agent.call("get_websocket_messages", arguments).to_string();
    assert!(messages.contains("message 17") && !messages.contains("message 18"), "{messages}");
}

fn send_it_changed(stage: &Stage, agent: &mut Agent) {
    let list = agent.call("get_flows", json!({"filter": "~u /orders/5007", "limit": 1}));
    let url = format!("http://{}/orders/9999", stage.shop());
    let sent = agent.call("modify_and_send", json!({"flow_id": id_of(&list), "url": url}));
    assert_eq!(sent["status_code"], 200, "{sent}");
    assert!(stage.origin.seen().contains("GET /orders/9999 HTTP/1.1\r\n"));
}

fn read_events(agent: &mut Agent) {
    let list = agent.call("get_flows", json!({"filter": "~ts event-stream"}));
    let events = agent.call("get_event_stream", json!({"flow_id": id_of(&list)})).to_string();
    assert!(events.contains("stock") && events.contains("lamp"), "{events}");
}

#[test]
fn ten_usual_tasks_are_done_at_little_cost_and_no_secret_is_seen() {
    let stage = stage();
    let mut agent = Agent::of(&stage.tap);
    let mut costs = Vec::new();
    let mut before = agent.tokens();
    let mut spent = |name: &'static str, agent: &Agent| {
        costs.push((name, agent.tokens() - before));
        before = agent.tokens();
    };
    list_the_endpoints(&mut agent);
    spent("list the endpoints", &agent);
    find_the_failure(&mut agent);
    spent("find the failing call and why", &agent);
    find_the_body(&mut agent);
    spent("find the flow whose body holds an id", &agent);
    compare_answers(&mut agent);
    spent("compare two answers", &agent);
    hold_and_edit(&stage, &mut agent);
    spent("hold and edit a request", &agent);
    change_a_status(&stage, &mut agent);
    spent("change a response's status", &agent);
    export_one_host(&stage, &mut agent);
    spent("one host's HAR", &agent);
    read_a_message(&mut agent);
    spent("read a message", &agent);
    send_it_changed(&stage, &mut agent);
    spent("send a request changed", &agent);
    read_events(&mut agent);
    spent("read events", &agent);
    println!("tokens: {} in all, {costs:?}", agent.tokens());
    assert!(agent.tokens() < TOKENS, "{} tokens: {costs:?}", agent.tokens());
    // The tasks were done; now everything that can be looked at is looked at.
    look_at_everything(&mut agent);
    for secret in SECRETS {
        assert!(!agent.transcript.contains(secret), "{secret} was seen");
    }
    for secret in SECRETS {
        // What is masked cannot be found either: it could be guessed otherwise.
        let found = agent.call("search_flows", json!({"pattern": &secret[..12], "in": "all"}));
        assert_eq!(found["count"], 0, "{secret} can be guessed");
    }
}

/// Reads all flows in every way there is.
fn look_at_everything(agent: &mut Agent) {
    let list = agent.call("get_flows", json!({"limit": 500}));
    for flow in list["flows"].as_array().unwrap().clone() {
        let id = json!({"flow_id": flow["id"], "body_limit": 100_000, "full_heads": true});
        agent.call("get_flow_by_id", id.clone());
        agent.call("get_flow_request", id.clone());
        if flow["status_code"].is_number() {
            agent.call("get_flow_response", id);
        }
    }
    agent.call("export_flows", json!({"filter": "~u /login | ~u /checkout"}));
    for pattern in ["token", "password", "key", "sid", "secret", "."] {
        agent.call("search_flows", json!({"pattern": pattern, "in": "all", "context": 1_000}));
    }
    agent.call("get_status", json!({}));
    agent.call("get_options", json!({}));
}

#[test]
fn a_listed_flow_costs_little() {
    let stage = stage();
    let mut agent = Agent::of(&stage.tap);
    for (arguments, most) in
        [(json!({"limit": 100, "format": "table"}), 25), (json!({"limit": 100}), 60)]
    {
        let before = agent.tokens();
        let list = agent.call("get_flows", arguments.clone());
        assert_eq!(list["count"], 100);
        let each = (agent.tokens() - before) / 100;
        assert!(each <= most, "{arguments}: {each} tokens a flow");
    }
    // What all tools together cost before the first call.
    let tools = agent.tools().to_string();
    println!("tokens of the tools' descriptions: {}", tools.chars().count() / 4);
    assert!(tools.chars().count() / 4 < 6_500, "{}", tools.chars().count() / 4);
}
