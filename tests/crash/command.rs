//! What `flowtap recover` and the next `flowtap proxy` say.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use rustix::process::Signal;

use crate::support::bundle::Bundle;
use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::origin::Origin;
use crate::support::{DEADLINE, get};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Said {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let Output { status, stdout, stderr } = output;
    Said { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Runs `flowtap` in a folder.
fn flowtap(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
    said(command.current_dir(folder).args(arguments).output().unwrap())
}

/// Runs `flowtap recover` in a folder.
fn recover(folder: &Path, arguments: &[&str]) -> Said {
    flowtap(folder, &[&["recover"], arguments].concat())
}

/// The commands that read this bundle.
fn readers(bundle: &str) -> [Vec<&str>; 3] {
    let har = vec!["export", bundle, "--har", "-"];
    [vec!["inspect", bundle], vec!["check", bundle, "--fail-on", "~e"], har]
}

/// Kills a proxy as soon as the journal has this request; it keeps its folder.
fn kill_behind(tap: &mut Flowtap, path: &str) {
    let segment = tap.folder().join("capture.zip.journal/segment-0001.flj");
    let wanted = format!("{path} HTTP/1.1");
    let end = Instant::now() + DEADLINE;
    let holds = |held: Vec<u8>| held.windows(wanted.len()).any(|part| part == wanted.as_bytes());
    while !fs::read(&segment).is_ok_and(holds) {
        assert!(Instant::now() < end, "{path} is not written");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    tap.signal(Signal::KILL);
    assert!(!tap.keep_until_its_end().status.success());
}

/// A proxy that captured one exchange.
fn living() -> Flowtap {
    let origin = Origin::answers(OK);
    let tap = Setup::proxy().start();
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/one"));
    assert_eq!(client.response().1, b"ok");
    tap
}

/// A proxy that was killed when it had captured one exchange.
fn killed() -> Flowtap {
    let mut tap = living();
    kill_behind(&mut tap, "/one");
    tap
}

#[test]
fn the_paths_are_the_result_and_the_words_are_beside_them() {
    let tap = killed();
    let folder = tap.folder();
    let ran = recover(folder, &["capture.zip"]);
    assert_eq!((ran.status, ran.stdout.trim()), (Some(0), "capture.zip"), "{}", ran.stderr);
    let expected = "recovered capture.zip.journal: 1 trace, 0 WebSocket connections, 0 messages\n";
    assert_eq!(ran.stderr, expected);
    Bundle::read(&folder.join("capture.zip")).trace_of("/one");
    assert!(!folder.join("capture.zip.journal").exists());
    let again = recover(folder, &["capture.zip"]);
    assert_eq!((again.status, again.stdout.as_str()), (Some(1), ""));
    assert!(again.stderr.contains("nothing to recover for capture.zip"), "{}", again.stderr);
}

#[test]
fn the_next_proxy_names_the_command_and_the_command_works_meanwhile() {
    let first = killed();
    let output = first.folder().join("capture.zip");
    let conf = first.folder().join("conf");
    let arguments = ["-o".as_ref(), output.as_os_str(), "--confdir".as_ref(), conf.as_os_str()];
    let mut second = Setup::proxy().args(arguments).start();
    let line = second.err_line("warning: an unfinished capture");
    let command = format!("flowtap recover {}", output.display());
    assert!(line.ends_with(&command), "{line}");
    // Of two journals one is left alone, since its capture runs.
    let ran = recover(first.folder(), &[output.to_str().unwrap()]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let kept = first.folder().join("capture-recovered.zip");
    assert_eq!(ran.stdout.trim(), kept.to_str().unwrap());
    assert!(ran.stderr.contains("capture.zip.journal-2 is left alone"), "{}", ran.stderr);
    Bundle::read(&kept).trace_of("/one");
    let again = recover(first.folder(), &[output.to_str().unwrap()]);
    assert_eq!((again.status, again.stdout.as_str()), (Some(1), ""));
    assert!(again.stderr.contains("is still running"), "{}", again.stderr);
    second.signal(Signal::INT);
    assert!(second.keep_until_its_end().status.success());
    assert_eq!(Bundle::read(&output).traces().len(), 0);
}

#[test]
fn who_looks_for_a_bundle_whose_capture_has_not_ended_is_told_the_way_to_it() {
    let refused = |folder: &Path, bundle: &str, way: &str| {
        for words in readers(bundle) {
            let ran = flowtap(folder, &words);
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{words:?}");
            let told = ran.stderr.trim_end();
            assert!(told.starts_with(&format!("flowtap: cannot read {bundle}: ")), "{told}");
            assert!(told.ends_with(way) && told.lines().count() == 1, "{words:?}: {told}");
        }
    };
    let mut lives = living();
    let way = "its capture is still running, or is being recovered: the bundle is there when the \
               flowtap that writes it has ended";
    refused(lives.folder(), "capture.zip", way);
    refused(lives.folder(), "capture.zip.journal", way);
    kill_behind(&mut lives, "/one");
    let folder = lives.folder();
    let recovering = "this makes a bundle of it: flowtap recover capture.zip";
    let left = format!("an unfinished capture is in capture.zip.journal, and {recovering}");
    refused(folder, "capture.zip", &left);
    let journal = format!("it is the journal of an unfinished capture, and {recovering}");
    refused(folder, "capture.zip.journal", &journal);
    refused(folder, "other.zip", "No such file or directory (os error 2)");
    refused(folder, "conf", "it is not a regular file");
    fs::rename(folder.join("capture.zip.journal"), folder.join("it's.zip.journal-2")).unwrap();
    refused(
        folder,
        "it's.zip",
        r"journal-2, and this makes a bundle of it: flowtap recover 'it'\''s.zip'",
    );
    assert_eq!(recover(folder, &["it's.zip"]).status, Some(0));
    assert_eq!(flowtap(folder, &["inspect", "it's.zip"]).status, Some(0));
}

#[test]
fn a_folder_that_does_not_tell_its_output_needs_one() {
    let tap = killed();
    let folder = tap.folder();
    fs::rename(folder.join("capture.zip.journal"), folder.join("saved")).unwrap();
    let ran = recover(folder, &["saved"]);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("-o FILE"), "{}", ran.stderr);
    let ran = recover(folder, &["saved", "-o", "mine.zip"]);
    assert_eq!((ran.status, ran.stdout.trim()), (Some(0), "mine.zip"), "{}", ran.stderr);
    Bundle::read(&folder.join("mine.zip")).trace_of("/one");
    assert!(!folder.join("saved").exists());
}

#[test]
fn on_a_full_disk_nothing_is_lost_and_the_same_command_goes_on() {
    let tap = killed();
    let folder = tap.folder();
    let body = folder.join("capture.zip.journal/flow-90-response.body");
    fs::write(&body, vec![1; 2_000_000]).unwrap();
    let segment = folder.join("capture.zip.journal/segment-0001.flj");
    let before = fs::read(&segment).unwrap();
    // A limit on the size of files ends writes as a full disk does.
    let script = "ulimit -c 0; ulimit -f 0; exec \"$0\" recover capture.zip";
    let mut shell = Command::new("sh");
    shell.current_dir(folder).args(["-c", script]).arg(env!("CARGO_BIN_EXE_flowtap"));
    let ran = said(shell.output().unwrap());
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("the same command goes on with it"), "{}", ran.stderr);
    assert!(fs::read(&segment).unwrap() == before && body.exists());
    assert!(!folder.join("capture.zip").exists());
    let ran = recover(folder, &["capture.zip"]);
    assert_eq!((ran.status, ran.stdout.trim()), (Some(0), "capture.zip"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 flow was under way"), "{}", ran.stderr);
    Bundle::read(&folder.join("capture.zip")).trace_of("/one");
}

/// Runs flowtap in a folder, its results to where nobody takes them.
#[cfg(target_os = "linux")]
fn unheard(folder: &Path, arguments: &[&str], stdout: impl Into<std::process::Stdio>) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
    command.current_dir(folder).args(arguments).stdout(stdout);
    command.stderr(std::process::Stdio::piped());
    said(command.spawn().unwrap().wait_with_output().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_is_lost_is_a_failure_and_a_reader_that_has_gone_is_none() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let closed = || std::io::pipe().unwrap().1;
    let [tap, other] = [killed(), killed()];
    let ran = unheard(tap.folder(), &["recover", "capture.zip"], full());
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot write the output: "), "{}", ran.stderr);
    assert!(ran.stderr.trim().ends_with("; the bundle is capture.zip"), "{}", ran.stderr);
    Bundle::read(&tap.folder().join("capture.zip")).trace_of("/one");
    let ran = unheard(other.folder(), &["recover", "capture.zip"], closed());
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let commands: [&[&str]; 4] = [
        &["--version"],
        &["recover", "--help"],
        &["inspect", "capture.zip"],
        &["export", "capture.zip", "--har", "-"],
    ];
    for arguments in commands {
        let ran = unheard(tap.folder(), arguments, full());
        assert_eq!(ran.status, Some(1), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("cannot write the "), "{arguments:?}: {}", ran.stderr);
        let ran = unheard(tap.folder(), arguments, closed());
        assert_eq!(ran.status, Some(0), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_folder_is_no_place_for_a_bundle() {
    let tap = killed();
    let folder = tap.folder();
    fs::create_dir(folder.join("mine")).unwrap();
    let before = fs::read_dir(folder).unwrap().count();
    let ran = recover(folder, &["capture.zip", "-o", "mine"]);
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);
    let refusal = "mine: it is not a regular file; choose another file with --output\n";
    assert!(ran.stderr.ends_with(refusal), "{}", ran.stderr);
    assert_eq!(fs::read_dir(folder).unwrap().count(), before);
    assert_eq!(recover(folder, &["capture.zip"]).status, Some(0));
}

#[test]
fn a_journal_that_is_not_there_is_named_as_it_was_given() {
    let tap = killed();
    let folder = tap.folder();
    assert_eq!(recover(folder, &["capture.zip.journal"]).status, Some(0));
    let ran = recover(folder, &["capture.zip.journal"]);
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);
    assert_eq!(ran.stderr, "flowtap: cannot recover capture.zip.journal: it is not there\n");
}
