//! Tools that do what a test needs: answer, fail, take their time, answer with too much.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use flowtap::mcp::toolbox::{
    Call, Resource, ResourceTemplate, ToolDescription, ToolResult, Toolbox,
};
use serde_json::{Map, Value, json};

/// What a held call has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It has begun.
    Started,
    /// It was given up by its client.
    Cancelled,
    /// It was let go.
    Released,
}

/// The tools `echo`, `fail`, `hold`, `count`, `large` and `defect`.
pub(crate) struct Stub {
    tools: Vec<ToolDescription>,
    released: Mutex<bool>,
    changed: Condvar,
    held: Mutex<Sender<Held>>,
}

impl Stub {
    /// The tools, and what becomes of calls of `hold`.
    pub(crate) fn new() -> (Arc<Stub>, Receiver<Held>) {
        let (held, events) = channel();
        let stub = Stub {
            tools: tools(),
            released: Mutex::new(false),
            changed: Condvar::new(),
            held: Mutex::new(held),
        };
        (Arc::new(stub), events)
    }

    /// Lets all held calls go, and those that come.
    pub(crate) fn release(&self) {
        *self.released.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn hold(&self, call: &Call<'_>) -> ToolResult {
        self.tell(Held::Started);
        let mut released = self.released.lock().unwrap();
        while !*released && !call.cancellation.is_cancelled() {
            // Long work looks at its cancellation now and then.
            let wait = Duration::from_millis(5);
            released = self.changed.wait_timeout(released, wait).unwrap().0;
        }
        let outcome = if *released { Held::Released } else { Held::Cancelled };
        drop(released);
        self.tell(outcome);
        result(json!({ "held": true }))
    }

    fn is_over(&self, call: &Call<'_>) -> bool {
        call.cancellation.is_cancelled() || *self.released.lock().unwrap()
    }

    fn tell(&self, event: Held) {
        // A test that has ended wants to know nothing more.
        let _ = self.held.lock().unwrap().send(event);
    }
}

impl Toolbox for Stub {
    fn tools(&self) -> &[ToolDescription] {
        &self.tools
    }

    fn instructions(&self) -> &str {
        "Call echo to hear yourself."
    }

    fn resource_templates(&self) -> &[ResourceTemplate] {
        const TEMPLATES: [ResourceTemplate; 1] = [ResourceTemplate {
            uri_template: "flow://{id}/body",
            name: "body",
            title: "Body",
            description: "A flow's body.",
        }];
        &TEMPLATES
    }

    fn call(&self, name: &str, call: &Call<'_>) -> Option<ToolResult> {
        let number = |name: &str| call.arguments.get(name).and_then(Value::as_u64).unwrap_or(0);
        Some(match name {
            "echo" => result(json!({ "arguments": call.arguments })),
            "fail" => {
                let content = object(json!({ "error": "there is no flow 7; get_flows lists all" }));
                ToolResult { content, is_error: true, links: Vec::new() }
            }
            "hold" => self.hold(call),
            "count" => {
                let to = number("to");
                for step in 1..=to {
                    if step % 1_024 == 0 && self.is_over(call) {
                        break;
                    }
                    (call.progress)(step as f64, Some(to as f64), "counting");
                    // A step that is no progress.
                    (call.progress)(step as f64, Some(to as f64), "still counting");
                }
                result(json!({ "counted": to }))
            }
            "large" => result(json!({ "text": "x".repeat(number("bytes") as usize) })),
            "defect" => panic!("a tool with a defect"),
            _ => return None,
        })
    }

    fn read_resource(&self, uri: &str) -> Result<Resource, String> {
        match uri {
            "flow://1/body" => {
                Ok(Resource::Text { media_type: "text/plain".into(), text: "a body".into() })
            }
            "flow://2/body" => {
                let bytes = vec![0, 1, 2, 255];
                Ok(Resource::Binary { media_type: "application/octet-stream".into(), bytes })
            }
            _ => Err(format!("there is no flow of {uri}; get_flows lists all")),
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn result(content: Value) -> ToolResult {
    let links = vec![("flow://1/body".to_owned(), "body".to_owned())];
    ToolResult { content: object(content), is_error: false, links }
}

fn tools() -> Vec<ToolDescription> {
    let tool = |name, title, description, properties: Value| ToolDescription {
        name,
        title,
        description,
        input_schema: json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        }),
        read_only: name != "hold",
        destructive: false,
        open_world: false,
    };
    let count = |name: &str| json!({ name: { "type": "integer", "description": "How many." } });
    let text = json!({ "text": { "type": "string", "description": "What to say." } });
    vec![
        tool("echo", "Echo", "Gives its arguments back.", text),
        tool("fail", "Fail", "Fails and says why.", json!({})),
        tool("hold", "Hold", "Waits until it is let go.", json!({})),
        tool("count", "Count", "Counts and tells of it.", count("to")),
        tool("large", "Large", "Gives a text of a size.", count("bytes")),
        tool("defect", "Defect", "Has a defect.", json!({})),
    ]
}
