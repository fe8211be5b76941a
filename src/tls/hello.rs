//! The first bytes of a client: is it TLS, and which name does its ClientHello ask for?

use std::borrow::Cow;

use crate::limits::{CLIENT_HELLO_BYTES, CLIENT_HELLO_RECORDS};

/// The record type handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 0x16;
/// The handshake type client_hello (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;
/// Bytes of a plaintext record's content at most (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 1 << 14;
/// Bytes of the random value.
const RANDOM_BYTES: usize = 32;
/// Bytes of a session id at most.
const SESSION_ID_BYTES: usize = 32;
/// The extension server_name (RFC 6066 section 3).
const SERVER_NAME: u16 = 0;
/// The extension application_layer_protocol_negotiation (RFC 7301).
const ALPN: u16 = 16;
/// The name type host_name.
const HOST_NAME: u8 = 0;

/// What the first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Not a TLS handshake record.
    NotTls,
    /// The beginning of a ClientHello, or nothing yet; more bytes are needed.
    Partial,
    /// A whole ClientHello.
    ClientHello(ClientHello),
    /// A TLS record that holds no well-formed ClientHello, and why.
    Malformed(&'static str),
}

/// What matters of a ClientHello (RFC 8446 section 4.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host name of the server_name extension (RFC 6066 section 3), verbatim: ASCII and not
    /// empty, but not checked for being a DNS name.
    pub server_name: Option<String>,
    /// The protocols of the ALPN extension (RFC 7301), in the client's order, GREASE included.
    pub alpn: Vec<Vec<u8>>,
}

/// Judges the first bytes that a client sent. What follows the ClientHello does not matter.
///
/// A hello that does not end within [`CLIENT_HELLO_BYTES`] and [`CLIENT_HELLO_RECORDS`] is
/// malformed.
pub fn read_client_hello(bytes: &[u8]) -> Hello {
    let bytes = bytes.get(..CLIENT_HELLO_BYTES).unwrap_or(bytes);
    match bytes.first() {
        None => return Hello::Partial,
        Some(&HANDSHAKE) => {}
        Some(_) => return Hello::NotTls,
    }
    match message(bytes).and_then(|message| message.map(|m| body(&m)).transpose()) {
        Ok(Some(hello)) => Hello::ClientHello(hello),
        Ok(None) if bytes.len() >= CLIENT_HELLO_BYTES => Hello::Malformed(TOO_LONG),
        Ok(None) => Hello::Partial,
        Err(why) => Hello::Malformed(why),
    }
}

const TOO_LONG: &str = "the ClientHello is too long";
const CUT: &str = "a field of the ClientHello is cut off";

type Malformed = &'static str;

/// The body of the first handshake message, put together from its records; `None` while bytes
/// are missing.
fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Malformed> {
    let mut input = Fields(bytes);
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    for _ in 0..=CLIENT_HELLO_RECORDS {
        if let Some(body) = whole_body(&joined)? {
            return Ok(Some(body));
        }
        let Some(fragment) = record(&mut input)? else { return Ok(None) };
        // One record is the rule, and then nothing is copied.
        if joined.is_empty() {
            joined = Cow::Borrowed(fragment);
        } else {
            joined.to_mut().extend_from_slice(fragment);
        }
    }
    Err("the ClientHello is spread over too many records")
}

/// The message's body if `joined` holds all of it.
fn whole_body<'a>(joined: &Cow<'a, [u8]>) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
    let mut fields = Fields(joined);
    match fields.u8() {
        None => return Ok(None),
        Some(CLIENT_HELLO) => {}
        Some(_) => return Err("the first handshake message is no ClientHello"),
    }
    let Some(length) = fields.u24() else { return Ok(None) };
    if length > CLIENT_HELLO_BYTES {
        return Err(TOO_LONG);
    }
    let end = length + 4;
    Ok(match joined {
        Cow::Borrowed(all) => all.get(4..end).map(Cow::Borrowed),
        Cow::Owned(all) => all.get(4..end).map(|body| Cow::Owned(body.to_vec())),
    })
}

