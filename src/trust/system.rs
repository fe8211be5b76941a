//! The trust store of the system.

use std::path::{Path, PathBuf};

use super::machine::entries;
use super::{CaCertificate, CommandLine, Direction, Machine, Os, Plan, Runner, State, Step};
use crate::tls::facts::hex;

/// The system's store.
#[derive(Debug)]
pub struct System(Kind);

#[derive(Debug)]
enum Kind {
    Anchors(Anchors),
    MacOs { security: PathBuf },
    Windows { certutil: PathBuf, for_all: bool },
    Missing(String),
}

/// A folder of trusted certificates, and what makes a bundle of it.
#[derive(Debug)]
struct Anchors {
    name: &'static str,
    folder: PathBuf,
    /// Run after a file was written.
    update: CommandLine,
    /// Run after a file was removed.
    forget: CommandLine,
    bundles: Vec<PathBuf>,
}

/// How a family of systems keeps its anchors.
struct Family {
    name: &'static str,
    /// A file or folder that only this family has.
    sign: &'static str,
    folder: &'static str,
    command: &'static str,
    update: &'static [&'static str],
    forget: &'static [&'static str],
}

/// The first whose sign and command are there is taken.
const FAMILIES: &[Family] = &[
    Family {
        name: "openSUSE",
        sign: "/etc/pki/trust/anchors",
        folder: "/etc/pki/trust/anchors",
        command: "update-ca-certificates",
        update: &[],
        forget: &[],
    },
    Family {
        name: "Fedora, RHEL",
        sign: "/etc/pki/ca-trust/source/anchors",
        folder: "/etc/pki/ca-trust/source/anchors",
        command: "update-ca-trust",
        update: &["extract"],
        forget: &["extract"],
    },
    Family {
        name: "Arch",
        sign: "/etc/ca-certificates/trust-source/anchors",
        folder: "/etc/ca-certificates/trust-source/anchors",
        command: "update-ca-trust",
        update: &[],
        forget: &[],
    },
    Family {
        name: "Alpine",
        sign: "/etc/alpine-release",
        folder: "/usr/local/share/ca-certificates",
        command: "update-ca-certificates",
        update: &[],
        forget: &[],
    },
    Family {
        name: "Debian, Ubuntu",
        sign: "/etc/ca-certificates.conf",
        folder: "/usr/local/share/ca-certificates",
        command: "update-ca-certificates",
        update: &[],
        // Without it links to what is gone stay. Hooks, as that of Java, hear of what is there, and
        // in neither case of what has gone.
        forget: &["--fresh"],
    },
];

/// Where systems have all their roots in one file.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const MAC_KEYCHAIN: &str = "/Library/Keychains/System.keychain";

impl System {
    pub(super) fn find(machine: &Machine) -> System {
        System(match machine.os {
            Os::Linux => linux(machine),
            Os::MacOs => match machine.command("security") {
                Some(security) => Kind::MacOs { security },
                None => Kind::Missing("the command security is not there".to_owned()),
            },
            Os::Windows => match machine.command("certutil.exe") {
                Some(certutil) => Kind::Windows { certutil, for_all: machine.is_root },
                None => Kind::Missing("the command certutil is not there".to_owned()),
            },
        })
    }

    pub(super) fn label(&self) -> String {
        match &self.0 {
            Kind::Anchors(Anchors { name, folder, .. }) => {
                format!("system ({name}: {})", folder.display())
            }
            Kind::MacOs { .. } => format!("system (macOS: {MAC_KEYCHAIN})"),
            Kind::Windows { for_all: true, .. } => "system (Windows: Root)".to_owned(),
            Kind::Windows { .. } => "system (Windows: Root of this user)".to_owned(),
            Kind::Missing(_) => "system".to_owned(),
        }
    }

