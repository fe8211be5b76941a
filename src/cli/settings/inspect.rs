//! The settings of `inspect`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::terminal::colour;
use super::{Flags, filter, none_left_but, number, text};
use crate::cli::flags::Id;
use crate::cli::inspect::{Column, Sort};
use crate::config::Colour;
use crate::error::{Error, Result};
use crate::flow::filter::Filter;
use crate::flow::record::Side;

/// What `inspect` is to show.
#[derive(Clone, Debug)]
pub struct Inspect {
    /// The bundle.
    pub bundle: PathBuf,
    /// The flows that are wanted; `None` for all.
    pub filter: Option<Filter>,
    /// One trace or WebSocket connection of it.
    pub trace: Option<String>,
    /// The bytes of one body of that trace.
    pub body: Option<Side>,
    /// The form.
    pub form: InspectForm,
    /// What a list is sorted by.
    pub sort: Sort,
    /// Whether the last comes first.
    pub reverse: bool,
    /// The columns of the table.
    pub columns: Vec<Column>,
    /// How many flows are shown.
    pub limit: u64,
    /// Whether there is colour.
    pub colour: Colour,
}

/// How flows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InspectForm {
    /// As a table, or one in full.
    Table,
    /// As JSON, a line each.
    Json,
    /// As commands of curl that repeat them.
    Curl,
}

impl Inspect {
    /// What a bundle holds, as a table.
    pub fn new(bundle: PathBuf) -> Self {
        Inspect {
            bundle,
            filter: None,
            trace: None,
            body: None,
            form: InspectForm::Table,
            sort: Sort::Time,
            reverse: false,
            columns: Column::USUAL.to_vec(),
            limit: u64::MAX,
            colour: Colour::Auto,
        }
    }
}

/// The settings of `inspect`.
pub fn inspect(flags: Flags, arguments: Vec<OsString>) -> Result<Inspect> {
    let mut arguments = arguments.into_iter();
    let Some(bundle) = arguments.next() else {
        return Err(Error::usage("inspect needs a bundle: flowtap inspect capture.zip"));
    };
    let mut settings = Inspect::new(PathBuf::from(bundle));
    let expression = arguments.next();
    // Before the first of several words is looked at, which is half a filter.
    none_left_but("inspect", arguments.as_slice(), "put the filter into one pair of quotes")?;
    if let Some(expression) = expression {
        settings.filter = filter("the filter", &expression)?;
    }
    let mut only_lists = settings.filter.as_ref().map(|_| "a filter");
    let mut forms = Vec::new();
    for (id, value) in flags {
        match id {
            Id::Trace => settings.trace = Some(text("--trace", &value)?),
            Id::Body => {
                let side = named("--body", &value, SIDES, |(name, _)| name)?;
                settings.body = Some(side.1);
            }
            Id::Json => forms.push(("--json", InspectForm::Json)),
            Id::Curl => forms.push(("--curl", InspectForm::Curl)),
            Id::Sort => {
                settings.sort = *named("--sort", &value, Sort::ALL, |sort| sort.name())?;
                only_lists = Some("--sort");
            }
            Id::Reverse => settings.reverse = true,
            Id::Color => settings.colour = colour(&value)?,
            Id::Columns => {
                let names = text("--columns", &value)?;
                let column = |name: &str| {
                    let column = OsString::from(name.trim());
                    named("--columns", &column, Column::ALL, |column| column.name()).copied()
                };
                settings.columns = names.split(',').map(column).collect::<Result<_>>()?;
                only_lists = Some("--columns");
            }
            Id::Limit => {
                settings.limit = number("--limit", &value, 1, u64::MAX)?;
                only_lists = Some("--limit");
            }
            _ => {}
        }
    }
    match forms.as_slice() {
        [] => {}
        [(first, form), rest @ ..] => match rest.iter().find(|(_, other)| other != form) {
            Some((other, _)) => {
                return Err(Error::usage(format!("{first} and {other} are two forms: take one")));
            }
            None => settings.form = *form,
        },
    }
    match (&settings.trace, only_lists) {
        (Some(_), Some(flag)) => {
            Err(Error::usage(format!("{flag} is for lists, and --trace shows one flow")))
        }
        (None, _) if settings.body.is_some() => Err(Error::usage("--body needs --trace and an id")),
        _ => Ok(settings),
    }
}

