//! The validated settings of a proxy.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use crate::hosts::HostRules;

/// What a proxy is to do. Made by the command line or by an embedder; already checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The bundle to write; `None` writes none.
    pub output: Option<PathBuf>,
    /// The name in the manifest.
    pub app: String,
    /// Which hosts are intercepted and recorded.
    pub hosts: HostRules,
    /// The folder of the CA.
    pub confdir: PathBuf,
    /// Whether `confdir` was given by the user; only where it was not, mitmproxy's CA is taken.
    pub confdir_given: bool,
    /// Another CA file.
    pub ca: Option<PathBuf>,
    /// Do not verify the certificates of servers.
    pub insecure_upstream: bool,
    /// Event loops.
    pub loops: usize,
    /// Bytes of each body that are kept.
    pub capture_body_bytes: u64,
    /// Traces in one part of the bundle.
    pub part_traces: u64,
    /// How MCP is served on a port; `None` where it is not.
    pub mcp: Option<McpConfig>,
}

/// How MCP is served on a port of 127.0.0.1.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct McpConfig {
    /// The port that was asked for, 0 for a free one; `None` for the usual one if it is free.
    pub port: Option<u16>,
    /// Clients must know this.
    pub token: Option<String>,
}

impl fmt::Debug for McpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("McpConfig").field("port", &self.port).field("token", &token).finish()
    }
}
