//! The running server: its socket, its thread, its end.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Poll, Waker};

use crate::error::{Error, Result};
use crate::limits::{
    LINGER_TIMEOUT, MCP_KEEP_ALIVE, MCP_PING, MCP_PORT, MCP_REQUEST_TIMEOUT, MCP_SESSION_IDLE,
    MCP_WRITE_TIMEOUT,
};
use crate::mcp::dispatch::Dispatcher;
use crate::mcp::event_loop::{EventLoop, WAKER};
use crate::mcp::toolbox::Toolbox;
use crate::mcp::transport::Front;
use crate::mcp::workers::Workers;
use crate::net::budget;
use crate::notice::{Notice, Notices};

/// How long the server waits for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two signs of life on an event stream.
    pub ping: Duration,
    /// For a session to be used again.
    pub session_idle: Duration,
    /// For a request to be whole.
    pub request: Duration,
    /// For a client to take output.
    pub write: Duration,
    /// For the next request of a connection.
    pub keep_alive: Duration,
    /// For a client to close after the last answer.
    pub linger: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            ping: MCP_PING,
            session_idle: MCP_SESSION_IDLE,
            request: MCP_REQUEST_TIMEOUT,
            write: MCP_WRITE_TIMEOUT,
            keep_alive: MCP_KEEP_ALIVE,
            linger: LINGER_TIMEOUT,
        }
    }
}

/// How the server is to be.
#[derive(Clone, Default)]
pub struct McpOptions {
    /// Clients must know this.
    pub token: Option<String>,
    /// How long it waits for what.
    pub timing: Timing,
}

impl fmt::Debug for McpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("McpOptions").field("token", &token).field("timing", &self.timing).finish()
    }
}

/// A bound socket that does not accept yet, on 127.0.0.1.
#[derive(Debug)]
pub struct McpBound {
    socket: TcpListener,
    address: SocketAddr,
}

impl McpBound {
    /// Binds and listens on the port that the user asked for, 0 for a free one. Where none was
    /// asked for: on [`MCP_PORT`], or on a free one if that is taken.
    ///
    /// # Errors
    /// When the port that was asked for is taken, or there is none; it says what to do.
    pub fn new(port: Option<u16>) -> Result<McpBound> {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = match (TcpListener::bind(at(port.unwrap_or(MCP_PORT))), port) {
            (Err(error), None) if error.kind() == io::ErrorKind::AddrInUse => {
                TcpListener::bind(at(0))
            }
            (other, _) => other,
        };
        let port = port.unwrap_or(MCP_PORT);
        let socket = socket.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => Error::new(format!(
                "port {port} for MCP is in use: end what listens there, or choose another with \
                 --mcp-port (--mcp-port 0 takes a free one)"
            )),
            _ => Error::new(format!("MCP cannot listen on port {port}: {error}")),
        })?;
        let address = socket
            .local_addr()
            .map_err(|error| Error::new(format!("MCP cannot listen on port {port}: {error}")))?;
        Ok(McpBound { socket, address })
    }

    /// The address, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The server.
#[derive(Debug)]
pub struct McpServer;

impl McpServer {
    /// Starts to serve these tools on a thread of its own.
    ///
    /// # Errors
    /// When the system has no poller or no thread left.
    pub fn start(
        bound: McpBound,
        toolbox: Arc<dyn Toolbox>,
        options: McpOptions,
    ) -> Result<McpHandle> {
        let address = bound.address;
        let start = || -> io::Result<McpHandle> {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
            let stop = Arc::new(AtomicBool::new(false));
            let dispatcher = Dispatcher::new(toolbox.clone());
            let wake = waker.clone();
            let wake = Arc::new(move || {
                // A loop that cannot be woken looks again by itself.
                let _ = wake.wake();
            });
            let (workers, calls) = Workers::new(dispatcher.clone(), wake);
            let front = Front::new(dispatcher, workers, options.token);
            let most = budget::mcp_connections(budget::descriptors());
            let (socket, timing) = (bound.socket, options.timing);
            let event_loop =
                EventLoop::new(poll, socket, most, front, calls, timing, stop.clone())?;
            let thread = thread::Builder::new().name("mcp".to_owned());
            let thread = thread.spawn(move || run(event_loop, toolbox.notices()))?;
            Ok(McpHandle { address, stop, waker, thread })
        };
        start().map_err(|error| Error::new(format!("the MCP server cannot start: {error}")))
    }
}

