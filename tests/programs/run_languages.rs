//! Languages whose libraries take proxy and certificate authority from the environment, under
//! `flowtap run`.

use std::ffi::OsStr;
use std::process::Command;

use crate::process::run;
use crate::run::{Running, words};
use crate::setting::{Origin, programs, tools};

/// An address for documentation (RFC 5737): nobody is there, and libraries that take no proxy for
/// loopback take one for it.
const AWAY: &str = "192.0.2.1";

/// Runs a program with the URL of an origin that is away; a relay has its place.
fn asks_away(program: &[&OsStr]) {
    for tls in [false, true] {
        let running = Running::new();
        let origin = running.origin(tls);
        let port = origin.port.to_string();
        let relay = Origin::start(running.path(), "relay.py", &[port.as_ref()], false);
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{AWAY}");
        let flags = format!("-q --insecure-upstream --upstream {} --", relay.url);
        running.run(&[&words(&flags)[..], program, &[url.as_ref()]].concat());
        let trace = running.bundle().trace("GET", &format!("{url}/text"));
        assert_eq!((trace.status(), &trace.response[..]), (&200.into(), &b"a text\n"[..]));
    }
}

#[test]
fn deno_needs_no_options() {
    let deno = tools().join("node/node_modules/.bin/deno");
    let script = programs().join("with_run.ts");
    let run = words("run --allow-all --no-check");
    let words = [&["--".as_ref(), deno.as_os_str()], &run[..], &[script.as_os_str()]].concat();
    Running::new().asks(&words, &["fetch"]);
}

#[test]
fn ruby_needs_no_options() {
    asks_away(&["ruby".as_ref(), programs().join("with_run.rb").as_os_str()]);
}

#[test]
fn go_needs_no_options() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("with_run");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(programs().join("with_run.go"));
    run(go.env("GOCACHE", folder.path().join("cache")).env("GO111MODULE", "off"));
    asks_away(&[program.as_os_str()]);
}
