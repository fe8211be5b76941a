//! The lines that the terminal shows for each flow, in mitmdump's manner.
//!
//! Like all that the terminal shows they are not masked; characters that could drive the terminal
//! are escaped.

use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::cli::words::{duration, size, visible};
use crate::flow::decode::{Caps, codings, decode};
use crate::flow::head::{Field, HeadText, UriKind, target_uri, text};
use crate::flow::record::{Direction, Opcode};
use crate::flow::stored::{StoredBody, StoredFlow, StoredMessage, StoredWebSocket};
use crate::limits::PRINTED_BODY_BYTES;
use crate::notice::count;

/// How flows are shown.
#[derive(Clone, Copy, Debug)]
pub struct LineStyle {
    /// How much: 0 nothing, 1 a line, 2 headers too, 3 bodies too, cut when they are long,
    /// 4 bodies in full.
    pub detail: u8,
    /// Columns that the first line may take; 0 for any number.
    pub width: usize,
    /// Whether there is colour.
    pub colour: bool,
}

/// Writes the lines of a flow that has ended, or has come as far as it has.
///
/// # Errors
/// Those of `out`.
pub fn write_flow(flow: &StoredFlow, style: LineStyle, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { style, out };
    let request = HeadText::read(&flow.request.head);
    let response = flow.response.as_ref().map(|it| (it, HeadText::read(&it.head)));
    if style.detail >= 1 {
        page.summary(flow, &request, response.as_ref().map(|(_, head)| head))?;
    }
    if style.detail >= 2 {
        page.message(&flow.request, &request)?;
        if let Some((response, head)) = &response {
            let (_, status, _) = head.status_line();
            page.line(&format!(" << {}", page.status(status, &visible(&head.start))))?;
            page.message(response, head)?;
        }
    }
    match &flow.websocket {
        Some(socket) if style.detail >= 3 => page.messages(socket),
        _ => Ok(()),
    }
}

struct Page<'a> {
    style: LineStyle,
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    fn paint(&self, code: u8, text: &str) -> String {
        if self.style.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Text in the colour of a status's class.
    fn status(&self, status: u16, text: &str) -> String {
        let code = match status {
            ..200 => 35,
            200..300 => 32,
            300..400 => 36,
            400..500 => 33,
            _ => 31,
        };
        self.paint(code, text)
    }

    /// The one line that says what was asked for and what came of it.
    fn summary(
        &mut self,
        flow: &StoredFlow,
        request: &HeadText,
        response: Option<&HeadText>,
    ) -> io::Result<()> {
        let method = Some(request.request_line().0).filter(|method| !method.is_empty());
        let replayed = if flow.intervention.replayed { "[replay] " } else { "" };
        let before = format!("{replayed}{} ", visible(method.unwrap_or("-")));
        let kind = if flow.websocket.is_some() { UriKind::WebSocket } else { UriKind::Http };
        let url = target_uri(request, flow.scheme, flow.target.as_deref(), kind);
        let status = response.map_or(0, |head| head.status_line().1);
        let status_text = if status == 0 { "-".to_owned() } else { status.to_string() };
        let after = format!("  {}", outcome(flow));
        let columns = |text: &str| text.chars().count();
        // Where there is no terminal, short URLs are aligned and long ones stay whole.
        let width = if self.style.width == 0 { FILE_COLUMNS } else { self.style.width };
        let taken = columns(&before) + 5 + columns(&after);
        let room = width.saturating_sub(taken).max(URL_COLUMNS);
        let url = match self.style.width {
            0 => visible(&url).into_owned(),
            _ => shortened(&visible(&url), room),
        };
        let url = format!("{url:<room$}");
        let status_text = self.status(status, &format!("{status_text:>3}"));
        self.line(&format!("{before}{url}  {status_text}{after}"))?;
        match &flow.error {
            Some(error) => self.line(&self.paint(31, &format!(" !! {}", visible(error)))),
            None => Ok(()),
        }
    }

    /// A message's fields, and its body where bodies are shown.
    fn message(&mut self, message: &StoredMessage, head: &HeadText) -> io::Result<()> {
        self.fields(&head.fields)?;
        if self.style.detail >= 3 && message.body.size > 0 {
            self.line("")?;
            self.body(&message.body, head)?;
            self.line("")?;
        }
        self.fields(&HeadText::read_fields(&message.trailers))
    }

    fn fields(&mut self, fields: &[Field]) -> io::Result<()> {
        for field in fields {
            self.line(&format!("    {}: {}", visible(&field.name), visible(&field.value)))?;
        }
        Ok(())
    }

    fn body(&mut self, body: &StoredBody, head: &HeadText) -> io::Result<()> {
        let most = if self.style.detail >= 4 { usize::MAX } else { PRINTED_BODY_BYTES };
        let mut shown = Shown { bytes: Vec::new(), most, is_full: false };
        let mut note = None;
        match codings(head.values("content-encoding")) {
            Some(codings) => {
                let mut source = Pieces { rest: &body.pieces, taken: 0 };
                let decoded = decode(&codings, &mut source, &mut shown, Caps::default());
                if let Err(error) = decoded
                    && !shown.is_full
                    && !body.is_cut()
                {
                    note = Some(format!("(not all is decoded: {error})"));
                }
            }
            None => note = Some("(not decoded: the content coding is not known)".to_owned()),
        }
        self.bytes(&shown.bytes, body.size)?;
        if shown.is_full {
            self.line("    (more is shown with flow_detail 4)")?;
        } else if let Some(note) = note {
            self.line(&format!("    {note}"))?;
        }
        if body.is_cut() {
            let (kept, all) = (size(body.kept()), size(body.size));
            self.line(&format!("    (cut: {kept} of {all} were kept)"))?;
        }
        Ok(())
    }

    /// Text as it is, and the size of anything else.
    fn bytes(&mut self, bytes: &[u8], all: u64) -> io::Result<()> {
        let bytes = without_broken_end(bytes);
        if !is_text(bytes) {
            return self.line(&format!("    ({} of binary data)", size(all)));
        }
        for line in text(bytes).lines() {
            self.line(&format!("    {}", visible(line)))?;
        }
        Ok(())
    }

    fn messages(&mut self, socket: &StoredWebSocket) -> io::Result<()> {
        if socket.left_out > 0 {
            let earlier = count(socket.left_out, "earlier message");
            self.line(&format!("    (kept no more: {earlier})"))?;
        }
        for message in &socket.messages {
            let arrow = match message.direction {
                Direction::Send => "->",
                Direction::Receive => "<-",
            };
            let kind = match message.opcode {
                Opcode::Text => "text",
                Opcode::Binary => "binary",
                Opcode::Close => "close",
                Opcode::Ping => "ping",
                Opcode::Pong => "pong",
            };
            self.line(&format!(" {arrow} {kind} {}", size(message.size)))?;
            if message.opcode == Opcode::Text {
                let most = if self.style.detail >= 4 { usize::MAX } else { PRINTED_BODY_BYTES };
                let shown = message.payload.get(..most).unwrap_or(&message.payload);
                self.bytes(shown, message.size)?;
                if (shown.len() as u64) < message.size {
                    self.line("    (cut)")?;
                }
            }
        }
        Ok(())
    }
}

