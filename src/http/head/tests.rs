use super::*;
use crate::http::field::has_token;

const REFUSED_REQUESTS: [(&str, HeadError); 48] = [
    // Line ends.
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", HeadError::LineEnd),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", HeadError::LineEnd),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", HeadError::LineEnd),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::LineEnd),
    ("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::LineEnd),
    ("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", HeadError::FieldValue),
    ("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", HeadError::FieldValue),
    ("GET / HTTP/1.1\r\nA: b\r\nC\r: d\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\rA: b\r\n\r\n", HeadError::LineEnd),
    ("\rGET / HTTP/1.1\r\n\r\n", HeadError::LineEnd),
    // Folding and what stands before the first field.
    ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\n A: b\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n", HeadError::FieldName),
    // Names.
    ("GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nContent-Length\t: 5\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\n\tContent-Length: 5\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nContent Length: 5\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\n: empty\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nno colon\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nnocolon\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nA(b): c\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nA\0: c\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nÄ: c\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\nTransfer-Encoding\u{b}: chunked\r\n\r\n", HeadError::FieldName),
    ("GET / HTTP/1.1\r\n\"A\": c\r\n\r\n", HeadError::FieldName),
    // Values.
    ("GET / HTTP/1.1\r\nA: \0\r\n\r\n", HeadError::FieldValue),
    ("GET / HTTP/1.1\r\nA: b\u{1}c\r\n\r\n", HeadError::FieldValue),
    ("GET / HTTP/1.1\r\nA: b\u{7f}\r\n\r\n", HeadError::FieldValue),
    ("GET / HTTP/1.1\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n", HeadError::FieldValue),
    ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\u{c}\r\n\r\n", HeadError::FieldValue),
    // The request line.
    ("GET  / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
    ("GET /  HTTP/1.1\r\n\r\n", HeadError::RequestLine),
    ("GET / HTTP/1.1 \r\n\r\n", HeadError::LineEnd),
    ("GET\t/ HTTP/1.1\r\n\r\n", HeadError::RequestLine),
    ("GET /\tHTTP/1.1\r\n\r\n", HeadError::RequestLine),
    (" GET / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
    ("GET / a HTTP/1.1\r\n\r\n", HeadError::RequestLine),
    ("GET /\r\n\r\n", HeadError::RequestLine),
    ("GET\r\n\r\n", HeadError::RequestLine),
    ("G(T / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
    ("G\0T / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
    ("GET /\0 HTTP/1.1\r\n\r\n", HeadError::RequestLine),
    // Versions.
    ("GET / HTTP/1.2\r\n\r\n", HeadError::Version),
    ("GET / HTTP/2.0\r\n\r\n", HeadError::Version),
    ("GET / http/1.1\r\n\r\n", HeadError::RequestLine),
    ("GET / ICY\r\n\r\n", HeadError::RequestLine),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadError::Http2Preface),
];

const REFUSED_RESPONSES: [(&str, HeadError); 15] = [
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", HeadError::StatusLine),
    ("HTTP/1.1 200 OK\n\r\n", HeadError::LineEnd),
    ("HTTP/1.1 200 OK\r\nA: b\n\r\n", HeadError::LineEnd),
    ("HTTP/1.1 200 O\rK\r\n\r\n", HeadError::StatusLine),
    ("HTTP/1.1 200 O\0K\r\n\r\n", HeadError::StatusLine),
    ("HTTP/1.1 099 OK\r\n\r\n", HeadError::StatusLine),
    ("HTTP/1.1 20 OK\r\n\r\n", HeadError::StatusLine),
    ("HTTP/1.1 2000 OK\r\n\r\n", HeadError::StatusLine),
    ("HTTP/1.1  200 OK\r\n\r\n", HeadError::StatusLine),
    ("HTTP/1.1 -20 OK\r\n\r\n", HeadError::StatusLine),
    ("HTTP/2 200 OK\r\n\r\n", HeadError::Version),
    ("ICY 200 OK\r\n\r\n", HeadError::StatusLine),
    ("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", HeadError::FieldName),
    ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", HeadError::FieldName),
    ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", HeadError::FieldValue),
];

fn request(text: &[u8]) -> Result<(Parsed, RequestHead), HeadError> {
    let mut head = RequestHead::default();
    HeadReader::new().request(text, &mut head).map(|parsed| (parsed, head))
}

fn response(text: &[u8]) -> Result<(Parsed, ResponseHead), HeadError> {
    let mut head = ResponseHead::default();
    HeadReader::new().response(text, &mut head).map(|parsed| (parsed, head))
}

#[test]
fn malformed_requests_are_refused() {
    for (text, expected) in REFUSED_REQUESTS {
        let error = request(text.as_bytes()).expect_err(text);
        assert_eq!(error, expected, "{text:?}");
        assert!((400..600).contains(&error.status()), "{text:?}");
        assert!(!error.to_string().contains('\n'), "{text:?}");
    }
    assert_eq!(request(b"GET /\xff HTTP/1.1\r\n\r\n").unwrap_err(), HeadError::RequestLine);
}

#[test]
fn malformed_responses_are_refused() {
    for (text, expected) in REFUSED_RESPONSES {
        assert_eq!(response(text.as_bytes()).expect_err(text), expected, "{text:?}");
    }
}

#[test]
fn request_is_parsed_into_spans() {
    let text = b"\r\nPOST http://a/b?c HTTP/1.0\r\nHost:a\r\nX:\t\xff b \t\r\nEmpty:\r\n\r\nbody";
    let (parsed, head) = request(text).unwrap();
    assert_eq!(parsed, Parsed::Complete);
    assert_eq!((head.start, head.len, head.version), (2, text.len() - 4, Version::Http10));
    assert_eq!(head.method.of(text), b"POST");
    assert_eq!(head.target.of(text), b"http://a/b?c");
    let fields: Vec<_> = head.fields.iter().map(|f| (f.name.of(text), f.value.of(text))).collect();
    assert_eq!(fields, [(&b"Host"[..], &b"a"[..]), (b"X", b"\xff b"), (b"Empty", b"")]);
}

#[test]
fn response_keeps_its_reason() {
    for (line, status, reason) in [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 404 Nicht da: ä", 404, "Nicht da: ä"),
        ("HTTP/1.0 999 ", 999, ""),
        ("HTTP/1.1 200", 200, ""),
    ] {
        let text = format!("{line}\r\nA: b\r\n\r\n");
        let (parsed, head) = response(text.as_bytes()).expect(line);
        assert_eq!((parsed, head.status), (Parsed::Complete, status), "{line}");
        assert_eq!(head.reason.of(text.as_bytes()), reason.as_bytes(), "{line}");
        assert_eq!(head.len, text.len());
    }
}

#[test]
fn partial_heads_wait_and_the_reader_is_ready_again() {
    let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\n\r\n";
    let mut reader = HeadReader::new();
    let mut head = RequestHead::default();
    for end in 0..29 {
        assert_eq!(reader.request(&text[..end], &mut head), Ok(Parsed::Partial), "{end}");
    }
    assert_eq!(reader.request(text, &mut head), Ok(Parsed::Complete));
    assert_eq!(head.len, 29);
    let rest = &text[head.len..];
    assert_eq!(reader.request(rest, &mut head), Ok(Parsed::Complete));
    assert_eq!((head.target.of(rest), head.fields.len()), (&b"/next"[..], 0));
}

#[test]
fn garbage_is_refused_without_a_line_end() {
    assert_eq!(request(b"\x16\x03\x01\x02\x00"), Err(HeadError::RequestLine));
    assert_eq!(response(b"<html>"), Err(HeadError::StatusLine));
    assert_eq!(response(b"SSH-2.0-x"), Err(HeadError::StatusLine));
}

#[test]
fn field_count_is_limited() {
    for (count, expected) in [
        (FIELDS_ON_STACK, Ok(FIELDS_ON_STACK)),
        (FIELDS_ON_STACK + 1, Ok(FIELDS_ON_STACK + 1)),
        (HEAD_FIELDS, Ok(HEAD_FIELDS)),
        (HEAD_FIELDS + 1, Err(HeadError::TooManyFields)),
    ] {
        let fields = "A: b\r\n".repeat(count);
        let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(request(text.as_bytes()).map(|(_, head)| head.fields.len()), expected);
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert_eq!(response(text.as_bytes()).map(|(_, head)| head.fields.len()), expected);
    }
    assert_eq!(HeadError::TooManyFields.status(), 431);
}

#[test]
fn head_size_is_limited() {
    let head = |length: usize| {
        let frame = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(length - frame))
    };
    assert!(request(head(HEAD_BYTES).as_bytes()).is_ok());
    let long = head(HEAD_BYTES + 1);
    assert_eq!(request(long.as_bytes()), Err(HeadError::TooLarge));
    assert_eq!(request(&long.as_bytes()[..HEAD_BYTES]), Err(HeadError::TooLarge));
    assert_eq!(request(&long.as_bytes()[..HEAD_BYTES - 1]).unwrap().0, Parsed::Partial);
    // Skipped empty lines do not count.
    assert!(request(format!("\r\n{}", head(HEAD_BYTES)).as_bytes()).is_ok());
    assert_eq!(HeadError::TooLarge.status(), 431);
}

#[test]
fn request_line_is_limited() {
    let line = |length: usize| format!("GET /{} HTTP/1.1", "a".repeat(length - 14));
    let whole = |length| format!("{}\r\n\r\n", line(length));
    assert!(request(whole(REQUEST_LINE_BYTES).as_bytes()).is_ok());
    let long = whole(REQUEST_LINE_BYTES + 1);
    assert_eq!(request(long.as_bytes()), Err(HeadError::RequestLineTooLong));
    let allowed = whole(REQUEST_LINE_BYTES);
    for end in allowed.len() - 6..allowed.len() {
        let partial = request(&allowed.as_bytes()[..end]);
        assert!(partial.is_ok(), "{end} {partial:?}");
    }
    // Once the line has ended, too.
    let line_only = &long.as_bytes()[..long.len() - 2];
    assert_eq!(request(line_only), Err(HeadError::RequestLineTooLong));
    let endless = "A".repeat(REQUEST_LINE_BYTES + 2);
    assert_eq!(request(endless.as_bytes()), Err(HeadError::RequestLineTooLong));
    assert_eq!(HeadError::RequestLineTooLong.status(), 414);
}

#[test]
fn limits_hold_however_a_head_is_split() {
    let head = |line: usize, fields: &str| {
        format!("GET /{} HTTP/1.1\r\n{fields}\r\n", "a".repeat(line - "GET / HTTP/1.1".len()))
    };
    let large = |length: usize| {
        let rest = length - head(20, "X: \r\n").len();
        head(20, &format!("X: {}\r\n", "b".repeat(rest)))
    };
    for (text, expected) in [
        (large(HEAD_BYTES), None),
        (large(HEAD_BYTES + 1), Some(HeadError::TooLarge)),
        (head(20, &"A: b\r\n".repeat(HEAD_FIELDS)), None),
        (head(20, &"A: b\r\n".repeat(HEAD_FIELDS + 1)), Some(HeadError::TooManyFields)),
        (head(REQUEST_LINE_BYTES, ""), None),
        (head(REQUEST_LINE_BYTES + 1, ""), Some(HeadError::RequestLineTooLong)),
    ] {
        let ends = |step: usize| (0..text.len()).step_by(step).chain([text.len()]);
        // Byte by byte around the limits, whose ends are the ends of lines and of the head.
        let last = text.len() - 40..=text.len();
        let line = REQUEST_LINE_BYTES - 3..=REQUEST_LINE_BYTES + 3;
        let splits: [Vec<usize>; 3] = [ends(997).collect(), last.collect(), line.collect()];
        for split in splits {
            let mut reader = HeadReader::new();
            let mut parsed = RequestHead::default();
            let ends = split.into_iter().filter(|end| *end < text.len()).chain([text.len()]);
            let mut results = ends.map(|end| reader.request(&text.as_bytes()[..end], &mut parsed));
            let last = results.find(|result| *result != Ok(Parsed::Partial));
            assert_eq!(last.and_then(Result::err), expected, "{} bytes", text.len());
        }
    }
}

#[test]
fn a_request_line_that_is_too_long_is_told_however_much_came_at_once() {
    for length in [REQUEST_LINE_BYTES + 2, HEAD_BYTES, 2 * HEAD_BYTES] {
        let text = format!("GET /{}", "a".repeat(length));
        assert_eq!(request(text.as_bytes()), Err(HeadError::RequestLineTooLong), "{length}");
    }
}

#[test]
fn empty_lines_are_limited() {
    let text = |count| format!("{}GET / HTTP/1.1\r\n\r\n", "\r\n".repeat(count));
    assert!(request(text(EMPTY_LINES).as_bytes()).is_ok());
    assert_eq!(request(text(EMPTY_LINES + 1).as_bytes()), Err(HeadError::EmptyLines));
}

#[test]
fn tokens_are_found_in_lists() {
    let text = b"GET / HTTP/1.1\r\nConnection: a ,,\tClose\r\nconnection: upgrade\r\n\r\n";
    let (_, head) = request(text).unwrap();
    for (token, expected) in [("close", true), ("UPGRADE", true), ("clos", false), ("", false)] {
        assert_eq!(
            has_token(&head.fields, text, FieldKind::Connection, token),
            expected,
            "{token}"
        );
    }
    assert_eq!(values(&head.fields, text, "CONNECTION").count(), 2);
}

#[test]
fn span_outside_the_buffer_is_empty() {
    for (start, end) in [(0, 9), (9, 10), (3, 2), (u32::MAX, u32::MAX)] {
        assert_eq!(Span { start, end }.of(b"abc"), b"", "{start} {end}");
    }
}
