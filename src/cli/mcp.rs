//! `flowtap mcp`: the proxy with MCP on standard input and output, or the way to one that runs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use crate::cli::agents::Channel;
use crate::cli::stdio::Stdio;
use crate::cli::{proxy, running};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits::MCP_PORT;
use crate::mcp::bridge::{self, Neighbour};

/// Serves until standard input ends or a signal comes. If a flowtap serves MCP on the port
/// already, everything is relayed to that one, and no second proxy is started.
///
/// # Errors
/// Those of [`proxy::run`], and when a flowtap is there and wants another token.
pub(super) fn run(config: &Config) -> Result<()> {
    let Some(mcp) = &config.mcp else { return proxy::run(config, Channel::Stdio) };
    let port = mcp.port.unwrap_or(MCP_PORT);
    if port == 0 {
        return proxy::run(config, Channel::Stdio);
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match bridge::ask(address, mcp.token.as_deref()) {
        Neighbour::Nobody => proxy::run(config, Channel::Stdio),
        Neighbour::Flowtap => {
            let signals = running::signals()?;
            let token = mcp.token.clone();
            let bridge = Stdio::start(move |stops| {
                bridge::run(address, token, io::stdin(), &mut io::stdout(), stops)
            });
            bridge?.attend(&signals)
        }
        Neighbour::Locked => Err(Error::new(format!(
            "what serves MCP on port {port} wants a token: give it with --mcp-token or \
             FLOWTAP_MCP_TOKEN, or choose another port with --mcp-port"
        ))),
    }
}
