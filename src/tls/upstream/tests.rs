//! What the verification of servers says.

use std::fs;

use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tempfile::TempDir;

use super::*;
use crate::tls::judge::judge;
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

fn certificate(folder: &Path, file: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join(file)).unwrap()
}

/// What a client says of a server with this certificate and the key `key.pem` of the folder.
fn judged(
    client: &UpstreamTls,
    host: &str,
    folder: &Path,
    file: &str,
) -> std::result::Result<(), TlsError> {
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    // Whatever the certificate is: rustls would not serve with all of them.
    let served = CertifiedKey::new(vec![certificate(folder, file)], key);
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(served)));
    let mut client = client.session(host, TlsVersion::Tls12).unwrap();
    let server = rustls::server::UnbufferedServerConnection::new(Arc::new(config)).unwrap();
    let mut server = Session::server(server, None);
    carry(&mut client, &mut server, usize::MAX).0.map(|_| ())
}

/// Makes a key and its own certificate for a.example, `cert.pem`.
fn make_self_signed(folder: &Path, extensions: &str) {
    openssl(folder, &format!("genpkey {P256_KEY} -out key.pem"));
    let request = "req -x509 -new -key key.pem -days 9 -subj /CN=a.example -out cert.pem";
    openssl(folder, &format!("{request} -addext subjectAltName=DNS:a.example {extensions}"));
}

/// What a client that trusts its own certificate, or nothing like it, says of a server with a
/// self-signed certificate.
fn self_signed(host: &str, trusted: bool, authority: &str) -> std::result::Result<(), TlsError> {
    let folder = TempDir::new().unwrap();
    make_self_signed(folder.path(), &format!("-addext basicConstraints=critical,CA:{authority}"));
    let root = match trusted {
        true => certificate(folder.path(), "cert.pem"),
        false => CertificateDer::from(new_authority().certificate_der().to_vec()),
    };
    let client = UpstreamTls::with_roots(vec![root]).unwrap();
    judged(&client, host, folder.path(), "cert.pem")
}

/// As OpenSSL sees it: the key of one server must not speak for all others.
#[test]
fn a_root_that_is_no_ca_speaks_for_itself_alone() {
    let forms = [
        ("basicConstraints=critical,CA:TRUE", true),
        ("basicConstraints=critical,CA:FALSE", false),
        ("basicConstraints=CA:TRUE -addext keyUsage=digitalSignature", false),
        ("basicConstraints=CA:TRUE -addext keyUsage=keyCertSign", true),
    ];
    for (extensions, may_issue) in forms {
        let folder = TempDir::new().unwrap();
        let folder = folder.path();
        make_self_signed(folder, &format!("-addext {extensions}"));
        let root = certificate(folder, "cert.pem");
        openssl(folder, "req -new -key key.pem -subj /CN=b -out b.csr");
        fs::write(folder.join("b.ext"), "subjectAltName=DNS:b.example").unwrap();
        let issue = "x509 -req -in b.csr -CA cert.pem -CAkey key.pem -set_serial 7 -days 9";
        openssl(folder, &format!("{issue} -extfile b.ext -out b.pem"));
        let other = CertificateDer::from(new_authority().certificate_der().to_vec());
        for roots in [vec![root.clone()], vec![other, root]] {
            let client = UpstreamTls::with_roots(roots.clone()).unwrap();
            let own = judged(&client, "a.example", folder, "cert.pem");
            assert!(may_issue || own.is_ok(), "{extensions}: {own:?}");
            let issued = judged(&client, "b.example", folder, "b.pem");
            assert_eq!(issued.is_ok(), may_issue, "{extensions}: {issued:?}");
            let chain = [certificate(folder, "b.pem")];
            let said = judge(&roots, &chain, "b.example");
            assert_eq!(said.is_ok(), may_issue, "{extensions}: {said:?}");
        }
    }
}

#[test]
fn a_trusted_certificate_holds_beside_a_root_of_the_same_name() {
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    make_self_signed(one.path(), "-addext basicConstraints=critical,CA:TRUE");
    make_self_signed(other.path(), "-addext basicConstraints=critical,CA:FALSE");
    let roots = [one.path(), other.path()].map(|folder| certificate(folder, "cert.pem"));
    let client = UpstreamTls::with_roots(roots.to_vec()).unwrap();
    assert_eq!(judged(&client, "a.example", other.path(), "cert.pem"), Ok(()));
    assert!(judged(&client, "b.example", other.path(), "cert.pem").is_err());
}

#[test]
fn insecure_takes_certificates_that_cannot_be_understood() {
    let folder = TempDir::new().unwrap();
    make_self_signed(folder.path(), "-addext 1.2.3.4=critical,DER:0500");
    let root = certificate(folder.path(), "cert.pem");
    let careful = UpstreamTls::with_roots(vec![root]).unwrap();
    assert!(judged(&careful, "a.example", folder.path(), "cert.pem").is_err());
    let (client, _) = UpstreamTls::new(true, &[]).unwrap();
    assert_eq!(judged(&client, "b.example", folder.path(), "cert.pem"), Ok(()));
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
