//! What users write and agents send: options, host patterns, regular expressions in Python's
//! dialect.

use flowtap::flow::pattern::{Flags, bytes_regex, text_regex};
use flowtap::hosts::HostPattern;
use flowtap::options::rule::BlockRule;
use flowtap::options::{Options, SharedOptions, names};

/// Longer patterns are left out for the sake of time: many large classes take long to compile.
const PATTERN_BYTES: usize = 120;

/// A value that an option has taken is shown, and taken again as it is shown; one that is refused
/// changes nothing. The first byte chooses the option, and whether a text or JSON is given.
pub fn option_values(data: &[u8]) {
    thread_local! {
        static DEFAULTS: Options = Options::default();
        static NAMES: Vec<&'static str> = names().collect();
    }
    let Some((choice, given)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(given.get(..PATTERN_BYTES).unwrap_or(given));
    let name = NAMES.with(|names| names[usize::from(choice & 0x7f) % names.len()]);
    let mut options = DEFAULTS.with(Options::clone);
    let before = options.show(name);
    let set = match choice & 0x80 {
        0 => options.set_text(name, &text),
        _ => match serde_json::from_str(&text) {
            Ok(value) => options.set(name, &value),
            Err(_) => return,
        },
    };
    if name == "block_list"
        && let Ok(rule) = BlockRule::parse(&text)
    {
        assert!((200..600).contains(&rule.status));
        assert_eq!(rule.text, text);
    }
    let shown = options.show(name);
    if let Err(error) = set {
        assert!(!error.to_string().is_empty());
        return assert_eq!(shown, before);
    }
    let Ok(shown) = shown else { panic!("{name} is not shown") };
    let shared = SharedOptions::new(options);
    match shared.set(name, &shown) {
        Ok(again) => assert_eq!(again, shown, "{name}"),
        // Decided on when the proxy starts; and masking is not to be reduced.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A host pattern without a star matches the host that it names, and none beside it.
pub fn host_patterns(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(pattern) = HostPattern::parse(&text) {
        assert_eq!(HostPattern::parse(&text), Ok(pattern.clone()));
        if !text.contains(['*', ':', '[']) {
            let host = text.strip_suffix('.').unwrap_or(&text);
            let lower = host.to_lowercase();
            if host.is_ascii() {
                assert!(pattern.matches(host, 1) && pattern.matches(&lower, 65_535), "{text}");
            }
            assert!(!pattern.matches(&format!("x.{lower}"), 1), "{text}");
            assert!(!pattern.matches(&format!("{lower}.x"), 1), "{text}");
        }
        let _ = pattern.matches("a.b.example", 443);
    }
}

/// A pattern that is refused says where and why; one that is taken is taken for good; and a text
/// with all its special characters escaped is found in itself.
pub fn pattern(data: &[u8]) {
    let data = data.get(..data.len().min(PATTERN_BYTES)).unwrap_or(data);
    let Some((choice, pattern)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(pattern);
    let [ignore_case, multi_line, dot_all] = [1, 2, 4].map(|bit| choice & bit != 0);
    let flags = Flags { ignore_case, multi_line, dot_all };
    if choice & 8 != 0 {
        return literal(&text, flags);
    }
    let results = [text_regex(&text, flags).map(drop), bytes_regex(&text, flags).map(drop)];
    for error in results.into_iter().filter_map(Result::err) {
        assert!(error.position <= text.chars().count(), "{error}");
        assert!(!error.reason.contains("cannot be compiled"), "{error}");
    }
}

/// As `re.escape` of Python does it.
fn literal(text: &str, flags: Flags) {
    let mut escaped = String::new();
    for letter in text.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    let whole = format!("\\A{escaped}\\Z");
    match (text_regex(&whole, flags), bytes_regex(&whole, flags)) {
        (Ok(regex), Ok(bytes)) => {
            assert!(regex.is_match(text), "{whole:?}");
            assert!(bytes.is_match(text.as_bytes()), "{whole:?}");
            assert!(!regex.is_match(&format!("{text}x")), "{whole:?}");
        }
        (regex, bytes) => panic!("{whole:?}: {:?} {:?}", regex.err(), bytes.err()),
    }
}
