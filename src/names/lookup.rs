//! One look-up in DNS: which question goes to which server when, and what comes of the answers.
//!
//! It knows no socket: [`Lookup::step`] says whom to ask, [`Lookup::received`] takes what came.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::limits::{DIAL_ADDRESSES, DNS_LOOKUP_TIME};

use super::config::Config;
use super::message::{Answer, Family, Name, answer, question};

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These messages are to be sent to this server, and what it says given to
    /// [`Lookup::received`] until that has enough, or until this time; then comes the next step.
    Ask {
        /// The server.
        server: SocketAddr,
        /// Over TCP, with the length before each message; else a datagram each.
        over_tcp: bool,
        /// The questions.
        messages: Vec<Vec<u8>>,
        /// When to give up.
        until: Instant,
    },
    /// The addresses, at least one; or why there are none.
    Done(Result<Vec<IpAddr>, String>),
}

/// One of the two questions for a name.
#[derive(Debug)]
struct Question {
    family: Family,
    id: u16,
    /// What has been found, once the question is settled.
    found: Option<Vec<IpAddr>>,
    /// Whether the server that is asked now may still answer.
    waits: bool,
    /// Whether its answer was cut, and is to be asked for over TCP.
    cut: bool,
}

/// A look-up that is under way.
#[derive(Debug)]
pub struct Lookup<'a> {
    config: &'a Config,
    random: fn() -> u16,
    end: Instant,
    /// The name that is asked for, and those to ask for when it has no addresses, the next last.
    name: Name,
    others: Vec<Name>,
    questions: [Question; 2],
    /// How many times a server was asked for this name.
    turn: usize,
    over_tcp: bool,
    /// Whether one of the names is there, though without addresses.
    exists: bool,
    /// Whether a server has said that the name asked for does not exist.
    missing: bool,
    /// Whether no server had an answer for one of the names.
    unanswered: bool,
}

impl<'a> Lookup<'a> {
    /// Begins to look a name up; `random` gives the numbers by which answers are known.
    ///
    /// # Errors
    /// When it is no name that DNS could have.
    pub fn new(
        name: &str,
        config: &'a Config,
        now: Instant,
        random: fn() -> u16,
    ) -> Result<Self, String> {
        let mut others = candidates(name, config);
        let name = others.pop().ok_or("it is no host name")?;
        Ok(Lookup {
            config,
            random,
            end: now + DNS_LOOKUP_TIME,
            name,
            others,
            questions: questions(random),
            turn: 0,
            over_tcp: config.over_tcp,
            exists: false,
            missing: false,
            unanswered: false,
        })
    }

    /// What to do now.
    pub fn step(&mut self, now: Instant) -> Step {
        loop {
            let found = self.questions.iter().filter_map(|question| question.found.as_ref());
            let found: Vec<IpAddr> = found.flatten().copied().take(DIAL_ADDRESSES).collect();
            let is_cut = self.questions.iter().any(|question| question.cut) && now < self.end;
            // Addresses of one family do, rather than waiting for a server that hides the other.
            if !found.is_empty() && !is_cut {
                return Step::Done(Ok(found));
            }
            // A name that does not exist has no addresses of the other family either (RFC 8020).
            let is_settled =
                self.missing || self.questions.iter().all(|question| question.found.is_some());
            let servers = &self.config.servers;
            let is_over = self.turn >= servers.len() * self.config.attempts;
            if !is_settled && !is_over && now < self.end {
                let Some(server) = servers.get(self.turn % servers.len().max(1)).copied() else {
                    return Step::Done(Err(self.reason()));
                };
                self.turn += 1;
                return self.ask(server, now);
            }
            // One domain of the search whose servers fail does not hide the names of others.
            self.unanswered |= !is_settled;
            let Some(name) = self.others.pop().filter(|_| now < self.end) else {
                return Step::Done(Err(self.reason()));
            };
            self.name = name;
            self.questions = questions(self.random);
            self.missing = false;
            self.turn = 0;
            self.over_tcp = self.config.over_tcp;
        }
    }

    /// Why there are no addresses.
    fn reason(&self) -> String {
        if self.unanswered {
            let servers: Vec<_> = self.config.servers.iter().map(ToString::to_string).collect();
            return format!("no name server has an answer (asked: {})", servers.join(", "));
        }
        if self.exists { "it has no addresses" } else { "it does not exist" }.to_owned()
    }

    fn ask(&mut self, server: SocketAddr, now: Instant) -> Step {
        let mut messages = Vec::new();
        for asked in self.questions.iter_mut().filter(|question| question.found.is_none()) {
            asked.waits = true;
            asked.cut = false;
            messages.push(question(asked.id, &self.name, asked.family));
        }
        let until = (now + self.config.timeout).min(self.end);
        Step::Ask { server, over_tcp: self.over_tcp, messages, until }
    }

    /// Takes a message that came from the server. Gives true when it has said enough.
    pub fn received(&mut self, message: &[u8]) -> bool {
        for question in self.questions.iter_mut().filter(|question| question.waits) {
            let Some(answer) = answer(message, question.id, &self.name, question.family) else {
                continue;
            };
            question.waits = false;
            match answer {
                Answer::Addresses(found) => {
                    self.exists = true;
                    question.found = Some(found);
                }
                Answer::NoSuchName => {
                    self.missing = true;
                    question.found = Some(Vec::new());
                }
                Answer::Cut if !self.over_tcp => {
                    // The same server again, which has not failed.
                    question.cut = true;
                    self.over_tcp = true;
                    self.turn = self.turn.saturating_sub(1);
                }
                Answer::Cut | Answer::Failed(_) => {}
            }
            break;
        }
        !self.questions.iter().any(|question| question.waits)
    }
}

fn questions(random: fn() -> u16) -> [Question; 2] {
    let ask = |family| Question { family, id: random(), found: None, waits: false, cut: false };
    [ask(Family::V6), ask(Family::V4)]
}

/// The names to ask for, the first one last: the name as it is, and with each domain of the
/// search behind it. Enough dots, or one at the end, make it first.
fn candidates(name: &str, config: &Config) -> Vec<Name> {
    let is_whole = name.ends_with('.');
    let own = Name::parse(name);
    let domains = config.search.iter().rev().filter(|_| !is_whole && own.is_some());
    let searched = domains.filter_map(|domain| Name::parse(&format!("{name}.{domain}")));
    let dots = name.bytes().filter(|byte| *byte == b'.').count();
    let mut names: Vec<Name> = searched.collect();
    if is_whole || dots >= config.ndots {
        names.extend(own);
    } else if let Some(own) = own {
        names.insert(0, own);
    }
    names
}

#[cfg(test)]
mod tests;
