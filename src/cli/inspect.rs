//! `flowtap inspect`: what a bundle holds, as a table; one trace or connection in full.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::capture::bundle::part_path;
use crate::capture::read::{self, Bundle, Header, Message, Trace};
use crate::cli::results;
use crate::cli::words::{duration, size, visible};
use crate::error::{Error, Result};
use crate::limits::INSPECTED_BINARY_BYTES;
use crate::notice::{count, count_were};

/// Writes what `bundle` holds to `out`, or one trace or WebSocket connection of it. A reader of
/// `out` that goes away is no error.
pub fn run(bundle: &Path, trace: Option<&str>, out: &mut dyn Write, colour: bool) -> Result<()> {
    let mut opened = Bundle::open(bundle)?;
    let mut page = Page { out, colour };
    let shown = match trace {
        None => table(&mut opened, bundle, &mut page),
        Some(id) if opened.trace_ids().iter().any(|known| known == id) => {
            show_trace(&mut opened, id, &mut page)
        }
        Some(id) if opened.websocket_ids().iter().any(|known| known == id) => {
            show_websocket(&mut opened, id, &mut page)
        }
        Some(id) => return Err(unknown_id(&opened, bundle, id)),
    };
    match shown.and_then(|()| page.out.flush().map_err(Failure::Output)) {
        Ok(()) => Ok(()),
        Err(Failure::Output(error)) => results::judge(Err(error)),
        Err(Failure::Bundle(error)) => Err(error),
    }
}

enum Failure {
    Output(io::Error),
    Bundle(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Bundle(error)
    }
}

fn unknown_id(bundle: &Bundle, path: &Path, id: &str) -> Error {
    let held = match (bundle.trace_ids(), bundle.websocket_ids()) {
        ([], []) => "it holds nothing".to_owned(),
        ([first, .., last], _) => format!("its traces are {first} to {last}"),
        ([only], _) => format!("its only trace is {only}"),
        ([], [first, ..]) => format!("its first WebSocket is {first}"),
    };
    Error::new(format!("no trace {} in {}: {held}", visible(id), path.display()))
}

struct Page<'a> {
    out: &'a mut dyn Write,
    colour: bool,
}

