//! Names and roots of trust in a root where the C library's files are missing, or a trap.

use std::fs;
use std::process::Command;

use crate::network::alone;
use crate::origin::{self, TEXT};
use crate::place::{Ended, Place};
use crate::program;
use crate::tls::test_ca;

const START: &str = "flowtap proxy --no-output";
const REQUEST: &str = "curl --silent --show-error --max-time 60 -x http://127.0.0.1:8080 \
    --cacert ~/.flowtap/flowtap-ca-cert.pem --write-out '%{http_code}' https://example.com/";

/// The answer to a request through a proxy in this root, and what the proxy said.
fn ask(place: &Place) -> (Ended, String) {
    let mut running = place.start(START);
    running.line("ca     ");
    let answer = place.run(REQUEST);
    (answer, running.interrupt().stderr)
}

fn with_roots(place: Place) -> Place {
    let roots = fs::read_to_string(test_ca().file()).unwrap();
    place.write("etc/ssl/certs/ca-certificates.crt", &roots);
    place
}

#[test]
fn a_root_without_files_gets_a_502_with_the_reason() {
    let program = program::build();
    alone("names::a_root_without_files_gets_a_502_with_the_reason", || {
        let (answer, said) = ask(&with_roots(Place::new(program)));
        let Ended { stdout, .. } = answer;
        assert!(stdout.ends_with("502"), "{stdout}");
        assert!(stdout.contains("example.com cannot be resolved"), "{stdout}");
        assert!(stdout.contains("/etc/resolv.conf: No such file"), "{stdout}");
        assert!(!said.contains("warning") && !said.contains("FAULT"), "{said}");
    });
}

#[test]
fn without_roots_the_proxy_starts_and_says_what_to_do() {
    let program = program::build();
    alone("names::without_roots_the_proxy_starts_and_says_what_to_do", || {
        origin::serve("example.com");
        let place = Place::new(program);
        place.write("etc/hosts", "127.0.0.1 example.com\n");
        let (answer, said) = ask(&place);
        for text in [&answer.stdout, &said] {
            assert!(text.contains("no trusted root certificates were found"), "{text}");
            assert!(text.contains("SSL_CERT_FILE"), "{text}");
        }
        assert!(answer.stdout.ends_with("502"), "{answer:?}");
        assert_eq!(said.matches("servers cannot be verified").count(), 1, "{said}");
    });
}

#[test]
fn names_come_from_a_name_server_when_the_file_of_hosts_has_none() {
    let program = program::build();
    alone("names::names_come_from_a_name_server_when_the_file_of_hosts_has_none", || {
        origin::serve("example.com");
        origin::serve_names("example.com");
        let place = with_roots(Place::new(program));
        place.write("etc/resolv.conf", "nameserver 127.0.0.1\n");
        let (answer, _) = ask(&place);
        assert_eq!(answer.stdout, format!("{TEXT}200"));
    });
}

/// A module of the C library would be loaded into the program, and one of another version of that
/// library ends it; this one ends it too.
#[test]
fn modules_that_nsswitch_names_are_not_loaded() {
    let program = program::build();
    alone("names::modules_that_nsswitch_names_are_not_loaded", || {
        origin::serve("example.com");
        let place = with_roots(Place::new(program));
        place.write("etc/hosts", "127.0.0.1 example.com\n");
        place.write("etc/nsswitch.conf", "hosts: trap files dns\npasswd: trap files\n");
        place.write(
            "trap.c",
            "__attribute__((constructor)) static void trap(void) { __builtin_trap(); }\n",
        );
        let machine = std::env::consts::ARCH;
        for folder in ["lib", "lib64", &format!("lib/{machine}-linux-gnu")] {
            let file = place.file(folder).join("libnss_trap.so.2");
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-nostdlib", "-o"]).arg(file);
            assert!(compiler.arg(place.file("trap.c")).status().unwrap().success());
        }
        let (answer, said) = ask(&place);
        assert_eq!(answer.stdout, format!("{TEXT}200"), "{said}");
    });
}
