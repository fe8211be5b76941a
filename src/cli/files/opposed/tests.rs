//! Every default of a file beside every command line.

use std::ffi::OsString;
use std::path::Path;

use super::super::{Given, Origin, Value, keys, levels_of, settle};
use crate::cli::flags::{Command, Flag, Id, Request, parse};
use crate::cli::settings;
use crate::error::Result;

/// The commands that take defaults, with the arguments that make a line of each right.
const LINES: &[(Command, &[&str])] = &[
    (Command::Proxy, &["proxy"]),
    (Command::Run, &["run true"]),
    (Command::Mcp, &["mcp"]),
    (Command::Discover, &["discover"]),
    (Command::Inspect, &["inspect x.zip", "inspect x.zip ~q"]),
    (Command::Check, &["check x.zip"]),
    (Command::Export, &["export x.zip"]),
    (Command::Recover, &["recover x.zip"]),
    (Command::Ca, &["ca"]),
    (Command::CaInstall, &["ca install"]),
    (Command::CaUninstall, &["ca uninstall"]),
    (Command::CaExport, &["ca export"]),
    (Command::CaCheck, &["ca check", "ca check a.example"]),
];

/// Values that a flag takes; one that is empty for a switch.
fn samples(flag: &Flag) -> &'static [&'static str] {
    match flag.id {
        _ if flag.value.is_empty() => &[""],
        Id::Port => &["0", "8081"],
        Id::McpPort => &["0", "9012"],
        Id::Listen => &["127.0.0.2"],
        Id::Domain | Id::Exclude => &["a.example"],
        Id::App | Id::McpToken | Id::Password => &["name"],
        Id::Output => &["out.zip"],
        Id::Confdir | Id::JavaHome => &["/c"],
        Id::Ca | Id::UpstreamCa => &["/c/ca.pem"],
        Id::Upstream => &["none", "http://127.0.0.1:9"],
        Id::NoUpstream => &["*"],
        Id::CaptureBodyLimit => &["1m"],
        Id::BundleTraces | Id::MaxFlows | Id::Loops | Id::Limit => &["1"],
        Id::Set => &["flow_detail=0"],
        Id::Color => &["never"],
        Id::Trace => &["t_0001", "2:ws_0001"],
        Id::Body => &["request"],
        Id::Sort => &["size"],
        Id::Columns => &["id,url"],
        Id::Har | Id::JsonLines | Id::OpenApi | Id::Html | Id::Curl | Id::Junit => &["-"],
        Id::Filter | Id::FailOn | Id::Require => &["~all"],
        Id::Format => &["pem", "p12"],
        Id::Proxy => &["127.0.0.1:9"],
        other => panic!("no sample of {other:?}"),
    }
}

/// The flags of a command with their samples, as words of a line and as lines of a file.
fn choices(command: Command) -> Vec<(String, String)> {
    let told = command.flags().filter(|flag| ![Id::Config, Id::NoConfig].contains(&flag.id));
    let choice = |flag: &'static Flag| {
        let long = flag.long;
        samples(flag).iter().map(move |sample| match flag.value {
            "" => (format!(" --{long}"), format!("{long} = true\n")),
            _ => (format!(" --{long}={sample}"), format!("{long} = \"{sample}\"\n")),
        })
    };
    told.flat_map(choice).collect()
}

fn line_of(text: &str) -> (Vec<Value>, Vec<OsString>) {
    match parse(text.split_whitespace().map(OsString::from)) {
        Ok(Request::Run { flags, arguments, .. }) => {
            let value = |(id, value)| Value { id, value, origin: Origin::Flag };
            (flags.into_iter().map(value).collect(), arguments)
        }
        other => panic!("{text}: {other:?}"),
    }
}

/// Settles a line with the texts of files, the weakest first.
fn given(command: Command, files: &[&str], line: &str) -> Given {
    let (flags, arguments) = line_of(line);
    let levels = files
        .iter()
        .flat_map(|text| levels_of(command, Path::new("f.toml"), &keys::read(text).unwrap()));
    settle(command, levels.collect(), flags, arguments, Vec::new())
}

fn is_right(command: Command, files: &[&str], line: &str) -> Result<()> {
    given(command, files, line).read(|flags, arguments| settings::judge(command, flags, arguments))
}

/// The lines of a command that are right by themselves, with up to one more flag, or with two
/// where it needs the second.
fn right_lines(command: Command, start: &str) -> Vec<String> {
    let longer = |line: &str| -> Vec<String> {
        choices(command).iter().map(|(words, _)| format!("{line}{words}")).collect()
    };
    let (mut right, wrong): (Vec<_>, Vec<_>) =
        longer(start).into_iter().partition(|line| is_right(command, &[], line).is_ok());
    right.push(start.to_owned());
    right.extend(wrong.iter().flat_map(|line| longer(line)));
    right.retain(|line| is_right(command, &[], line).is_ok());
    right
}

