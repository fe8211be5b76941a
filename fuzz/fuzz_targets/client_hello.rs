//! The reader of ClientHellos: it never panics, and what is whole stays what it is.
#![no_main]

use flowtap::limits::CLIENT_HELLO_BYTES;
use flowtap::tls::hello::{Hello, read_client_hello};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));

/// Reads every state that a client could bring about by sending `bytes` in two parts.
pub fn check(bytes: &[u8]) {
    let whole = read_client_hello(bytes);
    let half = read_client_hello(bytes.get(..bytes.len() / 2).unwrap_or_default());
    match &half {
        Hello::Partial => {}
        // More bytes change no verdict.
        decided => assert_eq!(*decided, whole),
    }
    match whole {
        Hello::Partial => assert!(bytes.len() < CLIENT_HELLO_BYTES),
        Hello::NotTls => assert_ne!(bytes.first(), Some(&0x16)),
        Hello::ClientHello(hello) => {
            assert!(hello.server_name.is_none_or(|name| name.is_ascii() && !name.is_empty()));
            assert!(hello.alpn.iter().all(|protocol| !protocol.is_empty()));
        }
        Hello::Malformed(why) => assert!(!why.is_empty()),
    }
}
