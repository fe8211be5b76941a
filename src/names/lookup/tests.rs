//! Look-ups with servers that are functions.

use super::*;
use crate::limits::DNS_SERVERS;
use std::time::Duration;

fn config(servers: usize) -> Config {
    let server = |number: u8| SocketAddr::from(([127, 0, 0, number], 53));
    Config { servers: (1..=servers as u8).map(server).collect(), ..Config::default() }
}

/// An answer to a question: flags, and an address for the name of the question's own type.
fn reply(question: &[u8], flags: u16, last: Option<u8>) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2..4].copy_from_slice(&(0x8000 | flags).to_be_bytes());
    let Some(last) = last else { return message };
    message[7] = 1;
    let is_v6 = question[question.len() - 3] == 28;
    message.extend([0xc0, 0x0c, 0, if is_v6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 0, 0]);
    match is_v6 {
        true => {
            message.push(16);
            message.extend([0; 15]);
        }
        false => message.extend([4, 127, 0, 0]),
    }
    message.push(last);
    message
}

/// The name in a question, with dots.
fn asked(question: &[u8]) -> String {
    let (mut labels, mut at) = (Vec::new(), 12);
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
        at = end;
    }
    labels.join(".")
}

fn count() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NUMBER: AtomicU16 = AtomicU16::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

type Ask = (SocketAddr, bool, Vec<u8>);

/// Looks a name up with servers that answer by `serve`, or not at all; who was asked what.
fn look_up(
    name: &str,
    config: &Config,
    serve: impl Fn(&Ask) -> Option<Vec<u8>>,
) -> (Result<Vec<IpAddr>, String>, Vec<Ask>) {
    let mut now = Instant::now();
    let mut lookup = Lookup::new(name, config, now, count).unwrap();
    let mut asks = Vec::new();
    for _ in 0..1_000 {
        match lookup.step(now) {
            Step::Done(found) => return (found, asks),
            Step::Ask { server, over_tcp, messages, until } => {
                assert!(!messages.is_empty() && until > now);
                let mut enough = false;
                for message in messages {
                    asks.push((server, over_tcp, message));
                    let answer = serve(asks.last().unwrap());
                    enough = answer.is_some_and(|answer| lookup.received(&answer));
                }
                if !enough {
                    now = until;
                }
            }
        }
    }
    panic!("no end after {} questions", asks.len());
}

fn names_of(asks: &[Ask]) -> Vec<String> {
    let mut names: Vec<_> = asks.iter().map(|(.., message)| asked(message)).collect();
    names.dedup();
    names
}

fn addresses(list: &[&str]) -> Result<Vec<IpAddr>, String> {
    Ok(list.iter().map(|address| address.parse().unwrap()).collect())
}

#[test]
fn both_families_are_asked_for_at_once() {
    let (found, asks) = look_up("a.example", &config(2), |it| Some(reply(&it.2, 0, Some(1))));
    assert_eq!(found, addresses(&["::1", "127.0.0.1"]));
    assert_eq!(asks.len(), 2);
}

#[test]
fn another_server_is_asked_when_one_is_silent_or_has_failed() {
    let second = config(2).servers[1];
    let failing = |it: &Ask| Some(reply(&it.2, if it.0 == second { 0 } else { 2 }, Some(1)));
    assert!(look_up("a.example", &config(2), failing).0.is_ok());
    let silent = |it: &Ask| (it.0 == second).then(|| reply(&it.2, 0, Some(1)));
    let (found, asks) = look_up("a.example", &config(2), silent);
    assert!(found.is_ok() && asks.len() == 4, "{asks:?}");
    let (found, asks) = look_up("a.example", &config(2), |_| None);
    let error = found.unwrap_err();
    assert!(error.contains("127.0.0.1:53, 127.0.0.2:53"), "{error}");
    assert_eq!(asks.len(), 2 * 2 * 2);
}

#[test]
fn addresses_of_one_family_do_when_the_other_is_never_answered() {
    let v4_alone = |it: &Ask| {
        let is_v4 = it.2[it.2.len() - 3] == 1;
        is_v4.then(|| reply(&it.2, 0, Some(1)))
    };
    let (found, asks) = look_up("a.example", &config(1), v4_alone);
    assert_eq!((found, asks.len()), (addresses(&["127.0.0.1"]), 2));
}

#[test]
fn a_cut_answer_is_asked_for_over_tcp_from_the_same_server() {
    let serve = |it: &Ask| match it.1 {
        false => Some(reply(&it.2, 0x0200, None)),
        true => Some(reply(&it.2, 0, Some(1))),
    };
    let one_attempt = Config { attempts: 1, ..config(1) };
    let (found, asks) = look_up("a.example", &one_attempt, serve);
    assert_eq!((found, asks.len()), (addresses(&["::1", "127.0.0.1"]), 4));
    let (found, asks) = look_up("a", &config(1), |it| Some(reply(&it.2, 0x0200, None)));
    assert!(found.is_err() && asks.len() <= 6, "{asks:?}");
}

