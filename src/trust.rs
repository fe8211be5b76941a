//! Trust stores of this machine: which there are, whether they trust the CA, and the steps that
//! change that. Plans are made first and done later; what runs commands is passed in.

mod apply;
mod java;
mod machine;
mod nss;
mod plan;
mod system;

pub use apply::apply;
pub use machine::{Machine, Os};
pub use plan::{CommandLine, Direction, Plan, Ran, Runner, State, Step, SystemRunner};

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::tls::facts::CertificateFacts;
use crate::trust::system::System;

/// The certificate that is to be trusted; its key is not here, and goes nowhere.
#[derive(Clone, Debug)]
pub struct CaCertificate {
    /// The certificate.
    pub der: Vec<u8>,
    /// The same as PEM.
    pub pem: String,
    /// What it is known by.
    pub facts: CertificateFacts,
    /// A file that holds it, and no key.
    pub file: Option<PathBuf>,
}

impl CaCertificate {
    /// The name under which stores get it, which tells CAs of one subject apart.
    pub fn name(&self) -> String {
        format!("flowtap-{}", self.facts.short())
    }

    /// Whether a text or file of certificates holds it.
    fn is_in(&self, content: &[u8]) -> bool {
        content == self.der.as_slice()
            || CertificateDer::pem_slice_iter(content)
                .filter_map(Result::ok)
                .any(|certificate| certificate.as_ref() == self.der.as_slice())
    }

    /// Whether a text or file of certificates that holds it holds no other.
    fn is_all_of(&self, content: &[u8]) -> bool {
        CertificateDer::pem_slice_iter(content)
            .all(|it| it.is_ok_and(|certificate| certificate.as_ref() == self.der.as_slice()))
    }
}

/// Which stores are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The system's.
    pub system: bool,
    /// NSS databases.
    pub nss: bool,
    /// Java's.
    pub java: bool,
    /// JDKs by their folders.
    pub java_homes: &'a [PathBuf],
    /// With the system's, the store that it makes for Java as well: systems put certificates into
    /// that one, and not all take them out again.
    pub made_by_system: bool,
}

/// A trust store.
#[derive(Debug)]
pub enum Store {
    /// The system's.
    System(System),
    /// An NSS database.
    Nss(nss::Database),
    /// A key store of Java.
    Java(java::KeyStore),
}

impl Store {
    /// What it is called.
    pub fn label(&self) -> String {
        match self {
            Store::System(system) => system.label(),
            Store::Nss(database) => database.label(),
            Store::Java(store) => store.label(),
        }
    }

    /// The flags that name it to `ca install`.
    pub fn flags(&self) -> Vec<std::ffi::OsString> {
        match self {
            Store::System(_) => vec!["--system".into()],
            Store::Nss(_) => vec!["--nss".into()],
            Store::Java(store) => vec!["--java-home".into(), store.home().into()],
        }
    }

    /// Whether it trusts the CA, as far as that can be looked up.
    pub fn state(&self, ca: &CaCertificate, runner: &mut dyn Runner) -> State {
        match self {
            Store::System(system) => system.state(ca, runner),
            Store::Nss(database) => database.state(ca, runner),
            Store::Java(store) => store.state(ca, runner),
        }
    }

    /// Whether steps for the system's store may change this one too, so that its plan has to be
    /// made anew behind them.
    pub fn goes_with_system(&self) -> bool {
        matches!(self, Store::Java(store) if store.goes_with_system())
    }

    /// What is to be done to it.
    pub fn plan(
        &self,
        direction: Direction,
        ca: &CaCertificate,
        machine: &Machine,
        runner: &mut dyn Runner,
    ) -> Plan {
        let mut plan = match self {
            Store::System(system) => system.plan(direction, ca, runner),
            Store::Nss(database) => database.plan(direction, ca, runner),
            Store::Java(store) => {
                let is_kept = !store.goes_with_system()
                    && (!store.follows_system()
                        || System::find(machine).state(ca, runner) == State::Trusted);
                store.plan(direction, ca, is_kept, runner)
            }
        };
        plan.needs_root &= !machine.is_root && !plan.steps.is_empty();
        plan
    }
}

/// The stores of this machine that are meant, and what there is to say of those that are not
/// there.
pub fn find(machine: &Machine, wanted: Wanted<'_>) -> (Vec<Store>, Vec<String>) {
    let (mut stores, mut notes) = (Vec::new(), Vec::new());
    if wanted.system {
        stores.push(Store::System(System::find(machine)));
    }
    if wanted.nss {
        let databases = nss::find(machine);
        if databases.is_empty() {
            notes.push("there is no NSS database, as Chromium and Firefox have".to_owned());
        }
        stores.extend(databases.into_iter().map(Store::Nss));
    }
    let mut found = Vec::new();
    if wanted.java || !wanted.java_homes.is_empty() {
        let (java, missing) = java::find(machine, wanted.java, wanted.java_homes);
        notes.extend(missing);
        found = java;
    }
    if wanted.system && wanted.made_by_system {
        let made = java::made_by_system(machine);
        found.retain(|store| made.is_none() || !store.follows_system());
        found.extend(made);
    } else if wanted.java && wanted.system && found.iter().any(java::KeyStore::follows_system) {
        found.retain(|store| !store.follows_system());
        notes.push("the trust store of Java follows that of the system".to_owned());
    }
    stores.extend(found.into_iter().map(Store::Java));
    (stores, notes)
}

/// The content of a file that may hold certificates; nothing where it cannot be read or is far
/// larger than a bundle of all roots.
fn content(path: &Path) -> Vec<u8> {
    let is_small = |facts: &std::fs::Metadata| {
        facts.is_file() && facts.len() <= crate::limits::TRUST_FILE_BYTES
    };
    if !path.metadata().is_ok_and(|facts| is_small(&facts)) {
        return Vec::new();
    }
    std::fs::read(path).unwrap_or_default()
}

#[cfg(test)]
mod tests;
