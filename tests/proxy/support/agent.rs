//! An agent: calls tools over Streamable HTTP, and counts what that costs.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::Client;
use super::flowtap::Flowtap;

const VERSION: &str = "2025-06-18";

/// A session with the tools of a running proxy.
pub(crate) struct Agent {
    client: Client,
    address: SocketAddr,
    session: String,
    calls: u64,
    /// All that the agent has read and written: what its context holds.
    pub(crate) transcript: String,
}

impl Agent {
    /// Begins a session with the tools of this proxy.
    pub(crate) fn of(tap: &Flowtap) -> Self {
        let address = tap.mcp.expect("the proxy serves no MCP");
        let client = Client::connect(address);
        let mut agent =
            Agent { client, address, session: String::new(), calls: 0, transcript: String::new() };
        let client_info = json!({"name": "agent", "version": "1"});
        let answer = agent.request(
            "initialize",
            &json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client_info}),
        );
        assert_eq!(answer["result"]["protocolVersion"], VERSION, "{answer}");
        agent.transcript.push_str(answer["result"]["instructions"].as_str().unwrap_or_default());
        agent
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let body = json!({"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params});
        let posted = self.post(&body);
        self.client.send(posted);
        let (head, answer) = self.client.response();
        assert!(head.starts_with("HTTP/1.1 200 "), "{method}: {head}");
        let id = head.lines().filter_map(|line| line.split_once(": "));
        let mut id = id.filter(|(name, _)| name.eq_ignore_ascii_case("mcp-session-id"));
        if let Some((_, id)) = id.next() {
            self.session = id.to_owned();
        }
        serde_json::from_slice(&answer).unwrap()
    }

    /// A message to the server, as it is posted.
    fn post(&self, body: &Value) -> String {
        let body = body.to_string();
        let session = match self.session.as_str() {
            "" => String::new(),
            session => {
                format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {VERSION}\r\n")
            }
        };
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{session}Content-Length: {}\r\n\r\n\
             {body}",
            self.address,
            body.len()
        )
    }

    /// Calls a tool and cancels the call as soon as `begun` has come back.
    pub(crate) fn cancels(&mut self, name: &str, arguments: &Value, begun: impl FnOnce()) {
        self.calls += 1;
        let params = json!({"name": name, "arguments": arguments});
        let call =
            json!({"jsonrpc": "2.0", "id": self.calls, "method": "tools/call", "params": params});
        let posted = self.post(&call);
        self.client.send(posted);
        begun();
        let params = json!({"requestId": self.calls});
        let cancel =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        let mut beside = Client::connect(self.address);
        beside.send(self.post(&cancel));
        for client in [&mut beside, &mut self.client] {
            let (head, _) = client.response();
            assert!(head.starts_with("HTTP/1.1 202 "), "{head}");
        }
    }

    /// What `tools/list` shows.
    pub(crate) fn tools(&mut self) -> Value {
        self.request("tools/list", &json!({}))["result"]["tools"].clone()
    }

    fn tool(&mut self, name: &str, arguments: &Value) -> (Value, bool) {
        let params = json!({"name": name, "arguments": arguments});
        let answer = self.request("tools/call", &params);
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("{name}: {answer}"));
        self.transcript.push_str(&format!("{name} {arguments}\n{text}\n"));
        let content: Value = serde_json::from_str(text).unwrap();
        assert!(content.is_object(), "{name}: {content}");
        assert_eq!(content, result["structuredContent"], "{name}");
        (content, result["isError"] == true)
    }

    /// Calls a tool that has to succeed.
    pub(crate) fn call(&mut self, name: &str, arguments: Value) -> Value {
        let (content, failed) = self.tool(name, &arguments);
        assert!(!failed, "{name} {arguments}: {content}");
        content
    }

    /// Calls a tool that has to fail; what it says.
    pub(crate) fn fails(&mut self, name: &str, arguments: Value) -> String {
        let (content, failed) = self.tool(name, &arguments);
        assert!(failed, "{name} {arguments}: {content}");
        content.to_string()
    }

    /// About how many tokens a model reads and writes for all calls so far.
    pub(crate) fn tokens(&self) -> usize {
        self.transcript.chars().count() / 4
    }

    /// Asks again and again until what is said satisfies `until`; a deadline fails the test.
    pub(crate) fn wait(
        &mut self,
        name: &str,
        arguments: &Value,
        until: impl Fn(&Value) -> bool,
    ) -> Value {
        let end = std::time::Instant::now() + super::DEADLINE;
        loop {
            let params = json!({"name": name, "arguments": arguments});
            let answer = self.request("tools/call", &params);
            let content = answer["result"]["structuredContent"].clone();
            if until(&content) {
                return content;
            }
            assert!(std::time::Instant::now() < end, "{name} {arguments}: {content}");
        }
    }
}
