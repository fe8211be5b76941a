//! A shell script of curl commands, one for each flow.

use std::io::{self, Write};

use super::{About, Format, Left, One};
use crate::capture::bundle::date_time;
use crate::capture::curl::{command, stands_plain};

/// Characters of the words that stand above a command.
const COMMENT_CHARS: usize = 200;

/// A script that is being written.
pub(super) struct Script<'r> {
    about: &'r About<'r>,
    commands: u64,
}

impl<'r> Script<'r> {
    pub(super) fn new(about: &'r About<'r>) -> Self {
        Script { about, commands: 0 }
    }
}

impl Format for Script<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let name = comment(&self.about.name);
        write!(
            out,
            "#!/bin/sh\n# The requests of {name}, by flowtap {}. A command that fails does not \
             stop the others.\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    fn flow(&mut self, out: &mut dyn Write, one: &One<'_>) -> io::Result<()> {
        self.commands += 1;
        let flow = one.flow;
        let url = self.about.redactor.url(&flow.url);
        let answer = match &flow.response {
            Some(response) => response.status.to_string(),
            None => "failed".to_owned(),
        };
        let time = date_time(flow.began_us);
        let words = format!("{} {time} {answer} {} {url}", one.id, flow.method);
        let command = command(flow, None, self.about.redactor);
        writeln!(out, "\n# {}\n{command}", comment(&words))
    }

    fn end(&mut self, out: &mut dyn Write, _left: &mut Left) -> io::Result<u64> {
        out.flush()?;
        Ok(self.commands)
    }
}

/// Words that stay on the line of their comment, and look like one.
fn comment(words: &str) -> String {
    let plain = |letter: char| match stands_plain(letter.encode_utf8(&mut [0; 4])) {
        true => letter,
        false => '?',
    };
    words.chars().take(COMMENT_CHARS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_cannot_look_like_code() {
        assert_eq!(comment("a\n\u{202e}b\u{2028}\x1b[2J é"), "a??b??[2J é");
        assert_eq!(comment(&"é".repeat(COMMENT_CHARS + 1)).chars().count(), COMMENT_CHARS);
    }
}
