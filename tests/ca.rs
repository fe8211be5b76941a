//! `flowtap ca` as a user has it: real stores, each a copy or made for the test. None of this
//! machine's is changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/refusing.rs"]
mod refusing;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use refusing::Refusing;

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a command came to.
struct Ended {
    status: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ended {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}\n{}", self.text(), self.stderr);
        self.text()
    }

    /// Both streams of one that failed with this status.
    #[track_caller]
    fn failed(self, status: i32) -> String {
        let all = format!("{}\n{}", self.text(), self.stderr);
        assert_eq!(self.status, status, "{all}");
        all
    }
}

/// Runs a command to its end, and ends it where it does not.
fn run(command: &mut Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let read = |mut from: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut all = Vec::new();
            from.read_to_end(&mut all).unwrap();
            all
        })
    };
    let stdout = read(Box::new(child.stdout.take().unwrap()));
    let stderr = read(Box::new(child.stderr.take().unwrap()));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        thread::park_timeout(Duration::from_millis(5));
    };
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
    Ended { status: status.code().unwrap_or(-1), stdout: stdout.join().unwrap(), stderr }
}

/// A user with a home folder and nothing in it.
struct User(TempDir);

impl User {
    fn new() -> User {
        User(tempfile::tempdir().unwrap())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// `flowtap` for this user.
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
        command.args(arguments).env("HOME", self.0.path()).current_dir(self.0.path());
        for name in ["JAVA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "SUDO_USER"] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command
    }

    fn ca<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ended {
        let mut all: Vec<&OsStr> = vec!["ca".as_ref()];
        all.extend(arguments.iter().map(AsRef::as_ref));
        run(&mut self.command(&all))
    }

    /// The certificate, which is made where there is none yet.
    fn certificate(&self) -> PathBuf {
        let file = self.at(".flowtap/flowtap-ca-cert.pem");
        if !file.exists() {
            self.ca(&["export"]).ok();
        }
        file
    }

    /// The name under which stores have it.
    fn name(&self) -> String {
        let print = tool("openssl", &["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(self.certificate())
            .output()
            .unwrap();
        let print = String::from_utf8(print.stdout).unwrap();
        let hex = print.trim().split('=').nth(1).unwrap().replace(':', "").to_lowercase();
        format!("flowtap-{}", &hex[..8])
    }
}

fn tool(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).env("LC_ALL", "C");
    command
}

/// A running `flowtap proxy`, ended with the test.
struct Proxy {
    child: Child,
    url: String,
    /// What it printed before it listened, and after, as far as it was read.
    lines: Receiver<String>,
}

impl Proxy {
    fn start(user: &User, arguments: &[&str]) -> Proxy {
        let all = [&["proxy", "-p", "0", "--no-output", "--no-mcp"][..], arguments].concat();
        let mut command = user.command(&all);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line + "\n"))
        });
        let line = lines.recv_timeout(DEADLINE).unwrap();
        let url = line.trim().strip_prefix("proxy  ").unwrap_or_else(|| panic!("{line}"));
        Proxy { child, url: url.to_owned(), lines }
    }

    /// Reads lines until one holds these words; all of them.
    fn until(&mut self, words: &str) -> String {
        let mut all = String::new();
        while !all.contains(words) {
            let line = self.lines.recv_timeout(DEADLINE);
            all += &line.unwrap_or_else(|why| panic!("no {words} in {all}: {why}"));
        }
        all
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_ca_is_shown_with_what_others_know_it_by() {
    let user = User::new();
    let first = user.ca::<&str>(&[]).ok();
    assert!(first.contains("flowtap-ca.pem (made just now)"), "{first}");
    let shown = user.ca(&["show"]).ok();
    assert_eq!(shown, first.replace(" (made just now)", ""));
    let certificate = user.certificate();
    for hash in ["-sha256", "-sha1"] {
        let mut openssl = tool("openssl", &["x509", "-noout", "-fingerprint", hash, "-in"]);
        let told = run(openssl.arg(&certificate)).ok();
        let print = told.trim().split('=').nth(1).unwrap();
        assert!(shown.contains(print), "{shown}");
    }
    for words in ["CN=flowtap", "ECDSA P-256", "days left", "not trusted  system ("] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn the_certificate_is_exported_in_three_forms_and_its_key_in_none() {
    let user = User::new();
    let certificate = fs::read_to_string(user.certificate()).unwrap();
    assert_eq!(user.ca(&["export"]).ok(), certificate);
    let der = user.at("ca.der");
    user.ca(&["export", "--format", "der", "-o", der.to_str().unwrap()]).ok();
    let read = run(tool("openssl", &["x509", "-inform", "der", "-in"]).arg(&der)).ok();
    assert_eq!(read.trim(), certificate.trim());
    for (password, wrong) in [("", "other"), ("pass word \u{e9}", "")] {
        let p12 = user.at("ca.p12");
        let out = p12.to_str().unwrap();
        user.ca(&["export", "--format", "p12", "--password", password, "-o", out]).ok();
        let openssl = |password: &str| {
            let password = format!("pass:{password}");
            run(tool("openssl", &["pkcs12", "-nokeys", "-passin", &password, "-in"]).arg(&p12))
        };
        let text = openssl(password).ok();
        let begins = text.find("-----BEGIN").unwrap();
        assert_eq!(text[begins..].trim(), certificate.trim());
        assert_ne!(openssl(wrong).status, 0);
        let password = format!("pass:{password}");
        let words = ["pkcs12", "-nocerts", "-nodes", "-passin", &password, "-in"];
        let keys = run(tool("openssl", &words).arg(&p12));
        assert!(!keys.text().contains("KEY"), "{}", keys.text());
    }
    // As it is, Java takes it for a trust store.
    let store = user.at("store.p12");
    let out = store.to_str().unwrap();
    user.ca(&["export", "--format", "p12", "--password", "changeit", "-o", out]).ok();
    let list = ["-J-Duser.language=en", "-list", "-rfc", "-storepass", "changeit", "-keystore"];
    let listed = run(tool("keytool", &list).arg(&store)).ok();
    assert!(listed.contains("trustedCertEntry") && listed.contains("flowtap"), "{listed}");
    // The CA itself is never overwritten.
    let own = user.at(".flowtap/flowtap-ca.pem");
    let key = fs::read(&own).unwrap();
    let refused = user.ca(&["export", "-o", own.to_str().unwrap()]).failed(2);
    assert!(refused.contains("would replace the CA itself"), "{refused}");
    assert_eq!(fs::read(&own).unwrap(), key);
}

/// An empty NSS database.
fn make_database(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let database = format!("sql:{}", folder.display());
    run(&mut tool("certutil", &["-N", "--empty-password", "-d", &database])).ok();
}

fn listed(folder: &Path) -> String {
    run(&mut tool("certutil", &["-L", "-d", &format!("sql:{}", folder.display())])).ok()
}

#[test]
fn nss_is_told_to_trust_and_to_forget() {
    let user = User::new();
    let name = user.name();
    let folders = [".pki/nssdb", ".mozilla/firefox/ab cd.default"].map(|folder| user.at(folder));
    folders.iter().for_each(|folder| make_database(folder));
    // Nothing is done without a word.
    let plan = user.ca(&["install", "--nss"]).failed(2);
    assert!(plan.contains("--yes") && plan.contains("certutil -d sql:"), "{plan}");
    let dry = user.ca(&["install", "--nss", "--dry-run"]).ok();
    assert!(plan.contains(&dry) && dry.contains("ab cd.default"), "{dry}");
    for folder in &folders {
        assert!(!listed(folder).contains("flowtap"));
    }
    let done = user.ca(&["install", "--nss", "--yes"]).ok();
    assert_eq!(done.matches("trusts the CA now").count(), 2, "{done}");
    for folder in &folders {
        let listed = listed(folder);
        let line = listed.lines().find(|line| line.starts_with(&name)).unwrap();
        assert!(line.trim_end().ends_with("C,,"), "{listed}");
        let database = format!("sql:{}", folder.display());
        run(&mut tool("certutil", &["-V", "-u", "L", "-n", &name, "-d", &database])).ok();
    }
    let shown = user.ca::<&str>(&[]).ok();
    assert_eq!(shown.matches("\ntrusted      NSS (").count(), 2, "{shown}");
    let again = user.ca(&["install", "--nss"]).ok();
    assert_eq!(again.matches("nothing to do").count(), 2, "{again}");
    let forgotten = user.ca(&["uninstall", "--nss", "--yes"]).ok();
    assert_eq!(forgotten.matches("does not trust the CA any more").count(), 2, "{forgotten}");
    for folder in &folders {
        assert!(!listed(folder).contains("flowtap"));
    }
    let again = user.ca(&["uninstall", "--nss"]).ok();
    assert_eq!(again.matches("nothing to do").count(), 2, "{again}");
}

#[test]
fn what_nobody_could_read_is_a_failure_and_changes_nothing() {
    let user = User::new();
    let folder = user.at(".pki/nssdb");
    make_database(&folder);
    user.certificate();
    let print_to = |words: &str, out: Stdio| {
        let words: Vec<_> = words.split_whitespace().collect();
        let mut command = user.command(&words);
        command.stdin(Stdio::null()).stdout(out).output().unwrap()
    };
    for words in [
        "ca",
        "ca --qr",
        "ca install --nss --dry-run",
        "ca uninstall --nss --dry-run",
        "ca install --nss --yes",
        "ca check",
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let lost = print_to(words, full.into());
        let told = String::from_utf8(lost.stderr).unwrap();
        assert_eq!(lost.status.code(), Some(1), "{words}: {told}");
        let why = "flowtap: cannot write the output: No space left on device";
        assert!(told.starts_with(why), "{words}: {told}");
        assert!(!listed(&folder).contains("flowtap"), "{words}");
    }
    // Who wants no more has seen enough.
    for words in ["ca", "ca install --nss --yes"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(print_to(words, writer.into()).status.code(), Some(0), "{words}");
    }
    assert!(listed(&folder).contains("flowtap"));
}

/// All CAs of flowtap have one subject, by which NSS takes certificates together.
#[test]
fn another_ca_of_flowtap_stays_in_nss() {
    let (user, other) = (User::new(), User::new());
    let folder = user.at(".pki/nssdb");
    make_database(&folder);
    other.certificate();
    let theirs = other.at(".flowtap");
    let theirs = ["--nss", "--yes", "--confdir", theirs.to_str().unwrap()];
    user.ca(&[&["install"], &theirs[..]].concat()).ok();
    let done = user.ca(&["install", "--nss", "--yes"]).ok();
    assert!(done.contains("trusts the CA now"), "{done}");
    assert_eq!(listed(&folder).matches("flowtap-").count(), 2);
    user.ca(&["uninstall", "--nss", "--yes"]).ok();
    let left = listed(&folder);
    assert!(left.contains(&other.name()) && left.matches("flowtap-").count() == 1, "{left}");
    user.ca(&[&["uninstall"], &theirs[..]].concat()).ok();
    assert!(!listed(&folder).contains("flowtap-"));
}

/// At a terminal somebody is asked, and only a yes is one.
#[test]
fn a_terminal_is_asked() {
    let user = User::new();
    make_database(&user.at(".pki/nssdb"));
    let answered = |hex: &str| {
        let runner = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/support/terminal.py");
        let mut command = tool("timeout", &["60", "python3", runner]);
        command
            .args([env!("CARGO_BIN_EXE_flowtap"), "ca", "install", "--nss"])
            .env("HOME", user.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut keyboard = child.stdin.take().unwrap();
        keyboard.write_all(format!("type {hex}\n").as_bytes()).unwrap();
        let mut shown = String::new();
        child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
        child.wait().unwrap();
        drop(keyboard);
        shown
    };
    for no in ["6e0a", "0a"] {
        let shown = answered(no);
        assert!(shown.contains("Go on? [y/N]") && shown.contains("nothing was changed"), "{shown}");
        assert!(shown.contains("exit 1"), "{shown}");
        assert!(!listed(&user.at(".pki/nssdb")).contains("flowtap"));
    }
    let shown = answered("790a");
    assert!(shown.contains("exit 0"), "{shown}");
    assert!(listed(&user.at(".pki/nssdb")).contains("flowtap"));
}

#[test]
fn no_ca_is_made_to_be_removed() {
    let user = User::new();
    let failed = user.ca(&["uninstall", "--yes"]).failed(1);
    assert!(failed.contains("--confdir") && !user.at(".flowtap").exists(), "{failed}");
}

/// A key that others know, that is damaged or whose CA has had its day is a reason to end the
/// trust in it.
#[test]
fn trust_in_a_ca_that_cannot_be_used_any_more_is_taken_back() {
    let user = User::new();
    let folder = user.at(".pki/nssdb");
    make_database(&folder);
    let key = user.at(".flowtap/flowtap-ca.pem");
    user.certificate();
    let whole = fs::read(&key).unwrap();
    let in_full = || fs::write(&key, &whole).unwrap();
    let damages: [&dyn Fn(); 3] = [
        &|| fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap(),
        &|| fs::write(&key, &whole[..100]).unwrap(),
        &|| fs::write(&key, "").unwrap(),
    ];
    for damage in damages {
        user.ca(&["install", "--nss", "--yes"]).ok();
        assert!(listed(&folder).contains(&user.name()));
        damage();
        user.ca::<&str>(&[]).failed(1);
        let done = user.ca(&["uninstall", "--nss", "--yes"]).ok();
        assert!(done.contains("does not trust the CA any more"), "{done}");
        assert!(!listed(&folder).contains(&user.name()));
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        in_full();
    }
    // As where it was moved away because others know it.
    user.ca(&["install", "--nss", "--yes"]).ok();
    fs::remove_file(&key).unwrap();
    let done = user.ca(&["uninstall", "--nss", "--yes"]).ok();
    assert!(done.contains("does not trust the CA any more"), "{done}");
    in_full();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let expired = user.at("expired.pem");
    fs::write(&expired, expired_authority()).unwrap();
    fs::set_permissions(&expired, Permissions::from_mode(0o600)).unwrap();
    let expired = expired.to_str().unwrap();
    let refused = user.ca(&["install", "--nss", "--yes", "--ca", expired]).failed(1);
    assert!(refused.contains("expired on 2001-"), "{refused}");
    let database = format!("sql:{}", folder.display());
    let add = ["-A", "-t", "C,,", "-n", "theirs", "-d", &database, "-i", expired];
    run(&mut tool("certutil", &add)).ok();
    let done = user.ca(&["uninstall", "--nss", "--yes", "--ca", expired]).ok();
    assert!(done.contains("-D -n theirs"), "{done}");
    assert!(!listed(&folder).contains("theirs"));
    // What others can replace could be the certificate of somebody whom the user trusts.
    let exposed = Permissions::from_mode(0o666);
    fs::set_permissions(&key, exposed.clone()).unwrap();
    fs::set_permissions(user.certificate(), exposed).unwrap();
    let refused = user.ca(&["uninstall", "--nss", "--yes"]).failed(1);
    assert!(refused.contains("users other than its owner"), "{refused}");
}

/// Key and certificate of a CA whose life has ended.
fn expired_authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "a CA of the past");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
    key.serialize_pem() + &parameters.self_signed(&key).unwrap().pem()
}

#[test]
fn a_browser_that_was_never_started_gets_a_database() {
    let user = User::new();
    let done = user.ca(&["install", "--nss", "--yes"]).ok();
    assert!(done.contains("trusts the CA now"), "{done}");
    assert!(listed(&user.at(".pki/nssdb")).contains(&user.name()));
}

/// Chromium itself, which has no other roots of the test's own than those of its user's database.
#[test]
fn chromium_takes_the_ca_that_was_installed() {
    let user = User::new();
    let proxy = Proxy::start(&user, &[]);
    let visit = || {
        let programs = ["chromium", "chromium-browser", "google-chrome"];
        let on_path = |name: &&str| run(&mut tool("which", &[*name])).status == 0;
        let program = programs.into_iter().find(on_path).expect("a Chromium");
        let mut chromium = tool(program, &["--headless", "--no-sandbox", "--disable-gpu"]);
        chromium.args(["--disable-background-networking", "--no-first-run", "--dump-dom"]);
        chromium.arg(format!("--proxy-server={}", proxy.url));
        chromium.arg(format!("--user-data-dir={}", user.at("profile").display()));
        chromium.arg("https://mitm.it/").env("HOME", user.0.path());
        run(&mut chromium).text()
    };
    assert!(!visit().contains("<summary>Firefox"));
    user.ca(&["install", "--nss", "--yes"]).ok();
    let page = visit();
    assert!(page.contains("<summary>Firefox"), "{page}");
}

/// The trust store of a JDK that is there, copied to a folder that stands for another.
fn made_jdk(user: &User) -> (PathBuf, PathBuf) {
    let keytool = run(&mut tool("sh", &["-c", "readlink -f \"$(command -v keytool)\""])).ok();
    let home = Path::new(keytool.trim()).ancestors().nth(2).unwrap();
    let jdk = user.at("jdk");
    let cacerts = jdk.join("lib/security/cacerts");
    fs::create_dir_all(cacerts.parent().unwrap()).unwrap();
    fs::copy(home.join("lib/security/cacerts"), &cacerts).unwrap();
    fs::set_permissions(&cacerts, Permissions::from_mode(0o644)).unwrap();
    (jdk, cacerts)
}

#[test]
fn java_is_told_to_trust_and_to_forget() {
    let user = User::new();
    let (jdk, cacerts) = made_jdk(&user);
    let certificate = user.certificate();
    let lookup = |alias: &str| {
        let words = ["-exportcert", "-rfc", "-storepass", "changeit", "-alias", alias, "-keystore"];
        run(tool("keytool", &words).arg(&cacerts))
    };
    let jdk = jdk.to_str().unwrap();
    assert_ne!(lookup(&user.name()).status, 0);
    let done = user.ca(&["install", "--java-home", jdk, "--yes"]).ok();
    assert!(done.contains("trusts the CA now"), "{done}");
    let exported = lookup(&user.name()).ok().replace('\r', "");
    assert_eq!(exported.trim(), fs::read_to_string(&certificate).unwrap().trim());
    let again = user.ca(&["install", "--java-home", jdk]).ok();
    assert!(again.contains("nothing to do"), "{again}");
    let forgotten = user.ca(&["uninstall", "--java-home", jdk, "--yes"]).ok();
    assert!(forgotten.contains("does not trust the CA any more"), "{forgotten}");
    assert_ne!(lookup(&user.name()).status, 0);
    let nothing = user.ca(&["install", "--java-home", "/nonexistent", "--yes"]).failed(1);
    assert!(nothing.contains("/nonexistent has no lib/security/cacerts"), "{nothing}");
}

/// Debian's own update-ca-certificates, on copies of its folders in a mount namespace where
/// nothing else can be written. The script gets these lines, after which the CA is not trusted yet.
const COPIES: &str = r#"
    set -e
    mount --make-rprivate /
    for folder in /etc/ssl /usr/local/share/ca-certificates; do
        copy=$TMPDIR/copy$folder
        mkdir -p "$copy"
        cp -a "$folder/." "$copy"
    done
    mount --bind "$TMPDIR" "$TMPDIR"
    mount --bind "$TMPDIR/copy/etc/ssl" /etc/ssl
    mount --bind "$TMPDIR/copy/usr/local/share/ca-certificates" /usr/local/share/ca-certificates
    # Hooks may change more of the machine, and take long.
    if test -d /etc/ca-certificates/update.d; then
        mount -t tmpfs none /etc/ca-certificates/update.d
    fi
    mount -o remount,ro,bind /
    if touch /etc/written 2>/dev/null; then echo "this would change the machine"; exit 9; fi
"#;

/// Runs a script behind [`COPIES`], which ends with the words "all of it".
fn with_copies(user: &User, script: &str) {
    let file = user.at("script.sh");
    fs::write(&file, format!("{COPIES}{script}")).unwrap();
    let flags: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["--mount"],
        false => &["--mount", "--map-root-user"],
    };
    let mut unshare = tool("unshare", flags);
    unshare.args(["sh", "-x"]).arg(&file).env("NAME", user.name());
    unshare.env("HOME", user.0.path()).env("TMPDIR", user.0.path());
    unshare.env("FLOWTAP", env!("CARGO_BIN_EXE_flowtap")).env("CERTIFICATE", user.certificate());
    for variable in ["JAVA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "SUDO_USER"] {
        unshare.env_remove(variable);
    }
    let ended = run(&mut unshare);
    let trace = ended.stderr.clone();
    let text = ended.text();
    assert_eq!(ended.status, 0, "{text}\n{trace}");
    assert!(text.ends_with("all of it\n"), "{text}");
    let name = user.name();
    assert!(!Path::new(&format!("/usr/local/share/ca-certificates/{name}.crt")).exists());
}

