//! Tools, results and resources as each version has them on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::mcp::rpc::one_line;
use crate::mcp::toolbox::{Resource, ResourceTemplate, ToolDescription, ToolResult};
use crate::mcp::version::Version;

/// Before names that the specification defines in `_meta`.
pub(super) const META_PREFIX: &str = "io.modelcontextprotocol/";
/// How long clients may keep what is the same for as long as the program runs, in milliseconds.
const LIST_TTL_MS: u64 = 60_000;

/// Whether clients may keep a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caching {
    /// The method's results have nothing to say about it.
    Silent,
    /// For a while.
    Listed,
    /// Not at all.
    Fresh,
}

/// The name of a field in `_meta`.
pub(super) fn meta(name: &str) -> String {
    format!("{META_PREFIX}{name}")
}

/// What this server is.
pub(super) fn server_info() -> Value {
    json!({ "name": "flowtap", "title": "flowtap", "version": env!("CARGO_PKG_VERSION") })
}

/// What it can do. Lists never change while it runs, so nobody is told of changes.
pub(super) fn capabilities() -> Value {
    json!({ "tools": {}, "resources": {} })
}

/// A result as JSON of one line, with what the stateless version asks of every result.
pub(super) fn finish(mut result: Map<String, Value>, version: Version, caching: Caching) -> String {
    if version.is_stateless() {
        result.insert("resultType".to_owned(), "complete".into());
        let info = (meta("serverInfo"), server_info());
        match result.get_mut("_meta").and_then(Value::as_object_mut) {
            Some(fields) => drop(fields.insert(info.0, info.1)),
            None => drop(result.insert("_meta".to_owned(), Map::from_iter([info]).into())),
        }
        if caching != Caching::Silent {
            let ttl = if caching == Caching::Listed { LIST_TTL_MS } else { 0 };
            result.insert("ttlMs".to_owned(), ttl.into());
            result.insert("cacheScope".to_owned(), "private".into());
        }
    }
    one_line(Value::Object(result).to_string())
}

/// An object with one field.
pub(super) fn object(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

/// A tool as it is listed.
pub(super) fn tool(tool: &ToolDescription, version: Version) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
    put("name", tool.name.into());
    put("description", tool.description.into());
    put("inputSchema", tool.input_schema.clone());
    if version.has_structured_content() {
        put("title", tool.title.into());
    }
    if version.has_annotations() {
        put(
            "annotations",
            json!({
                "title": tool.title,
                "readOnlyHint": tool.read_only,
                "destructiveHint": tool.destructive,
                "openWorldHint": tool.open_world,
            }),
        );
    }
    Value::Object(out)
}

/// A resource template as it is listed.
pub(super) fn template(template: &ResourceTemplate, version: Version) -> Value {
    let mut out = object("uriTemplate", template.uri_template.into());
    out.insert("name".to_owned(), template.name.into());
    out.insert("description".to_owned(), template.description.into());
    if version.has_structured_content() {
        out.insert("title".to_owned(), template.title.into());
    }
    Value::Object(out)
}

/// A call's result as JSON of at most `limit` bytes: without its structured form if that is too
/// large, and as an error that says what to do if the text alone is.
pub(super) fn call_result(result: &ToolResult, version: Version, limit: usize) -> String {
    let structured = version.has_structured_content();
    let whole = call_result_with(result, version, structured);
    if whole.len() <= limit {
        return whole;
    }
    let text_only = if structured { call_result_with(result, version, false) } else { whole };
    if text_only.len() <= limit {
        return text_only;
    }
    let content = json!({
        "error": format!(
            "the result is {} bytes long, and at most {limit} can be sent; ask for less, a part, \
             or for a file",
            text_only.len()
        ),
    });
    let content = content.as_object().cloned().unwrap_or_default();
    let refused = ToolResult { content, is_error: true, links: Vec::new() };
    call_result_with(&refused, version, structured)
}

fn call_result_with(result: &ToolResult, version: Version, structured: bool) -> String {
    let object = Value::Object(result.content.clone());
    let mut content = vec![json!({ "type": "text", "text": object.to_string() })];
    if version.has_structured_content() {
        content.extend(
            result
                .links
                .iter()
                .map(|(uri, name)| json!({ "type": "resource_link", "uri": uri, "name": name })),
        );
    }
    let mut out = self::object("content", content.into());
    if structured {
        out.insert("structuredContent".to_owned(), object);
    }
    if result.is_error {
        out.insert("isError".to_owned(), true.into());
    }
    finish(out, version, Caching::Silent)
}

/// A resource as the result that reads it.
pub(super) fn resource(uri: &str, resource: Resource, version: Version) -> String {
    let content = match resource {
        Resource::Text { media_type, text } => {
            json!({ "uri": uri, "mimeType": media_type, "text": text })
        }
        Resource::Binary { media_type, bytes } => {
            json!({ "uri": uri, "mimeType": media_type, "blob": STANDARD.encode(bytes) })
        }
    };
    finish(object("contents", json!([content])), version, Caching::Fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &str) -> ToolResult {
        ToolResult {
            content: object("text", text.into()),
            is_error: false,
            links: vec![("flow://1".to_owned(), "body".to_owned())],
        }
    }

    fn parsed(result: &ToolResult, version: Version, limit: usize) -> Value {
        serde_json::from_str(&call_result(result, version, limit)).unwrap()
    }

    #[test]
    fn results_have_what_their_version_has() {
        let old = parsed(&result("a"), Version::V2025_03_26, 1_000);
        assert_eq!(old, json!({ "content": [{ "type": "text", "text": r#"{"text":"a"}"# }] }));
        let newer = parsed(&result("a"), Version::V2025_06_18, 1_000);
        assert_eq!(newer["structuredContent"], json!({ "text": "a" }));
        assert_eq!(newer["content"][1]["type"], "resource_link");
        assert_eq!(newer.get("resultType"), None);
        let newest = parsed(&result("a"), Version::V2026_07_28, 1_000);
        assert_eq!(newest["resultType"], "complete");
        assert_eq!(newest["_meta"][meta("serverInfo")]["name"], "flowtap");
        assert_eq!(newest.get("ttlMs"), None);
    }

    #[test]
    fn results_shrink_to_their_limit() {
        let large = result(&"x".repeat(1_000));
        let whole = call_result(&large, Version::V2025_06_18, 10_000);
        let less = parsed(&large, Version::V2025_06_18, whole.len() - 1);
        assert_eq!(less.get("structuredContent"), None);
        assert!(less["content"][0]["text"].as_str().unwrap().contains("xxx"));
        let refused = parsed(&large, Version::V2025_06_18, 900);
        assert_eq!(refused["isError"], true);
        assert!(refused["structuredContent"]["error"].as_str().unwrap().contains("ask for less"));
    }

    #[test]
    fn only_newer_versions_have_titles_and_annotations() {
        let described = ToolDescription {
            name: "n",
            title: "N",
            description: "d",
            input_schema: json!({ "type": "object" }),
            read_only: true,
            destructive: false,
            open_world: false,
        };
        let oldest = tool(&described, Version::V2024_11_05);
        assert_eq!(oldest.as_object().unwrap().len(), 3);
        let old = tool(&described, Version::V2025_03_26);
        assert_eq!(old["annotations"]["readOnlyHint"], true);
        assert_eq!(old.get("title"), None);
        assert_eq!(tool(&described, Version::V2025_06_18)["title"], "N");
    }
}
