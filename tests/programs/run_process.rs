//! `flowtap run` as a process: streams, exit status, signals, environment, and what is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::bundle::Bundle;
use crate::process::DEADLINE;
use crate::run::{Running, words};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits with a deadline for an end, and gives what was printed.
fn wait(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    let (sender, output) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    output.recv_timeout(DEADLINE).map_or_else(
        |error| {
            let _ = kill_process(pid, Signal::KILL);
            panic!("it does not end: {error}")
        },
        |output| output.unwrap(),
    )
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Has a command started by another program, in whose place it comes.
fn by(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut started = Command::new(program);
    started.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => started.env(name, value),
            None => started.env_remove(name),
        };
    }
    started.current_dir(command.get_current_dir().unwrap());
    started
}

/// A program that tells by a file that it runs, and does this when a signal comes.
fn shell(running: &Running, traps: &str) -> Command {
    let script = format!("{traps} echo >ready; while :; do sleep 0.05; done");
    let command = running.flowtap(&["--", "sh", "-c", &script]);
    // Signals reach it, also where the tests run in the background or under nohup.
    let mut command = by("env", &["--default-signal=HUP,INT,QUIT"], &command);
    // A group of its own, as shells give to what they start.
    command.process_group(0);
    command
}

/// Waits until the program runs.
fn ready(running: &Running) {
    let end = std::time::Instant::now() + DEADLINE;
    while !running.path().join("ready").exists() {
        assert!(std::time::Instant::now() < end, "it does not run");
        thread::yield_now();
    }
}

#[test]
fn a_check_that_fails_is_the_status_of_a_program_that_does_not() {
    let running = Running::new();
    let origin = running.origin(true);
    let script = format!("curl -sSf {}/text", origin.url);
    let good = running.output(&["--require", "~u /text", "--", "sh", "-c", &script]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let bad = running.output(&["--fail-on", "~u /text", "--github", "--", "sh", "-c", &script]);
    let told = text(&bad.stderr);
    assert_eq!(bad.status.code(), Some(3), "{told}");
    assert!(told.contains("flowtap: FAIL  --fail-on '~u /text': 1 of 1 flow matches\n"), "{told}");
    assert!(told.ends_with("flowtap: 1 of 1 check failed\n"), "{told}");
    let out = text(&bad.stdout);
    assert!(out.starts_with("a text\n::error title=flowtap --fail-on"), "{out}");
    let script = script + "; exit 7";
    let own = running.output(&["--fail-on", "~u /text", "--", "sh", "-c", &script]);
    assert_eq!(own.status.code(), Some(7), "{}", text(&own.stderr));
}

#[test]
fn a_capture_that_cannot_be_checked_leaves_no_report_of_an_earlier_one() {
    let running = Running::new();
    let xml = running.path().join("st.xml");
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let no_program = running.path().join("no-program");
    fs::write(&no_program, b"\x7fELF and no more").unwrap();
    fs::set_permissions(&no_program, PermissionsExt::from_mode(0o755)).unwrap();
    let lost = "rm -r out; echo >out";
    for (words, status, why) in [
        (&["--", "sh", "-c", lost][..], 1, "out"),
        (&["-p", &port, "--", "true"], 1, "is in use"),
        (&["--", "no-such-program"], 127, "no folder of PATH has it"),
        (&["--", "./no-program"], 126, "cannot run ./no-program"),
    ] {
        let _ = fs::remove_file(running.path().join("out"));
        let _ = fs::remove_dir_all(running.path().join("out"));
        fs::create_dir(running.path().join("out")).unwrap();
        fs::write(&xml, "all is well").unwrap();
        let rule = ["-o", "out/x.zip", "--fail-on", "~e", "--junit", "st.xml", "--github"];
        let output = running.output(&[&rule, words].concat());
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {told}");
        let out = text(&output.stdout);
        assert!(out.starts_with("::error title=flowtap check::not all"), "{words:?}: {out}{told}");
        let report = fs::read_to_string(&xml).unwrap();
        assert!(report.contains("errors=\"1\"") && report.contains(why), "{words:?}: {report}");
    }
    // What was called wrongly was not done.
    fs::write(&xml, "all is well").unwrap();
    let output = running.output(&["--fail-on", "~e", "--junit", "st.xml", "-p", "x", "--", "true"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&xml).unwrap(), "all is well");
}

#[test]
fn the_streams_are_those_of_the_program() {
    let running = Running::new();
    let origin = running.origin(true);
    let script = format!("cat; echo to stderr >&2; curl -sSf {}/text", origin.url);
    let mut child = piped(&mut running.flowtap(&["--", "sh", "-c", &script]));
    use std::io::Write;
    child.stdin.take().unwrap().write_all(b"to stdin\n").unwrap();
    let output = wait(child);
    assert_eq!(text(&output.stdout), "to stdin\na text\n");
    let told = text(&output.stderr);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "to stderr"), "{told}");
    assert!(lines[1].starts_with("flowtap: 1 trace, 0 WebSocket connections, "), "{told}");
    assert_eq!(lines[2], "flowtap: capture.zip");

    let quiet = running.output(&["-q", "--", "sh", "-c", "echo a; echo b >&2"]);
    assert_eq!((&quiet.stdout[..], &quiet.stderr[..]), (&b"a\n"[..], &b"b\n"[..]));
}

