//! Flags about what the terminal shows.

use std::ffi::OsString;

use super::text;
use crate::cli::flags::Id;
use crate::config::{Colour, Terminal};
use crate::error::{Error, Result};
use crate::options::{FLOW_DETAIL_MOST, Options};

/// The flags as they are read.
#[derive(Debug, Default)]
pub(super) struct TerminalFlags {
    terminal: Terminal,
    verbose: u8,
}

impl TerminalFlags {
    /// Takes one of `-v`, `-q` and `--color`.
    ///
    /// # Errors
    /// When the value of `--color` is none of those that it takes.
    pub(super) fn take(&mut self, id: Id, value: &OsString) -> Result<()> {
        match id {
            Id::Verbose => self.verbose = self.verbose.saturating_add(1),
            Id::Quiet => self.terminal.quiet = true,
            Id::Color => self.terminal.colour = colour(value)?,
            _ => {}
        }
        Ok(())
    }

    /// What they come to; `-v` and `-q` set the option `flow_detail`.
    ///
    /// # Errors
    /// When they contradict each other.
    pub(super) fn finish(mut self, options: &mut Options) -> Result<Terminal> {
        if self.terminal.quiet {
            if self.verbose > 0 {
                return Err(Error::usage("--verbose and --quiet contradict each other"));
            }
            options.flow_detail = 0;
        }
        if self.verbose > 0 {
            options.flow_detail = self.verbose.min(FLOW_DETAIL_MOST);
            self.terminal.flows = true;
        }
        Ok(self.terminal)
    }
}

/// The value of `--color`.
pub(super) fn colour(value: &OsString) -> Result<Colour> {
    match text("--color", value)?.as_str() {
        "auto" => Ok(Colour::Auto),
        "always" => Ok(Colour::Always),
        "never" => Ok(Colour::Never),
        other => Err(Error::usage(format!("--color takes auto, always or never, not '{other}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Request, parse};
    use crate::cli::settings::proxy;
    use crate::config::Config;

    fn read(line: &str) -> Result<Config> {
        let line = format!("proxy --confdir /c {line}");
        match parse(line.split_whitespace().map(OsString::from))? {
            Request::Run { flags, arguments, .. } => proxy(flags, arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_v_shows_more() {
        for (line, detail, flows) in [
            ("", 1, false),
            ("-v", 1, true),
            ("--verbose -v", 2, true),
            ("-vvv", 3, true),
            ("-vvvvvvv", 4, true),
            ("-vv --set flow_detail=4", 2, true),
            ("--set flow_detail=4", 4, false),
            ("-q", 0, false),
        ] {
            let config = read(line).unwrap();
            assert_eq!(config.options.flow_detail, detail, "{line}");
            assert_eq!(config.terminal.flows, flows, "{line}");
            assert_eq!(config.terminal.quiet, line == "-q");
        }
        assert!(read("-q -v").unwrap_err().is_usage());
    }

    #[test]
    fn colour_is_one_of_three() {
        assert_eq!(read("").unwrap().terminal.colour, Colour::Auto);
        assert_eq!(read("--color always").unwrap().terminal.colour, Colour::Always);
        assert_eq!(read("--color=never").unwrap().terminal.colour, Colour::Never);
        let error = read("--color yes").unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("auto, always or never"));
    }
}
