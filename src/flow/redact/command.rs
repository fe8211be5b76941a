//! Passwords in the options of commands, as scripts, manuals and logs have them.

use std::ops::Range;

use crate::flow::redact::MASK;
use crate::flow::redact::names::{Kind, judge};
use crate::flow::redact::shapes::{begins_word, run};
use crate::flow::redact::value::{is_quote, is_word_for_a_value, quoted_end};
use crate::limits::MASKED_CONTEXT_BYTES;

/// How options begin that may hold a password and do not say so, as alternatives of a pattern.
pub(super) const BEGINNINGS: &str = " -[up]|-user[ =]";

/// The password in the option that begins at `at`, which one of the [`BEGINNINGS`] does.
pub(super) fn at(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    if rest.starts_with("-user") {
        let is_option = text.get(..at)?.ends_with('-') || text.get(..at)?.ends_with("--proxy");
        let password = password_of_user(text, at + "-user=".len()).filter(|_| is_option);
        return password.filter(|_| runs(text, at, &["curl"]));
    }
    let value = at + " -u".len();
    let blanks = run(text.get(value..)?, |byte| byte == b' ');
    if rest.starts_with(" -u") {
        let password = password_of_user(text, value + blanks);
        return password.filter(|_| runs(text, at, &["curl"]));
    }
    let password = word(text, value + blanks).filter(|range| is_unmasked(text, range))?;
    let takes_one = match blanks {
        0 => runs(text, at, &["mysql", "mariadb"]),
        _ => runs(text, at, &["docker login", "podman login", "registry login"]),
    };
    (takes_one || text.get(..at)?.ends_with("sshpass")).then_some(password)
}

/// The value of an option whose name says that it is a secret: `--password hunter2`.
pub(super) fn option(text: &str, name: Range<usize>) -> Option<Range<usize>> {
    /// Last words of options that tell where the secret is.
    const ELSEWHERE: [&str; 4] = ["file", "stdin", "command", "browser"];
    let start = name.end + 1;
    let name = text.get(name)?.strip_prefix("--")?;
    // More than one blank makes a column of a manual.
    let is_followed = text.get(start - 1..)?.starts_with(' ')
        && text.get(start..)?.starts_with(|next: char| !next.is_whitespace());
    if !is_followed || name.starts_with("no-") || ELSEWHERE.iter().any(|it| name.ends_with(it)) {
        return None;
    }
    let kind = judge(name);
    let value = word(text, start).filter(|range| is_unmasked(text, range))?;
    let spelled = text.get(value.clone())?;
    if !kind.hides(spelled) || speaks_of_a_value(spelled) {
        return None;
    }
    let is_quoted = value.start > start;
    let is_odd = spelled.bytes().any(|byte| !byte.is_ascii_lowercase() && !b".,:".contains(&byte));
    (is_quoted || is_odd || kind == Kind::Code).then_some(value)
}

/// The password of `user:password`.
fn password_of_user(text: &str, at: usize) -> Option<Range<usize>> {
    let word = word(text, at)?;
    let colon = text.get(word.clone())?.find(':')?;
    let password = word.start + colon + 1..word.end;
    let is_one = is_unmasked(text, &password) && !text.get(password.start..)?.starts_with("//");
    is_one.then_some(password)
}

fn is_unmasked(text: &str, range: &Range<usize>) -> bool {
    !matches!(text.get(range.clone()), None | Some("" | MASK))
}

/// The word of a command that begins at `at`, without its quotes.
fn word(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let slashes = run(rest, |byte| byte == b'\\');
    if let Some(quote) = rest.as_bytes().get(slashes).filter(|byte| is_quote(**byte)) {
        let start = at + slashes + 1;
        return Some(start..start + quoted_end(text.get(start..)?, slashes, *quote));
    }
    let ends = |byte: u8| byte.is_ascii_whitespace() || b"\"'`<>|;&)".contains(&byte);
    let word = rest.get(..run(rest, |byte| !ends(byte)))?;
    // A quote may be escaped that the whole command stands in.
    Some(at..at + word.trim_end_matches('\\').len())
}

