//! What one exchange or WebSocket connection was: the record that every reader is given.

pub mod decode;
pub mod head;
pub mod record;