/// Columns that a URL has however narrow the terminal is.
const URL_COLUMNS: usize = 16;

/// Columns of a line in a file, unless its URL is longer.
const FILE_COLUMNS: usize = 100;

/// The size and duration of a flow, or how many messages it has.
fn outcome(flow: &StoredFlow) -> String {
    let time = duration(flow.timing.total_us as f64 / 1_000.0);
    let what = match (&flow.websocket, &flow.response) {
        (Some(socket), _) => {
            let messages = socket.left_out.saturating_add(socket.messages.len() as u64);
            count(messages, "message")
        }
        (None, Some(response)) => size(response.body.size),
        (None, None) => String::new(),
    };
    format!("{what:>10}  {time:>8}")
}

/// The beginning of a text that is too long.
fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept = text.chars().take(columns.saturating_sub(1));
    kept.chain(['\u{2026}']).collect()
}

/// Bytes without the character that is cut off at their end.
fn without_broken_end(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).unwrap_or(bytes)
        }
        _ => bytes,
    }
}

/// Whether bytes are text to be shown: UTF-8, or what is nearly that.
fn is_text(bytes: &[u8]) -> bool {
    let odd: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    !bytes.contains(&0) && odd <= bytes.len() / 10
}

/// The first bytes of what is written; an error once there are enough.
struct Shown {
    bytes: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl Write for Shown {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = self.most.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        self.is_full = data.len() > room;
        if self.is_full { Err(io::Error::other("enough is shown")) } else { Ok(data.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads pieces one after the other.
struct Pieces<'a> {
    rest: &'a [Bytes],
    /// Bytes of the first piece that were read already.
    taken: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let [first, rest @ ..] = self.rest {
            let mut left = first.get(self.taken..).unwrap_or_default();
            let read = left.read(into)?;
            if read > 0 || into.is_empty() {
                self.taken += read;
                return Ok(read);
            }
            (self.rest, self.taken) = (rest, 0);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
