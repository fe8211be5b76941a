//! CONNECT, as a client of an HTTP proxy (RFC 9110 section 9.3.6).

use crate::http::head::{HeadReader, Parsed, ResponseHead};
use crate::limits::{INTERIM_RESPONSES, PROXY_PHRASE_CHARS};

use super::UpstreamProxy;
use super::handshake::{Destination, Taken};

/// Waits for the answer to CONNECT.
#[derive(Debug)]
pub(super) struct Connect {
    reader: HeadReader,
    head: ResponseHead,
    interim: usize,
    has_credentials: bool,
}

impl Connect {
    /// Appends the request.
    pub(super) fn new(proxy: &UpstreamProxy, to: &Destination, output: &mut Vec<u8>) -> Self {
        let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
        output.extend_from_slice(request.as_bytes());
        if let Some(value) = proxy.authorization() {
            output.extend_from_slice(format!("Proxy-Authorization: {value}\r\n").as_bytes());
        }
        output.extend_from_slice(b"\r\n");
        Connect {
            reader: HeadReader::new(),
            head: ResponseHead::default(),
            interim: 0,
            has_credentials: proxy.has_credentials(),
        }
    }

    pub(super) fn advance(&mut self, input: &[u8], to: &Destination) -> Result<Taken, String> {
        let mut taken = Taken::default();
        loop {
            let rest = input.get(taken.bytes..).unwrap_or_default();
            match self.reader.response(rest, &mut self.head) {
                Ok(Parsed::Partial) => return Ok(taken),
                Ok(Parsed::Complete) => {}
                Err(error) => {
                    return Err(format!("did not answer CONNECT {to} as HTTP does: {error}"));
                }
            }
            let status = self.head.status;
            match status {
                // Framing fields mean nothing in an answer that opens a tunnel.
                200..=299 => {
                    taken.bytes = taken.bytes.saturating_add(self.head.len);
                    return Ok(Taken { done: true, ..taken });
                }
                100 | 102..=199 if self.interim < INTERIM_RESPONSES => {
                    self.interim += 1;
                    taken.bytes = taken.bytes.saturating_add(self.head.len);
                }
                _ => return Err(self.refusal(status, rest, to)),
            }
        }
    }

    fn refusal(&self, status: u16, bytes: &[u8], to: &Destination) -> String {
        let phrase = String::from_utf8_lossy(self.head.reason.of(bytes));
        let shown = phrase.chars().map(|c| if c.is_control() { ' ' } else { c });
        let phrase: String = shown.take(PROXY_PHRASE_CHARS).collect();
        let answer = format!("answered CONNECT {to} with {status} {phrase}");
        let answer = answer.trim_end();
        match (status, self.has_credentials) {
            (407, false) => {
                format!("wants a user name and password: give them in its URL (it {answer})")
            }
            (407, true) => {
                format!("does not take the user name and password of its URL (it {answer})")
            }
            _ => answer.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::record::Authority;
    use crate::limits::HEAD_BYTES;

    fn connect(proxy: &str) -> (Connect, Destination, String) {
        let authority = Authority { host: "::1".to_owned(), port: 443 };
        let to = Destination::Host(Arc::new(authority));
        let mut output = Vec::new();
        let proxy = UpstreamProxy::parse(proxy).unwrap();
        let connect = Connect::new(&proxy, &to, &mut output);
        (connect, to, String::from_utf8(output).unwrap())
    }

    /// What comes of an answer that is split at `split`.
    fn answered(proxy: &str, answer: &[u8], split: usize) -> Result<Taken, String> {
        let (mut connect, to, _) = connect(proxy);
        let first = connect.advance(&answer[..split], &to)?;
        if first.done {
            return Ok(first);
        }
        let rest = connect.advance(&answer[first.bytes..], &to)?;
        Ok(Taken { bytes: first.bytes + rest.bytes, ..rest })
    }

    #[test]
    fn the_request_names_the_server_and_shows_credentials() {
        let expected = "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n";
        assert_eq!(connect("http://p").2, format!("{expected}\r\n"));
        let authorization = "Proxy-Authorization: Basic dTpw\r\n";
        assert_eq!(connect("https://u:p@p").2, format!("{expected}{authorization}\r\n"));
    }

    #[test]
    fn a_2xx_answer_opens_the_tunnel_wherever_it_is_split() {
        for head in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200\r\n\r\n",
            "HTTP/1.1 299 x\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let answer = format!("{head}220 hello");
            for split in 0..=answer.len() {
                let taken = answered("http://p", answer.as_bytes(), split);
                assert_eq!(taken, Ok(Taken { bytes: head.len(), done: true }), "{split}: {head}");
            }
        }
    }

    #[test]
    fn any_other_answer_is_told_wherever_it_is_split() {
        for (proxy, answer, words) in [
            (
                "http://p",
                "HTTP/1.1 403 Forbidden\r\n\r\n",
                "answered CONNECT [::1]:443 with 403 Forbidden",
            ),
            ("http://p", "HTTP/1.1 502\r\n\r\nbody", "answered CONNECT [::1]:443 with 502"),
            (
                "http://p",
                "HTTP/1.1 407 Who\r\n\r\n",
                "wants a user name and password: give them in its URL (it answered CONNECT \
                 [::1]:443 with 407 Who)",
            ),
            (
                "http://u:p@p",
                "HTTP/1.1 407 Who\r\n\r\n",
                "does not take the user name and password of its URL (it answered CONNECT \
                 [::1]:443 with 407 Who)",
            ),
            (
                "http://p",
                "HTTP/1.1 101 Switching\r\n\r\n",
                "answered CONNECT [::1]:443 with 101 Switching",
            ),
            (
                "http://p",
                "SSH-2.0-x\r\n\r\n",
                "did not answer CONNECT [::1]:443 as HTTP does: the status line is malformed",
            ),
        ] {
            for split in 0..=answer.len() {
                let refused = answered(proxy, answer.as_bytes(), split);
                assert_eq!(refused, Err(words.to_owned()), "{split}");
            }
        }
    }

    #[test]
    fn the_answer_is_bounded() {
        let (mut endless, to, _) = connect("http://p");
        let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
        answer.extend(b"A: b\r\n".repeat(HEAD_BYTES / 6));
        let error = endless.advance(&answer, &to).unwrap_err();
        assert!(error.contains("longer than"), "{error}");
        let (mut patient, to, _) = connect("http://p");
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let error = patient.advance(&interim.repeat(INTERIM_RESPONSES + 1), &to).unwrap_err();
        assert!(error.contains("with 100 Continue"), "{error}");
        let (mut wordy, to, _) = connect("http://p");
        let answer = format!("HTTP/1.1 403 {}\r\n\r\n", "long".repeat(1_000));
        let error = wordy.advance(answer.as_bytes(), &to).unwrap_err();
        assert!(error.chars().count() < 2 * PROXY_PHRASE_CHARS, "{error}");
    }
}
