//! The tools that look at flows.

use serde_json::Value;

use super::{boolean, choice, filter, flow_id, flow_id_of, flow_ids, integer, looks, object, text};
use crate::limits::BODY_WINDOW_MOST_BYTES;
use crate::mcp::toolbox::ToolDescription;

pub(super) fn tools() -> Vec<ToolDescription> {
    vec![
        overview(),
        flows(),
        search(),
        by_id(),
        half(
            "get_flow_request",
            "Request of a flow",
            "Shows a flow's request: method, URL, headers, body. Use it rather than \
             get_flow_by_id when the response does not matter. Example: {\"flow_id\": \"12\"}.",
        ),
        half(
            "get_flow_response",
            "Response of a flow",
            "Shows a flow's response: status, headers, body. Use it rather than get_flow_by_id \
             when the request does not matter, and to read on in a long body. Example: \
             {\"flow_id\": \"12\", \"body_offset\": 10240}.",
        ),
        compare(),
        messages(),
        events(),
        looks(
            "get_flow_count",
            "Number of flows",
            "Counts the flows that are kept. For what they are use get_overview. Example: {}.",
            object([], &[]),
        ),
        export(),
        ToolDescription {
            read_only: false,
            destructive: true,
            ..looks(
                "clear_flows",
                "Forget all flows",
                "Forgets all flows that are kept here; those that are held stay. The capture file \
                 keeps what it has. Use it before an experiment, to see only what follows. \
                 Example: {}.",
                object([], &[]),
            )
        },
    ]
}

fn overview() -> ToolDescription {
    looks(
        "get_overview",
        "Overview of the traffic",
        "Sums the traffic up in one small reply. Hosts, endpoints with path templates such as \
         /users/{id}, counts, statuses, where authentication sits, errors, and the slowest calls. \
         Use it first, rather than paging through get_flows. Example: {\"filter\": \"~d \
         api.example.com\"}.",
        object(
            [
                ("filter", filter()),
                ("limit", integer(1, Some(500), "Endpoints that are listed. Default 40.")),
            ],
            &[],
        ),
    )
}

fn flows() -> ToolDescription {
    looks(
        "get_flows",
        "List flows",
        "Lists flows, the newest first. Use search_flows to find a text inside of flows, and \
         get_overview to see what there is. Example: {\"filter\": \"~d example.com & ~m POST\", \
         \"format\": \"table\"}.",
        object(
            [
                ("offset", integer(0, None, "Matching flows to skip. Default 0.")),
                ("limit", integer(1, Some(500), "Flows to list. Default 100.")),
                ("method", text("Only this method, in any case, such as \"POST\".")),
                ("url_pattern", pattern("Only URLs that match this regular expression")),
                ("status_code", integer(100, Some(999), "Only responses with this status.")),
                ("filter", filter()),
                ("format", format()),
            ],
            &[],
        ),
    )
}

fn search() -> ToolDescription {
    looks(
        "search_flows",
        "Search flows",
        "Finds flows in which a pattern occurs, with the lines that match. By default it looks at \
         URL, method, status and headers; in: \"body\" or \"all\" looks at bodies and messages as \
         well. Use get_flows to list by method, status or filter. Example: {\"pattern\": \
         \"order-4711\", \"in\": \"all\"}.",
        object(
            [
                ("pattern", pattern("Regular expression to look for")),
                ("in", choice(&["head", "body", "all"], "Where to look. Default \"head\".")),
                ("limit", integer(1, Some(500), "Flows to list, the newest first. Default 50.")),
                ("offset", integer(0, None, "Matching flows to skip. Default 0.")),
                ("filter", filter()),
                (
                    "context",
                    integer(0, Some(1_000), "Characters shown around a match. Default 40."),
                ),
            ],
            &["pattern"],
        ),
    )
}

fn by_id() -> ToolDescription {
    looks(
        "get_flow_by_id",
        "One flow in full",
        "Shows one flow: request, response, times and error. Use get_flow_request or \
         get_flow_response when one half is enough. Example: {\"flow_id\": \"12\", \
         \"body_limit\": 2000}.",
        object(
            [
                ("flow_id", flow_id()),
                ("body_offset", body_offset()),
                ("body_limit", body_limit()),
                ("full_heads", full_heads()),
            ],
            &["flow_id"],
        ),
    )
}

