//! What the verification of servers says.

use super::*;
use crate::tls::testing::{carry, new_authority, pair_of};

#[test]
fn a_wrong_name_is_told_with_both_names() {
    let (server, client) = pair_of(new_authority());
    let mut server = server.session(None, "other.example").unwrap();
    let mut client = client.session("a.example").unwrap();
    let (client_end, _) = carry(&mut client, &mut server, usize::MAX);
    let refusal = client_end.unwrap_err();
    assert!(refusal.is_certificate_refused());
    let text = refusal.to_string();
    assert!(text.contains("not for a.example, only for other.example"), "{text}");
}

#[test]
fn insecure_takes_any_certificate() {
    let (server, _) = pair_of(new_authority());
    let (client, _) = UpstreamTls::new(true).unwrap();
    let mut server = server.session(None, "other.example").unwrap();
    let mut client = client.session("a.example").unwrap();
    let (client_end, _) = carry(&mut client, &mut server, usize::MAX);
    assert_eq!(client_end.unwrap().done, 1);
}

#[test]
fn no_roots_is_an_error_with_the_fix() {
    let error = UpstreamTls::with_roots(Vec::new()).unwrap_err().to_string();
    assert!(error.contains("SSL_CERT_FILE") && error.contains("--insecure"), "{error}");
}

#[test]
fn an_unreadable_file_of_roots_is_named() {
    let error = check_cert_file(Some(OsStr::new("/nonexistent/roots.pem"))).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/roots.pem"));
}
