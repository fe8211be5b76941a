//! One side of a connection as the state machines see it: plaintext in, plaintext out.

use crate::limits::{BUFFER_HIGH_BYTES, INPUT_BYTES};
use crate::proxy::buffer::Buffer;

/// How the peer's stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By the end of the stream; inside TLS, after close_notify.
    Clean,
    /// By the end of the stream inside TLS, but without close_notify: whether that was all the
    /// peer wanted to say cannot be told (RFC 8446 section 6.1).
    Unannounced,
    /// By a reset or an error, with the reason.
    Cut(String),
}

impl End {
    /// Why what came may not be all; `None` after a clean end.
    pub fn doubt(&self) -> Option<&str> {
        match self {
            End::Clean => None,
            End::Unannounced => Some("the connection ended without TLS close_notify"),
            End::Cut(reason) => Some(reason),
        }
    }
}

/// One side of a connection.
#[derive(Debug, Default)]
pub struct Link {
    /// What the peer sent and was not yet taken.
    pub input: Buffer,
    /// What is to be sent to the peer.
    pub output: Buffer,
    /// Set when nothing more comes from the peer; `input` may still hold what came before.
    pub end: Option<End>,
    /// Set when the peer takes nothing more: output goes nowhere.
    pub broken: bool,
    /// Set while bytes that have left `output` wait in TLS for the socket to take them.
    pub waits_in_tls: bool,
}

impl Link {
    /// Whether more input should be read: back-pressure on the peer.
    pub fn wants_input(&self) -> bool {
        self.end.is_none() && self.input.len() < INPUT_BYTES
    }

    /// Whether more output may be queued.
    pub fn has_room(&self) -> bool {
        self.output.len() < BUFFER_HIGH_BYTES
    }

    /// Whether the socket has taken all output.
    pub fn is_sent(&self) -> bool {
        self.output.is_empty() && !self.waits_in_tls
    }

    /// Whether the peer has ended and everything it sent was taken.
    pub fn is_exhausted(&self) -> bool {
        self.end.is_some() && self.input.is_empty()
    }

    /// Queues output, or throws it away when the peer takes nothing more.
    pub fn send(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.output.push(bytes);
        }
    }

    /// Queues the first `count` bytes of `source`, without a copy where that is all of it and
    /// nothing is queued.
    pub fn forward(&mut self, source: &mut Buffer, count: usize) {
        if !self.broken && count == source.len() {
            self.output.append(source);
        } else {
            self.send(source.bytes().get(..count).unwrap_or_default());
            source.consume(count);
        }
    }

    /// Forgets everything, for the next peer.
    pub fn reset(&mut self) {
        self.input.clear();
        self.output.clear();
        self.end = None;
        self.broken = false;
        self.waits_in_tls = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forwarded_leaves_its_source() {
        let mut source = Buffer::default();
        let mut link = Link::default();
        for (bytes, count, queued) in [("abc", 3, "abc"), ("de", 1, "abcd"), ("", 1, "abcde")] {
            source.push(bytes.as_bytes());
            link.forward(&mut source, count);
            assert_eq!(link.output.bytes(), queued.as_bytes());
        }
        assert!(source.is_empty());
        link.broken = true;
        source.push(b"f");
        link.forward(&mut source, 1);
        assert!(source.is_empty() && link.output.bytes() == b"abcde");
    }
}
