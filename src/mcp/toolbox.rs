//! What the protocol knows of tools: their descriptions, and how one is called.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use crate::notice::Notices;

/// A tool as `tools/list` shows it.
#[derive(Clone, Debug)]
pub struct ToolDescription {
    /// Its fixed name.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it does, when to use it, and one example; the first sentence stands alone.
    pub description: &'static str,
    /// JSON Schema of the arguments: an object with `additionalProperties: false`.
    pub input_schema: Value,
    /// It changes nothing.
    pub read_only: bool,
    /// What it changes is lost: flows, or a client's request.
    pub destructive: bool,
    /// It sends something to servers.
    pub open_world: bool,
}

/// A kind of resource, as `resources/templates/list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceTemplate {
    /// The URIs, as a template of RFC 6570.
    pub uri_template: &'static str,
    /// Its fixed name.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What such a resource holds.
    pub description: &'static str,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The JSON object that is the result, or tells what was wrong and what to do next.
    pub content: Map<String, Value>,
    /// Whether the call failed.
    pub is_error: bool,
    /// Resources that hold more, as URI and name.
    pub links: Vec<(String, String)>,
}

/// A resource's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Text, already masked.
    Text {
        /// The media type.
        media_type: String,
        /// The text.
        text: String,
    },
    /// Anything else.
    Binary {
        /// The media type.
        media_type: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// Tells a call that its caller has given it up. Long work looks at it now and then.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Gives the call up.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the call was given up.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a call tells of its progress: done, total if known, and words.
pub type Progress<'a> = &'a dyn Fn(f64, Option<f64>, &str);

/// What comes with a call.
pub struct Call<'a> {
    /// The arguments.
    pub arguments: &'a Map<String, Value>,
    /// Set when the caller gives it up.
    pub cancellation: &'a Cancellation,
    /// For telling of progress; throws away what nobody asked for.
    pub progress: Progress<'a>,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}

/// The tools that a server serves. Calls come from several threads at the same time and may take
/// their time, up to that of a replay.
pub trait Toolbox: Send + Sync {
    /// All tools, in the order in which they are listed.
    fn tools(&self) -> &[ToolDescription];

    /// The words for `instructions` of the server, below 2 KiB.
    fn instructions(&self) -> &str;

    /// The kinds of resources that [`Toolbox::read_resource`] reads.
    fn resource_templates(&self) -> &[ResourceTemplate] {
        &[]
    }

    /// Calls a tool; `None` when there is none of this name.
    fn call(&self, name: &str, call: &Call<'_>) -> Option<ToolResult>;

    /// Reads a resource by its URI.
    ///
    /// # Errors
    /// Why there is none: that it never was, or is there no more.
    fn read_resource(&self, uri: &str) -> Result<Resource, String>;

    /// Where faults in serving the tools are told, if anybody wants to know.
    fn notices(&self) -> Option<&Notices> {
        None
    }
}
