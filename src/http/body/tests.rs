use proptest::prelude::*;

use super::*;
use crate::http::head::{HeadReader, Parsed};
use crate::limits::CHUNK_EXTENSION_BYTES;

use BodyLength::{Chunked, Length, UntilClose};
use FramingError as E;

/// Field lines of an HTTP/1.1 message, and what they mean in a request.
const DECLARED: [(&str, Result<BodyLength, FramingError>); 49] = [
    ("", Ok(BodyLength::None)),
    ("Content-Length: 0\r\n", Ok(Length(0))),
    ("content-LENGTH:5\r\n", Ok(Length(5))),
    ("Content-Length: 007\r\n", Ok(Length(7))),
    ("Content-Length: 9223372036854775807\r\n", Ok(Length(i64::MAX as u64))),
    ("Transfer-Encoding: chunked\r\n", Ok(Chunked)),
    ("transfer-encoding: \t CHUNKED \t\r\n", Ok(Chunked)),
    // Content-Length that others may read otherwise.
    ("Content-Length: 9223372036854775808\r\n", Err(E::ContentLength)),
    ("Content-Length: 18446744073709551616\r\n", Err(E::ContentLength)),
    ("Content-Length: 99999999999999999999999\r\n", Err(E::ContentLength)),
    ("Content-Length:\r\n", Err(E::ContentLength)),
    ("Content-Length: +5\r\n", Err(E::ContentLength)),
    ("Content-Length: -5\r\n", Err(E::ContentLength)),
    ("Content-Length: -0\r\n", Err(E::ContentLength)),
    ("Content-Length: 5 5\r\n", Err(E::ContentLength)),
    ("Content-Length: 5, 5\r\n", Err(E::ContentLength)),
    ("Content-Length: 5,\r\n", Err(E::ContentLength)),
    ("Content-Length: 5;\r\n", Err(E::ContentLength)),
    ("Content-Length: 0x5\r\n", Err(E::ContentLength)),
    ("Content-Length: 5a\r\n", Err(E::ContentLength)),
    ("Content-Length: 5.0\r\n", Err(E::ContentLength)),
    ("Content-Length: 5e1\r\n", Err(E::ContentLength)),
    ("Content-Length: 1_000\r\n", Err(E::ContentLength)),
    ("Content-Length: \"5\"\r\n", Err(E::ContentLength)),
    ("Content-Length: ٥\r\n", Err(E::ContentLength)),
    ("Content-Length: 5\u{a0}\r\n", Err(E::ContentLength)),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(E::RepeatedContentLength)),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(E::RepeatedContentLength)),
    ("Content-Length: 5\r\nA: b\r\ncontent-length: 0\r\n", Err(E::RepeatedContentLength)),
    // CL.TE and TE.CL.
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(E::LengthAndTransferEncoding)),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(E::LengthAndTransferEncoding)),
    ("Transfer-Encoding: x\r\nContent-Length: 5\r\n", Err(E::LengthAndTransferEncoding)),
    ("Transfer-Encoding:\r\nContent-Length: x\r\n", Err(E::LengthAndTransferEncoding)),
    // TE.TE.
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        Err(E::RepeatedTransferEncoding),
    ),
    (
        "Transfer-Encoding: chunked\r\ntransfer-encoding: identity\r\n",
        Err(E::RepeatedTransferEncoding),
    ),
    ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Err(E::RepeatedTransferEncoding)),
    ("Transfer-Encoding: xchunked\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: chunkedx\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: chunked chunked\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: chunked, chunked\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: chunked, identity\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: chunked;q=1\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: \"chunked\"\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: ,chunked\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: chunked,\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: identity\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding:\r\n", Err(E::TransferEncoding)),
    ("Transfer-Encoding: gzip, chunked\r\n", Err(E::TransferCoding)),
    ("Transfer-Encoding: identity,chunked\r\n", Err(E::TransferCoding)),
];

