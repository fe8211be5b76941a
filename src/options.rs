//! Options that change a running proxy: names and values after mitmproxy's.
//!
//! A set of options never changes: setting one makes another set, and all loops see it in their
//! next turn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::flow::filter::Filter;
use crate::flow::redact::Redactor;
use crate::limits::{
    CAPTURE_BODY_BYTES, CONNECT_TIMEOUT, INTERCEPT_TIMEOUT, KEEP_ALIVE_TIMEOUT, RESPONSE_TIMEOUT,
};

/// When the server is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionStrategy {
    /// At CONNECT.
    Eager,
    /// When the first request is there.
    #[default]
    Lazy,
}

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// A rule of `block_list`.
#[derive(Clone, Debug)]
pub struct BlockRule {
    /// Which requests.
    pub filter: Filter,
    /// The status that they are answered with; 444 closes the connection.
    pub status: u16,
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
    /// Masks what leaves over MCP.
    pub redactor: Redactor,
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
            redactor: Redactor::default(),
        }
    }
}

/// The options in force, shared by all threads.
#[derive(Debug)]
pub struct SharedOptions {
    current: Mutex<Arc<Options>>,
    version: AtomicU64,
}

impl SharedOptions {
    /// These options are in force.
    pub fn new(options: Options) -> Self {
        SharedOptions { current: Mutex::new(Arc::new(options)), version: AtomicU64::new(0) }
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
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut options = Options::clone(&current);
        change(&mut options)?;
        *current = Arc::new(options);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }
}