#[test]
fn the_store_of_the_system_is_told_to_trust_and_to_forget() {
    let script = r#"
        openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt "$CERTIFICATE" && exit 8
        "$FLOWTAP" ca check --system && exit 7
        "$FLOWTAP" ca install --system --yes
        test -f "/usr/local/share/ca-certificates/$NAME.crt"
        openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt "$CERTIFICATE"
        openssl verify -CApath /etc/ssl/certs "$CERTIFICATE"
        "$FLOWTAP" ca check --system
        "$FLOWTAP" ca install --system | grep 'nothing to do'
        "$FLOWTAP" ca uninstall --system --yes
        test -z "$(find /usr/local/share/ca-certificates /etc/ssl/certs -name "$NAME*")"
        "$FLOWTAP" ca check --system && exit 6
        "$FLOWTAP" ca uninstall --system | grep 'nothing to do'
        echo all of it
    "#;
    with_copies(&User::new(), script);
}

/// Debian's hook, which this one stands for, hears what is there after `update-ca-certificates
/// --fresh`, and not what has gone.
#[test]
fn what_the_system_gave_to_java_is_taken_from_it_too() {
    let user = User::new();
    fs::create_dir_all(user.at("jdk/lib/security")).unwrap();
    let script = r#"
        mkdir -p /etc/ssl/certs/java
        rm -f /etc/ssl/certs/java/cacerts
        ln -s /etc/ssl/certs/java/cacerts "$HOME/jdk/lib/security/cacerts"
        export JAVA_HOME="$HOME/jdk"
        store="-keystore /etc/ssl/certs/java/cacerts -storepass changeit"
        # Of all that the system trusts, this certificate alone is given to Java here.
        printf '%s\n' '#!/bin/sh' 'grep "^+.*flowtap-" | while read -r line; do' \
            "    keytool -importcert -noprompt $store -file \"\${line#+}\" \\" \
            '        -alias "debian:$(basename "$line")"' done \
            > /etc/ca-certificates/update.d/java
        chmod +x /etc/ca-certificates/update.d/java
        "$FLOWTAP" ca install --system --yes
        keytool -list $store -alias "debian:$NAME.pem"
        "$FLOWTAP" ca uninstall --system --yes
        keytool -list $store | grep -i "$NAME" && exit 8
        echo all of it
    "#;
    with_copies(&user, script);
}

