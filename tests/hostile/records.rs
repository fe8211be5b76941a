//! TLS records of any kind under the keys of a real handshake.

use std::sync::Arc;

use flowtap::tls::provider::provider;
use rustls::crypto::cipher::{MessageEncrypter, OutboundPlainMessage};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType,
    ProtocolVersion, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion,
};

use crate::support::client::Client;

/// Encrypts what no library would send.
pub(crate) struct Records {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Records {
    /// A record of this type.
    pub(crate) fn seal(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: payload.into() };
        let record = self.encrypter.encrypt(message, self.sequence).unwrap();
        self.sequence += 1;
        record.encode()
    }
}

/// A client that trusts `ca` and speaks this version only.
pub(crate) fn client(
    ca: CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let mut provider = (*provider()).clone();
    // With AES-GCM in TLS 1.2 libraries count nonces themselves.
    let chacha = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    provider.cipher_suites.retain(|it| it.tls13().is_some() || it.suite() == chacha);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.enable_secret_extraction = true;
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// Shakes hands.
pub(crate) fn shake_hands(connection: &mut ClientConnection, client: &mut Client) {
    while connection.is_handshaking() || connection.wants_write() {
        let mut bytes = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut bytes).unwrap();
        }
        client.send(bytes);
        if connection.is_handshaking() {
            connection.read_tls(&mut client.reader()).unwrap();
            connection.process_new_packets().unwrap();
        }
    }
}

/// The keys of a connection that has shaken hands.
pub(crate) fn records(connection: ClientConnection) -> Records {
    let suite = connection.negotiated_cipher_suite().unwrap();
    let (sequence, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("an unknown cipher"),
    };
    let encrypter = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let (fixed, explicit) =
                iv.as_ref().split_at(suite.aead_alg.key_block_shape().fixed_iv_len);
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    };
    Records { encrypter, sequence }
}
