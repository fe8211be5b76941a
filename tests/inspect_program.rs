//! `flowtap inspect` as a program: on a terminal, in pipes, with a shell and curl.
#![cfg(unix)]
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/capture.rs"]
mod capture;

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use flowtap::capture::entry::ended;
use flowtap::flow::record::*;
use tempfile::TempDir;

use capture::{Capture, exchange, send, text_body};

/// How long any single wait may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn flowtap() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").arg("inspect");
    command
}

/// Waits for a process that may be stuck.
fn finished(child: Child) -> Output {
    let id = rustix::process::Pid::from_child(&child);
    let (told, ended) = channel();
    thread::spawn(move || told.send(child.wait_with_output()));
    ended.recv_timeout(DEADLINE).map(Result::unwrap).unwrap_or_else(|_| {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        panic!("it did not end")
    })
}

fn run(mut command: Command) -> (Option<i32>, String, String) {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = finished(child.spawn().unwrap());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a terminal shows.
fn on_terminal(command: &Command) -> String {
    let runner = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/support/terminal.py");
    let mut python = Command::new("python3");
    python.arg(runner).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => python.env(name, value),
            None => python.env_remove(name),
        };
    }
    // The end of its input would end it.
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take();
    let output = finished(child);
    drop(input);
    String::from_utf8(output.stdout).unwrap()
}

fn one_exchange(response: &[u8]) -> (TempDir, PathBuf) {
    let capture = Capture::start(10);
    let mut flow = exchange(1);
    capture.respond(&mut flow, "HTTP/1.1 404 Not Found\r\n\r\n", response);
    send(&capture, vec![ended(&flow)]);
    let (folder, _, summary) = capture.finish_in_place();
    let path = summary.paths[0].clone();
    (folder, path)
}

#[test]
fn there_is_colour_on_terminals_alone_unless_it_is_wanted_otherwise() {
    let (_folder, path) = one_exchange(b"\x1b]0;title\x07 text");
    let yellow = "\x1b[33m";
    for (arguments, variable, in_pipe, on_tty) in [
        (&[][..], "UNUSED", false, true),
        (&[], "NO_COLOR", false, false),
        (&[], "CLICOLOR_FORCE", true, true),
        (&["--color", "always"], "NO_COLOR", true, true),
        (&["--color", "never"], "CLICOLOR_FORCE", false, false),
    ] {
        let of = |more: &[&str]| {
            let mut command = flowtap();
            command.arg(&path).args(arguments).args(more).env(variable, "1");
            command
        };
        for more in [&[][..], &["--trace", "t_0001"]] {
            let (_, piped, _) = run(of(more));
            assert_eq!(piped.contains(yellow), in_pipe, "{arguments:?} {variable}: {piped}");
            let shown = on_terminal(&of(more));
            assert_eq!(shown.contains(yellow), on_tty, "{arguments:?} {variable}: {shown}");
            assert!(!shown.contains("\x1b]") && !shown.contains('\x07'), "{shown:?}");
            assert!(shown.contains("exit 0"), "{shown}");
        }
    }
    // A terminal never gets the bytes themselves.
    let body = ["--trace", "t_0001", "--body", "response"];
    let mut command = flowtap();
    command.arg(&path).args(body);
    let shown = on_terminal(&command);
    assert!(shown.contains("\\x1b]0;title\\x07 text") && !shown.contains('\x07'), "{shown:?}");
    assert_eq!(run(command).1, "\x1b]0;title\x07 text");
}

