//! Node before 22.21 and 24.5 asks no environment for a proxy, and later ones do not for agents
//! that a program makes of its own. Node loads a script that NODE_OPTIONS names, which has `http`,
//! `https` and `fetch` use the proxy then.

/// The script; it leaves alone what uses the proxy already.
pub(super) const SCRIPT: &str = include_str!("node/proxy.cjs");
