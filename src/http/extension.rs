//! Chunk extensions (RFC 9112 section 7.1.1): nobody needs them, and whatever two readers could
//! take for the end of their line in two places is refused.

use super::body::FramingError;
use super::head::is_token_byte;
use crate::limits::CHUNK_EXTENSION_BYTES;

/// The length of what stands behind a chunk's size, with its CR LF; `None` while it is incomplete.
pub(super) fn line_length(bytes: &[u8]) -> Result<Option<usize>, FramingError> {
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let is_text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    let end = bytes.iter().take(CHUNK_EXTENSION_BYTES + 1).position(|&byte| !is_text(byte));
    match end.map(|end| (end, bytes.get(end), bytes.get(end + 1))) {
        None if bytes.len() > CHUNK_EXTENSION_BYTES => Err(FramingError::ChunkExtension),
        None => Ok(None),
        Some((end, Some(b'\r'), Some(b'\n'))) => {
            let text = bytes.get(..end).unwrap_or_default();
            are_extensions(text).then_some(Some(end + 2)).ok_or(FramingError::ChunkExtension)
        }
        Some((_, Some(b'\r'), None)) => Ok(None),
        Some(_) => Err(FramingError::ChunkExtension),
    }
}

/// Whether `text` is `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
fn are_extensions(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(rest) = after(text, b';').and_then(after_token) else { return false };
        text = rest;
        let Some(value) = after(rest, b'=') else { continue };
        let behind = match value.strip_prefix(b"\"") {
            Some(quoted) => after_quoted(quoted),
            None => after_token(value),
        };
        let Some(rest) = behind else { return false };
        text = rest;
    }
    true
}

/// What follows `separator` and the blanks around it.
fn after(text: &[u8], separator: u8) -> Option<&[u8]> {
    let rest = skip_blanks(text).strip_prefix(&[separator])?;
    Some(skip_blanks(rest))
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let length = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    text.get(length..).unwrap_or_default()
}

fn after_token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|&&byte| is_token_byte(byte)).count();
    text.get(length..).filter(|_| length > 0)
}

/// What follows the closing quote. Control characters were refused before.
fn after_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => text = rest,
            [] => return None,
        }
    }
}
