//! Package managers under `flowtap run`, which know of no proxy and no certificate authority.

use std::ffi::OsStr;
use std::fs;

use crate::run::{Running, words};
use crate::setting::{Origin, tools};

/// Runs a package manager against a registry of its kind; these paths have to be in the bundle.
fn installs(command: impl Fn(&Running, &str) -> Vec<String>, paths: &[&str]) -> Running {
    let running = Running::new();
    let registry = Origin::start(running.path(), "package_server.py", &[], true);
    let command = command(&running, &registry.url);
    let command: Vec<&OsStr> = command.iter().map(OsStr::new).collect();
    running.run(&[&words("--")[..], &command].concat());
    let bundle = running.bundle();
    for path in paths {
        let trace = bundle.trace("GET", &format!("{}{path}", registry.url));
        assert_eq!(*trace.status(), 200, "{path}");
    }
    running
}

fn list(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn pip_needs_no_options() {
    let pip = tools().join("venv/bin/pip");
    let command = |_: &Running, registry: &str| {
        list(&format!(
            "{} --isolated --disable-pip-version-check download --no-cache-dir --no-deps \
             --index-url {registry}/simple/ tiny",
            pip.display()
        ))
    };
    let wheel = "tiny-1.0.0-py3-none-any.whl";
    let running = installs(command, &["/simple/tiny/", &format!("/{wheel}")]);
    assert!(running.path().join(wheel).exists());
}

#[test]
fn npm_needs_no_options() {
    let command = |running: &Running, registry: &str| {
        fs::write(running.path().join("package.json"), "{}").unwrap();
        list(&format!(
            "npm install --no-audit --no-fund --no-update-notifier --registry {registry}/npm/ tiny"
        ))
    };
    let running = installs(command, &["/npm/tiny", "/npm/tiny/-/tiny-1.0.0.tgz"]);
    assert!(running.path().join("node_modules/tiny/package.json").exists());
}

#[test]
fn cargo_needs_no_options() {
    let command = |running: &Running, registry: &str| {
        let put = |name: &str, text: &str| {
            let path = running.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("src/lib.rs", "");
        let package = "[package]\nname = \"it\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
        let dependency = "[dependencies]\ntiny = { version = \"1\", registry = \"here\" }\n";
        put("Cargo.toml", &format!("{package}{dependency}"));
        let index = format!("sparse+{registry}/cargo/");
        put(".cargo/config.toml", &format!("[registries.here]\nindex = \"{index}\"\n"));
        let cargo = std::env::var("CARGO").unwrap();
        let home = running.path().join("cargo-home");
        list(&format!("env CARGO_HOME={} {cargo} fetch --quiet", home.display()))
    };
    installs(command, &["/cargo/config.json", "/cargo/ti/ny/tiny", "/crates/tiny/1.0.0/download"]);
}
