//! The key stores of Java.

use std::path::{Path, PathBuf};

use super::machine::folders;
use super::{CaCertificate, CommandLine, Direction, Machine, Plan, Runner, State, Step};

/// A key store of trusted roots.
#[derive(Debug)]
pub struct KeyStore {
    home: PathBuf,
    cacerts: PathBuf,
    keytool: Option<PathBuf>,
    /// Whether the system makes it of its own store, as Debian does.
    of_system: bool,
    /// Whether what is done to the system's store is done to this one as well.
    with_system: bool,
    owned: bool,
}

/// The key stores of JDKs: of `JAVA_HOME`, else of the `keytool` on PATH, where `usual` says so;
/// and of the folders `homes`.
pub(super) fn find(
    machine: &Machine,
    usual: bool,
    homes: &[PathBuf],
) -> (Vec<KeyStore>, Vec<String>) {
    let (mut found, mut notes) = (Vec::<KeyStore>::new(), Vec::new());
    let mut all = homes.to_vec();
    if usual {
        match machine.java_home.clone().or_else(|| home_on_path(machine)) {
            Some(home) => all.insert(0, home),
            None => notes.push("there is no Java: no JAVA_HOME, no keytool on PATH".to_owned()),
        }
    }
    for home in all {
        match open(machine, &home) {
            Some(store) if found.iter().any(|it| it.cacerts == store.cacerts) => {}
            Some(store) => found.push(store),
            None => notes.push(format!("{} has no lib/security/cacerts", home.display())),
        }
    }
    (found, notes)
}

/// The key store that the system makes of its own, where there is a JDK that uses it, to be changed
/// with the system's.
pub(super) fn made_by_system(machine: &Machine) -> Option<KeyStore> {
    let homes = machine.java_home.clone().into_iter().chain(home_on_path(machine));
    let mut stores = homes
        .chain(folders(&machine.at("/usr/lib/jvm")))
        .filter_map(|home| open(machine, &home))
        .filter(|store| store.of_system && store.keytool.is_some());
    stores.next().map(|store| KeyStore { with_system: true, ..store })
}

fn home_on_path(machine: &Machine) -> Option<PathBuf> {
    // Distributions link it from PATH by way of a folder of alternatives.
    let keytool = machine.command("keytool")?.canonicalize().ok()?;
    keytool.parent().and_then(Path::parent).map(Path::to_owned)
}

fn open(machine: &Machine, home: &Path) -> Option<KeyStore> {
    let places = ["lib/security/cacerts", "jre/lib/security/cacerts"];
    let cacerts = places.iter().find_map(|place| home.join(place).canonicalize().ok())?;
    let own = home.join("bin/keytool");
    let keytool = if own.is_file() { Some(own) } else { machine.command("keytool") };
    let of_system = machine.at("/etc/ssl/certs/java/cacerts");
    let of_system = of_system.canonicalize().is_ok_and(|theirs| theirs == cacerts);
    let owned = is_owned(&cacerts);
    let home = home.to_owned();
    Some(KeyStore { home, cacerts, keytool, of_system, with_system: false, owned })
}

fn is_owned(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.metadata().is_ok_and(|facts| facts.uid() == rustix::process::geteuid().as_raw())
}

/// The password that all JDKs ship with; who changed it protects no secret by it.
const PASSWORD: &str = "changeit";

const NO_KEYTOOL: &str = "keytool is not there: it comes with a JDK or JRE";

impl KeyStore {
    pub(super) fn label(&self) -> String {
        format!("Java ({})", self.cacerts.display())
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// Whether it is made of the system's store, and so changes with that.
    pub(super) fn follows_system(&self) -> bool {
        self.of_system
    }

    /// Whether it is to be changed with the system's.
    pub(super) fn goes_with_system(&self) -> bool {
        self.with_system
    }

    /// The store is named by its path: another `keytool` than the JDK's own then changes this
    /// store and no other.
    fn command(&self, keytool: &Path, verb: &str, arguments: &[&str]) -> CommandLine {
        let mut command = CommandLine::new(keytool, [verb, "-keystore"]);
        command.arguments.push(self.cacerts.clone().into());
        command.arguments.extend(["-storepass", PASSWORD].map(Into::into));
        command.arguments.extend(arguments.iter().map(Into::into));
        command
    }

    /// The aliases under which the certificate is there.
    fn aliases(
        &self,
        keytool: &Path,
        ca: &CaCertificate,
        runner: &mut dyn Runner,
    ) -> Result<Vec<String>, String> {
        let list = self.command(keytool, "-list", &["-rfc"]);
        let listed = runner
            .run(&list, &[])
            .map_err(|error| format!("{} cannot be started: {error}", keytool.display()))?;
        let output = String::from_utf8_lossy(&listed.output);
        if !listed.success {
            return Err(format!("keytool -list: {} {}", output.trim(), listed.error));
        }
        let entries = output.split("Alias name: ").skip(1);
        // A chain that a key came with is not trusted for that, and goes with its key.
        let entries = entries.filter(|entry| !entry.contains("Entry type: PrivateKeyEntry"));
        let holding = entries.filter(|entry| ca.is_in(entry.as_bytes()));
        Ok(holding
            .filter_map(|entry| entry.lines().next())
            .map(|it| it.trim().to_owned())
            .collect())
    }

    pub(super) fn state(&self, ca: &CaCertificate, runner: &mut dyn Runner) -> State {
        let Some(keytool) = &self.keytool else { return State::Unknown(NO_KEYTOOL.to_owned()) };
        match self.aliases(keytool, ca, runner) {
            Err(why) => State::Unknown(why),
            Ok(aliases) if aliases.is_empty() => State::Absent,
            Ok(_) => State::Trusted,
        }
    }

    /// What is to be done. Where `is_kept`, what came from the system's store stays.
    pub(super) fn plan(
        &self,
        direction: Direction,
        ca: &CaCertificate,
        is_kept: bool,
        runner: &mut dyn Runner,
    ) -> Plan {
        let Some(keytool) = &self.keytool else {
            return Plan::blocked(State::Unknown(NO_KEYTOOL.to_owned()), NO_KEYTOOL);
        };
        let aliases = match self.aliases(keytool, ca, runner) {
            Ok(aliases) => aliases,
            Err(why) => return Plan::blocked(State::Unknown(why.clone()), why),
        };
        let state = if aliases.is_empty() { State::Absent } else { State::Trusted };
        let mut notes = Vec::new();
        let steps = match direction {
            Direction::Install if state == State::Trusted => Vec::new(),
            Direction::Install => {
                let arguments = ["-noprompt", "-trustcacerts", "-alias", &ca.name()];
                let import = self.command(keytool, "-importcert", &arguments);
                vec![Step::Run(import.reading_certificate())]
            }
            Direction::Uninstall => {
                let (theirs, own): (Vec<_>, _) =
                    aliases.into_iter().partition(|alias| is_kept && alias.starts_with("debian:"));
                if !theirs.is_empty() {
                    notes.push("it comes from the system's store, and goes with it".to_owned());
                }
                let delete = |alias: String| {
                    Step::Run(self.command(keytool, "-delete", &["-alias", &alias]))
                };
                own.into_iter().map(delete).collect()
            }
        };
        Plan { steps, notes, needs_root: !self.owned, ..Plan::nothing(state) }
    }
}
