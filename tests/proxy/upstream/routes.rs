//! Which way a request goes: by flags, by the environment, and past the proxy itself.

use serde_json::json;

use super::{OK, asked, through};
use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::flowtap::Setup;
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::refusing::Refusing;

const BY_PROXY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy";

#[test]
fn loopback_is_never_sent_to_a_proxy_of_the_environment() {
    let (proxy, origin) = (Origin::answers(BY_PROXY), Origin::answers(OK));
    let port = origin.addr.port();
    let url = format!("http://{}", proxy.addr);
    let tap = Setup::proxy().env("ALL_PROXY", &url).start();
    for host in ["127.0.0.1", "localhost", "127.0.0.1:80", "0.0.0.0"] {
        let host = format!("{}:{port}", host.trim_end_matches(":80"));
        assert_eq!(asked(&tap, &host).1, "ok", "{host}");
    }
    assert_eq!(asked(&tap, "far.example").1, "proxy");
    // A proxy that was asked for gets all, but for what is left out.
    let tap = through(&url).start();
    assert_eq!(asked(&tap, origin.addr).1, "proxy");
    let tap = through(&url).args(["--no-upstream", "b.example,127.0.0.0/8"]).start();
    assert_eq!(asked(&tap, origin.addr).1, "ok");
    assert_eq!(asked(&tap, "a.example").1, "proxy");
}

#[test]
fn flags_win_over_the_environment_and_can_switch_it_off() {
    let (one, other) = (Origin::answers(BY_PROXY), Origin::answers(OK));
    let [one, other] = [one, other].map(|proxy| format!("http://{}", proxy.addr));
    let both = Setup::proxy().env("http_proxy", &one).args(["--upstream", &other]);
    assert_eq!(asked(&both.env("NO_PROXY", "*").start(), "far.example").1, "ok");
    let off = Setup::proxy().env("http_proxy", &one).args(["--upstream", "none"]).start();
    assert!(asked(&off, "far.invalid").1.contains("cannot be resolved"));
    let lower = Setup::proxy().env("http_proxy", &one).env("HTTP_PROXY", &other).start();
    assert_eq!(asked(&lower, "far.example").1, "proxy");
    let cgi = Setup::proxy().env("REQUEST_METHOD", "GET").env("HTTP_PROXY", &one).start();
    assert!(asked(&cgi, "far.invalid").1.contains("cannot be resolved"));
    let spared = Setup::proxy().env("HTTP_PROXY", &one).env("no_proxy", ".invalid").start();
    assert!(asked(&spared, "far.invalid").1.contains("cannot be resolved"));
    assert_eq!(asked(&spared, "far.example").1, "proxy");
}

#[test]
fn a_url_that_names_no_proxy_ends_the_start_without_its_secrets() {
    for url in ["ftp://user:s3cret@p:1", "http://user:s3cret/@p:1", "socks4://user:s3cret@p"] {
        let ended = Setup::proxy().args(["--upstream", url]).run();
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.stderr.contains("--upstream"), "{}", ended.stderr);
        let by_environment = Setup::proxy().env("https_proxy", url).run();
        assert_eq!(by_environment.status.code(), Some(1));
        assert!(by_environment.stderr.contains("https_proxy"), "{}", by_environment.stderr);
        assert!(!(ended.stderr + &by_environment.stderr).contains("s3cret"));
    }
}

#[test]
fn no_upstream_proxy_leads_back_to_the_proxy_itself() {
    let upstream = Origin::answers(BY_PROXY);
    let tap = Setup::with_mcp().args(["--upstream", &format!("http://{}", upstream.addr)]).start();
    let own = tap.addr.port();
    for host in ["127.0.0.1", "localhost", "a.localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
        let (head, body) = asked(&tap, format!("{host}:{own}"));
        assert!(head.starts_with("HTTP/1.1 508 ") && body.contains("itself"), "{host}: {head}");
        let mut client = Client::connect(tap.addr);
        client.send(format!("GET https://{host}:{own}/ HTTP/1.1\r\nHost: {host}:{own}\r\n\r\n"));
        assert!(client.head().starts_with("HTTP/1.1 508 "));
    }
    // The tools of this machine are not asked for elsewhere.
    let mut client = Client::connect(tap.addr);
    client.send(get(tap.mcp.unwrap(), "/nothing"));
    assert!(client.head().starts_with("HTTP/1.1 404 "));
    assert_eq!(upstream.connections(), 0);
    // A proxy that turns out to be this one is refused as any other way here is.
    let nobody = Refusing::new();
    let port = nobody.addr.port().to_string();
    let open = ["-p", &port, "--listen", "0.0.0.0", "--upstream"];
    let url = format!("http://127.0.0.2:{port}");
    let tap = Setup::proxy().args(open).args([url.as_str()]).run();
    assert_eq!(tap.status.code(), Some(2));
    assert!(tap.stderr.contains("itself"), "{}", tap.stderr);
}

#[test]
fn a_tool_s_request_takes_the_same_way() {
    let upstream = Origin::answers(BY_PROXY);
    let url = format!("http://user:s3cret@{}", upstream.addr);
    let tap = Setup::with_mcp().args(["--upstream", &url]).start();
    let mut agent = Agent::of(&tap);
    agent.call("send_request", json!({"url": "http://far.example/a"}));
    assert!(upstream.seen().starts_with("GET http://far.example/a HTTP/1.1\r\n"));
    // In absolute form the proxy would put the URL's host in the place of this one.
    let other = json!({"url": "http://far.example/b", "headers": {"Host": "other.example"}});
    agent.fails("send_request", other);
    assert!(upstream.seen().contains("CONNECT far.example:80 HTTP/1.1\r\n"));
    for tool in ["get_status", "list_options"] {
        if agent.tools().to_string().contains(tool) {
            agent.call(tool, json!({}));
        }
    }
    assert!(!agent.transcript.contains("s3cret"));
    assert!(!agent.transcript.contains("dXNlcjpzM2NyZXQ"), "{}", agent.transcript);
}

#[test]
fn discover_uses_upstream_proxies_too() {
    let upstream = Origin::answers(BY_PROXY);
    let url = format!("http://{}", upstream.addr);
    let mut tap = Setup::discover().env("ALL_PROXY", &url).start();
    assert_eq!(tap.err_line("upstream "), format!("upstream {url} (ALL_PROXY)"));
    assert_eq!(asked(&tap, "far.example").1, "proxy");
}
