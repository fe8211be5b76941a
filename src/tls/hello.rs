//! The first bytes of a client: is it TLS, and which name does its ClientHello ask for?

/// What the first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Not a TLS handshake record.
    NotTls,
    /// The beginning of a ClientHello; more bytes are needed.
    Partial,
    /// A whole ClientHello.
    ClientHello(ClientHello),
    /// A TLS record that holds no well-formed ClientHello, and why.
    Malformed(&'static str),
}

/// What matters of a ClientHello (RFC 8446 section 4.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host name of the server_name extension (RFC 6066 section 3), verbatim.
    pub server_name: Option<String>,
    /// The protocols of the ALPN extension (RFC 7301), in the client's order.
    pub alpn: Vec<Vec<u8>>,
}

/// Judges the first bytes that a client sent.
pub fn read_client_hello(bytes: &[u8]) -> Hello {
    match bytes.first() {
        None | Some(0x16) => Hello::Partial,
        Some(_) => Hello::NotTls,
    }
}
