//! `flowtap ca install` and `flowtap ca uninstall`: what will be done, the question, the deeds.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{about, certificate, print, wanted};
use crate::cli::settings::{self, CaChange, CaPlace};
use crate::cli::words::visible;
use crate::error::{Error, Result};
use crate::tls::authority::{KnownCa, Origin};
use crate::tls::facts::fingerprint;
use crate::trust::{
    self, CaCertificate, CommandLine, Direction, Machine, Plan, State, Store, SystemRunner, Wanted,
};

/// Says what is to be done, asks, does it, and tells of each step.
pub(super) fn run(direction: Direction, settings: &CaChange) -> Result<()> {
    let machine = Machine::this(settings::home());
    // One that is made to be removed again is of no use.
    if direction == Direction::Uninstall && !settings.place.is_there() {
        let confdir = settings.place.confdir.display();
        return Err(Error::new(format!(
            "there is no CA in {confdir}, so it cannot be told what to remove: name its folder \
             with --confdir, or its file with --ca"
        )));
    }
    refuse_wrong_user(direction, &settings.place, machine.is_root)?;
    let known = match direction {
        Direction::Install => settings.place.open()?.known(),
        Direction::Uninstall => settings.place.known()?,
    };
    let ca = certificate(&known)?;
    let made_by_system = direction == Direction::Uninstall;
    let wanted = Wanted { made_by_system, ..wanted(&settings.stores) };
    let (stores, notes) = trust::find(&machine, wanted);
    let planned: Vec<_> = stores
        .into_iter()
        .map(|store| {
            let plan = store.plan(direction, &ca, &machine, &mut SystemRunner);
            (store, plan)
        })
        .collect();
    let sudo = sudo_line(direction, &known, &planned)?;
    let verb = if direction == Direction::Install { "install" } else { "uninstall" };
    print(&format!(
        "flowtap ca {verb}: {}\n{:<17} sha256 {}\n",
        visible(&known.path.display().to_string()),
        "",
        fingerprint(&ca.facts.sha256)
    ))?;
    for (store, plan) in &planned {
        print(&told(store, plan, direction, &ca))?;
    }
    for note in notes {
        print(&format!("note: {}\n", visible(&note)))?;
    }
    let with_sudo = settings.sudo.then_some(&sudo).and_then(Option::as_ref);
    if let Some(line) = &sudo {
        let what = if settings.sudo { "by sudo" } else { "as root, by you" };
        print(&format!("{what}:\n  {}\n", visible(&line.text(None))))?;
    }
    if settings.dry_run {
        return Ok(());
    }
    let own = planned.iter().any(|(_, plan)| is_ours(plan));
    if own || with_sudo.is_some() {
        ask(settings.yes)?;
    }
    let mut failures = carry_out_all(direction, &planned, &ca, &machine);
    match (with_sudo, &sudo) {
        (Some(line), _) => failures.extend(by_sudo(line)),
        (None, Some(line)) => failures.push(format!("root is needed: {}", line.text(None))),
        (None, None) => {}
    }
    failures.extend(left_undone(direction, settings, &planned));
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Error::new(visible(&failures.join("; ")))),
    }
}

/// Does what this process does itself; gives what failed.
fn carry_out_all(
    direction: Direction,
    planned: &[(Store, Plan)],
    ca: &CaCertificate,
    machine: &Machine,
) -> Vec<String> {
    let mut failures = Vec::new();
    for (store, plan) in planned.iter().filter(|(_, plan)| is_ours(plan)) {
        // The system may have taken it out of that one just now.
        let anew = store.goes_with_system();
        let anew = anew.then(|| store.plan(direction, ca, machine, &mut SystemRunner));
        if let Err(why) = carry_out(direction, store, anew.as_ref().unwrap_or(plan), ca) {
            failures.push(format!("{}: {why}", store.label()));
        }
    }
    failures
}

