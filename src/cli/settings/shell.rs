//! The settings of `completions`.

use std::ffi::OsString;

use super::none_left;
use crate::cli::completions::{SHELLS, Shell};
use crate::error::{Error, Result};

/// The shell that `completions` is for.
pub fn shell(arguments: Vec<OsString>) -> Result<Shell> {
    let names: Vec<_> = SHELLS.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let mut arguments = arguments.into_iter();
    let Some(given) = arguments.next() else {
        return Err(Error::usage(format!("completions needs the name of a shell: {names}")));
    };
    none_left("completions", arguments.as_slice())?;
    let given = given.to_string_lossy();
    // PowerShell's program is called so.
    let wanted = if given == "pwsh" { "powershell" } else { &*given };
    let found = SHELLS.iter().find(|(name, _)| *name == wanted).map(|(_, shell)| *shell);
    found.ok_or_else(|| Error::usage(format!("completions knows {names}, not '{given}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_named() {
        let read = |words: &[&str]| shell(words.iter().map(OsString::from).collect());
        assert_eq!(read(&["fish"]).unwrap(), Shell::Fish);
        assert_eq!(read(&["pwsh"]).unwrap(), Shell::PowerShell);
        for (words, named) in
            [(&[][..], "bash, zsh, fish"), (&["tcsh"], "'tcsh'"), (&["zsh", "x"], "'x'")]
        {
            let error = read(words).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{error}");
        }
    }
}
