//! TLS inside TLS, in memory.

use super::*;

/// A client and a server whose handshake is done, of TLS with these versions at least.
fn pair(name: &str, min: TlsVersion) -> (Session, Session) {
    let (server, client) = pair_of(new_authority());
    let server = server.session(Some(name), name, min).unwrap();
    (client.session(name, min).unwrap(), server)
}

/// The same inside TLS that is there already, before its own handshake.
fn carried(min: TlsVersion) -> (Session, Session) {
    let (mut outer_client, mut outer_server) = pair("proxy.example", min);
    handshake(&mut outer_client, &mut outer_server);
    let (mut client, mut server) = pair("a.example", min);
    client.carry_by(outer_client).unwrap();
    server.carry_by(outer_server).unwrap();
    (client, server)
}

#[test]
fn a_session_inside_another_agrees_on_its_own_facts_however_it_is_split() {
    for piece in [1, 7, usize::MAX] {
        let (mut client, mut server) = carried(TlsVersion::Tls12);
        assert!(client.is_handshaking() && server.is_handshaking());
        let (client_end, server_end) = carry(&mut client, &mut server, piece);
        let (client_end, server_end) = (client_end.unwrap(), server_end.unwrap());
        assert_eq!((client_end.done, server_end.done), (1, 1), "told exactly once");
        assert_eq!(client.facts().server_name.as_deref(), Some("a.example"));
        for size in [0, 1, 5_000, 62_000] {
            let sent: Vec<u8> = (0..size).map(|at: u32| (at / 3) as u8).collect();
            assert_eq!(send(&mut client, &sent), sent.len());
            assert_eq!(send(&mut server, &sent), sent.len());
            // Both ends have something under way.
            let (client_end, server_end) = carry(&mut client, &mut server, piece);
            assert!(client_end.unwrap().plaintext == sent);
            assert!(server_end.unwrap().plaintext == sent);
        }
    }
}

#[test]
fn what_the_carrier_shows_is_encrypted_twice() {
    let (mut client, mut server) = carried(TlsVersion::Tls13);
    handshake(&mut client, &mut server);
    let plaintext = vec![b'x'; 1_000];
    send(&mut client, &plaintext);
    let ciphertext = output(&mut client);
    assert!(ciphertext.len() > plaintext.len() + 2 * 20);
    let mut got = Vec::new();
    receive(&mut server, &ciphertext, &mut got).unwrap();
    assert_eq!(got, plaintext);
}

#[test]
fn an_end_of_the_carrier_alone_is_no_end_that_was_announced() {
    let (mut client, mut server) = carried(TlsVersion::Tls13);
    handshake(&mut client, &mut server);
    server.close();
    let received = receive(&mut client, &output(&mut server), &mut Vec::new()).unwrap();
    assert!(received.peer_closed && received.carrier_closed);
    let (mut client, mut server) = carried(TlsVersion::Tls13);
    handshake(&mut client, &mut server);
    server.carrier.as_mut().unwrap().close();
    let received = receive(&mut client, &output(&mut server), &mut Vec::new()).unwrap();
    assert!(!received.peer_closed && received.carrier_closed);
}

#[test]
fn errors_of_either_layer_are_told_and_the_peer_gets_its_alert() {
    let (mut client, mut server) = carried(TlsVersion::Tls13);
    let error = receive(&mut client, b"not TLS at all", &mut Vec::new()).unwrap_err();
    assert!(!error.is_certificate_refused());
    // The inner server has a certificate of an authority that the inner client does not know.
    let (stranger, _) = pair_of(new_authority());
    let (mut outer_client, mut outer_server) = pair("proxy.example", TlsVersion::Tls13);
    handshake(&mut outer_client, &mut outer_server);
    let (mut inner_client, _) = pair("a.example", TlsVersion::Tls13);
    let mut inner_server = stranger.session(None, "a.example", TlsVersion::Tls13).unwrap();
    inner_client.carry_by(outer_client).unwrap();
    inner_server.carry_by(outer_server).unwrap();
    let (client_end, server_end) = carry(&mut inner_client, &mut inner_server, usize::MAX);
    assert!(client_end.unwrap_err().is_certificate_refused());
    assert!(server_end.unwrap_err().distrust_alert().is_some(), "the alert came through");
    drop(server.carrier.take());
}