/// The next record's content; `None` when it is not all there.
fn record<'a>(input: &mut Fields<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    match input.u8() {
        None => return Ok(None),
        Some(HANDSHAKE) => {}
        Some(_) => return Err("another record interrupts the ClientHello"),
    }
    match input.u8() {
        None => return Ok(None),
        Some(3) => {}
        Some(_) => return Err("the record's version is not TLS"),
    }
    let Some(_minor) = input.u8() else { return Ok(None) };
    let Some(length) = input.u16().map(usize::from) else { return Ok(None) };
    if length == 0 || length > RECORD_BYTES {
        return Err("the record's length is out of bounds");
    }
    Ok(input.take(length))
}

/// Reads a whole ClientHello's body.
fn body(bytes: &[u8]) -> Result<ClientHello, Malformed> {
    let mut fields = Fields(bytes);
    let _version = fields.u16().ok_or(CUT)?;
    let _random = fields.take(RANDOM_BYTES).ok_or(CUT)?;
    let session_id = fields.vector8().ok_or(CUT)?;
    if session_id.len() > SESSION_ID_BYTES {
        return Err("the session id is too long");
    }
    let suites = fields.vector16().ok_or(CUT)?;
    if suites.is_empty() || suites.len() % 2 != 0 {
        return Err("the list of cipher suites is malformed");
    }
    if fields.vector8().ok_or(CUT)?.is_empty() {
        return Err("the list of compression methods is empty");
    }
    let mut hello = ClientHello::default();
    // TLS 1.2 allows a hello without extensions (RFC 5246 section 7.4.1.2).
    if fields.0.is_empty() {
        return Ok(hello);
    }
    let extensions = fields.vector16().ok_or(CUT)?;
    if !fields.0.is_empty() {
        return Err("bytes follow the extensions");
    }
    read_extensions(Fields(extensions), &mut hello)?;
    Ok(hello)
}

fn read_extensions(mut list: Fields<'_>, hello: &mut ClientHello) -> Result<(), Malformed> {
    let (mut named, mut offered) = (false, false);
    while !list.0.is_empty() {
        let kind = list.u16().ok_or(CUT)?;
        let content = list.vector16().ok_or(CUT)?;
        match kind {
            // RFC 8446 section 4.2: no extension comes twice.
            SERVER_NAME if named => return Err("the server name comes twice"),
            ALPN if offered => return Err("ALPN comes twice"),
            SERVER_NAME => {
                named = true;
                hello.server_name = server_name(Fields(content))?;
            }
            ALPN => {
                offered = true;
                hello.alpn = protocols(Fields(content))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first host name of the list; other kinds of names are skipped.
fn server_name(mut content: Fields<'_>) -> Result<Option<String>, Malformed> {
    let mut list = Fields(content.vector16().ok_or(CUT)?);
    if list.0.is_empty() || !content.0.is_empty() {
        return Err("the list of server names is malformed");
    }
    let mut found = None;
    while !list.0.is_empty() {
        let kind = list.u8().ok_or(CUT)?;
        let name = list.vector16().ok_or(CUT)?;
        if kind != HOST_NAME || found.is_some() {
            continue;
        }
        if name.is_empty() || !name.is_ascii() {
            return Err("the server name is not ASCII text");
        }
        found = Some(String::from_utf8_lossy(name).into_owned());
    }
    Ok(found)
}

fn protocols(mut content: Fields<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut list = Fields(content.vector16().ok_or(CUT)?);
    if list.0.is_empty() || !content.0.is_empty() {
        return Err("the list of ALPN protocols is malformed");
    }
    let mut found = Vec::new();
    while !list.0.is_empty() {
        let protocol = list.vector8().ok_or(CUT)?;
        if protocol.is_empty() {
            return Err("an ALPN protocol is empty");
        }
        found.push(protocol.to_vec());
    }
    Ok(found)
}

/// What is left to read; every reader returns `None`, and takes nothing that matters, where
/// bytes are missing.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, octets: usize) -> Option<usize> {
        let taken = self.take(octets)?;
        Some(taken.iter().fold(0, |number, octet| (number << 8) | usize::from(*octet)))
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.number(2).and_then(|number| u16::try_from(number).ok())
    }

    fn u24(&mut self) -> Option<usize> {
        self.number(3)
    }

    /// Bytes behind their length in one octet.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.number(1)?;
        self.take(length)
    }

    /// Bytes behind their length in two octets.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number(2)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests;