#[test]
fn what_failed_is_told_once_at_the_end() {
    let running = Running::new();
    let script = "for i in 1 2 3; do curl -s http://127.0.0.1:1/; done; echo last >&2";
    let output = running.output(&["-q", "--", "sh", "-c", script]);
    let told = text(&output.stderr);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "last"), "{told}");
    assert!(lines[1].starts_with("flowtap: failed GET http://127.0.0.1:1"), "{told}");
    assert!(lines[1].ends_with(" (3 times)"), "{told}");
    assert!(output.status.success());
}

#[test]
fn the_exit_status_is_that_of_the_program() {
    let running = Running::new();
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 128 + 9)] {
        let status = running.output(&["-q", "--", "sh", "-c", script]).status;
        assert_eq!(status.code(), Some(expected), "{script}");
    }
}

#[test]
fn a_program_that_cannot_be_started_replaces_no_bundle() {
    let running = Running::new();
    let bundle = running.path().join("capture.zip");
    fs::write(&bundle, "an older bundle").unwrap();
    let script = running.path().join("script");
    for (content, mode, program, status, words) in [
        ("", 0o755, "no-such-program", 127, "cannot run no-such-program: no folder of PATH has it"),
        ("", 0o755, "./none", 127, "cannot run ./none: there is no such program"),
        ("#!/bin/sh\n", 0o644, "./script", 126, "cannot run ./script: it is not executable"),
        ("#!/no/sh\n", 0o755, "./script", 126, "its interpreter /no/sh is not there"),
        ("", 0o755, "./home", 126, "it is a folder"),
    ] {
        fs::write(&script, content).unwrap();
        fs::set_permissions(&script, PermissionsExt::from_mode(mode)).unwrap();
        let output = running.output(&["--", program]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{told}");
        assert!(told.starts_with("flowtap: ") && told.contains(words), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert_eq!(fs::read(&bundle).unwrap(), b"an older bundle");
    }
    assert!(running.left().is_empty());
    assert_eq!(running.output(&["--"]).status.code(), Some(2));
}

#[test]
fn a_script_that_names_no_interpreter_is_run_by_the_shell() {
    let running = Running::new();
    let script = running.path().join("script");
    fs::write(&script, "printf '%s\\n' \"$0\" \"$@\"\ncat\nexit 7\n").unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::join_paths(
        [running.path().to_owned()].into_iter().chain(std::env::split_paths(env!("PATH"))),
    );
    let path = path.unwrap();
    let found = script.to_str().unwrap();
    for (name, called) in [("./script", "./script"), ("script", found), (found, found)] {
        let mut command = running.flowtap(&["-q", "--", name, "-x", "a b", ""]);
        let mut child = piped(command.env("PATH", &path));
        use std::io::Write;
        child.stdin.take().unwrap().write_all(b"to stdin\n").unwrap();
        let output = wait(child);
        assert_eq!(text(&output.stdout), format!("{called}\n-x\na b\n\nto stdin\n"));
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(7), String::new()));
    }
    fs::write(&script, "").unwrap();
    assert_eq!(running.run(&["-q", "--", "./script"]), b"");
}

#[test]
fn what_the_system_refuses_to_start_is_told() {
    let running = Running::new();
    // It looks like a program until the system reads it.
    let program = running.path().join("program");
    fs::write(&program, b"\x7fELF and no more").unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let output = running.output(&["-q", "--", "./program"]);
    let told = text(&output.stderr);
    assert!(told.starts_with("flowtap: cannot run ./program: "), "{told}");
    assert_eq!(output.status.code(), Some(126), "{told}");
    assert!(running.left().is_empty());
}

#[test]
fn the_program_decides_what_ctrl_c_does() {
    let running = Running::new();
    let origin = running.origin(true);
    let traps = format!("trap 'curl -sSf {}/text; exit 5' INT;", origin.url);
    let child = piped(&mut shell(&running, &traps));
    ready(&running);
    // As a terminal does it.
    kill_process_group(Pid::from_child(&child), Signal::INT).unwrap();
    let output = wait(child);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    // Its last words were captured as well.
    assert_eq!(text(&output.stdout), "a text\n");
    assert_eq!(running.bundle().traces("GET", &format!("{}/text", origin.url)).len(), 1);
    assert!(running.left().is_empty());
}