    pub(super) fn state(&self, ca: &CaCertificate, runner: &mut dyn Runner) -> State {
        match &self.0 {
            Kind::Anchors(anchors) => anchors.state(ca),
            Kind::MacOs { security } => {
                let Some(file) = &ca.file else { return State::Unknown(NO_FILE.to_owned()) };
                let words: [&std::ffi::OsStr; 3] = ["verify-cert", "-l", "-c"].map(AsRef::as_ref);
                let arguments = words.into_iter().chain([file.as_os_str()]);
                judge(runner, &CommandLine::new(security, arguments))
            }
            Kind::Windows { certutil, for_all } => {
                let id = hex(&ca.facts.sha1);
                let arguments = user(*for_all).into_iter().chain(["-store", "Root", &id]);
                judge(runner, &CommandLine::new(certutil, arguments))
            }
            Kind::Missing(why) => State::Unknown(why.clone()),
        }
    }

    pub(super) fn plan(
        &self,
        direction: Direction,
        ca: &CaCertificate,
        runner: &mut dyn Runner,
    ) -> Plan {
        let state = self.state(ca, runner);
        let trusted = state == State::Trusted;
        let (commands, needs_root) = match (&self.0, direction) {
            (Kind::Missing(why), _) => return Plan::blocked(state, why.clone()),
            (Kind::Anchors(anchors), _) => return anchors.plan(direction, ca, state),
            (_, Direction::Install) if trusted => return Plan::nothing(state),
            (_, Direction::Uninstall) if !trusted => return Plan::nothing(state),
            (Kind::MacOs { security }, _) => {
                let Some(file) = &ca.file else { return Plan::blocked(state, NO_FILE) };
                (mac_commands(direction, security, file, ca), true)
            }
            (Kind::Windows { certutil, for_all }, Direction::Install) => {
                let Some(file) = &ca.file else { return Plan::blocked(state, NO_FILE) };
                let mut add = CommandLine::new(certutil, user(*for_all));
                add.arguments.extend(["-addstore".into(), "Root".into(), file.into()]);
                (vec![add], false)
            }
            (Kind::Windows { certutil, for_all }, Direction::Uninstall) => {
                let id = hex(&ca.facts.sha1);
                let arguments = user(*for_all).into_iter().chain(["-delstore", "Root", &id]);
                (vec![CommandLine::new(certutil, arguments)], false)
            }
        };
        let steps = commands.into_iter().map(Step::Run).collect();
        Plan { steps, needs_root, ..Plan::nothing(state) }
    }
}

/// What a CA that was named with `--ca` lacks.
const NO_FILE: &str = "it wants a file with the certificate alone: write one with flowtap ca \
                       export -o FILE, and give that to the system by hand";

fn user(for_all: bool) -> Option<&'static str> {
    (!for_all).then_some("-user")
}

/// The state that the end of a command tells.
fn judge(runner: &mut dyn Runner, command: &CommandLine) -> State {
    match runner.run(command, &[]) {
        Ok(ran) if ran.success => State::Trusted,
        Ok(_) => State::Absent,
        Err(error) => {
            State::Unknown(format!("{} cannot be started: {error}", command.program.display()))
        }
    }
}

fn mac_commands(
    direction: Direction,
    security: &Path,
    file: &Path,
    ca: &CaCertificate,
) -> Vec<CommandLine> {
    let file = file.as_os_str();
    let line = |arguments: &[&std::ffi::OsStr]| CommandLine::new(security, arguments);
    match direction {
        Direction::Install => vec![line(&[
            "add-trusted-cert".as_ref(),
            "-d".as_ref(),
            "-r".as_ref(),
            "trustRoot".as_ref(),
            "-k".as_ref(),
            MAC_KEYCHAIN.as_ref(),
            file,
        ])],
        Direction::Uninstall => {
            let id = hex(&ca.facts.sha1).to_uppercase();
            vec![
                line(&["remove-trusted-cert".as_ref(), "-d".as_ref(), file]),
                line(&[
                    "delete-certificate".as_ref(),
                    "-Z".as_ref(),
                    id.as_ref(),
                    MAC_KEYCHAIN.as_ref(),
                ]),
            ]
        }
    }
}