#[test]
fn the_exit_status_tells_what_came_of_it() {
    let (_folder, path) = one_exchange(b"text");
    let status = |arguments: &[&str]| {
        let mut command = flowtap();
        command.arg(&path).args(arguments);
        run(command)
    };
    assert_eq!(status(&[]).0, Some(0));
    assert_eq!(status(&["~c 500"]).0, Some(0));
    for (arguments, code, said) in [
        (&["--trace", "t_0002"][..], 1, "its only trace is t_0001"),
        (&["~c"], 2, "the filter: at character"),
        (&["--columns", "nmae"], 2, "there are: id, time"),
        (&["--sort", "x"], 2, "there are: time, size"),
    ] {
        let (status, stdout, stderr) = status(arguments);
        assert_eq!((status, stdout.as_str()), (Some(code), ""), "{arguments:?}");
        assert!(stderr.contains(said) && stderr.lines().count() == 1, "{stderr}");
    }
    // A reader that goes away at once, and a disk that is full.
    let mut command = flowtap();
    command.arg(&path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = finished(child);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    if cfg!(target_os = "linux") {
        for form in [&[][..], &["--json"], &["--curl"], &["--trace", "t_0001"]] {
            let full = fs::File::options().write(true).open("/dev/full").unwrap();
            let mut command = flowtap();
            command.arg(&path).args(form).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
            let output = finished(command.spawn().unwrap());
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{form:?}: {stderr}");
            assert!(stderr.contains("No space left"), "{stderr}");
        }
    }
}

/// Takes one request of a known length: its bytes.
fn take(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut taken = Vec::new();
    let mut byte = [0];
    while !taken.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        taken.push(byte[0]);
    }
    let head = String::from_utf8(taken.clone()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    taken.extend(body);
    taken
}

#[test]
fn a_shell_repeats_what_the_commands_say() {
    // The second would be taken for options.
    for name in ["it's a capture.zip", "-d.zip"] {
        assert_repeated(name);
    }
}

/// Repeats the requests of a capture of this name.
fn assert_repeated(name: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = listener.local_addr().unwrap();
    let capture = Capture::start_as(tempfile::tempdir().unwrap(), name, 1);
    let long: Vec<u8> = (0..300_000_u32).map(|it| (it.wrapping_mul(it) >> 9) as u8).collect();
    let bodies = [b"a 'short' \x1b body".as_slice(), &long, b""];
    let mut expected = Vec::new();
    for (id, body) in (1..).zip(bodies) {
        let head = format!(
            "PUT /{id}?a[]=b HTTP/1.1\r\nHost: {origin}\r\nX-Id: {id}\r\nUser-Agent: x\r\n\
             Accept: */*\r\nContent-Type: a/b\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut flow = exchange(id);
        flow.scheme = Scheme::Http;
        flow.request = Message { head: head.clone().into(), ..Message::default() };
        flow.request.body = text_body("");
        let mut data = body.to_vec();
        let last = data.split_off(data.len().saturating_sub(1_000));
        if !data.is_empty() {
            let block = BodyBlock { flow: flow.id, side: Side::Request, data: data.into() };
            send(&capture, vec![FlowEvent::Body(block)]);
        }
        let sent_ahead = (body.len() - last.len()) as u64;
        flow.request.body = Body { tail: last.into(), sent_ahead, size: body.len() as u64 };
        send(&capture, vec![ended(&flow)]);
        expected.push([head.as_bytes(), body].concat());
    }
    let (folder, _, summary) = capture.finish_in_place();
    assert_eq!(summary.paths.len(), 3);
    let (told, requests) = channel();
    thread::spawn(move || while told.send(take(&listener)).is_ok() {});
    fs::write(folder.path().join(".curlrc"), "silent\nmax-time = 30\n").unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_flowtap")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", "flowtap inspect --curl -- \"$0\" | sh", name])
        .current_dir(folder.path())
        .env("CURL_HOME", folder.path())
        .env("PATH", format!("{}:{path}", program.display()));
    for name in ["http_proxy", "all_proxy", "ALL_PROXY"] {
        shell.env_remove(name);
    }
    let (status, _, stderr) = run(shell);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let sorted = |request: &[u8]| {
        let end = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let (head, body) = request.split_at(end);
        let mut lines: Vec<_> = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
        lines[1..].sort_unstable();
        (lines.concat(), body.to_vec())
    };
    for request in expected {
        let arrived = requests.recv_timeout(DEADLINE).unwrap();
        assert!(sorted(&arrived) == sorted(&request), "{}", String::from_utf8_lossy(&arrived));
    }
}

#[test]
fn letters_that_may_have_been_other_bytes_are_told_of() {
    for (field, is_told) in [
        (b"X-A: \xff".as_slice(), true),
        ("X-A: caf\u{e9}".as_bytes(), true),
        ("X-A: \u{4e2d}".as_bytes(), false),
        (b"X-A: a", false),
    ] {
        let capture = Capture::start(10);
        let mut flow = exchange(1);
        let head = [b"GET / HTTP/1.1\r\nHost: h\r\n", field, b"\r\n\r\n"].concat();
        flow.request = Message { head: head.into(), ..Message::default() };
        send(&capture, vec![ended(&flow)]);
        let (_folder, _, summary) = capture.finish_in_place();
        let mut command = flowtap();
        command.arg(&summary.paths[0]).arg("--curl");
        let (_, printed, _) = run(command);
        let note = "# letters beyond ASCII are sent in UTF-8: those of the request may have been \
                    ISO-8859-1\n";
        assert_eq!(printed.starts_with(note), is_told, "{printed}");
        assert!(printed.contains("-H 'X-A: "), "{printed}");
    }
}

#[test]
fn one_flow_is_in_memory_at_a_time() {
    const BODY_BYTES: usize = 16 << 20;
    const TRACES: usize = 24;
    let options = zip::write::SimpleFileOptions::default();
    let mut body = zip::ZipWriter::new(Cursor::new(Vec::new()));
    body.start_file("body", options).unwrap();
    io::copy(&mut io::repeat(b'x').take(BODY_BYTES as u64), &mut body).unwrap();
    let mut body = zip::ZipArchive::new(body.finish().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.zip");
    let mut bundle = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    bundle.start_file("manifest.json", options).unwrap();
    bundle.write_all(b"{}").unwrap();
    for number in 0..TRACES {
        bundle.start_file(format!("traces/t_{number:04}.json"), options).unwrap();
        let trace = format!(
            r#"{{"timestamp":{number},"request":{{"method":"GET","url":"http://a/"}},
            "response":{{"status":200,"body_file":"t_{number:04}.bin","body_size":{BODY_BYTES}}}}}"#
        );
        bundle.write_all(trace.as_bytes()).unwrap();
        let name = format!("traces/t_{number:04}.bin");
        bundle.raw_copy_file_rename(body.by_index(0).unwrap(), name).unwrap();
    }
    bundle.finish().unwrap();
    // In KiB: half of what all bodies are.
    let limited = format!("ulimit -v {} && exec \"$@\"", TRACES * BODY_BYTES / 1_024 / 2);
    for (arguments, said, times) in [
        (&["~bs xxx", "--sort", "size", "--json"][..], "\"status\":200", TRACES),
        (&["~b absent"], "0 of 24 flows match", 1),
        (&["--curl"], "curl 'http://a/'", TRACES),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", &limited, "sh", env!("CARGO_BIN_EXE_flowtap"), "inspect"]);
        command.arg(&path).args(arguments);
        let (status, stdout, stderr) = run(command);
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert_eq!(stdout.matches(said).count(), times, "{stdout}");
    }
}
