//! What is shown while traffic runs: lines for exchanges, colour, the live line, warnings.

use std::time::Instant;

use rustix::process::Signal;

use crate::support::apart::Terminal;
use crate::support::client::Client;
use crate::support::flowtap::Setup;
use crate::support::origin::Origin;
use crate::support::refusing::Refusing;
use crate::support::{DEADLINE, get};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Shown: yes\r\n\r\nok";
const GREEN_200: &str = "\x1b[32m200\x1b[0m";

#[test]
fn each_v_shows_more_of_each_exchange_in_a_file_too() {
    let origin = Origin::answers(OK);
    for (flag, shows) in [("-v", [true, false, false]), ("-vv", [true, true, false])]
        .into_iter()
        .chain([("-vvv", [true, true, true]), ("-q", [false; 3])])
    {
        let tap = Setup::proxy().args([flag]).start();
        let mut client = Client::connect(tap.addr);
        for number in 0..40 {
            client.send(get(origin.addr, &format!("/{number}")));
            client.response();
        }
        let stderr = tap.stop().stderr;
        let url = format!("GET http://{}/", origin.addr);
        // A file is read later: nothing is left out for the sake of the eye.
        assert_eq!(stderr.matches(&url).count(), if shows[0] { 40 } else { 0 }, "{stderr}");
        assert_eq!(stderr.contains("\n    X-Shown: yes\n"), shows[1], "{flag}: {stderr}");
        assert_eq!(stderr.contains("\n\n    ok\n"), shows[2], "{flag}: {stderr}");
        assert!(!stderr.contains('\x1b'), "{stderr}");
        assert_eq!(stderr.lines().any(|it| it.contains("  200         2 B  ")), shows[0]);
    }
}

#[test]
fn colour_is_as_the_flag_and_the_environment_want_it() {
    let origin = Origin::answers(OK);
    for (color, variable, is_coloured) in [
        ("auto", "UNUSED", false),
        ("always", "NO_COLOR", true),
        ("auto", "CLICOLOR_FORCE", true),
        ("never", "CLICOLOR_FORCE", false),
    ] {
        let setup = Setup::proxy().args(["-v", "--color", color]).env(variable, "1");
        let tap = setup.start();
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        client.response();
        let stderr = tap.stop().stderr;
        assert_eq!(stderr.contains(GREEN_200), is_coloured, "{color} {variable}: {stderr}");
    }
}

#[test]
fn a_terminal_has_coloured_lines_and_a_live_line_unless_it_is_told_not_to() {
    let origin = Origin::answers(OK);
    let nobody = Refusing::new();
    let gone = nobody.addr;
    for quiet in [false, true] {
        let flags: &[&str] = if quiet { &["-q"] } else { &[] };
        let setup = Setup::proxy().args(flags).env("TERM", "xterm").env("NO_COLOR", "");
        let mut terminal = Terminal::start(setup, false);
        let mut client = Client::connect(terminal.addr);
        client.send(get(origin.addr, "/seen"));
        client.response();
        client.send(get(gone, "/gone"));
        client.response();
        let mut shown = terminal.shown("failed ");
        // The live line is seen when a line that stays follows it.
        let end = Instant::now() + DEADLINE;
        while !quiet && !shown.contains("connections  1 failures") && Instant::now() < end {
            client.send(get(origin.addr, "/again"));
            client.response();
            shown += &terminal.shown("/again");
        }
        terminal.signal(Signal::TERM);
        shown += &terminal.shown("capture.zip");
        let line = shown.lines().find(|line| line.contains("/seen"));
        assert_eq!(line.is_some_and(|line| line.contains(GREEN_200)), !quiet, "{shown}");
        assert_eq!(shown.contains(" flows  "), !quiet, "{shown}");
        assert_eq!(shown.contains("connections  1 failures"), !quiet, "{shown}");
        assert!(terminal.wait().0.ends_with("exit 0"));
    }
}

#[test]
fn a_cause_is_told_once_and_counted_at_the_end() {
    let nobody = Refusing::new();
    let gone = nobody.addr;
    let mut tap = Setup::proxy().start();
    for method in ["GET", "POST", "GET"] {
        let mut client = Client::connect(tap.addr);
        client.send(format!(
            "{method} http://{gone}/ HTTP/1.1\r\nHost: {gone}\r\nContent-Length: 0\r\n\r\n"
        ));
        client.response();
        // From another port each time.
        let mut client = Client::connect(tap.addr);
        client.send("GET /\0 HTTP/1.1\r\n\r\n");
        client.rest();
    }
    tap.err_line("failed GET ");
    tap.err_line("failed request from 127.0.0.1:");
    let stderr = tap.stop().stderr;
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains("failed ")).collect();
    assert_eq!(lines.len(), 4, "{stderr}");
    let counted = lines.iter().filter(|line| line.starts_with("3 times: failed ")).count();
    assert_eq!(counted, 2, "{stderr}");
}
