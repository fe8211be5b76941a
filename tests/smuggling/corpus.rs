//! The corpus as it stands in its files: requests.txt and responses.txt tell their form.

use std::collections::HashSet;

/// What must become of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Refused with this status before anything of it goes on; `valid` where the RFCs allow it.
    Refused { status: u16, valid: bool },
    /// Refused with this status while it is under way.
    Cut { status: u16, valid: bool },
    /// Passed on; what comes behind it may be refused.
    Passed { then: Option<u16> },
    /// A response that the client gets in part at most, and sees that.
    Broken,
}

/// How the server's connection goes on behind a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Then {
    #[default]
    Keeps,
    Closes,
    /// Without close_notify, where there is TLS.
    Cuts,
}

/// One case, its bytes still in the form of the file.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) fate: Fate,
    /// What the attacker sends: the client's bytes, or the server's.
    pub(crate) sent: String,
    /// What the other side gets, where that is not the same.
    pub(crate) got: Option<String>,
    /// The client's connection ends behind the case.
    pub(crate) closes: bool,
    /// The mode that it is for, where it is not for all.
    pub(crate) only: Option<String>,
    /// The request that a response answers.
    pub(crate) asks: String,
    pub(crate) then: Then,
    /// The connection to the server is not used again.
    pub(crate) drops: bool,
}

/// Reads the cases of a file, and checks that each family names its source.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let (mut family, mut source) = ("", "");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        if let "family" | "source" | "case" = key {
            assert!(!value.is_empty(), "{line}");
        }
        match key {
            "family" => (family, source) = (value, ""),
            "source" => source = value,
            "case" => {
                assert!(!source.is_empty(), "{family} has no source");
                cases.push(Case {
                    name: value.to_owned(),
                    fate: Fate::Passed { then: None },
                    sent: String::new(),
                    got: None,
                    closes: false,
                    only: None,
                    asks: "GET".to_owned(),
                    then: Then::default(),
                    drops: false,
                });
            }
            _ => cases.last_mut().unwrap().take(key, value),
        }
    }
    let names: HashSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name is given twice");
    assert!(cases.iter().all(|case| !case.sent.is_empty()), "a case is empty");
    cases
}

impl Case {
    fn take(&mut self, key: &str, value: &str) {
        let status = || value.parse::<u16>().unwrap();
        match key {
            ">" => self.sent.push_str(value),
            "<" => self.got.get_or_insert_default().push_str(value),
            "refused" => self.fate = Fate::Refused { status: status(), valid: false },
            "declined" => self.fate = Fate::Refused { status: status(), valid: true },
            "cut" => self.fate = Fate::Cut { status: status(), valid: false },
            "cut-declined" => self.fate = Fate::Cut { status: status(), valid: true },
            "forwarded" | "passed" => self.fate = Fate::Passed { then: None },
            "forwarded-then" | "passed-then" => self.fate = Fate::Passed { then: Some(status()) },
            "broken" => self.fate = Fate::Broken,
            "closes" => self.closes = true,
            "only" => self.only = Some(value.to_owned()),
            "asks" => self.asks = value.to_owned(),
            "then" if value == "close" => self.then = Then::Closes,
            "then" if value == "cut" => self.then = Then::Cuts,
            "drops" => self.drops = true,
            _ => panic!("{}: {key} {value}", self.name),
        }
    }
}

/// What the names in braces stand for.
pub(crate) struct Words<'a> {
    /// Where an absolute target begins.
    pub(crate) url: &'a str,
    pub(crate) host: &'a str,
    /// A request for /smuggled as the client writes it.
    pub(crate) evil: String,
}

impl<'a> Words<'a> {
    pub(crate) fn new(url: &'a str, host: &'a str) -> Self {
        Words { url, host, evil: format!("GET {url}/smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n") }
    }

    /// The bytes of `text` as they go out; with `outgoing`, as they come to the server.
    pub(crate) fn bytes(&self, text: &str, outgoing: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (piece, length) = match first {
                '\\' => escape(rest),
                '{' => {
                    let end = rest.find('}').unwrap();
                    (self.word(&rest[1..end], outgoing), end + 1)
                }
                _ => (first.to_string().into_bytes(), first.len_utf8()),
            };
            bytes.extend(piece);
            rest = &rest[length..];
        }
        bytes
    }

    fn word(&self, word: &str, outgoing: bool) -> Vec<u8> {
        let url = if outgoing { "" } else { self.url };
        let host = self.host;
        let text = match word {
            "url" => url.to_owned(),
            "host" => host.to_owned(),
            "get" => format!("GET {url}/ HTTP/1.1\r\nHost: {host}\r\n"),
            "post" => format!("POST {url}/ HTTP/1.1\r\nHost: {host}\r\n"),
            "te" => "Transfer-Encoding: chunked\r\n".to_owned(),
            "ok" => "HTTP/1.1 200 OK\r\n".to_owned(),
            "evil" if outgoing => Words::new("", host).evil,
            "evil" | "evil*" => self.evil.clone(),
            "len" => self.evil.len().to_string(),
            "hexlen" => format!("{:x}", self.evil.len()),
            _ => {
                let (count, text) = word.split_once('*').unwrap();
                return self.bytes(text, outgoing).repeat(count.parse().unwrap());
            }
        };
        text.into_bytes()
    }
}

fn escape(text: &str) -> (Vec<u8>, usize) {
    let byte = match text.as_bytes()[1] {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => return (vec![u8::from_str_radix(&text[2..4], 16).unwrap()], 4),
        other => panic!("unknown escape {}", char::from(other)),
    };
    (vec![byte], 2)
}
