//! Words of a POSIX shell (XCU section 2.2) that are data, whatever they hold.

/// Whether a text can stand on a line of a terminal, and be pasted into a shell, as it is: no
/// character in it does anything.
pub(crate) fn stands_plain(text: &str) -> bool {
    let acts = |character: char| {
        character.is_control()
            || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    !text.contains(acts)
}

/// A text in single quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text of one line as a word, which must not end in a line feed.
pub(crate) fn word(text: &str) -> String {
    if stands_plain(text) { quoted(text) } else { format!("\"$({})\"", printf(text.as_bytes())) }
}

/// The command that writes these bytes.
pub(super) fn printf(bytes: &[u8]) -> String {
    let mut format = String::with_capacity(bytes.len().saturating_mul(2));
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '%' => format.push_str("%%"),
                '\\' => format.push_str(r"\\"),
                '\'' => format.push_str(r"'\''"),
                '\n' => format.push_str(r"\n"),
                '\r' => format.push_str(r"\r"),
                '\t' => format.push_str(r"\t"),
                // Some take what begins with it for an option.
                '-' if format.is_empty() => format.push_str(r"\055"),
                plain if stands_plain(plain.encode_utf8(&mut [0; 4])) => format.push(plain),
                odd => octal(odd.encode_utf8(&mut [0; 4]).as_bytes(), &mut format),
            }
        }
        octal(chunk.invalid(), &mut format);
    }
    format!("printf '{format}'")
}

fn octal(bytes: &[u8], into: &mut String) {
    for byte in bytes {
        into.push_str(&format!("\\{byte:03o}"));
    }
}
