//! The answers that flowtap gives by itself.

use std::io::Write;

use super::rewrite::ConnectionField;

/// The answer to CONNECT; the tunnel follows.
pub const CONNECTION_ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Asks a client for the body that it holds back (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends an error as an answer with a body of one readable line. Without the body where it
/// answers HEAD.
pub fn write_error(
    out: &mut Vec<u8>,
    status: u16,
    reason: &str,
    connection: ConnectionField,
    head_only: bool,
) {
    let mut body = String::with_capacity(reason.len() + 10);
    body.push_str("flowtap: ");
    body.extend(reason.chars().map(|c| if c.is_control() { ' ' } else { c }));
    body.push('\n');
    write_reply(out, status, "text/plain; charset=utf-8", body.as_bytes(), connection, head_only);
}

/// Appends an answer. `content_type` is a constant of the program.
pub fn write_reply(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    body: &[u8],
    connection: ConnectionField,
    head_only: bool,
) {
    // RFC 9110 section 15.5.6 (no page of ours takes another method) and section 15.5.8.
    let more = match status {
        405 => Some(("Allow", "GET, HEAD")),
        407 => Some(("Proxy-Authenticate", "Basic realm=\"flowtap\"")),
        _ => None,
    };
    let fields: Vec<_> = [("Content-Type", content_type)].into_iter().chain(more).collect();
    write_head(out, status, &fields, Some(body.len()), connection);
    if !head_only {
        out.extend_from_slice(body);
    }
}

/// Appends the head of an answer, which nobody may keep. Without a length its body ends with the
/// connection. `fields` come from the program and hold no line ends.
pub fn write_head(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(&str, &str)],
    length: Option<usize>,
    connection: ConnectionField,
) {
    // Writing to a Vec does not fail.
    let _ = write!(out, "HTTP/1.1 {status:03} {}\r\n", phrase(status));
    for (name, value) in fields {
        debug_assert!(!value.contains(char::is_control), "no line ends in a field value");
        let _ = write!(out, "{name}: {value}\r\n");
    }
    if let Some(length) = length {
        let _ = write!(out, "Content-Length: {length}\r\n");
    }
    out.extend_from_slice(b"Cache-Control: no-store\r\n");
    match connection {
        _ if length.is_none() => out.extend_from_slice(b"Connection: close\r\n"),
        ConnectionField::Close => out.extend_from_slice(b"Connection: close\r\n"),
        ConnectionField::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        ConnectionField::Omit => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status (RFC 9110 section 15 and the registry of status codes); empty for
/// those that have none.
pub fn phrase(status: u16) -> &'static str {
    let known = PHRASES.binary_search_by_key(&status, |(known, _)| *known).ok();
    known.and_then(|at| PHRASES.get(at)).map_or("", |(_, phrase)| phrase)
}

const PHRASES: &[(u16, &str)] = &[
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-Authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Found"),
    (303, "See Other"),
    (304, "Not Modified"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Content Too Large"),
    (414, "URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Range Not Satisfiable"),
    (417, "Expectation Failed"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Content"),
    (425, "Too Early"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (451, "Unavailable For Legal Reasons"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (505, "HTTP Version Not Supported"),
    (507, "Insufficient Storage"),
    (508, "Loop Detected"),
    (511, "Network Authentication Required"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_readable_line() {
        let mut out = Vec::new();
        write_error(&mut out, 502, "no\r\nX-Evil: 1", ConnectionField::Close, false);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "flowtap: no  X-Evil: 1\n");
        assert_eq!(
            head,
            "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 23\r\nCache-Control: no-store\r\nConnection: close"
        );
    }

    #[test]
    fn head_only_keeps_the_length_and_drops_the_body() {
        let mut out = Vec::new();
        write_reply(&mut out, 200, "text/html", b"page", ConnectionField::Omit, true);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Content-Length: 4\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
        assert!(!text.contains("Connection"), "{text}");
    }

    #[test]
    fn an_answer_without_a_length_ends_with_the_connection() {
        let mut out = Vec::new();
        let fields = [("Content-Type", "text/event-stream")];
        write_head(&mut out, 200, &fields, None, ConnectionField::Omit);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n"
        );
    }
}
