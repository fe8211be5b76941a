//! Plans: the steps that change a trust store, in words before they are done.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::CaCertificate;
use crate::tls::key_file::quoted;

/// Whether trust is given or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Given.
    Install,
    /// Taken back.
    Uninstall,
}

/// Whether a store trusts the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Trusted,
    /// It does not.
    Absent,
    /// That cannot be looked up, for this reason.
    Unknown(String),
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Whether it reads the certificate as PEM from its standard input.
    pub reads_certificate: bool,
}

impl CommandLine {
    /// A command that reads nothing.
    pub fn new<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> CommandLine {
        let arguments = arguments.into_iter().map(Into::into).collect();
        CommandLine { program: program.into(), arguments, reads_certificate: false }
    }

    /// The same, reading the certificate.
    pub fn reading_certificate(self) -> CommandLine {
        CommandLine { reads_certificate: true, ..self }
    }

    /// The line as a shell takes it.
    pub fn text(&self, ca: Option<&CaCertificate>) -> String {
        let mut text = quoted(&self.program);
        for argument in &self.arguments {
            // Writing to a String does not fail.
            let _ = write!(text, " {}", quoted(argument.as_ref()));
        }
        if self.reads_certificate {
            let file = ca.and_then(|ca| ca.file.as_deref()).map(quoted);
            let _ = write!(text, " < {}", file.unwrap_or_else(|| "THE-CERTIFICATE".to_owned()));
        }
        text
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes the certificate to a file that everybody may read.
    Write(PathBuf),
    /// Removes a file.
    Remove(PathBuf),
    /// Makes a folder for its owner alone.
    MakeFolder(PathBuf),
    /// Runs a command.
    Run(CommandLine),
}

impl Step {
    /// The step in words.
    pub fn text(&self, ca: &CaCertificate) -> String {
        match self {
            Step::Write(path) => format!("write  {}", quoted(path)),
            Step::Remove(path) => format!("remove {}", quoted(path)),
            Step::MakeFolder(path) => format!("make   {}", quoted(path)),
            Step::Run(command) => format!("run    {}", command.text(Some(ca))),
        }
    }
}

/// What is to be done to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How the store stands now.
    pub state: State,
    /// The steps, in order; none where there is nothing to do or nothing can be done.
    pub steps: Vec<Step>,
    /// Why nothing can be done, and what can be done instead.
    pub blocked: Option<String>,
    /// Whether the steps need root.
    pub needs_root: bool,
    /// What else is to be known.
    pub notes: Vec<String>,
}

impl Plan {
    /// A plan without steps.
    pub(super) fn nothing(state: State) -> Plan {
        Plan { state, steps: Vec::new(), blocked: None, needs_root: false, notes: Vec::new() }
    }

    /// A plan that cannot be.
    pub(super) fn blocked(state: State, why: impl Into<String>) -> Plan {
        Plan { blocked: Some(why.into()), ..Plan::nothing(state) }
    }
}

/// How a command ended.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Whether it says that all went well.
    pub success: bool,
    /// What it wrote to standard output.
    pub output: Vec<u8>,
    /// What it wrote to standard error.
    pub error: String,
}

/// What runs commands.
pub trait Runner {
    /// Runs a command to its end, with `input` on its standard input.
    ///
    /// # Errors
    /// When it cannot be started.
    fn run(&mut self, command: &CommandLine, input: &[u8]) -> io::Result<Ran>;
}

/// Runs commands of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRunner;

impl Runner for SystemRunner {
    fn run(&mut self, command: &CommandLine, input: &[u8]) -> io::Result<Ran> {
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            // What commands say is read here, in English.
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A certificate fits into a pipe. What does not want it has closed its end.
            let _ = stdin.write_all(input);
        }
        let output = child.wait_with_output()?;
        Ok(Ran {
            success: output.status.success(),
            output: output.stdout,
            error: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}
