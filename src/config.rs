//! The validated settings of a proxy.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::options::Options;

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
    /// Traces in one part of the bundle.
    pub part_traces: u64,
    /// Flows that are kept in memory for tools.
    pub max_flows: usize,
    /// The options that are in force at first.
    pub options: Options,
}