/// Serves until it is stopped; when it ends before that, the process is told to end.
fn run(event_loop: EventLoop, notices: Option<&Notices>) -> io::Result<()> {
    let Some(notices) = notices else { return event_loop.run() };
    match notices.supervise("the MCP server", || event_loop.run()) {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => {
            notices.give(Notice::Failed(format!("the MCP server failed: {error}")));
            Err(error)
        }
        None => Err(io::Error::other("a fault in flowtap")),
    }
}

/// A running server. It goes on when this is dropped.
#[derive(Debug)]
pub struct McpHandle {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: JoinHandle<io::Result<()>>,
}

impl McpHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cancels all calls, closes all streams and waits until the thread has ended.
    ///
    /// # Errors
    /// When the server had failed before.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        // A loop that has ended needs not be woken.
        let _ = self.waker.wake();
        match self.thread.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::new(format!("the MCP server failed: {error}"))),
            Err(_) => Err(Error::new("the MCP server ended by a defect of flowtap")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::fault::testing::{DEADLINE, connect, rest};
    use crate::mcp::toolbox::{Call, Resource, ToolDescription, ToolResult};

    /// Tools of which listing and calling them panics.
    struct Faulty(Notices, Vec<ToolDescription>);

    impl Toolbox for Faulty {
        fn tools(&self) -> &[ToolDescription] {
            &self.1
        }

        fn instructions(&self) -> &str {
            panic!("no instructions")
        }

        fn call(&self, name: &str, _: &Call<'_>) -> Option<ToolResult> {
            panic!("no tool {name}")
        }

        fn read_resource(&self, uri: &str) -> std::result::Result<Resource, String> {
            Err(uri.to_owned())
        }

        fn notices(&self) -> Option<&Notices> {
            Some(&self.0)
        }
    }

    fn post(address: SocketAddr, method: &str, params: serde_json::Value) -> String {
        let mut params = params;
        params["_meta"] = serde_json::json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let name = params["name"].as_str().map(|name| format!("Mcp-Name: {name}\r\n"));
        let body = serde_json::json!({
            "jsonrpc": "2.0", "id": 1, "method": method, "params": params,
        });
        let body = body.to_string();
        let mut client = connect(address);
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nConnection: close\r\n\
             MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{}\
             Content-Length: {}\r\n\r\n",
            name.unwrap_or_default(),
            body.len()
        );
        client.write_all((head + &body).as_bytes()).unwrap();
        rest(client)
    }

    #[test]
    fn a_fault_ends_one_connection_or_one_call() {
        crate::fault::install_hook();
        let (notices, taken) = Notices::channel(Arc::default());
        let tool = ToolDescription {
            name: "bad",
            title: "Bad",
            description: "Panics.",
            input_schema: serde_json::json!({"type": "object"}),
            read_only: true,
            destructive: false,
            open_world: false,
        };
        let bound = McpBound::new(Some(0)).unwrap();
        let toolbox = Arc::new(Faulty(notices, vec![tool]));
        let server = McpServer::start(bound, toolbox, McpOptions::default()).unwrap();
        let fault = || match taken.recv_timeout(DEADLINE).unwrap() {
            Notice::Fault { what, fault } => format!("{what}: {fault}"),
            other => panic!("{other:?}"),
        };
        for _ in 0..3 {
            assert_eq!(post(server.address(), "server/discover", serde_json::json!({})), "");
            let words = fault();
            assert!(words.starts_with("serving a client of MCP: no instructions ("), "{words}");
            let call = serde_json::json!({"name": "bad", "arguments": {}});
            let answer = post(server.address(), "tools/call", call);
            assert!(answer.contains("-32603") && answer.contains("ended by a fault"), "{answer}");
            let words = fault();
            assert!(words.starts_with("a call of bad: no tool bad ("), "{words}");
            let listed = post(server.address(), "tools/list", serde_json::json!({}));
            assert!(listed.contains("\"bad\""), "{listed}");
        }
        server.stop().unwrap();
    }

    #[test]
    fn a_port_that_was_asked_for_must_be_free() {
        let taken = McpBound::new(Some(0)).unwrap();
        let port = taken.address().port();
        let error = McpBound::new(Some(port)).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--mcp-port"), "{error}");
        assert!(taken.address().ip().is_loopback());
    }

    #[test]
    fn the_port_of_the_default_may_be_another() {
        let (first, second) = (McpBound::new(None).unwrap(), McpBound::new(None).unwrap());
        assert_ne!(first.address(), second.address());
    }
}
