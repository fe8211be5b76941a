//! Options that change a running proxy: names and values after mitmproxy's.
//!
//! A set of options never changes: setting one makes another set, and all loops see it in their
//! next turn. What an option is called, takes, shows and does stands in one table.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::flow::filter::Filter;
use crate::flow::redact::Redactor;
use crate::limits::{
    BODY_TIMEOUT, CAPTURE_BODY_BYTES, CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, HELD_FLOWS,
    INTERCEPT_TIMEOUT, KEEP_ALIVE_TIMEOUT, POOL_CONNECTIONS, REQUEST_HEAD_TIMEOUT,
    RESPONSE_TIMEOUT, STORED_BYTES, TUNNEL_TIMEOUT,
};
use crate::options::host::HostRegex;
use crate::options::rule::BlockRule;

pub use crate::options::error::OptionError;
pub use crate::options::table::{docs_table, names};
pub use crate::tls::version::TlsVersion;

mod error;
pub mod host;
pub mod rule;
mod table;
mod value;

/// The most that `flow_detail` can ask for.
pub const FLOW_DETAIL_MOST: u8 = 4;

/// When the server is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionStrategy {
    /// At CONNECT.
    Eager,
    /// When the first request is there.
    #[default]
    Lazy,
}

/// A set of options.
#[derive(Clone, Debug)]
pub struct Options {
    /// Flows that match are held.
    pub intercept: Option<Filter>,
    /// How long a flow is held before it goes on by itself.
    pub intercept_timeout: Duration,
    /// Requests lose If-Modified-Since and If-None-Match.
    pub anticache: bool,
    /// Requests ask for bodies without content coding.
    pub anticomp: bool,
    /// Listings show URLs by the Host field instead of the address connected to.
    pub showhost: bool,
    /// How much the terminal prints for each exchange, 0 to 4.
    pub flow_detail: u8,
    /// Bytes of a body beyond which a message is refused.
    pub body_size_limit: Option<u64>,
    /// Bytes of each body that are kept; `u64::MAX` for all.
    pub capture_body_limit: u64,
    /// Only what matches one of them is intercepted, where there are any.
    pub allow_hosts: Vec<HostRegex>,
    /// What matches one of them passes through untouched.
    pub ignore_hosts: Vec<HostRegex>,
    /// Answers given in place of a server's.
    pub block_list: Vec<BlockRule>,
    /// When the server is connected.
    pub connection_strategy: ConnectionStrategy,
    /// WebSocket messages are read.
    pub websocket: bool,
    /// What is neither TLS nor HTTP inside a tunnel is relayed.
    pub rawtcp: bool,
    /// `user:password` that clients must show.
    pub proxyauth: Option<String>,
    /// The lowest version of TLS spoken with clients.
    pub tls_version_client_min: TlsVersion,
    /// The lowest version of TLS spoken with servers.
    pub tls_version_server_min: TlsVersion,
    /// Look-up and connect together.
    pub connect_timeout: Duration,
    /// Between two requests on one client connection.
    pub idle_timeout: Duration,
    /// From the end of the request to the response's head.
    pub response_timeout: Duration,
    /// A TLS handshake, on either side.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its head.
    pub request_head_timeout: Duration,
    /// Without progress while a body is under way.
    pub body_timeout: Duration,
    /// Without a byte either way in a tunnel or a WebSocket.
    pub tunnel_timeout: Duration,
    /// Client connections in all; `None` for as many as open files allow.
    pub connections: Option<usize>,
    /// Client connections from one address; `None` for any number.
    pub connections_per_client: Option<usize>,
    /// Idle connections to servers that each event loop keeps.
    pub pooled_connections: usize,
    /// Flows that are held at the same time.
    pub held_flows: usize,
    /// Bytes of all flows that are kept for agents.
    pub store_bytes: usize,
    /// Masks what leaves over MCP.
    pub redactor: Redactor,
    /// What `redactor` masks beside what it knows by itself, as it was written.
    pub redact_patterns: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            intercept: None,
            intercept_timeout: INTERCEPT_TIMEOUT,
            anticache: false,
            anticomp: false,
            showhost: false,
            flow_detail: 1,
            body_size_limit: None,
            capture_body_limit: CAPTURE_BODY_BYTES,
            allow_hosts: Vec::new(),
            ignore_hosts: Vec::new(),
            block_list: Vec::new(),
            connection_strategy: ConnectionStrategy::default(),
            websocket: true,
            rawtcp: true,
            proxyauth: None,
            tls_version_client_min: TlsVersion::default(),
            tls_version_server_min: TlsVersion::default(),
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: KEEP_ALIVE_TIMEOUT,
            response_timeout: RESPONSE_TIMEOUT,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            request_head_timeout: REQUEST_HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            tunnel_timeout: TUNNEL_TIMEOUT,
            connections: None,
            connections_per_client: None,
            pooled_connections: POOL_CONNECTIONS,
            held_flows: HELD_FLOWS,
            store_bytes: STORED_BYTES,
            // Without patterns of the user's there is nothing that could be refused.
            redactor: Redactor::new(&[]).unwrap_or_default(),
            redact_patterns: Vec::new(),
        }
    }
}

