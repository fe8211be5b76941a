//! Secrets of flowtap's own: the CA's key, what it captures, and the credentials of the proxy.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::agent::Agent;
use crate::support::bundle::{Bundle, fields};
use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::get;
use crate::support::origin::Origin;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// All files and folders below `folder`.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(below(&path));
        }
        all.push(path);
    }
    all
}

/// Checks that nobody but the owner can look into anything but the CA's certificate.
fn check_modes(folder: &Path) {
    for path in below(folder) {
        let is_certificate = path.file_name().unwrap().to_str().unwrap().contains("ca-cert.");
        let expected = match (is_certificate, path.is_dir()) {
            (true, _) => 0o644,
            (false, true) => 0o700,
            (false, false) => 0o600,
        };
        assert_eq!(mode(&path), expected, "{}: {:04o}", path.display(), mode(&path));
    }
}

#[test]
fn all_files_are_private_whatever_the_umask_is() {
    for mask in ["000", "077"] {
        let origin = Origin::answers(OK);
        let mut tap = Setup::with_mcp().umask(mask).start();
        let folder = tap.folder().to_owned();
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        client.response();
        let mut agent = Agent::of(&tap);
        let one = |content: &Value| content["count"] == 1;
        agent.wait("get_flow_count", &json!({}), one);
        agent.call("export_flows", json!({"path": "agent.har"}));
        assert!(folder.join("capture.zip.journal").is_dir());
        check_modes(&folder);

        tap.signal(rustix::process::Signal::INT);
        let ended = tap.keep_until_its_end();
        assert!(ended.status.success(), "{}", ended.stderr);
        // A file that others could read becomes private when it is written anew.
        let old = folder.join("old.har");
        fs::write(&old, "old").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o666)).unwrap();
        for har in ["new.har", "old.har"] {
            let script = format!("umask {mask} && exec \"$0\" export capture.zip --har {har}");
            let mut command = Command::new("sh");
            command.args(["-c", &script, env!("CARGO_BIN_EXE_flowtap")]).current_dir(&folder);
            assert!(command.output().unwrap().status.success());
        }
        for name in ["capture.zip", "new.har", "old.har", "agent.har", "conf/flowtap-ca.pem"] {
            assert!(folder.join(name).is_file(), "{name}");
        }
        check_modes(&folder);
    }
}

#[test]
fn a_ca_key_that_others_can_read_is_refused_at_the_start() {
    let shared = TempDir::new().unwrap();
    let conf = shared.path().join("conf");
    let with_conf = || Setup::proxy().args(["--confdir".as_ref(), conf.as_os_str()]);
    with_conf().start().stop();
    let key = conf.join("flowtap-ca.pem");
    let with_file = || Setup::proxy().args(["--ca".as_ref(), key.as_os_str()]);
    for (mode, setup) in [(0o640, with_conf()), (0o620, with_file())] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let ended = setup.run();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        let command = format!("chmod 600 {}", key.display());
        assert!(ended.stderr.trim_end().ends_with(&command), "{}", ended.stderr);
    }
    // Mounted secrets are files that all can read: whoever names one knows it.
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let ended = with_file().start().stop();
    assert!(ended.stderr.contains("WARNING: the CA file has a key"), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("chmod 600 {}", key.display())), "{}", ended.stderr);
    // The command that it names is the one that helps.
    let chmod = Command::new("chmod").arg("600").arg(&key).status().unwrap();
    assert!(chmod.success());
    with_conf().start().stop();
    with_file().start().stop();
}

/// The forms in which a key could be shown.
fn forms(pem: &str) -> Vec<(&'static str, Vec<u8>)> {
    use base64::Engine as _;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let der = key.secret_der();
    // The secret itself is a string of 32 octets (RFC 5915) inside of what PKCS#8 wraps.
    let at = der.windows(2).position(|window| window == [0x04, 0x20]).unwrap() + 2;
    let secret = &der[at..at + 32];
    let base64 = |bytes| base64::engine::general_purpose::STANDARD.encode(bytes).into_bytes();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{secret:?}");
    // All but the beginning, whose groups of base64 depend on what stands before.
    let line = pem.lines().nth(2).unwrap().as_bytes().to_vec();
    vec![
        ("octets", secret.to_vec()),
        ("base64", base64(secret)),
        ("a line of PEM", line),
        ("PKCS#8", base64(&der[..48])),
        ("hexadecimal", hex.clone().into_bytes()),
        ("HEXADECIMAL", hex.to_uppercase().into_bytes()),
        ("numbers", list.trim_matches(['[', ']']).as_bytes().to_vec()),
    ]
}

