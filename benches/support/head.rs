//! Heads of messages, as far as benchmarks have to read them.

/// Where the head ends that begins here.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}
