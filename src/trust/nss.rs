//! NSS databases: that of Chromium, and those of Firefox's profiles.

use std::path::{Path, PathBuf};

use super::machine::folders;
use super::{CaCertificate, CommandLine, Direction, Machine, Os, Plan, Runner, State, Step};

/// An NSS database.
#[derive(Debug)]
pub struct Database {
    folder: PathBuf,
    of: &'static str,
    /// `certutil` of the NSS tools.
    certutil: Option<PathBuf>,
}

/// The databases of the user's browsers. One for Chromium is to be made where it is installed and
/// has none yet.
pub(super) fn find(machine: &Machine) -> Vec<Database> {
    let Some(home) = &machine.home else { return Vec::new() };
    // Windows has another program of that name, and there no browser needs this one.
    if machine.os == Os::Windows {
        return Vec::new();
    }
    let certutil = machine.command("certutil");
    let mut found = Vec::new();
    for folder in chromium_folders(home) {
        if folder.join("cert9.db").is_file() {
            found.push((folder, CHROMIUM));
        }
    }
    let is_there = |name: &&str| machine.command(name).is_some();
    if found.is_empty() && CHROMIUM_COMMANDS.iter().any(is_there) {
        found.push((home.join(".pki/nssdb"), CHROMIUM));
    }
    for profiles in firefox_folders(home) {
        let profiles = folders(&profiles).into_iter();
        found.extend(profiles.filter(|it| it.join("cert9.db").is_file()).map(|it| (it, FIREFOX)));
    }
    let database = |(folder, of): (PathBuf, _)| Database { folder, of, certutil: certutil.clone() };
    found.into_iter().map(database).collect()
}

const CHROMIUM: &str = "Chromium";
const FIREFOX: &str = "Firefox";
const CHROMIUM_COMMANDS: &[&str] =
    &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "brave-browser"];

/// Where Chromium and its kin have their database: one for all, and one in each sandbox of snap
/// and flatpak.
fn chromium_folders(home: &Path) -> Vec<PathBuf> {
    let mut found = vec![home.join(".pki/nssdb"), home.join(".local/share/pki/nssdb")];
    found.extend(folders(&home.join("snap")).iter().map(|snap| snap.join("current/.pki/nssdb")));
    for app in folders(&home.join(".var/app")) {
        found.extend([app.join(".pki/nssdb"), app.join("data/pki/nssdb")]);
    }
    found
}

/// Where Firefox has its profiles, by how it was installed.
fn firefox_folders(home: &Path) -> Vec<PathBuf> {
    [
        ".mozilla/firefox",
        ".config/mozilla/firefox",
        "snap/firefox/common/.mozilla/firefox",
        ".var/app/org.mozilla.firefox/.mozilla/firefox",
        ".var/app/org.mozilla.firefox/config/mozilla/firefox",
        ".librewolf",
        "Library/Application Support/Firefox/Profiles",
    ]
    .map(|folder| home.join(folder))
    .into()
}

/// What has certutil, by system.
const NO_CERTUTIL: &str = "certutil of the NSS tools is not there: install libnss3-tools (Debian, \
                           Ubuntu), nss-tools (Fedora, Alpine), nss (Arch, Homebrew) or \
                           mozilla-nss-tools (openSUSE), or import the certificate in the \
                           browser's settings";

impl Database {
    pub(super) fn label(&self) -> String {
        format!("NSS ({}: {})", self.of, self.folder.display())
    }

    fn is_there(&self) -> bool {
        self.folder.join("cert9.db").is_file()
    }

    fn command(&self, certutil: &Path, arguments: &[&str]) -> CommandLine {
        let mut command = CommandLine::new(certutil, ["-d"]);
        // With the prefix, paths with any bytes are taken as they are.
        let mut database = std::ffi::OsString::from("sql:");
        database.push(&self.folder);
        command.arguments.push(database);
        command.arguments.extend(arguments.iter().map(Into::into));
        command
    }

