//! The proxy cannot be led to itself, and where others reach it, not to its tools either.

use std::net::TcpListener;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::get;
use crate::support::origin::Origin;

/// Names of this machine, as hosts in targets.
const NAMES: [&str; 6] =
    ["127.0.0.1", "localhost", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"];
/// Names that are refused as no hosts, or that a resolver may or may not know.
const ODD_NAMES: [&str; 4] = ["LOCALHOST.", "127.1", "0", "0x7f000001"];

/// The status of the answer to a request for this host, in each of the forms of a request.
fn statuses(tap: &Flowtap, to: &str) -> Vec<(&'static str, u16)> {
    let status = |head: String| head.get(9..12).and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut absolute = Client::connect(tap.addr);
    absolute.send(get(to, "/"));
    let mut https = Client::connect(tap.addr);
    https.send(format!("GET https://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    let mut inside = Client::connect(tap.addr);
    inside.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    let mut head = inside.head();
    if head.starts_with("HTTP/1.1 200 ") {
        inside.send(format!("GET / HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        head = inside.head();
    }
    vec![
        ("absolute-form", status(absolute.head())),
        ("absolute-form of https", status(https.head())),
        ("CONNECT", status(head)),
    ]
}

#[test]
fn the_proxy_is_refused_by_every_name_and_in_every_form() {
    for listen in ["127.0.0.1", "0.0.0.0"] {
        let tap = Flowtap::start(&["--listen", listen]);
        for name in NAMES.iter().chain(&ODD_NAMES) {
            let to = format!("{name}:{}", tap.addr.port());
            for (form, status) in statuses(&tap, &to) {
                let unknown = ODD_NAMES.contains(name) && [400, 502].contains(&status);
                assert!(status == 508 || unknown, "{listen}: {form} of {to} got {status}");
            }
        }
    }
}

/// Every host of these is on all addresses: on IPv6 too where the machine has it.
#[test]
fn a_proxy_on_all_addresses_is_refused_by_those_of_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let tap = Setup::no_output().args(["--listen", "::"]).start();
    let to = format!("[::1]:{}", tap.addr.port());
    let mut client = Client::connect(([127, 0, 0, 1], tap.addr.port()).into());
    client.send(get(&to, "/"));
    assert!(client.head().starts_with("HTTP/1.1 508 "));
}

#[test]
fn a_tunnel_to_the_proxy_is_refused_where_it_is_not_looked_into() {
    let tap = Flowtap::start(&["-d", "other.example"]);
    let port = tap.addr.port();
    let mut client = Client::connect(tap.addr);
    client.send(format!("CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 508 "), "{head}");
    // Where the name inside TLS may decide, the tunnel is open before; then it is closed.
    let mut client = Client::tunnel(tap.addr, format!("127.0.0.1:{port}"));
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.rest(), "");
}

#[test]
fn a_redirect_to_the_proxy_leads_the_client_no_further() {
    let tap = Setup::with_mcp().start();
    let own = format!("localhost:{}", tap.addr.port());
    let origin = Origin::answers(format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{own}/\r\nContent-Length: 0\r\n\r\n"
    ));
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let (head, _) = client.response();
    assert!(head.contains(&format!("Location: http://{own}/")), "{head}");
    client.send(get(&own, "/"));
    assert!(client.head().starts_with("HTTP/1.1 508 "));
    // Neither do the tools that send requests.
    let mut agent = Agent::of(&tap);
    let words = agent.fails("send_request", json!({"url": format!("http://{own}/")}));
    assert!(words.contains("this proxy itself"), "{words}");
}

/// No flowtap sends requests on to another proxy, so a client cannot set up a loop: it pays for
/// each step with a request of its own.
#[test]
fn two_proxies_that_point_at_each_other_make_no_loop() {
    let (one, two) = (Flowtap::start(&[]), Flowtap::start(&[]));
    // In absolute form the second is asked as a server, which it is not.
    let mut client = Client::connect(one.addr);
    client.send(get(two.addr, &format!("/http://{}/", one.addr)));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("this is a proxy"));
    // A tunnel leads to the other one, which waits for the client's next request.
    let mut client = Client::tunnel(one.addr, two.addr);
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", one.addr));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    client.send(get(two.addr, "/on"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    // Its page for devices is the one thing that it answers for itself, and leads nowhere.
    let mut client = Client::connect(one.addr);
    client.send(get(two.addr, "/"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("Trust this proxy"));
}

#[test]
fn a_proxy_that_others_can_reach_says_so_and_leads_nobody_to_its_tools() {
    let mut tap = Setup::with_mcp().args(["--listen", "0.0.0.0"]).start();
    let warning = tap.err_line("WARNING: other machines can reach this proxy");
    assert!(warning.contains("proxyauth"), "{warning}");
    let mcp = tap.mcp.unwrap();
    assert!(mcp.ip().is_loopback());
    for name in NAMES.iter().chain(&ODD_NAMES) {
        let to = format!("{name}:{}", mcp.port());
        for (form, status) in statuses(&tap, &to) {
            let unknown = ODD_NAMES.contains(name) && [400, 502].contains(&status);
            assert!(status == 403 || unknown, "{form} of {to} got {status}");
        }
    }
    let mut agent = Agent::of(&tap);
    let words = agent.fails("send_request", json!({"url": format!("http://{mcp}/mcp")}));
    assert!(words.contains("own tools"), "{words}");
}

#[test]
fn discover_says_too_that_others_can_reach_it() {
    let mut tap = Setup::discover().args(["--listen", "0.0.0.0"]).start();
    tap.err_line("WARNING: other machines can reach this proxy");
}

#[test]
fn a_proxy_on_loopback_warns_of_nobody() {
    let tap = Flowtap::start(&[]);
    assert!(tap.addr.ip().is_loopback());
    let stopped = tap.stop();
    assert!(!stopped.stderr.contains("WARNING"), "{}", stopped.stderr);
}

/// A page whose name was made to stand for this machine (DNS rebinding) reaches the tools neither
/// through the proxy that its browser uses, nor by the addresses themselves.
#[test]
fn no_web_page_reaches_the_tools_through_the_proxy() {
    let tap = Setup::with_mcp().start();
    let mcp = tap.mcp.unwrap();
    let ask = |to: &str, fields: &str| {
        let mut client = Client::connect(tap.addr);
        client.send(format!("GET http://{to}/sse HTTP/1.1\r\n{fields}\r\n"));
        let head = client.head();
        head[9..12].parse::<u16>().unwrap()
    };
    // This address leads here too, and stands for a name that was made to.
    let rebound = format!("0.0.0.0:{}", mcp.port());
    assert_eq!(ask(&rebound, &format!("Host: {rebound}\r\n")), 421);
    let host = format!("Host: {mcp}\r\n");
    for fields in
        ["Origin: http://page.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"]
    {
        assert_eq!(ask(&mcp.to_string(), &format!("{host}{fields}")), 403, "{fields}");
    }
}
