//! A server with the tools of a test, and a client that sends exactly what it is given.

pub(crate) mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use flowtap::mcp::server::{McpBound, McpHandle, McpOptions, McpServer, Timing};
use serde_json::{Value, json};

use crate::toolbox::{Held, Stub};
use client::{Client, Response};

/// How long any single wait may take, so that a bug fails and does not hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running server, stopped at the end of its test.
pub(crate) struct Server {
    handle: Option<McpHandle>,
    pub(crate) stub: Arc<Stub>,
    held: Receiver<Held>,
}

impl Server {
    /// A server as it is by default.
    pub(crate) fn new() -> Server {
        Server::with(McpOptions::default())
    }

    /// A server with waits of its own.
    pub(crate) fn timed(timing: Timing) -> Server {
        Server::with(McpOptions { token: None, timing })
    }

    /// A server with these options.
    pub(crate) fn with(options: McpOptions) -> Server {
        let (stub, held) = Stub::new();
        let bound = McpBound::new(Some(0)).unwrap();
        let handle = McpServer::start(bound, stub.clone(), options).unwrap();
        Server { handle: Some(handle), stub, held }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.as_ref().unwrap().address()
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// What next becomes of a held call.
    pub(crate) fn held(&self) -> Held {
        self.held.recv_timeout(DEADLINE).expect("a held call tells of itself")
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, head: &str, body: &str) -> Response {
        self.connect().exchange(head, body)
    }

    /// A JSON-RPC message in a POST to `/mcp`, with more fields.
    pub(crate) fn post(&self, fields: &str, message: &Value) -> Response {
        self.connect().post(fields, message)
    }

    /// Opens a session of Streamable HTTP and gives the field that names it.
    pub(crate) fn session(&self, version: &str) -> String {
        let response = self.post("", &initialize(version));
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.json()["result"]["protocolVersion"], version);
        format!("Mcp-Session-Id: {}\r\n", response.field("mcp-session-id").unwrap())
    }

    /// Stops the server; gives what it says.
    pub(crate) fn stop(mut self) {
        self.handle.take().unwrap().stop().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stub.release();
        if let Some(handle) = self.handle.take() {
            let stopped = handle.stop();
            assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
        }
    }
}

/// An `initialize` request with id 0.
pub(crate) fn initialize(version: &str) -> Value {
    let client = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

/// A request.
pub(crate) fn request(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params })
}

/// A tool's call.
pub(crate) fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    request(id, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// A notification.
pub(crate) fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}