    /// The names under which the certificate is there. Certificates of one subject, as two CAs of
    /// flowtap have, are all shown for the name of each: then the name that stores get it under
    /// tells which is which.
    fn named(
        &self,
        certutil: &Path,
        ca: &CaCertificate,
        runner: &mut dyn Runner,
    ) -> Result<Vec<Named>, String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("{} cannot be started: {error}", certutil.display())
        };
        let list = self.command(certutil, &["-L"]);
        let listed = runner.run(&list, &[]).map_err(|error| failed(&error))?;
        if !listed.success {
            return Err(format!("certutil -L: {}", listed.error));
        }
        let mut found = Vec::new();
        for (name, trust) in certificates(&String::from_utf8_lossy(&listed.output)) {
            let one = self.command(certutil, &["-L", "-a", "-n", &name]);
            let one = runner.run(&one, &[]).map_err(|error| failed(&error))?;
            if one.success && ca.is_in(&one.output) {
                let is_trusted = trust.starts_with('C') || trust.starts_with("TC");
                let is_doubtful = !ca.is_all_of(&one.output);
                found.push(Named { name, is_trusted, is_doubtful });
            }
        }
        let own = ca.name();
        if found.iter().filter(|named| named.name == own).count() == 1 {
            found.retain(|named| !named.is_doubtful || named.name == own);
            found.iter_mut().for_each(|named| named.is_doubtful = false);
        }
        Ok(found)
    }

    pub(super) fn state(&self, ca: &CaCertificate, runner: &mut dyn Runner) -> State {
        if !self.is_there() {
            return State::Absent;
        }
        let Some(certutil) = &self.certutil else {
            return State::Unknown(NO_CERTUTIL.to_owned());
        };
        match self.named(certutil, ca, runner) {
            Err(why) => State::Unknown(why),
            Ok(names) => judged(&names),
        }
    }

    pub(super) fn plan(
        &self,
        direction: Direction,
        ca: &CaCertificate,
        runner: &mut dyn Runner,
    ) -> Plan {
        let state = self.state(ca, runner);
        let Some(certutil) = &self.certutil else {
            return Plan::blocked(state, NO_CERTUTIL);
        };
        let mut steps = Vec::new();
        match direction {
            Direction::Install if state == State::Trusted => {}
            Direction::Install => {
                if !self.is_there() {
                    steps.push(Step::MakeFolder(self.folder.clone()));
                    let make = self.command(certutil, &["-N", "--empty-password"]);
                    steps.push(Step::Run(make));
                }
                let add = self.command(certutil, &["-A", "-t", "C,,", "-n", &ca.name()]);
                steps.push(Step::Run(add.reading_certificate()));
            }
            Direction::Uninstall if !self.is_there() => {}
            Direction::Uninstall => {
                let names = match self.named(certutil, ca, runner) {
                    Ok(names) if names.iter().any(|named| named.is_doubtful) => {
                        return Plan::blocked(state, DOUBTFUL);
                    }
                    Ok(names) => names,
                    Err(why) => return Plan::blocked(state, why),
                };
                for Named { name, .. } in names {
                    steps.push(Step::Run(self.command(certutil, &["-D", "-n", &name])));
                }
            }
        }
        let mut notes = Vec::new();
        if !steps.is_empty() {
            let of = self.of;
            notes.push(format!("close {of} before, or start it again afterwards to have it see"));
        }
        Plan { steps, notes, ..Plan::nothing(state) }
    }
}

/// A name under which the certificate is there.
struct Named {
    name: String,
    is_trusted: bool,
    /// It may be that of another certificate of the same subject.
    is_doubtful: bool,
}

/// Why a certificate cannot be told from others.
const DOUBTFUL: &str = "it has several certificates of the CA's subject, and none of them under \
                        the CA's own name: which is which is seen in the browser's settings";

/// Whether the certificate is trusted under one of its names.
fn judged(names: &[Named]) -> State {
    let (doubtful, sure): (Vec<_>, _) = names.iter().partition(|named| named.is_doubtful);
    let is_trusted = |named: &&Named| named.is_trusted;
    if sure.iter().any(is_trusted) {
        return State::Trusted;
    }
    match doubtful.iter().filter(|named| named.is_trusted).count() {
        0 => State::Absent,
        count if count == doubtful.len() => State::Trusted,
        _ => State::Unknown(DOUBTFUL.to_owned()),
    }
}

/// The names and trust flags in what `certutil -L` lists: `NAME   C,,`.
fn certificates(listed: &str) -> Vec<(String, String)> {
    let is_trust = |word: &str| {
        word.split(',').count() == 3 && word.chars().all(|c| c == ',' || c.is_ascii_alphabetic())
    };
    let read = |line: &str| {
        let (name, trust) = line.trim_end().rsplit_once(' ')?;
        let name = name.trim_end();
        (is_trust(trust) && !name.trim().is_empty() && trust != "SSL,S/MIME,JAR/XPI")
            .then(|| (name.to_owned(), trust.to_owned()))
    };
    listed.lines().filter_map(read).collect()
}
