//! `-d` and `-e`: what is not intercepted passes through untouched and leaves no flow.

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::tls::{certificate_in, client_config, client_config_of, test_ca};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Who certifies `name` to a client of a proxy with these arguments, and how many flows it kept.
fn seen(args: &[&str], name: &str) -> (&'static str, usize) {
    let origin = Origin::tls_answers(test_ca().server(&["localhost", "127.0.0.1"]), OK);
    let tap = Flowtap::start(args);
    let port = origin.addr.port();
    let ask = |ca| {
        let config = client_config(ca);
        let (mut client, _) = Client::tls_with(&tap, name, port, config).ok()?;
        client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        assert_eq!(client.response().1, b"ok");
        Some(())
    };
    let by = match (ask(test_ca().certificate()), ask(certificate_in(&tap.ca_file()))) {
        (Some(()), None) => "origin",
        (None, Some(())) => "flowtap",
        other => panic!("{args:?} {name}: {other:?}"),
    };
    (by, tap.stop().bundle.traces().len())
}

#[test]
fn patterns_decide_who_is_intercepted() {
    assert_eq!(seen(&["-d", "localhost"], "localhost"), ("flowtap", 1));
    assert_eq!(seen(&["-d", "LOCAL*"], "localhost"), ("flowtap", 1));
    assert_eq!(seen(&["-d", "*.localhost"], "localhost"), ("origin", 0));
    assert_eq!(seen(&["-d", "elsewhere.example"], "localhost"), ("origin", 0));
    assert_eq!(seen(&["-d", "elsewhere.example", "-d", "localhost"], "localhost"), ("flowtap", 1));
    assert_eq!(seen(&["-e", "localhost"], "localhost"), ("origin", 0));
    assert_eq!(seen(&["-e", "elsewhere.example"], "localhost"), ("flowtap", 1));
    assert_eq!(seen(&["-d", "localhost", "-e", "localhost"], "localhost"), ("origin", 0));
    assert_eq!(seen(&["-e", "localhost:1"], "localhost"), ("flowtap", 1));
    assert_eq!(seen(&["-e", "127.0.0.1"], "127.0.0.1"), ("origin", 0));
}

#[test]
fn the_server_name_decides_where_the_tunnel_names_an_address() {
    let origin = Origin::tls_answers(test_ca().server(&["secret.example"]), OK);
    let tap = Flowtap::start(&["-e", "secret.example"]);
    let client = Client::tunnel(tap.addr, origin.addr);
    let upgraded = client.upgrade(client_config(test_ca().certificate()), "secret.example");
    let (mut client, _) = upgraded.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: secret.example\r\n\r\n");
    assert_eq!(client.response().1, b"ok");
    assert!(tap.stop().bundle.traces().is_empty());
}

#[test]
fn a_client_without_server_name_is_judged_by_the_tunnels_host() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let tap = Flowtap::start(&["-e", "localhost"]);
    let silent = client_config_of(test_ca().certificate(), rustls::ALL_VERSIONS, |config| {
        config.enable_sni = false;
    });
    let (mut client, _) = Client::tls_with(&tap, "localhost", origin.addr.port(), silent).unwrap();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.response().1, b"ok");
    assert!(tap.stop().bundle.traces().is_empty());
}

#[test]
fn plain_http_of_other_hosts_passes_and_leaves_no_flow() {
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&["-d", "elsewhere.example"]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    assert_eq!(client.response().1, b"ok");
    let mut client = Client::tunnel(tap.addr, origin.addr);
    client.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.addr));
    assert_eq!(client.response().1, b"ok");
    assert!(tap.stop().bundle.traces().is_empty());
}

#[test]
fn refused_requests_to_other_hosts_leave_no_secret() {
    let requests = [
        "POST http://secret.test/a HTTP/1.1\r\nHost: secret.test\r\nCookie: SECRET\r\n\
         Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET http://secret.test/b HTTP/1.1\r\nHost: a\r\nHost: b\r\nCookie: SECRET\r\n\r\n",
        "GET http://secret.test/c HTTP/1.1\r\nHost: secret.test\r\nCookie: SECRET\r\n",
        "GET http://secret.test/d HTTP/1.1\r\nCookie: SECRET\r\nX\x01: a\r\n\r\n",
        "GET ftp://secret.test/e HTTP/1.1\r\nHost: secret.test\r\nCookie: SECRET\r\n\r\n",
        "CONNECT secret.test:443 HTTP/1.1\r\nCookie: SECRET\r\nContent-Length: 3\r\n\r\n",
    ];
    for args in [["-e", "secret.test"], ["-d", "elsewhere.example"]] {
        let tap = Flowtap::start(&args);
        for request in requests {
            let mut client = Client::connect(tap.addr);
            client.send(request);
            client.finish();
            let got = client.rest();
            assert!(got.starts_with("HTTP/1.1 400 "), "{request:?}: {got}");
        }
        for trace in tap.stop().bundle.traces() {
            let text = trace.to_string();
            assert!(!text.contains("SECRET") && !text.contains("secret.test"), "{args:?}: {text}");
        }
    }
}

#[test]
fn no_spelling_of_an_address_gets_around_a_pattern() {
    let origin = Origin::answers(OK);
    let port = origin.addr.port();
    let tap = Flowtap::start(&["-e", "127.0.0.1"]);
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ] {
        let mut client = Client::connect(tap.addr);
        client.send(format!(
            "GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: SECRET\r\n\
             Connection: close\r\n\r\n"
        ));
        let got = client.rest();
        let known = ["HTTP/1.1 200 ", "HTTP/1.1 400 ", "HTTP/1.1 502 "];
        assert!(known.iter().any(|begins| got.starts_with(begins)), "{host}: {got}");
    }
    for trace in tap.stop().bundle.traces() {
        let text = trace.to_string();
        assert!(!text.contains("SECRET") && trace["response"]["status"] != 200, "{text}");
    }
}
