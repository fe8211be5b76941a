//! The pages for devices.

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
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
