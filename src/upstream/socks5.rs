//! SOCKS5, as a client (RFC 1928), with user name and password (RFC 1929).

use std::net::IpAddr;

use super::handshake::{Destination, Taken};
use super::{Credentials, UpstreamProxy};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
/// The version of the negotiation of user name and password.
const NEGOTIATION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// A handshake with a SOCKS5 proxy.
#[derive(Debug)]
pub(super) struct Socks5 {
    credentials: Option<Credentials>,
    awaits: Awaits,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    /// The choice of a method.
    Method,
    /// The answer to user name and password.
    Verdict,
    /// The answer to the request.
    Reply,
}

impl Socks5 {
    /// Appends the greeting.
    pub(super) fn new(proxy: &UpstreamProxy, output: &mut Vec<u8>) -> Self {
        let credentials = proxy.credentials.clone();
        match credentials {
            None => output.extend([VERSION, 1, NO_AUTHENTICATION]),
            Some(_) => output.extend([VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD]),
        }
        Socks5 { credentials, awaits: Awaits::Method }
    }

    pub(super) fn advance(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        to: &Destination,
    ) -> Result<Taken, String> {
        let mut taken = Taken::default();
        loop {
            let rest = input.get(taken.bytes..).unwrap_or_default();
            let used = match self.awaits {
                Awaits::Method => self.take_method(rest, output, to)?,
                Awaits::Verdict => self.take_verdict(rest, output, to)?,
                Awaits::Reply => {
                    let used = take_reply(rest, to)?;
                    taken.done = used.is_some();
                    used
                }
            };
            let Some(used) = used else { return Ok(taken) };
            taken.bytes = taken.bytes.saturating_add(used);
            if taken.done {
                return Ok(taken);
            }
        }
    }

    /// The method that the proxy has chosen (RFC 1928 section 3).
    fn take_method(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        to: &Destination,
    ) -> Result<Option<usize>, String> {
        check_version(input)?;
        let [_, method, ..] = input else { return Ok(None) };
        match (*method, &self.credentials) {
            (NO_AUTHENTICATION, _) => self.request(output, to)?,
            (USER_AND_PASSWORD, Some(Credentials { user, password })) => {
                output.push(NEGOTIATION);
                for secret in [user, password] {
                    output.push(length(secret)?);
                    output.extend_from_slice(secret);
                }
                self.awaits = Awaits::Verdict;
            }
            (_, None) => {
                return Err("wants a user name and password: give them in its URL (SOCKS5 takes \
                            no request without)"
                    .to_owned());
            }
            (_, Some(_)) => {
                return Err("takes no user name and password, but another kind of SOCKS5 \
                            authentication, which is not supported"
                    .to_owned());
            }
        }
        Ok(Some(2))
    }

    /// Whether user name and password are right (RFC 1929 section 2).
    fn take_verdict(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        to: &Destination,
    ) -> Result<Option<usize>, String> {
        match input {
            // Some proxies answer with the version of SOCKS.
            [NEGOTIATION | VERSION, 0, ..] => {}
            [NEGOTIATION | VERSION, _, ..] => {
                let reason = "does not take the user name and password of its URL (SOCKS5)";
                return Err(reason.to_owned());
            }
            [] | [NEGOTIATION | VERSION] => return Ok(None),
            _ => return Err(NO_SOCKS5.to_owned()),
        }
        self.request(output, to)?;
        Ok(Some(2))
    }

    /// Appends the request (RFC 1928 section 4).
    fn request(&mut self, output: &mut Vec<u8>, to: &Destination) -> Result<(), String> {
        self.awaits = Awaits::Reply;
        output.extend([VERSION, CONNECT, 0]);
        let (address, port) = match to {
            Destination::Address(address) => (Some(address.ip()), address.port()),
            Destination::Host(host) => (host.host.parse().ok(), host.port),
        };
        match (address, to) {
            (Some(IpAddr::V4(address)), _) => {
                output.push(IPV4);
                output.extend_from_slice(&address.octets());
            }
            (Some(IpAddr::V6(address)), _) => {
                output.push(IPV6);
                output.extend_from_slice(&address.octets());
            }
            (None, Destination::Host(host)) => {
                let name = host.host.as_bytes();
                output.extend([NAME, length(name)?]);
                output.extend_from_slice(name);
            }
            (None, Destination::Address(_)) => {}
        }
        output.extend_from_slice(&port.to_be_bytes());
        Ok(())
    }
}

fn length(text: &[u8]) -> Result<u8, String> {
    u8::try_from(text.len()).map_err(|_| "can be told no more than 255 bytes by SOCKS5".to_owned())
}

const NO_SOCKS5: &str = "does not answer as SOCKS5 does";

fn check_version(input: &[u8]) -> Result<(), String> {
    match input.first() {
        None | Some(&VERSION) => Ok(()),
        Some(_) => Err(NO_SOCKS5.to_owned()),
    }
}

/// The answer to the request (RFC 1928 section 6): how long it was.
fn take_reply(input: &[u8], to: &Destination) -> Result<Option<usize>, String> {
    check_version(input)?;
    let Some(code) = input.get(1) else { return Ok(None) };
    if *code != 0 {
        // What follows tells nothing, and some proxies leave it out.
        return Err(format!("cannot reach {to}: {} (SOCKS5 reply {code})", reason(*code)));
    }
    let (Some(kind), Some(first)) = (input.get(3), input.get(4)) else { return Ok(None) };
    let address = match *kind {
        IPV4 => size_of::<std::net::Ipv4Addr>(),
        IPV6 => size_of::<std::net::Ipv6Addr>(),
        NAME => 1 + usize::from(*first),
        _ => return Err(NO_SOCKS5.to_owned()),
    };
    let whole = 4 + address + size_of::<u16>();
    Ok((input.len() >= whole).then_some(whole))
}