impl Page<'_> {
    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        if self.colour { self.line(&format!("\x1b[1m{text}\x1b[0m")) } else { self.line(text) }
    }

    /// A status code, already padded, in the colour of its class.
    fn status(&self, status: u16, text: &str) -> String {
        let code = match status {
            200..300 => 32,
            300..400 => 36,
            400..500 => 33,
            _ => 31,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn table(
    bundle: &mut Bundle,
    path: &Path,
    page: &mut Page<'_>,
) -> std::result::Result<(), Failure> {
    page.heading(&format!(
        "{:<7} {:<7} {:>6} {:>10} {:>10}  URL",
        "ID", "METHOD", "STATUS", "SIZE", "TIME"
    ))?;
    let traces = bundle.trace_ids().to_vec();
    for id in &traces {
        match bundle.trace(id) {
            Ok(trace) => table_row(page, id, &trace)?,
            // One odd trace does not hide the others.
            Err(error) => page.line(&format!("{id:<7} {error}"))?,
        }
    }
    let websockets = bundle.websocket_ids().to_vec();
    let mut messages = 0_u64;
    for id in &websockets {
        match bundle.websocket(id) {
            Ok(socket) => {
                messages = messages.saturating_add(socket.message_count);
                let count = count(socket.message_count, "message");
                page.line(&format!("{id:<7} {:<7} {count:>28}  {}", "WS", visible(&socket.url)))?;
            }
            Err(error) => page.line(&format!("{id:<7} {error}"))?,
        }
    }
    let manifest = bundle.manifest();
    page.heading(&format!(
        "{}, {}, {}, {} from {}",
        count(traces.len() as u64, "trace"),
        count(websockets.len() as u64, "WebSocket"),
        count(messages, "message"),
        duration(manifest.duration_ms),
        visible(&manifest.created_at)
    ))?;
    let after = (manifest.series_id.clone(), manifest.part_number.saturating_add(1));
    let follows = |next: &PathBuf| read::series(next).is_some_and(|found| found == after);
    if let Some(next) = next_parts(path).into_iter().flatten().find(follows) {
        page.line(&format!("the capture goes on in {}", next.display()))?;
    }
    Ok(())
}

fn table_row(page: &mut Page<'_>, id: &str, trace: &Trace) -> io::Result<()> {
    let status = match trace.response.status {
        0 => "-".to_owned(),
        status => status.to_string(),
    };
    let status = page.status(trace.response.status, &format!("{status:>6}"));
    let method = visible(&trace.request.method);
    let size = size(trace.response.body_size);
    let time = duration(trace.timing.total_ms);
    let url = visible(&trace.request.url);
    page.line(&format!("{id:<7} {method:<7} {status} {size:>10} {time:>10}  {url}"))
}

/// The files that the next part may have, by the names that a capture gives its parts.
fn next_parts(path: &Path) -> [Option<PathBuf>; 2] {
    [Some(part_path(path, 2)), after_numbered(path)]
}

/// What follows `capture-0002.zip`.
fn after_numbered(path: &Path) -> Option<PathBuf> {
    let (name, number) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let number: u32 = number.parse().ok().filter(|_| number.len() >= 4)?;
    let mut first = PathBuf::from(name);
    if let Some(extension) = path.extension() {
        first.as_mut_os_string().push(".");
        first.as_mut_os_string().push(extension);
    }
    Some(part_path(&path.with_file_name(first), number.checked_add(1)?))
}

fn show_trace(
    bundle: &mut Bundle,
    id: &str,
    page: &mut Page<'_>,
) -> std::result::Result<(), Failure> {
    let trace = bundle.trace(id)?;
    let (request, response) = (&trace.request, &trace.response);
    let version = visible(&request.http_version);
    page.heading(&format!("{} {} {version}", visible(&request.method), visible(&request.url)))?;
    show_message(bundle, request, page)?;
    if response.status == 0 {
        page.heading("(no response)")?;
    } else {
        let status = page.status(response.status, &response.status.to_string());
        let version = visible(&response.http_version);
        page.heading(&format!("{version} {status} {}", visible(&response.status_text)))?;
        show_message(bundle, response, page)?;
    }
    if let Some(error) = &trace.error {
        page.heading("error")?;
        page.line(&format!("{}\n", visible(error)))?;
    }
    page.heading("timing")?;
    let timing = &trace.timing;
    let phases = [
        ("name look-up", timing.dns_ms),
        ("connect", timing.connect_ms),
        ("TLS", timing.tls_ms),
        ("send", timing.send_ms),
        ("wait", timing.wait_ms),
        ("receive", timing.receive_ms),
        ("total", timing.total_ms),
    ];
    for (name, time) in phases {
        page.line(&format!("{name:<12} {:>10}", duration(time)))?;
    }
    Ok(())
}

fn show_message(
    bundle: &mut Bundle,
    message: &Message,
    page: &mut Page<'_>,
) -> std::result::Result<(), Failure> {
    show_headers(&message.headers, page)?;
    page.line("")?;
    if let Some(file) = &message.body_file {
        match bundle.trace_body(file) {
            Ok(body) => show_bytes(&body, page)?,
            Err(error) => page.line(&format!("({error})"))?,
        }
        if let Some(coding) = &message.body_encoding {
            page.line(&format!("(not decoded: {})", visible(coding)))?;
        }
        page.line("")?;
    }
    if message.body_damaged {
        page.line("(damaged: what was recorded of the body could not be read back whole)\n")?;
    } else if let Some(size) = message.body_wire_size {
        page.line(&format!("(cut: the body had {size} bytes on the wire)\n"))?;
    }
    if !message.trailers.is_empty() {
        show_headers(&message.trailers, page)?;
        page.line("")?;
    }
    Ok(())
}

fn show_headers(headers: &[Header], page: &mut Page<'_>) -> io::Result<()> {
    for header in headers {
        page.line(&format!("{}: {}", visible(&header.name), visible(&header.value)))?;
    }
    Ok(())
}

fn show_websocket(
    bundle: &mut Bundle,
    id: &str,
    page: &mut Page<'_>,
) -> std::result::Result<(), Failure> {
    let socket = bundle.websocket(id)?;
    page.heading(&format!("WebSocket {}", visible(&socket.url)))?;
    if !socket.protocols.is_empty() {
        page.line(&format!("protocols offered: {}", visible(&socket.protocols.join(", "))))?;
    }
    let mut number = 1;
    while let Some(message) = bundle.message(id, number)? {
        let arrow = if message.direction == "send" { "->" } else { "<-" };
        let after = message.timestamp.saturating_sub(socket.timestamp) as f64;
        page.heading(&format!(
            "{arrow} {} {}, {}, after {}",
            visible(&message.id),
            visible(&message.opcode),
            size(message.payload_size),
            duration(after)
        ))?;
        if let Some(file) = &message.payload_file {
            match bundle.message_payload(file) {
                Ok(payload) => show_bytes(&payload, page)?,
                Err(error) => page.line(&format!("({error})"))?,
            }
        }
        if let Some(coding) = &message.payload_encoding {
            page.line(&format!("(not decoded: {})", visible(coding)))?;
        }
        if message.payload_damaged {
            page.line("(damaged: what was recorded of it could not be read back whole)")?;
        }
        number += 1;
    }
    if socket.messages_left_out > 0 {
        let left_out = count_were(socket.messages_left_out, "more message");
        page.line(&format!("{left_out} not kept"))?;
    }
    if let Some(error) = &socket.error {
        page.line(&format!("ended: {}", visible(error)))?;
    }
    Ok(())
}

/// Text as it is, but for characters that could drive a terminal; anything else as its size and
/// the hex dump of its beginning.
fn show_bytes(bytes: &[u8], page: &mut Page<'_>) -> io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => {
            for line in text.lines() {
                page.line(&visible(line))?;
            }
            Ok(())
        }
        _ => {
            let shown = bytes.get(..INSPECTED_BINARY_BYTES).unwrap_or(bytes);
            for (row, chunk) in shown.chunks(16).enumerate() {
                let hex: String = chunk.iter().map(|byte| format!("{byte:02x} ")).collect();
                let is_shown = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
                let text: String = chunk
                    .iter()
                    .map(|byte| if is_shown(byte) { char::from(*byte) } else { '.' })
                    .collect();
                page.line(&format!("{:08x}  {hex:<48} {text}", row * 16))?;
            }
            let rest =
                if shown.len() < bytes.len() { ", of which these are the first" } else { "" };
            page.line(&format!("({} bytes, binary{rest})", bytes.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_part_follows_from_the_name() {
        let next =
            |path: &str| next_parts(Path::new(path)).map(|next| next.map(PathBuf::into_os_string));
        assert_eq!(next("d/capture.zip"), [Some("d/capture-0002.zip".into()), None]);
        let both = ["d/capture-0002-0002.zip", "d/capture-0003.zip"];
        assert_eq!(next("d/capture-0002.zip"), both.map(|path| Some(path.into())));
        assert_eq!(next("my-api.zip"), [Some("my-api-0002.zip".into()), None]);
    }
}