#[test]
fn ctrl_c_and_quit_end_flowtap_only_with_the_program() {
    for (signal, number) in [(Signal::INT, 2), (Signal::QUIT, 3)] {
        let running = Running::new();
        let child = piped(&mut shell(&running, "ulimit -c 0;"));
        ready(&running);
        // Alone: a program that is not asked goes on, and so does its capture.
        kill_process(Pid::from_child(&child), signal).unwrap();
        kill_process_group(Pid::from_child(&child), signal).unwrap();
        let output = wait(child);
        assert_eq!(output.status.code(), Some(128 + number), "{}", text(&output.stderr));
        assert!(running.path().join("capture.zip").exists());
    }
}

#[test]
fn what_asks_flowtap_to_end_is_passed_on() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
        let running = Running::new();
        let child = piped(&mut shell(&running, &format!("trap 'exit 6' {name};")));
        ready(&running);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = wait(child);
        assert_eq!(output.status.code(), Some(6), "{name}: {}", text(&output.stderr));
        assert!(running.path().join("capture.zip").exists() && running.left().is_empty());
    }
}

#[test]
fn who_does_not_listen_is_killed_when_asked_again() {
    let running = Running::new();
    let child = piped(&mut shell(&running, "trap 'echo >asked' TERM;"));
    ready(&running);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).unwrap();
    let end = std::time::Instant::now() + DEADLINE;
    while !running.path().join("asked").exists() {
        assert!(std::time::Instant::now() < end, "the signal is not passed on");
        thread::yield_now();
    }
    kill_process(pid, Signal::TERM).unwrap();
    let output = wait(child);
    assert_eq!(output.status.code(), Some(128 + 9), "{}", text(&output.stderr));
    assert!(running.path().join("capture.zip").exists() && running.left().is_empty());
}

#[test]
fn what_flowtap_ignores_the_program_ignores() {
    let running = Running::new();
    let command = running.flowtap(&["-q", "--", "sh", "-c", "kill -INT $$; exit 4"]);
    let mut by_shell = by("sh", &["-c", "trap '' INT; exec \"$0\" \"$@\""], &command);
    assert_eq!(wait(piped(&mut by_shell)).status.code(), Some(4));
}

/// Whoever starts flowtap may have blocked or ignored what tells of the end of a child, which stays
/// so for what it starts.
#[test]
fn the_end_is_noticed_whatever_became_of_its_signal() {
    for before in [
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    ] {
        let running = Running::new();
        let command = running.flowtap(&["-q", "--", "sh", "-c", "exit 4"]);
        let script =
            format!("import os, signal, sys; {before}; os.execv(sys.argv[1], sys.argv[1:])");
        let output = wait(piped(&mut by("python3", &["-c", &script], &command)));
        assert_eq!(output.status.code(), Some(4), "{before}: {}", text(&output.stderr));
        assert!(running.left().is_empty());
    }
}

#[test]
fn children_that_stay_do_not_hold_up_the_end() {
    let running = Running::new();
    let script = "sleep 600 >/dev/null 2>&1 </dev/null & echo $!";
    let output = wait(piped(&mut running.flowtap(&["-q", "--", "sh", "-c", script])));
    let pid = text(&output.stdout).trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert!(output.status.success());
}