impl Options {
    /// Sets an option, as can be done before the proxy runs.
    ///
    /// # Errors
    /// When there is no such option or the value is refused; then nothing has changed.
    pub fn set(&mut self, key: &str, value: &Value) -> Result<(), OptionError> {
        table::find(key)?.set(self, value)
    }

    /// Sets an option as a command line gives it: `true` and `false`, numbers, text. A list gains
    /// one item; an empty text empties it, and takes a value that may be missing away.
    ///
    /// # Errors
    /// Those of [`Options::set`].
    pub fn set_text(&mut self, key: &str, text: &str) -> Result<(), OptionError> {
        let option = table::find(key)?;
        option.set(self, &option.value_of_text(self, text))
    }

    /// An option's value as users see it: masked, while masking is on.
    ///
    /// # Errors
    /// When there is no such option.
    pub fn show(&self, key: &str) -> Result<Value, OptionError> {
        Ok(table::find(key)?.shown(self))
    }

    /// Whether `allow_hosts` and `ignore_hosts` let a host be intercepted. The patterns are
    /// searched in `host:port` (IPv6 without brackets), and in the name of a ClientHello with the
    /// same port: to be ignored or allowed, one of them is enough.
    pub fn intercepts(&self, host: &str, port: u16, server_name: Option<&str>) -> bool {
        if self.allow_hosts.is_empty() && self.ignore_hosts.is_empty() {
            return true;
        }
        let named = |name: &str| format!("{name}:{port}");
        let (asked, server_name) = (named(host), server_name.map(named));
        let any = |patterns: &[HostRegex]| {
            let found = |text: &str| patterns.iter().any(|pattern| pattern.matches(text));
            found(&asked) || server_name.as_deref().is_some_and(found)
        };
        !any(&self.ignore_hosts) && (self.allow_hosts.is_empty() || any(&self.allow_hosts))
    }

    /// Whether the name in a ClientHello can change what [`Options::intercepts`] says of a host.
    pub fn needs_server_name(&self) -> bool {
        !self.allow_hosts.is_empty() || !self.ignore_hosts.is_empty()
    }
}

/// The options in force, shared by all threads.
#[derive(Debug)]
pub struct SharedOptions {
    current: Mutex<Arc<Options>>,
    version: AtomicU64,
    /// Held while a change is made, so that nobody who only reads waits for it.
    changing: Mutex<()>,
}

impl SharedOptions {
    /// These options are in force. Patterns of `redact_patterns` that come later may be an agent's.
    pub fn new(mut options: Options) -> Self {
        options.redactor.settle();
        SharedOptions {
            current: Mutex::new(Arc::new(options)),
            version: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// The options in force.
    pub fn current(&self) -> Arc<Options> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rises with each change: a loop that has seen this version has seen the options in force.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Changes the options; when `change` fails they stay as they are.
    ///
    /// # Errors
    /// What `change` gives.
    pub fn change<E>(&self, change: impl FnOnce(&mut Options) -> Result<(), E>) -> Result<(), E> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut options = Options::clone(&self.current());
        change(&mut options)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Options and their values as users see them: masked, while masking is on. Where no key is
    /// given, those that are worth a look.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub fn describe(&self, keys: Option<&[String]>) -> Result<Map<String, Value>, OptionError> {
        let options = self.current();
        let mut described = Map::new();
        match keys {
            None | Some([]) => {
                for option in table::usual() {
                    described.insert(option.name.to_owned(), option.shown(&options));
                }
            }
            Some(keys) => {
                for key in keys {
                    described.insert(key.clone(), options.show(key)?);
                }
            }
        }
        Ok(described)
    }

    /// Sets an option of the running proxy, and gives the value that is now in force as users see
    /// it. A value as it was shown, masked or not, stands for the value itself.
    ///
    /// # Errors
    /// When there is no such option, it cannot be set while the proxy runs, or the value is
    /// refused; then nothing has changed.
    pub fn set(&self, key: &str, value: &Value) -> Result<Value, OptionError> {
        let option = table::find(key)?;
        let mut now = Value::Null;
        self.change(|options| {
            option.set_running(options, value)?;
            now = option.shown(options);
            Ok(())
        })?;
        Ok(now)
    }
}

#[cfg(test)]
mod tests;
