//! TLS on both sides: names, certificates, resumption, verification.

use rcgen::{CertificateParams, date_time_ymd};
use rustls::version::TLS12;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::support::bundle::fields;
use crate::support::client::{Client, End};
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::origin::Origin;
use crate::support::read_head;
use crate::support::refusing::Refusing;
use crate::support::tls::{
    certificate_in, client_config, client_config_of, self_signed_server, test_ca,
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn path(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn names_of(leaf: &[u8]) -> Vec<String> {
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let show = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => format!("dns {name}"),
        GeneralName::IPAddress(bytes) => format!("ip {bytes:?}"),
        other => format!("{other:?}"),
    };
    names.value.general_names.iter().map(show).collect()
}

#[test]
fn an_intercepted_exchange_is_captured_with_both_sides_of_tls() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send("GET /a HTTP/1.1\r\nHost: localhost\r\nx-Case: 1\r\nX-CASE: 2\r\n\r\n");
    let (head, body) = client.response();
    assert_eq!(head.as_bytes(), &OK[..OK.len() - 2]);
    assert_eq!(body, b"ok");
    assert_eq!(
        origin.seen(),
        "GET /a HTTP/1.1\r\nHost: localhost\r\nx-Case: 1\r\nX-CASE: 2\r\n\r\n"
    );
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert_eq!(trace["request"]["url"], "https://localhost/a", "as the Host field says");
    assert_eq!(fields(&trace["request"]), ["Host: localhost", "x-Case: 1", "X-CASE: 2"]);
    assert_eq!(trace["client_tls"]["server_name"], "localhost");
    assert_eq!(trace["server"]["tls"]["version"], "TLSv1.3");
    assert!(trace["timing"]["tls_ms"].as_f64().unwrap() > 0.0, "{trace}");
    assert_eq!(bundle.body(&trace, "response"), b"ok");
}

#[test]
fn the_server_name_is_passed_on_and_certified() {
    let origin = Origin::tls(test_ca().server(&["localhost"]), |_, stream| {
        read_head(stream);
        let name = stream.server_name.clone().unwrap_or_default();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        stream.say(head.as_bytes());
    });
    let tap = Flowtap::start(&[]);
    let trust = client_config(certificate_in(&tap.ca_file()));
    let port = origin.addr.port();
    let (mut client, agreed) = Client::tls_with(&tap, "localhost", port, trust).unwrap();
    client.send(path("/"));
    assert_eq!(client.response().1, b"localhost");
    assert!(names_of(&agreed.leaf).contains(&"dns localhost".to_owned()));
}

#[test]
fn a_client_that_names_no_server_gets_a_certificate_for_the_tunnels_host() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost", "127.0.0.1"]), OK);
    let tap = Flowtap::start(&[]);
    let ca = certificate_in(&tap.ca_file());
    let silent = client_config_of(ca, rustls::ALL_VERSIONS, |config| config.enable_sni = false);
    let port = origin.addr.port();
    let by_name = Client::tls_with(&tap, "localhost", port, silent.clone());
    let (mut client, agreed) = by_name.unwrap();
    assert!(names_of(&agreed.leaf).contains(&"dns localhost".to_owned()));
    client.send(path("/"));
    assert_eq!(client.response().1, b"ok");
    let (mut client, agreed) = Client::tls_with(&tap, "127.0.0.1", port, silent).unwrap();
    let names = names_of(&agreed.leaf);
    assert!(names.contains(&"ip [127, 0, 0, 1]".to_owned()), "{names:?}");
    assert!(!names.contains(&"dns 127.0.0.1".to_owned()), "{names:?}");
    client.send(path("/"));
    assert_eq!(client.response().1, b"ok");
}

#[test]
fn tls_1_2_is_spoken() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let tap = Flowtap::start(&[]);
    let old = client_config_of(certificate_in(&tap.ca_file()), &[&TLS12], |_| ());
    let port = origin.addr.port();
    let (mut client, _) = Client::tls_with(&tap, "localhost", port, old).unwrap();
    client.send(path("/"));
    assert_eq!(client.response().1, b"ok");
    assert_eq!(tap.stop().bundle.only_trace()["client_tls"]["version"], "TLSv1.2");
}

#[test]
fn sessions_are_resumed_on_both_sides() {
    let origin = Origin::tls(test_ca().server(&["localhost"]), |_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    });
    let tap = Flowtap::start(&["--loops", "1"]);
    let trust = client_config(certificate_in(&tap.ca_file()));
    let mut resumed = Vec::new();
    for _ in 0..2 {
        let port = origin.addr.port();
        let (mut client, agreed) =
            Client::tls_with(&tap, "localhost", port, trust.clone()).unwrap();
        resumed.push(agreed.resumed);
        client.send(path("/"));
        assert_eq!(client.response().1, b"ok");
    }
    assert_eq!(resumed, [false, true]);
    assert_eq!(origin.connections(), 2);
    assert_eq!(origin.resumed(), 1);
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces[1]["client_tls"]["resumed"], true);
    assert_eq!(traces[1]["server"]["tls"]["resumed"], true);
}

