//! DNS messages (RFC 1035 section 4): questions for addresses, and what their answers say.

use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{DNS_ALIASES, DNS_RECORDS};

/// Bytes of a name on the wire (RFC 1035 section 2.3.4).
const NAME_BYTES: usize = 255;
const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;
/// Header flags: a response, its kind of query, cut, recursion desired.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const CUT: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RCODE: u16 = 0x000f;
const NO_SUCH_NAME: u16 = 3;

/// A host's name as it stands in messages, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Vec<u8>);

impl Name {
    /// Reads a name with dots, of visible ASCII; a dot at its end changes nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|it| (1..64).contains(it))?;
            if !label.bytes().all(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            wire.push(length);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        (wire.len() <= NAME_BYTES).then_some(Name(wire))
    }
}

/// The kinds of addresses, each a question of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, records of type A.
    V4,
    /// IPv6, records of type AAAA (RFC 3596).
    V6,
}

impl Family {
    fn record_type(self) -> u16 {
        match self {
            Family::V4 => 1,
            Family::V6 => 28,
        }
    }
}

/// What a name server says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The addresses of the name; there may be none of this family.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The answer is too long for a datagram, and must be asked for over TCP.
    Cut,
    /// The server has failed, with this response code, or is not understood.
    Failed(u16),
}

