//! What one exchange or WebSocket connection was: the record that every reader is given.

pub mod authentication;
pub mod charset;
pub mod control;
pub mod decode;
pub(crate) mod events;
pub mod filter;
pub mod head;
pub(crate) mod multipart;
pub mod pattern;
pub(crate) mod picture;
pub mod query;
pub mod record;
pub mod redact;
pub mod stored;
pub mod template;
pub mod url;
pub mod view;
