//! The text and binary messages of a WebSocket as exports have them, and what they lack of them.

use bytes::Bytes;

use crate::flow::record::{Direction, Opcode};
use crate::flow::redact::Redactor;
use crate::flow::stored::{StoredWebSocket, StoredWebSocketMessage};
use crate::notice::count;

/// A text or binary message.
#[derive(Debug, Default)]
pub(crate) struct SocketMessage {
    pub(crate) sent: bool,
    pub(crate) time_us: u64,
    pub(crate) is_text: bool,
    /// What is here of the payload.
    pub(crate) payload: Bytes,
    /// Bytes the payload had; more than are here where it was cut.
    pub(crate) size: u64,
    /// Whether the payload is here as it came, compressed.
    pub(crate) is_coded: bool,
}

impl SocketMessage {
    /// The payload as `redactor` lets it be shown: secrets in what is compressed cannot be masked,
    /// and whoever inflates it reads them. A text that is cut ends with its last whole character.
    pub(crate) fn shown(&self, redactor: &Redactor) -> Option<&[u8]> {
        let payload = self.payload.as_ref();
        match std::str::from_utf8(payload) {
            _ if self.is_coded => (!redactor.is_on()).then_some(payload),
            Err(error) if self.is_text && self.is_cut() && error.error_len().is_none() => {
                payload.get(..error.valid_up_to())
            }
            _ => Some(payload),
        }
    }

    fn is_cut(&self) -> bool {
        (self.payload.len() as u64) < self.size
    }
}

/// The messages of a stored connection, as far as something is kept of them.
pub(super) fn kept(socket: &StoredWebSocket) -> Vec<SocketMessage> {
    let messages = data(socket).filter(|message| message.is_kept());
    let messages = messages.map(|message| SocketMessage {
        sent: message.direction == Direction::Send,
        time_us: message.time_us,
        is_text: message.opcode == Opcode::Text,
        payload: message.payload.clone(),
        size: message.size,
        // What could not be inflated was not kept.
        is_coded: false,
    });
    messages.collect()
}

/// How many more there were.
pub(super) fn not_kept(socket: &StoredWebSocket) -> u64 {
    let not_kept = data(socket).filter(|message| !message.is_kept()).count();
    socket.left_out.saturating_add(not_kept as u64)
}

fn data(socket: &StoredWebSocket) -> impl Iterator<Item = &StoredWebSocketMessage> {
    let messages = socket.messages.iter().map(|message| message.as_ref());
    messages.filter(|message| matches!(message.opcode, Opcode::Text | Opcode::Binary))
}

/// How many messages an export does not have as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacking {
    /// Messages that are not there.
    pub(crate) left_out: u64,
    /// Messages of which only the beginning is there.
    pub(crate) cut: u64,
    /// Messages that are there as they came, compressed.
    pub(crate) coded: u64,
}

impl Lacking {
    /// What is lacking where so many messages are not at hand at all, and these are.
    pub(super) fn of(left_out: u64, messages: &[SocketMessage], redactor: &Redactor) -> Self {
        let mut lacking = Lacking { left_out, ..Lacking::default() };
        for message in messages {
            lacking.left_out += u64::from(message.shown(redactor).is_none());
            lacking.cut += u64::from(message.is_cut());
            lacking.coded += u64::from(message.is_coded && !redactor.is_on());
        }
        lacking
    }

    pub(crate) fn add(&mut self, other: Lacking) {
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.cut = self.cut.saturating_add(other.cut);
        self.coded = self.coded.saturating_add(other.coded);
    }

    /// In words, as `3 messages are left out; 1 is cut`; `None` where nothing is lacking.
    pub(super) fn words(&self) -> Option<String> {
        let Lacking { left_out, cut, coded } = *self;
        let mut words = String::new();
        for (number, what) in [(left_out, "left out"), (cut, "cut"), (coded, "still compressed")] {
            if number == 0 {
                continue;
            }
            let subject = match words.as_str() {
                "" => count(number, "message"),
                _ => format!("; {number}"),
            };
            let verb = if number == 1 { "is" } else { "are" };
            words.push_str(&format!("{subject} {verb} {what}"));
        }
        (!words.is_empty()).then_some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_in_words() {
        let words = |left_out, cut, coded| Lacking { left_out, cut, coded }.words();
        assert_eq!(words(0, 0, 0), None);
        assert_eq!(words(0, 1, 0).as_deref(), Some("1 message is cut"));
        let all = "3 messages are left out; 1 is cut; 2 are still compressed";
        assert_eq!(words(3, 1, 2).as_deref(), Some(all));
    }

    #[test]
    fn a_text_that_is_cut_ends_with_its_last_whole_character() {
        let shown = |payload: &'static [u8], size, is_text| {
            let payload = payload.into();
            let message = SocketMessage { is_text, payload, size, ..SocketMessage::default() };
            message.shown(&Redactor::off()).unwrap().to_vec()
        };
        assert_eq!(shown(b"caf\xc3", 5, true), b"caf");
        assert_eq!(shown(b"\xf0\x9f", 4, true), b"");
        // What is wrong in other ways, is whole, or is no text stays as it is.
        assert_eq!(shown(b"a\xffb\xc3\xa9", 9, true), b"a\xffb\xc3\xa9");
        assert_eq!(shown(b"caf\xc3", 4, true), b"caf\xc3");
        assert_eq!(shown(b"caf\xc3", 5, false), b"caf\xc3");
    }
}