/// Whether the plan has steps that this process takes itself.
fn is_ours(plan: &Plan) -> bool {
    !plan.steps.is_empty() && !plan.needs_root
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Under sudo the home folder is root's, and a CA that was made by root would not be the user's.
fn refuse_wrong_user(direction: Direction, place: &CaPlace, is_root: bool) -> Result<()> {
    if !is_root || place.file.is_some() {
        return Ok(());
    }
    if !place.confdir_given
        && let Some(user) = std::env::var_os("SUDO_USER").filter(|user| user != "root")
    {
        return Err(Error::usage(format!(
            "under sudo it is not clear whose CA is meant: say so with --confdir, as --confdir \
             ~{}/.flowtap",
            user.display()
        )));
    }
    // Nothing is made to take trust back.
    if direction == Direction::Uninstall || is_there(&place.confdir.join("flowtap-ca.pem")) {
        return Ok(());
    }
    let confdir = std::path::absolute(&place.confdir).unwrap_or_else(|_| place.confdir.clone());
    let above = confdir.ancestors().find(|folder| is_there(folder));
    match above.and_then(|folder| folder.metadata().ok()) {
        Some(facts) if facts.uid() != 0 => Err(Error::new(format!(
            "{} has no CA yet, and one that root makes would not be its user's: make it as that \
             user first, with flowtap ca",
            confdir.display()
        ))),
        _ => Ok(()),
    }
}

/// What is told of a store before anything is done.
fn told(store: &Store, plan: &Plan, direction: Direction, ca: &CaCertificate) -> String {
    let mut text = format!("{}\n", about(store));
    let mut line = |words: &str| text.push_str(&format!("  {}\n", visible(words)));
    match (&plan.blocked, plan.steps.is_empty(), direction) {
        (Some(why), _, _) => line(&format!("cannot be done: {why}")),
        (None, true, Direction::Install) => line("trusts the CA already: nothing to do"),
        (None, true, Direction::Uninstall) => line("nothing to do"),
        (None, false, _) => plan.steps.iter().for_each(|step| line(&step.text(ca))),
    }
    if plan.needs_root {
        line("needs root");
    }
    plan.notes.iter().for_each(|note| line(&format!("note: {note}")));
    text
}

/// Asks whether to go on, unless the user has said so.
fn ask(yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::usage(
            "nobody can be asked, as the standard input is no terminal: say --yes, or --dry-run \
             to see only what would be done",
        ));
    }
    // There is nobody else to tell when standard error is closed.
    let _ = io::stderr().write_all(b"Go on? [y/N] ");
    let mut answer = String::new();
    let _ = io::stdin().read_line(&mut answer);
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new("nothing was changed")),
    }
}

/// Does what a plan says, and looks whether it is so. What has begun goes on though words about it
/// are lost, which is told in the end.
fn carry_out(
    direction: Direction,
    store: &Store,
    plan: &Plan,
    ca: &CaCertificate,
) -> std::result::Result<(), String> {
    let mut printed = print(&format!("{}\n", about(store)));
    let mut told = |words: &str| {
        let line = print(&format!("  {}\n", visible(words)));
        if printed.is_ok() {
            printed = line;
        }
    };
    apply(direction, store, plan, ca, &mut told)?;
    printed.map_err(|error| error.to_string())
}

fn apply(
    direction: Direction,
    store: &Store,
    plan: &Plan,
    ca: &CaCertificate,
    mut told: &mut dyn FnMut(&str),
) -> std::result::Result<(), String> {
    trust::apply(plan, ca, &mut SystemRunner, &mut told)?;
    match (store.state(ca, &mut SystemRunner), direction) {
        (State::Absent, Direction::Install) => Err("it does not trust the CA all the same".into()),
        (State::Trusted, Direction::Uninstall) => {
            Err("it trusts the CA all the same: the certificate is there by other means".into())
        }
        (State::Unknown(why), _) => {
            told(&format!("done, and not looked at: {why}"));
            Ok(())
        }
        (State::Trusted, Direction::Install) => {
            told("trusts the CA now");
            Ok(())
        }
        (State::Absent, Direction::Uninstall) => {
            told("does not trust the CA any more");
            Ok(())
        }
    }
}

