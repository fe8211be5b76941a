//! Upstream proxies that refuse, misbehave or are not there.

use super::{OK, asked, asked_securely, through};
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::{Accepted, Origin};
use crate::support::read_head;
use crate::support::refusing::Refusing;
use crate::support::tls::{self_signed_server, test_ca};

/// What a client that wants `https://far.example/` is told where the upstream proxy does this.
fn told(script: impl Fn(&mut Accepted) + Send + Sync + 'static) -> (String, String) {
    let proxy = Origin::start(move |_, stream| {
        read_head(stream);
        script(stream);
    });
    let url = format!("http://{}", proxy.addr);
    let timeouts = ["--set", "connect_timeout=1", "--set", "handshake_timeout=1"];
    let tap = through(&url).args(timeouts).start();
    let (head, body) = asked_securely(&tap);
    assert!(body.contains(&format!("the upstream proxy {url} ")), "{body}");
    let traces = tap.stop().bundle.traces();
    assert!(traces[0].to_string().contains(&url), "{traces:?}");
    (head, body)
}

#[test]
fn what_a_proxy_answers_instead_of_a_tunnel_is_told() {
    for (answer, status, words) in [
        ("HTTP/1.1 403 Forbidden\r\n\r\n<h1>No</h1>", 502, "with 403 Forbidden\n"),
        ("HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n", 502, "wants a user name"),
        ("HTTP/1.1 503 \x1b[31mred\r\n\r\n", 502, "the status line is malformed"),
        ("SSH-2.0-OpenSSH\r\n\r\n", 502, "as HTTP does: the status line is malformed"),
        ("HTTP/1.1 200 OK\r\nno field\r\n\r\n", 502, "has no valid name"),
        ("", 502, "did not answer CONNECT far.example:443: it closed the connection"),
        ("HTTP/1.1 200 OK\r\n", 502, "it closed the connection"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", 502, "with 101"),
    ] {
        let (head, body) = told(move |stream| stream.say(answer.as_bytes()));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(body.contains(words), "{body}");
    }
}

#[test]
fn a_proxy_that_cuts_the_connection_is_told_of() {
    let (head, body) = told(Accepted::reset);
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(body.contains("reset"), "{body}");
}

#[test]
fn an_answer_that_never_ends_or_never_comes_has_bounds() {
    let (head, body) = told(|stream| {
        stream.say(b"HTTP/1.1 200 OK\r\n");
        for _ in 0..10_000 {
            stream.say(b"A: 0123456789\r\n");
        }
        stream.closed();
    });
    assert!(head.starts_with("HTTP/1.1 502 ") && body.contains("longer than"), "{body}");
    let (head, body) = told(|stream| {
        for _ in 0..1_000 {
            stream.say(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        stream.closed();
    });
    assert!(head.starts_with("HTTP/1.1 502 ") && body.contains("100 Continue"), "{body}");
    let (head, body) = told(|stream| {
        stream.say(b"HTTP/1.1 200 OK\r\nA: ");
        stream.closed();
    });
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert!(body.contains("did not answer CONNECT far.example:443 within 1 s"), "{body}");
    assert!(body.contains("(connect_timeout)"), "{body}");
}

#[test]
fn an_answer_that_comes_byte_by_byte_opens_the_tunnel() {
    let proxy = Origin::start(|_, stream| {
        read_head(stream);
        for byte in b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n220" {
            stream.say(&[*byte]);
        }
        stream.closed();
    });
    let tap = through(&format!("http://{}", proxy.addr)).args(["-e", "far.example"]).start();
    let mut client = Client::tunnel(tap.addr, "far.example:25");
    assert_eq!(client.take(3), b"220");
}

#[test]
fn a_tunnel_that_the_proxy_refuses_is_refused_to_the_client() {
    let proxy = Origin::answers_and_closes("HTTP/1.1 403 Forbidden\r\n\r\n");
    let url = format!("http://{}", proxy.addr);
    let mut tap = through(&url).args(["-e", "far.example"]).start();
    let mut client = Client::connect(tap.addr);
    client.send("CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n");
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("403 Forbidden"), "{answer}");
    assert!(tap.err_line("failed ").contains(&url));
}

#[test]
fn a_407_of_the_proxy_is_no_407_of_flowtap() {
    let proxy = Origin::answers(
        "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
    );
    for (url, words) in [
        (format!("http://{}", proxy.addr), "give them in its URL"),
        (format!("http://user:s3cret@{}", proxy.addr), "does not take"),
    ] {
        let tap = through(&url).start();
        let (head, body) = asked(&tap, "far.example");
        assert!(head.starts_with("HTTP/1.1 502 ") && body.contains(words), "{head}{body}");
        assert!(!body.contains("s3cret"), "{body}");
    }
}

fn says_of_all(tap: &Flowtap, words: &[&str]) {
    for (head, body) in [asked(tap, "far.example"), asked_securely(tap)] {
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        for words in words {
            assert!(body.contains(words), "{words}: {body}");
        }
        assert!(!body.contains("s3cret"), "{body}");
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_is_named() {
    let nobody = Refusing::new();
    let gone = nobody.addr;
    let tap = through(&format!("http://user:s3cret@{gone}")).start();
    let refused = format!("cannot connect to the upstream proxy http://{gone}: connection refused");
    says_of_all(&tap, &[&refused]);
    let tap = through("http://user:s3cret@name.invalid:3128").start();
    let named = "the upstream proxy http://name.invalid:3128: the name name.invalid cannot be";
    says_of_all(&tap, &[named]);
}

#[test]
fn a_proxy_that_cannot_be_verified_is_named() {
    let proxy = Origin::tls_answers(self_signed_server("localhost"), OK);
    let url = format!("https://user:s3cret@localhost:{}", proxy.addr.port());
    let shown = format!("https://localhost:{}", proxy.addr.port());
    // It is shown a password, so it is verified also where servers are not.
    for flags in [&[][..], &["--insecure-upstream"]] {
        let tap = through(&url).args(flags).start();
        says_of_all(&tap, &["the certificate of the upstream proxy", &shown, "is not valid"]);
    }
    let wrong = Origin::tls_answers(test_ca().server(&["other.example"]), OK);
    let tap = through(&format!("https://localhost:{}", wrong.addr.port())).start();
    says_of_all(&tap, &["not for localhost, only for other.example"]);
    let plain = Origin::start(|_, stream| {
        stream.say(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        stream.closed();
    });
    let tap = through(&format!("https://localhost:{}", plain.addr.port())).start();
    says_of_all(&tap, &["the TLS handshake with the upstream proxy"]);
}
