//! Upgrades to protocols that are not read.

use std::io::Read;

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::{get, read_head};

fn upgrade(origin: &Origin) -> String {
    format!(
        "GET http://{0}/up HTTP/1.1\r\nHost: {0}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        origin.addr
    )
}

#[test]
fn a_switch_of_protocols_is_relayed_and_its_exchange_captured() {
    let origin = Origin::start(|_, stream| {
        let head = String::from_utf8(read_head(stream)).unwrap();
        assert!(head.contains("Upgrade: echo\r\n") && head.contains("Connection: Upgrade\r\n"));
        stream.say(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n\
              first",
        );
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.say(&all);
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(upgrade(&origin));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: echo\r\n"), "{head}");
    assert_eq!(client.take(5), b"first");
    client.send(b"\x00GET / HTTP/1.1\r\n\r\n");
    client.finish();
    assert_eq!(client.rest(), "\0GET / HTTP/1.1\r\n\r\n");
    let trace = tap.stop().bundle.only_trace();
    assert_eq!(trace["response"]["status"], 101);
    assert!(trace["error"].is_null(), "{trace}");
}

#[test]
fn a_declined_upgrade_is_an_ordinary_exchange() {
    let origin = Origin::answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(upgrade(&origin));
    assert_eq!(client.response().1, b"no");
    client.send(get(origin.addr, "/"));
    assert_eq!(client.response().1, b"no");
    assert_eq!(tap.stop().bundle.traces().len(), 2);
}

#[test]
fn a_switch_that_nobody_asked_for_is_502() {
    let origin = Origin::answers_and_closes(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    );
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}

#[test]
fn a_demand_for_an_upgrade_comes_as_the_server_makes_it() {
    let tap = Flowtap::start(&[]);
    for (fields, expected) in [
        ("Upgrade: h2c\r\nConnection: Upgrade\r\n", "Upgrade: h2c\r\nConnection: Upgrade\r\n"),
        ("Upgrade: echo/1\r\n", "Upgrade: echo/1\r\nConnection: Upgrade\r\n"),
        ("Connection: Upgrade\r\n", ""),
        ("", ""),
    ] {
        let start = "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n";
        let origin = Origin::answers(format!("{start}{fields}\r\n"));
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        assert_eq!(client.head(), format!("{start}{expected}\r\n"), "{fields:?}");
    }
}