/// What a client sees of an origin whose certificate is not valid, and the reason in the trace.
fn refused(origin: &Origin) -> (String, String) {
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send(path("/secret"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(origin.seen(), "", "nothing is sent to a server that was not verified");
    let error = tap.stop().bundle.only_trace()["error"].as_str().unwrap().to_owned();
    (String::from_utf8(body).unwrap(), error)
}

#[test]
fn an_origin_that_cannot_be_verified_is_502_with_the_reason() {
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    for (what, config) in [
        ("self-signed", self_signed_server("localhost")),
        ("another name", test_ca().server(&["elsewhere.example"])),
        ("expired", test_ca().server_with(&["localhost"], expired)),
    ] {
        let origin = Origin::tls_answers(config, OK);
        let (body, error) = refused(&origin);
        assert!(error.contains("certificate"), "{what}: {error}");
        assert!(body.contains("certificate") && body.lines().count() == 1, "{what}: {body}");
    }
}

#[test]
fn insecure_upstream_takes_any_certificate_and_says_so_at_the_start() {
    let origin = Origin::tls_answers(self_signed_server("elsewhere.example"), OK);
    let tap = Flowtap::start(&["--insecure-upstream"]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send(path("/"));
    assert_eq!(client.response().1, b"ok");
    let stopped = tap.stop();
    assert!(stopped.stderr.contains("WARNING"), "{}", stopped.stderr);
}

#[test]
fn roots_come_from_the_environment() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let other = Flowtap::start(&[]);
    let tap = Setup::proxy().env("SSL_CERT_FILE", other.ca_file()).start();
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send(path("/"));
    assert!(client.head().starts_with("HTTP/1.1 502 "), "the origin's CA is not among the roots");
}

#[test]
fn an_origin_that_does_not_speak_tls_is_502() {
    let origin = Origin::start(|_, stream| stream.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send(path("/"));
    let (head, _) = client.response();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(tap.stop().bundle.only_trace()["error"].as_str().unwrap().contains("TLS"));
}

#[test]
fn an_origin_that_refuses_is_502_inside_tls() {
    let nobody = Refusing::new();
    let gone = nobody.addr;
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", gone.port());
    client.send(path("/"));
    assert!(client.response().0.starts_with("HTTP/1.1 502 "));
}

#[test]
fn a_client_that_distrusts_the_ca_is_told_of_once() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let tap = Flowtap::start(&[]);
    let distrusting = client_config(test_ca().certificate());
    for _ in 0..2 {
        let client = Client::tunnel(tap.addr, format!("localhost:{}", origin.addr.port()));
        let mut tcp = Client::of(client.tcp.try_clone().unwrap());
        assert!(client.upgrade(distrusting.clone(), "localhost").is_err());
        // The proxy closes when it has heard why.
        tcp.ending();
    }
    let mut tap = tap;
    tap.err_line("a client does not trust the CA for localhost");
    let stopped = tap.stop();
    assert_eq!(stopped.stderr.matches("does not trust").count(), 1, "{}", stopped.stderr);
    assert!(stopped.stderr.contains("-e localhost"), "{}", stopped.stderr);
    let counted = "2 times: clients refused the CA for localhost";
    assert!(stopped.stderr.contains(counted), "{}", stopped.stderr);
}

#[test]
fn a_body_that_ends_with_the_connection_needs_close_notify() {
    let server = test_ca().server(&["localhost"]);
    let whole = Origin::tls(server.clone(), |_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\n\r\nall of it");
    });
    let cut = Origin::tls(server, |_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\n\r\npart");
        stream.finish();
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", whole.addr.port());
    client.send(path("/whole"));
    client.head();
    assert_eq!(client.ending(), (b"all of it".to_vec(), End::Clean));
    let mut client = Client::tls(&tap, "localhost", cut.addr.port());
    client.send(path("/cut"));
    client.head();
    assert_eq!(client.ending(), (b"part".to_vec(), End::Cut));
    let bundle = tap.stop().bundle;
    assert!(bundle.trace_of("/whole")["error"].is_null());
    assert!(bundle.trace_of("/cut")["error"].is_string());
}

#[test]
fn tls_1_2_is_spoken_with_servers() {
    let config = test_ca().server_of(&[&TLS12], &["localhost"], |_| ());
    let origin = Origin::tls_answers(config, OK);
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send(path("/"));
    assert_eq!(client.response().1, b"ok");
    assert_eq!(tap.stop().bundle.only_trace()["server"]["tls"]["version"], "TLSv1.2");
}

#[test]
fn a_host_that_no_certificate_can_name_is_refused_at_once_and_told() {
    let mut tap = Flowtap::start(&[]);
    let ca = certificate_in(&tap.ca_file());
    let silent = client_config_of(ca, rustls::ALL_VERSIONS, |config| config.enable_sni = false);
    let client = Client::tunnel(tap.addr, "foo~bar:443");
    let Err(error) = client.upgrade(silent, "localhost") else { panic!("certified") };
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "nothing came");
    tap.signal(rustix::process::Signal::INT);
    let ended = tap.keep_until_its_end();
    assert!(ended.stderr.contains("foo~bar"), "{}", ended.stderr);
}
