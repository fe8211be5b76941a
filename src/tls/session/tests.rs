//! Whole handshakes and data between sessions, in memory.

use std::io::{Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ResolvesServerCertUsingSni;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::*;
use crate::tls::authority::Authority;
use crate::tls::provider::provider;
use crate::tls::testing::{
    P256_KEY, carry, handshake, new_authority, open_file, openssl_ca, output, pair_of, receive,
    send,
};
use crate::tls::upstream::UpstreamTls;
use crate::tls::verifier::TakesAny;
use crate::tls::version::TlsVersion;

mod carried;
mod sealing;

/// A client of these versions and protocols that trusts `authority`.
fn custom_client(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.certificate_der().to_vec())).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Arc::new(config)
}

fn client_of(config: &Arc<ClientConfig>, host: &str) -> Session {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connection = UnbufferedClientConnection::new(Arc::clone(config), name).unwrap();
    Session::client(connection, Some(host))
}

#[test]
fn a_handshake_agrees_on_facts() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "192.0.2.1", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    assert!(client.is_handshaking() && server.is_handshaking());
    let (client_end, server_end) = handshake(&mut client, &mut server);
    assert_eq!((client_end.done, server_end.done), (1, 1), "told exactly once");
    assert!(!client.is_handshaking() && !server.is_handshaking());
    for facts in [client.facts(), server.facts()] {
        assert_eq!(facts.version, "TLSv1.3");
        assert!(facts.cipher.starts_with("TLS_AES_"), "{}", facts.cipher);
        assert_eq!(facts.server_name.as_deref(), Some("a.example"));
        assert_eq!(facts.alpn.as_deref(), Some("http/1.1"));
        assert!(!facts.resumed);
    }
}

#[test]
fn a_session_that_has_failed_stays_so() {
    let (server, _) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut plaintext = Vec::new();
    let error = receive(&mut server, b"GET / HTTP/1.1\r\n\r\n", &mut plaintext).unwrap_err();
    let alert = output(&mut server);
    assert_eq!(alert[..3], [0x15, 3, 3]);
    for more in [&b""[..], b"GET", b"\x16\x03\x01\x00\x00"] {
        assert_eq!(receive(&mut server, more, &mut plaintext).unwrap_err(), error);
        assert!(!server.has_output(), "a second alert");
    }
}

#[test]
fn both_sides_take_the_cheapest_suite_that_the_peer_has() {
    let authority = new_authority();
    let (server, client) = pair_of(Arc::clone(&authority));
    for (version, cheapest) in [
        (&rustls::version::TLS13, "TLS_AES_128_GCM_SHA256"),
        (&rustls::version::TLS12, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ] {
        let mut dearest_first = CryptoProvider::clone(&provider());
        dearest_first.cipher_suites.reverse();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.certificate_der().to_vec())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(dearest_first))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut peer = client_of(&Arc::new(config), "a.example");
        let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
        handshake(&mut peer, &mut server);
        assert_eq!(server.facts().cipher, cheapest);
    }
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    assert_eq!(client.facts().cipher, "TLS_AES_128_GCM_SHA256");
}

#[test]
fn facts_are_empty_before_the_handshake() {
    let (_, client) = pair_of(new_authority());
    let facts = client.session("a.example", TlsVersion::Tls12).unwrap().facts();
    assert_eq!((facts.version, facts.cipher.as_str(), facts.resumed), ("", "", false));
}

#[test]
fn tls_1_2_is_spoken_too() {
    let authority = new_authority();
    let (server, _) = pair_of(Arc::clone(&authority));
    let config = custom_client(&authority, &[&rustls::version::TLS12], &[b"http/1.1"]);
    for resumed in [false, true] {
        let mut client = client_of(&config, "a.example");
        let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
        handshake(&mut client, &mut server);
        assert_eq!(client.facts().version, "TLSv1.2");
        assert!(client.facts().cipher.starts_with("TLS_ECDHE_ECDSA_"));
        assert_eq!((client.facts().resumed, server.facts().resumed), (resumed, resumed));
    }
}

