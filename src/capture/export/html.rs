//! An HTML report: one file that needs no network and no other file.
//!
//! What was captured is not to be trusted. It stands in the page as escaped text of a plain table,
//! which is all that there is without scripts, and as JSON in elements that are no scripts. The
//! policy of the page allows our own script and style by their hashes, and nothing from elsewhere.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::line::{Caps, Line, total_us, value};
use super::{About, Format, Left, One};
use crate::capture::bundle::date_time;
use crate::capture::curl::{command, has_long_body};
use crate::capture::flow::Flow;
use crate::capture::json::Milliseconds;
use crate::limits::{
    REPORT_BODIES_BYTES, REPORT_BODY_BYTES, REPORT_BYTES, REPORT_FLOWS, REPORT_MESSAGE_BYTES,
    REPORT_MESSAGES,
};
use crate::notice::count;
use crate::tls::pkcs12::sha256;

const PAGE: &str = include_str!("html/report.html");
const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = concat!(
    include_str!("html/flows.js"),
    include_str!("html/filter.js"),
    include_str!("html/table.js"),
    include_str!("html/details.js"),
    include_str!("html/keys.js"),
);
/// Hides the plain table before it is laid out.
const EARLY: &str = include_str!("html/early.js");

/// What the report has of a flow.
const CAPS: Caps = Caps {
    body_bytes: REPORT_BODY_BYTES,
    messages: REPORT_MESSAGES,
    message_bytes: REPORT_MESSAGE_BYTES,
};

/// The same when there is no more room for bodies.
const NO_BODIES: Caps = Caps { body_bytes: 0, messages: 0, message_bytes: 0 };

/// A report that is being written.
pub(super) struct Report<'r> {
    about: &'r About<'r>,
    flows: u64,
    /// Bytes of what was written of flows.
    written: usize,
    flows_left_out: u64,
    /// Flows of which bodies or messages are not there as a whole.
    cut: u64,
    without_bodies: u64,
}

/// What the details show.
#[derive(Serialize)]
struct Details<'f> {
    #[serde(flatten)]
    line: Line<'f>,
    /// The command that sends the request again.
    #[serde(skip_serializing_if = "Option::is_none")]
    curl: Option<String>,
}

/// What the table shows: id, when it began (Unix epoch), method, status, URL, media type, bytes of
/// the response's body, all its time, the time before it waited, waiting and receiving, and bits:
/// 1 failed, 2 a WebSocket, 4 sent by a tool.
#[derive(Serialize)]
struct Row<'f>(
    &'f str,
    Milliseconds,
    &'f str,
    u16,
    &'f str,
    &'f str,
    u64,
    Milliseconds,
    Milliseconds,
    Milliseconds,
    Milliseconds,
    u8,
);

impl<'r> Report<'r> {
    pub(super) fn new(about: &'r About<'r>) -> Self {
        Report { about, flows: 0, written: 0, flows_left_out: 0, cut: 0, without_bodies: 0 }
    }

    /// The data of a flow, ready to stand in the page.
    fn data(&mut self, one: &One<'_>, row: &Row<'_>) -> io::Result<Vec<u8>> {
        let mut json = serde_json::to_vec(row)?;
        json.push(b'\n');
        let has_room = self.written < REPORT_BODIES_BYTES;
        let caps = if has_room { &CAPS } else { &NO_BODIES };
        let line = Line::new(one, self.about.redactor, caps);
        let is_cut = line.is_cut();
        let is_short = has_room && !has_long_body(one.flow);
        let curl = is_short.then(|| command(one.flow, None, self.about.redactor));
        serde_json::to_writer(&mut json, &Details { line, curl })?;
        match (is_cut, has_room) {
            (false, _) => {}
            (true, true) => self.cut += 1,
            (true, false) => self.without_bodies += 1,
        }
        Ok(harmless(&json))
    }
}

