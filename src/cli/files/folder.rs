//! What a file in the working folder may set. It may have come with somebody else's work, and must
//! not change whom flowtap trusts, whom it serves, what it hides, or files that are not its own.

use std::path::{Component, Path};

use super::keys::{Fault, Key};
use super::{FOLDER_FILE, set_key, user_file};
use crate::cli::flags::{FLAGS, Id};

/// The flags that cannot harm the user, whatever their values are. What is not here is refused, so
/// that a flag is never allowed by having been forgotten.
const HARMLESS: &[Id] = &[
    Id::Port,
    Id::NoOutput,
    Id::Domain,
    Id::Exclude,
    Id::App,
    Id::CaptureBodyLimit,
    Id::BundleTraces,
    Id::MaxFlows,
    Id::Loops,
    Id::McpPort,
    Id::NoMcp,
    Id::Trace,
    Id::Redact,
    Id::Filter,
    Id::FailOn,
    Id::Require,
    Id::Github,
    Id::Json,
    Id::Verbose,
    Id::Quiet,
    Id::Color,
    Id::Sort,
    Id::Reverse,
    Id::Columns,
    Id::Limit,
];
/// Flags that name a file to write, which has to lie in the folder and end so, so that no other
/// file of the user's is written over.
const WRITTEN: &[(Id, &str)] = &[
    (Id::Output, "zip"),
    (Id::Har, "har"),
    (Id::JsonLines, "jsonl"),
    (Id::OpenApi, "json"),
    (Id::Html, "html"),
    (Id::Junit, "xml"),
];
/// Switches that protect: a file in the folder may set them, but not take them back.
const PROTECTING: &[Id] = &[Id::NoMcp, Id::Redact];
/// The options that cannot harm, and whose values replace no protection of the user's own.
const OPTIONS: &[&str] = &[
    "intercept",
    "intercept_timeout",
    "anticache",
    "anticomp",
    "showhost",
    "flow_detail",
    "body_size_limit",
    "capture_body_limit",
    "connection_strategy",
    "websocket",
    "rawtcp",
    "connect_timeout",
    "idle_timeout",
    "response_timeout",
    "handshake_timeout",
    "request_head_timeout",
    "body_timeout",
    "tunnel_timeout",
];

/// Whether a key may stand in a file of the working folder.
pub(super) fn judge(key: &Key) -> Result<(), Fault> {
    for flag in FLAGS.iter().filter(|flag| flag.long == key.name) {
        if PROTECTING.contains(&flag.id) && key.words(flag).is_ok_and(|words| words.is_empty()) {
            return Err(Fault { line: key.line, words: refused(&format!("{} = false", key.name)) });
        }
        if HARMLESS.contains(&flag.id) {
            continue;
        }
        let written = WRITTEN.iter().find(|(id, _)| *id == flag.id).map(|(_, end)| *end);
        for (value, line) in key.words(flag).unwrap_or_default() {
            if let Some(end) = written {
                if !is_inside(Path::new(&value), end) {
                    return Err(Fault {
                        line,
                        words: format!(
                            "{} in {FOLDER_FILE} must name a .{end} file in this folder, without \
                             .. and links; give another as an option or in {}",
                            key.name,
                            own()
                        ),
                    });
                }
                continue;
            }
            let option = (flag.id == Id::Set).then(|| set_key(&value));
            if option.as_ref().is_none_or(|option| !OPTIONS.contains(&option.as_str())) {
                let what = option.map_or(key.name.clone(), |option| format!("set {option}"));
                return Err(Fault { line, words: refused(&what) });
            }
        }
    }
    Ok(())
}

fn refused(what: &str) -> String {
    format!(
        "{what} is not taken from {FOLDER_FILE}, which may be somebody else's and could harm you \
         by it; give it as an option or in {}, or read no file with --no-config",
        own()
    )
}

fn own() -> String {
    user_file().map_or("a file named with --config".to_owned(), |path| path.display().to_string())
}