fn half(name: &'static str, title: &'static str, description: &'static str) -> ToolDescription {
    looks(
        name,
        title,
        description,
        object(
            [
                ("flow_id", flow_id()),
                ("body_offset", body_offset()),
                ("body_limit", body_limit()),
                ("full_heads", full_heads()),
            ],
            &["flow_id"],
        ),
    )
}

fn compare() -> ToolDescription {
    looks(
        "compare_flows",
        "Compare two flows",
        "Tells what differs between two flows. It compares request line, headers, status and \
         bodies, JSON by its structure and other text by lines. Use it rather than reading both \
         flows. Example: {\"flow_id\": \"12\", \"other_flow_id\": \"15\"}.",
        object(
            [
                ("flow_id", flow_id_of("The first flow's id, such as \"12\".")),
                ("other_flow_id", flow_id_of("The second flow's id, such as \"15\".")),
                ("limit", integer(1, Some(500), "Differences shown of each body. Default 30.")),
            ],
            &["flow_id", "other_flow_id"],
        ),
    )
}

fn messages() -> ToolDescription {
    looks(
        "get_websocket_messages",
        "WebSocket messages",
        "Shows the messages of a WebSocket flow in the order in which they came. Use \
         get_flow_by_id for its handshake. Example: {\"flow_id\": \"12\", \"pattern\": \
         \"error\"}.",
        object(
            [
                ("flow_id", flow_id()),
                (
                    "offset",
                    integer(
                        0,
                        None,
                        "Matching messages to skip; those kept no more count as skipped. Default \
                         0.",
                    ),
                ),
                ("limit", integer(1, Some(1_000), "Messages to show. Default 50.")),
                ("pattern", pattern("Only messages whose text matches this regular expression")),
                ("from", choice(&["client", "server"], "Only messages from this end.")),
                ("message_limit", message_limit()),
            ],
            &["flow_id"],
        ),
    )
}

fn events() -> ToolDescription {
    looks(
        "get_event_stream",
        "Events of an event stream",
        "Shows the events of a text/event-stream response, also while it goes on. Use \
         get_flow_response to read the stream as it came. Example: {\"flow_id\": \"12\", \
         \"offset\": 50}.",
        object(
            [
                ("flow_id", flow_id()),
                ("offset", integer(0, None, "Matching events to skip. Default 0.")),
                ("limit", integer(1, Some(1_000), "Events to show. Default 50.")),
                (
                    "pattern",
                    pattern("Only events whose name or data match this regular expression"),
                ),
                ("message_limit", message_limit()),
            ],
            &["flow_id"],
        ),
    )
}

fn export() -> ToolDescription {
    ToolDescription {
        // With `path` it writes a file.
        read_only: false,
        ..looks(
            "export_flows",
            "Export as HAR",
            "Gives flows as HAR 1.2, or writes them to a file with path. Use path for more than a \
             few flows: a HAR is large, and the reply is then a short summary. Example: \
             {\"filter\": \"~d example.com\", \"path\": \"example.har\"}.",
            object(
                [
                    (
                        "flow_ids",
                        flow_ids("The ids of the flows, such as [\"12\", \"13\"]. Left out: all."),
                    ),
                    ("filter", filter()),
                    (
                        "path",
                        text(
                            "File to write, below the folder in which flowtap runs, such as \
                             \"api.har\". Left out: the HAR is the reply.",
                        ),
                    ),
                    ("overwrite", boolean("Whether path may replace a file. Default false.")),
                    (
                        "max_chars",
                        integer(
                            1_000,
                            Some(crate::limits::REPLY_MOST_CHARS),
                            "Characters of a HAR in the reply; what does not fit is left out and \
                             named. Default 40000.",
                        ),
                    ),
                ],
                &[],
            ),
        )
    }
}

fn pattern(what: &str) -> Value {
    text(&format!("{what}; case does not matter. Example: \"users/[0-9]+\"."))
}

fn format() -> Value {
    choice(
        &["objects", "table"],
        "\"objects\" (default) or \"table\": one line of text for each flow, at half the cost.",
    )
}

fn body_offset() -> Value {
    integer(0, None, "Where in the decoded body to begin, in bytes. Default 0.")
}

fn body_limit() -> Value {
    integer(
        0,
        Some(BODY_WINDOW_MOST_BYTES),
        "Bytes of each body to show; 0 for none. Default 10240 of text, 4096 of binary.",
    )
}

fn full_heads() -> Value {
    boolean("Whether long URLs and header values are shown in full. Default false.")
}

fn message_limit() -> Value {
    integer(0, Some(BODY_WINDOW_MOST_BYTES), "Characters shown of each. Default 500.")
}
