//! The system's roots of trust, in the forms in which programs take them.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::pem;
use super::pkcs12::trust_store;

/// Certificates that a program is to trust.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Those of the system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name in their place.
    /// What cannot be read is left out: [`super::upstream::UpstreamTls::new`] tells of it.
    pub fn of_system() -> Roots {
        Roots { certificates: rustls_native_certs::load_native_certs().certs }
    }

    /// Adds a certificate, before all others.
    pub fn add(&mut self, der: &[u8]) {
        self.certificates.retain(|there| there.as_ref() != der);
        self.certificates.insert(0, CertificateDer::from(der.to_vec()));
    }

    /// As PEM text.
    pub fn pem(&self) -> String {
        self.certificates.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()
    }

    /// As a store for Java. It reads all of a store or nothing, so what cannot be parsed, as some
    /// old roots of systems, is left out.
    pub fn pkcs12(&self) -> Vec<u8> {
        let ders = self.certificates.iter().map(CertificateDer::as_ref);
        let sound = ders.filter(|der| X509Certificate::from_der(der).is_ok()).enumerate();
        trust_store(sound.map(|(number, der)| (format!("root {number}"), der)), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_stands_first_and_once() {
        let mut roots = Roots::default();
        for der in [&b"one"[..], b"two", b"one"] {
            roots.add(der);
        }
        assert_eq!(
            roots.certificates.iter().map(|it| it.as_ref()).collect::<Vec<_>>(),
            [&b"one"[..], b"two"]
        );
        assert_eq!(roots.pem().matches("BEGIN CERTIFICATE").count(), 2);
    }
}