#[test]
fn every_command_that_takes_defaults_is_tried() {
    let takes_defaults = |command: &&Command| command.flags().any(|flag| flag.id == Id::NoConfig);
    for command in Command::ALL.iter().filter(takes_defaults) {
        let is_tried = LINES.iter().any(|(tried, _)| tried == command);
        assert!(is_tried || *command == Command::Config, "{command:?}");
    }
}

#[test]
fn no_default_makes_a_line_fail_that_is_right_by_itself() {
    let mut failures = Vec::new();
    for (command, starts) in LINES {
        for line in starts.iter().flat_map(|start| right_lines(*command, start)) {
            for (_, text) in choices(*command) {
                if let Err(error) = is_right(*command, &[&text], &line) {
                    failures.push(format!("{text} flowtap {line}: {error}"));
                }
            }
        }
    }
    assert_eq!(failures, [""; 0], "{} lines fail", failures.len());
}

#[test]
fn no_two_defaults_of_different_places_do_so_either() {
    let mut failures = Vec::new();
    for (command, starts) in LINES {
        let is_right_alone = |start: &&&str| is_right(*command, &[], start).is_ok();
        for start in starts.iter().filter(is_right_alone) {
            // Only those which are not right beside each other can make anything fail.
            let choices = choices(*command);
            let contradicts = |(words, _): &&(String, String)| {
                let line = |(more, _): &(String, String)| format!("{start}{words}{more}");
                choices.iter().any(|more| is_right(*command, &[], &line(more)).is_err())
            };
            let touchy: Vec<_> = choices.iter().filter(contradicts).collect();
            for (_, weak) in &touchy {
                for (_, strong) in &touchy {
                    if let Err(error) = is_right(*command, &[weak, strong], start) {
                        failures.push(format!("{weak}{strong} flowtap {start}: {error}"));
                    }
                }
            }
        }
    }
    assert_eq!(failures, [""; 0], "{} lines fail", failures.len());
}

#[test]
fn what_is_wrong_by_itself_stays_wrong() {
    let command = |line: &str| match line.split_whitespace().next().unwrap() {
        "run" => Command::Run,
        "export" => Command::Export,
        "ca" => Command::CaExport,
        _ => Command::Inspect,
    };
    for (line, text) in [
        ("run --github true", "junit = \"-\""),
        ("run --no-output --fail-on ~q true", "require = \"~q\""),
        ("inspect x.zip --trace t_0001 --limit 1", "sort = \"size\""),
        ("inspect x.zip ~q --trace t_0001", "trace = \"t_0002\""),
        ("inspect x.zip --json --curl", "json = true"),
        ("inspect x.zip --body request", "json = true"),
        ("inspect x.zip --body request --sort size", "trace = \"t_0001\""),
        ("export x.zip --har - --jsonl -", "html = \"-\""),
        ("ca export --password name", "format = \"pem\""),
        // A file that contradicts itself is wrong, too.
        ("run true", "fail-on = \"~q\"\nno-output = true"),
        ("inspect x.zip", "json = true\ncurl = true"),
        ("export x.zip", "har = \"-\"\nhtml = \"-\""),
    ] {
        let error = is_right(command(line), &[text], line).unwrap_err();
        assert!(error.is_usage(), "{text} flowtap {line}: {error}");
    }
    // What goes on without an error has to be what was asked for.
    let form = |texts: &[&str], line: &str| {
        given(Command::Inspect, texts, line).read(settings::inspect).unwrap()
    };
    let body = form(&["body = \"request\"\njson = true"], "inspect x.zip --trace t_0001");
    assert!(body.body.is_some() && body.trace.is_some());
    let json = form(&["body = \"request\""], "inspect x.zip --trace t_0001 --json");
    assert_eq!((json.body, json.form), (None, settings::InspectForm::Json));
    let list = form(&["trace = \"t_0001\"\nlimit = 5"], "inspect x.zip --reverse");
    assert_eq!((list.trace, list.limit), (None, 5));
    let one = form(&["json = true", "trace = \"t_0001\"\nlimit = 5"], "inspect x.zip");
    assert_eq!((one.trace.as_deref(), one.form), (Some("t_0001"), settings::InspectForm::Json));
}

#[test]
fn a_program_is_run_where_a_browser_is_the_default() {
    let browser = "browser = true";
    for (line, is_browser) in [
        ("run", true),
        ("run https://a.example/", true),
        ("run chromium https://a.example/", true),
        ("run /bin/sh -c true", false),
        ("run --browser /bin/sh", true),
    ] {
        let run = given(Command::Run, &[browser], line).read(settings::run).unwrap();
        assert_eq!(run.browser, is_browser, "{line}");
    }
}
