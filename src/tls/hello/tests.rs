//! Hellos made by hand, property tests over them, and the seeds of the fuzz target.

use proptest::prelude::*;

use super::*;

fn vector16(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(content)].concat()
}

fn name_extension(name: &[u8]) -> Vec<u8> {
    extension(SERVER_NAME, &vector16(&[&[HOST_NAME][..], &vector16(name)].concat()))
}

fn alpn_extension(protocols: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = protocols.iter().flat_map(|p| [&[p.len() as u8][..], p].concat()).collect();
    extension(ALPN, &vector16(&list))
}

/// The handshake message with these extensions; `None` leaves their list out.
fn message_with(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0]);
    body.extend(vector16(&[0x0a, 0x0a, 0x13, 0x01]));
    body.extend([1, 0]);
    body.extend(extensions.map_or_else(Vec::new, vector16));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO][..], &length[1..], &body].concat()
}

/// The message in records of `piece` bytes each.
fn in_records(message: &[u8], piece: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &vector16(part)].concat();
    message.chunks(piece).flat_map(record).collect()
}

fn hello_with(extensions: &[&[u8]]) -> Vec<u8> {
    in_records(&message_with(Some(&extensions.concat())), RECORD_BYTES)
}

fn usual() -> Vec<u8> {
    hello_with(&[
        &extension(0x1a1a, &[]),
        &name_extension(b"a.example"),
        &alpn_extension(&[&[0x2a, 0x2a], b"h2", b"http/1.1"]),
        &extension(21, &[0; 100]),
    ])
}

fn usual_hello() -> Hello {
    Hello::ClientHello(ClientHello {
        server_name: Some("a.example".to_owned()),
        alpn: vec![vec![0x2a, 0x2a], b"h2".to_vec(), b"http/1.1".to_vec()],
    })
}

fn is_malformed(bytes: &[u8]) -> bool {
    matches!(read_client_hello(bytes), Hello::Malformed(_))
}

#[test]
fn name_and_protocols_are_read() {
    assert_eq!(read_client_hello(&usual()), usual_hello());
}

#[test]
fn what_follows_does_not_matter() {
    assert_eq!(read_client_hello(&[&usual()[..], b"\x14\x03\x03garbage"].concat()), usual_hello());
}

#[test]
fn other_protocols_are_not_tls() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0", b"\x80\x2e\x01", b"\x15\x03\x03", b"\0"] {
        assert_eq!(read_client_hello(bytes), Hello::NotTls);
    }
    assert_eq!(read_client_hello(b""), Hello::Partial);
}

#[test]
fn hellos_without_names_or_extensions_are_whole() {
    let empty = Hello::ClientHello(ClientHello::default());
    assert_eq!(read_client_hello(&hello_with(&[])), empty);
    assert_eq!(read_client_hello(&in_records(&message_with(None), RECORD_BYTES)), empty);
}

#[test]
fn other_kinds_of_names_are_skipped() {
    let list = [&[9][..], &vector16(b"x"), &[HOST_NAME], &vector16(b"a.example")].concat();
    let bytes = hello_with(&[&extension(SERVER_NAME, &vector16(&list))]);
    let Hello::ClientHello(hello) = read_client_hello(&bytes) else { panic!() };
    assert_eq!(hello.server_name.as_deref(), Some("a.example"));
}

#[test]
fn malformed_hellos_are_told() {
    let name = name_extension(b"a.example");
    let mut trailing = message_with(Some(&name));
    trailing.push(0);
    trailing[3] += 1;
    for bytes in [
        hello_with(&[&name_extension(b"")]),
        hello_with(&[&name_extension("ä.example".as_bytes())]),
        hello_with(&[&name, &name]),
        hello_with(&[&alpn_extension(&[b"h2"]), &alpn_extension(&[b"h2"])]),
        hello_with(&[&alpn_extension(&[b""])]),
        hello_with(&[&extension(ALPN, &[0, 0])]),
        hello_with(&[&extension(ALPN, &[0, 3, 2, b'h', b'2', 0])]),
        hello_with(&[&extension(SERVER_NAME, &[])]),
        hello_with(&[&[0, 0, 0, 9, 1]]),
        in_records(&trailing, RECORD_BYTES),
        in_records(&[CLIENT_HELLO, 0, 0, 0], RECORD_BYTES),
        in_records(&[2, 0, 0, 0], RECORD_BYTES),
        in_records(&[CLIENT_HELLO, 0xff, 0xff, 0xff], RECORD_BYTES),
        vec![HANDSHAKE, 2],
        vec![HANDSHAKE, 3, 1, 0, 0],
        vec![HANDSHAKE, 3, 1, 0x40, 1],
        [&in_records(&[CLIENT_HELLO, 0, 0], 9)[..], &[0x17]].concat(),
    ] {
        assert!(is_malformed(&bytes), "{bytes:x?}: {:?}", read_client_hello(&bytes));
    }
}

