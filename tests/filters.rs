//! Filter expressions against the answers of mitmproxy's own filters, which
//! `tests/filters/record.py` has recorded.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use flowtap::flow::filter::Filter;
use flowtap::flow::record::{Authority, Direction, Opcode, Scheme};
use flowtap::flow::stored::StoredWebSocketMessage;
use flowtap::flow::view::{BodyView, FlowView, MessageView};
use serde_json::Value;

/// How flowtap means to differ from mitmproxy on an expression.
enum Difference {
    /// mitmproxy refuses it; here it means the same as this one.
    Accepted(&'static str),
    /// It means something else there; here it means the same as this one.
    Means(&'static str),
    /// It is refused here, with this in the reason.
    Refused(&'static str),
}

use Difference::{Accepted, Means, Refused};

/// All differences there are.
const DIFFERENCES: &[(&str, Difference)] = &[
    // No blank is needed behind an operator.
    ("(~q)", Accepted("~q")),
    ("(~q|~s)", Accepted("~q | ~s")),
    ("~q&~s", Accepted("~q & ~s")),
    ("~q|~s", Accepted("~q | ~s")),
    ("~q~s", Accepted("~q ~s")),
    ("!(~q)", Accepted("! ~q")),
    ("~u\"example\"", Accepted("~u example")),
    ("~u'example'", Accepted("~u example")),
    ("~u/index", Accepted("~u /index")),
    ("~c200", Accepted("~c 200")),
    // One operand may stand behind the other inside of parentheses.
    ("(~s ~c 200)", Accepted("~s ~c 200")),
    ("(example index)", Accepted("example index")),
    ("(~s !~e | ~q) example", Accepted("~s & ( ! ~e | ~q ) & example")),
    // In quotes, a backslash and what is no letter of a control character are that character.
    (r#""e\x72""#, Means("ex72")),
    (r#""e\0""#, Means("e0")),
    // The engine searches in linear time, and cannot do these.
    (r"~u '^(?!.*login)'", Refused("look-around")),
    (r"~u 'example(?=\\.com)'", Refused("look-around")),
    (r"~u '(?<=www\\.)example'", Refused("look-around")),
    (r"~u '(?<!www\\.)example'", Refused("look-around")),
    (r"~b '(l)\\1'", Refused("back-references")),
    (r"~b '(?P<w>l)(?P=w)'", Refused("back-references")),
    (r"~b '(h)?(?(1)e|l)'", Refused("back-references")),
    (r"~b '(?>l+)o'", Refused("atomic groups")),
    (r"~b 'l++o'", Refused("possessive quantifiers")),
    (r"~b 'l*+o'", Refused("possessive quantifiers")),
    (r"~b 'l{1,2}+o'", Refused("possessive quantifiers")),
    // What stands at a status would be looked for in URLs.
    ("~c 200abc", Refused("~c 5xx")),
    // Names of characters would take a table; surrogates are in no text.
    (r"~u '\\N{EM DASH}'", Refused("by name")),
    (r"~u '\\ud800'", Refused("no character")),
];

/// A recorded flow, owned.
struct Recorded {
    scheme: Scheme,
    target: Authority,
    client: SocketAddr,
    request: Message,
    response: Option<Message>,
    error: Option<String>,
    messages: Option<Vec<Arc<StoredWebSocketMessage>>>,
    replayed: bool,
    marker: String,
    comment: String,
    metadata: Vec<(String, String)>,
}

struct Message {
    head: Vec<u8>,
    /// `None` where it was not kept.
    body: Option<Vec<Bytes>>,
}

impl Recorded {
    fn read(flow: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let optional = |name: &str| flow.get(name).map(text);
        let port = |value: &Value| u16::try_from(value.as_u64().unwrap()).unwrap();
        let metadata = flow.get("metadata").and_then(Value::as_array).into_iter().flatten();
        let messages = flow.get("messages").and_then(Value::as_array);
        let ip: IpAddr = text(&flow["client"][0]).parse().unwrap();
        Recorded {
            scheme: if flow["scheme"] == "https" { Scheme::Https } else { Scheme::Http },
            target: Authority { host: text(&flow["target"][0]), port: port(&flow["target"][1]) },
            client: (ip, port(&flow["client"][1])).into(),
            request: Message::read(&flow["request"], &flow["request_body"]),
            response: flow.get("response").map(|it| Message::read(it, &flow["response_body"])),
            error: optional("error"),
            messages: messages.map(|messages| messages.iter().map(message).collect()),
            replayed: flow.get("replayed").is_some(),
            marker: optional("marker").unwrap_or_default(),
            comment: optional("comment").unwrap_or_default(),
            metadata: metadata.map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        }
    }

    fn view(&self) -> FlowView<'_> {
        FlowView {
            target: Some(&self.target),
            request: self.request.view(),
            response: self.response.as_ref().map(Message::view),
            error: self.error.as_deref(),
            websocket: self.messages.is_some(),
            messages: self.messages.as_deref().unwrap_or_default(),
            replayed: self.replayed,
            marker: &self.marker,
            comment: &self.comment,
            metadata: &self.metadata,
            ..FlowView::new(self.scheme, self.client)
        }
    }
}

impl Message {
    fn read(head: &Value, body: &Value) -> Self {
        // In two pieces, as bodies come.
        let body = body.as_str().map(|_| latin_1(body)).map(|body| {
            let (start, end) = body.split_at(body.len() / 2);
            vec![Bytes::copy_from_slice(start), Bytes::copy_from_slice(end)]
        });
        Message { head: latin_1(head), body }
    }

    fn view(&self) -> MessageView<'_> {
        let body = self.body.as_deref().map_or(BodyView::NotKept, BodyView::Kept);
        MessageView { head: &self.head, body }
    }
}

fn message(message: &Value) -> Arc<StoredWebSocketMessage> {
    let payload = Bytes::from(latin_1(&message[2]));
    Arc::new(StoredWebSocketMessage {
        direction: if message[0] == true { Direction::Send } else { Direction::Receive },
        opcode: if message[1] == true { Opcode::Text } else { Opcode::Binary },
        time_us: 0,
        size: payload.len() as u64,
        payload,
    })
}

/// Bytes that stand in the recording as Latin-1.
fn latin_1(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
}

struct Recording {
    flows: Vec<Recorded>,
    /// Expressions and their answers, one digit a flow; `None` for what mitmproxy refuses.
    answers: Vec<(String, Option<String>)>,
}

fn recording() -> Recording {
    let recording: Value = serde_json::from_str(include_str!("filters/answers.json")).unwrap();
    assert_eq!(recording["mitmproxy"], "12.3.1");
    let row = |row: &Value| {
        let answers = row[1].as_str().map(str::to_owned);
        (row[0].as_str().unwrap().to_owned(), answers)
    };
    Recording {
        flows: recording["flows"].as_array().unwrap().iter().map(Recorded::read).collect(),
        answers: recording["answers"].as_array().unwrap().iter().map(row).collect(),
    }
}

/// The answers of flowtap in the same form, or the reason why the expression is refused.
fn answers(expression: &str, flows: &[Recorded]) -> Result<String, String> {
    let filter = Filter::parse(expression).map_err(|error| error.to_string())?;
    let filter = filter.ok_or("it is blank")?;
    let answer = |flow: &Recorded| if filter.matches(&flow.view()) { '1' } else { '0' };
    Ok(flows.iter().map(answer).collect())
}

fn difference(expression: &str) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|(text, _)| *text == expression).map(|(_, difference)| difference)
}

#[test]
fn answers_are_those_of_mitmproxy() {
    let Recording { flows, answers: recorded } = recording();
    assert!(flows.len() >= 50 && recorded.len() >= 500);
    let mut found = Vec::new();
    for (expression, theirs) in &recorded {
        if difference(expression).is_some() {
            continue;
        }
        let ours = answers(expression, &flows);
        if ours.as_ref().ok() != theirs.as_ref() {
            found.push(format!("{expression}\n  theirs {theirs:?}\n  ours   {ours:?}"));
        }
    }
    assert!(found.is_empty(), "{} differ:\n{}", found.len(), found.join("\n"));
}

#[test]
fn differences_are_those_that_are_meant() {
    let Recording { flows, answers: recorded } = recording();
    for (expression, difference) in DIFFERENCES {
        let row = recorded.iter().find(|(text, _)| text == expression);
        let (_, theirs) = row.unwrap_or_else(|| panic!("{expression} is not recorded"));
        let ours = answers(expression, &flows);
        match difference {
            Accepted(other) | Means(other) => {
                let refused = matches!(difference, Accepted(_));
                assert_eq!(theirs.is_none(), refused, "{expression}");
                assert_eq!(ours, answers(other, &flows), "{expression}");
                assert!(ours.is_ok(), "{expression}: {ours:?}");
            }
            Refused(why) => {
                assert!(theirs.is_some(), "{expression}");
                let reason = ours.expect_err(expression);
                assert!(reason.contains(why), "{expression}: {reason}");
            }
        }
    }
}

#[test]
fn the_examples_of_the_documentation_are_accepted() {
    let page = include_str!("../docs/filters.md");
    let examples = page.split("```").nth(1).unwrap().lines().filter(|line| !line.is_empty());
    let mut accepted = 0;
    for line in examples {
        let (expression, _) = line.split_once("   ").expect(line);
        let parsed = Filter::parse(expression);
        assert!(matches!(parsed, Ok(Some(_))), "{expression}: {parsed:?}");
        accepted += 1;
    }
    assert!(accepted >= 5);
}
