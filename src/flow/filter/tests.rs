use std::sync::Arc;

use super::*;
use crate::flow::record::{Authority, Direction, Opcode, Scheme};
use crate::flow::stored::StoredWebSocketMessage;
use crate::flow::view::{BodyView, MessageView};
use crate::limits::{FILTER_CHARS, FILTER_NESTING, FILTER_PATTERNS};

fn filter(text: &str) -> Filter {
    let parsed = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    parsed.unwrap_or_else(|| panic!("{text} is blank"))
}

/// A GET of this URL path.
fn get(path: &str) -> String {
    format!("GET /{path} HTTP/1.1\r\nHost: h.example\r\n\r\n")
}

fn view<'a>(request: &'a str, body: BodyView<'a>) -> FlowView<'a> {
    let head = request.as_bytes();
    let client = ([127, 0, 0, 1], 4000).into();
    FlowView { request: MessageView { head, body }, ..FlowView::new(Scheme::Http, client) }
}

/// Whether an expression matches a GET of a path.
fn matches(text: &str, path: &str) -> bool {
    let request = get(path);
    filter(text).matches(&view(&request, BodyView::NotKept))
}

fn refused(text: &str) -> (usize, String) {
    let error = Filter::parse(text).expect_err(text);
    (error.position, error.reason)
}

/// The tree of an expression of patterns for the URL, as text.
fn tree(text: &str) -> String {
    fn write(node: &Node) -> String {
        let list = |sign: &str, parts: &[Node]| {
            let parts: Vec<_> = parts.iter().map(write).collect();
            format!("({sign} {})", parts.join(" "))
        };
        match node {
            Node::All(parts) => list("&", parts),
            Node::Any(parts) => list("|", parts),
            Node::Not(part) => list("!", std::slice::from_ref(part)),
            Node::Test(Test::Text(_, regex)) => regex.as_str().replace("(?i)", ""),
            Node::Test(other) => format!("{other:?}"),
        }
    }
    write(&filter(text).root)
}

#[test]
fn operators_bind_as_in_mitmproxy() {
    for (text, parsed) in [
        ("a b | c", "(& a (| b c))"),
        ("a | b c", "(& (| a b) c)"),
        ("a | b & c", "(| a (& b c))"),
        ("a & b | c & d", "(| (& a b) (& c d))"),
        ("!a & b", "(& (! a) b)"),
        ("! a | b", "(| (! a) b)"),
        ("!(a | b) c", "(& (! (| a b)) c)"),
        ("!!a", "a"),
        ("!!!a", "(! a)"),
        ("(a b) | c", "(| (& a b) c)"),
        ("((a))", "a"),
        ("a(b)c", "(& a b c)"),
        ("a\tb\nc", "(& a b c)"),
    ] {
        assert_eq!(tree(text), parsed, "{text}");
    }
}

#[test]
fn signs_stand_inside_of_words() {
    for (text, parsed) in [
        ("a&b", r"a\x26b"),
        ("a|b", "a|b"),
        ("a!b", r"a\x21b"),
        ("a & &", r"(& a \x26)"),
        ("a &&b", r"(& a \x26b)"),
        ("& a", r"(& \x26 a)"),
        ("a & & b", r"(& (& a \x26) b)"),
        ("!& a", r"(& (! \x26) a)"),
        ("~u & a", r"(& \x26 a)"),
        ("~u !a", r"\x21a"),
        ("'a'&'b'", "(& a b)"),
        ("a'b'", "(& a b)"),
        ("not a", "(& not a)"),
    ] {
        assert_eq!(tree(text), parsed, "{text}");
    }
}

