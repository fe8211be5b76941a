//! The tools that send, hold and set.

use serde_json::{Value, json};

use super::{boolean, flow_id, headers, integer, looks, object, text, texts};
use crate::mcp::toolbox::ToolDescription;

pub(super) fn tools() -> Vec<ToolDescription> {
    replay().into_iter().chain(intercept()).chain(options()).collect()
}

fn replay() -> Vec<ToolDescription> {
    vec![
        sends(
            "replay_request",
            "Send a request again",
            "Sends a flow's request again as it was, and waits up to 30 s for the answer, which \
             is a flow of its own. Redirects are not followed. To change something first use \
             modify_and_send. Example: {\"flow_id\": \"12\"}.",
            object([("flow_id", flow_id())], &["flow_id"]),
        ),
        sends(
            "send_request",
            "Send a request",
            "Sends a request of your own and waits up to 30 s for the answer, which is a flow of \
             its own. To start from a captured request use modify_and_send, which keeps its \
             headers. Example: {\"url\": \"https://api.example.com/users\", \"method\": \"POST\", \
             \"headers\": {\"Content-Type\": \"application/json\"}, \"body\": \"{}\"}.",
            object(
                [
                    ("url", text("Absolute URL, http or https.")),
                    ("method", text("The method. Default \"GET\".")),
                    (
                        "headers",
                        headers(
                            "Headers, as names and values. Host and the body's length are \
                             added.",
                        ),
                    ),
                    ("body", text("The body as text. Default: none.")),
                    ("body_base64", body_base64()),
                ],
                &["url"],
            ),
        ),
        sends(
            "modify_and_send",
            "Change a request and send it",
            "Sends a flow's request again with changes, and waits up to 30 s for the answer, \
             which is a flow of its own. What is not named stays, secrets too. Example: \
             {\"flow_id\": \"12\", \"method\": \"PUT\", \"headers\": {\"X-Debug\": \"1\"}, \
             \"remove_headers\": [\"Cookie\"]}.",
            object(
                [
                    ("flow_id", flow_id()),
                    ("method", text("Another method.")),
                    ("url", text("Another absolute URL; Host follows it.")),
                    ("headers", headers("Headers that are added, or replaced where they exist.")),
                    ("remove_headers", texts("Names of headers that are removed.")),
                    ("body", text("Another body, as text, without content coding.")),
                    ("body_base64", body_base64()),
                ],
                &["flow_id"],
            ),
        ),
        ToolDescription {
            read_only: false,
            ..looks(
                "duplicate_flow",
                "Copy a flow",
                "Copies a flow under an id of its own and sends nothing. To send it again use \
                 replay_request. Example: {\"flow_id\": \"12\"}.",
                object([("flow_id", flow_id())], &["flow_id"]),
            )
        },
    ]
}

fn intercept() -> Vec<ToolDescription> {
    vec![
        ToolDescription {
            read_only: false,
            ..looks(
                "set_intercept_filter",
                "Hold matching traffic",
                "Holds live requests and responses that match a filter, until they are resumed or \
                 dropped. ~q holds requests alone, ~s responses; everything else flows on. Empty \
                 switches it off. Held flows go on by themselves after intercept_timeout. \
                 Example: {\"filter\": \"~d example.com & ~u /login & ~q\"}.",
                object(
                    [(
                        "filter",
                        text("A mitmproxy filter expression; empty or left out: nothing is held."),
                    )],
                    &[],
                ),
            )
        },
        looks(
            "get_intercepted_flows",
            "Held flows",
            "Lists the flows that are held now, and the filter in force. See one in full with \
             get_flow_by_id before deciding with resume_flow or drop_flow. Example: {}.",
            object([], &[]),
        ),
        ToolDescription {
            read_only: false,
            open_world: true,
            ..looks(
                "resume_flow",
                "Let a held flow go on",
                "Lets a held flow go on, as it is or with edits. While its request is held: \
                 method, url, headers, remove_headers, body. While its response is held: status, \
                 headers, remove_headers, body. With answer: true the client gets the status, \
                 headers and body given here, and a held request is not sent. Example: \
                 {\"flow_id\": \"12\", \"status\": 503, \"body\": \"down\"}.",
                resume_schema(),
            )
        },
        ToolDescription {
            read_only: false,
            open_world: true,
            ..looks(
                "resume_all",
                "Let all held flows go on",
                "Lets all held flows go on as they are. The filter stays in force; switch it off \
                 first with set_intercept_filter. Example: {}.",
                object([], &[]),
            )
        },
        ToolDescription {
            read_only: false,
            destructive: true,
            ..looks(
                "drop_flow",
                "End a held flow",
                "Ends a held flow: nothing is forwarded and the client's connection is closed. To \
                 give the client an answer instead use resume_flow with answer: true. Example: \
                 {\"flow_id\": \"12\"}.",
                object([("flow_id", flow_id())], &["flow_id"]),
            )
        },
    ]
}

fn resume_schema() -> Value {
    object(
        [
            ("flow_id", flow_id()),
            ("method", text("Another method, while the request is held.")),
            ("url", text("Another absolute URL, while the request is held; Host follows it.")),
            (
                "status",
                integer(
                    200,
                    Some(599),
                    "Another status, while the response is held; with answer the status, default \
                     200.",
                ),
            ),
            (
                "headers",
                headers(
                    "Headers that are added, or replaced where they exist; with answer all there \
                     are.",
                ),
            ),
            ("remove_headers", texts("Names of headers that are removed.")),
            ("body", text("Another body, as text, without content coding.")),
            ("body_base64", body_base64()),
            (
                "answer",
                boolean(
                    "Whether status, headers and body are a whole answer to give instead. Default \
                     false.",
                ),
            ),
        ],
        &["flow_id"],
    )
}

fn options() -> Vec<ToolDescription> {
    vec![
        looks(
            "get_options",
            "Options",
            "Shows options of the running proxy and their values. Example: {\"keys\": \
             [\"intercept\", \"anticache\"]}.",
            object([("keys", texts("Names of options. Left out: those that matter most."))], &[]),
        ),
        ToolDescription {
            read_only: false,
            ..looks(
                "set_option",
                "Set an option",
                "Sets an option of the running proxy; it holds for what begins from now on. See \
                 get_options for names and values. Example: {\"key\": \"anticache\", \"value\": \
                 true}.",
                object(
                    [
                        ("key", text("The option's name, such as \"anticache\".")),
                        (
                            "value",
                            json!({
                                "description": "The value, in the option's type; null for none.",
                            }),
                        ),
                    ],
                    &["key"],
                ),
            )
        },
        looks(
            "get_status",
            "Status of the proxy",
            "Tells where the proxy listens, what it captures to, for how long it runs, and what \
             it lost. For the traffic itself use get_overview. Example: {}.",
            object([], &[]),
        ),
    ]
}

fn sends(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    input_schema: Value,
) -> ToolDescription {
    let description = looks(name, title, description, input_schema);
    ToolDescription { read_only: false, open_world: true, ..description }
}

fn body_base64() -> Value {
    text("The body as base64, in place of body, for bytes that are no text.")
}
