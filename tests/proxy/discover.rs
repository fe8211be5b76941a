//! `flowtap discover`.

use crate::support::client::Client;
use crate::support::flowtap::Setup;
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::tls::{client_config, test_ca};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn hosts_are_listed_as_first_seen_and_counted_at_the_end() {
    let tls = Origin::tls_answers(test_ca().server(&["localhost", "named.example"]), OK);
    let plain = Origin::answers(OK);
    let mut tap = Setup::discover().start();
    for _ in 0..2 {
        let mut client = Client::connect(tap.addr);
        client.send(get(plain.addr, "/"));
        assert_eq!(client.response().1, b"ok");
    }
    tap.out_line(&plain.addr.to_string());
    let trust = client_config(test_ca().certificate());
    let port = tls.addr.port();
    for _ in 0..3 {
        let (mut client, _) = Client::tls_with(&tap, "localhost", port, trust.clone()).unwrap();
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.response().1, b"ok", "nothing is intercepted");
    }
    tap.out_line(&format!("localhost:{port}"));
    let client = Client::tunnel(tap.addr, tls.addr);
    client.upgrade(trust, "named.example").unwrap();
    tap.out_line(&format!("named.example:{port}"));
    let ended = tap.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let (listed, table) = ended.stdout.split_once("\n\ncount  host\n").unwrap();
    let hosts =
        [plain.addr.to_string(), format!("localhost:{port}"), format!("named.example:{port}")];
    assert_eq!(listed.lines().collect::<Vec<_>>(), hosts);
    let rows: Vec<_> = table.lines().take(3).collect();
    let rows_expected = [(3, &hosts[1]), (2, &hosts[0]), (1, &hosts[2])];
    assert_eq!(rows, rows_expected.map(|(count, host)| format!("{count:>5}  {host}")));
    let command = ended.stdout.lines().last().unwrap();
    assert!(command.starts_with("flowtap proxy -d 'localhost:"), "{command}");
}

#[test]
fn discover_makes_no_ca_and_no_bundle() {
    let setup = Setup::discover();
    let folder = setup.dir().to_owned();
    let tap = setup.start();
    let left = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(left, 0);
    assert!(tap.end().status.success());
}
