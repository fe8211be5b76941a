//! What upstream proxies answer before they relay.

use std::sync::Arc;

use flowtap::flow::record::Authority;
use flowtap::upstream::{Destination, Handshake, UpstreamProxy};

use super::rfc9112;

/// What came of a handshake.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    sent: Vec<u8>,
    used: usize,
    done: bool,
    refused: Option<String>,
}

/// Gives a handshake the bytes in pieces of at most `size`.
fn play(url: &str, answers: &[u8], size: usize) -> Outcome {
    let proxy = UpstreamProxy::parse(url).unwrap_or_else(|error| panic!("{error}"));
    let authority = Authority { host: "a.example".to_owned(), port: 443 };
    let mut sent = Vec::new();
    let to = Destination::Host(Arc::new(authority));
    let mut handshake = Handshake::new(&proxy, to, &mut sent);
    let (mut used, mut end, mut done, mut refused) = (0, 0, false, None);
    while end < answers.len() && !done && refused.is_none() {
        end = answers.len().min(end + size.max(1));
        match handshake.advance(&answers[used..end], &mut sent) {
            Ok(taken) => {
                assert!(taken.bytes <= end - used);
                used += taken.bytes;
                done = taken.done;
            }
            Err(reason) => refused = Some(reason),
        }
    }
    if let Some(reason) = &refused {
        assert!(!reason.contains("s3cret") && !reason.contains(char::is_control), "{reason}");
        assert!(reason.chars().count() < 400, "{reason}");
    }
    Outcome { sent, used, done, refused }
}

/// Plays a handshake with the bytes in pieces, whose size is the first of them, and as a whole.
fn both(data: &[u8], urls: [&str; 2]) -> Option<(Outcome, Outcome)> {
    let (first, answers) = data.split_first()?;
    let url = urls[usize::from(first & 1)];
    let whole = play(url, answers, answers.len());
    Some((whole, play(url, answers, usize::from(first >> 1))))
}

/// Pieces are read as the whole; a tunnel is open after a head that the second reading has as well,
/// and the proxy is sent nothing but the one request.
pub fn connect_answers(data: &[u8]) {
    let urls = ["http://proxy.example", "https://user:s3cret@proxy.example"];
    let Some((whole, pieces)) = both(data, urls) else { return };
    assert_eq!((whole.done, whole.refused.is_some()), (pieces.done, pieces.refused.is_some()));
    assert_eq!(whole.sent, pieces.sent);
    assert!(whole.sent.ends_with(b"\r\n\r\n"));
    if whole.refused.is_none() {
        assert_eq!(whole, pieces);
    }
    if whole.done {
        let mut rest = &data[1..];
        let mut status = Vec::new();
        while rest.len() > data.len() - 1 - whole.used {
            let rfc9112::Reading::Whole(head) = rfc9112::response_head(rest) else {
                panic!("the second reading finds no head");
            };
            status = head.start[1].to_vec();
            rest = &rest[head.length..];
        }
        assert_eq!(rest.len(), data.len() - 1 - whole.used);
        assert!(status.starts_with(b"2"), "{status:?}");
    }
}

/// Pieces are read as the whole, and what is sent is a greeting, credentials where they were asked
/// for, and one request.
pub fn socks5_answers(data: &[u8]) {
    let urls = ["socks5h://proxy.example", "socks5h://user:s3cret@proxy.example"];
    let Some((whole, pieces)) = both(data, urls) else { return };
    if whole.refused.is_none() {
        assert_eq!(whole, pieces);
    }
    assert_eq!((whole.done, &whole.refused), (pieces.done, &pieces.refused));
    assert_eq!(whole.sent, pieces.sent);
    let request = b"\x05\x01\x00\x03\x09a.example\x01\xbb";
    assert_eq!(whole.sent.ends_with(request), whole.sent.len() > 18, "{:?}", whole.sent);
    if whole.done {
        assert!(whole.sent.ends_with(request) && whole.used >= 9);
    }
    let shown = whole.sent.windows(6).any(|part| part == b"s3cret");
    assert!(!shown || data.get(1..3) == Some(b"\x05\x02"), "it was not asked for");
}