#[test]
fn a_version_below_the_lowest_is_refused() {
    let authority = new_authority();
    let (server, client) = pair_of(Arc::clone(&authority));
    let config = custom_client(&authority, &[&rustls::version::TLS12], &[b"http/1.1"]);
    let mut old_client = client_of(&config, "a.example");
    let mut strict = server.session(Some("a.example"), "a.example", TlsVersion::Tls13).unwrap();
    let (_, server_end) = carry(&mut old_client, &mut strict, usize::MAX);
    assert!(server_end.is_err());

    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    let old_server = UnbufferedServerConnection::new(Arc::new(config)).unwrap();
    let mut old_server = Session::server(old_server, None);
    let mut strict = client.session("a.example", TlsVersion::Tls13).unwrap();
    let (client_end, server_end) = carry(&mut strict, &mut old_server, usize::MAX);
    assert!(client_end.is_err() && server_end.is_err());
    for min in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let mut client = client.session("a.example", min).unwrap();
        let mut server = server.session(Some("a.example"), "a.example", min).unwrap();
        handshake(&mut client, &mut server);
        assert_eq!((client.facts().version, client.facts().resumed), ("TLSv1.3", false));
    }
}

#[test]
fn no_session_of_a_lower_version_is_resumed() {
    let (server, _) = pair_of(new_authority());
    let algorithms = provider().signature_verification_algorithms;
    let verifier = Arc::new(TakesAny { algorithms, asks_for_proof: true });
    let config = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth()
    };
    let old = config(&[&rustls::version::TLS12]);
    let mut both = config(rustls::ALL_VERSIONS);
    // What rustls wants of configurations that share their sessions.
    both.resumption = old.resumption.clone();
    both.client_auth_cert_resolver = old.client_auth_cert_resolver.clone();
    let (old, both) = (Arc::new(old), Arc::new(both));
    let meet = |config: &Arc<ClientConfig>, min| {
        let mut client = client_of(config, "a.example");
        let mut server = server.session(Some("a.example"), "a.example", min).unwrap();
        handshake(&mut client, &mut server);
        (client.facts().version, server.facts().resumed)
    };
    assert_eq!(meet(&old, TlsVersion::Tls12), ("TLSv1.2", false));
    assert_eq!(meet(&old, TlsVersion::Tls12), ("TLSv1.2", true));
    assert_eq!(meet(&both, TlsVersion::Tls13), ("TLSv1.3", false));
    assert_eq!(meet(&both, TlsVersion::Tls13), ("TLSv1.3", true), "its own session is");
}

