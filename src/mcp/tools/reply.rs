//! What calls come to: replies that say what they left out, and failures that say what to do.

use std::fmt::{self, Display};

use serde_json::{Map, Value, json};

use crate::flow::record::FlowId;
use crate::mcp::toolbox::ToolResult;

/// What a call came to.
pub(super) type Outcome = Result<Reply, Failure>;

/// A JSON object under way.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) content: Map<String, Value>,
    pub(super) links: Vec<(String, String)>,
    /// What was to be done has failed, and the content tells how.
    pub(super) has_failed: bool,
}

impl Reply {
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.content.insert(name.to_owned(), value.into());
    }

    /// Names the fields that hold captured text, which is not to be trusted.
    pub(super) fn untrusted(&mut self, fields: &str) {
        self.put("untrusted", fields);
    }
}

/// Why a call has failed.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    next: Option<Value>,
}

impl Failure {
    pub(super) fn new(message: impl Display) -> Self {
        Failure { message: message.to_string(), next: None }
    }

    /// The call that helps.
    pub(super) fn then(mut self, next: Value) -> Self {
        self.next = Some(next);
        self
    }

    pub(super) fn cancelled() -> Self {
        Failure::new("the call was given up before it was done")
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The result of a call. `mask` is given the words of a failure, which may quote what was captured.
pub(super) fn result(outcome: Outcome, mask: impl Fn(&str) -> String) -> ToolResult {
    match outcome {
        Ok(Reply { content, links, has_failed }) => {
            ToolResult { content, is_error: has_failed, links }
        }
        Err(Failure { message, next }) => {
            let mut content = Map::new();
            content.insert("error".to_owned(), mask(&message).into());
            if let Some(next) = next {
                content.insert("next".to_owned(), next);
            }
            ToolResult { content, is_error: true, links: Vec::new() }
        }
    }
}

/// A flow's id as replies show it.
pub(super) fn id_text(id: FlowId) -> String {
    id.0.to_string()
}

/// A call about a flow.
pub(super) fn next_call(tool: &str, flow: FlowId) -> Value {
    json!({ "tool": tool, "flow_id": id_text(flow) })
}

/// Cuts a text to so many characters; the mark tells how many are left out.
pub(super) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => {
            let (head, rest) = text.split_at_checked(end).unwrap_or((text, ""));
            format!("{head}…[+{}]", rest.chars().count())
        }
    }
}

/// The length of a value as JSON text.
pub(super) fn json_chars(value: &Value) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_tells_how_much_is_left_out() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("ééééé", 2), "éé…[+3]");
    }

    #[test]
    fn a_failure_is_masked_and_says_what_to_do() {
        let failure = Failure::new("bad secret").then(next_call("get_flows", FlowId(3)));
        let result = result(Err(failure), |words| words.replace("secret", "***"));
        assert!(result.is_error);
        let expected = json!({"error": "bad ***", "next": {"tool": "get_flows", "flow_id": "3"}});
        assert_eq!(Value::from(result.content), expected);
    }
}