/// Which form of the key is in `bytes`.
fn found(forms: &[(&'static str, Vec<u8>)], bytes: &[u8]) -> Option<&'static str> {
    let holds = |form: &[u8]| bytes.windows(form.len()).any(|window| window == form);
    forms.iter().find(|(_, form)| holds(form)).map(|(name, _)| *name)
}

#[test]
fn the_ca_key_is_in_nothing_that_a_run_prints_serves_or_writes() {
    let origin = Origin::answers(OK);
    let mut tap = Setup::with_mcp().args(["--no-redact", "--set", "flow_detail=4"]).start();
    let folder = tap.folder().to_owned();
    let pem = fs::read_to_string(folder.join("conf/flowtap-ca.pem")).unwrap();
    let forms = forms(&pem);
    assert_eq!(found(&forms, pem.as_bytes()), Some("a line of PEM"));

    let mut served = Vec::new();
    let to = origin.addr;
    for target in [
        format!("http://{to}/"),
        "http://mitm.it/".to_owned(),
        "http://mitm.it/cert/pem".to_owned(),
        "http://mitm.it/cert/cer".to_owned(),
        "http://mitm.it/cert/p12".to_owned(),
        "http://mitm.it/flowtap-ca.pem".to_owned(),
        "http://mitm.it/../conf/flowtap-ca.pem".to_owned(),
        format!("http://127.0.0.1:{}/", tap.addr.port()),
        "ftp://wrong/".to_owned(),
    ] {
        let mut client = Client::connect(tap.addr);
        let host = target.split('/').nth(2).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        client.send(request);
        let (head, body) = client.response();
        served.extend(head.into_bytes());
        served.extend(body);
    }
    // Both ends of TLS, the second with a name that no certificate can have.
    Client::tls(&tap, "localhost", to.port());
    let mut agent = Agent::of(&tap);
    let tools = agent.tools();
    served.extend(tools.to_string().into_bytes());
    agent.wait("get_flow_count", &json!({}), |content| content["count"].as_u64() >= Some(1));
    for (tool, arguments) in [
        ("get_overview", json!({})),
        ("get_flows", json!({})),
        ("search_flows", json!({"pattern": "PRIVATE KEY", "in": "all"})),
        ("get_flow_by_id", json!({"flow_id": 1, "full_heads": true})),
        ("export_flows", json!({})),
        ("export_flows", json!({"path": "agent.har"})),
        ("get_options", json!({})),
        ("get_status", json!({})),
    ] {
        served.extend(agent.call(tool, arguments).to_string().into_bytes());
    }
    for (tool, arguments) in [
        ("send_request", json!({"url": "file:///conf/flowtap-ca.pem"})),
        ("export_flows", json!({"path": "conf/flowtap-ca.pem", "overwrite": true})),
    ] {
        served.extend(agent.fails(tool, arguments).into_bytes());
    }
    tap.signal(rustix::process::Signal::INT);
    let ended = tap.keep_until_its_end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let pages = String::from_utf8_lossy(&served).into_owned();
    assert!(pages.contains("BEGIN CERTIFICATE"), "the certificate is served: {pages}");
    assert_eq!(found(&forms, &served), None, "{pages}");
    assert_eq!(found(&forms, tap.printed().as_bytes()), None, "{}", tap.printed());

    let mut archive = zip::ZipArchive::new(fs::File::open(folder.join("capture.zip")).unwrap());
    let archive = archive.as_mut().unwrap();
    for index in 0..archive.len() {
        let mut content = Vec::new();
        std::io::copy(&mut archive.by_index(index).unwrap(), &mut content).unwrap();
        assert_eq!(found(&forms, &content), None);
    }
    let key = folder.join("conf/flowtap-ca.pem");
    for path in below(&folder).iter().filter(|path| path.is_file() && **path != key) {
        assert_eq!(found(&forms, &fs::read(path).unwrap()), None, "{}", path.display());
    }
    // Nor is it in the words about a file that is not usable.
    fs::write(&key, format!("{pem}{pem}").replace("BEGIN CERTIFICATE", "BEGIN SOMETHING")).unwrap();
    let ended = Setup::proxy().args(["--ca".as_ref(), key.as_os_str()]).run();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(found(&forms, ended.stderr.as_bytes()), None, "{}", ended.stderr);
}

const CREDENTIALS: &str = "Proxy-Authorization: Basic dXNlcjpzM2NyZXQtcHc=\r\n";

#[test]
fn every_form_of_request_wants_the_credentials_of_proxyauth() {
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&["--set", "proxyauth=user:s3cret-pw"]);
    let to = origin.addr;
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{CREDENTIALS}\r\n"));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
    let seen = origin.seen();
    let requests = [
        format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n"),
        format!("GET https://{to}/ HTTP/1.1\r\nHost: {to}\r\n"),
        format!("GET ws://{to}/ HTTP/1.1\r\nHost: {to}\r\n"),
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\nHost: {to}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {to}\r\n"),
        "GET http://mitm.it/cert/pem HTTP/1.1\r\nHost: mitm.it\r\n".to_owned(),
        "GET /cert/pem HTTP/1.1\r\nHost: mitm.it\r\n".to_owned(),
        format!("GET http://127.0.0.1:{}/ HTTP/1.1\r\nHost: x\r\n", tap.addr.port()),
    ];
    let wrong = [
        String::new(),
        "Proxy-Authorization: Basic dXNlcjp3cm9uZw==\r\n".to_owned(),
        CREDENTIALS.replace("Basic", "Bearer"),
        CREDENTIALS.replace("Proxy-", ""),
        CREDENTIALS.repeat(2),
    ];
    for request in requests {
        for fields in &wrong {
            let mut client = Client::connect(tap.addr);
            client.send(format!("{request}{fields}\r\n"));
            let got = client.rest();
            assert!(got.starts_with("HTTP/1.1 407 "), "{request}{fields}: {got}");
            assert!(got.contains("\r\nConnection: close\r\n"), "{got}");
            assert!(!got.contains("s3cret"), "{got}");
        }
    }
    assert_eq!(origin.seen(), seen, "nothing of them went further");
    // Refused requests are recorded, but not what somebody took for the credentials.
    for trace in tap.stop().bundle.traces() {
        let masked = |field: &String| field == "Proxy-Authorization: ***";
        let fields = fields(&trace["request"]);
        let shown: Vec<_> = fields.iter().filter(|it| it.starts_with("Proxy-")).collect();
        assert!(shown.iter().all(|field| masked(field)), "{shown:?}");
    }
}

#[test]
fn the_credentials_of_proxyauth_go_no_further_than_the_proxy() {
    let origin = Origin::answers(OK);
    let mut tap = Setup::with_mcp()
        .args(["--set", "proxyauth=user:s3cret-pw", "--no-redact", "--set", "flow_detail=4"])
        .start();
    let to = origin.addr;
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nA: 1\r\n{CREDENTIALS}B: 2\r\n\r\n"
    ));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
    // Clients that send them inside the tunnel too.
    let mut client = Client::connect(tap.addr);
    client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{CREDENTIALS}\r\n"));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    client.send(format!("GET /inside HTTP/1.1\r\nHost: {to}\r\n{CREDENTIALS}\r\n"));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
    let mut agent = Agent::of(&tap);
    agent.wait("get_flow_count", &json!({}), |content| content["count"] == 2);
    let shown = agent.call("get_flow_request", json!({"flow_id": 1, "full_heads": true}));
    tap.signal(rustix::process::Signal::INT);
    assert!(tap.keep_until_its_end().status.success());
    let traces = Bundle::read(&tap.folder().join("capture.zip")).traces();
    let secrets = ["s3cret-pw", "dXNlcjpzM2NyZXQtcHc="];
    for secret in secrets {
        assert!(!origin.seen().contains(secret), "{}", origin.seen());
        assert!(!shown.to_string().contains(secret), "{shown}");
        assert!(!tap.printed().contains(secret), "{}", tap.printed());
    }
    assert_eq!(traces.len(), 2);
    for trace in &traces {
        let text = trace.to_string();
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
        let fields = fields(&trace["request"]);
        assert!(fields.contains(&"Proxy-Authorization: ***".to_owned()), "{fields:?}");
    }
    let first = traces.iter().find(|trace| !trace.to_string().contains("/inside")).unwrap();
    let fields = fields(&first["request"]);
    assert!(fields.contains(&"A: 1".to_owned()) && fields.contains(&"B: 2".to_owned()));
}
