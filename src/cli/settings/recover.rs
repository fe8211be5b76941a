//! The settings of `recover`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Flags, bundle, judge_output, none_left, path};
use crate::cli::flags::Id;
use crate::error::{Error, Result};

/// What `recover` is to make whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recover {
    /// The output of a killed capture, or its journal.
    pub file: PathBuf,
    /// Where the bundle is wanted; `None` where the capture was to write it.
    pub output: Option<PathBuf>,
}

/// The settings of `recover`.
pub fn recover(flags: Flags, arguments: Vec<OsString>) -> Result<Recover> {
    let mut arguments = arguments.into_iter();
    let Some(file) = arguments.next() else {
        return Err(Error::usage(
            "recover needs the file of a killed capture: flowtap recover capture.zip",
        ));
    };
    none_left("recover", arguments.as_slice())?;
    let file = path("recover", file)?;
    let mut output = None;
    for (id, value) in flags {
        if id == Id::Output {
            let file = bundle(value)?;
            judge_output(&file)?;
            output = Some(file);
        }
    }
    Ok(Recover { file, output })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Request, parse};

    #[test]
    fn recover_needs_a_file() {
        let read = |line: &str| match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Request::Run { flags, arguments, .. }) => recover(flags, arguments),
            other => panic!("{other:?}"),
        };
        let expected = Recover { file: "c.zip".into(), output: Some("/x/d.zip".into()) };
        assert_eq!(read("recover c.zip -o /x/d.zip").unwrap(), expected);
        assert_eq!(read("recover c.zip").unwrap().output, None);
        for (line, named) in [
            ("recover", "flowtap recover capture.zip"),
            ("recover a b", "'b'"),
            ("recover a -o=", "--output"),
            ("recover a -o -", "--output takes a file"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{line}: {error}");
        }
    }
}
