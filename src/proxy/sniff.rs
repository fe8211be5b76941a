//! What a client speaks inside a tunnel, told by its first bytes.

use crate::tls::hello::{Hello, read_client_hello};

/// What the first bytes show.
#[derive(Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// Nothing yet: no byte came.
    Silence,
    /// Too little to tell; it may become TLS or HTTP.
    Undecided,
    /// A whole ClientHello.
    Tls {
        /// The name it asks for.
        server_name: Option<String>,
        /// It offers protocols by ALPN, and HTTP/1.1 is not among them.
        lacks_http1: bool,
    },
    /// An HTTP/1 request line.
    Http,
    /// Something else, which is relayed without being read.
    Other,
}

/// Looks at the first bytes of a tunnel.
pub fn sniff(bytes: &[u8]) -> Sniffed {
    match read_client_hello(bytes) {
        _ if bytes.is_empty() => Sniffed::Silence,
        Hello::Partial => Sniffed::Undecided,
        Hello::ClientHello(hello) => Sniffed::Tls {
            lacks_http1: !hello.alpn.is_empty() && !hello.alpn.iter().any(|p| p == b"http/1.1"),
            server_name: hello.server_name,
        },
        Hello::Malformed(_) => Sniffed::Other,
        Hello::NotTls => sniff_http(bytes),
    }
}

/// Longer methods are not known; what comes before the first blank must be one.
const METHOD_BYTES: usize = 32;
/// A request line is decided upon by then: its end must be there or it must be plausible so far.
const LINE_BYTES: usize = 64 * 1024;

fn sniff_http(bytes: &[u8]) -> Sniffed {
    let Some(blank) = bytes.iter().position(|byte| *byte == b' ') else {
        let plausible = bytes.len() <= METHOD_BYTES && bytes.iter().all(|byte| is_method(*byte));
        return if plausible { Sniffed::Undecided } else { Sniffed::Other };
    };
    let (method, rest) = bytes.split_at(blank);
    if method.is_empty() || method.len() > METHOD_BYTES || !method.iter().all(|b| is_method(*b)) {
        return Sniffed::Other;
    }
    let target = rest.get(1..).unwrap_or_default();
    let starts = target.first().is_none_or(|first| matches!(first, b'/' | b'*' | b'h' | b'H'));
    let Some(end) = memchr::memchr(b'\n', target) else {
        let plausible = starts && bytes.len() < LINE_BYTES;
        return if plausible { Sniffed::Undecided } else { Sniffed::Other };
    };
    let line = target.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    if starts && version.starts_with(b"HTTP/1.") { Sniffed::Http } else { Sniffed::Other }
}

/// Methods in use are upper-case words; other protocols' first words often are too, which the
/// rest of the line tells apart.
fn is_method(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_are_http() {
        for line in ["GET / HTTP/1.1\r\n", "M-SEARCH * HTTP/1.0\r\n", "GET http://a/ HTTP/1.1\n"] {
            assert_eq!(sniff(line.as_bytes()), Sniffed::Http, "{line}");
        }
    }

    #[test]
    fn other_protocols_are_not() {
        let others = ["SSH-2.0-x\r\n", "EHLO me\r\n", "PING\r\n", "\0\0\0", "get / HTTP/1.1\r\n"];
        for bytes in others {
            assert_eq!(sniff(bytes.as_bytes()), Sniffed::Other, "{bytes:?}");
        }
        assert_eq!(sniff(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Sniffed::Other);
        assert_eq!(sniff(&[b'A'; 40]), Sniffed::Other);
    }

    #[test]
    fn every_beginning_of_a_request_line_is_undecided() {
        let line = b"OPTIONS /a?b HTTP/1.1\r\n";
        for end in 1..line.len() {
            assert_eq!(sniff(&line[..end]), Sniffed::Undecided, "{end}");
        }
        assert_eq!(sniff(b""), Sniffed::Silence);
    }
}
