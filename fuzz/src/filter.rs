//! The property of filter expressions.

use bytes::Bytes;
use flowtap::flow::filter::Filter;
use flowtap::flow::record::{Authority, Scheme};
use flowtap::flow::view::{BodyView, FlowView, MessageView};

/// Longer ones are left out for the sake of time: many large patterns take seconds to compile.
const EXPRESSION_BYTES: usize = 160;

const POST: &[u8] =
    b"POST /a?b=c HTTP/1.1\r\nHost: h.example:81\r\nContent-Type: text/plain\r\n\r\n";
const GET: &[u8] = b"\r\nGET http://x/ HTTP/1.1\nhost:[::1]\nContent-Encoding: gzip\n folded\n\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Encoding: br\r\n\r\n";

/// An expression is read the same again, asks nothing that it cannot answer, and an answer that
/// is given before the bodies are there holds whatever they are. Where it is refused, the place
/// is in the text.
pub fn filter(data: &[u8]) {
    let Some(data) = data.get(..data.len().min(EXPRESSION_BYTES)) else { return };
    let text = String::from_utf8_lossy(data);
    let filter = match Filter::parse(&text) {
        Ok(Some(filter)) => filter,
        Ok(None) => return assert!(text.trim().is_empty()),
        Err(error) => {
            assert!(error.position <= text.chars().count(), "{error}");
            return assert!(!error.reason.is_empty());
        }
    };
    let again = Filter::parse(filter.text());
    assert!(matches!(again, Ok(Some(_))), "{again:?}");
    let Ok(Some(again)) = again else { return };
    let pieces = [Bytes::from_static(b"Hello {"), Bytes::from_static(b"\"id\": 7}\n\xe9")];
    let kept = [BodyView::NotKept, BodyView::Kept(&[]), BodyView::Kept(&pieces)];
    for head in [POST, GET, b"", data] {
        let early = evaluate(&filter, head, BodyView::Awaited, BodyView::Awaited);
        for (request, response) in kept.iter().zip(kept.iter().rev()) {
            let answer = evaluate(&filter, head, *request, *response);
            assert!(answer.is_some());
            assert_eq!(answer, evaluate(&again, head, *request, *response));
            assert!(early.is_none() || early == answer);
        }
        assert!(early.is_some() || filter.reads_body());
    }
}

fn evaluate(
    filter: &Filter,
    head: &[u8],
    request: BodyView<'_>,
    response: BodyView<'_>,
) -> Option<bool> {
    let target = Authority { host: "h.example".into(), port: 81 };
    let flow = FlowView {
        target: Some(&target),
        request: MessageView { head, body: request },
        response: Some(MessageView { head: OK, body: response }),
        comment: "one\ntwo",
        ..FlowView::new(Scheme::Http, ([127, 0, 0, 1], 4000).into())
    };
    filter.evaluate(&flow)
}
