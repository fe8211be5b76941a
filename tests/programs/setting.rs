//! What each test needs: a folder, an origin with a certificate, and flowtap between.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::bundle::Bundle;
use crate::process::{Process, run};

/// A folder with a certificate authority for origins, and a running flowtap that trusts it.
pub(crate) struct Setting {
    folder: TempDir,
    flowtap: Process,
    /// `http://127.0.0.1:PORT` of the proxy.
    pub(crate) proxy: String,
    /// Where its tools are served, as the start line has it.
    pub(crate) mcp: String,
    /// The certificate that clients are to trust.
    pub(crate) ca: PathBuf,
}

impl Setting {
    /// Starts flowtap on a free port, with a new CA and a bundle in a new folder.
    pub(crate) fn new() -> Setting {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let mut flowtap = Process::start(
            Command::new(env!("CARGO_BIN_EXE_flowtap"))
                .args(["proxy", "-p", "0", "--mcp-port", "0", "--app", "programs", "-o"])
                .arg(folder.path().join("capture.zip"))
                .arg("--confdir")
                .arg(folder.path().join("conf"))
                .current_dir(folder.path())
                .env("HOME", folder.path())
                .env("SSL_CERT_FILE", folder.path().join("origin-ca.pem"))
                .env_remove("SSL_CERT_DIR"),
            true,
        );
        let proxy = flowtap.line_after("proxy ");
        let mcp = flowtap.line_after("mcp ");
        flowtap.line_after("ca ");
        flowtap.line_after("output ");
        let ca = folder.path().join("conf/flowtap-ca-cert.pem");
        Setting { folder, flowtap, proxy, mcp, ca }
    }

    /// The folder of this test.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts an origin; its URL is `http://127.0.0.1:PORT` or `https://localhost:PORT`.
    pub(crate) fn origin(&self, tls: bool) -> Origin {
        Origin::start(self.path(), "origin.py", &[], tls)
    }

    /// Starts a server for the Git repositories below `folder`.
    pub(crate) fn git_origin(&self, folder: &Path, tls: bool) -> Origin {
        Origin::start(self.path(), "git_server.py", &[folder], tls)
    }

    /// Ends flowtap as Ctrl+C does and gives the folder with the bundle.
    pub(crate) fn stop(self) -> TempDir {
        self.flowtap.signal(Signal::INT);
        let (status, printed) = self.flowtap.wait();
        assert!(status.success(), "flowtap: {status}: {printed}");
        self.folder
    }

    /// Ends flowtap as Ctrl+C does and reads the bundle.
    pub(crate) fn finish(self) -> Bundle {
        let folder = self.stop();
        Bundle::read(&folder.path().join("capture.zip"))
    }
}

/// A running origin.
pub(crate) struct Origin {
    /// The process, which ends with its standard input.
    pub(crate) process: Process,
    /// Scheme, host and port.
    pub(crate) url: String,
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
}

impl Origin {
    /// Starts a server that is written in Python, with the certificates of `folder`.
    pub(crate) fn start(folder: &Path, script: &str, arguments: &[&Path], tls: bool) -> Origin {
        let mut command = python(script);
        command.args(arguments);
        if tls {
            command.args([folder.join("origin.pem"), folder.join("origin-key.pem")]);
        }
        let mut process = Process::start(&mut command, false);
        let port = process.line_after("port ").parse().expect("a port");
        let url = match tls {
            false => format!("http://127.0.0.1:{port}"),
            true => format!("https://localhost:{port}"),
        };
        Origin { process, url, port }
    }
}

/// The folder of this crate's test programs.
pub(crate) fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs")
}

/// Where `tests/run.sh` installs Python and Node packages.
pub(crate) fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools")
}

/// A Python script of this folder, to be run with the packages it needs.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(tools().join("venv/bin/python"));
    command.arg(programs().join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A Node script of this folder, to be run with the packages it needs.
pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(programs().join(script)).env("NODE_PATH", tools().join("node/node_modules"));
    command
}

/// Makes `origin-ca.pem` and, signed by it, `origin.pem` with `origin-key.pem` for `localhost`
/// and 127.0.0.1.
pub(crate) fn make_certificates(folder: &Path) {
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    run(Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-days", "2", "-subj", "/CN=origin CA"])
        .args(new_key)
        .args(["-keyout", "origin-ca-key.pem", "-out", "origin-ca.pem"]));
    run(Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-new", "-subj", "/CN=localhost"])
        .args(new_key)
        .args(["-keyout", "origin-key.pem", "-out", "origin.csr"]));
    fs::write(
        folder.join("origin.ext"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
    )
    .unwrap();
    run(Command::new("openssl")
        .current_dir(folder)
        .args(["x509", "-req", "-days", "2", "-in", "origin.csr", "-extfile", "origin.ext"])
        .args(["-CA", "origin-ca.pem", "-CAkey", "origin-ca-key.pem", "-set_serial", "1"])
        .args(["-out", "origin.pem"]));
}
