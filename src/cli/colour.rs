//! Whether there is colour: by the flag, else by the environment and the terminal.

use std::ffi::OsString;
use std::io::IsTerminal;

use crate::config::Colour;

/// Whether what goes to `stream` has colour.
pub(super) fn is_coloured(wanted: Colour, stream: &impl IsTerminal) -> bool {
    decide(wanted, stream.is_terminal(), &|name| std::env::var_os(name))
}

/// The flag decides. Then `NO_COLOR` (no-color.org), then `CLICOLOR_FORCE` and `CLICOLOR`
/// (bixense.com/clicolors), then the terminal, which may be one that knows no colour.
fn decide(wanted: Colour, terminal: bool, variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    let value = |name| variable(name).filter(|value| !value.is_empty());
    let is_on = |name| value(name).is_some_and(|value| value != "0");
    match wanted {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if value("NO_COLOR").is_some() => false,
        Colour::Auto if is_on("CLICOLOR_FORCE") => true,
        Colour::Auto if value("CLICOLOR").is_some_and(|value| value == "0") => false,
        Colour::Auto => terminal && value("TERM").is_none_or(|value| value != "dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_then_the_environment_then_the_terminal_decide() {
        let decided = |wanted, terminal, set: &[(&str, &str)]| {
            decide(wanted, terminal, &|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let auto = |terminal, set: &[(&str, &str)]| decided(Colour::Auto, terminal, set);
        assert!(auto(true, &[]) && !auto(false, &[]));
        for off in [("NO_COLOR", "0"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
            assert!(!auto(true, &[off]), "{off:?}");
            assert!(decided(Colour::Always, false, &[off]));
        }
        for nothing in [("NO_COLOR", ""), ("CLICOLOR_FORCE", "0"), ("TERM", "xterm")] {
            assert!(auto(true, &[nothing]) && !auto(false, &[nothing]), "{nothing:?}");
        }
        let forced = ("CLICOLOR_FORCE", "1");
        assert!(auto(false, &[forced]) && auto(false, &[forced, ("TERM", "dumb")]));
        assert!(!auto(true, &[forced, ("NO_COLOR", "1")]));
        assert!(!decided(Colour::Never, true, &[forced]));
    }
}
