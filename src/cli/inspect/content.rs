//! Bodies and messages, as a person reads them.

use std::io;

use crate::cli::inspect::Page;
use crate::cli::inspect::indent::indented;
use crate::cli::words::{size, visible};
use crate::flow::charset::body_text;
use crate::flow::events::events;
use crate::flow::multipart::{Parts, parameter, parts};
use crate::flow::picture::picture;
use crate::flow::query::{is_form, parameters};
use crate::limits::{INSPECTED_BINARY_BYTES, INSPECTED_PARTS, INSPECTED_TEXT_BYTES};
use crate::notice::count_were;

/// Shows what bytes of this media type hold: JSON indented, forms and event streams taken apart,
/// of pictures what they are, other text as it is, and anything else as the hex dump of its
/// beginning. Each is bounded, and says how much was left out.
pub(super) fn show(
    page: &mut Page<'_>,
    bytes: &[u8],
    content_type: &str,
    is_cut: bool,
) -> io::Result<()> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    if let Some(picture) = picture(bytes) {
        let pixels =
            picture.pixels.map(|(width, height)| format!(", {width} \u{d7} {height} pixels"));
        let pixels = pixels.unwrap_or_default();
        return page.line(&format!("({} picture{pixels}, {})", picture.format, bytes_words(bytes)));
    }
    if media_type.starts_with("multipart/")
        && let Some(parts) = parts(content_type, bytes)
    {
        return show_parts(page, parts);
    }
    let Some(text) = body_text(content_type, bytes, is_cut) else { return dump(page, bytes) };
    match media_type.as_str() {
        "application/x-www-form-urlencoded" if is_form(&text) => {
            pairs(page, parameters(text.trim_end()))
        }
        "text/event-stream" => show_events(page, &text),
        // A number or a word is as good as it is.
        _ if text.trim_start().starts_with(['{', '[']) => match indented(&text) {
            Some(lines) => show_lines(page, lines, text.len()),
            None => show_text(page, &text),
        },
        _ => show_text(page, &text),
    }
}

/// Bytes that a line has besides what it shows.
const LINE_BYTES: usize = 16;

/// Names and values, a line each, as many as fit the bound.
pub(super) fn pairs<S: AsRef<str>>(
    page: &mut Page<'_>,
    mut pairs: impl Iterator<Item = (S, S)>,
) -> io::Result<()> {
    let mut left = INSPECTED_TEXT_BYTES;
    while let Some((name, value)) = pairs.next() {
        let (name, value) = (name.as_ref(), value.as_ref());
        let Some(rest) = left.checked_sub(name.len() + value.len() + LINE_BYTES) else {
            return left_out(page, pairs.count() + 1, "more pair");
        };
        left = rest;
        let (name, value) = (visible(name), visible(value));
        page.line(&format!("    {} = {value}", page.name(&name)))?;
    }
    Ok(())
}

fn show_parts(page: &mut Page<'_>, mut parts: Parts<'_>) -> io::Result<()> {
    for part in parts.by_ref().take(INSPECTED_PARTS) {
        let disposition = part.field("content-disposition");
        let mut words = match parameter(disposition, "name") {
            Some(name) => page.name(&visible(name)),
            None => "(a part without a name)".to_owned(),
        };
        if let Some(file) = parameter(disposition, "filename") {
            words.push_str(&format!(", file {}", visible(file)));
        }
        let content_type = part.field("content-type");
        if !content_type.is_empty() {
            words.push_str(&format!(", {}", visible(content_type)));
        }
        page.line(&format!("--- {words}, {}", size(part.body.len() as u64)))?;
        // A part may be multipart itself; one level is taken apart.
        let inner = if content_type.starts_with("multipart/") { "" } else { content_type };
        show(page, part.body, inner, false)?;
    }
    left_out(page, parts.count(), "more part")
}

/// Says how many of something were left out, if any.
fn left_out(page: &mut Page<'_>, number: usize, one: &str) -> io::Result<()> {
    match number {
        0 => Ok(()),
        number => page.line(&format!("({} left out)", count_were(number as u64, one))),
    }
}

fn show_events(page: &mut Page<'_>, text: &str) -> io::Result<()> {
    let mut left = INSPECTED_TEXT_BYTES;
    let mut events = events(text).enumerate();
    while let Some((number, event)) = events.next() {
        let bytes = [event.name, event.id, &event.data].map(str::len).iter().sum::<usize>();
        let Some(rest) = left.checked_sub(bytes + LINE_BYTES) else {
            return left_out(page, events.count() + 1, "more event");
        };
        left = rest;
        let mut words = format!("--- event {}", number + 1);
        for (name, value) in [("", event.name), ("id ", event.id)] {
            if !value.is_empty() {
                words.push_str(&format!(", {name}{}", page.name(&visible(value))));
            }
        }
        page.line(&words)?;
        match indented(&event.data).filter(|_| event.data.starts_with(['{', '['])) {
            Some(lines) => show_lines(page, lines, event.data.len())?,
            None => show_text(page, &event.data)?,
        }
    }
    Ok(())
}

fn show_text(page: &mut Page<'_>, text: &str) -> io::Result<()> {
    show_lines(page, text.lines(), text.len())
}

/// Lines of a text of so many bytes, as many as fit the bound.
fn show_lines<S: AsRef<str>>(
    page: &mut Page<'_>,
    lines: impl Iterator<Item = S>,
    bytes: usize,
) -> io::Result<()> {
    let mut left = INSPECTED_TEXT_BYTES;
    for line in lines {
        let line = line.as_ref();
        if line.len() > left {
            let begin = line.char_indices().take_while(|(at, it)| at + it.len_utf8() <= left);
            let begin: String = begin.map(|(_, character)| character).collect();
            page.line(&visible(&begin))?;
            let bytes = size(bytes as u64);
            return page.line(&format!("(the text of {bytes} goes on; --body writes all of it)"));
        }
        left = left.saturating_sub(line.len() + 1);
        page.line(&visible(line))?;
    }
    Ok(())
}

/// The beginning as `hexdump -C` has it.
fn dump(page: &mut Page<'_>, bytes: &[u8]) -> io::Result<()> {
    let shown = bytes.get(..INSPECTED_BINARY_BYTES).unwrap_or(bytes);
    for (row, chunk) in shown.chunks(16).enumerate() {
        let (left, right) = chunk.split_at_checked(8).unwrap_or((chunk, &[]));
        let hex = |half: &[u8]| half.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
        let is_shown = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let letter = |byte: &u8| if is_shown(byte) { char::from(*byte) } else { '.' };
        let text: String = chunk.iter().map(letter).collect();
        page.line(&format!("{:08x}  {:<24} {:<24} |{text}|", row * 16, hex(left), hex(right)))?;
    }
    let rest = match bytes.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!("; {more} more are left out, --body writes all of them"),
    };
    page.line(&format!("({}, binary{rest})", bytes_words(bytes)))
}

fn bytes_words(bytes: &[u8]) -> String {
    match bytes.len() {
        short @ ..1_024 => format!("{short} bytes"),
        long => format!("{long} bytes, {}", size(long as u64)),
    }
}

#[cfg(test)]
mod tests;
