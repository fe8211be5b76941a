//! Max-Forwards: how many proxies a request may still pass (RFC 9110 section 7.6.2).

use bytes::Bytes;

use super::head::{RequestHead, values};
use super::reply;
use super::rewrite::ConnectionField;

/// The field that limits how far a TRACE or OPTIONS request goes.
pub const MAX_FORWARDS: &str = "Max-Forwards";

/// How many proxies behind this one a TRACE or OPTIONS request may still pass. `None` where it does
/// not say, or not by one number; other methods do not say it. What exceeds 64 bits is their most.
pub fn max_forwards(head: &RequestHead, buf: &[u8]) -> Option<u64> {
    if !matches!(head.method.of(buf), b"TRACE" | b"OPTIONS") {
        return None;
    }
    let mut fields = values(&head.fields, buf, MAX_FORWARDS);
    let value = fields.next()?;
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = value.iter().fold(0_u64, |number, digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        number.saturating_mul(10).saturating_add(digit)
    });
    (is_number && fields.next().is_none()).then_some(number)
}

/// The answer, head and body, to a request of which nobody is left to be asked: TRACE gets its own
/// head back (RFC 9110 section 9.3.8), OPTIONS nothing.
pub fn last_answer(method: &[u8], head: &[u8]) -> (Bytes, Bytes) {
    let (fields, body): (&[_], _) = match method {
        b"TRACE" => (&[("Content-Type", "message/http")], without_secrets(head)),
        _ => (&[], Vec::new()),
    };
    let mut answer = Vec::new();
    reply::write_head(&mut answer, 200, fields, Some(body.len()), ConnectionField::Omit);
    (answer.into(), body.into())
}

/// A head that was parsed, without the fields that show who sends it: what answers TRACE could be
/// read by scripts that may not read those.
fn without_secrets(head: &[u8]) -> Vec<u8> {
    const SECRETS: [&str; 3] = ["Authorization", "Cookie", "Proxy-Authorization"];
    let is_secret = |line: &&[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
    };
    let lines = head.split_inclusive(|&byte| byte == b'\n');
    lines.filter(|line| !is_secret(line)).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{HeadReader, Parsed};

    fn of(method: &str, fields: &str) -> Option<u64> {
        let text = format!("{method} / HTTP/1.1\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        let parsed = HeadReader::new().request(text.as_bytes(), &mut head);
        assert_eq!(parsed, Ok(Parsed::Complete), "{text:?}");
        max_forwards(&head, text.as_bytes())
    }

    #[test]
    fn only_one_number_of_trace_and_options_counts() {
        assert_eq!(of("TRACE", "max-forwards: 7\r\n"), Some(7));
        assert_eq!(of("OPTIONS", "Max-Forwards: 000\r\n"), Some(0));
        assert_eq!(of("OPTIONS", "Max-Forwards: 18446744073709551616\r\n"), Some(u64::MAX));
        for value in ["", "-1", "+1", "1 1", "1,1", "0x1", "1.0", "\u{e9}"] {
            assert_eq!(of("OPTIONS", &format!("Max-Forwards: {value}\r\n")), None, "{value}");
        }
        assert_eq!(of("OPTIONS", ""), None);
        assert_eq!(of("OPTIONS", "Max-Forwards: 1\r\nMax-Forwards: 1\r\n"), None);
        for method in ["GET", "POST", "trace", "OPTIONSX"] {
            assert_eq!(of(method, "Max-Forwards: 0\r\n"), None, "{method}");
        }
    }

    #[test]
    fn a_trace_shows_nobody_who_has_sent_it() {
        let head = b"TRACE / HTTP/1.1\r\nCookie: a\r\nCookie2: b\r\nAUTHORIZATION: c\r\n\
                     Proxy-Authorization: d\r\nX: Cookie: e\r\n\r\n";
        let (answer, body) = last_answer(b"TRACE", head);
        assert_eq!(body, "TRACE / HTTP/1.1\r\nCookie2: b\r\nX: Cookie: e\r\n\r\n");
        let length = format!("\r\nContent-Length: {}\r\n", body.len());
        assert!(String::from_utf8_lossy(&answer).contains(&length), "{answer:?}");
    }
}
