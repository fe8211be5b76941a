//! The tools: what agents can ask about flows, and do to traffic.
//!
//! Every text that was captured is masked before it stands in a reply, as a whole and before it
//! is cut. Replies are small by default and name the call that shows the rest.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::flow::control::FlowControl;
use crate::flow::record::FlowId;
use crate::flow::stored::StoredFlow;
use crate::limits::REPLAY_TIMEOUT;
use crate::mcp::store::{Lookup, Store};
use crate::mcp::toolbox::{Call, Resource, ResourceTemplate, ToolDescription, ToolResult, Toolbox};
use crate::mcp::tools::arguments::Arguments;
use crate::mcp::tools::reply::{Failure, Outcome, id_text};
use crate::notice::Notices;
use crate::options::{Options, SharedOptions};
use crate::stats::Stats;

mod arguments;
mod body;
mod compare;
mod describe;
mod detail;
mod edit;
mod encode;
mod events;
mod export;
mod intercept;
mod json_places;
mod list;
mod messages;
mod options;
mod overview;
mod own_fields;
mod replay;
mod reply;
mod resources;
mod search;
mod select;
mod shown;
mod unmask;
mod withhold;

/// The table of tools in docs/agents.md: what each does, in the sentence that stands alone.
pub fn readme_table() -> String {
    let mut table = String::from("| tool | does |\n|---|---|\n");
    for tool in describe::tools() {
        let first = tool.description.split(". ").next().unwrap_or_default();
        let first = first.trim_end_matches('.');
        table.push_str(&format!("| `{}` | {first} |\n", tool.name));
    }
    table
}

/// What tools tell of the program that they are part of.
pub struct Surroundings {
    /// Where the proxy listens.
    pub listen_address: String,
    /// How clients reach it: `regular`.
    pub mode: &'static str,
    /// The bundle that is written.
    pub bundle: Option<PathBuf>,
    /// The folder below which files are written.
    pub folder: PathBuf,
    /// When the program started.
    pub started: Instant,
    /// The counters.
    pub stats: Arc<Stats>,
    /// Where faults are told; `None` tells nobody.
    pub notices: Option<Notices>,
    /// Gives an id that no other flow has.
    pub new_flow_id: Box<dyn Fn() -> FlowId + Send + Sync>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("listen_address", &self.listen_address)
            .field("bundle", &self.bundle)
            .finish_non_exhaustive()
    }
}

/// All tools, over a store of flows.
pub struct FlowTools {
    store: Arc<Store>,
    control: Arc<dyn FlowControl>,
    options: Arc<SharedOptions>,
    surroundings: Surroundings,
    replay_timeout: Duration,
    tools: Vec<ToolDescription>,
}

impl fmt::Debug for FlowTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowTools").field("store", &self.store).finish_non_exhaustive()
    }
}

impl FlowTools {
    /// Tools that read this store, ask `control` to change and send, and obey and set `options`.
    pub fn new(
        store: Arc<Store>,
        control: Arc<dyn FlowControl>,
        options: Arc<SharedOptions>,
        surroundings: Surroundings,
    ) -> Self {
        FlowTools {
            store,
            control,
            options,
            surroundings,
            replay_timeout: REPLAY_TIMEOUT,
            tools: describe::tools(),
        }
    }

    /// The same tools with another limit on the wait for what was sent.
    pub fn with_replay_timeout(self, replay_timeout: Duration) -> Self {
        FlowTools { replay_timeout, ..self }
    }

    fn store(&self) -> &Store {
        &self.store
    }

    /// A flow that must be there.
    fn flow(&self, id: FlowId) -> Result<Arc<StoredFlow>, Failure> {
        let list = || serde_json::json!({ "tool": "get_flows", "format": "table" });
        let range = || match self.store.ids() {
            Some((first, last)) => format!("kept are {} to {}", first.0, last.0),
            None => "none are kept".to_owned(),
        };
        match self.store.flow(id) {
            Lookup::Found(flow) => Ok(flow),
            Lookup::Gone => Err(Failure::new(format!(
                "flow {} is no longer kept: it was evicted to make room for newer ones, or \
                 cleared; {}",
                id.0,
                range()
            ))
            .then(list())),
            Lookup::Never => {
                Err(Failure::new(format!("there never was a flow {}; {}", id_text(id), range()))
                    .then(list()))
            }
        }
    }
}

impl Toolbox for FlowTools {
    fn tools(&self) -> &[ToolDescription] {
        &self.tools
    }

    fn instructions(&self) -> &str {
        describe::INSTRUCTIONS
    }

    fn resource_templates(&self) -> &[ResourceTemplate] {
        resources::TEMPLATES
    }

    fn call(&self, name: &str, call: &Call<'_>) -> Option<ToolResult> {
        let tool = self.tools.iter().find(|tool| tool.name == name)?;
        let arguments = Arguments::check(name, &tool.input_schema, call.arguments);
        let options = self.options.current();
        let outcome = arguments.and_then(|arguments| {
            let options = options.clone();
            Work { tools: self, tool: tool.name, arguments, options, call }.run()
        });
        Some(reply::result(outcome, |words| shown::words(&options.redactor, words)))
    }

    fn read_resource(&self, uri: &str) -> Result<Resource, String> {
        resources::read(self, uri)
    }

    fn notices(&self) -> Option<&Notices> {
        self.surroundings.notices.as_ref()
    }
}

/// One call under way.
struct Work<'a> {
    tools: &'a FlowTools,
    tool: &'static str,
    arguments: Arguments<'a>,
    /// The options that were in force when it began.
    options: Arc<Options>,
    call: &'a Call<'a>,
}

impl Work<'_> {
    fn run(&self) -> Outcome {
        match self.tool {
            "get_flows" => list::get_flows(self),
            "get_flow_count" => list::get_flow_count(self),
            "clear_flows" => list::clear_flows(self),
            "get_flow_by_id" => detail::get_flow_by_id(self),
            "get_flow_request" => detail::get_flow_request(self),
            "get_flow_response" => detail::get_flow_response(self),
            "search_flows" => search::search_flows(self),
            "compare_flows" => compare::compare_flows(self),
            "get_overview" => overview::get_overview(self),
            "get_websocket_messages" => messages::get_websocket_messages(self),
            "get_event_stream" => events::get_event_stream(self),
            "export_flows" => export::export_flows(self),
            "replay_request" => replay::replay_request(self),
            "send_request" => replay::send_request(self),
            "modify_and_send" => replay::modify_and_send(self),
            "duplicate_flow" => replay::duplicate_flow(self),
            "set_intercept_filter" => intercept::set_intercept_filter(self),
            "get_intercepted_flows" => intercept::get_intercepted_flows(self),
            "resume_flow" => intercept::resume_flow(self),
            "resume_all" => intercept::resume_all(self),
            "drop_flow" => intercept::drop_flow(self),
            "get_options" => options::get_options(self),
            "set_option" => options::set_option(self),
            "get_status" => options::get_status(self),
            other => Err(Failure::new(format!("{other} is described and not there"))),
        }
    }

    /// The flow that an argument names.
    fn flow(&self, argument: &str) -> Result<Arc<StoredFlow>, Failure> {
        self.tools.flow(self.arguments.flow_id(argument)?)
    }
}
