//! The settings of `export`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Flags, STANDARD_OUTPUT, filter, none_left_but, path};
use crate::capture::export::Kind;
use crate::cli::flags::Id;
use crate::error::{Error, Result};
use crate::flow::filter::Filter;

/// What `export` is to write.
#[derive(Clone, Debug)]
pub struct Export {
    /// The bundle.
    pub bundle: PathBuf,
    /// As what.
    pub kind: Kind,
    /// Where to; `None` for the standard output.
    pub file: Option<PathBuf>,
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
    none_left_but("export", arguments.as_slice(), "for a filter use --filter")?;
    let (mut files, mut redact, mut wanted) = (Vec::new(), false, None);
    for (id, value) in flags {
        match id {
            Id::Redact => redact = true,
            Id::Filter => wanted = filter("--filter", &value)?,
            _ => {
                if let Some(kind) = kind(id) {
                    files.push((kind, path(&format!("--{}", kind.name()), value)?));
                }
            }
        }
    }
    let formats = || Kind::ALL.map(|kind| format!("--{}", kind.name())).join(", ");
    let (kind, file) = match <[_; 1]>::try_from(files) {
        Ok([file]) => file,
        Err(none) if none.is_empty() => {
            let needs = format!("export needs one of {} and a file: {USAGE}", formats());
            return Err(Error::usage(needs));
        }
        Err(_) => {
            return Err(Error::usage(format!("export writes one file: one of {}", formats())));
        }
    };
    let file = Some(file).filter(|file| file.as_os_str() != STANDARD_OUTPUT);
    Ok(Export { bundle, kind, file, redact, filter: wanted })
}

/// The format that a flag asks for.
fn kind(id: Id) -> Option<Kind> {
    match id {
        Id::Har => Some(Kind::Har),
        Id::JsonLines => Some(Kind::JsonLines),
        Id::OpenApi => Some(Kind::OpenApi),
        Id::Html => Some(Kind::Html),
        Id::Curl => Some(Kind::Curl),
        _ => None,
    }
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
        assert_eq!((file.bundle, file.kind), ("b.zip".into(), Kind::Har));
        assert_eq!(file.file, Some("x.har".into()));
        assert!(!file.redact && file.filter.is_none());
        let out = read("export --har - b.zip --redact --filter ~c404").unwrap();
        assert_eq!((out.bundle, out.file, out.redact), ("b.zip".into(), None, true));
        let lines = read("export b.zip --jsonl x").unwrap();
        assert_eq!((lines.kind, lines.file), (Kind::JsonLines, Some("x".into())));
        assert_eq!(out.filter.unwrap().text(), "~c404");
        for (line, named) in [
            ("export --har x.har", "needs a bundle"),
            ("export b.zip", "--har"),
            ("export b.zip --har=", "--har"),
            ("export b.zip c.zip --har x", "c.zip"),
            (
                "export b.zip ~c404",
                "does not know what to do with '~c404'; for a filter use --filter",
            ),
            ("export b.zip --har x --jsonl y", "one of --har, --jsonl"),
            ("export b.zip --har x --har y", "one file"),
            ("export b.zip --har x --filter ~nothing", "--filter"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{line}: {error}");
        }
    }
}