impl Format for Report<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let (before, _) = PAGE.split_once("{rows}").unwrap_or((PAGE, ""));
        // The name comes last: it may hold what looks like a place to fill.
        let page = before
            .replace("{policy}", &policy())
            .replace("{version}", env!("CARGO_PKG_VERSION"))
            .replace("{style}", STYLE)
            .replace("{early}", EARLY)
            .replace("{name}", &escaped(&self.about.name));
        out.write_all(page.as_bytes())
    }

    fn flow(&mut self, out: &mut dyn Write, one: &One<'_>) -> io::Result<()> {
        if self.flows >= REPORT_FLOWS as u64 || self.written >= REPORT_BYTES {
            self.flows_left_out += 1;
            return Ok(());
        }
        let flow = one.flow;
        let url = self.about.redactor.url(&flow.url);
        let row = row(one, &url);
        let data = self.data(one, &row)?;
        self.flows += 1;
        let time = date_time(flow.began_us);
        let status = if row.3 > 0 { row.3.to_string() } else { "failed".to_owned() };
        let mut html = format!(
            "<tr><td>{}<td>{}<td>{}<td>{status}<td>{}<td>{}<td>{}<td>{}",
            self.flows,
            time.get(11..23).unwrap_or_default(),
            escaped(&flow.method),
            escaped(&url),
            escaped(row.5),
            row.6,
            total_us(&flow.timing) / 1_000,
        )
        .into_bytes();
        html.extend_from_slice(b"<script type=\"application/json\">");
        html.extend_from_slice(&data);
        html.extend_from_slice(b"</script>\n");
        self.written = self.written.saturating_add(html.len());
        out.write_all(&html)
    }

    fn end(&mut self, out: &mut dyn Write, left: &mut Left) -> io::Result<u64> {
        let mut told = Left::new();
        if self.flows_left_out > 0 {
            told.push(format!(
                "{}: a report has at most {REPORT_FLOWS}, of {} MiB; --filter takes some",
                count(self.flows_left_out, "flow"),
                REPORT_BYTES >> 20
            ));
        }
        if self.without_bodies > 0 {
            told.push(format!(
                "the bodies of {}: a report has {} MiB of them; --filter takes some",
                count(self.without_bodies, "flow"),
                REPORT_BODIES_BYTES >> 20
            ));
        }
        if self.cut > 0 {
            told.push(format!(
                "the rest of bodies or messages of {}: a report has {} KiB of a body, and \
                 {REPORT_MESSAGES} messages of a WebSocket",
                count(self.cut, "flow"),
                REPORT_BODY_BYTES >> 10
            ));
        }
        let notes = told.iter().map(|line| format!("<p class=\"note\">Left out: {line}</p>\n"));
        let (_, behind) = PAGE.split_once("{rows}").unwrap_or_default();
        let page = behind.replace("{left}", &notes.collect::<String>()).replace("{script}", SCRIPT);
        out.write_all(page.as_bytes())?;
        out.flush()?;
        left.append(&mut told);
        Ok(self.flows)
    }
}

fn row<'f>(one: &One<'f>, url: &'f str) -> Row<'f> {
    let flow: &Flow = one.flow;
    let response = flow.response.as_ref();
    let content_type = response.map_or("", |it| value(&it.message.fields, "content-type"));
    let phases = &flow.timing;
    let flags = [
        (1, flow.error.is_some() || response.is_none()),
        (2, flow.messages.is_some()),
        (4, flow.replayed),
    ];
    let messages = flow.messages.iter().flatten().map(|message| message.payload.len() as u64);
    let body = response.map_or(0, |it| it.message.body.size());
    let total = total_us(phases);
    let after = phases.wait_us.saturating_add(phases.receive_us);
    Row(
        one.id,
        Milliseconds(flow.began_us),
        &flow.method,
        response.map_or(0, |it| it.status),
        url,
        content_type,
        messages.fold(body, u64::saturating_add),
        Milliseconds(total),
        Milliseconds(total.saturating_sub(after)),
        Milliseconds(phases.wait_us),
        Milliseconds(phases.receive_us),
        flags.iter().filter(|(_, is_set)| *is_set).fold(0, |all, (bit, _)| all | bit),
    )
}

/// What the page may do: nothing but run our scripts, use our style and show pictures in it.
fn policy() -> String {
    let hash = |text: &str| {
        let digest = sha256().map(|it| STANDARD.encode(it.hash(text.as_bytes())));
        format!("'sha256-{}'", digest.unwrap_or_default())
    };
    format!(
        "default-src 'none'; script-src {} {}; style-src {}; img-src data:; base-uri 'none'; \
         form-action 'none'",
        hash(EARLY),
        hash(SCRIPT),
        hash(STYLE)
    )
}