#[test]
fn a_cut_answer_for_one_family_is_not_given_up_for_the_other() {
    let is_v6 = |it: &Ask| it.2[it.2.len() - 3] == 28;
    let serve = |it: &Ask| match it.1 || is_v6(it) {
        false => Some(reply(&it.2, 0x0200, None)),
        true => Some(reply(&it.2, 0, Some(1))),
    };
    let (found, asks) = look_up("a.example", &config(1), serve);
    assert_eq!((found, asks.len()), (addresses(&["::1", "127.0.0.1"]), 3));
    // A server that says nothing over TCP hides no address of the other family.
    let (found, _) = look_up("a.example", &config(1), |it| (!it.1).then(|| serve(it)).flatten());
    assert_eq!(found, addresses(&["::1"]));
}

#[test]
fn a_name_that_does_not_exist_and_one_without_addresses_are_told_apart() {
    let (found, _) = look_up("a.example", &config(1), |it| Some(reply(&it.2, 3, None)));
    assert_eq!(found, Err("it does not exist".to_owned()));
    let (found, _) = look_up("a.example", &config(1), |it| Some(reply(&it.2, 0, None)));
    assert_eq!(found, Err("it has no addresses".to_owned()));
}

#[test]
fn domains_of_the_search_come_before_or_after_the_name_by_its_dots() {
    let search = vec!["b.example".to_owned(), "c.example".to_owned()];
    let config = Config { search, ..config(1) };
    let names = |name: &str| names_of(&look_up(name, &config, |it| Some(reply(&it.2, 3, None))).1);
    assert_eq!(names("a"), ["a.b.example", "a.c.example", "a"]);
    assert_eq!(names("a.x"), ["a.x", "a.x.b.example", "a.x.c.example"]);
    assert_eq!(names("a."), ["a"]);
    let in_c = |it: &Ask| {
        let is_found = asked(&it.2) == "a.c.example";
        Some(reply(&it.2, if is_found { 0 } else { 3 }, is_found.then_some(7)))
    };
    assert_eq!(look_up("a", &config, in_c).0, addresses(&["::7", "127.0.0.7"]));
}

#[test]
fn a_domain_of_the_search_that_fails_does_not_hide_the_others() {
    let search = vec!["b.example".to_owned(), "c.example".to_owned()];
    let config = Config { search, ..config(2) };
    for code in [None, Some(2)] {
        let only = |there: &'static str| {
            move |it: &Ask| match asked(&it.2) {
                name if name == there => Some(reply(&it.2, 0, Some(7))),
                name if name == "a.b.example" => code.map(|code| reply(&it.2, code, None)),
                _ => Some(reply(&it.2, 3, None)),
            }
        };
        for there in ["a.c.example", "a"] {
            let (found, asks) = look_up("a", &config, only(there));
            assert_eq!(found, addresses(&["::7", "127.0.0.7"]), "{code:?} {there}");
            assert_eq!(names_of(&asks).last().unwrap(), there);
        }
        // What could not be told is not told as what is not.
        let error = look_up("a", &config, only("nowhere")).0.unwrap_err();
        assert!(error.contains("no name server has an answer"), "{code:?}: {error}");
    }
    let slow = Config { timeout: Duration::from_secs(20), ..config };
    assert!(look_up("a", &slow, |_| None).1.len() <= 4, "the time is that of all names");
}

#[test]
fn a_name_that_does_not_exist_for_one_family_does_not_for_the_other() {
    let v4_alone = |it: &Ask| (it.2[it.2.len() - 3] == 1).then(|| reply(&it.2, 3, None));
    let (found, asks) = look_up("a.example", &config(2), v4_alone);
    assert_eq!((found, asks.len()), (Err("it does not exist".to_owned()), 2));
}

#[test]
fn answers_to_other_questions_are_passed_over() {
    let forged = |it: &Ask| {
        let mut answer = reply(&it.2, 0, Some(1));
        answer[0] ^= 1;
        Some(answer)
    };
    assert!(look_up("a.example", &config(1), forged).0.is_err());
    let now = Instant::now();
    let config = config(1);
    let mut lookup = Lookup::new("a.example", &config, now, count).unwrap();
    let Step::Ask { messages, .. } = lookup.step(now) else { panic!("no question") };
    let mut answer = reply(&messages[0], 0, Some(1));
    answer[13] = b'b';
    assert!(!lookup.received(&answer) && !lookup.received(b"") && !lookup.received(b"text"));
    assert!(!lookup.received(&reply(&messages[1], 0, Some(1))));
    assert!(lookup.received(&reply(&messages[0], 0, Some(1))));
}

#[test]
fn a_look_up_ends_in_time_and_names_that_dns_cannot_have_are_refused() {
    let slow = Config { timeout: Duration::from_secs(30), attempts: 5, ..config(DNS_SERVERS) };
    let (found, asks) = look_up("a.example", &slow, |_| None);
    assert!(found.is_err() && asks.len() <= 4, "{asks:?}");
    for bad in ["", "a..b", "\u{e9}.example"] {
        assert!(Lookup::new(bad, &slow, Instant::now(), count).is_err(), "{bad:?}");
    }
    let nobody = Config { servers: Vec::new(), ..config(0) };
    assert!(look_up("a.example", &nobody, |_| None).0.is_err());
}
