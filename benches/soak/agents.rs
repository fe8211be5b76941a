//! Agents that come over one of two transports, use the tools, and go in good order or not.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wire::{Head, SILENCE, Wire};
use super::world::{Dice, Outcome, World, at, status};

const VERSION: &str = "2025-06-18";
/// Between two looks at what is held: no tool waits for a flow that comes or goes.
const LOOK: Duration = Duration::from_millis(20);

/// How long connections are made eagerly.
const EAGER: Duration = Duration::from_millis(500);

/// A session with the tools.
pub(crate) struct Agent<'a> {
    world: &'a World,
    /// For requests; on the older transport their answers come on the stream.
    wire: Wire,
    way: Way,
    calls: u64,
}

enum Way {
    /// Streamable HTTP, with the session's field.
    Streamable(String),
    /// HTTP with an event stream, and where messages go.
    Events(Box<Wire>, String),
}

impl<'a> Agent<'a> {
    /// Begins a session over Streamable HTTP.
    pub(crate) fn streamable(world: &'a World) -> Outcome<Agent<'a>> {
        let wire = at("connect", Wire::connect(world.mcp))?;
        let mut agent = Agent { world, wire, way: Way::Streamable(String::new()), calls: 0 };
        agent.initialize()?;
        Ok(agent)
    }

    /// Begins a session over HTTP with an event stream.
    pub(crate) fn events(world: &'a World) -> Outcome<Agent<'a>> {
        let mut stream = at("connect", Wire::connect(world.mcp))?;
        let host = world.mcp;
        let request =
            format!("GET /sse HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n");
        at("send", stream.send(request))?;
        status(&at("stream", stream.head())?, 200)?;
        let endpoint = event(&mut stream)?;
        let wire = at("connect", Wire::connect(world.mcp))?;
        let way = Way::Events(Box::new(stream), endpoint);
        let mut agent = Agent { world, wire, way, calls: 0 };
        agent.initialize()?;
        Ok(agent)
    }

    fn initialize(&mut self) -> Outcome {
        let client = json!({"name": "soak", "version": "1"});
        let params = json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client});
        let result = self.request("initialize", &params)?;
        match result["serverInfo"]["name"].as_str() {
            Some(_) => Ok(()),
            None => Err(format!("initialize: {result}")),
        }
    }

    /// Sends a request; on Streamable HTTP its answer is what comes next.
    fn send(&mut self, method: &str, params: &Value) -> Outcome {
        self.calls += 1;
        let body = json!({"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params});
        let body = body.to_string();
        let (target, session) = match &self.way {
            Way::Streamable(session) => ("/mcp", session.as_str()),
            Way::Events(_, endpoint) => (endpoint.as_str(), ""),
        };
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{session}Content-Length: {}\r\n\r\n",
            self.world.mcp,
            body.len()
        );
        at("send", self.wire.send(head + &body))
    }

    fn receive(&mut self) -> Outcome<Value> {
        let head = at("head", self.wire.head())?;
        let body = read(&mut self.wire, &head)?;
        let text = match &mut self.way {
            Way::Streamable(session) => {
                status(&head, 200)?;
                if let Some(id) = head.field("mcp-session-id") {
                    *session =
                        format!("Mcp-Session-Id: {id}\r\nMCP-Protocol-Version: {VERSION}\r\n");
                }
                body
            }
            Way::Events(stream, _) => {
                status(&head, 202)?;
                event(stream)?
            }
        };
        let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match answer.get("result") {
            Some(result) if answer["id"] == self.calls => Ok(result.clone()),
            _ => Err(format!("call {}: {answer}", self.calls)),
        }
    }

    fn request(&mut self, method: &str, params: &Value) -> Outcome<Value> {
        self.send(method, params)?;
        self.receive()
    }

    /// Calls a tool that has to succeed.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Outcome<Value> {
        let called = json!({"name": tool, "arguments": arguments});
        let result = self.request("tools/call", &called);
        let result = result.map_err(|why| format!("{tool} {arguments}: {why}"))?;
        let mut result = result;
        match result["isError"] == true {
            true => Err(format!("{tool} {arguments}: {}", result["structuredContent"])),
            false => Ok(result["structuredContent"].take()),
        }
    }

