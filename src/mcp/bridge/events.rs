//! Messages out of an event stream.

/// Reads events as flowtap writes them: a name, and data of one line.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    data: String,
    /// Whether a reply was among the messages.
    pub has_reply: bool,
}

impl EventReader {
    /// Takes the next bytes of the stream, and shows each message that they complete.
    pub fn take(&mut self, piece: &[u8], message: &mut dyn FnMut(&str)) {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take_line(&String::from_utf8_lossy(&line), message);
            }
        }
    }

    fn take_line(&mut self, line: &str, message: &mut dyn FnMut(&str)) {
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(data) = line.strip_prefix("data:") {
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        } else if line.is_empty() && !self.data.is_empty() {
            let data = std::mem::take(&mut self.data);
            // Notifications have a method, and replies have none.
            self.has_reply |= serde_json::from_str::<serde_json::Value>(&data)
                .is_ok_and(|message| message.get("method").is_none());
            message(&data);
        }
    }

    /// Bytes of an event that is not whole.
    pub fn held_bytes(&self) -> usize {
        self.line.len() + self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_any_pieces() {
        let stream =
            b": ping\n\nevent: message\ndata: {\"method\":1}\n\nevent: message\ndata: {}\n\n";
        for size in [1, 7, stream.len()] {
            let mut reader = EventReader::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(size) {
                reader.take(piece, &mut |json| seen.push(json.to_owned()));
            }
            assert_eq!(seen, ["{\"method\":1}", "{}"]);
            assert!(reader.has_reply);
        }
    }
}
