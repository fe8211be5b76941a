//! A network that holds nothing but loopback, with all ports free.

use std::env;
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use crate::program;

/// How long anything may take: building the program is not in it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Set inside.
const INSIDE: &str = "FLOWTAP_README_NETWORK";

/// Runs the rest of a test in a network, a table of processes and of mounts of its own, by
/// starting the test again there. All that it has started ends with it.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--", "sh", "-c"]);
    command.arg("ip link set lo up && exec \"$0\" \"$@\"").arg(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).stdin(Stdio::null());
    command.env(INSIDE, "1").env(program::PROGRAM, program::build());
    command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("unshare: {error}"));
    let end = Instant::now() + 2 * DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
        }
        thread::park_timeout(Duration::from_millis(20));
    };
    let mut said = String::new();
    File::open(log.path()).unwrap().read_to_string(&mut said).unwrap();
    // Without this line it has not come as far as the test.
    let needs = "it needs root or user namespaces, unshare and ip (tests/run.sh --setup-only)";
    assert!(said.contains("running 1 test"), "no network of its own can be made; {needs}: {said}");
    assert!(status.success(), "{status}: {said}");
}
