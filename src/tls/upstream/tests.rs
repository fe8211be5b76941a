//! What the verification of servers says.

use super::*;
use crate::tls::testing::{P256_KEY, carry, new_authority, openssl, pair_of};

#[test]
fn a_wrong_name_is_told_with_both_names() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(None, "other.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    let (client_end, _) = carry(&mut client, &mut server, usize::MAX);
    let refusal = client_end.unwrap_err();
    assert!(refusal.is_certificate_refused());
    let text = refusal.to_string();
    assert!(text.contains("not for a.example, only for other.example"), "{text}");
}

#[test]
fn insecure_takes_any_certificate() {
    let (server, _) = pair_of(new_authority());
    let (client, _) = UpstreamTls::new(true, &[]).unwrap();
    let mut server = server.session(None, "other.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    let (client_end, _) = carry(&mut client, &mut server, usize::MAX);
    assert_eq!(client_end.unwrap().done, 1);
}

#[test]
fn no_roots_is_an_error_with_the_fix() {
    let error = UpstreamTls::with_roots(Vec::new()).unwrap_err().to_string();
    assert!(error.contains("SSL_CERT_FILE") && error.contains("--insecure-upstream"), "{error}");
}

#[test]
fn without_roots_no_server_is_trusted_and_the_refusal_has_the_fix() {
    let (server, _) = pair_of(new_authority());
    let client = UpstreamTls::without_roots().unwrap();
    let mut server = server.session(None, "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    let (client_end, _) = carry(&mut client, &mut server, usize::MAX);
    let refusal = client_end.unwrap_err();
    assert!(refusal.is_certificate_refused());
    let text = refusal.to_string();
    assert!(text.contains("SSL_CERT_FILE") && text.contains("--insecure-upstream"), "{text}");
}

#[test]
fn an_unreadable_file_of_roots_is_named() {
    let error = check_cert_file(Some(OsStr::new("/nonexistent/roots.pem"))).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/roots.pem"));
}

/// What a client that trusts its own certificate, or nothing like it, says of a server with a
/// self-signed certificate.
fn self_signed(host: &str, trusted: bool, authority: &str) -> std::result::Result<(), TlsError> {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
    let folder = tempfile::TempDir::new().unwrap();
    openssl(folder.path(), &format!("genpkey {P256_KEY} -out key.pem"));
    let extensions = "-addext subjectAltName=DNS:a.example -addext basicConstraints=critical";
    let request = "req -x509 -new -key key.pem -days 9 -subj /CN=a.example -out cert.pem";
    openssl(folder.path(), &format!("{request} {extensions},CA:{authority}"));
    let certificate = CertificateDer::from_pem_file(folder.path().join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path().join("key.pem")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let root = match trusted {
        true => certificate,
        false => CertificateDer::from(new_authority().certificate_der().to_vec()),
    };
    let client = UpstreamTls::with_roots(vec![root]).unwrap();
    let mut client = client.session(host, TlsVersion::Tls12).unwrap();
    let server = rustls::server::UnbufferedServerConnection::new(Arc::new(config)).unwrap();
    let mut server = Session::server(server, None);
    carry(&mut client, &mut server, usize::MAX).0.map(|_| ())
}

#[test]
fn a_self_signed_certificate_must_be_a_root_and_fit_the_name() {
    for authority in ["FALSE", "TRUE"] {
        assert_eq!(self_signed("a.example", true, authority), Ok(()));
        let text = self_signed("a.example", false, authority).unwrap_err().to_string();
        assert!(text.contains("self-signed"), "{text}");
        let text = self_signed("b.example", true, authority).unwrap_err().to_string();
        assert!(text.contains("not for b.example"), "{text}");
    }
}