/// The question for addresses of a name.
#[must_use]
pub fn question(id: u16, name: &Name, family: Family) -> Vec<u8> {
    let mut message = Vec::with_capacity(name.0.len() + 16);
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    message.extend(&name.0);
    message.extend(family.record_type().to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// What a message says to a question; nothing if it is no answer to it, as one that is late or
/// forged.
#[must_use]
pub fn answer(message: &[u8], id: u16, name: &Name, family: Family) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let (answers_id, flags) = (reader.word()?, reader.word()?);
    if answers_id != id || flags & RESPONSE == 0 || flags & OPCODE != 0 || reader.word()? != 1 {
        return None;
    }
    let records = reader.word()?;
    reader.take(4)?;
    let asked = (reader.name()?, reader.word()?, reader.word()?);
    if asked.0 != *name || (asked.1, asked.2) != (family.record_type(), CLASS_IN) {
        return None;
    }
    match flags & RCODE {
        _ if flags & CUT != 0 => Some(Answer::Cut),
        NO_SUCH_NAME => Some(Answer::NoSuchName),
        0 => match reader.records(records, family) {
            Some(records) => Some(Answer::Addresses(follow(name, &records))),
            None => Some(Answer::Failed(0)),
        },
        code => Some(Answer::Failed(code)),
    }
}

enum Data {
    Alias(Name),
    Address(IpAddr),
}

/// The addresses of a name or of what it is an alias for.
fn follow(name: &Name, records: &[(Name, Data)]) -> Vec<IpAddr> {
    let mut owner = name;
    for _ in 0..DNS_ALIASES {
        let own = records.iter().filter(|(name, _)| name == owner).map(|(_, data)| data);
        let addresses = own.clone().filter_map(|data| match data {
            Data::Address(address) => Some(*address),
            Data::Alias(_) => None,
        });
        let addresses: Vec<_> = addresses.collect();
        if !addresses.is_empty() {
            return addresses;
        }
        let mut aliases = own.filter_map(|data| match data {
            Data::Alias(name) => Some(name),
            Data::Address(_) => None,
        });
        match aliases.next() {
            Some(alias) => owner = alias,
            None => break,
        }
    }
    Vec::new()
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A name, which may end with a pointer to an earlier one (RFC 1035 section 4.1.4). Each
    /// pointer leads further back than all before it, so there is no loop.
    fn name(&mut self) -> Option<Name> {
        let mut name = Vec::new();
        let mut begin = self.at;
        let mut behind = None;
        loop {
            let length = self.take(1)?.first().copied()?;
            match length {
                0 => {
                    name.push(0);
                    break;
                }
                1..=63 => {
                    name.push(length);
                    name.extend(self.take(usize::from(length))?.to_ascii_lowercase());
                }
                0xc0..=0xff => {
                    let low = self.take(1)?.first().copied()?;
                    behind.get_or_insert(self.at);
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    if to >= begin {
                        return None;
                    }
                    (begin, self.at) = (to, to);
                }
                _ => return None,
            }
            if name.len() >= NAME_BYTES {
                return None;
            }
        }
        self.at = behind.unwrap_or(self.at);
        Some(Name(name))
    }

    /// Addresses and aliases among the records that come next.
    fn records(&mut self, count: u16, family: Family) -> Option<Vec<(Name, Data)>> {
        let mut records = Vec::new();
        for _ in 0..usize::from(count).min(DNS_RECORDS) {
            let owner = self.name()?;
            let (kind, class) = (self.word()?, self.word()?);
            // The time to live; the resolver remembers everything for its own time.
            self.take(4)?;
            let length = usize::from(self.word()?);
            let end = self.at.checked_add(length)?;
            let data = match kind {
                _ if class != CLASS_IN => None,
                TYPE_CNAME => Some(Data::Alias(self.name()?)),
                kind if kind == family.record_type() => Some(Data::Address(self.address(family)?)),
                _ => {
                    self.take(length)?;
                    None
                }
            };
            if class != CLASS_IN {
                self.take(length)?;
            }
            if self.at != end {
                return None;
            }
            records.extend(data.map(|data| (owner, data)));
        }
        Some(records)
    }

    fn address(&mut self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => <[u8; 4]>::try_from(self.take(4)?).ok().map(IpAddr::from),
            Family::V6 => {
                let bytes = <[u8; 16]>::try_from(self.take(16)?).ok()?;
                Some(IpAddr::V6(Ipv6Addr::from(bytes)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u16 = 0x1234;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// An answer to the question for `host`, with these flags beside RESPONSE, and records as
    /// bytes.
    fn message(host: &str, flags: u16, records: &[&[u8]]) -> Vec<u8> {
        let mut message = question(ID, &name(host), Family::V4);
        message[2..4].copy_from_slice(&(RESPONSE | flags).to_be_bytes());
        message[7] = u8::try_from(records.len()).unwrap();
        records.iter().for_each(|record| message.extend(*record));
        message
    }

    fn said(message: &[u8]) -> Option<Answer> {
        answer(message, ID, &name("a.example"), Family::V4)
    }

    #[test]
    fn names_are_labels_of_1_to_63_bytes_and_255_in_all() {
        assert_eq!(name("A.Example."), name("a.example"));
        assert_eq!(name("a.bc").0, b"\x01a\x02bc\x00");
        let label = "a".repeat(63);
        assert!(Name::parse(&label).is_some() && Name::parse(&format!("{label}a")).is_none());
        let long = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert!(Name::parse(&long).is_some() && Name::parse(&format!("{long}b")).is_none());
        for bad in ["", ".", "a..b", ".a", "a b", "\u{e9}.example", "a\0b"] {
            assert_eq!(Name::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn addresses_are_found_behind_aliases_in_any_order_and_of_this_name_alone() {
        // 0xc00c leads to the name in the question.
        let alias = b"\xc0\x0c\x00\x05\x00\x01\0\0\0\0\x00\x04\x01b\xc0\x0e";
        let address = b"\x01B\xc0\x0e\x00\x01\x00\x01\0\0\0\0\x00\x04\x7f\0\0\x02";
        let other = b"\x01z\xc0\x0e\x00\x01\x00\x01\0\0\0\0\x00\x04\x7f\0\0\x03";
        let text = b"\xc0\x0c\x00\x10\x00\x01\0\0\0\0\x00\x03\x02hi";
        let found = Some(Answer::Addresses(vec![IpAddr::from([127, 0, 0, 2])]));
        assert_eq!(said(&message("a.example", 0, &[alias, address, other])), found);
        assert_eq!(said(&message("a.example", 0, &[text, other, address, alias])), found);
        assert_eq!(said(&message("a.example", 0, &[other])), Some(Answer::Addresses(vec![])));
        let circle = b"\xc0\x0c\x00\x05\x00\x01\0\0\0\0\x00\x02\xc0\x0c";
        assert_eq!(said(&message("a.example", 0, &[circle])), Some(Answer::Addresses(vec![])));
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let whole = message("a.example", 0, &[]);
        assert_eq!(said(&whole), Some(Answer::Addresses(vec![])));
        assert_eq!(answer(&whole, ID + 1, &name("a.example"), Family::V4), None);
        assert_eq!(answer(&whole, ID, &name("a.example"), Family::V6), None);
        assert_eq!(said(&message("b.example", 0, &[])), None);
        assert_eq!(said(&question(ID, &name("a.example"), Family::V4)), None);
        (0..whole.len()).for_each(|end| assert_eq!(said(&whole[..end]), None));
    }

    #[test]
    fn failures_are_told_apart() {
        assert_eq!(said(&message("a.example", NO_SUCH_NAME, &[])), Some(Answer::NoSuchName));
        assert_eq!(said(&message("a.example", 2, &[])), Some(Answer::Failed(2)));
        assert_eq!(said(&message("a.example", CUT, &[])), Some(Answer::Cut));
        let bad: [&[u8]; 4] = [
            b"\xc0\x0c\x00\x01\x00\x01\0\0\0\0\x00\x04\x7f\0\0",
            b"\xc0\x0c\x00\x01\x00\x01\0\0\0\0\x00\x03\x7f\0\0",
            b"\xc0\xff\x00\x01\x00\x01\0\0\0\0\x00\x00",
            b"\x80\x00\x01\x00\x01\0\0\0\0\x00\x00",
        ];
        for record in bad {
            let answer = said(&message("a.example", 0, &[record]));
            assert_eq!(answer, Some(Answer::Failed(0)), "{record:x?}");
        }
    }

    #[test]
    fn records_and_aliases_are_bounded() {
        let alias = |from: usize, to: usize| {
            let mut record = format!("\x05n{from:04}").into_bytes();
            record.extend(b"\0\x00\x05\x00\x01\0\0\0\0\x00\x07");
            record.extend(format!("\x05n{to:04}\0").into_bytes());
            record
        };
        let chain = |length: usize| {
            let mut records: Vec<Vec<u8>> = (0..length).map(|at| alias(at, at + 1)).collect();
            let mut last = format!("\x05n{length:04}").into_bytes();
            last.extend(b"\0\x00\x01\x00\x01\0\0\0\0\x00\x04\x7f\0\0\x02");
            records.push(last);
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            let message = message("n0000", 0, &records);
            answer(&message, ID, &name("n0000"), Family::V4)
        };
        let found = Some(Answer::Addresses(vec![IpAddr::from([127, 0, 0, 2])]));
        assert_eq!(chain(DNS_ALIASES - 1), found);
        assert_eq!(chain(DNS_ALIASES), Some(Answer::Addresses(vec![])));
        let address: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\0\0\0\0\x00\x04\x7f\0\0\x02";
        let mut many = message("a.example", 0, &vec![address; 200]);
        many[6..8].copy_from_slice(&2_000_u16.to_be_bytes());
        (200..2_000).for_each(|_| many.extend(address));
        let Some(Answer::Addresses(addresses)) = said(&many) else { panic!("no addresses") };
        assert_eq!(addresses.len(), DNS_RECORDS);
    }
}
