//! Words that are gathered until the end, where the terminal is that of another program.

use std::collections::HashMap;

use crate::limits::GATHERED_BYTES;

/// Lines that are printed at the end, each after the name of who says it.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    lines: Vec<String>,
    bytes: usize,
    /// Whether nothing is printed before the end.
    pub(super) quiet: bool,
}

/// A line beside those of another program.
pub(super) fn said(line: &str) -> String {
    format!("flowtap: {line}\n")
}

impl Gathered {
    /// Nothing yet.
    pub(super) fn new(quiet: bool) -> Self {
        Gathered { quiet, ..Gathered::default() }
    }

    /// Takes lines; false when there is too much, and these are left out.
    pub(super) fn take(&mut self, lines: &str) -> bool {
        let has_room = self.bytes + lines.len() <= GATHERED_BYTES;
        if has_room {
            self.bytes += lines.len();
            self.lines.extend(lines.lines().map(str::to_owned));
        }
        has_room
    }

    /// Has each line say how often it came.
    pub(super) fn count(&mut self, counts: HashMap<&str, u64>) {
        for line in &mut self.lines {
            if let Some(count) = counts.get(line.as_str()).filter(|count| **count > 1) {
                line.push_str(&format!(" ({count} times)"));
            }
        }
    }

    /// Whether there is nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All of it, for one write.
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| said(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_is_told_once_with_its_count_and_bounded() {
        let mut gathered = Gathered::default();
        assert!(gathered.take("a\nb\n") && gathered.take("c\n"));
        gathered.count(HashMap::from([("a", 1), ("b", 3)]));
        assert_eq!(gathered.text(), "flowtap: a\nflowtap: b (3 times)\nflowtap: c\n");
        assert!(!gathered.take(&"x".repeat(GATHERED_BYTES)));
        assert_eq!(gathered.lines.len(), 3);
    }
}
