//! The proxy as state machines without input or output: bytes and a clock in, bytes and
//! commands out.
