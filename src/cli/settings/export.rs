//! The settings of `export`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Flags, filter, none_left, path};
use crate::cli::flags::Id;
use crate::error::{Error, Result};
use crate::flow::filter::Filter;

/// What `export` is to write.
#[derive(Clone, Debug)]
pub struct Export {
    /// The bundle.
    pub bundle: PathBuf,
    /// Where to; `None` for the standard output.
    pub har: Option<PathBuf>,
    /// Whether secrets are masked.
    pub redact: bool,
    /// The flows that are wanted; `None` for all.
    pub filter: Option<Filter>,
}

/// The settings of `export`.
pub fn export(flags: Flags, arguments: Vec<OsString>) -> Result<Export> {
    const USAGE: &str = "flowtap export capture.zip --har capture.har";
    let mut arguments = arguments.into_iter();
    let Some(bundle) = arguments.next().map(PathBuf::from) else {
        return Err(Error::usage(format!("export needs a bundle: {USAGE}")));
    };
    none_left("export", arguments.as_slice())?;
    let (mut har, mut redact, mut wanted) = (None, false, None);
    for (id, value) in flags {
        match id {
            Id::Har => har = Some(path("--har", value)?),
            Id::Redact => redact = true,
            Id::Filter => wanted = filter("--filter", &value)?,
            _ => {}
        }
    }
    let Some(har) = har else {
        return Err(Error::usage(format!("export needs --har and a file: {USAGE}")));
    };
    let har = Some(har).filter(|har| har.as_os_str() != "-");
    Ok(Export { bundle, har, redact, filter: wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Request, parse};

    #[test]
    fn export_needs_a_bundle_and_a_file() {
        let read = |line: &str| match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Request::Run { flags, arguments, .. }) => export(flags, arguments),
            other => panic!("{other:?}"),
        };
        let file = read("export b.zip --har x.har").unwrap();
        assert_eq!((file.bundle, file.har), ("b.zip".into(), Some("x.har".into())));
        assert!(!file.redact && file.filter.is_none());
        let out = read("export --har - b.zip --redact --filter ~c404").unwrap();
        assert_eq!((out.bundle, out.har, out.redact), ("b.zip".into(), None, true));
        assert_eq!(out.filter.unwrap().text(), "~c404");
        for (line, named) in [
            ("export --har x.har", "needs a bundle"),
            ("export b.zip", "--har"),
            ("export b.zip --har=", "--har"),
            ("export b.zip c.zip --har x", "c.zip"),
            ("export b.zip --har x --filter ~nothing", "--filter"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{line}: {error}");
        }
    }
}
