//! Clients of the MCP server that others made: the official SDKs in both majors, the Inspector,
//! and the official conformance package.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use flowtap::mcp::server::{McpBound, McpHandle, McpOptions, McpServer};
use serde_json::Value;

use crate::process::{output, run};
use crate::setting::{programs, tools};
use crate::toolbox::Stub;

/// A running server of the tools that tests have.
struct Server {
    handle: Option<McpHandle>,
    stub: Arc<Stub>,
}

impl Server {
    fn new() -> Server {
        let (stub, _) = Stub::new();
        let bound = McpBound::new(Some(0)).unwrap();
        let handle = McpServer::start(bound, stub.clone(), McpOptions::default()).unwrap();
        Server { handle: Some(handle), stub }
    }

    /// The URL of a path.
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.handle.as_ref().unwrap().address())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stub.release();
        let stopped = self.handle.take().unwrap().stop();
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}

/// A client of the Python SDK of this major.
pub(crate) fn python_client(major: u8) -> Command {
    let mut command = Command::new(tools().join(format!("mcp-python-{major}/bin/python")));
    command
        .arg(programs().join(format!("mcp/with_python_{major}.py")))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A client of the TypeScript SDK of this major.
pub(crate) fn node_client(major: u8) -> Command {
    let mut command = newer_node();
    command
        .arg(programs().join(format!("mcp/with_sdk_{major}.cjs")))
        .env("NODE_PATH", tools().join("mcp-node/node_modules"));
    command
}

/// A Node that is new enough for all packages.
pub(crate) fn newer_node() -> Command {
    Command::new(tools().join("newer-node"))
}

#[test]
fn the_python_sdk_works_over_http_with_sse() {
    let server = Server::new();
    for major in [1, 2] {
        run(python_client(major).args(["sse", &server.url("/sse")]));
    }
}

#[test]
fn the_python_sdk_works_over_streamable_http() {
    let server = Server::new();
    for major in [1, 2] {
        run(python_client(major).args(["http", &server.url("/mcp")]));
    }
}

#[test]
fn the_typescript_sdk_works_over_http_with_sse() {
    let server = Server::new();
    for major in [1, 2] {
        run(node_client(major).args(["sse", &server.url("/sse")]));
    }
}

#[test]
fn the_typescript_sdk_works_over_streamable_http() {
    let server = Server::new();
    for major in [1, 2] {
        run(node_client(major).args(["http", &server.url("/mcp")]));
    }
}

#[test]
fn the_inspector_lists_and_calls_tools() {
    let server = Server::new();
    let inspect = |path: &str, transport: &str, arguments: &[&str]| -> Value {
        let program = tools().join("mcp-node/node_modules/.bin/mcp-inspector");
        let output = run(newer_node()
            .arg(program)
            .args(["--cli", &server.url(path), "--transport", transport, "--method"])
            .args(arguments));
        serde_json::from_slice(&output).unwrap()
    };
    for (path, transport) in [("/mcp", "http"), ("/sse", "sse")] {
        let listed = inspect(path, transport, &["tools/list"]);
        assert_eq!(listed["tools"][0]["name"], "echo");
        let call = ["tools/call", "--tool-name", "echo", "--tool-arg", "text=hi"];
        let called = inspect(path, transport, &call);
        assert_eq!(called["structuredContent"]["arguments"]["text"], "hi");
    }
}

/// Runs a scenario of the conformance package and gives the checks that failed or warned.
fn failed_checks(server: &Server, version: &str, scenario: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let program = "mcp-node/node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let mut command = newer_node();
    command
        .arg(tools().join(program))
        .args(["server", "--url", &server.url("/mcp")])
        .args(["--scenario", scenario, "--spec-version", version, "-o"])
        .arg(folder.path());
    // The exit status tells of the same checks as the file, and less.
    let output = output(&mut command);
    let results: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(results.len(), 1, "{scenario}: {output:?}");
    let checks = fs::read(results[0].as_ref().unwrap().path().join("checks.json")).unwrap();
    let checks: Vec<Value> = serde_json::from_slice(&checks).unwrap();
    assert!(checks.iter().any(|check| check["status"] == "SUCCESS"), "{scenario}: {checks:?}");
    let fails = |check: &&Value| check["status"] == "FAILURE" || check["status"] == "WARNING";
    let name = |check: &Value| check["id"].as_str().unwrap().to_owned();
    checks.iter().filter(fails).map(name).collect()
}

#[test]
fn the_older_version_conforms() {
    let server = Server::new();
    for scenario in [
        "server-initialize",
        "server-session-lifecycle",
        "ping",
        "tools-list",
        "resources-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
    ] {
        assert_eq!(failed_checks(&server, "2025-11-25", scenario), [""; 0], "{scenario}");
    }
}

#[test]
fn the_stateless_version_conforms() {
    let server = Server::new();
    for scenario in [
        "tools-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
        "http-header-validation",
        "input-required-result-unsupported-methods",
    ] {
        assert_eq!(failed_checks(&server, "2026-07-28", scenario), [""; 0], "{scenario}");
    }
    // These want tools and prompts that exist for the test alone.
    assert_eq!(
        failed_checks(&server, "2026-07-28", "server-stateless"),
        [
            "sep-2575-server-rejects-undeclared-capability",
            "sep-2575-missing-capability-http-400",
            "sep-2575-http-server-no-independent-requests-on-stream",
            "sep-2575-server-no-log-without-loglevel",
        ]
    );
    assert_eq!(
        failed_checks(&server, "2026-07-28", "caching"),
        ["sep-2549-prompts-list-caching-hints"]
    );
}
