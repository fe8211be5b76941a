//! What `proxy` serves to agents: the store of flows, the tools over it, and MCP.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::capture::queue::{self, FlowSender};
use crate::cli::flow_lines::FlowLines;
use crate::cli::stdio::{Stdio, defect};
use crate::config::{Config, McpConfig, Terminal};
use crate::error::{Error, Result};
use crate::limits::STOP_GRACE;
use crate::mcp::server::{McpBound, McpHandle, McpOptions, McpServer};
use crate::mcp::stdio;
use crate::mcp::store::{Store, StoreLimits};
use crate::mcp::toolbox::Toolbox;
use crate::mcp::tools::{FlowTools, Surroundings};
use crate::net::server::{Server, Stopper};
use crate::notice::Notices;
use crate::options::SharedOptions;
use crate::stats::Stats;

/// How agents reach the tools, beside the port of MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// In no other way.
    PortAlone,
    /// On standard input and output.
    Stdio,
}

/// What is there before the proxy runs: a store, and a port that nobody is served on yet.
#[derive(Debug)]
pub(super) struct Prepared {
    store: Arc<Store>,
    sender: FlowSender,
    bound: Option<McpBound>,
    started: Instant,
}

/// What agents are served with while the proxy runs.
pub(super) struct Serving {
    store: Arc<Store>,
    collector: JoinHandle<()>,
    mcp: Option<McpHandle>,
    tools: Arc<dyn Toolbox>,
    /// MCP on standard input and output.
    stdio: Option<Stdio>,
}

impl Prepared {
    /// A store and a port, where somebody wants flows while they are under way.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub(super) fn new(
        config: &Config,
        options: &SharedOptions,
        channel: Channel,
    ) -> Result<Option<Prepared>> {
        let serves = config.mcp.is_some() || channel == Channel::Stdio;
        if !serves && !FlowLines::are_wanted(options, config.terminal) {
            return Ok(None);
        }
        let bound = config.mcp.as_ref().map(|mcp| McpBound::new(mcp.port)).transpose()?;
        let (sender, receiver) = queue::queue();
        let bytes = options.current().store_bytes;
        let limits = StoreLimits { flows: config.max_flows, bytes, ..StoreLimits::default() };
        let store = Arc::new(Store::new(receiver, limits));
        Ok(Some(Prepared { store, sender, bound, started: Instant::now() }))
    }

    /// Where flows go.
    pub(super) fn sender(&self) -> FlowSender {
        self.sender.clone()
    }

    /// Where MCP will be served.
    pub(super) fn address(&self) -> Option<std::net::SocketAddr> {
        self.bound.as_ref().map(McpBound::address)
    }

    /// Serves the flows of this proxy.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn serve(
        self,
        config: &Config,
        server: &Server,
        options: &Arc<SharedOptions>,
        stats: &Arc<Stats>,
        notices: &Notices,
    ) -> Result<Serving> {
        let Prepared { store, bound, started, .. } = self;
        let control = server.control();
        let ids = control.clone();
        let surroundings = Surroundings {
            listen_address: server.address().to_string(),
            mode: "regular",
            bundle: config.output.clone(),
            folder: std::env::current_dir().unwrap_or_default(),
            started,
            stats: stats.clone(),
            notices: Some(notices.clone()),
            new_flow_id: Box::new(move || ids.new_flow_id()),
        };
        let tools = FlowTools::new(store.clone(), Arc::new(control), options.clone(), surroundings);
        let tools: Arc<dyn Toolbox> = Arc::new(tools);
        let collector = store.start_collector(notices.clone());
        let collector = collector
            .map_err(|error| Error::new(format!("cannot start the store's thread: {error}")))?;
        let McpConfig { token, .. } = config.mcp.clone().unwrap_or_default();
        let mcp = bound.map(|bound| {
            let options = McpOptions { token, ..McpOptions::default() };
            McpServer::start(bound, tools.clone(), options)
        });
        Ok(Serving { store, collector, mcp: mcp.transpose()?, tools, stdio: None })
    }
}

/// Standard input, whose end is told.
struct Input {
    stdin: io::Stdin,
    _reading: Sender<()>,
}

impl Input {
    fn new() -> (Input, Receiver<()>) {
        let (reading, ended) = bounded(0);
        (Input { stdin: io::stdin(), _reading: reading }, ended)
    }
}

impl io::Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stdin.read(bytes)
    }
}

impl Serving {
    /// The lines of flows, for the terminal.
    pub(super) fn lines(&self, options: &Arc<SharedOptions>, wanted: Terminal) -> FlowLines {
        FlowLines::new(self.store.clone(), options.clone(), wanted)
    }

    /// Serves the tools on standard input and output too. The proxy is stopped at their end.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn serve_stdio(&mut self, stopper: Stopper, notices: &Notices) -> Result<()> {
        let tools = self.tools.clone();
        let notices = notices.clone();
        let (input, input_ended) = Input::new();
        let (serving, served) = bounded(0);
        let at_end = stopper.clone();
        self.stdio = Some(Stdio::start(move |stops| {
            let _serving: Sender<()> = serving;
            let serve = || stdio::serve(tools, input, &mut io::stdout(), stops);
            let result = notices.supervise("MCP on standard input", serve);
            at_end.stop(STOP_GRACE);
            result.unwrap_or_else(|| Err(defect()))
        })?);
        // Calls under way may still send requests; an output that nobody reads holds up nothing.
        let thread = thread::Builder::new().name("mcp-end".to_owned());
        let spawned = thread.spawn(move || {
            let _ = input_ended.recv();
            let ended = Instant::now();
            let _ = served.recv_timeout(STOP_GRACE);
            stopper.stop(STOP_GRACE.saturating_sub(ended.elapsed()));
        });
        spawned.map_err(|error| Error::new(format!("cannot start MCP: {error}")))?;
        Ok(())
    }

    /// The proxy is told to stop: no call begins any more on standard input.
    pub(super) fn at_stop(&self) {
        if let Some(stdio) = &self.stdio {
            stdio.tell();
        }
    }

    /// Ends what serves agents, when the proxy has ended.
    ///
    /// # Errors
    /// When it had failed before.
    pub(super) fn stop(self) -> Result<()> {
        let mut stopped = self.mcp.map_or(Ok(()), McpHandle::stop);
        if let Some(stdio) = self.stdio {
            stopped = stopped.and(stdio.stop());
        }
        // It ends when the loops have.
        let _ = self.collector.join();
        stopped
    }
}