/// Name and value of all variables that `env -0` prints.
fn environment(output: &Output) -> Vec<(String, String)> {
    let text = text(&output.stdout);
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_environment_names_the_proxy_and_the_roots() {
    let running = Running::new();
    let output = running.output(&["-q", "--", "env", "-0"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let all = environment(&output);
    let value = |name: &str| {
        let mut found = all.iter().filter(|(it, _)| it == name).map(|(_, value)| value);
        found.next().unwrap_or_else(|| panic!("no {name}")).as_str()
    };
    let proxy = value("FLOWTAP_PROXY");
    assert!(proxy.starts_with("http://127.0.0.1:"), "{proxy}");
    assert!(value("FLOWTAP_MCP").starts_with("http://127.0.0.1:"));
    for name in words(
        "http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY npm_config_proxy \
         npm_config_https_proxy GLOBAL_AGENT_HTTP_PROXY CGI_HTTP_PROXY",
    ) {
        assert_eq!(value(name.to_str().unwrap()), proxy, "{name:?}");
    }
    assert_eq!((value("NO_PROXY"), value("no_proxy"), value("NODE_USE_ENV_PROXY")), ("", "", "1"));
    let roots = value("SSL_CERT_FILE");
    for name in words(
        "CURL_CA_BUNDLE REQUESTS_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO CARGO_HTTP_CAINFO \
         AWS_CA_BUNDLE DENO_CERT PERL_LWP_SSL_CA_FILE HEX_CACERTS_PATH",
    ) {
        assert_eq!(value(name.to_str().unwrap()), roots, "{name:?}");
    }
    assert_ne!(value("NODE_EXTRA_CA_CERTS"), roots);
    for name in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "FLOWTAP_CA", "WGETRC"] {
        assert!(!Path::new(value(name)).exists(), "{name} is left behind");
    }
    let none = environment(&running.output(&["-q", "--no-mcp", "--", "env", "-0"]));
    assert!(none.iter().all(|(name, _)| name != "FLOWTAP_MCP"));
}

#[test]
fn the_roots_are_those_of_the_system_and_the_ca_and_private() {
    let running = Running::new();
    let script = "cat \"$SSL_CERT_FILE\"; stat -c %a \"$(dirname \"$SSL_CERT_FILE\")\" \"$SSL_CERT_FILE\"; \
                  cat \"$FLOWTAP_CA\"";
    let printed = text(&running.run(&["-q", "--", "sh", "-c", script]));
    let read = |name: &str| fs::read_to_string(running.path().join(name)).unwrap();
    let (own, origins) = (read("conf/flowtap-ca-cert.pem"), read("origin-ca.pem"));
    assert_eq!(printed, format!("{own}{origins}700\n600\n{own}"));
}

#[test]
fn nothing_is_left_but_the_bundle_and_the_ca() {
    let running = Running::new();
    let before = running.names(".");
    running.run(&["--", "true"]);
    let is_new = |name: &String| !before.contains(name);
    let new: Vec<_> = running.names(".").into_iter().filter(is_new).collect();
    assert_eq!(new, ["capture.zip", "conf"]);
    assert!(running.names("home").is_empty() && running.left().is_empty());
}

#[test]
fn files_that_a_program_may_open_are_as_many_as_flowtap_was_given() {
    let running = Running::new();
    let command = running.flowtap(&["-q", "--", "sh", "-c", "ulimit -Sn"]);
    let mut by_shell = by("sh", &["-c", "ulimit -Sn 300; exec \"$0\" \"$@\""], &command);
    assert_eq!(text(&wait(piped(&mut by_shell)).stdout), "300\n");
}

#[test]
fn two_runs_at_once_have_a_proxy_and_a_bundle_each() {
    let running = Running::new();
    let origin = running.origin(true);
    let start = |name: &str| {
        // Each ends when both run.
        let other = if name == "a" { "b" } else { "a" };
        let script = format!(
            "echo >{name}; until [ -e {other} ]; do sleep 0.05; done; curl -sSf {}/text?{name}; \
             echo $FLOWTAP_PROXY",
            origin.url
        );
        let output = format!("{name}.zip");
        piped(&mut running.flowtap(&["-o", &output, "--", "sh", "-c", &script]))
    };
    let (a, b) = (start("a"), start("b"));
    let (a, b) = (wait(a), wait(b));
    for (output, name) in [(&a, "a"), (&b, "b")] {
        assert!(output.status.success(), "{}", text(&output.stderr));
        let bundle = Bundle::read(&running.path().join(format!("{name}.zip")));
        let url = format!("{}/text?{name}", origin.url);
        assert_eq!(bundle.urls(), [("GET".to_owned(), url)]);
    }
    assert_ne!(a.stdout, b.stdout);
}

#[test]
fn a_capture_that_fails_is_told_by_the_exit_status_of_a_success() {
    let running = Running::new();
    let origin = running.origin(false);
    // Where the bundle is to be, there can be none any more.
    let lost = format!("curl -sSf {}/text; rm -r out; echo >out", origin.url);
    for (end, expected) in [("exit 0", 1), ("exit 9", 9)] {
        let out = running.path().join("out");
        let _ = fs::remove_file(&out);
        fs::create_dir(&out).unwrap();
        let script = format!("{lost}; {end}");
        let output = running.output(&["-o", "out/x.zip", "--", "sh", "-c", &script]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{told}");
        assert!(told.contains("flowtap: the capture FAILED"), "{told}");
    }
}

#[test]
fn a_capture_that_cannot_start_starts_no_program() {
    let running = Running::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let output = running.output(&["-p", &port, "--", "sh", "-c", "echo >started"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is in use"), "{}", text(&output.stderr));
    let nowhere = running.path().join("nowhere");
    let words = ["--", "sh", "-c", "echo >started"];
    let output = wait(piped(running.flowtap(&words).env("TMPDIR", nowhere)));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("no temporary folder") && told.contains("TMPDIR"), "{told}");
    // A file of settings would have another line by it.
    let torn = running.path().join("a\nfolder");
    fs::create_dir(&torn).unwrap();
    let output = wait(piped(running.flowtap(&words).env("TMPDIR", &torn)));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("a\\x0afolder: its name has ends of lines; name another"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert_eq!(fs::read_dir(&torn).unwrap().count(), 0);
    assert!(!running.path().join("started").exists() && running.left().is_empty());
    assert!(!running.path().join("capture.zip").exists());
}
