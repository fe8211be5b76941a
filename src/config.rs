//! The validated settings of a proxy.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::options::Options;
use crate::upstream::Upstreams;

pub use crate::hosts::HostRules;

/// How the tools for agents are served.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct McpConfig {
    /// The port on 127.0.0.1; 0 picks a free one. `None` takes the usual one, or a free one where
    /// that is taken.
    pub port: Option<u16>,
    /// What clients have to show.
    pub token: Option<String>,
}

impl fmt::Debug for McpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("McpConfig").field("port", &self.port).field("token", &token).finish()
    }
}

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
    /// Proxies on the way to servers.
    pub upstreams: Upstreams,
    /// Files of roots for servers and upstream proxies, beside the system's.
    pub upstream_ca: Vec<PathBuf>,
    /// What the user is told of upstream proxies at the start, a line each.
    pub upstream_lines: Vec<String>,
    /// Event loops.
    pub loops: usize,
    /// Traces in one part of the bundle.
    pub part_traces: u64,
    /// How the tools for agents are served; `None` serves none.
    pub mcp: Option<McpConfig>,
    /// Flows that are kept in memory for tools.
    pub max_flows: usize,
    /// The options that are in force at first.
    pub options: Options,
    /// Whether the start lines show a QR code of the page for devices.
    pub qr: bool,
    /// What the terminal shows.
    pub terminal: Terminal,
}

/// What the terminal shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether there is colour.
    pub colour: Colour,
    /// Whether there is no live line.
    pub quiet: bool,
    /// Whether lines for flows were asked for: then they go wherever standard error goes.
    pub flows: bool,
}

/// Whether there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, as the environment wants it.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
