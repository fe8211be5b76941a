//! Each platform's plan, without the platform: its files in a folder, its commands recorded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::limits::TRUST_FILE_BYTES;
use crate::tls::facts::hex;
use crate::tls::testing::new_authority;

/// A machine in a folder.
struct Made {
    root: TempDir,
    machine: Machine,
    ca: CaCertificate,
}

impl Made {
    fn new(os: Os, files: &[&str], commands: &[&str]) -> Made {
        let root = tempfile::tempdir().unwrap();
        for path in files {
            let path = root.path().join(path.trim_start_matches('/'));
            match path.to_str().unwrap().strip_suffix('/') {
                Some(folder) => fs::create_dir_all(folder).unwrap(),
                None => write(&path, b""),
            }
        }
        for command in commands {
            write(&root.path().join("bin").join(command), b"");
        }
        let machine = Machine {
            os,
            root: root.path().to_owned(),
            home: Some(root.path().join("home")),
            path: vec![root.path().join("bin")],
            java_home: None,
            is_root: true,
        };
        let authority = new_authority();
        let der = authority.certificate_der().to_vec();
        let facts = CertificateFacts::read(&der).unwrap();
        let file = Some(PathBuf::from("/c/ca.pem"));
        let ca = CaCertificate { der, pem: authority.certificate_pem(), facts, file };
        Made { root, machine, ca }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// The stores, and the plan of each with its steps in words, the folder left out.
    fn plans(
        &self,
        direction: Direction,
        runner: &mut Recorded,
    ) -> Vec<(String, Plan, Vec<String>)> {
        let wanted = Wanted { system: true, nss: true, java: true, ..Wanted::default() };
        let (stores, _) = find(&self.machine, wanted);
        let short = |text: String| text.replace(self.root.path().to_str().unwrap(), "");
        let plan = |store: &Store| {
            let plan = store.plan(direction, &self.ca, &self.machine, runner);
            let steps = plan.steps.iter().map(|step| short(step.text(&self.ca))).collect();
            (short(store.label()), plan, steps)
        };
        stores.iter().map(plan).collect()
    }

    /// The plan of the system's store.
    fn system(&self, direction: Direction) -> (String, Plan, Vec<String>) {
        self.plans(direction, &mut Recorded::default()).remove(0)
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Answers commands that contain some words, and notes all.
#[derive(Default)]
struct Recorded {
    answers: Vec<(&'static str, Ran)>,
    lines: Vec<String>,
    inputs: Vec<Vec<u8>>,
}

impl Recorded {
    fn answering(answers: Vec<(&'static str, &str)>) -> Recorded {
        let ran = |output: &str| Ran { success: true, output: output.into(), error: String::new() };
        let answers = answers.into_iter().map(|(words, output)| (words, ran(output))).collect();
        Recorded { answers, ..Recorded::default() }
    }
}

impl Runner for Recorded {
    fn run(&mut self, command: &CommandLine, input: &[u8]) -> io::Result<Ran> {
        let line = command.text(None);
        self.inputs.push(input.to_vec());
        let found = self.answers.iter().find(|(words, _)| line.contains(words));
        self.lines.push(line);
        Ok(found.map(|(_, ran)| ran.clone()).unwrap_or_default())
    }
}

#[test]
fn each_linux_has_its_folder_and_its_command() {
    let debian = ["/etc/ca-certificates.conf", "/usr/local/share/ca-certificates/"];
    let alpine = ["/etc/alpine-release", "/usr/local/share/ca-certificates/"];
    let (update, extract) = ("update-ca-certificates", "update-ca-trust");
    for (name, files, command, folder, arguments, forget) in [
        ("Debian, Ubuntu", &debian[..], update, "/usr/local/share/ca-certificates", "", " --fresh"),
        ("Alpine", &alpine, update, "/usr/local/share/ca-certificates", "", ""),
        ("openSUSE", &["/etc/pki/trust/anchors/"], update, "/etc/pki/trust/anchors", "", ""),
        (
            "Fedora, RHEL",
            &["/etc/pki/ca-trust/source/anchors/"],
            extract,
            "/etc/pki/ca-trust/source/anchors",
            " extract",
            " extract",
        ),
        (
            "Arch",
            &["/etc/ca-certificates/trust-source/anchors/"],
            extract,
            "/etc/ca-certificates/trust-source/anchors",
            "",
            "",
        ),
    ] {
        let made = Made::new(Os::Linux, files, &[command]);
        let (label, plan, steps) = made.system(Direction::Install);
        let file = format!("{folder}/flowtap-{}.crt", made.ca.facts.short());
        assert_eq!(label, format!("system ({name}: {folder})"));
        assert_eq!(
            steps,
            [format!("write  {file}"), format!("run    /bin/{command}{arguments}")],
            "{name}"
        );
        assert!(plan.blocked.is_none() && !plan.needs_root, "{name}");

        // By name or by hand, what holds the certificate goes; another CA's stays.
        write(&made.at(&file), made.ca.pem.as_bytes());
        write(&made.at(&format!("{folder}/by-hand.crt")), &made.ca.der);
        let other = new_authority().certificate_pem();
        write(&made.at(&format!("{folder}/other.crt")), other.as_bytes());
        let (_, _, steps) = made.system(Direction::Uninstall);
        let expected = [
            format!("remove {folder}/by-hand.crt"),
            format!("remove {file}"),
            format!("run    /bin/{command}{forget}"),
        ];
        assert_eq!(steps, expected, "{name}");
    }
}

#[test]
fn a_file_with_certificates_of_others_is_left_to_its_owner() {
    let files = ["/etc/ca-certificates.conf", "/usr/local/share/ca-certificates/"];
    let made = Made::new(Os::Linux, &files, &["update-ca-certificates"]);
    let mixed = made.at("/usr/local/share/ca-certificates/corporate.crt");
    let content = new_authority().certificate_pem() + &made.ca.pem;
    write(&mixed, content.as_bytes());
    let (_, plan, steps) = made.system(Direction::Uninstall);
    assert_eq!(steps, [""; 0]);
    let why = plan.blocked.unwrap();
    assert!(why.contains("corporate.crt") && why.contains("by hand"), "{why}");
    let own = format!("/usr/local/share/ca-certificates/flowtap-{}.crt", made.ca.facts.short());
    write(&made.at(&own), made.ca.pem.as_bytes());
    let (_, plan, steps) = made.system(Direction::Uninstall);
    assert_eq!(steps[0], format!("remove {own}"));
    assert!(steps.len() == 2 && plan.notes[0].contains("corporate.crt"), "{plan:?}");
}

#[test]
fn what_is_done_already_is_not_done_again() {
    let files = ["/etc/ca-certificates.conf", "/usr/local/share/ca-certificates/"];
    let made = Made::new(Os::Linux, &files, &["update-ca-certificates"]);
    assert_eq!(made.system(Direction::Uninstall).2, [""; 0]);
    let file = format!("/usr/local/share/ca-certificates/flowtap-{}.crt", made.ca.facts.short());
    write(&made.at(&file), made.ca.pem.as_bytes());
    // A file whose bundle was never made: the command is what is missing.
    assert_eq!(made.system(Direction::Install).2, ["run    /bin/update-ca-certificates"]);
    let bundle = new_authority().certificate_pem() + &made.ca.pem;
    write(&made.at("/etc/ssl/certs/ca-certificates.crt"), bundle.as_bytes());
    let (_, plan, steps) = made.system(Direction::Install);
    assert_eq!((plan.state, steps.len()), (State::Trusted, 0));
}

#[test]
fn what_needs_root_says_so_to_others() {
    let files = ["/etc/ca-certificates.conf", "/usr/local/share/ca-certificates/"];
    let mut made = Made::new(Os::Linux, &files, &["update-ca-certificates"]);
    made.machine.is_root = false;
    assert!(made.system(Direction::Install).1.needs_root);
    assert!(!made.system(Direction::Uninstall).1.needs_root, "there is nothing to do");
}

#[test]
fn a_system_that_is_not_known_is_told_what_can_be_done() {
    let made = Made::new(Os::Linux, &[], &[]);
    let (label, plan, _) = made.system(Direction::Install);
    assert_eq!(label, "system");
    assert!(plan.blocked.unwrap().contains("ca-certificates"));
    let made = Made::new(Os::Linux, &["/etc/NIXOS"], &[]);
    let (_, plan, _) = made.system(Direction::Install);
    assert!(plan.blocked.unwrap().contains("security.pki.certificateFiles"));
}

#[test]
fn macos_is_changed_by_security() {
    let made = Made::new(Os::MacOs, &[], &["security"]);
    let (_, plan, steps) = made.system(Direction::Install);
    let keychain = "/Library/Keychains/System.keychain";
    let add = "run    /bin/security add-trusted-cert -d -r trustRoot -k";
    assert_eq!(steps, [format!("{add} {keychain} /c/ca.pem")]);
    assert!(!plan.needs_root);
    let mut trusting = Recorded::answering(vec![("verify-cert -l -c /c/ca.pem", "")]);
    let (_, plan, steps) = made.plans(Direction::Uninstall, &mut trusting).remove(0);
    let id = hex(&made.ca.facts.sha1).to_uppercase();
    assert_eq!(plan.state, State::Trusted);
    assert_eq!(
        steps,
        [
            "run    /bin/security remove-trusted-cert -d /c/ca.pem".to_owned(),
            format!("run    /bin/security delete-certificate -Z {id} {keychain}"),
        ]
    );
    let mut made = Made::new(Os::MacOs, &[], &["security"]);
    made.machine.is_root = false;
    assert!(made.system(Direction::Install).1.needs_root);
    made.ca.file = None;
    let blocked = made.system(Direction::Install).1.blocked.unwrap();
    assert!(blocked.contains("flowtap ca export"), "{blocked}");
}

#[test]
fn windows_is_changed_by_certutil() {
    let mut made = Made::new(Os::Windows, &[], &["certutil.exe", "certutil"]);
    made.machine.is_root = false;
    let id = hex(&made.ca.facts.sha1);
    let (_, plan, steps) = made.system(Direction::Install);
    assert_eq!(steps, ["run    /bin/certutil.exe -user -addstore Root /c/ca.pem"]);
    assert!(!plan.needs_root, "the user's own store");
    let mut trusting = Recorded::answering(vec![("-store Root", "")]);
    let plans = made.plans(Direction::Uninstall, &mut trusting);
    assert_eq!(plans[0].2, [format!("run    /bin/certutil.exe -user -delstore Root {id}")]);
    assert_eq!(plans.len(), 1, "no NSS: that certutil is another program");
    made.machine.is_root = true;
    let (_, _, steps) = made.system(Direction::Install);
    assert_eq!(steps, ["run    /bin/certutil.exe -addstore Root /c/ca.pem"]);
}

#[test]
fn every_kind_of_browser_profile_is_found() {
    let files = [
        "/home/.pki/nssdb/cert9.db",
        "/home/snap/chromium/current/.pki/nssdb/cert9.db",
        "/home/.var/app/com.google.Chrome/data/pki/nssdb/cert9.db",
        "/home/.mozilla/firefox/a.default/cert9.db",
        "/home/.mozilla/firefox/Crash Reports/x",
        "/home/.config/mozilla/firefox/b.default/cert9.db",
        "/home/snap/firefox/common/.mozilla/firefox/c.default/cert9.db",
        "/home/.var/app/org.mozilla.firefox/.mozilla/firefox/d.default/cert9.db",
    ];
    let made = Made::new(Os::Linux, &files, &["certutil"]);
    let mut runner = Recorded::answering(vec![("-L", "")]);
    let plans = made.plans(Direction::Install, &mut runner);
    let labels: Vec<_> = plans.iter().skip(1).map(|(label, ..)| label.as_str()).collect();
    let expected = [
        "NSS (Chromium: /home/.pki/nssdb)",
        "NSS (Chromium: /home/snap/chromium/current/.pki/nssdb)",
        "NSS (Chromium: /home/.var/app/com.google.Chrome/data/pki/nssdb)",
        "NSS (Firefox: /home/.mozilla/firefox/a.default)",
        "NSS (Firefox: /home/.config/mozilla/firefox/b.default)",
        "NSS (Firefox: /home/snap/firefox/common/.mozilla/firefox/c.default)",
        "NSS (Firefox: /home/.var/app/org.mozilla.firefox/.mozilla/firefox/d.default)",
    ];
    assert_eq!(labels, expected);
    let name = made.ca.name();
    let add = format!("-A -t C,, -n {name} < /c/ca.pem");
    for (label, plan, steps) in plans.iter().skip(1) {
        assert!(steps.len() == 1 && steps[0].ends_with(&add), "{label}: {steps:?}");
        assert!(plan.notes[0].contains("close"), "{label}");
    }
}

#[test]
fn chromium_without_a_database_gets_one() {
    let made = Made::new(Os::Linux, &[], &["certutil", "chromium"]);
    let (_, _, steps) = made.plans(Direction::Install, &mut Recorded::default()).remove(1);
    assert_eq!(steps.len(), 3, "{steps:?}");
    assert_eq!(steps[0], "make   /home/.pki/nssdb");
    assert!(steps[1].ends_with("-N --empty-password"), "{steps:?}");
    let plans = made.plans(Direction::Uninstall, &mut Recorded::default());
    assert_eq!(plans[1].2, [""; 0]);
    let made = Made::new(Os::Linux, &[], &["certutil"]);
    assert_eq!(made.plans(Direction::Install, &mut Recorded::default()).len(), 1);
}

#[test]
fn without_certutil_its_package_is_named() {
    let made = Made::new(Os::Linux, &["/home/.pki/nssdb/cert9.db"], &[]);
    let (_, plan, _) = made.plans(Direction::Install, &mut Recorded::default()).remove(1);
    let why = plan.blocked.unwrap();
    assert!(["libnss3-tools", "nss-tools"].iter().all(|package| why.contains(package)), "{why}");
}

#[test]
fn the_certificate_is_found_in_nss_under_any_name() {
    let made = Made::new(Os::Linux, &["/home/.pki/nssdb/cert9.db"], &["certutil"]);
    let listed = "\nCertificate Nickname                  Trust Attributes\n\
                  \x20                                     SSL,S/MIME,JAR/XPI\n\n\
                  of an older day                       C,,  \n\
                  another CA                            CT,C,C\n\
                  seen once                             ,,\n";
    let pem = made.ca.pem.clone();
    let mut runner = Recorded::answering(vec![("'of an older day'", &pem), ("-L", listed)]);
    let plans = made.plans(Direction::Install, &mut runner);
    assert_eq!((&plans[1].1.state, plans[1].2.len()), (&State::Trusted, 0));
    let plans = made.plans(Direction::Uninstall, &mut runner);
    assert_eq!(plans[1].2.len(), 1);
    assert!(plans[1].2[0].ends_with("-D -n 'of an older day'"), "{:?}", plans[1].2);
}

#[test]
fn another_certificate_of_the_same_subject_stays_in_nss() {
    let made = Made::new(Os::Linux, &["/home/.pki/nssdb/cert9.db"], &["certutil"]);
    // certutil shows all certificates of a subject for each of their names.
    let both = new_authority().certificate_pem() + &made.ca.pem;
    let own = made.ca.name();
    let listed = format!("of the other    C,,\n{own}    ,,\n");
    let answers = |listed: &str| Recorded::answering(vec![("-a -n", &both), ("-L", listed)]);
    let plans = made.plans(Direction::Uninstall, &mut answers(&listed));
    assert_eq!(plans[1].1.state, State::Absent, "its own trust counts");
    assert_eq!(plans[1].2.len(), 1, "{:?}", plans[1].2);
    assert!(plans[1].2[0].ends_with(&format!("-D -n {own}")), "{:?}", plans[1].2);
    let plans = made.plans(Direction::Install, &mut answers(&listed));
    assert_eq!(plans[1].2.len(), 1, "{:?}", plans[1].2);
    // Without its own name nothing tells which is which.
    let state = |trusts: [&str; 2], direction| {
        let listed = format!("of the other    {}\nand one more    {}\n", trusts[0], trusts[1]);
        let (_, plan, steps) = made.plans(direction, &mut answers(&listed)).remove(1);
        assert!(direction == Direction::Install || steps.is_empty() && plan.blocked.is_some());
        plan.state
    };
    assert_eq!(state(["C,,", "C,,"], Direction::Uninstall), State::Trusted);
    assert_eq!(state([",,", ",,"], Direction::Install), State::Absent);
    assert!(matches!(state([",,", "C,,"], Direction::Uninstall), State::Unknown(_)));
}

#[test]
fn an_nss_database_that_cannot_be_listed_is_not_taken_for_one_without_the_ca() {
    let made = Made::new(Os::Linux, &["/home/.pki/nssdb/cert9.db"], &["certutil"]);
    let error = "SEC_ERROR_LEGACY_DATABASE".to_owned();
    let failed = Ran { success: false, output: Vec::new(), error };
    let mut runner = Recorded { answers: vec![("-L", failed)], ..Recorded::default() };
    let (_, plan, _) = made.plans(Direction::Uninstall, &mut runner).remove(1);
    assert!(plan.blocked.unwrap().contains("LEGACY"));
}

#[test]
fn a_key_of_java_whose_chain_has_the_ca_stays() {
    let files = ["/jdk/lib/security/cacerts", "/jdk/bin/keytool"];
    let mut made = Made::new(Os::Linux, &files, &[]);
    made.machine.java_home = Some(made.at("/jdk"));
    let pem = &made.ca.pem;
    let key = format!(
        "Alias name: server\nEntry type: PrivateKeyEntry\nCertificate chain length: 2\n\
         Certificate[1]:\n{}\nCertificate[2]:\n{pem}\n",
        new_authority().certificate_pem()
    );
    let (_, plan, steps) =
        made.plans(Direction::Uninstall, &mut Recorded::answering(vec![("-list", &key)])).remove(1);
    assert_eq!((plan.state, steps.len()), (State::Absent, 0), "{steps:?}");
    let both = format!("{key}Alias name: mine\nEntry type: trustedCertEntry\n\n{pem}\n");
    let (_, plan, steps) = made
        .plans(Direction::Uninstall, &mut Recorded::answering(vec![("-list", &both)]))
        .remove(1);
    assert_eq!((plan.state, steps.len()), (State::Trusted, 1), "{steps:?}");
    assert!(steps[0].ends_with("-alias mine"), "{steps:?}");
}

#[test]
fn java_is_found_by_its_home_or_its_keytool() {
    let files = ["/jdk/lib/security/cacerts", "/jdk/bin/keytool", "/old/jre/lib/security/cacerts"];
    let mut made = Made::new(Os::Linux, &files, &[]);
    let mut none = Recorded::answering(vec![("-list", "")]);
    assert_eq!(made.plans(Direction::Install, &mut none).len(), 1);
    made.machine.java_home = Some(made.at("/jdk"));
    let (label, _, steps) = made.plans(Direction::Install, &mut none).remove(1);
    assert_eq!(label, "Java (/jdk/lib/security/cacerts)");
    let common = "-keystore /jdk/lib/security/cacerts -storepass changeit";
    let name = made.ca.name();
    let import = format!("run    /jdk/bin/keytool -importcert {common} -noprompt -trustcacerts");
    assert_eq!(steps, [format!("{import} -alias {name} < /c/ca.pem")]);
    let pem = &made.ca.pem;
    let listed = format!("Alias name: mine\nEntry\n{pem}\nAlias name: debian:x.pem\n{pem}\n");
    let mut there = Recorded::answering(vec![("-list", &listed)]);
    let (_, plan, steps) = made.plans(Direction::Uninstall, &mut there).remove(1);
    assert_eq!(steps, [format!("run    /jdk/bin/keytool -delete {common} -alias mine")]);
    assert!(plan.notes[0].contains("system's store"), "{:?}", plan.notes);
    // The keytool of PATH leads to its JDK, and one named twice is one.
    std::os::unix::fs::symlink(made.at("/jdk/bin/keytool"), made.at("/bin-keytool")).unwrap();
    fs::create_dir_all(made.at("/bin")).unwrap();
    fs::rename(made.at("/bin-keytool"), made.at("/bin/keytool")).unwrap();
    made.machine.java_home = None;
    let homes = [made.at("/jdk"), made.at("/old"), made.at("/nowhere")];
    let wanted = Wanted { java: true, java_homes: &homes, ..Wanted::default() };
    let (stores, notes) = find(&made.machine, wanted);
    assert_eq!(stores.len(), 2);
    assert!(notes.len() == 1 && notes[0].contains("/nowhere"), "{notes:?}");
}

#[test]
fn the_store_that_the_system_makes_for_java_is_changed_by_the_system() {
    let files = ["/etc/ssl/certs/java/cacerts", "/jdk/lib/security/", "/jdk/bin/keytool"];
    let mut made = Made::new(Os::Linux, &files, &[]);
    let linked = made.at("/jdk/lib/security/cacerts");
    std::os::unix::fs::symlink(made.at("/etc/ssl/certs/java/cacerts"), linked).unwrap();
    made.machine.java_home = Some(made.at("/jdk"));
    let all = Wanted { system: true, java: true, ..Wanted::default() };
    let (stores, notes) = find(&made.machine, all);
    assert!(stores.len() == 1 && notes[0].contains("follows"), "{notes:?}");
    let java = Wanted { java: true, ..Wanted::default() };
    assert_eq!(find(&made.machine, java).0.len(), 1);
    // Debian puts certificates into it, and does not take them out again.
    let listed = format!("Alias name: debian:x.pem\n{}\n", made.ca.pem);
    let mut runner = Recorded::answering(vec![("-list", &listed)]);
    let mut steps = |wanted: Wanted<'_>| {
        let (mut stores, _) = find(&made.machine, wanted);
        let plan = |it: Store| it.plan(Direction::Uninstall, &made.ca, &made.machine, &mut runner);
        stores.pop().map(plan).unwrap().steps.len()
    };
    let bundle = made.at("/etc/ssl/certs/ca-certificates.crt");
    write(&bundle, made.ca.pem.as_bytes());
    write(&made.at("/etc/ca-certificates.conf"), b"");
    write(&made.at("/bin/update-ca-certificates"), b"");
    let with_system = Wanted { system: true, made_by_system: true, ..Wanted::default() };
    assert_eq!(steps(with_system), 1);
    assert_eq!(steps(Wanted { java: true, ..with_system }), 1);
    assert_eq!(steps(java), 0, "it would come back, since the system has it");
    fs::remove_file(bundle).unwrap();
    assert_eq!(steps(java), 1);
}

#[test]
fn steps_are_done_in_order_until_one_fails() {
    let made = Made::new(Os::Linux, &["/anchors/"], &[]);
    let file = made.at("/anchors/a.crt");
    let run = |name: &str| Step::Run(CommandLine::new(name, ["x"]).reading_certificate());
    let steps = vec![
        Step::MakeFolder(made.at("/db")),
        Step::Write(file.clone()),
        run("good"),
        run("bad"),
        run("never"),
    ];
    let state = State::Absent;
    let plan = Plan { state, steps, blocked: None, needs_root: false, notes: Vec::new() };
    let mut runner = Recorded::answering(vec![("good", "")]);
    let failed = Ran { success: false, output: b"one\ntwo".to_vec(), error: String::new() };
    runner.answers.push(("bad", failed));
    let mut told = Vec::new();
    let result = apply(&plan, &made.ca, &mut runner, &mut |line| told.push(line.to_owned()));
    assert_eq!(result.unwrap_err(), "bad failed: one; two");
    assert_eq!(fs::read(&file).unwrap(), made.ca.pem.as_bytes());
    assert_eq!((runner.lines.len(), told.len()), (2, 4));
    assert_eq!(runner.inputs[0], made.ca.pem.as_bytes());
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file.clone()), mode(made.at("/db"))), (0o644, 0o700));
    // Taking away what is gone already is no failure.
    let steps = vec![Step::Remove(file.clone()), Step::Remove(file.clone())];
    let plan = Plan { steps, ..plan };
    apply(&plan, &made.ca, &mut runner, &mut |_| {}).unwrap();
    assert!(!file.exists());
}

#[test]
fn a_file_far_larger_than_a_bundle_is_not_read() {
    let made = Made::new(Os::Linux, &[], &[]);
    let path = made.at("/large");
    write(&path, b"x");
    assert_eq!(content(&path), b"x");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(TRUST_FILE_BYTES).unwrap();
    assert_eq!(content(&path).len() as u64, TRUST_FILE_BYTES);
    file.set_len(TRUST_FILE_BYTES + 1).unwrap();
    assert_eq!(content(&path), b"");
}

#[test]
fn no_step_ever_names_the_key() {
    // A CA that was named has its key and certificate in one file, which no command gets.
    let mut made = Made::new(Os::MacOs, &["/home/.pki/nssdb/cert9.db"], &["security", "certutil"]);
    made.ca.file = None;
    for (_, plan, steps) in made.plans(Direction::Install, &mut Recorded::default()) {
        assert!(steps.iter().all(|step| !step.contains("ca.pem")), "{plan:?}");
    }
    assert!(!made.ca.pem.contains("PRIVATE"));
}
