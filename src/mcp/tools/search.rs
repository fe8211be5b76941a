//! Searching flows for a pattern.

use regex::Regex;
use serde_json::Value;

use crate::flow::head::{Field, HeadText};
use crate::flow::record::{Direction, Side};
use crate::flow::redact::Redactor;
use crate::flow::stored::{StoredFlow, StoredMessage};
use crate::limits::{REPLY_CHARS, REPLY_MOST_CHARS};
use crate::mcp::tools::Work;
use crate::mcp::tools::body::{content_type, decoded};
use crate::mcp::tools::messages::{is_text_message, masked_text};
use crate::mcp::tools::reply::{Failure, Outcome, Reply, json_chars};
use crate::mcp::tools::select::{each, excerpt, filter, going_on, matches, pattern};
use crate::mcp::tools::shown::{Brief, Shown, message, url};

/// Matches that are shown of one flow.
const SHOWN_MATCHES: usize = 3;
/// Matches that are counted in one flow.
const COUNTED_MATCHES: usize = 1_000;

pub(super) fn search_flows(work: &Work<'_>) -> Outcome {
    let arguments = work.arguments;
    let text = arguments.required_text("pattern")?;
    let limit = arguments.size("limit", 1..=500)?;
    let offset = arguments.size("offset", 0..=usize::MAX)?.unwrap_or(0);
    let search = Search {
        pattern: &pattern("pattern", text)?,
        is_literal: is_literal(text),
        redactor: &work.options.redactor,
        around: arguments.size("context", 0..=1_000)?.unwrap_or(40),
        by_host: work.options.showhost,
    };
    let (in_head, in_body) = match arguments.text("in")? {
        None | Some("head") => (true, false),
        Some("body") => (false, true),
        Some("all") => (true, true),
        Some(_) => {
            return Err(Failure::new("the argument \"in\" must be \"head\", \"body\" or \"all\""));
        }
    };
    let filter = filter(arguments, "filter")?;
    // Who asks for many has asked for a long reply.
    let most_chars = if limit.is_some_and(|it| it > 50) { REPLY_MOST_CHARS } else { REPLY_CHARS };
    let limit = limit.unwrap_or(50);
    let (mut lines, mut chars, mut skipped, mut is_more) = (Vec::new(), 0, 0, false);
    each(work.call.cancellation, work.tools.store().snapshot(), |flow| {
        let matched = filter.as_ref().is_none_or(|it| matches(it, &flow, &work.options.redactor));
        if !matched {
            return true;
        }
        let mut found = Found::default();
        if in_head && search.may_be_in_head(&flow) {
            search.head(&Shown::new(&flow, &work.options), &mut found);
        }
        if in_body {
            search.bodies(&flow, &mut found);
        }
        if found.count == 0 {
            return true;
        }
        if skipped < offset {
            skipped += 1;
            return true;
        }
        let line = found.line(&Brief::new(&flow, &work.options));
        chars += json_chars(&line);
        is_more = lines.len() == limit || (chars > most_chars && !lines.is_empty());
        if !is_more {
            lines.push(line);
        }
        !is_more
    })?;
    let mut reply = Reply::default();
    reply.put("pattern", text);
    reply.put("count", lines.len());
    if is_more {
        reply.put("next", going_on(work, &[("offset", offset + lines.len())]));
        reply.put("note", "more flows match");
    } else if lines.is_empty() {
        put_nothing(work, &mut reply, in_body);
    }
    reply.put("flows", lines);
    reply.untrusted("flows");
    Ok(reply)
}

fn put_nothing(work: &Work<'_>, reply: &mut Reply, in_body: bool) {
    let kept = work.tools.store().count();
    if in_body {
        reply.put("note", format!("nothing matches in the {kept} flows that are kept"));
        return;
    }
    reply.put("note", format!("nothing matches in the heads of the {kept} flows that are kept"));
    let mut next = going_on(work, &[]);
    if let Some(next) = next.as_object_mut() {
        next.insert("in".to_owned(), "all".into());
    }
    reply.put("next", next);
}

/// What was found in one flow.
#[derive(Default)]
struct Found {
    shown: Vec<String>,
    count: usize,
}

impl Found {
    fn add(&mut self, place: impl FnOnce() -> String) {
        self.count += 1;
        if self.shown.len() < SHOWN_MATCHES {
            self.shown.push(place());
        }
    }

    fn line(self, flow: &Brief<'_>) -> Value {
        let mut line = flow.summary();
        if self.count > self.shown.len() {
            line.insert("more_matches".to_owned(), (self.count - self.shown.len()).into());
        }
        line.insert("matches".to_owned(), self.shown.into());
        line.into()
    }
}

struct Search<'a> {
    pattern: &'a Regex,
    /// Whether what it finds in a masked text it finds in the text as it came as well, whatever
    /// the secrets in there are.
    is_literal: bool,
    redactor: &'a Redactor,
    /// Characters shown around a match.
    around: usize,
    /// Whether URLs show the Host field.
    by_host: bool,
}