#[test]
fn a_hello_is_bounded() {
    let endless = message_with(None)[..4].to_vec();
    let mut message = endless;
    message[1..4].copy_from_slice(&[0, 0xff, 0xff]);
    message.resize(4 + 0xffff, 0);
    let bytes = in_records(&message, RECORD_BYTES);
    assert_eq!(read_client_hello(&bytes[..CLIENT_HELLO_BYTES - 1]), Hello::Partial);
    assert!(is_malformed(&bytes[..CLIENT_HELLO_BYTES]));
}

#[test]
fn the_records_of_a_hello_are_bounded() {
    let list = |padding: usize| extension(21, &vec![0; padding]);
    let message =
        |size: usize| message_with(Some(&list(size - message_with(Some(&list(0))).len())));
    let most = in_records(&message(CLIENT_HELLO_RECORDS), 1);
    assert!(matches!(read_client_hello(&most), Hello::ClientHello(_)));
    assert!(is_malformed(&in_records(&message(CLIENT_HELLO_RECORDS + 1), 1)));
    // The end of the message is not waited for.
    let long = in_records(&message(CLIENT_HELLO_RECORDS + 2), 1);
    assert!(is_malformed(&long[..long.len() - 1]));
}

#[test]
fn every_prefix_is_partial() {
    let message = message_with(Some(&name_extension(b"a.example")));
    for piece in [1, 3, 50, RECORD_BYTES] {
        let bytes = in_records(&message, piece);
        for end in 0..bytes.len() {
            assert_eq!(read_client_hello(&bytes[..end]), Hello::Partial, "{end}, by {piece}");
        }
        assert!(matches!(read_client_hello(&bytes), Hello::ClientHello(_)));
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_are_hellos() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/client_hello");
    for seed in ["rustls", "openssl", "curl"] {
        let bytes = std::fs::read(format!("{folder}/{seed}")).unwrap();
        let Hello::ClientHello(hello) = read_client_hello(&bytes) else { panic!("{seed}") };
        assert_eq!(hello.server_name.as_deref(), Some("a.example"), "{seed}");
        assert_eq!(hello.alpn.last().map(Vec::as_slice), Some(&b"http/1.1"[..]), "{seed}");
        for end in 0..bytes.len() {
            assert_eq!(read_client_hello(&bytes[..end]), Hello::Partial, "{seed} {end}");
        }
    }
}

proptest! {
    #[test]
    fn record_bounds_change_nothing(
        piece in 1_usize..600,
        name in "[a-z0-9.-]{1,60}",
        protocols in proptest::collection::vec("[a-z0-9/.]{1,20}", 1..5),
    ) {
        let protocols: Vec<&[u8]> = protocols.iter().map(|p| p.as_bytes()).collect();
        let extensions = [name_extension(name.as_bytes()), alpn_extension(&protocols)].concat();
        let bytes = in_records(&message_with(Some(&extensions)), piece);
        let expected = ClientHello {
            server_name: Some(name),
            alpn: protocols.iter().map(|p| p.to_vec()).collect(),
        };
        prop_assert_eq!(read_client_hello(&bytes), Hello::ClientHello(expected));
    }

    #[test]
    fn mutations_do_not_panic(
        changes in proptest::collection::vec((0_usize..400, any::<u8>()), 0..8)
    ) {
        let mut bytes = usual();
        for (at, value) in changes {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        read_client_hello(&bytes);
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_client_hello(&bytes);
        bytes.splice(0..0, [HANDSHAKE, 3, 1, 1, 0, CLIENT_HELLO, 0, 0, 0xfc]);
        read_client_hello(&bytes);
    }
}