#[test]
fn quotes_undo_their_escapes_and_nothing_more() {
    assert_eq!(tree(r#""a b""#), r"a\x20b");
    assert_eq!(tree(r#""\\d+""#), r"[\p{Nd}]+");
    assert_eq!(tree(r#""\d+""#), "d+");
    assert_eq!(tree(r#"'it\'s "so"'"#), r"it\x27s\x20\x22so\x22");
    assert_eq!(tree(r"'\t\n\f\r\x'"), r"\x09\x0A\x0C\x0Dx");
    assert_eq!(tree("''"), "");
}

#[test]
fn blanks_need_not_stand_between_operators() {
    for (dense, spaced) in [
        ("~q&~s", "~q & ~s"),
        ("(~q)", "( ~q )"),
        ("!~q|~s", "! ~q | ~s"),
        ("~q~s", "~q ~s"),
        ("~u'a'&b", "~u 'a' & b"),
        ("~c200", "~c 200"),
        ("~c 200|~q", "~c 200 | ~q"),
        ("~c 5xx&~q", "~c 5.. & ~q"),
        ("~qé", "~q é"),
        ("~q(a b)", "~q ( a b )"),
    ] {
        assert_eq!(tree(dense), tree(spaced), "{dense}");
    }
}

#[test]
fn a_blank_expression_is_none() {
    assert!(Filter::parse("").unwrap().is_none());
    assert!(Filter::parse(" \t\r\n").unwrap().is_none());
    assert_eq!(filter(" ~q ").text(), " ~q ");
}

#[test]
fn mistakes_are_told_with_their_place_and_what_is_accepted() {
    for (text, position, words) in [
        ("a &", 3, "behind &"),
        ("a | ", 4, "behind |"),
        ("(a & )", 5, "behind &"),
        ("!", 1, "behind !"),
        ("(", 1, "behind ("),
        ("a ()", 3, "behind ("),
        ("é (a b", 2, "not closed"),
        ("a ) b", 2, "closes nothing"),
        ("a 'b", 2, "not closed on its line"),
        ("'a\nb'", 0, "not closed on its line"),
        (r"'a\'", 0, "not closed on its line"),
        ("a ~", 2, "no operator ~;"),
        ("a ~ q", 2, "no operator ~;"),
        ("a ~htp b", 2, "did you mean ~http?"),
        ("~ALL", 0, "the operators are ~a ~all ~b"),
        ("~c", 2, "~c 404"),
        ("~c x", 3, "~c 404"),
        ("~c 200a", 3, "~c 5xx"),
        ("~c 200-299", 3, "~c 5xx"),
        ("~c 5x", 3, "~c 5xx"),
        ("~c 5...", 3, "~c 5xx"),
        ("~c 50x", 3, "~c 5xx"),
        ("~c é", 3, "~c 404"),
        ("~h", 2, "~h needs a pattern"),
        ("~bq ~s", 4, "~bq needs a pattern"),
        ("~u (a)", 3, "~u needs a pattern"),
        ("a b)", 3, "closes nothing"),
        ("~b 'a(b'", 5, "character 1 of the pattern: this parenthesis is not closed"),
        (r#"~b "\\d\\1""#, 7, "character 2 of the pattern: back-references"),
        ("~u 'a\\\\'", 5, "a backslash stands at the end"),
        ("a **", 2, "nothing before the quantifier"),
        (r"~m a{3,2}", 4, "character 1 of the pattern"),
        ("~b 'a['", 5, "character 1 of the pattern: this bracket is not closed"),
    ] {
        let (at, reason) = refused(text);
        assert_eq!(at, position, "{text}: {reason}");
        assert!(reason.contains(words), "{text}: {reason}");
    }
    let shown = Filter::parse("~c").unwrap_err().to_string();
    assert_eq!(shown, "at character 2: ~c needs a status code or a class, as in ~c 404 or ~c 5xx");
}

#[test]
fn expressions_are_bounded_in_length_depth_and_patterns() {
    let word = "a".repeat(crate::limits::PATTERN_CHARS);
    let blanks = " ".repeat(FILTER_CHARS - word.len());
    filter(&format!("{blanks}{word}"));
    let (at, reason) = refused(&format!(" {blanks}{word}"));
    assert_eq!(at, FILTER_CHARS);
    assert!(reason.contains("at most"), "{reason}");

    let nested = |depth: usize| format!("{}~q{}", "!(".repeat(depth), ")".repeat(depth));
    filter(&nested(FILTER_NESTING));
    let (at, reason) = refused(&nested(FILTER_NESTING + 1));
    assert_eq!(at, 2 * FILTER_NESTING + 1);
    assert!(reason.contains("are open"), "{reason}");
    // What is closed, or negated in a row, is no nesting.
    filter(&"(~q)".repeat(FILTER_NESTING + 1));
    filter(&format!("{}~q", "!".repeat(FILTER_NESTING + 1)));

    filter(&"a ".repeat(FILTER_PATTERNS));
    let (at, reason) = refused(&"a ".repeat(FILTER_PATTERNS + 1));
    assert_eq!(at, 2 * FILTER_PATTERNS);
    assert!(reason.contains("patterns"), "{reason}");
}

#[test]
fn words_are_patterns_for_the_url() {
    assert!(matches("h.example/A", "a") && matches("^http://h.example/a$", "a"));
    assert!(matches("a|b", "b") && !matches("a\\|b", "b"));
    assert!(matches("a", "ab") && !matches("!a", "ab") && matches("a b", "ab"));
}

#[test]
fn an_awaited_body_leaves_open_only_what_it_could_change() {
    let request = get("a");
    let awaited = view(&request, BodyView::Awaited);
    for (text, answer) in [
        ("~b x", None),
        ("!~bq x", None),
        ("~bs x", Some(false)),
        ("~b x & ~q", None),
        ("~b x & ~s", Some(false)),
        ("~s & ~b x", Some(false)),
        ("~b x | ~q", Some(true)),
        ("~b x | ~s", None),
        ("!(~b x & ~s)", Some(true)),
        ("~b x ~b y", None),
        ("~h host", Some(true)),
    ] {
        assert_eq!(filter(text).evaluate(&awaited), answer, "{text}");
    }
    assert!(!filter("~b x").matches(&awaited));
    let not_kept = view(&request, BodyView::NotKept);
    assert_eq!(filter("~b ''").evaluate(&not_kept), Some(false));
    assert_eq!(filter("~b ^$").evaluate(&view(&request, BodyView::Kept(&[]))), Some(true));
}

#[test]
fn bodies_are_asked_last() {
    for text in ["~b x ~q", "~q & !~bs x", "(~m a | ~b b) & c"] {
        assert!(filter(text).reads_body(), "{text}");
    }
    assert!(!filter("~h x | !(~t y & z)").reads_body());
    // Nothing is decoded for a request that is no POST.
    let order = tree("~b x & ~m POST");
    assert!(order.find("Method") < order.find("Body"), "{order}");
}

#[test]
fn bodies_in_pieces_are_searched_as_one() {
    let pieces = ["needle in t".into(), "wo pieces".into()];
    let request = get("a");
    let view = view(&request, BodyView::Kept(&pieces));
    assert!(filter("~b '^needle in two pieces$'").matches(&view));
    assert!(!filter("~b other").matches(&view));
}

#[test]
fn stacked_codings_are_undone_and_unknown_ones_left() {
    use std::io::Write;

    let gzip = |bytes: &[u8]| {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(bytes).unwrap();
        coder.finish().unwrap()
    };
    let twice = [gzip(&gzip(b"needle")).into()];
    let head = "POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n";
    assert!(filter("~bq ^needle$").matches(&view(head, BodyView::Kept(&twice))));
    let plain = ["needle".into()];
    let head = "POST / HTTP/1.1\r\nContent-Encoding: odd\r\n\r\n";
    assert!(filter("~bq ^needle$").matches(&view(head, BodyView::Kept(&plain))));
}

#[test]
fn only_messages_with_data_are_searched() {
    let message = |direction, opcode, payload: &'static str| {
        let payload = bytes::Bytes::from(payload);
        let size = payload.len() as u64;
        Arc::new(StoredWebSocketMessage { direction, opcode, time_us: 0, payload, size })
    };
    let messages = [
        message(Direction::Send, Opcode::Text, "asked"),
        message(Direction::Receive, Opcode::Binary, "told"),
        message(Direction::Receive, Opcode::Ping, "ping"),
        message(Direction::Send, Opcode::Close, "close"),
    ];
    let request = get("a");
    let view =
        FlowView { websocket: true, messages: &messages, ..view(&request, BodyView::NotKept) };
    for (text, answer) in [
        ("~bq asked", true),
        ("~bs asked", false),
        ("~bs told", true),
        ("~bq told", false),
        ("~b asked ~b told", true),
        ("~b ping", false),
        ("~b close", false),
        ("~websocket", true),
    ] {
        assert_eq!(filter(text).matches(&view), answer, "{text}");
    }
}

#[test]
fn messages_that_were_not_kept_are_no_empty_ones() {
    let request = get("a");
    for (size, answer) in [(0, true), (9, false)] {
        let messages = [Arc::new(StoredWebSocketMessage {
            direction: Direction::Receive,
            opcode: Opcode::Text,
            time_us: 0,
            payload: bytes::Bytes::new(),
            size,
        })];
        let view =
            FlowView { websocket: true, messages: &messages, ..view(&request, BodyView::NotKept) };
        assert_eq!(filter("~bs ^$").matches(&view), answer, "{size}");
    }
}

#[test]
fn urls_are_made_of_what_there_is() {
    let target = Authority { host: "t.example".into(), port: 8080 };
    for (head, url) in [
        ("GET /p HTTP/1.1\r\nHost: H.example:80\r\n\r\n", "http://H.example/p"),
        ("GET /p HTTP/1.1\r\n\r\n", "http://t.example:8080/p"),
        ("GET http://a.example/x HTTP/1.1\r\nHost: b\r\n\r\n", "http://b/x"),
        ("GET ws://a.example?q HTTP/1.1\r\nHost: b:81\r\n\r\n", "http://b:81/?q"),
        ("OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", "http://b"),
        ("CONNECT c:443 HTTP/1.1\r\nHost: b\r\n\r\n", "c:443"),
        ("GET /u?http://x/ HTTP/1.1\r\nHost: b\r\n\r\n", "http://b/u?http://x/"),
        ("GET /p HTTP/1.1\r\nHost: a b:80\r\n\r\n", "http://a b:80/p"),
        ("GET /caf\u{e9} HTTP/1.1\r\nHost: b\r\n\r\n", "http://b/caf\u{e9}"),
        ("", "http://t.example:8080"),
    ] {
        let view = FlowView { target: Some(&target), ..view(head, BodyView::NotKept) };
        assert_eq!(Subject::new(&view).url(), url, "{head}");
    }
    let head = "GET http://a.example:81/x HTTP/1.1\r\n\r\n";
    let view = view(head, BodyView::NotKept);
    assert_eq!(Subject::new(&view).url(), "http://a.example:81/x");
}

#[test]
fn statuses_are_asked_for_one_by_one_and_by_class() {
    let request = get("a");
    let answered = |text: &str, status: &str| {
        let head = format!("HTTP/1.1 {status} X\r\n\r\n").into_bytes();
        let response = MessageView { head: &head, body: BodyView::NotKept };
        let flow = FlowView { response: Some(response), ..view(&request, BodyView::NotKept) };
        filter(text).matches(&flow)
    };
    for (text, status, expected) in [
        ("~c 5xx", "500", true),
        ("~c 5XX", "599", true),
        ("~c 5..", "502", true),
        ("~c 5xx", "499", false),
        ("~c 5xx", "600", false),
        ("~c 502", "502", true),
        ("~c 502", "500", false),
        ("!~c 2xx", "302", true),
        ("(~c 4xx)", "404", true),
    ] {
        assert_eq!(answered(text, status), expected, "{text} of {status}");
    }
    assert!(!filter("~c 5xx").matches(&view(&request, BodyView::NotKept)));
}

#[test]
fn operators_of_other_languages_are_told() {
    for (text, word) in [
        ("~c 500 or ~c 404", Some("or")),
        ("not ~c 200", Some("not")),
        ("(a AND b) or c", Some("AND")),
        ("~u or", None),
        ("'or' & \"and\"", None),
        ("orders & android", None),
    ] {
        assert_eq!(filter(text).operator_word(), word, "{text}");
    }
}
