//! How two texts differ, by lines.

use crate::mcp::tools::compare::VALUE_CHARS;
use crate::mcp::tools::reply::shorten;

/// How far ahead a line is looked for after a difference.
const LOOKAHEAD_LINES: usize = 40;

/// The first differences as `-LINE: text` and `+LINE: text`, and whether there are more.
pub(super) fn find(first: &str, second: &str, limit: usize) -> (Vec<String>, bool) {
    let (mut a, mut b) = (Cursor::new(first), Cursor::new(second));
    let mut found = Vec::new();
    loop {
        while a.line().is_some() && a.line() == b.line() {
            a.skip();
            b.skip();
        }
        let (gone, come) = match (a.line(), b.line()) {
            (None, None) => return (found, false),
            (Some(_), Some(_)) => resync(&a, &b),
            // One of them has ended: the rest of the other differs, line by line.
            (Some(_), None) => (1, 0),
            (None, Some(_)) => (0, 1),
        };
        for (cursor, lines, sign) in [(&mut a, gone, '-'), (&mut b, come, '+')] {
            for _ in 0..lines {
                if found.len() >= limit {
                    return (found, true);
                }
                let text = shorten(cursor.line().unwrap_or_default(), VALUE_CHARS);
                found.push(format!("{sign}{}: {text}", cursor.number()));
                cursor.skip();
            }
        }
    }
}

/// How many lines to pass by on each side until both have the same line again.
fn resync(a: &Cursor<'_>, b: &Cursor<'_>) -> (usize, usize) {
    for distance in 1..=LOOKAHEAD_LINES {
        for gone in 0..=distance {
            let come = distance - gone;
            if a.ahead(gone).is_some() && a.ahead(gone) == b.ahead(come) {
                return (gone, come);
            }
        }
    }
    (1, 1)
}

struct Cursor<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Cursor { lines: text.lines().collect(), at: 0 }
    }

    fn line(&self) -> Option<&'a str> {
        self.ahead(0)
    }

    fn ahead(&self, lines: usize) -> Option<&'a str> {
        self.lines.get(self.at + lines).copied()
    }

    fn number(&self) -> usize {
        self.at + 1
    }

    fn skip(&mut self) {
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_changed_came_and_went_are_found() {
        let (found, is_more) = find("a\nb\nc\nd\ne", "a\nB\nc\ne\nf\ng", 10);
        assert_eq!(found, ["-2: b", "+2: B", "-4: d", "+5: f", "+6: g"]);
        assert!(!is_more);
        assert_eq!(find("a\nb", "a\nb", 10), (Vec::new(), false));
    }

    #[test]
    fn the_number_of_differences_is_bounded() {
        let (a, b) = ("a\n".repeat(10_000), "b\n".repeat(10_000));
        let (found, is_more) = find(&a, &b, 4);
        assert_eq!((found.len(), is_more), (4, true));
    }
}