/// Whether one of these programs is named before `at`, in the same line or in lines before that
/// go on here.
fn runs(text: &str, at: usize, programs: &[&str]) -> bool {
    let from = text.floor_char_boundary(at.saturating_sub(MASKED_CONTEXT_BYTES));
    let before = text.get(from..at).unwrap_or_default();
    let goes_on = |line: &str| line.trim_end_matches('\r').ends_with(['\\', '^', '`']);
    let ends = before.rmatch_indices('\n').map(|(end, _)| end);
    let mut ends = ends.filter(|end| !before.get(..*end).is_some_and(goes_on));
    let line = ends.next().map_or(0, |end| end + 1);
    let command = before.get(line..).unwrap_or_default();
    let names =
        |program: &&str| command.match_indices(*program).any(|it| begins_word(command, it.0));
    programs.iter().any(names)
}

/// Whether what follows an option is the next word of a sentence, what a manual has in the
/// value's place, or a variable.
fn speaks_of_a_value(value: &str) -> bool {
    const WORDS: [&str; 26] = [
        "to",
        "is",
        "are",
        "was",
        "or",
        "and",
        "for",
        "with",
        "in",
        "on",
        "of",
        "option",
        "options",
        "flag",
        "flags",
        "argument",
        "parameter",
        "must",
        "may",
        "can",
        "the",
        "as",
        "if",
        "when",
        "not",
        "from",
    ];
    let word = value.trim_end_matches(['.', ',', ':']);
    let is_variable = |name: &str| {
        name.starts_with(['{', '('])
            || name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    value.starts_with(['-', '[', '{'])
        || value.strip_prefix('$').is_some_and(is_variable)
        || is_word_for_a_value(word)
        || WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use crate::flow::redact::Redactor;

    #[test]
    fn passwords_on_command_lines_are_masked() {
        for (text, masked) in [
            ("curl -u user:S3CRET https://h/", "curl -u user:*** https://h/"),
            ("curl -s -u 'user:S3 C:RET' h", "curl -s -u 'user:***' h"),
            ("$ curl.exe -uuser:S3CRET", "$ curl.exe -uuser:***"),
            ("/usr/bin/curl --user user:S3CRET h", "/usr/bin/curl --user user:*** h"),
            ("curl --user=\"user:S3CRET\" h", "curl --user=\"user:***\" h"),
            ("curl -x p --proxy-user user:S3CRET h", "curl -x p --proxy-user user:*** h"),
            (
                "curl https://h/ \\\n  -H 'a: b' \\\n  -u user:S3CRET",
                "curl https://h/ \\\n  -H 'a: b' \\\n  -u user:***",
            ),
            (
                "{\"run\":\"curl -u \\\"user:S3CRET\\\" h\"}",
                "{\"run\":\"curl -u \\\"user:***\\\" h\"}",
            ),
            ("tool --password S3CRET x", "tool --password *** x"),
            ("tool --password hunter x", "tool --password *** x"),
            ("tool --password 'S3 CRET' x", "tool --password '***' x"),
            ("tool --password=S3CRET x", "tool --password=*** x"),
            ("tool --db-password \"S3CRET\"", "tool --db-password \"***\""),
            ("wget --http-password S3CRET\nnext", "wget --http-password ***\nnext"),
            ("tool --token 8f4c0a --api-key Abc -v", "tool --token *** --api-key *** -v"),
            ("mysql -u root -pS3CRET db", "mysql -u root -p*** db"),
            ("docker login -u me -p S3CRET h", "docker login -u me -p *** h"),
            ("sshpass -p 'S3 CRET' ssh h", "sshpass -p '***' ssh h"),
        ] {
            for media_type in ["", "text/html"] {
                let found = Redactor::default().text(media_type, text).into_owned();
                if !text.contains("password=") || media_type.is_empty() {
                    assert_eq!(found, masked, "{text}");
                }
                assert_eq!(Redactor::default().text(media_type, &found), found);
            }
        }
    }

    #[test]
    fn other_options_stay() {
        for text in [
            "sort -u user:x",
            "docker run --user 1000:1000 -p 8080:80 image",
            "curl -u user h; sort -k a",
            "curl -u user: h",
            "curl h\ndocker run -u www-data:www-data i",
            "mysql -p db; mkdir -p a/b; ssh -p 22 h",
            "Use --password to set the password. The --token option is needed.",
            "  --password-stdin        Take the password from standard input",
            "  --password string   Password",
            "--password-file a.txt --token-url h --max-tokens 100 --no-password x",
            "--password -v",
            "pass it with --password.",
        ] {
            assert_eq!(Redactor::default().words(text), text);
        }
    }
}