#[test]
fn a_check_passes_only_where_the_ca_is_trusted() {
    let (user, other) = (User::new(), User::new());
    let (certificate, another) = (user.certificate(), other.certificate());
    let check = |roots: &Path, arguments: &[&str]| {
        let all = [&["ca", "check"][..], arguments].concat();
        run(user.command(&all).env("SSL_CERT_FILE", roots))
    };
    let passed = check(&certificate, &[]).ok();
    for words in
        ["https://mitm.it:443/", "HTTP/1.1 200 OK", "trusted      system, by SSL_CERT_FILE"]
    {
        assert!(passed.contains(words), "{words}: {passed}");
    }
    let failed = check(&another, &["--system"]).failed(1);
    assert!(failed.contains("unset SSL_CERT_FILE"), "{failed}");
    let failed = user.ca(&["check", "--system"]).failed(1);
    assert!(failed.contains("flowtap ca install --system"), "{failed}");
    // What stands behind the proxy may fail: the certificate was shown all the same.
    let nobody = Refusing::new();
    let dead = check(&certificate, &["--system", &nobody.addr.to_string()]).ok();
    assert!(dead.contains("answer       HTTP/1.1 502 "), "{dead}");
    // A running proxy is asked, and whose CA it has is seen.
    let running = Proxy::start(&user, &[]);
    let passed = check(&certificate, &["--system", "--proxy", &running.url]).ok();
    assert!(passed.contains(running.url.strip_prefix("http://").unwrap()), "{passed}");
    let foreign = Proxy::start(&other, &[]);
    let failed = check(&certificate, &["--system", "--proxy", &foreign.url]).failed(1);
    assert!(failed.contains("was not made by this CA"), "{failed}");
    let url = format!("http://{}", nobody.addr);
    let failed = check(&certificate, &["--system", "--proxy", &url]).failed(1);
    assert!(failed.contains("cannot be reached"), "{failed}");
}