fn reason(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "it does not know the command",
        8 => "it does not know the type of address",
        _ => "unknown failure",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::record::Authority;
    use crate::upstream::Handshake;

    fn host(host: &str) -> Destination {
        Destination::Host(Arc::new(Authority { host: host.to_owned(), port: 0x1f90 }))
    }

    /// Plays the answers of a proxy, each split after `split` bytes: what was sent, and what came
    /// of it.
    fn play(
        url: &str,
        to: Destination,
        answers: &[&[u8]],
        split: usize,
    ) -> (Vec<Vec<u8>>, Result<Vec<u8>, String>) {
        let mut output = Vec::new();
        let mut handshake = Handshake::new(&UpstreamProxy::parse(url).unwrap(), to, &mut output);
        let mut sent = vec![std::mem::take(&mut output)];
        let (mut input, mut done) = (Vec::new(), false);
        for answer in answers {
            let (first, second) = answer.split_at(split.min(answer.len()));
            for part in [first, second] {
                input.extend_from_slice(part);
                if done {
                    continue;
                }
                match handshake.advance(&input, &mut output) {
                    Ok(taken) => {
                        input.drain(..taken.bytes);
                        done = taken.done;
                    }
                    Err(error) => return (sent, Err(error)),
                }
                if !output.is_empty() {
                    sent.push(std::mem::take(&mut output));
                }
            }
        }
        let result = if done { Ok(input) } else { Err("it waits".to_owned()) };
        (sent, result)
    }

    const GRANTED: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";

    #[test]
    fn without_credentials_the_request_follows_the_choice_of_a_method() {
        let wanted: [(Destination, &[u8]); 4] = [
            (host("a.example"), b"\x05\x01\x00\x03\x09a.example\x1f\x90"),
            (host("192.0.2.1"), b"\x05\x01\x00\x01\xc0\x00\x02\x01\x1f\x90"),
            (host("::1"), b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1f\x90"),
            (
                Destination::Address("192.0.2.1:8080".parse().unwrap()),
                b"\x05\x01\x00\x01\xc0\x00\x02\x01\x1f\x90",
            ),
        ];
        let replies: [&[u8]; 3] = [
            GRANTED,
            b"\x05\x00\x00\x03\x05local\x00\x50",
            b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        ];
        for ((to, request), reply) in wanted.iter().zip(replies.iter().cycle()) {
            let reply = [*reply, b"220 hello"].concat();
            for split in 0..=reply.len() {
                let answers: [&[u8]; 2] = [b"\x05\x00", &reply];
                let (sent, result) = play("socks5h://p", to.clone(), &answers, split);
                assert_eq!(sent, [b"\x05\x01\x00".to_vec(), request.to_vec()]);
                assert_eq!(result, Ok(b"220 hello".to_vec()), "{split}");
            }
        }
    }

    #[test]
    fn user_name_and_password_are_shown_when_they_are_asked_for() {
        for split in 0..=GRANTED.len() {
            let answers: [&[u8]; 3] = [b"\x05\x02", b"\x01\x00", GRANTED];
            let (sent, result) = play("socks5://user:pass@p", host("a"), &answers, split);
            assert_eq!(
                sent,
                [
                    b"\x05\x02\x00\x02".to_vec(),
                    b"\x01\x04user\x04pass".to_vec(),
                    b"\x05\x01\x00\x03\x01a\x1f\x90".to_vec()
                ]
            );
            assert_eq!(result, Ok(Vec::new()), "{split}");
            let answers: [&[u8]; 2] = [b"\x05\x00", GRANTED];
            let (sent, result) = play("socks5://user:pass@p", host("a"), &answers, split);
            assert_eq!((sent.len(), result), (2, Ok(Vec::new())));
        }
    }

    #[test]
    fn refusals_and_other_protocols_are_told_wherever_they_are_split() {
        let cases: [(&str, &[&[u8]], &str); 11] = [
            ("socks5://p", &[b"\x05\xff"], "wants a user name and password"),
            ("socks5://p", &[b"\x05\x02"], "wants a user name and password"),
            ("socks5://u:p@p", &[b"\x05\xff"], "another kind of SOCKS5 authentication"),
            ("socks5://u:p@p", &[b"\x05\x02", b"\x01\x01"], "does not take the user name"),
            ("socks5://u:p@p", &[b"\x05\x02", b"HT"], NO_SOCKS5),
            ("socks5://p", &[b"HTTP/1.1 400 Bad Request\r\n\r\n"], NO_SOCKS5),
            ("socks5://p", &[b"\x05\x00", b"\x04\x00\x00\x01"], NO_SOCKS5),
            ("socks5://p", &[b"\x05\x00", b"\x05\x00\x00\x02\x00"], NO_SOCKS5),
            ("socks5://p", &[b"\x05\x00", b"\x05\x05"], "a:8080: connection refused (SOCKS5"),
            ("socks5://p", &[b"\x05\x00", b"\x05\x02\x00\x01"], "rules do not allow"),
            ("socks5://p", &[b"\x05\x00", b"\x05\xfe"], "unknown failure (SOCKS5 reply 254)"),
        ];
        for (url, answers, words) in cases {
            for split in 0..4 {
                let (_, result) = play(url, host("a"), answers, split);
                let error = result.unwrap_err();
                assert!(error.contains(words), "{split} {answers:?}: {error}");
            }
        }
    }
}
