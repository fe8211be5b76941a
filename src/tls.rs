//! TLS on both sides, from bytes to bytes: the authority, the certificates, the sessions.

pub mod authority;
pub mod cert_cache;
pub mod hello;
pub mod pkcs12;
pub mod server;
pub mod session;
pub mod upstream;