/// Text as it stands in HTML and in its attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\0' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// JSON in which nothing can end its element or begin another one.
fn harmless(json: &[u8]) -> Vec<u8> {
    let mut harmless = Vec::with_capacity(json.len());
    let mut rest = json;
    while let [byte, after @ ..] = rest {
        rest = match rest {
            [b'<', ..] => {
                harmless.extend_from_slice(b"\\u003c");
                after
            }
            [0xe2, 0x80, last @ (0xa8 | 0xa9), after @ ..] => {
                let escape = if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" };
                harmless.extend_from_slice(escape);
                after
            }
            _ => {
                harmless.push(*byte);
                after
            }
        };
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::messages::SocketMessage;
    use crate::flow::redact::Redactor;

    #[test]
    fn json_in_a_page_is_harmless_and_stays_what_it_is() {
        let text = "</script><!-- <script>\u{2028}\u{2029}\u{202e} é€";
        let json = serde_json::to_vec(text).unwrap();
        let made = String::from_utf8(harmless(&json)).unwrap();
        assert!(!made.contains(['<', '\u{2028}', '\u{2029}']), "{made}");
        assert_eq!(serde_json::from_str::<String>(&made).unwrap(), text);
    }

    #[test]
    fn text_in_a_page_is_escaped() {
        assert_eq!(escaped("<a b=\"c\">&'\0"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}");
    }

    /// What a flow adds to a report, and what the report says was left out.
    fn written(report: &mut Report<'_>, flow: &Flow) -> (String, Left) {
        let mut out = Vec::new();
        report.flow(&mut out, &One { id: "t_0001", part: 1, flow }).unwrap();
        let mut left = Left::new();
        report.end(&mut std::io::sink(), &mut left).unwrap();
        (String::from_utf8(out).unwrap(), left)
    }

    #[test]
    fn what_is_beyond_the_limits_is_left_out_and_told() {
        let redactor = Redactor::off();
        let about = About { name: String::new(), redactor: &redactor };
        let mut long = Flow { url: "http://h/".into(), ..Flow::default() };
        long.request.body.bytes = vec![b'x'; REPORT_BODY_BYTES + 1].into();

        let (html, left) = written(&mut Report::new(&about), &long);
        assert_eq!(html.matches("xx").count(), REPORT_BODY_BYTES / 2);
        assert!(left.len() == 1 && left[0].starts_with("the rest of bodies"), "{left:?}");

        let mut full = Report { written: REPORT_BODIES_BYTES, ..Report::new(&about) };
        let (html, left) = written(&mut full, &long);
        assert!(html.len() < 1_000 && html.contains("\"cut\":true"), "{html}");
        assert!(left.len() == 1 && left[0].starts_with("the bodies of 1 flow: "), "{left:?}");

        for mut full in [
            Report { written: REPORT_BYTES, ..Report::new(&about) },
            Report { flows: REPORT_FLOWS as u64, ..Report::new(&about) },
        ] {
            let (html, left) = written(&mut full, &long);
            assert_eq!(html, "");
            assert!(left.len() == 1 && left[0].starts_with("1 flow: "), "{left:?}");
        }

        let message = |bytes| SocketMessage {
            is_text: true,
            payload: vec![b'y'; bytes].into(),
            ..SocketMessage::default()
        };
        let mut socket = Flow { url: "ws://h/".into(), ..Flow::default() };
        let messages = (0..=REPORT_MESSAGES).map(|_| message(0)).collect();
        socket.messages = Some(messages);
        let (html, left) = written(&mut Report::new(&about), &socket);
        assert_eq!(html.matches("\"direction\"").count(), REPORT_MESSAGES);
        assert!(html.contains("\"messages_left_out\":1"), "{html}");
        assert_eq!(left.len(), 1);
        socket.messages = Some(vec![message(REPORT_MESSAGE_BYTES + 1)]);
        let (html, left) = written(&mut Report::new(&about), &socket);
        assert_eq!(html.matches("yy").count(), REPORT_MESSAGE_BYTES / 2);
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn the_parts_of_the_page_cannot_end_it() {
        assert!(!SCRIPT.contains("</script") && !EARLY.contains("</script"));
        assert!(!SCRIPT.contains("<!--") && !STYLE.contains("</style"));
        for place in ["{policy}", "{style}", "{early}", "{rows}", "{left}", "{script}"] {
            assert_eq!(PAGE.matches(place).count(), 1, "{place}");
        }
        // Data becomes text, never markup or code.
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(way), "{way}");
        }
    }
}
