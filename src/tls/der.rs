//! The few shapes of DER (X.690) that certificates and PKCS#12 files are written with.

use time::OffsetDateTime;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The tag of a constructed context-specific element, as explicit tagging needs it.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The tag of a primitive context-specific element, as implicit tagging of strings needs it.
pub(crate) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// One element: tag, length in the shortest form, and the parts as content.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let octets = length.to_be_bytes();
            let leading = octets.iter().take_while(|octet| **octet == 0).count();
            out.push(0x80 | u8::try_from(octets.len() - leading).unwrap_or(8));
            out.extend(octets.iter().skip(leading));
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A sequence of whole elements.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

/// An object identifier from its encoded content.
pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, &[content])
}

/// A bit string of whole octets.
pub(crate) fn bit_string(content: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], content])
}

/// A time as RFC 5280 section 4.1.2.5 wants it: UTCTime through 2049, then GeneralizedTime.
pub(crate) fn time(at: OffsetDateTime) -> Vec<u8> {
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    if (1950..2050).contains(&at.year()) {
        let year = format!("{:02}", at.year() % 100);
        element(UTC_TIME, &[year.as_bytes(), rest.as_bytes()])
    } else {
        let year = format!("{:04}", at.year());
        element(GENERALIZED_TIME, &[year.as_bytes(), rest.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(element(OCTET_STRING, &[]), [4, 0]);
        assert_eq!(element(OCTET_STRING, &[&[7; 127]])[..2], [4, 127]);
        assert_eq!(element(OCTET_STRING, &[&[7; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(element(OCTET_STRING, &[&[7; 200], &[8; 56]])[..4], [4, 0x82, 1, 0]);
        assert_eq!(element(OCTET_STRING, &[&vec![7; 65_536]])[..5], [4, 0x83, 1, 0, 0]);
    }

    #[test]
    fn times_change_form_in_2050() {
        let last = OffsetDateTime::from_unix_timestamp(2_524_607_999).unwrap();
        assert_eq!(&time(last)[2..], b"491231235959Z");
        let first = OffsetDateTime::from_unix_timestamp(2_524_608_000).unwrap();
        assert_eq!(&time(first)[2..], b"20500101000000Z");
    }
}