/// Whether a path stays in the working folder and leads over no link, with this ending.
fn is_inside(path: &Path, end: &str) -> bool {
    if path.as_os_str() == "-" {
        return true;
    }
    let plain =
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let is_link = |part: &Path| part.symlink_metadata().is_ok_and(|facts| facts.is_symlink());
    plain
        && path.extension().is_some_and(|extension| extension == end)
        && !path.ancestors().filter(|part| !part.as_os_str().is_empty()).any(is_link)
}

#[cfg(test)]
mod tests {
    use super::super::keys::read;
    use super::*;

    fn judged(text: &str) -> Result<(), Fault> {
        read(text).unwrap().iter().try_for_each(judge)
    }

    #[test]
    fn what_could_harm_is_refused_and_the_rest_is_taken() {
        for harmful in [
            "listen = \"0.0.0.0\"",
            "insecure-upstream = true",
            "no-redact = true",
            "ca = \"ca.pem\"",
            "confdir = \".\"",
            "mcp-token = \"known\"",
            "set = {proxyauth = \"\"}",
            "set = {redact = false}",
            "set = {block_list = []}",
            "no-mcp = false",
            "[export]\nredact = false",
            "set = [\"redact_patterns=x\"]",
            "set = {tls_version_server_min = \"TLS1_2\"}",
            "set = {store_bytes = \"64g\"}",
            "output = \"/tmp/x.zip\"",
            "output = \"../x.zip\"",
            "output = \"Makefile\"",
            "[export]\nhar = \"src/main.rs\"",
            "[check]\nno-redact = true",
            "[check]\njunit = \"~/../x.xml\"",
        ] {
            let fault = judged(&format!("port = 1\n{harmful}\n")).unwrap_err();
            assert!(
                fault.line >= 2 && fault.words.contains("flowtap.toml"),
                "{harmful}: {fault:?}"
            );
        }
        judged(
            "port = 1\ndomain = [\"a\"]\noutput = \"out/x.zip\"\nset = {anticache = true}\n\
             insecure-upstream = false\n[export]\nhar = \"-\"\n",
        )
        .unwrap();
    }

    #[test]
    fn no_option_is_forgotten_by_its_name() {
        for option in OPTIONS {
            assert!(crate::options::names().any(|name| name == *option), "{option}");
        }
    }

    /// The cells of the first table of a document that have this heading.
    fn documented(row: &str) -> Vec<&'static str> {
        let document = include_str!("../../../docs/configuration.md");
        let start = format!("| {row}");
        let line = document.lines().find(|line| line.starts_with(&start)).unwrap();
        let keys = line.split('|').nth(2).unwrap();
        keys.split('`').skip(1).step_by(2).filter(|word| !word.starts_with('.')).collect()
    }

    #[test]
    fn the_document_names_what_may_be_set() {
        let long = |id: &Id| FLAGS.iter().find(|flag| flag.id == *id).unwrap().long;
        let mut free = HARMLESS.to_vec();
        free.retain(|id| !PROTECTING.contains(id));
        assert_eq!(documented("as they are"), free.iter().map(long).collect::<Vec<_>>());
        let protecting: Vec<_> = PROTECTING.iter().map(long).collect();
        assert_eq!(documented("only to `true`"), protecting);
        let written: Vec<_> = WRITTEN.iter().map(|(id, _)| long(id)).collect();
        assert_eq!(documented("to a file in the folder"), written);
        let document = include_str!("../../../docs/configuration.md");
        for (id, end) in WRITTEN {
            assert!(document.contains(&format!("`{}` (`.{end}`)", long(id))), "{end}");
        }
        let is_time = |name: &&str| name.ends_with("_timeout");
        let mut named: Vec<_> = OPTIONS.iter().copied().filter(|name| !is_time(name)).collect();
        named.push("_timeout");
        assert_eq!(documented("of `set`"), named);
        let times = crate::options::names().filter(|name| is_time(name));
        assert!(times.into_iter().all(|name| OPTIONS.contains(&name)));
    }
}
