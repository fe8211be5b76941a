//! Programs that know of no proxy and no certificate authority, under `flowtap run`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::bundle::Bundle;
use crate::chromium::chromium_name;
use crate::process::{Process, output, run};
use crate::setting::{Origin, make_certificates, programs, python, tools};

/// A folder with certificates for origins, where programs are run.
pub(crate) struct Running {
    folder: TempDir,
}

impl Running {
    pub(crate) fn new() -> Running {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        fs::create_dir(folder.path().join(TMP)).unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        Running { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn origin(&self, tls: bool) -> Origin {
        Origin::start(self.path(), "origin.py", &[], tls)
    }

    /// `flowtap run` with these words after it, as a user would have it whose machine trusts the
    /// origins, and whose environment has other plans for traffic and trust.
    pub(crate) fn flowtap(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
        command
            .args(["run", "--app", "programs", "--mcp-port", "0", "--confdir"])
            .arg(self.path().join("conf"));
        command.args(words).current_dir(self.path());
        command.env("HOME", self.path().join("home"));
        command.env("TMPDIR", self.path().join(TMP));
        command.env("SSL_CERT_FILE", self.path().join("origin-ca.pem")).env_remove("SSL_CERT_DIR");
        command.env("NO_PROXY", "localhost,127.0.0.1").env("no_proxy", "localhost,127.0.0.1");
        command.env("CURL_CA_BUNDLE", "/nowhere").env("REQUESTS_CA_BUNDLE", "/nowhere");
        command.env_remove("JAVA_TOOL_OPTIONS").env_remove("NODE_OPTIONS");
        command
    }

    /// Runs a program to its end, which must be a success.
    pub(crate) fn run(&self, words: &[impl AsRef<OsStr>]) -> Vec<u8> {
        run(&mut self.flowtap(words))
    }

    pub(crate) fn output(&self, words: &[impl AsRef<OsStr>]) -> Output {
        output(&mut self.flowtap(words))
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::read(&self.path().join("capture.zip"))
    }

    /// What is left of the temporary folder's content.
    pub(crate) fn left(&self) -> Vec<String> {
        self.names(TMP)
    }

    /// The names in a folder of this one.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(folder)).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs a program with the URLs of two origins after its words; each has to show up in the
    /// bundle with these queries.
    pub(crate) fn asks(&self, words: &[&OsStr], queries: &[&str]) -> Vec<u8> {
        let origins = [self.origin(false), self.origin(true)];
        let urls: Vec<_> = origins.iter().map(|origin| OsStr::new(&origin.url)).collect();
        let printed = self.run(&[words, &urls].concat());
        let bundle = self.bundle();
        for origin in &origins {
            for query in queries {
                let trace = bundle.trace("GET", &format!("{}/text?by={query}", origin.url));
                assert_eq!((trace.status(), &trace.response[..]), (&200.into(), &b"a text\n"[..]));
            }
        }
        printed
    }
}

/// The temporary folder; some variables hold options beside its name, parted by blanks, and quotes
/// for it. A browser makes sockets there, whose paths must not be long.
const TMP: &str = r#"a "b" \c's $HOME"#;

/// Words of a command line.
pub(crate) fn words(line: &str) -> Vec<&OsStr> {
    line.split_whitespace().map(OsStr::new).collect()
}

#[test]
fn curl_and_wget_need_no_options() {
    let running = Running::new();
    let origins = [running.origin(false), running.origin(true)];
    for origin in &origins {
        let url = format!("{}/text", origin.url);
        // A proxy of wget's settings would come before that of the environment.
        let settings = "http_proxy = http://127.0.0.1:1\nhttps_proxy = http://127.0.0.1:1";
        fs::write(running.path().join("home/.wgetrc"), settings).unwrap();
        for program in ["curl -sSf", "wget -qO-"] {
            let printed = running.run(&words(&format!("-q -- {program} {url}")));
            assert_eq!(printed, b"a text\n", "{program}");
            assert_eq!(running.bundle().trace("GET", &url).response, b"a text\n", "{program}");
        }
    }
}

#[test]
fn credentials_that_the_proxy_asks_for_are_known() {
    let running = Running::new();
    let origin = running.origin(true);
    let script = "curl -sSf \"$0/text\" && node \"$1\" \"$0\"";
    let node = programs().join("with_run.cjs");
    let credentials = ["-q", "--set", "proxyauth=user:p@ss:word", "--", "sh", "-c", script];
    let words = credentials.iter().map(OsStr::new);
    let words: Vec<_> = words.chain([origin.url.as_ref(), node.as_os_str()]).collect();
    assert_eq!(running.run(&words), b"a text\n");
    let traces = running.bundle().traces("GET", &format!("{}/text", origin.url)).len();
    assert_eq!(traces, 1);
}

#[test]
fn python_needs_no_options() {
    let script = programs().join("with_run.py");
    let python = tools().join("venv/bin/python");
    let words = ["--".as_ref(), python.as_os_str(), script.as_os_str()];
    Running::new().asks(&words, &["requests", "httpx", "urllib"]);
}

#[test]
fn older_and_newer_nodes_need_no_options() {
    let script = programs().join("with_run.cjs");
    for node in [PathBuf::from("node"), tools().join("newer-node")] {
        let words = ["--".as_ref(), node.as_os_str(), script.as_os_str()];
        Running::new().asks(&words, &["fetch", "request", "agent1", "agent2"]);
    }
}

#[test]
fn servers_that_are_passed_through_are_trusted_by_the_upstream_roots() {
    let running = Running::new();
    let origin = running.origin(true);
    let url = format!("{}/text", origin.url);
    let python = tools().join("venv/bin/python");
    let requests = "import requests, sys; print(requests.get(sys.argv[1]).text, end='')";
    let fetch = "fetch(process.argv[1]).then(answer => answer.text())
        .then(text => process.stdout.write(text), error => { throw error.cause; })";
    for program in [
        &["curl", "-sSf"].map(OsStr::new)[..],
        &[python.as_os_str(), "-c".as_ref(), requests.as_ref()],
        &["node", "-e", fetch].map(OsStr::new),
    ] {
        let flags = "-q -e localhost -e 127.0.0.1 --upstream-ca origin-ca.pem --";
        let words = [&words(flags)[..], program, &[url.as_ref()]].concat();
        let printed = run(running.flowtap(&words).env_remove("SSL_CERT_FILE"));
        assert_eq!(printed, b"a text\n", "{program:?}");
        assert!(running.bundle().urls().is_empty(), "it was not passed through");
    }
    // Who is told of the CA is told of nothing else.
    let count = "grep -c BEGIN \"$NODE_EXTRA_CA_CERTS\" \"$FLOWTAP_CA\" | sed 's/.*://'";
    let flags = ["-q", "--upstream-ca", "origin-ca.pem", "--", "sh", "-c", count];
    let printed = run(running.flowtap(&flags).env_remove("NODE_EXTRA_CA_CERTS"));
    assert_eq!(printed, b"2\n1\n");
}

/// What the script that Node loads connects to and sends, or the error that the program gets; the
/// socket is made up.
fn told_by_node(proxy: &str, request: &str) -> String {
    let script = format!(
        "setTimeout(process.exit, 20000, 3);
        require('node:net').connect = (port, host) => ({{
          on() {{ return this; }},
          write(text) {{ console.log(host, port, JSON.stringify(text)); process.exit(); }},
        }});
        require('node:http').get({request}).on('error', error => {{
          console.log(error.message);
          process.exit();
        }});"
    );
    let loaded = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/run/node/proxy.cjs");
    let mut node = Command::new("node");
    node.env("FLOWTAP_PROXY", proxy).env_remove("NODE_OPTIONS").arg("--require").arg(loaded);
    String::from_utf8(node.args(["-e", &script]).output().unwrap().stdout).unwrap()
}

#[test]
fn node_reaches_a_proxy_on_the_port_that_its_url_leaves_out() {
    let told = told_by_node("http://127.0.0.1:80", "'http://a.example/'");
    assert!(told.starts_with("127.0.0.1 80 \"CONNECT a.example:80 "), "{told}");
    let told = told_by_node("http://[::1]:8081", "'http://[::2]:81/'");
    assert!(told.starts_with("::1 8081 \"CONNECT [::2]:81 "), "{told}");
}

#[test]
fn no_host_that_a_node_program_asks_for_ends_the_line_of_connect() {
    for request in [
        r"{ host: 'a\r\nX: y', setHost: false }",
        r"{ host: 'a b', setHost: false }",
        r"{ host: 'a', port: '80\r\nX: y', setHost: false }",
    ] {
        let told = told_by_node("http://127.0.0.1:81", request);
        assert!(told.contains("no host and port"), "{request}: {told}");
    }
}

#[test]
fn java_needs_no_options() {
    let script = programs().join("WithRun.java");
    let words = ["--".as_ref(), "java".as_ref(), script.as_os_str()];
    let printed = Running::new().asks(&words, &["URL", "HttpClient"]);
    // The CA and that of the origins, however the store is opened.
    assert_eq!(String::from_utf8_lossy(&printed), "roots 2\n".repeat(4));
}

#[test]
fn git_needs_no_options() {
    let running = Running::new();
    let served = running.path().join("served");
    let git = |folder: &Path, line: &str| {
        let mut command = Command::new("git");
        command.args(words(line)).current_dir(folder).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        run(&mut command)
    };
    fs::create_dir(&served).unwrap();
    git(&served, "init --quiet work");
    let identity = "-c user.name=T -c user.email=t@example.com";
    git(&served.join("work"), &format!("{identity} commit --quiet --allow-empty -m First"));
    git(&served, "clone --quiet --bare work it.git");
    let origin = Origin::start(running.path(), "git_server.py", &[&served], true);
    // The user's own plans for git do not count.
    fs::write(running.path().join("home/.gitconfig"), "[http]\n\tproxy = http://nowhere:1\n")
        .unwrap();
    running.run(&words(&format!("-- git clone --quiet {}/it.git cloned", origin.url)));
    assert!(git(&running.path().join("cloned"), "log --oneline").ends_with(b" First\n"));
    let refs = format!("{}/it.git/info/refs?service=git-upload-pack", origin.url);
    assert_eq!(*running.bundle().trace("GET", &refs).status(), 200);
}

#[test]
fn chromium_trusts_the_key_and_takes_no_way_around() {
    let running = Running::new();
    let mut origin = running.origin(true);
    let mut command = running.flowtap(&["--browser", chromium_name()]);
    command
        .arg(format!("{}/page", origin.url))
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        // What the browser asks of its maker goes nowhere.
        .arg("--proxy-bypass-list=<-loopback>;*.google.com;*.googleapis.com;*.gstatic.com")
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .stdout(Stdio::null());
    let flowtap = Process::start(&mut command, true);
    assert_eq!(origin.process.line_after("done "), "ok");
    // It is passed on to the browser, which ends.
    flowtap.signal(Signal::TERM);
    let (status, printed) = flowtap.wait();
    assert!(status.code().is_some(), "{status}: {printed}");
    let bundle = running.bundle();
    let page = bundle.trace("GET", &format!("{}/page", origin.url));
    assert!(page.response.starts_with(b"<!doctype html>"));
    assert_eq!(bundle.trace("POST", &format!("{}/echo", origin.url)).request, b"from the page");
    assert!(running.left().is_empty(), "{:?}", running.left());
}

#[test]
fn a_browser_that_is_not_there_is_told() {
    let running = Running::new();
    let mut command = running.flowtap(&["--browser", "brave", "https://localhost:1/"]);
    let output = output(command.env("PATH", running.path()));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("flowtap: there is no brave here: install Chromium"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_firefox_gets_proxy_and_ca_in_a_profile_of_its_own() {
    let running = Running::new();
    let bin = running.path().join("bin");
    fs::create_dir(&bin).unwrap();
    // In the place of both programs: they tell what they were given.
    for (name, script) in [
        (
            "certutil",
            "printf '%s\\n' \"$*\" >>log; for last; do :; done; printf '%s\\n' \"$last\" >>log\n",
        ),
        (
            "firefox",
            "printf '%s\\n' \"$*\" >>log; cat \"$3/user.js\" >>log; stat -c %a \"$3\" >>log\n",
        ),
    ] {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut path = bin.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let words = ["--browser", "firefox", "https://a.example/", "--headless"];
    run(running.flowtap(&words).env("PATH", path));
    let log = fs::read_to_string(running.path().join("log")).unwrap();
    assert!(log.starts_with("-N --empty-password -d sql:"), "{log}");
    for told in [
        "-A -t C,, -n flowtap -i ",
        "/profile https://a.example/ --headless\n",
        "user_pref(\"network.proxy.ssl\", \"127.0.0.1\");",
        "user_pref(\"network.proxy.allow_hijacking_localhost\", true);",
        "user_pref(\"network.proxy.type\", 1);",
        "\n700\n",
    ] {
        assert!(log.contains(told), "no {told}: {log}");
    }
}

/// Not a test of flowtap: the script has to fail where there is no proxy, or it proves nothing.
#[test]
fn without_flowtap_the_script_does_not_trust_the_origin() {
    let running = Running::new();
    let origin = running.origin(true);
    let output = output(python("with_run.py").arg(&origin.url).env_remove("SSL_CERT_FILE"));
    assert!(!output.status.success());
}
