//! What must hold for any bytes. Each function that is exported here is one fuzz target, panics on
//! a finding, and is replayed over its corpus by `tests/fuzz_corpus.rs`. README.md says which
//! parsers they cover.

mod capture;
mod filter;
mod http;
mod mcp;
mod names;
mod options;
mod pieces;
mod proxy;
mod rfc9112;
mod text;
mod tls;
mod upstream;
mod websocket;

pub use capture::{bundle_read, cookies, journal_entries, journal_frames};
pub use filter::filter;
pub use http::{chunked_body, field_values, request_head, request_target, response_head};
pub use mcp::{event_stream, json_rpc, mcp_http, stdio_lines};
pub use names::name_lookup;
pub use options::{host_patterns, option_values, pattern};
pub use proxy::proxy_core;
pub use text::{decode_body, recorded_text, redact};
pub use tls::{authority_pem, client_hello, tls_session};
pub use upstream::{connect_answers, socks5_answers};
pub use websocket::websocket_frames;