impl Search<'_> {
    /// Whether the pattern may occur in the masked heads. Masking is dear, so a literal is looked
    /// for in the heads as they came first. Any other pattern could match a mask, and then depend
    /// on the secret behind it: who may not read a secret may not find out about it by searching
    /// for it either.
    fn may_be_in_head(&self, flow: &StoredFlow) -> bool {
        if !self.is_literal {
            return true;
        }
        let request = HeadText::read(&flow.request.head);
        let line = format!("{} {}", request.request_line().0, url(flow, self.by_host));
        let in_fields = |head: &HeadText| {
            let mut lines = head.fields.iter().map(field_line);
            lines.any(|line| self.pattern.is_match(&line))
        };
        if self.pattern.is_match(&line) || in_fields(&request) {
            return true;
        }
        let Some(response) = &flow.response else { return false };
        let response = HeadText::read(&response.head);
        self.pattern.is_match(&status_text(&response)) || in_fields(&response)
    }

    fn head(&self, flow: &Shown<'_>, found: &mut Found) {
        self.line("request", &format!("{} {}", flow.method, flow.url), found);
        if let Some(request) = flow.head(Side::Request) {
            self.fields("request", request, found);
        }
        if let Some(response) = flow.head(Side::Response) {
            self.line("response", &status_text(response), found);
            self.fields("response", response, found);
        }
    }

    fn fields(&self, side: &str, head: &HeadText, found: &mut Found) {
        for field in &head.fields {
            self.line(side, &field_line(field), found);
        }
    }

    fn line(&self, place: &str, line: &str, found: &mut Found) {
        if let Some(hit) = self.pattern.find(line) {
            found
                .add(|| format!("{place}: {}", excerpt(line, hit.start(), hit.end(), self.around)));
        }
    }

    fn bodies(&self, flow: &StoredFlow, found: &mut Found) {
        for (side, place) in [(Side::Request, "request body"), (Side::Response, "response body")] {
            if let Some(message) = message(flow, side) {
                self.body(place, message, found);
            }
        }
        let Some(socket) = &flow.websocket else { return };
        for (number, message) in socket.messages.iter().enumerate() {
            if !is_text_message(message) {
                continue;
            }
            let text = masked_text(message, self.redactor);
            let from = match message.direction {
                Direction::Send => "client",
                Direction::Receive => "server",
            };
            let number = number as u64 + socket.left_out;
            self.line(&format!("message {number} from {from}"), &text, found);
        }
    }

    fn body(&self, place: &str, message: &StoredMessage, found: &mut Found) {
        if message.body.pieces.is_empty() {
            return;
        }
        let head = HeadText::read(&message.head);
        let (body, content_type) = (decoded(&message.body, &head), content_type(&head));
        // What cannot be decoded cannot be masked.
        if body.is_coded && self.redactor.is_on() {
            return;
        }
        let Some(text) = body.text(content_type) else { return };
        // As with heads.
        if self.is_literal && !self.pattern.is_match(&text) {
            return;
        }
        let masked = self.redactor.text(content_type, &text);
        let (mut line, mut counted_to) = (1, 0);
        for hit in self.pattern.find_iter(&masked).filter(|hit| !hit.is_empty()) {
            if found.count >= COUNTED_MATCHES {
                return;
            }
            let start = hit.start();
            let between = masked.get(counted_to..start).unwrap_or_default();
            line += between.matches('\n').count();
            counted_to = start;
            found.add(|| {
                let begin =
                    masked.get(..start).and_then(|it| it.rfind('\n')).map_or(0, |at| at + 1);
                let rest = masked.get(begin..).unwrap_or_default();
                let text = rest.lines().next().unwrap_or_default();
                let end = (hit.end() - begin).min(text.len());
                let part = excerpt(text, start - begin, end, self.around);
                format!("{place} line {line} offset {start}: {part}")
            });
        }
    }
}

/// Whether a pattern is plain text that no mask has a part of. Its letters may be escaped.
fn is_literal(pattern: &str) -> bool {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let is_plain = match letter {
            '\\' => letters.next().is_some_and(|escaped| "./?+()[]{}|^$-\\".contains(escaped)),
            letter => !".?*+()[]{}|^$".contains(letter),
        };
        if !is_plain {
            return false;
        }
    }
    true
}

fn field_line(field: &Field) -> String {
    format!("{}: {}", field.name, field.value)
}

fn status_text(response: &HeadText) -> String {
    let (_, status, reason) = response.status_line();
    format!("{status} {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_told_from_patterns() {
        for literal in ["", "token=abc", "a\\.example\\/x\\?q", "caf\u{e9} #1", "\"user\""] {
            assert!(is_literal(literal), "{literal}");
        }
        for pattern in ["a.b", "a|b", "^a", "\\*\\*", "\\w", "[a]", "a+", "(?i)a", "\\b", "a\\"] {
            assert!(!is_literal(pattern), "{pattern}");
        }
    }
}
