//! Whole bodies as resources: `flow://ID/request/body` and `flow://ID/response/body`.

use crate::flow::head::HeadText;
use crate::flow::record::{FlowId, Side};
use crate::limits::RESOURCE_BYTES;
use crate::mcp::toolbox::{Resource, ResourceTemplate};
use crate::mcp::tools::FlowTools;
use crate::mcp::tools::body::{Content, ShownBody, text_window};
use crate::mcp::tools::reply::shorten;
use crate::mcp::tools::shown::message;

/// The resources that [`read`] reads.
pub(super) const TEMPLATES: &[ResourceTemplate] = &[
    ResourceTemplate {
        uri_template: "flow://{flow_id}/request/body",
        name: "request_body",
        title: "Request body",
        description: "The body of a flow's request, decoded, with its secrets masked.",
    },
    ResourceTemplate {
        uri_template: "flow://{flow_id}/response/body",
        name: "response_body",
        title: "Response body",
        description: "The body of a flow's response, decoded, with its secrets masked.",
    },
];

pub(super) fn read(tools: &FlowTools, uri: &str) -> Result<Resource, String> {
    let Some((id, side)) = parse(uri) else {
        return Err(format!(
            "there is no resource {:?}; there are flow://ID/request/body and \
             flow://ID/response/body",
            shorten(uri, 200)
        ));
    };
    let flow = tools.flow(id).map_err(|failure| failure.to_string())?;
    let Some(stored) = message(&flow, side) else {
        return Err(format!("flow {} has no response", id.0));
    };
    let redactor = &tools.options.current().redactor;
    let body = ShownBody::new(&stored.body, &HeadText::read(&stored.head), redactor);
    let ShownBody { content, mut media_type, .. } = body;
    if media_type.is_empty() {
        media_type.push_str(match content {
            Content::Text(_) => "text/plain",
            Content::Binary(_) => "application/octet-stream",
        });
    }
    match content {
        Content::Text(text) => {
            let (part, _, end) = text_window(&text, 0, RESOURCE_BYTES);
            let text = match text.len() - end {
                0 => text,
                left => format!("{part}\n[{left} bytes left out: body_offset {end} reads on]"),
            };
            Ok(Resource::Text { media_type, text })
        }
        Content::Binary(bytes) if bytes.len() > RESOURCE_BYTES => Err(format!(
            "the body has {} bytes and a resource {RESOURCE_BYTES} at most; get_flow_request and \
             get_flow_response read it in parts, with body_offset",
            bytes.len()
        )),
        Content::Binary(bytes) => Ok(Resource::Binary { media_type, bytes }),
    }
}

fn parse(uri: &str) -> Option<(FlowId, Side)> {
    let (id, rest) = uri.strip_prefix("flow://")?.split_once('/')?;
    let side = match rest {
        "request/body" => Side::Request,
        "response/body" => Side::Response,
        _ => return None,
    };
    let is_number = id.bytes().all(|byte| byte.is_ascii_digit());
    Some((FlowId(id.parse().ok().filter(|_| is_number)?), side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bodies_of_flows_are_resources() {
        assert_eq!(parse("flow://12/request/body"), Some((FlowId(12), Side::Request)));
        assert_eq!(parse("flow://12/response/body"), Some((FlowId(12), Side::Response)));
        for odd in ["flow://+1/request/body", "flow://1/body", "file:///etc/passwd", "flow://"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