#[test]
fn sessions_resume() {
    let (server, client) = pair_of(new_authority());
    for resumed in [false, true, true] {
        let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
        let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
        handshake(&mut client, &mut server);
        assert_eq!((client.facts().resumed, server.facts().resumed), (resumed, resumed));
    }
    let mut server = server.session(Some("b.example"), "b.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("b.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    assert!(!client.facts().resumed, "another host has a session of its own");
}

#[test]
fn the_connect_host_serves_where_there_is_no_sni() {
    let (server, client) = pair_of(new_authority());
    for host in ["127.0.0.1", "::1", "[2001:db8::1]"] {
        let mut server = server.session(None, host, TlsVersion::Tls12).unwrap();
        let mut client = client.session(host, TlsVersion::Tls12).unwrap();
        handshake(&mut client, &mut server);
        assert_eq!(client.facts().server_name, None, "addresses are not sent as SNI");
        assert_eq!(server.facts().server_name, None);
    }
}

#[test]
fn a_client_without_sni_gets_the_name_it_connected_to() {
    let authority = new_authority();
    let (server, _) = pair_of(Arc::clone(&authority));
    let mut config =
        ClientConfig::clone(&custom_client(&authority, rustls::ALL_VERSIONS, &[b"http/1.1"]));
    config.enable_sni = false;
    let config = Arc::new(config);
    let mut client = client_of(&config, "a.example");
    let mut unnamed = server.session(None, "a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut unnamed);
    // An SNI that is no DNS name is as good as none.
    let mut client = client_of(&config, "a.example");
    let mut misnamed = server.session(Some("not a name"), "a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut misnamed);
}

#[test]
fn names_outside_ascii_are_encoded_on_both_sides() {
    let (server, client) = pair_of(new_authority());
    let mut server =
        server.session(Some("xn--bcher-kva.example"), "bücher.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("bücher.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    assert_eq!(server.facts().server_name.as_deref(), Some("xn--bcher-kva.example"));
    assert_eq!(client.facts().server_name.as_deref(), Some("xn--bcher-kva.example"));
}

#[test]
fn what_is_no_host_is_an_error() {
    let (server, client) = pair_of(new_authority());
    assert!(client.session("a b", TlsVersion::Tls12).is_err());
    assert!(server.session(None, "", TlsVersion::Tls12).is_err());
}

#[test]
fn another_authority_of_the_same_name_is_distrusted() {
    let (server, _) = pair_of(new_authority());
    let (_, client) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    let (client_end, server_end) = carry(&mut client, &mut server, usize::MAX);
    let refusal = client_end.unwrap_err();
    assert!(refusal.is_certificate_refused(), "{refusal}");
    assert_eq!(refusal.distrust_alert(), None);
    let distrust = server_end.unwrap_err();
    assert_eq!(distrust.distrust_alert(), Some("decrypt_error"), "{distrust}");
    assert!(!distrust.is_certificate_refused());
}

#[test]
fn unknown_authorities_are_told_by_their_alert() {
    let (server, _) = pair_of(new_authority());
    let folder = tempfile::TempDir::new().unwrap();
    let other = Arc::new(open_file(&openssl_ca(folder.path(), P256_KEY)).unwrap());
    let (_, client) = pair_of(other);
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let (_, server_end) = carry(&mut client, &mut server, usize::MAX);
    assert_eq!(server_end.unwrap_err().distrust_alert(), Some("unknown_ca"));
}

#[test]
fn the_alerts_of_distrust_have_their_names() {
    for (code, name) in [
        (42, Some("bad_certificate")),
        (43, Some("unsupported_certificate")),
        (44, Some("certificate_revoked")),
        (45, Some("certificate_expired")),
        (46, Some("certificate_unknown")),
        (48, Some("unknown_ca")),
        (49, Some("access_denied")),
        (51, Some("decrypt_error")),
        (40, None),
        (80, None),
    ] {
        let alert = rustls::Error::AlertReceived(AlertDescription::from(code));
        assert_eq!(TlsError::from_rustls(&alert, true).distrust_alert(), name);
        assert_eq!(TlsError::from_rustls(&alert, false).distrust_alert(), None);
    }
}

#[test]
fn a_client_without_http_1_1_is_answered_with_an_alert() {
    let authority = new_authority();
    let (server, _) = pair_of(Arc::clone(&authority));
    let config = custom_client(&authority, rustls::ALL_VERSIONS, &[b"h2"]);
    let mut client = client_of(&config, "a.example");
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let (client_end, server_end) = carry(&mut client, &mut server, usize::MAX);
    assert!(server_end.unwrap_err().is_no_common_protocol());
    assert!(client_end.unwrap_err().is_no_common_protocol());
}

#[test]
fn a_client_without_alpn_is_served() {
    let authority = new_authority();
    let (server, _) = pair_of(Arc::clone(&authority));
    let config = custom_client(&authority, rustls::ALL_VERSIONS, &[]);
    let mut client = client_of(&config, "a.example");
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    assert_eq!(server.facts().alpn, None);
}

/// Sends `data` from one session to the other, in as many steps as it takes.
fn transfer(from: &mut Session, to: &mut Session, data: &[u8]) -> Vec<u8> {
    let mut received = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let taken = send(from, rest);
        let ciphertext = output(from);
        assert!(taken > 0 || !ciphertext.is_empty(), "no progress");
        rest = &rest[taken..];
        receive(to, &ciphertext, &mut received).unwrap();
    }
    received
}

#[test]
fn a_mebibyte_goes_both_ways() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    let data: Vec<u8> = (0..1024 * 1024_u32).map(|i| (i % 251) as u8).collect();
    assert!(transfer(&mut client, &mut server, &data) == data);
    assert!(transfer(&mut server, &mut client, &data) == data);
    assert!(!client.has_output() && !server.has_output());
}

#[test]
fn one_call_takes_all_ciphertext() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    let mut ciphertext = Vec::new();
    for _ in 0..64 {
        assert_eq!(send(&mut client, &[b'x'; 16 * 1024]), 16 * 1024);
        ciphertext.extend(output(&mut client));
    }
    let mut plaintext = Vec::new();
    receive(&mut server, &ciphertext, &mut plaintext).unwrap();
    assert_eq!(plaintext.len(), 64 * 16 * 1024);
}

#[test]
fn half_a_record_waits_while_the_other_direction_goes_on() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    for at in [1, 5, 6, 20] {
        send(&mut client, b"question");
        let ciphertext = output(&mut client);
        let (half, rest) = ciphertext.split_at(at);
        let mut plaintext = Vec::new();
        receive(&mut server, half, &mut plaintext).unwrap();
        assert_eq!(server.pending(), half);
        assert_eq!(transfer(&mut server, &mut client, b"answer"), b"answer");
        receive(&mut server, rest, &mut plaintext).unwrap();
        assert_eq!(plaintext, b"question");
        assert!(server.pending().is_empty());
    }
    send(&mut client, b"question");
    let ciphertext = output(&mut client);
    receive(&mut server, &ciphertext[..9], &mut Vec::new()).unwrap();
    server.close();
    let told = receive(&mut client, &output(&mut server), &mut Vec::new()).unwrap();
    assert!(told.peer_closed);
}

