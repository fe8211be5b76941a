//! Looking names up: the files of the machine, and what name servers say.

use std::net::IpAddr;
use std::time::Instant;

use flowtap::limits::{DNS_ATTEMPTS, DNS_SEARCH_DOMAINS, DNS_SERVERS};
use flowtap::names::config::Config;
use flowtap::names::hosts_file;
use flowtap::names::lookup::{Lookup, Step};

/// A look-up ends, whatever servers say and files hold, and finds no address that nobody has said.
/// The input: the name, the files of hosts and of servers, and what servers say, with 0xff between
/// two of them; what begins with `=` stands behind the question, its next two bytes being the
/// flags.
pub fn name_lookup(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0xff);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (name, hosts, config) =
        (text(), text(), Config::read(&text(), &|name| u32::try_from(name.len()).ok()));
    let said: Vec<&[u8]> = parts.collect();

    let found = hosts_file::addresses(hosts.as_bytes(), &name);
    let more = format!("{hosts}\n127.0.0.1 other-{name}\n");
    assert_eq!(found, hosts_file::addresses(more.as_bytes(), &name));

    assert!((1..=DNS_SERVERS).contains(&config.servers.len()));
    let mut now = Instant::now();
    let Ok(mut lookup) = Lookup::new(&name, &config, now, || 0x1234) else { return };
    let (mut told, mut turns) = (Vec::new(), 0);
    let found = loop {
        let (messages, until) = match lookup.step(now) {
            Step::Done(found) => break found,
            Step::Ask { messages, until, .. } => (messages, until),
        };
        assert!(until > now && (1..=2).contains(&messages.len()));
        turns += 1;
        // Once more each, over TCP.
        let most = DNS_SERVERS * (DNS_ATTEMPTS + 1) * (DNS_SEARCH_DOMAINS + 1);
        assert!(turns <= most, "{turns} questions");
        let answers = said.iter().flat_map(|said| answers(said, &messages));
        let mut is_enough = false;
        for answer in answers {
            is_enough = lookup.received(&answer);
            told.push(answer);
            if is_enough {
                break;
            }
        }
        if !is_enough {
            now = until;
        }
    };
    for address in found.unwrap_or_default() {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let is_told = told.iter().any(|it| it.windows(bytes.len()).any(|part| part == bytes));
        assert!(is_told, "{address} is in no message");
    }
}

/// The messages that a part of the input stands for.
fn answers(said: &[u8], questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let [b'=', high, low, records @ ..] = said else { return vec![said.to_vec()] };
    let answer = |question: &Vec<u8>| {
        let mut message = question.clone();
        message[2..4].copy_from_slice(&[high | 0x80, *low]);
        message[7] = 9;
        // The answers to both questions may have both families' records.
        message.extend(records);
        message
    };
    questions.iter().map(answer).collect()
}
