//! Max-Forwards: requests that go no further than flowtap (RFC 9110 section 7.6.2).

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::tls::test_ca;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request in absolute form.
fn request(method: &str, to: impl std::fmt::Display, fields: &str) -> String {
    format!("{method} http://{to}/x HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n")
}

#[test]
fn trace_and_options_without_a_hop_left_are_answered_by_the_proxy() {
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(request("OPTIONS", to, "Max-Forwards: 0\r\n"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}");
    assert!(head.contains("\r\nContent-Length: 0\r\n"), "{head}");

    let seen = "max-forwards: 00\r\nX-a: 1\r\nx-A: 2\r\n";
    let secret = "Cookie: a=b\r\nauthorization: Basic eDp5\r\nProxy-Authorization: Basic eDp5\r\n";
    client.send(request("TRACE", to, &format!("{secret}{seen}")));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("\r\nContent-Type: message/http\r\n"), "{head}");
    assert_eq!(String::from_utf8(body).unwrap(), request("TRACE", to, seen));

    // The connection goes on, and other methods know no such field.
    client.send(request("GET", to, "Max-Forwards: 0\r\n"));
    assert_eq!(client.response().1, b"ok");
    let asked = origin.seen();
    assert!(asked.starts_with("GET /x ") && asked.contains("\r\nMax-Forwards: 0\r\n"), "{asked}");
    assert_eq!(asked.matches(" HTTP/1.1").count(), 1, "{asked}");

    let traces = tap.stop().bundle.traces();
    let methods: Vec<_> = traces.iter().map(|trace| &trace["request"]["method"]).collect();
    // As every OPTIONS request, the first does not stand in the bundle.
    assert_eq!(methods, ["TRACE", "GET"]);
    assert!(traces.iter().all(|trace| trace["error"].is_null()), "{traces:?}");
    assert!(traces.iter().all(|trace| trace["response"]["status"] == 200), "{traces:?}");
}

#[test]
fn max_forwards_counts_down_where_it_is_a_number() {
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let most = u64::MAX.to_string();
    let less = (u64::MAX - 1).to_string();
    let cases = [
        ("OPTIONS", "5", "4"),
        ("TRACE", "1", "0"),
        ("TRACE", "010", "9"),
        ("OPTIONS", &most, &less),
        ("OPTIONS", "99999999999999999999999", &less),
        ("OPTIONS", "-1", "-1"),
        ("OPTIONS", "+0", "+0"),
        ("OPTIONS", "0, 0", "0, 0"),
        ("OPTIONS", "x", "x"),
        ("OPTIONS", "", ""),
        ("POST", "5", "5"),
    ];
    for (number, (method, given, sent)) in cases.into_iter().enumerate() {
        let fields = format!("Max-Forwards: {given}\r\nContent-Length: 0\r\n");
        client.send(request(method, origin.addr, &fields));
        assert_eq!(client.response().1, b"ok", "{method} {given:?}");
        let asked = origin.seen();
        let field = asked.lines().filter(|line| line.starts_with("Max-Forwards")).nth(number);
        assert_eq!(field, Some(format!("Max-Forwards: {sent}").as_str()), "{method} {given:?}");
    }
    // Which of two counts nobody knows.
    client.send(request("OPTIONS", origin.addr, "Max-Forwards: 0\r\nMax-Forwards: 0\r\n"));
    assert_eq!(client.response().1, b"ok");
    assert!(origin.seen().ends_with("Max-Forwards: 0\r\nMax-Forwards: 0\r\n\r\n"));
}

#[test]
fn a_request_in_a_tunnel_goes_no_further_either() {
    let ca = test_ca();
    let origin = Origin::tls_answers(ca.server(&["localhost"]), OK);
    let tap = Flowtap::start(&["--insecure-upstream"]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\n\r\n");
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}");
    client.send("TRACE /x HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 3\r\n\r\n");
    assert_eq!(client.response().1, b"ok");
    let asked = origin.seen();
    assert_eq!(asked, "TRACE /x HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 2\r\n\r\n");
}

#[test]
fn a_body_of_such_a_request_is_no_second_request() {
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let smuggled = get(origin.addr, "/smuggled");
    let length = format!("Max-Forwards: 0\r\nContent-Length: {}\r\n", smuggled.len());
    client.send(request("OPTIONS", origin.addr, &length) + &smuggled);
    let got = client.rest();
    assert!(got.starts_with("HTTP/1.1 200 ") && got.contains("\r\nConnection: close\r\n"), "{got}");
    assert_eq!((got.matches("HTTP/1.1 ").count(), origin.seen().as_str()), (1, ""));
}
