//! Random bytes from the system.

use std::io;

/// Fills a buffer with random bytes that are fit for secrets.
///
/// # Errors
/// When the system gives none.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    from_system(bytes)
        .map_err(|e| io::Error::other(format!("the system gives no random bytes: {e}")))
}

/// The crate getrandom finds the system call through the dynamic linker. In a program that is
/// linked statically it opens `/dev/random` instead, which an empty root does not have.
#[cfg(target_os = "linux")]
fn from_system(bytes: &mut [u8]) -> io::Result<()> {
    use rustix::rand::{GetRandomFlags, getrandom};
    let mut rest = bytes;
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn from_system(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_part_of_a_large_buffer_is_filled() {
        // The system call gives 32 MiB at most.
        let mut bytes = vec![0_u8; (33 << 20) + 7];
        super::fill(&mut bytes).unwrap();
        assert!(bytes.chunks(64).all(|part| part.len() < 8 || part.iter().any(|byte| *byte != 0)));
    }
}