#[test]
fn a_handshake_message_without_end_is_refused() {
    let (server, _) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    // A ClientHello of the greatest length, in records of 100 bytes.
    let mut message = vec![1, 0, 0xff, 0xff];
    message.resize(4 + 0xffff, 0);
    let mut refused = false;
    for piece in message.chunks(100) {
        let mut record = vec![22, 3, 1, 0, piece.len() as u8];
        record.extend_from_slice(piece);
        refused = receive(&mut server, &record, &mut Vec::new()).is_err();
        assert!(server.pending().len() <= TLS_PENDING_BYTES);
        if refused {
            break;
        }
    }
    assert!(refused);
}

#[test]
fn a_close_is_told_and_what_follows_is_ignored() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    send(&mut client, b"last words");
    client.close();
    let mut ciphertext = output(&mut client);
    ciphertext.extend_from_slice(b"not TLS at all");
    let mut plaintext = Vec::new();
    let received = receive(&mut server, &ciphertext, &mut plaintext).unwrap();
    assert_eq!(plaintext, b"last words");
    let expected = Received { peer_closed: true, ..Received::default() };
    assert_eq!(received, expected);
    // The other direction stays open (RFC 8446 section 6.1).
    assert_eq!(transfer(&mut server, &mut client, b"answer"), b"answer");
}

#[test]
fn garbage_is_an_error_with_an_alert() {
    let (server, _) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let garbage = [0x16, 3, 1, 0, 4, 20, 0, 0, 0];
    let error = receive(&mut server, &garbage, &mut Vec::new()).unwrap_err();
    assert!(!error.to_string().is_empty());
    assert!(server.has_output());
}

#[test]
fn altered_ciphertext_is_an_error() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
    send(&mut client, b"secret");
    let mut ciphertext = output(&mut client);
    *ciphertext.last_mut().unwrap() ^= 1;
    let mut plaintext = Vec::new();
    assert!(receive(&mut server, &ciphertext, &mut plaintext).is_err());
    assert!(plaintext.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn splitting_the_bytes_changes_nothing(
        piece in 1_usize..3_000,
        data in proptest::collection::vec(any::<u8>(), 0..40_000),
    ) {
        let (server, client) = shared_pair();
        let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
        let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
        let (client_end, server_end) = carry(&mut client, &mut server, piece);
        prop_assert_eq!((client_end.unwrap().done, server_end.unwrap().done), (1, 1));
        let first = &data[..data.len().min(20_000)];
        send(&mut client, first);
        let (_, server_end) = carry(&mut client, &mut server, piece);
        prop_assert_eq!(&server_end.unwrap().plaintext[..], first);
        send(&mut server, &data);
        server.close();
        let (client_end, _) = carry(&mut client, &mut server, piece);
        let client_end = client_end.unwrap();
        prop_assert_eq!(client_end.plaintext, data);
        prop_assert!(client_end.closed);
    }

    #[test]
    fn no_ciphertext_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        position in 0_usize..2_000,
        flip in 1_u8..,
    ) {
        let (server, client) = shared_pair();
        let mut from_client = output(&mut client.session("a.example", TlsVersion::Tls12).unwrap());
        let position = position % from_client.len();
        from_client[position] ^= flip;
        for ciphertext in [from_client, bytes] {
            let min = TlsVersion::Tls12;
            let mut server = server.session(Some("a.example"), "a.example", min).unwrap();
            let _ = receive(&mut server, &ciphertext, &mut Vec::new());
            output(&mut server);
        }
    }
}

fn shared_pair() -> &'static (crate::tls::server::ServerTls, UpstreamTls) {
    static PAIR: std::sync::OnceLock<(crate::tls::server::ServerTls, UpstreamTls)> =
        std::sync::OnceLock::new();
    PAIR.get_or_init(|| pair_of(new_authority()))
}