/// The command that does as root what needs it; `None` where nothing does.
fn sudo_line(
    direction: Direction,
    known: &KnownCa,
    planned: &[(Store, Plan)],
) -> Result<Option<CommandLine>> {
    let stores: Vec<OsString> = planned
        .iter()
        .filter(|(_, plan)| plan.needs_root)
        .flat_map(|(store, _)| store.flags())
        .collect();
    if stores.is_empty() {
        return Ok(None);
    }
    let program = std::env::current_exe()
        .map_err(|error| Error::new(format!("where flowtap itself is cannot be told: {error}")))?;
    let verb = if direction == Direction::Install { "install" } else { "uninstall" };
    let mut words: Vec<OsString> = vec![program.into(), "ca".into(), verb.into()];
    words.extend(stores);
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path: PathBuf = absolute(&known.path);
    match (known.origin, path.parent()) {
        (Origin::Created | Origin::Loaded, Some(confdir)) => {
            words.extend(["--confdir".into(), confdir.into()]);
        }
        _ => words.extend(["--ca".into(), path.into()]),
    }
    Ok(Some(CommandLine::new("sudo", words)))
}

/// Runs the command, which may ask for a password on the terminal; why it failed, if it did.
fn by_sudo(line: &CommandLine) -> Option<String> {
    let status = Command::new(&line.program).args(&line.arguments).arg("--yes").status();
    match status {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("sudo failed ({status}): {}", line.text(None))),
        Err(error) => {
            Some(format!("sudo cannot be started: {error}; as root: {}", line.text(None)))
        }
    }
}

/// What was asked for and cannot be done: what the user named, or all there is, or what goes on to
/// trust a CA that nobody was to trust any more.
fn left_undone(
    direction: Direction,
    settings: &CaChange,
    planned: &[(Store, Plan)],
) -> Vec<String> {
    let named = !settings.stores.none_named();
    let all = planned.iter().all(|(_, plan)| plan.blocked.is_some());
    let none = named && planned.is_empty() && direction == Direction::Install;
    let counts = |plan: &Plan| match direction {
        _ if named => true,
        Direction::Install => all,
        // What cannot be looked into, as without certutil, may well never have had it.
        Direction::Uninstall => plan.state == State::Trusted,
    };
    let blocked = planned.iter().filter(|(_, plan)| counts(plan)).filter_map(|(store, plan)| {
        plan.blocked.as_ref().map(|why| format!("{}: {why}", store.label()))
    });
    none.then(|| "there is no such trust store here".to_owned())
        .into_iter()
        .chain(blocked)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::CaStores;

    #[test]
    fn root_makes_no_ca_in_the_folder_of_another_user() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(1001), None).unwrap();
        let confdir = folder.path().join("conf");
        let place = CaPlace { confdir, confdir_given: true, file: None };
        let judge = |direction, is_root| refuse_wrong_user(direction, &place, is_root);
        let refused = judge(Direction::Install, true).unwrap_err().to_string();
        assert!(refused.contains("as that user first"), "{refused}");
        judge(Direction::Install, false).unwrap();
        judge(Direction::Uninstall, true).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(0), None).unwrap();
        judge(Direction::Install, true).unwrap();
    }

    #[test]
    fn a_store_that_goes_on_to_trust_the_ca_is_a_failure() {
        let stores = CaStores { system: false, nss: false, java: false, java_homes: Vec::new() };
        let place = CaPlace { confdir: "c".into(), confdir_given: true, file: None };
        let settings = CaChange { place, stores, yes: true, dry_run: false, sudo: false };
        let planned = |state| {
            let wanted = Wanted { system: true, ..Wanted::default() };
            let store = trust::find(&Machine::this(None), wanted).0.remove(0);
            let blocked = Some("by hand".to_owned());
            let (steps, notes) = (Vec::new(), Vec::new());
            [(store, Plan { state, steps, blocked, needs_root: false, notes })]
        };
        let undone = |state| left_undone(Direction::Uninstall, &settings, &planned(state)).len();
        assert_eq!(undone(State::Trusted), 1);
        assert_eq!(undone(State::Absent), 0);
        assert_eq!(undone(State::Unknown("no certutil".to_owned())), 0);
        let nowhere = left_undone(Direction::Install, &settings, &planned(State::Absent));
        assert_eq!(nowhere.len(), 1);
    }
}
