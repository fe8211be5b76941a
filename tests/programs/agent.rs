//! An agent's whole session, with the official Python SDK, against live traffic.

use std::process::Command;

use crate::process::run;
use crate::setting::{Setting, programs, tools};

#[test]
fn an_agent_browses_searches_sends_edits_drops_and_exports() {
    let setting = Setting::new();
    let origin = setting.origin(true);
    run(Command::new(tools().join("mcp-python-1/bin/python"))
        .arg(programs().join("mcp/agent_session.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args([&setting.mcp, &setting.proxy])
        .arg(&setting.ca)
        .arg(&origin.url)
        .arg(setting.path()));
    let bundle = setting.finish();
    let echo = format!("{}/echo", origin.url);
    // What curl sent, what the agent sent of its own, and what was edited on its way.
    let bodies: Vec<_> =
        bundle.traces("POST", &echo).into_iter().map(|trace| trace.request.clone()).collect();
    assert_eq!(bodies, [&b"a body"[..], b"another body", b"as the agent wants it"]);
    let dropped = bundle.traces("GET", &format!("{}/text", origin.url));
    let error = |trace: &crate::bundle::Trace| trace.json["error"].to_string();
    assert!(dropped.iter().any(|trace| error(trace).contains("dropped")));
}
