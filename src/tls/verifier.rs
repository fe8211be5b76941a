//! How certificates of servers are judged, and the judgement in words.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, X509Version};

/// Names of a certificate that a refusal lists; some certificates have hundreds.
const LISTED_NAMES: usize = 5;

/// Verifies as rustls does (RFC 5280 paths, RFC 6125 names), and in addition takes a certificate
/// that is itself among the configured roots, as OpenSSL does with partial chains: servers in
/// tests and on local networks are often trusted that way.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// `None` where no root may issue certificates.
    paths: Option<Arc<WebPkiServerVerifier>>,
    roots: HashSet<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(crate) fn new(
        paths: Option<Arc<WebPkiServerVerifier>>,
        roots: HashSet<CertificateDer<'static>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Verifier { paths, roots, algorithms }
    }

    /// A certificate that is trusted by itself must still be valid now, for this name, and for
    /// servers.
    fn verify_trusted_leaf(
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let seconds = |at: &x509_parser::time::ASN1Time| {
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                u64::try_from(at.timestamp()).unwrap_or_default(),
            ))
        };
        let not_before = seconds(&parsed.validity().not_before);
        let not_after = seconds(&parsed.validity().not_after);
        if now > not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
        }
        if now < not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        match parsed.extended_key_usage() {
            Ok(None) => {}
            Ok(Some(usage)) if usage.value.server_auth || usage.value.any => {}
            _ => return Err(CertificateError::InvalidPurpose.into()),
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = match &self.paths {
            Some(paths) => {
                paths.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match judged {
            // Where another root has its name, the reason may be any.
            Err(Error::InvalidCertificate(_)) if self.roots.contains(end_entity) => {
                Self::verify_trusted_leaf(end_entity, server_name, now)
            }
            Err(Error::InvalidCertificate(reason))
                if no_path(&reason) && is_self_issued(end_entity) =>
            {
                let reason = OtherError(Arc::new(SelfSigned));
                Err(CertificateError::Other(reason).into())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a root may issue certificates, as OpenSSL sees it (RFC 5280 sections 4.2.1.3 and
/// 4.2.1.9): stores also hold certificates of single servers, whose keys must not speak for all
/// others. What cannot be read is left to rustls.
pub(crate) fn may_issue(root: &CertificateDer<'_>) -> bool {
    let Ok((_, root)) = X509Certificate::from_der(root) else { return true };
    let (Ok(constraints), Ok(usage)) = (root.basic_constraints(), root.key_usage()) else {
        return false;
    };
    let signs = usage.map(|usage| usage.value.key_cert_sign());
    match constraints {
        Some(constraints) => constraints.value.ca && signs != Some(false),
        None => signs == Some(true) || root.version() != X509Version::V3,
    }
}

/// Takes any certificate.
#[derive(Debug)]
pub(crate) struct TakesAny {
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    /// Whether the server has to prove that it has the certificate's key, as it must where the
    /// certificate is judged afterwards. Some certificates have forms or keys by which no proof can
    /// be checked, and whose certificate it is tells nothing where any is taken.
    pub(crate) asks_for_proof: bool,
}

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.asks_for_proof {
            true => verify_tls12_signature(message, cert, dss, &self.algorithms),
            false => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.asks_for_proof {
            true => verify_tls13_signature(message, cert, dss, &self.algorithms),
            false => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Takes no certificate, for a reason that has nothing to do with it.
#[derive(Debug)]
pub(crate) struct TakesNone {
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) reason: &'static str,
}

impl ServerCertVerifier for TakesNone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Err(CertificateError::Other(OtherError(Arc::new(NothingTrusted(self.reason)))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The refusal where nothing is trusted.
#[derive(Debug)]
struct NothingTrusted(&'static str);

impl fmt::Display for NothingTrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NothingTrusted {}

/// The refusal that rustls has no word for: no path, because the certificate signs itself.
#[derive(Debug)]
struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is self-signed and not among the trusted roots")
    }
}

impl std::error::Error for SelfSigned {}

/// Whether the refusal says that there is no path from the certificate to a root.
fn no_path(reason: &CertificateError) -> bool {
    match reason {
        CertificateError::UnknownIssuer => true,
        // webpki's word for a CA's certificate at the end of a path; it has no variant here.
        CertificateError::Other(other) => format!("{other:?}").contains("CaUsedAsEndEntity"),
        _ => false,
    }
}

fn is_self_issued(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

/// Why a server's certificate was refused, for users.
pub(crate) fn refusal_text(reason: &CertificateError) -> String {
    let why = match reason {
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it expired on {}", day(*not_after))
        }
        CertificateError::NotValidYet => "it is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before {} (is the clock right?)", day(*not_before))
        }
        CertificateError::UnknownIssuer => {
            "its issuer is unknown (an intermediate certificate may be missing)".to_owned()
        }
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            wrong_name(&expected.to_str(), presented)
        }
        CertificateError::Revoked => "it has been revoked".to_owned(),
        CertificateError::BadEncoding => "it cannot be parsed".to_owned(),
        CertificateError::BadSignature => "a signature in its chain is wrong".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it may not be used by servers (extended key usage)".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "it has a critical extension that is not understood".to_owned()
        }
        CertificateError::Other(other) => match format!("{other:?}") {
            text if text.contains("CaUsedAsEndEntity") => {
                "it is a CA's certificate and not a server's".to_owned()
            }
            text if text.contains("UnsupportedCertVersion") => {
                "it is of a version of X.509 before 3, which names no hosts".to_owned()
            }
            _ => other.to_string(),
        },
        other => other.to_string(),
    };
    format!("the server's certificate is refused: {why}")
}

fn wrong_name(expected: &str, presented: &[String]) -> String {
    if presented.is_empty() {
        return format!("it is not for {expected}, it names no host");
    }
    let listed: Vec<&str> =
        presented.iter().take(LISTED_NAMES).map(|name| bare_name(name)).collect();
    let more = match presented.len().saturating_sub(LISTED_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("it is not for {expected}, only for {}{more}", listed.join(", "))
}

/// rustls names a presented name with its kind, as `DnsName("a.example")`.
fn bare_name(name: &str) -> &str {
    name.split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .map_or(name, |bare| bare.trim_matches('"'))
}

fn day(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or_else(|| "an unknown day".to_owned(), |at| at.date().to_string())
}