#[test]
fn a_check_of_other_stores_looks_into_them() {
    let user = User::new();
    make_database(&user.at(".pki/nssdb"));
    let (jdk, _) = made_jdk(&user);
    let stores = ["check", "--nss", "--java-home", jdk.to_str().unwrap()];
    let failed = user.ca(&stores).failed(1);
    assert!(failed.contains("flowtap ca install --nss"), "{failed}");
    assert!(failed.contains("flowtap ca install --java-home "), "{failed}");
    user.ca(&["install", "--nss", "--java-home", jdk.to_str().unwrap(), "-y"]).ok();
    let passed = user.ca(&stores).ok();
    assert_eq!(passed.matches("\ntrusted  ").count(), 2, "{passed}");
    // The system's is told of, and was not asked for.
    assert!(passed.contains("not trusted  system"), "{passed}");
}

/// Copies a program to where every user may run it. Another process does: what another test starts
/// meanwhile has this one's descriptors for a moment, and a file that is open to be written cannot
/// be run.
fn install(from: &Path, to: &Path) {
    let arguments = ["-m", "755", from.to_str().unwrap(), to.to_str().unwrap()];
    run(&mut tool("install", &arguments)).ok();
}

/// For users without root there is a line to type, or sudo where they say so.
#[test]
fn what_needs_root_is_left_to_root() {
    if !rustix::process::geteuid().is_root() {
        // Without root there is no way to become another user; the plans are tested by themselves.
        return;
    }
    const NOBODY: u32 = 65_534;
    let user = User::new();
    // Where the program itself may be is not for every user to see.
    let program = user.at("flowtap");
    install(Path::new(env!("CARGO_BIN_EXE_flowtap")), &program);
    chown(user.0.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let sudo = user.at("bin/sudo");
    fs::create_dir(user.at("bin")).unwrap();
    fs::set_permissions(user.at("bin"), Permissions::from_mode(0o755)).unwrap();
    let script = user.at("script.sh");
    fs::write(&script, "#!/bin/sh\necho \"$@\" >\"$HOME/sudo-was-called\"\n").unwrap();
    install(&script, &sudo);
    let path = format!("{}:{}", user.at("bin").display(), std::env::var("PATH").unwrap());
    let ca = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("ca").args(arguments).env("HOME", user.0.path()).env("PATH", &path);
        command.env_remove("JAVA_HOME").current_dir(user.0.path());
        run(command.uid(NOBODY).gid(NOBODY))
    };
    let failed = ca(&["install", "--system", "--yes"]).failed(1);
    let folder = user.at(".flowtap");
    let line =
        format!("sudo {} ca install --system --confdir {}", program.display(), folder.display());
    assert!(failed.contains(&format!("root is needed: {line}")), "{failed}");
    assert!(!user.at("sudo-was-called").exists());
    ca(&["install", "--system", "--yes", "--sudo"]).ok();
    let called = fs::read_to_string(user.at("sudo-was-called")).unwrap();
    assert_eq!(format!("sudo {}", called.trim()), format!("{line} --yes"));
    // And under sudo, whose home folder is root's, whose CA is meant has to be said.
    let mut command = user.command(&["ca", "install", "--system", "--dry-run"]);
    let refused = run(command.env("SUDO_USER", "alice")).failed(2);
    assert!(refused.contains("--confdir ~alice/.flowtap"), "{refused}");
}

