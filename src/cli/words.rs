//! Words for a terminal: text from outside that is safe to print, sizes and durations.

use std::borrow::Cow;

/// Captured text with every character escaped that could drive the user's terminal: controls,
/// and marks that turn the direction of writing. Tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    let drives = |character: char| {
        (character.is_control() && character != '\t')
            || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(drives) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            character if !drives(character) => escaped.push(character),
            character if u32::from(character) < 0x100 => {
                escaped.push_str(&format!("\\x{:02x}", u32::from(character)));
            }
            character => escaped.push_str(&format!("\\u{{{:x}}}", u32::from(character))),
        }
    }
    Cow::Owned(escaped)
}

/// A number of bytes, in the nearest unit.
pub fn size(count: u64) -> String {
    let mut value = count as f64;
    if count < 1024 {
        return format!("{count} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} TiB", value / 1024.0)
}

/// A duration in milliseconds, in the nearest unit.
pub fn duration(ms: f64) -> String {
    if ms >= 1_000.0 { format!("{:.2} s", ms / 1_000.0) } else { format!("{ms:.1} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_drive_a_terminal_are_escaped() {
        assert_eq!(visible("a\tb \u{e9}"), "a\tb \u{e9}");
        assert_eq!(visible("\x1b]0;title\x07\r\u{9b}31m"), "\\x1b]0;title\\x07\\x0d\\x9b31m");
        assert_eq!(visible("a\u{202e}b\x7f\u{61c}"), "a\\u{202e}b\\x7f\\u{61c}");
    }

    #[test]
    fn sizes_are_told_in_the_nearest_unit() {
        assert_eq!((size(0), size(1_023)), ("0 B".into(), "1023 B".into()));
        assert_eq!((size(1_536), size(3 << 30)), ("1.5 KiB".into(), "3.0 GiB".into()));
        assert_eq!((size(5 << 40), size(5 << 50)), ("5.0 TiB".into(), "5120.0 TiB".into()));
    }

    #[test]
    fn durations_are_short() {
        assert_eq!((duration(0.25), duration(61_500.0)), ("0.2 ms".into(), "61.50 s".into()));
    }
}
