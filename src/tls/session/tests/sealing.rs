use super::*;
use crate::limits::READ_BYTES;

#[test]
fn unsent_plaintext_is_bounded() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    let data = vec![0; 1024 * 1024];
    let taken = send(&mut client, &data);
    assert!(taken > 0 && taken <= 64 * 1024, "{taken}");
    while send(&mut client, &data) > 0 {}
    assert!(output(&mut client).len() < 70 * 1024);
    assert!(send(&mut client, &data) > 0, "there is room again");
}

#[test]
fn a_peer_that_changes_its_keys_is_answered_with_new_ones() {
    let authority = new_authority();
    let (server, _) = pair_of(Arc::clone(&authority));
    let config = custom_client(&authority, &[&rustls::version::TLS13], &[]);
    let name = ServerName::try_from("a.example").unwrap();
    let mut peer = rustls::ClientConnection::new(config, name).unwrap();
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let exchange = |peer: &mut rustls::ClientConnection, server: &mut Session| {
        let (mut got, mut plaintext) = (String::new(), Vec::new());
        while peer.wants_write() || server.has_output() {
            let mut ciphertext = Vec::new();
            while peer.wants_write() {
                peer.write_tls(&mut ciphertext).unwrap();
            }
            receive(server, &ciphertext, &mut plaintext).unwrap();
            let answer = output(server);
            let mut rest = &answer[..];
            while !rest.is_empty() {
                peer.read_tls(&mut rest).unwrap();
                peer.process_new_packets().unwrap();
            }
            let _ = peer.reader().read_to_string(&mut got);
        }
        (got, plaintext)
    };
    exchange(&mut peer, &mut server);
    for round in 0..3 {
        peer.refresh_traffic_keys().unwrap();
        peer.writer().write_all(b"question").unwrap();
        send(&mut server, b"answer");
        let (got, plaintext) = exchange(&mut peer, &mut server);
        assert_eq!((got.as_str(), &plaintext[..]), ("answer", &b"question"[..]), "{round}");
    }
}

#[test]
fn what_encrypting_adds_has_room_in_a_full_buffer() {
    let authority = new_authority();
    let (server, _) = pair_of(Arc::clone(&authority));
    for (versions, suites) in
        [(&[&rustls::version::TLS13][..], "TLS 1.3"), (&[&rustls::version::TLS12][..], "TLS 1.2")]
    {
        let config = custom_client(&authority, versions, &[]);
        let name = ServerName::try_from("a.example").unwrap();
        let mut peer = rustls::ClientConnection::new(config, name).unwrap();
        let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
        let mut got = Vec::new();
        let data = vec![b'x'; READ_BYTES];
        for round in 0..4 {
            if round > 0 && suites == "TLS 1.3" {
                // Asks for new keys, which go out before what is encrypted next.
                peer.refresh_traffic_keys().unwrap();
            }
            let mut rest = if round > 0 { &data[..] } else { &[] };
            while !rest.is_empty() || peer.wants_write() || server.has_output() {
                let mut ciphertext = Vec::new();
                while peer.wants_write() {
                    peer.write_tls(&mut ciphertext).unwrap();
                }
                receive(&mut server, &ciphertext, &mut Vec::new()).unwrap();
                let mut answer = Vec::new();
                if !rest.is_empty() && !server.is_handshaking() {
                    let mut sealed = vec![0; READ_BYTES + SEALED_OVERHEAD_BYTES];
                    // The key update goes first; then all of the buffer is encrypted at once.
                    answer.extend(output(&mut server));
                    let sealed_now = server.seal(rest, &mut sealed).unwrap();
                    let added = sealed_now.written.saturating_sub(sealed_now.taken);
                    // Four records of 16 KiB, and in TLS 1.3 the key update before them.
                    let least = if suites == "TLS 1.3" { 4 * 22 + 27 } else { 4 * 29 };
                    assert!((least..=SEALED_OVERHEAD_BYTES).contains(&added), "{suites} {added}");
                    answer.extend(output(&mut server));
                    answer.extend_from_slice(&sealed[..sealed_now.written]);
                    assert!([0, rest.len()].contains(&sealed_now.taken), "{suites} {round}");
                    rest = &rest[sealed_now.taken..];
                } else {
                    answer.extend(output(&mut server));
                }
                let mut unread = &answer[..];
                while !unread.is_empty() {
                    peer.read_tls(&mut unread).unwrap();
                    peer.process_new_packets().unwrap();
                    let _ = peer.reader().read_to_end(&mut got);
                }
            }
        }
        assert!(got == data.repeat(3), "{suites}: {} bytes", got.len());
    }
}
