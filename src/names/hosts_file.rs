//! `/etc/hosts`: an address and its names to a line (hosts(5)).

use std::io::BufRead;
use std::net::IpAddr;

use crate::limits::{DIAL_ADDRESSES, HOSTS_FILE_BYTES};

/// The addresses that the file has for a name, in its order. What cannot be read or understood is
/// passed over, and so is what lies beyond [`HOSTS_FILE_BYTES`].
pub fn addresses(file: impl BufRead, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let lines = file.take(HOSTS_FILE_BYTES).split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| address_in(&line, name)).take(DIAL_ADDRESSES).collect()
}

/// The address of a line, if it is one of this name.
fn address_in(line: &[u8], name: &str) -> Option<IpAddr> {
    let line = line.split(|byte| *byte == b'#').next()?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let address = words.next()?;
    // Most lines of large files are of other names: those are looked at first.
    words.find(|word| word.eq_ignore_ascii_case(name.as_bytes()))?;
    std::str::from_utf8(address).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn found(file: &[u8], name: &str) -> Vec<String> {
        addresses(file, name).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_line_of_a_name_counts_whatever_its_case() {
        let file = b"# 127.0.0.9 a.example\n127.0.0.1 localhost\n::1\tlocalhost  A.Example # b\n\
            bad a.example\n\xff a.example\n127.0.0.2 b.example a.example\r\n";
        assert_eq!(found(file, "a.example."), ["::1", "127.0.0.2"]);
        assert_eq!(found(file, "localhost"), ["127.0.0.1", "::1"]);
        assert!(found(file, "b").is_empty() && found(file, "127.0.0.1").is_empty());
        assert!(found(b"127.0.0.1", "").is_empty());
    }

    #[test]
    fn the_file_and_what_is_found_are_bounded() {
        let many = "127.0.0.1 a\n".repeat(DIAL_ADDRESSES + 1);
        assert_eq!(found(many.as_bytes(), "a").len(), DIAL_ADDRESSES);
        let long = std::io::repeat(b'x').take(HOSTS_FILE_BYTES).chain(&b"\n127.0.0.1 a\n"[..]);
        assert!(addresses(std::io::BufReader::new(long), "a").is_empty());
    }
}