    /// Calls it again until what it says satisfies `until`.
    pub(crate) fn wait(&mut self, tool: &str, until: impl Fn(&Value) -> bool) -> Outcome<Value> {
        let end = Instant::now() + SILENCE;
        loop {
            let said = self.call(tool, &json!({}))?;
            if until(&said) {
                return Ok(said);
            }
            if Instant::now() > end {
                return Err(format!("waited in vain: {tool}: {said}"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends the session and its connections; without the session's end it stays with the server.
    pub(crate) fn leave(mut self, ends_session: bool) -> Outcome {
        if let (Way::Streamable(session), true) = (&self.way, ends_session) {
            let request =
                format!("DELETE /mcp HTTP/1.1\r\nHost: {}\r\n{session}\r\n", self.world.mcp);
            at("send", self.wire.send(request))?;
            let head = at("head", self.wire.head())?;
            if !(200..300).contains(&head.status()) {
                return Err(format!("DELETE: {}", head.text()));
            }
        }
        self.wire.close();
        Ok(())
    }

    /// Goes away while a call is under way.
    fn vanish(mut self, tool: &str, arguments: &Value) -> Outcome {
        self.send("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        self.wire.reset();
        if let Way::Events(stream, _) = self.way {
            stream.reset();
        }
        Ok(())
    }
}

/// The body behind this head as text.
fn read(wire: &mut Wire, head: &Head) -> Outcome<String> {
    let mut body = Vec::new();
    let whole = wire.body(head, &mut |bytes| -> io::Result<()> {
        body.extend_from_slice(bytes);
        Ok(())
    });
    at("body", whole)?;
    String::from_utf8(body).map_err(|error| error.to_string())
}

/// The data of the next event of a stream.
fn event(stream: &mut Wire) -> Outcome<String> {
    let mut data = String::new();
    loop {
        let line = at("event", stream.line())?;
        if let Some(value) = line.strip_prefix("data:") {
            data.push_str(value.trim_start());
        } else if line.is_empty() && !data.is_empty() {
            return Ok(data);
        }
    }
}

/// Agents that come one after the other, this long apart, until the traffic ends.
pub(crate) fn run(world: &World, seed: u64, apart: Duration) {
    let mut dice = Dice::new(seed);
    loop {
        let outcome = visit(world, &mut dice);
        world.ledger.done("agent's visit", outcome);
        if !world.pause(apart) {
            return;
        }
    }
}

fn visit(world: &World, dice: &mut Dice) -> Outcome {
    let mut agent = match dice.below(2) {
        0 => Agent::streamable(world)?,
        _ => Agent::events(world)?,
    };
    let listed = agent.request("tools/list", &json!({}))?;
    if listed["tools"].as_array().is_none_or(Vec::is_empty) {
        return Err(format!("no tools: {listed}"));
    }
    agent.call("get_overview", &json!({}))?;
    let list = agent.call("get_flows", &json!({"filter": "~u /length/ & ~c 200", "limit": 20}))?;
    if let Some(flow) = list["flows"].get(0) {
        // Newer flows may have taken its place since it was listed.
        let id = json!({"flow_id": flow["id"]});
        let _ = agent.call("get_flow_by_id", &id);
        let _ = agent.call("get_flow_response", &id);
        replay(&mut agent, flow)?;
    }
    let word = ["cmfwyp", "hrdlu e", "[0-9]{6}"][dice.below(3) as usize];
    agent.call("search_flows", &json!({"pattern": word, "in": "all", "limit": 5}))?;
    send(&mut agent, dice)?;
    set_option(&mut agent, dice)?;
    agent.call("export_flows", &json!({"filter": "~c 418 | ~c 403"}))?;
    match dice.below(4) {
        0 => agent.vanish("search_flows", &json!({"pattern": "x+y", "in": "all"})),
        1 => agent.vanish("get_flows", &json!({"limit": 500})),
        ends => agent.leave(ends == 2),
    }
}

fn set_option(agent: &mut Agent<'_>, dice: &mut Dice) -> Outcome {
    let (key, value) = match dice.below(5) {
        0 => ("anticache", json!(dice.below(2) == 0)),
        1 => ("showhost", json!(dice.below(2) == 0)),
        2 => ("flow_detail", json!(dice.below(2))),
        3 => ("connection_strategy", json!("eager")),
        _ => ("connect_timeout", json!(20 + dice.below(10))),
    };
    agent.call("set_option", &json!({"key": key, "value": value}))?;
    if key == "connection_strategy" {
        // It takes connections of its own, which would make their number depend on chance.
        agent.world.pause(EAGER);
        agent.call("set_option", &json!({"key": key, "value": "lazy"}))?;
    }
    Ok(())
}

/// Sends a flow's request again, unless it has been forgotten meanwhile.
fn replay(agent: &mut Agent<'_>, flow: &Value) -> Outcome {
    let url = flow["url"].as_str().unwrap_or_default();
    let id = id_in(url).ok_or_else(|| format!("no id in {flow}"))?;
    if !agent.world.ledger.again(id) {
        return Err(format!("an id that nobody gave: {flow}"));
    }
    match agent.call("replay_request", &json!({"flow_id": flow["id"]})) {
        Ok(answer) if answer["status_code"] == 200 => agent.world.ledger.must(id),
        Ok(answer) => return Err(format!("replay_request: {answer}")),
        Err(why) if why.contains("no longer kept") || why.contains("evicted") => {}
        Err(why) => return Err(why),
    }
    Ok(())
}

/// Sends a request of the agent's own.
fn send(agent: &mut Agent<'_>, dice: &mut Dice) -> Outcome {
    let (world, size) = (agent.world, dice.size(1, 4_000));
    let id = world.ledger.begin();
    let url = format!("http://127.0.0.1:{}/length/{id}/{size}", world.origin.plain);
    let answer = agent.call("send_request", &json!({"url": url}))?;
    match answer["status_code"] == 200 {
        true => world.ledger.must(id),
        false => return Err(format!("send_request: {answer}")),
    }
    Ok(())
}

/// The id in a URL of `/KIND/ID/SIZE`.
pub(crate) fn id_in(url: &str) -> Option<u64> {
    let (_, rest) = url.split_once("//")?;
    rest.split('/').nth(2)?.parse().ok()
}