const SIDES: &[(&str, Side)] = &[("request", Side::Request), ("response", Side::Response)];

/// One of several, by its name.
fn named<'a, T>(
    flag: &str,
    value: &OsString,
    all: &'a [T],
    name: impl Fn(&T) -> &'static str,
) -> Result<&'a T> {
    let given = value.to_string_lossy();
    all.iter().find(|it| name(it) == given).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(name).collect();
        Error::usage(format!("{flag} does not know '{given}'; there are: {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Request, parse};

    fn read(words: &[&str]) -> Result<Inspect> {
        match parse(["inspect"].iter().chain(words).map(OsString::from)) {
            Ok(Request::Run { flags, arguments, .. }) => inspect(flags, arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_is_filtered_sorted_and_cut() {
        let list = read(&[
            "b.zip",
            "~d api & ~c 500",
            "--sort",
            "size",
            "-r",
            "--limit",
            "5",
            "--columns",
            "id,url , status",
            "--json",
        ]);
        let list = list.unwrap();
        assert_eq!(list.filter.as_ref().unwrap().text(), "~d api & ~c 500");
        assert_eq!((list.sort, list.reverse, list.limit), (Sort::Size, true, 5));
        assert_eq!(list.columns, [Column::Id, Column::Url, Column::Status]);
        assert_eq!(list.form, InspectForm::Json);
        let usual = read(&["b.zip"]).unwrap();
        assert!(usual.filter.is_none() && usual.columns == Column::USUAL);
        assert_eq!(
            (usual.sort, usual.limit, usual.form),
            (Sort::Time, u64::MAX, InspectForm::Table)
        );
        assert!(read(&["b.zip", " "]).unwrap().filter.is_none());
    }

    #[test]
    fn one_flow_is_shown_in_each_form() {
        let body = read(&["b.zip", "--trace", "2:t_0001", "--body", "response"]).unwrap();
        assert_eq!((body.trace.as_deref(), body.body), (Some("2:t_0001"), Some(Side::Response)));
        let curl = read(&["b.zip", "--trace", "t_0001", "--curl"]).unwrap();
        assert_eq!(curl.form, InspectForm::Curl);
    }

    #[test]
    fn what_does_not_fit_is_a_usage_error_with_what_there_is() {
        for (words, named) in [
            (&["--trace", "t_0001"][..], "needs a bundle"),
            (&["b", "~nothing"], "the filter"),
            (&["b", "~d a", "~c 500"], "with '~c 500'; put the filter into one pair of quotes"),
            (&["b", "~d", "a"], "with 'a'; put the filter into one pair of quotes"),
            (&["b", ""], "the filter needs a value, and got an empty one"),
            (&["b", "--columns", ""], "--columns needs a value, and got an empty one"),
            (&["b", "~q", "c"], "'c'"),
            (&["b", "--sort", "speed"], "time, size, status, duration, url, host"),
            (&["b", "--columns", "id,methd"], "id, time, method, status, size"),
            (&["b", "--columns", ""], "--columns"),
            (&["b", "--limit", "0"], "--limit"),
            (&["b", "--json", "--curl"], "--json and --curl"),
            (&["b", "~q", "--trace", "t_0001"], "a filter"),
            (&["b", "--limit", "1", "--trace", "t_0001"], "--limit"),
            (&["b", "--body", "request"], "--trace"),
            (&["b", "--trace", "t_0001", "--body", "both"], "request, response"),
        ] {
            let error = read(words).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(named), "{words:?}: {error}");
        }
    }
}
