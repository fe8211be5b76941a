//! TLS on both sides, from bytes to bytes: the authority, the certificates, the sessions.

pub mod authority;
pub(crate) mod ca_file;
pub mod cert_cache;
pub(crate) mod der;
pub mod facts;
pub mod hello;
pub mod judge;
pub(crate) mod key_file;
pub mod leaf;
pub(crate) mod pem;
pub mod pkcs12;
pub mod provider;
pub mod roots;
pub mod server;
pub mod session;
pub mod upstream;
pub(crate) mod verifier;
pub mod version;

#[cfg(test)]
pub(crate) mod testing;