fn linux(machine: &Machine) -> Kind {
    if machine.at("/etc/NIXOS").exists() {
        return Kind::Missing(
            "NixOS keeps its roots in its configuration: add the certificate to \
             security.pki.certificateFiles"
                .to_owned(),
        );
    }
    let is_this = |family: &&Family| {
        machine.at(family.sign).exists() && machine.command(family.command).is_some()
    };
    let Some(family) = FAMILIES.iter().find(is_this) else {
        return Kind::Missing(
            "there is neither update-ca-certificates nor update-ca-trust with its folder: \
             install the package ca-certificates, or give programs the certificate by their \
             variables (docs/trust.md)"
                .to_owned(),
        );
    };
    let command = machine.command(family.command).unwrap_or_default();
    Kind::Anchors(Anchors {
        name: family.name,
        folder: machine.at(family.folder),
        update: CommandLine::new(&command, family.update.iter().copied()),
        forget: CommandLine::new(&command, family.forget.iter().copied()),
        bundles: BUNDLES.iter().map(|path| machine.at(path)).collect(),
    })
}

impl Anchors {
    fn state(&self, ca: &CaCertificate) -> State {
        // Bundles are links to one another on many systems.
        let mut bundles: Vec<_> =
            self.bundles.iter().filter_map(|bundle| bundle.canonicalize().ok()).collect();
        bundles.dedup();
        if bundles.is_empty() {
            return State::Unknown("there is no bundle of the system's roots".to_owned());
        }
        let holds = |bundle: &PathBuf| ca.is_in(&super::content(bundle));
        if bundles.iter().any(holds) { State::Trusted } else { State::Absent }
    }

    /// The files among the anchors that hold this certificate: those that hold nothing else, and
    /// those that hold others too.
    fn files(&self, ca: &CaCertificate) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let read = |path: PathBuf| (super::content(&path), path);
        let holding = entries(&self.folder).into_iter().map(read).filter(|it| ca.is_in(&it.0));
        let (own, mixed): (Vec<_>, Vec<_>) = holding.partition(|it| ca.is_all_of(&it.0));
        let paths = |files: Vec<(_, PathBuf)>| files.into_iter().map(|it| it.1).collect();
        (paths(own), paths(mixed))
    }

    fn plan(&self, direction: Direction, ca: &CaCertificate, state: State) -> Plan {
        let (own, mixed) = self.files(ca);
        let trusted = state == State::Trusted;
        let (mut steps, mut notes) = (Vec::new(), Vec::new());
        match direction {
            Direction::Install => {
                let is_there = !own.is_empty() || !mixed.is_empty();
                if trusted && is_there {
                    return Plan::nothing(state);
                }
                if !is_there {
                    if !self.folder.is_dir() {
                        let arguments = ["-p".as_ref(), self.folder.as_os_str()];
                        steps.push(Step::Run(CommandLine::new("mkdir", arguments)));
                    }
                    steps.push(Step::Write(self.folder.join(ca.name() + ".crt")));
                }
                steps.push(Step::Run(self.update.clone()));
            }
            Direction::Uninstall => {
                let by_hand = |file: &PathBuf| {
                    let file = file.display();
                    format!("{file} has certificates of others too: take this one out by hand")
                };
                notes.extend(mixed.iter().map(by_hand));
                if own.is_empty() {
                    match notes.is_empty() {
                        true if !trusted => return Plan::nothing(state),
                        true => {}
                        false => return Plan::blocked(state, notes.join("; ")),
                    }
                }
                steps.extend(own.into_iter().map(Step::Remove));
                steps.push(Step::Run(self.forget.clone()));
            }
        }
        Plan { steps, notes, needs_root: true, ..Plan::nothing(state) }
    }
}
