//! `flowtap mcp`, started by clients as they start their servers: with a proxy of its own, and
//! beside a flowtap that runs already.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::mcp::{newer_node, node_client, python_client};
use crate::process::{Process, run};
use crate::setting::tools;

/// The words that start `flowtap mcp` on this MCP port, without a bundle.
fn words(folder: &Path, mcp_port: u16) -> Vec<String> {
    let flowtap = env!("CARGO_BIN_EXE_flowtap");
    let port = mcp_port.to_string();
    let confdir = folder.join("conf");
    [flowtap, "mcp", "-p", "0", "--no-output", "--mcp-port", &port, "--confdir"]
        .into_iter()
        .map(str::to_owned)
        .chain([confdir.to_string_lossy().into_owned()])
        .collect()
}

/// Has all clients start flowtap with these words.
fn start_by_all(words: &[String]) {
    for major in [1, 2] {
        run(python_client(major).arg("stdio").args(words));
        run(node_client(major).arg("stdio").args(words));
    }
    let inspector = tools().join("mcp-node/node_modules/.bin/mcp-inspector");
    let mut inspect = newer_node();
    inspect.arg(inspector).arg("--cli").args(words).args(["--method", "tools/list"]);
    let listed: Value = serde_json::from_slice(&run(&mut inspect)).unwrap();
    assert!(listed["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "{listed}");
}

#[test]
fn clients_start_flowtap_with_a_proxy_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    start_by_all(&words(folder.path(), 0));
}

#[test]
fn clients_start_flowtap_beside_one_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Process::start(
        Command::new(env!("CARGO_BIN_EXE_flowtap"))
            .args(["proxy", "-p", "0", "--no-output", "--mcp-port", "0", "--confdir"])
            .arg(folder.path().join("conf")),
        true,
    );
    let url = running.line_after("mcp ");
    let port = url.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/sse"));
    let port = port.and_then(|port| port.parse().ok()).expect("a port");
    start_by_all(&words(folder.path(), port));
    running.signal(Signal::INT);
    let (status, printed) = running.wait();
    assert!(status.success(), "{status}: {printed}");
}
