use super::*;

fn flags(letters: &str) -> Flags {
    Flags {
        ignore_case: letters.contains('i'),
        multi_line: letters.contains('m'),
        dot_all: letters.contains('s'),
    }
}

/// Whether a text pattern is found, with flags by their letters.
fn found(pattern: &str, letters: &str, text: &str) -> bool {
    let regex = text_regex(pattern, flags(letters));
    regex.unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(text)
}

fn found_bytes(pattern: &str, letters: &str, bytes: &[u8]) -> bool {
    let regex = bytes_regex(pattern, flags(letters));
    regex.unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(bytes)
}

fn refused(pattern: &str) -> (usize, String) {
    let error = text_regex(pattern, Flags::default()).expect_err(pattern);
    (error.position, error.reason)
}

#[test]
fn plain_braces_and_brackets_are_literals() {
    assert!(found(r#"{"id""#, "", r#"{"id": 1}"#));
    assert!(found("a{", "", "a{") && found("a{}", "", "a{}") && found("a{x}", "", "a{x}"));
    assert!(found("a{1", "", "a{1") && found("a{1,b", "", "a{1,b"));
    assert!(found("}]", "", "}]"));
    assert!(found(r"\<b\>\/\@\%\-\é", "", "<b>/@%-é"));
}

#[test]
fn counts_are_pythons() {
    assert!(found("^a{,2}$", "", "") && found("^a{,2}$", "", "aa"));
    assert!(!found("^a{,2}$", "", "aaa"));
    assert!(found("^a{,}$", "", "aaaa"));
    assert!(found("^a{2}$", "", "aa") && !found("^a{2}$", "", "a"));
    assert!(found("^a{2,}?b", "", "aaab") && !found("^a{2,}", "", "a"));
}

#[test]
fn anchors_are_pythons() {
    for text in ["foo", "foo\n"] {
        assert!(found("foo$", "", text));
    }
    assert!(!found("foo$", "", "foo\nbar") && found("foo$", "m", "foo\nbar"));
    assert!(found(r"foo\Z", "", "foo") && !found(r"foo\Z", "", "foo\n"));
    assert!(found("^bar", "m", "foo\nbar") && !found("^bar", "", "foo\nbar"));
    assert!(!found(r"\Abar", "m", "foo\nbar"));
    assert!(found("^$", "", "") && found("^$", "", "\n"));
    assert!(found_bytes("json$", "m", b"a: json\n") && !found_bytes("json$", "m", b"a: json\r\n"));
    assert!(found(r"\bé\b", "", "a é b") && !found_bytes(r"\bé\b", "", "a é b".as_bytes()));
}

#[test]
fn sets_hold_plain_characters() {
    assert!(found("[[:alpha:]]", "", ":]") && !found("[[:alpha:]]", "", "b]"));
    assert!(
        found("^[a&&b]+$", "", "a&b") && found("^[a-z--]$", "", "-") && found("^[~~]$", "", "~")
    );
    assert!(found("^[]]$", "", "]") && found("^[^]]$", "", "a") && !found("^[^]]$", "", "]"));
    assert!(found("^[a-]+$", "", "a-") && found(r"^[\w-]+$", "", "a-b"));
    assert!(found(r"^[\b]$", "", "\u{8}") && found(r"^[\101-C]$", "", "B"));
    assert!(found(r"^[^\d\s]$", "", "x") && !found(r"^[^\d\s]$", "", "1"));
    assert!(found(r"^[\D]$", "", "x") && !found(r"^[\D]$", "", "1"));
    assert!(found("^[x^]$", "", "^") && found(r"^[\]\\]$", "", "\\"));
}

#[test]
fn escapes_are_pythons() {
    assert!(found(r"^\a\f\n\r\t\v$", "", "\x07\x0c\n\r\t\x0b"));
    assert!(found(r"^\x41\u00e9\U0001F600$", "", "Aé😀"));
    assert!(found(r"^\0\07\012\101$", "", "\0\x07\nA"));
    assert!(found_bytes(r"^\xff\377$", "", b"\xff\xff"));
}

#[test]
fn classes_of_text_are_unicodes_and_those_of_bytes_asciis() {
    assert!(found(r"^\w\d\s$", "", "é\u{663}\u{2003}") && found(r"^\s$", "", "\x1c"));
    assert!(!found_bytes(r"\w", "", "é".as_bytes()) && !found_bytes(r"\s", "", b"\x1c"));
    assert!(found_bytes(r"^\W\W$", "", "é".as_bytes()) && found_bytes("^..$", "", "é".as_bytes()));
    assert!(!found(r"(?a)\w", "", "é") && found(r"(?a:\w)|é", "", "é"));
    assert!(found("É", "i", "é") && !found_bytes("É", "i", "é".as_bytes()));
    // In a pattern for bytes, a set holds bytes, and a quantifier repeats one.
    assert!(found_bytes("[é]", "", b"\xa9") && found_bytes("^é+$", "", b"\xc3\xa9\xa9"));
    assert!(found_bytes("A", "i", b"a") && found_bytes("^[^a]$", "i", b"\xe9"));
}

#[test]
fn the_dot_matches_line_ends_only_if_told() {
    assert!(!found("a.b", "", "a\nb") && found("a.b", "s", "a\nb") && found("(?s)a.b", "", "a\nb"));
    assert!(found("a(?s:.)b", "", "a\nb") && !found("a(?-s:.)b", "s", "a\nb"));
    assert!(found_bytes("^.$", "s", b"\xff"));
}

#[test]
fn flags_hold_where_python_has_them_hold() {
    assert!(found("(?i)ABC", "", "abc") && found("a(?i:B)c", "", "abc"));
    assert!(!found("a(?i:B)C", "", "abc") && !found("(?-i:A)b", "i", "ab"));
    assert!(found("(?i)(?m)^B", "", "a\nb") && found("(?#c)(?im)^B", "", "a\nb"));
    assert!(found("(?x) a b # comment\n c [ ]", "", "abc ") && found("(?x:a b) c", "", "ab c"));
    assert!(found("(?u)é", "", "é"));
    assert_eq!(refused("a(?i)b").0, 1);
    assert_eq!(refused("(?i").0, 0);
    assert!(bytes_regex("(?u)a", Flags::default()).is_err());
    assert!(refused("(?L)a").1.contains("flag L"));
}

#[test]
fn groups_keep_their_numbers_and_names() {
    let regex = text_regex(r"(?P<key>\w+)=(?:x|(y)(?#not this))", Flags::default()).unwrap();
    let captures = regex.captures("a=y").unwrap();
    assert_eq!((&captures["key"], &captures[2], captures.len()), ("a", "y", 3));
    assert!(found("(?P<clé>a)", "", "a"));
}

#[test]
fn what_cannot_be_had_is_refused_with_a_way_around() {
    for (pattern, position, word) in [
        ("ab(?=c)", 2, "look-around"),
        ("(?!c)", 0, "look-around"),
        ("(?<=c)", 0, "look-around"),
        ("a(?<!c)", 1, "look-around"),
        (r"(a)\1", 3, "back-references"),
        (r"(?P<n>a)(?P=n)", 8, "back-references"),
        (r"(a)(?(1)b|c)", 3, "back-references"),
        ("(?>a)", 0, "atomic"),
        ("a*+", 2, "possessive"),
        (r"\N{DASH}", 0, r"\u"),
    ] {
        let (at, reason) = refused(pattern);
        assert_eq!(at, position, "{pattern}: {reason}");
        assert!(reason.contains(word), "{pattern}: {reason}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (pattern, position, word) in [
        ("a(b", 1, "not closed"),
        ("ab)", 2, "closes nothing"),
        ("é[a", 1, "not closed"),
        ("[a-", 3, "not closed"),
        ("a|*", 2, "nothing before"),
        ("^*", 1, "nothing before"),
        ("a**", 2, "two quantifiers"),
        ("a{2}{3}", 4, "two quantifiers"),
        ("a{3,2}", 1, "greater"),
        ("a{99999999999}", 1, "too large"),
        (r"a\", 1, "backslash"),
        (r"a\q", 1, "no meaning"),
        (r"[\A]", 1, "no meaning"),
        (r"\x4", 0, "2 hexadecimal"),
        (r"\ud800", 0, "no character"),
        (r"[\400]", 1, "377"),
        ("[z-a]", 1, "backwards"),
        (r"[\w-a]", 1, "range"),
        (r"[a-\w]", 1, "range"),
        ("(?<n>a)", 0, "(?P<name>"),
        ("(?P<1>a)", 4, "group name"),
        ("(?P<n", 4, "no >"),
        ("(?P<n>a)(?P<n>b)", 12, "already"),
        ("(?Pn)", 0, "<name>"),
        ("(?#a", 0, "comment"),
        ("(?", 0, "not closed"),
        ("(?y)", 0, "(?y"),
    ] {
        let (at, reason) = refused(pattern);
        assert_eq!(at, position, "{pattern}: {reason}");
        assert!(reason.contains(word), "{pattern}: {reason}");
    }
}

#[test]
fn bytes_errors_have_positions_in_characters() {
    let error = bytes_regex("éé(", Flags::default()).unwrap_err();
    assert_eq!(error.position, 2);
    assert_eq!(error.to_string(), "at character 2 of the pattern: this parenthesis is not closed");
}

#[test]
fn patterns_are_bounded_in_length_depth_and_size() {
    use crate::limits::{BYTES_PATTERN_BYTES, PATTERN_CHARS, PATTERN_NESTING, TEXT_PATTERN_BYTES};

    let nested = |depth: usize| format!("{}a{}", "(b|a".repeat(depth), ")+".repeat(depth));
    assert!(found(&nested(PATTERN_NESTING), "", "b"));
    let (at, reason) = refused(&nested(PATTERN_NESTING + 1));
    assert_eq!(at, 4 * PATTERN_NESTING);
    assert!(reason.contains("inside each other"), "{reason}");

    assert!(found(&"a".repeat(PATTERN_CHARS), "", &"a".repeat(PATTERN_CHARS)));
    let (at, reason) = refused(&"a".repeat(PATTERN_CHARS + 1));
    assert_eq!(at, PATTERN_CHARS);
    assert!(reason.contains("more than"), "{reason}");

    let (at, reason) = refused(r"(\w{100}){100}");
    assert_eq!(at, 0);
    assert!(reason.contains(&format!("{} KiB", TEXT_PATTERN_BYTES / 1024)), "{reason}");
    let error = bytes_regex("(.{100}x){100}", Flags::default()).unwrap_err();
    let most = format!("{} KiB", BYTES_PATTERN_BYTES / 1024);
    assert!(error.reason.contains(&most), "{error}");
    // What people write fits.
    let address = r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.\w+)+";
    assert!(found(address, "i", "Ann@example.org"));
    assert!(found_bytes(address, "i", b"Ann@example.org") && found_bytes(".{1,1000}x", "s", b"ax"));
}
