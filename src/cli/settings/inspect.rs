//! The settings of `inspect`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Flags, none_left, text};
use crate::cli::flags::Id;
use crate::error::{Error, Result};

/// What `inspect` is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// The bundle.
    pub bundle: PathBuf,
    /// One trace or WebSocket connection of it.
    pub trace: Option<String>,
}

/// The settings of `inspect`.
pub fn inspect(flags: Flags, arguments: Vec<OsString>) -> Result<Inspect> {
    let mut arguments = arguments.into_iter();
    let Some(bundle) = arguments.next() else {
        return Err(Error::usage("inspect needs a bundle: flowtap inspect capture.zip"));
    };
    none_left("inspect", arguments.as_slice())?;
    let mut trace = None;
    for (id, value) in flags {
        if id == Id::Trace {
            trace = Some(text("--trace", &value)?);
        }
    }
    Ok(Inspect { bundle: PathBuf::from(bundle), trace })
}
