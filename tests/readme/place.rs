//! A root that holds one program, and a shell outside it that has the same network.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::network::DEADLINE;

/// The root, with `/flowtap`, `/tmp`, `/home` and `/home/work` in it, where `flowtap` of the shell
/// runs the program.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a command has come to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    /// Makes it.
    pub(crate) fn new(program: &Path) -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        for folder in ["tmp", "home/work", "etc"] {
            fs::create_dir_all(place.root().join(folder)).unwrap();
        }
        let own = place.root().join("flowtap");
        if fs::hard_link(program, &own).is_err() {
            fs::copy(program, &own).unwrap();
        }
        // Each word goes on as it came; nothing of the environment does.
        let shim = format!(
            "#!/bin/sh\nexec env -i HOME=/home unshare --root='{}' --wd=/home/work /flowtap \"$@\"\n",
            place.root().display()
        );
        let bin = place.folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("flowtap"), shim).unwrap();
        fs::set_permissions(bin.join("flowtap"), fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A file in the root, by its path there without the first slash.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Writes one.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// A file in the work folder.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.file("home/work").join(name)
    }

    /// The shell with a text to run. `~` and the work folder are those of the root.
    fn shell(&self, text: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.args(["-eu", "-c", text]).current_dir(self.file("home/work"));
        shell.env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()));
        shell.env("HOME", self.file("home")).stdin(Stdio::null()).process_group(0);
        for name in ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy"] {
            shell.env_remove(name).env_remove(name.to_uppercase());
        }
        shell
    }

    /// Types a text and waits for its end.
    pub(crate) fn run(&self, text: &str) -> Ended {
        self.start(text).wait()
    }

    /// Types a text, and does not wait.
    pub(crate) fn start(&self, text: &str) -> Running {
        let mut shell = self.shell(text);
        let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Running { child, stdout, stderr, said: String::new() }
    }
}

/// A command that goes on.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    said: String,
}

impl Running {
    /// Waits for a line on standard error that holds this.
    pub(crate) fn line(&mut self, part: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) => {
                    let is_it = line.contains(part);
                    self.said.push_str(&line);
                    if is_it {
                        return;
                    }
                }
                Err(error) => panic!("no line with {part:?}, {error}: {}", self.said),
            }
        }
    }

    /// Waits for a line on standard output that holds this, and gives all until then.
    pub(crate) fn output_line(&mut self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut all = String::new();
        while !all.contains(part) {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.stdout.recv_timeout(left);
            all.push_str(&line.unwrap_or_else(|error| panic!("no {part:?}, {error}: {all}")));
        }
        all
    }

    /// As a key of the terminal does, which the shell gets too.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// Presses Ctrl+C and waits for the end.
    pub(crate) fn interrupt(self) -> Ended {
        self.signal(Signal::INT);
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Ended {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                self.signal(Signal::KILL);
            }
            thread::park_timeout(Duration::from_millis(5));
        };
        let rest = |lines: &Receiver<String>| {
            let mut text = String::new();
            while let Ok(line) = lines.recv_timeout(DEADLINE) {
                text.push_str(&line);
            }
            text
        };
        let stdout = rest(&self.stdout);
        let stderr = std::mem::take(&mut self.said) + &rest(&self.stderr);
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::KILL);
        }
    }
}

/// Reads a stream line by line, on a thread.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}