#[test]
fn phones_find_the_page_by_the_address_of_the_proxy() {
    let user = User::new();
    let mut proxy = Proxy::start(&user, &["--qr"]);
    let words = proxy.until("No QR code");
    assert!(words.contains("--listen 0.0.0.0"), "{words}");
    let address = proxy.url.strip_prefix("http://").unwrap().to_owned();
    let ask = |path: &str, host: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    };
    let page = String::from_utf8(ask("/", &address)).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("iPhone"), "{page}");
    let pem = ask("/cert/pem", &address);
    let certificate = fs::read(user.certificate()).unwrap();
    assert!(pem.ends_with(&certificate));
    assert!(ask("/other", &address).starts_with(b"HTTP/1.1 400 "));
    // A page of the web may have a name lead here, and is told nothing.
    assert!(ask("/cert/pem", "rebound.example").starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn a_proxy_for_the_network_shows_a_code_or_says_that_there_is_no_network() {
    let user = User::new();
    let mut proxy = Proxy::start(&user, &["--qr", "--listen", "0.0.0.0"]);
    let words = proxy.until("WARNING: other machines");
    let words = words + &proxy.until("phone");
    let port = proxy.url.rsplit(':').next().unwrap();
    assert!(words.contains(&format!(":{port}/\n")) || words.contains("no address"), "{words}");
    let shown = user.ca(&["--qr", "-p", "8123"]).ok();
    assert!(shown.contains(":8123/\n") || shown.contains("no address"), "{shown}");
    let mut guarded =
        Proxy::start(&user, &["--qr", "--listen", "0.0.0.0", "--set", "proxyauth=u:p"]);
    assert!(guarded.until("No QR code").contains("mitm.it") || guarded.url.is_empty());
}
