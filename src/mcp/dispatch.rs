//! The methods: what is answered at once, and what is work for a thread.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::limits::MCP_ID_BYTES;
use crate::mcp::present::{self, Caching, finish, meta, object};
use crate::mcp::rpc::{
    INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, RESOURCE_NOT_FOUND, Request, RpcError,
    UNSUPPORTED_VERSION,
};
use crate::mcp::toolbox::{Call, Cancellation, Progress, ToolResult, Toolbox};
use crate::mcp::version::Version;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// This is its result, as JSON.
    Result(String),
    /// It may take its time.
    Work(Job),
    /// Its client wants to hear of these changes, of those it asked for.
    Listen(Value),
}

/// Work for a thread.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Job {
    /// A tool's call.
    Tool {
        /// A tool that there is.
        name: String,
        /// Its arguments; `None` if they are no object.
        arguments: Option<Map<String, Value>>,
    },
    /// Reading a resource.
    Resource {
        /// Its URI.
        uri: String,
    },
}

/// Answers requests with the help of a toolbox.
#[derive(Clone)]
pub(super) struct Dispatcher {
    toolbox: Arc<dyn Toolbox>,
}

impl Dispatcher {
    /// A dispatcher for these tools.
    pub(super) fn new(toolbox: Arc<dyn Toolbox>) -> Self {
        Dispatcher { toolbox }
    }

    /// Tells the user of a fault in serving a client.
    pub(super) fn tell_fault(&self, what: &str, fault: Fault) {
        if let Some(notices) = self.toolbox.notices() {
            notices.fault(what, fault);
        }
    }

    /// Agrees on a version: the client's if it is served, else ours. Never an error, since clients
    /// give up at one.
    pub(super) fn initialize(&self, params: &Map<String, Value>) -> (Version, String) {
        let wanted = params.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        let version = Version::with_sessions(wanted).unwrap_or(Version::NEWEST_WITH_SESSIONS);
        let mut result = object("protocolVersion", version.name().into());
        result.insert("capabilities".to_owned(), present::capabilities());
        result.insert("serverInfo".to_owned(), present::server_info());
        result.insert("instructions".to_owned(), self.toolbox.instructions().into());
        (version, finish(result, version, Caching::Silent))
    }

    /// Answers a request of a version with sessions, other than `initialize`.
    pub(super) fn with_session(
        &self,
        version: Version,
        request: &Request,
    ) -> Result<Outcome, RpcError> {
        match request.method.as_str() {
            "ping" => Ok(Outcome::Result("{}".to_owned())),
            method => self.common(version, method, &request.params),
        }
    }

    /// Answers a request that stands alone, once its `_meta` was found right.
    pub(super) fn stateless(&self, request: &Request) -> Result<Outcome, RpcError> {
        match request.method.as_str() {
            "server/discover" => Ok(Outcome::Result(self.discover())),
            "subscriptions/listen" => listen(&request.params),
            method => self.common(Version::V2026_07_28, method, &request.params),
        }
    }

    fn discover(&self) -> String {
        let versions = Version::ALL.map(Version::name);
        let mut result = object("supportedVersions", json!(versions));
        result.insert("capabilities".to_owned(), present::capabilities());
        result.insert("instructions".to_owned(), self.toolbox.instructions().into());
        finish(result, Version::V2026_07_28, Caching::Listed)
    }

    fn common(
        &self,
        version: Version,
        method: &str,
        params: &Map<String, Value>,
    ) -> Result<Outcome, RpcError> {
        let list = |name: &str, items: Vec<Value>| {
            if params.get("cursor").is_some_and(|cursor| !cursor.is_null()) {
                let reason = "there is no such cursor: all is on the first page";
                return Err(RpcError::new(INVALID_PARAMS, reason));
            }
            let result = object(name, items.into());
            Ok(Outcome::Result(finish(result, version, Caching::Listed)))
        };
        match method {
            "tools/list" => {
                let tools = self.toolbox.tools();
                list("tools", tools.iter().map(|tool| present::tool(tool, version)).collect())
            }
            "tools/call" => self.call(params),
            "resources/list" => list("resources", Vec::new()),
            "resources/templates/list" => {
                let templates = self.toolbox.resource_templates().iter();
                let templates = templates.map(|template| present::template(template, version));
                list("resourceTemplates", templates.collect())
            }
            "resources/read" => match params.get("uri").and_then(Value::as_str) {
                Some(uri) => Ok(Outcome::Work(Job::Resource { uri: uri.to_owned() })),
                None => Err(RpcError::new(INVALID_PARAMS, "uri is missing or no string")),
            },
            _ => Err(RpcError::new(METHOD_NOT_FOUND, format!("there is no method {method:?}"))),
        }
    }

