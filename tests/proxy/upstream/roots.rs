//! `--upstream-ca`.

use super::OK;
use crate::support::client::Client;
use crate::support::flowtap::Setup;
use crate::support::origin::Origin;
use crate::support::tls::{TestCa, test_ca};

#[test]
fn corporate_roots_are_trusted_beside_the_systems() {
    let corporate = TestCa::new("corporate CA");
    let origins = [
        Origin::tls_answers(test_ca().server(&["localhost"]), OK),
        Origin::tls_answers(corporate.server(&["localhost"]), OK),
    ];
    let statuses = |setup: Setup| {
        let tap = setup.start();
        let status = |origin: &Origin| {
            let mut client = Client::tls(&tap, "localhost", origin.addr.port());
            client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.head()[9..12].to_owned()
        };
        origins.iter().map(status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(Setup::proxy()), ["200", "502"]);
    let file = corporate.file().as_os_str();
    assert_eq!(statuses(Setup::proxy().args(["--upstream-ca".as_ref(), file])), ["200", "200"]);
    let der = Setup::proxy();
    let path = der.dir().join("corporate.der");
    std::fs::write(&path, corporate.certificate()).unwrap();
    assert_eq!(statuses(der.args(["--upstream-ca".as_ref(), path.as_os_str()])), ["200", "200"]);
}

#[test]
fn a_file_that_holds_no_roots_is_named() {
    let good = test_ca().file().to_str().unwrap();
    let pem = std::fs::read_to_string(good).unwrap();
    let cases = [
        (None, "No such file"),
        (Some(String::new()), "holds no certificate"),
        (Some("0 no certificate".to_owned()), "its certificate 1 is no root"),
        (Some(pem.replace("MII", "AAA")), "its certificate 1 is no root"),
        (Some(pem.replace("-----END", "-----DNE")), "it is no valid PEM"),
    ];
    for (text, words) in cases {
        for setup in [Setup::proxy(), Setup::discover()] {
            let path = setup.dir().join("roots.pem");
            if let Some(text) = &text {
                std::fs::write(&path, text).unwrap();
            }
            let args = ["--upstream-ca", good, "--upstream-ca", path.to_str().unwrap()];
            let ended = setup.args(args).run();
            assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
            assert!(ended.stderr.contains(path.to_str().unwrap()), "{}", ended.stderr);
            assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        }
    }
}