/// A method, a status line, field lines, and where the body ends.
type ResponseCase = (&'static str, &'static str, &'static str, Result<BodyLength, FramingError>);

const RESPONSES: [ResponseCase; 19] = [
    ("GET", "HTTP/1.1 200 OK", "", Ok(UntilClose)),
    ("GET", "HTTP/1.0 200 OK", "Content-Length: 3\r\n", Ok(Length(3))),
    ("GET", "HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n", Ok(Chunked)),
    ("HEAD", "HTTP/1.1 200 OK", "Content-Length: 3\r\n", Ok(BodyLength::None)),
    ("HEAD", "HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n", Ok(BodyLength::None)),
    ("head", "HTTP/1.1 200 OK", "Content-Length: 3\r\n", Ok(Length(3))),
    ("GET", "HTTP/1.1 304 Not Modified", "Content-Length: 3\r\n", Ok(BodyLength::None)),
    ("GET", "HTTP/1.1 304 Not Modified", "Transfer-Encoding: chunked\r\n", Ok(BodyLength::None)),
    ("GET", "HTTP/1.1 204 No Content", "Content-Length: 3\r\n", Ok(BodyLength::None)),
    ("GET", "HTTP/1.1 100 Continue", "", Ok(BodyLength::None)),
    ("GET", "HTTP/1.1 205 Reset Content", "Content-Length: 0\r\n", Ok(Length(0))),
    ("CONNECT", "HTTP/1.1 200 OK", "Content-Length: 3\r\n", Ok(BodyLength::None)),
    ("CONNECT", "HTTP/1.1 403 No", "Content-Length: 3\r\n", Ok(Length(3))),
    (
        "GET",
        "HTTP/1.1 204 No Content",
        "Transfer-Encoding: chunked\r\n",
        Err(E::TransferEncodingWithoutBody),
    ),
    (
        "GET",
        "HTTP/1.1 103 Early Hints",
        "Transfer-Encoding: chunked\r\n",
        Err(E::TransferEncodingWithoutBody),
    ),
    ("GET", "HTTP/1.1 204 No Content", "Content-Length: x\r\n", Err(E::ContentLength)),
    ("HEAD", "HTTP/1.1 200 OK", "Content-Length: 3, 3\r\n", Err(E::ContentLength)),
    ("GET", "HTTP/1.1 200 OK", "Transfer-Encoding: gzip\r\n", Err(E::TransferEncoding)),
    ("GET", "HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n", Err(E::TransferEncodingInHttp10)),
];

const ALLOWED_CHUNKS: [(&str, &str); 10] = [
    ("0\r\n\r\n", ""),
    ("5\r\nhello\r\n0\r\n\r\n", "hello"),
    ("0005\r\nhello\r\n00000\r\n\r\n", "hello"),
    ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
    ("1;a\r\nx\r\n0;b=\"c d\"\r\n\r\n", "x"),
    ("1 ;a=b; c\r\nx\r\n0\r\n\r\n", "x"),
    ("1;a\t=\t\"\\\";\\\\\" ; b\r\nx\r\n0\r\n\r\n", "x"),
    ("1\r\nx\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", "x"),
    ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
    ("0000000000000001\r\nx\r\n0\r\n\r\n", "x"),
];

const REFUSED_CHUNKS: [(&str, FramingError); 52] = [
    ("\r\n", E::ChunkSize),
    ("\n", E::ChunkSize),
    (" 5\r\n", E::ChunkSize),
    ("\t5\r\n", E::ChunkSize),
    ("+5\r\n", E::ChunkSize),
    ("-5\r\n", E::ChunkSize),
    ("0x5\r\n", E::ChunkSize),
    ("5h\r\n", E::ChunkSize),
    ("5_0\r\n", E::ChunkSize),
    ("g\r\n", E::ChunkSize),
    (";a\r\n", E::ChunkSize),
    ("5\nhello\r\n", E::ChunkSize),
    ("5,5\r\n", E::ChunkSize),
    ("5\0\r\n", E::ChunkSize),
    ("5\u{b}\r\n", E::ChunkSize),
    ("٥\r\n", E::ChunkSize),
    ("8000000000000000\r\n", E::ChunkSize),
    ("ffffffffffffffff\r\n", E::ChunkSize),
    ("00000000000000005\r\n", E::ChunkSize),
    ("100000000000000005\r\n", E::ChunkSize),
    ("5 \r\n", E::ChunkExtension),
    ("5\t\r\n", E::ChunkExtension),
    ("5 a\r\n", E::ChunkExtension),
    ("5\rhello", E::ChunkExtension),
    ("5\r\r\n", E::ChunkExtension),
    ("5;a\nhello\r\n", E::ChunkExtension),
    ("5;a\rb\r\n", E::ChunkExtension),
    ("5;a\0\r\n", E::ChunkExtension),
    ("5;\r\n", E::ChunkExtension),
    ("5;;a\r\n", E::ChunkExtension),
    ("5;a;\r\n", E::ChunkExtension),
    ("5;=b\r\n", E::ChunkExtension),
    ("5;a=\r\n", E::ChunkExtension),
    ("5;a=b=c\r\n", E::ChunkExtension),
    ("5;a \r\n", E::ChunkExtension),
    ("5;a=\"\r\n", E::ChunkExtension),
    ("5;a=\"b\\\"\r\n", E::ChunkExtension),
    ("5;a=\"b\"c\r\n", E::ChunkExtension),
    ("5\r\nhello0\r\n\r\n", E::ChunkEnd),
    ("5\r\nhello\n0\r\n\r\n", E::ChunkEnd),
    ("5\r\nhello\r0\r\n\r\n", E::ChunkEnd),
    ("5\r\nhello!\r\n0\r\n\r\n", E::ChunkEnd),
    ("0\r\nX: a\n\r\n", E::Trailer),
    ("0\r\n\n", E::Trailer),
    ("0\r\nX: a\r\n b\r\n\r\n", E::Trailer),
    ("0\r\nX : a\r\n\r\n", E::Trailer),
    ("0\r\nno field\r\n\r\n", E::Trailer),
    ("0\r\nGET / HTTP/1.1\r\n\r\n", E::Trailer),
    ("0\r\ncontent-length: 5\r\n\r\n", E::TrailerField),
    ("0\r\nTransfer-Encoding: chunked\r\n\r\n", E::TrailerField),
    ("0\r\nX: y\r\nHost: a\r\n\r\n", E::TrailerField),
    ("0\r\nAuthorization: x\r\n\r\n", E::TrailerField),
];

fn of_request(text: &str) -> Result<BodyLength, FramingError> {
    let mut head = RequestHead::default();
    let parsed = HeadReader::new().request(text.as_bytes(), &mut head);
    assert_eq!(parsed, Ok(Parsed::Complete), "{text:?}");
    request_length(&head, text.as_bytes())
}

/// Reads `input` as a body in parts of `part` bytes, keeping what is not consumed.
fn read(
    length: BodyLength,
    input: &[u8],
    part: usize,
) -> (Result<Progress, FramingError>, Vec<u8>, BodyReader) {
    let mut reader = BodyReader::new(length);
    let (mut data, mut waiting, mut consumed) = (Vec::new(), Vec::new(), 0);
    for part in input.chunks(part) {
        waiting.extend_from_slice(part);
        match reader.advance(&waiting, &mut |piece| data.extend_from_slice(piece)) {
            Ok(progress) => {
                consumed += progress.consumed;
                waiting.drain(..progress.consumed);
            }
            Err(error) => return (Err(error), data, reader),
        }
    }
    (Ok(Progress { consumed, done: reader.is_done() }), data, reader)
}

#[test]
fn request_framing_is_decided_or_refused() {
    for (fields, expected) in DECLARED {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(of_request(&text), expected, "{fields:?}");
        if let Err(error) = expected {
            assert!(!error.to_string().is_empty(), "{fields:?}");
        }
    }
}

#[test]
fn transfer_encoding_in_http_10_is_refused() {
    let text = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(of_request(text), Err(E::TransferEncodingInHttp10));
}

#[test]
fn response_framing_is_decided_or_refused() {
    for (method, line, fields, expected) in RESPONSES {
        let text = format!("{line}\r\n{fields}\r\n");
        let mut head = ResponseHead::default();
        let parsed = HeadReader::new().response(text.as_bytes(), &mut head);
        assert_eq!(parsed, Ok(Parsed::Complete), "{text:?}");
        let length = response_length(&head, text.as_bytes(), method.as_bytes());
        assert_eq!(length, expected, "{method} {text:?}");
    }
}

#[test]
fn valid_chunks_are_decoded_however_they_are_split() {
    for (input, expected) in ALLOWED_CHUNKS {
        for part in [1, 2, 3, 1000] {
            let (result, data, _) = read(Chunked, input.as_bytes(), part);
            let all = Progress { consumed: input.len(), done: true };
            assert_eq!(result, Ok(all), "{input:?} in parts of {part}");
            assert_eq!(data, expected.as_bytes(), "{input:?} in parts of {part}");
        }
    }
}

#[test]
fn malformed_chunks_are_refused_however_they_are_split() {
    for (input, expected) in REFUSED_CHUNKS {
        for part in [1, 1000] {
            let (result, _, mut reader) = read(Chunked, input.as_bytes(), part);
            assert_eq!(result, Err(expected), "{input:?} in parts of {part}");
            // The error stays.
            assert_eq!(reader.advance(b"0\r\n\r\n", &mut |_| ()), Err(expected), "{input:?}");
            assert_eq!(reader.finish(), Err(expected), "{input:?}");
        }
    }
}

#[test]
fn what_follows_a_body_is_not_consumed() {
    for (length, input, body) in [
        (Chunked, "1\r\nx\r\n0\r\n\r\nGET", "1\r\nx\r\n0\r\n\r\n"),
        (Length(3), "abcGET", "abc"),
        (Length(0), "GET", ""),
        (BodyLength::None, "GET", ""),
    ] {
        let (result, _, mut reader) = read(length, input.as_bytes(), 1000);
        assert_eq!(result, Ok(Progress { consumed: body.len(), done: true }), "{length:?}");
        assert_eq!(reader.finish(), Ok(()), "{length:?}");
    }
}

#[test]
fn an_early_end_is_told() {
    for (length, input) in [
        (Length(4), "abc"),
        (Chunked, ""),
        (Chunked, "3\r\nabc\r\n"),
        (Chunked, "0\r\n"),
        (Chunked, "0\r\nX: y\r\n"),
    ] {
        let (result, _, mut reader) = read(length, input.as_bytes(), 1000);
        assert!(result.is_ok_and(|progress| !progress.done), "{length:?} {input:?}");
        assert_eq!(reader.finish(), Err(E::Truncated), "{length:?} {input:?}");
    }
    let (_, data, mut reader) = read(UntilClose, b"abc", 2);
    assert_eq!((reader.is_done(), reader.finish(), reader.is_done()), (false, Ok(()), true));
    assert_eq!(data, b"abc");
}

#[test]
fn lines_wait_until_they_are_whole() {
    let mut reader = BodyReader::new(Chunked);
    let mut advance = |input: &[u8]| reader.advance(input, &mut |_| ()).unwrap().consumed;
    assert_eq!(advance(b"5;ab"), 0);
    assert_eq!(advance(b"5;ab\r"), 0);
    assert_eq!(advance(b"5;ab\r\nhe"), 8);
    assert_eq!(advance(b"llo\r"), 3);
    assert_eq!(advance(b"\r\n0\r\nX: y\r\n\r"), 2);
    assert_eq!(advance(b"0\r\nX: y\r\n\r\nGET"), 11);
    assert_eq!(reader.trailers(), b"X: y\r\n");
}

#[test]
fn chunk_extensions_are_limited() {
    let input = |length: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(length - 1));
    for part in [1, 100_000] {
        let (result, ..) = read(Chunked, input(CHUNK_EXTENSION_BYTES).as_bytes(), part);
        assert!(result.is_ok_and(|progress| progress.done));
        let (result, ..) = read(Chunked, input(CHUNK_EXTENSION_BYTES + 1).as_bytes(), part);
        assert_eq!(result, Err(E::ChunkExtension));
    }
}

#[test]
fn trailers_are_limited() {
    let input = |length: usize| format!("0\r\nX: {}\r\n\r\n", "a".repeat(length - 7));
    for part in [100, 100_000] {
        let (result, ..) = read(Chunked, input(TRAILER_BYTES).as_bytes(), part);
        assert!(result.is_ok_and(|progress| progress.done));
        let (result, ..) = read(Chunked, input(TRAILER_BYTES + 1).as_bytes(), part);
        assert_eq!(result, Err(E::TrailerTooLarge));
    }
}

proptest! {
    #[test]
    fn chunks_round_trip(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        part in 1_usize..50,
    ) {
        let mut input = Vec::new();
        for chunk in &chunks {
            input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(chunk);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\n");
        let (result, data, _) = read(Chunked, &input, part);
        prop_assert_eq!(result, Ok(Progress { consumed: input.len(), done: true }));
        prop_assert_eq!(data, chunks.concat());
    }
}