    fn call(&self, params: &Map<String, Value>) -> Result<Outcome, RpcError> {
        let Some(name) = params.get("name").and_then(Value::as_str) else {
            return Err(RpcError::new(INVALID_PARAMS, "name is missing or no string"));
        };
        if !self.toolbox.tools().iter().any(|tool| tool.name == name) {
            return Err(no_tool(name));
        }
        let arguments = match params.get("arguments") {
            None | Some(Value::Null) => Some(Map::new()),
            Some(Value::Object(arguments)) => Some(arguments.clone()),
            Some(_) => None,
        };
        Ok(Outcome::Work(Job::Tool { name: name.to_owned(), arguments }))
    }

    /// Does the work: gives its result as JSON of about `limit` bytes at most.
    pub(super) fn work(
        &self,
        job: &Job,
        version: Version,
        limit: usize,
        cancellation: &Cancellation,
        progress: Progress<'_>,
    ) -> Result<String, RpcError> {
        match job {
            Job::Tool { name, arguments: Some(arguments) } => {
                let call = Call { arguments, cancellation, progress };
                let result = self.toolbox.call(name, &call).ok_or_else(|| no_tool(name))?;
                Ok(present::call_result(&result, version, limit))
            }
            Job::Tool { arguments: None, .. } => {
                let content = object("error", "arguments must be an object".into());
                let result = ToolResult { content, is_error: true, links: Vec::new() };
                Ok(present::call_result(&result, version, limit))
            }
            Job::Resource { uri } => self.read_resource(uri, version, limit),
        }
    }

    fn read_resource(&self, uri: &str, version: Version, limit: usize) -> Result<String, RpcError> {
        let code = if version.is_stateless() { INVALID_PARAMS } else { RESOURCE_NOT_FOUND };
        let resource = self.toolbox.read_resource(uri);
        let resource =
            resource.map_err(|reason| RpcError::new(code, reason).with(json!({ "uri": uri })))?;
        let result = present::resource(uri, resource, version);
        if result.len() > limit {
            let reason = format!(
                "the resource takes {} bytes, and at most {limit} can be sent; read it in parts",
                result.len()
            );
            return Err(RpcError::new(INTERNAL_ERROR, reason).with(json!({ "uri": uri })));
        }
        Ok(result)
    }
}

fn no_tool(name: &str) -> RpcError {
    RpcError::new(INVALID_PARAMS, format!("unknown tool {name:?}; tools/list names all"))
}

/// Whether a request belongs to the stateless era by what it says itself.
pub(super) fn is_stateless(params: &Map<String, Value>) -> bool {
    let fields = params.get("_meta").and_then(Value::as_object);
    fields.is_some_and(|fields| fields.contains_key(&meta("protocolVersion")))
}

/// The version in a stateless request's `_meta`, which must be whole.
pub(super) fn declared_version(params: &Map<String, Value>) -> Result<&Value, RpcError> {
    let (version, capabilities) = (meta("protocolVersion"), meta("clientCapabilities"));
    let refuse = |reason: String| Err(RpcError::new(INVALID_PARAMS, reason));
    let Some(fields) = params.get("_meta").and_then(Value::as_object) else {
        return refuse(format!("params._meta must be an object with {version} and {capabilities}"));
    };
    if !fields.get(&capabilities).is_some_and(Value::is_object) {
        return refuse(format!("params._meta must have {capabilities}, an object"));
    }
    match fields.get(&version) {
        Some(declared) => Ok(declared),
        None => refuse(format!("params._meta must have {version}")),
    }
}

/// Refuses what is not the stateless version.
pub(super) fn check_version(declared: &Value) -> Result<(), RpcError> {
    let Some(name) = declared.as_str() else {
        let reason = format!("{} must be a string", meta("protocolVersion"));
        return Err(RpcError::new(INVALID_PARAMS, reason));
    };
    if Version::named(name).is_some_and(Version::is_stateless) {
        return Ok(());
    }
    let supported = Version::ALL.map(Version::name);
    let data = json!({ "supported": supported, "requested": name });
    Err(RpcError::new(UNSUPPORTED_VERSION, "unsupported protocol version").with(data))
}

/// Nothing that can be listened for ever changes here, and a filter that asks for what is not
/// served is answered without it.
fn listen(params: &Map<String, Value>) -> Result<Outcome, RpcError> {
    if !params.get("notifications").is_some_and(Value::is_object) {
        return Err(RpcError::new(INVALID_PARAMS, "notifications is missing or no object"));
    }
    Ok(Outcome::Listen(json!({})))
}

/// The token of a request that wants to hear of its progress; one that is too large to be
/// repeated in each notification counts for none.
pub(super) fn progress_token(params: &Map<String, Value>) -> Option<Value> {
    let token = params.get("_meta")?.get("progressToken")?;
    let is_token = match token {
        Value::String(text) => text.len() <= MCP_ID_BYTES,
        other => other.is_number(),
    };
    is_token.then(|| token.clone())
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}
