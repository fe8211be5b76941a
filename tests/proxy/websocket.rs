//! Upgraded connections.

use std::io::{Read, Write};

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::read_head;

#[test]
fn frames_are_relayed_untouched_and_messages_recorded() {
    const SENT: [u8; 8] = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(head).unwrap();
        let mut frame = [0; SENT.len()];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(frame, SENT);
        stream.write_all(b"\x01\x01y\x80\x01o").unwrap();
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "GET http://{0}/ws HTTP/1.1\r\nHost: {0}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        origin.addr
    ));
    assert!(client.head().starts_with("HTTP/1.1 101"));
    client.send(SENT);
    assert_eq!(client.rest(), "\u{1}\u{1}y\u{FFFD}\u{1}o");
    let bundle = tap.stop().bundle;
    assert!(bundle.traces().is_empty());
    assert_eq!(bundle.json("ws/ws_0001.json")["message_count"], 2);
    assert_eq!(bundle.json("ws/ws_0001_m001.json")["direction"], "send");
    assert_eq!(bundle.json("ws/ws_0001_m002.json")["payload_size"], 2);
}
