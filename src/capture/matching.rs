//! Whether a filter holds of a flow that stands in a bundle.

use std::net::Ipv4Addr;
use std::slice;
use std::sync::Arc;

use crate::capture::flow::{Body, Flow, Message};
use crate::capture::messages::SocketMessage;
use crate::flow::filter::Filter;
use crate::flow::record::{Authority, Direction, Opcode, Scheme};
use crate::flow::stored::StoredWebSocketMessage;
use crate::flow::view::{BodyView, FlowView, MessageView};
use crate::http::target::{Target, parse_target};

impl Flow {
    /// Whether `filter` holds. Messages of a WebSocket other than text and binary are not among
    /// those that are looked at.
    pub(crate) fn matches(&self, filter: &Filter) -> bool {
        let (scheme, target) = self.target();
        let start = format!("{} {} {}", self.method, self.url, self.request.version);
        let request = head(&start, &self.request);
        let response = self.response.as_ref().map(|response| {
            let Message { version, .. } = &response.message;
            let start = format!("{version} {} {}", response.status, response.reason);
            (head(&start, &response.message), &response.message)
        });
        let messages: Vec<_> =
            self.messages.iter().flatten().map(|it| Arc::new(stored(it))).collect();
        // Bundles of others do not name it.
        let client = self.client.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        filter.matches(&FlowView {
            target: target.as_ref(),
            request: view(&request, &self.request),
            response: response.as_ref().map(|(head, message)| view(head, message)),
            error: self.error.as_deref(),
            websocket: self.messages.is_some(),
            messages: &messages,
            replayed: self.replayed,
            ..FlowView::new(scheme, client)
        })
    }

    /// What the URL says of the scheme, and of the host and port where it has them.
    pub(crate) fn target(&self) -> (Scheme, Option<Authority>) {
        match parse_target(self.method.as_bytes(), self.url.as_bytes()) {
            Ok(Target::Absolute { scheme, authority, .. }) => (scheme, Some(authority)),
            Ok(Target::Authority(authority)) => (Scheme::Https, Some(authority)),
            _ => (Scheme::Http, None),
        }
    }
}

/// A head as filters read it.
fn head(start: &str, message: &Message) -> Vec<u8> {
    let mut head = format!("{start}\r\n");
    for field in &message.fields {
        head.push_str(&format!("{}: {}\r\n", field.name, field.value));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn view<'a>(head: &'a [u8], message: &'a Message) -> MessageView<'a> {
    let kept = slice::from_ref(&message.body.bytes);
    let Body { bytes, decoded, is_cut, note, .. } = &message.body;
    let body = match decoded {
        // Nothing is there of it, which is not the same as an empty one.
        _ if bytes.is_empty() && (*is_cut || note.is_some()) => BodyView::NotKept,
        true => BodyView::Decoded(kept),
        false => BodyView::Kept(kept),
    };
    MessageView { head, body }
}

fn stored(message: &SocketMessage) -> StoredWebSocketMessage {
    StoredWebSocketMessage {
        direction: if message.sent { Direction::Send } else { Direction::Receive },
        opcode: if message.is_text { Opcode::Text } else { Opcode::Binary },
        time_us: message.time_us,
        payload: message.payload.clone(),
        size: message.size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::flow::Response;
    use crate::flow::head::Field;

    fn flow() -> Flow {
        let field = |name: &str, value: &str| Field { name: name.into(), value: value.into() };
        let message = |fields, bytes: &'static [u8], decoded| Message {
            version: "HTTP/1.1".into(),
            fields,
            body: Body { bytes: bytes.into(), decoded, ..Body::default() },
            ..Message::default()
        };
        Flow {
            method: "POST".into(),
            url: "https://api.example:8443/items?page=2".into(),
            request: message(vec![field("Host", "api.example:8443")], b"sent", false),
            response: Some(Response {
                status: 502,
                reason: "Bad Gateway".into(),
                message: message(vec![field("Content-Encoding", "gzip")], b"received", true),
            }),
            error: Some("connection reset".into()),
            client: Some("127.0.0.1:4711".parse().unwrap()),
            ..Flow::default()
        }
    }

    #[test]
    fn what_a_bundle_tells_of_an_exchange_is_what_filters_see() {
        let holds = |text: &str| flow().matches(&Filter::parse(text).unwrap().unwrap());
        let true_of_it = [
            "~d api.example",
            "~m POST",
            "~u items.page=2",
            "~u ^https://api.example:8443/",
            "~c 502",
            "~e",
            "~bq sent",
            "~bs received",
            "~hs 'content-encoding: gzip'",
            "!~websocket",
            "~s",
            "~src '^127[.]0[.]0[.]1:4711$'",
        ];
        for text in true_of_it {
            assert!(holds(text), "{text}");
            assert!(!holds(&format!("!({text})")), "{text}");
        }
        assert!(
            Flow { replayed: true, ..flow() }.matches(&Filter::parse("~replay").unwrap().unwrap())
        );
        let unknown = Flow { client: None, ..flow() };
        assert!(!unknown.matches(&Filter::parse("~src .").unwrap().unwrap()));
    }

    #[test]
    fn a_body_that_is_not_there_is_not_an_empty_one() {
        let filter = Filter::parse("~bq '^$'").unwrap().unwrap();
        let holds = |body: Body| {
            let request = Message { body, ..Message::default() };
            Flow { request, ..flow() }.matches(&filter)
        };
        assert!(holds(Body::default()));
        assert!(!holds(Body { is_cut: true, ..Body::default() }));
        assert!(!holds(Body { note: Some("unreadable".into()), ..Body::default() }));
        assert!(!holds(Body { bytes: "x".into(), ..Body::default() }));
    }

    #[test]
    fn messages_of_websockets_are_searched() {
        let payload = bytes::Bytes::from_static(b"hello");
        let message = SocketMessage { is_text: true, payload, ..SocketMessage::default() };
        let flow = Flow {
            method: "GET".into(),
            url: "wss://api.example/".into(),
            messages: Some(vec![message]),
            ..Flow::default()
        };
        let holds = |text: &str| flow.matches(&Filter::parse(text).unwrap().unwrap());
        assert!(holds("~websocket & ~d api.example & ~b hello"));
        assert!(!holds("~b bye"));
        assert_eq!(flow.target().0, Scheme::Https);
    }
}
