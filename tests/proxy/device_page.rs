//! The pages for devices.

use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::tls::certificate_in;

#[test]
fn the_ca_can_be_fetched_through_the_proxy_and_leaves_no_flow() {
    let tap = Flowtap::start(&[]);
    let ca = certificate_in(&tap.ca_file());
    let pem = std::fs::read(tap.ca_file()).unwrap();
    let mut client = Client::connect(tap.addr);
    for host in ["mitm.it", "flowtap.it", "MITM.it"] {
        let mut get = |path: &str| {
            client.send(format!("GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            client.response()
        };
        let (head, page) = get("/");
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/html"), "{head}");
        assert!(String::from_utf8(page).unwrap().contains("/cert/pem"));
        let (head, body) = get("/cert/pem");
        assert!(head.contains("Content-Type: application/x-x509-ca-cert\r\n"), "{head}");
        assert_eq!(String::from_utf8(body).unwrap().trim(), String::from_utf8_lossy(&pem).trim());
        assert_eq!(get("/cert/cer").1, ca.to_vec());
        assert!(get("/cert/p12").0.contains("Content-Type: application/x-pkcs12\r\n"));
        assert!(get("/other").0.starts_with("HTTP/1.1 404 "));
    }
    let mut client = Client::tls(&tap, "mitm.it", 443);
    client.send("GET /cert/cer HTTP/1.1\r\nHost: mitm.it\r\n\r\n");
    assert_eq!(client.response().1, ca.to_vec());
    assert!(tap.stop().bundle.traces().is_empty());
}

#[test]
fn the_pages_are_served_whatever_is_intercepted() {
    let tap = Flowtap::start(&["-d", "elsewhere.example", "-e", "mitm.it"]);
    let mut client = Client::tls(&tap, "mitm.it", 443);
    client.send("HEAD / HTTP/1.1\r\nHost: mitm.it\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}

#[test]
fn the_body_of_a_request_for_a_page_is_no_request() {
    let origin = Origin::answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let tap = Flowtap::start(&[]);
    let body = get(origin.addr, "/smuggled");
    for target in ["/cert/pem", "http://mitm.it/cert/pem"] {
        for (field, body) in [
            (format!("Content-Length: {}", body.len()), body.clone()),
            (
                "Transfer-Encoding: chunked".to_owned(),
                format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
            ),
        ] {
            let mut client = Client::connect(tap.addr);
            let head = format!("POST {target} HTTP/1.1\r\nHost: mitm.it\r\n{field}\r\n\r\n");
            client.send(head + &body);
            client.finish();
            let got = client.rest();
            assert!(got.starts_with("HTTP/1.1 405 "), "{target}, {field}: {got}");
            assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{target}, {field}: {got}");
        }
    }
    assert_eq!(origin.connections(), 0, "{}", origin.seen());
}

#[test]
fn the_pages_are_served_at_the_proxy_s_own_address_and_under_no_name() {
    let tap = Flowtap::start(&[]);
    let ca = certificate_in(&tap.ca_file());
    // Behind a container's or a router's port, the address is another than the proxy's own.
    for host in [&tap.addr.to_string(), "192.168.1.20:8080", "[2001:db8::1]:8080", "localhost"] {
        let (head, page) = ask(&tap, "/", host);
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/html"), "{host}: {head}");
        assert!(String::from_utf8(page).unwrap().contains("/cert/pem"));
        assert_eq!(ask(&tap, "/cert/cer", host).1, ca.to_vec(), "{host}");
    }
    assert!(tap.stop().bundle.traces().is_empty());
    let tap = Setup::no_output().start();
    assert!(ask(&tap, "/cert/key", "localhost").0.starts_with("HTTP/1.1 400 "));
    // A web page could have its own name lead here (DNS rebinding), and read what it is told.
    for host in ["page.example", "page.example:8080", "127.0.0.1.page.example"] {
        for path in ["/", "/cert/pem", "/cert/cer", "/cert/p12"] {
            let (head, body) = ask(&tap, path, host);
            assert!(head.starts_with("HTTP/1.1 400 "), "{host}: {head}");
            assert!(!String::from_utf8_lossy(&body).contains("CERTIFICATE"), "{host}");
        }
    }
}

/// What the proxy answers to a request that was sent to it as if it were a server.
fn ask(tap: &Flowtap, path: &str, host: &str) -> (String, Vec<u8>) {
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.response()
}

/// Who takes the proxy for a server gets one page, and nothing that was sent behind it is read.
#[test]
fn nothing_follows_a_page_at_the_proxy_s_own_address() {
    let origin = Origin::answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let page = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", tap.addr);
    client.send(page + &get(origin.addr, "/behind"));
    let got = client.rest();
    assert!(got.starts_with("HTTP/1.1 200 ") && got.contains("\r\nConnection: close\r\n"), "{got}");
    assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
    assert_eq!(origin.connections(), 0, "{}", origin.seen());
}

#[test]
fn discover_has_no_pages() {
    let tap = Setup::discover().start();
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", tap.addr));
    assert!(client.head().starts_with("HTTP/1.1 400 "));
}
