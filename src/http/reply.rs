//! The answers that flowtap gives by itself.

use std::io::Write;

/// The answer to CONNECT; the tunnel follows.
pub const CONNECTION_ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Appends an error as an answer with a body of one readable line. Without the body where it
/// answers HEAD.
pub fn write_error(out: &mut Vec<u8>, status: u16, reason: &str, close: bool, head_only: bool) {
    let mut body = String::with_capacity(reason.len() + 10);
    body.push_str("flowtap: ");
    body.extend(reason.chars().map(|c| if c.is_control() { ' ' } else { c }));
    body.push('\n');
    write_reply(out, status, "text/plain; charset=utf-8", body.as_bytes(), close, head_only);
}

/// Appends an answer. `content_type` is a constant of the program.
pub fn write_reply(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    body: &[u8],
    close: bool,
    head_only: bool,
) {
    // RFC 9110 section 15.5.6; no page of ours takes another method.
    let allow = ("Allow", "GET, HEAD");
    let content_type = ("Content-Type", content_type);
    let fields: &[_] = if status == 405 { &[content_type, allow] } else { &[content_type] };
    write_head(out, status, fields, Some(body.len()), close);
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
    close: bool,
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
    if close || length.is_none() {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The reason phrases of the statuses that flowtap gives (RFC 9110 section 15).
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_readable_line() {
        let mut out = Vec::new();
        write_error(&mut out, 502, "no\r\nX-Evil: 1", true, false);
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
        write_reply(&mut out, 200, "text/html", b"page", false, true);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Content-Length: 4\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
        assert!(!text.contains("Connection"), "{text}");
    }

    #[test]
    fn an_answer_without_a_length_ends_with_the_connection() {
        let mut out = Vec::new();
        write_head(&mut out, 200, &[("Content-Type", "text/event-stream")], None, false);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n"
        );
    }
}
