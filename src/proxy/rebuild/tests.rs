use super::*;
use crate::flow::record::Authority;

fn now() -> Now {
    Now { instant: std::time::Instant::now(), epoch_us: 1 }
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.into(), value: value.into() }
}

fn request(url: &str, headers: Vec<Field>, body: &'static str) -> NewRequest {
    NewRequest {
        origin: None,
        recorded_head: Bytes::new(),
        method: "POST".into(),
        url: url.into(),
        headers,
        body: body.into(),
    }
}

fn sent(request: &NewRequest) -> Result<(String, String, RequestFacts), String> {
    let facts = sent_request(request, &Options::default(), true, now())?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ok((text(&facts.head), text(&facts.outgoing), facts))
}

/// Changes a request that came in absolute form through a proxy.
fn edited_facts(edit: RequestEdit) -> Result<RequestFacts, String> {
    let stats = std::sync::Arc::new(crate::stats::Stats::default());
    let (notices, _) = crate::notice::Notices::channel(stats.clone());
    let options = Options::default();
    let shared = crate::proxy::context::Shared {
        hosts: Default::default(),
        discovered: None,
        records: true,
        live: true,
        options: Arc::new(crate::options::SharedOptions::new(options.clone())),
        listen: "127.0.0.1:1".parse().unwrap(),
        upstreams: Default::default(),
        mcp: None,
        held: Arc::default(),
        certificate: Default::default(),
        stats,
        notices,
        next_flow: 1.into(),
        next_connection: 1.into(),
    };
    let mut cx = Context {
        now: now(),
        shared: &shared,
        options: &options,
        commands: &mut Vec::new(),
        outbox: &mut Default::default(),
        heads: &mut Heads::default(),
    };
    let before = RequestFacts {
        route: Route {
            scheme: Scheme::Http,
            authority: Arc::new(Authority { host: "h.example".into(), port: 80 }),
            tls: None,
        },
        head: b"PUT http://h.example/a?b HTTP/1.1\r\nhost: h.example\r\nX-Old: \xe9\r\n\
               Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
            .as_slice()
            .into(),
        outgoing: b"PUT /a?b HTTP/1.1\r\nhost: h.example\r\n\r\n".to_vec(),
        method_bytes: "PUT".len(),
        version: Version::Http10,
        keep_alive: true,
        expects_continue: true,
        upgrade: false,
        last_hop: false,
        logs_in: false,
        length: BodyLength::Length(3),
        ruled: true,
        recorded: true,
        began: now(),
    };
    let facts = edited_request(&before, edit, &mut cx)?;
    assert_eq!((facts.version, facts.keep_alive), (Version::Http10, true));
    assert!(!facts.expects_continue && facts.recorded);
    Ok(facts)
}

fn edited(edit: RequestEdit) -> Result<(String, String), String> {
    let facts = edited_facts(edit)?;
    let authority = &facts.route.authority;
    Ok((
        crate::flow::head::text(&facts.outgoing),
        format!("{:?} {}:{}", facts.route.scheme, authority.host, authority.port),
    ))
}

#[test]
fn framing_and_host_are_worked_out_afresh() {
    let headers = vec![field("Content-Length", "99"), field("X-A", "1"), field("Upgrade", "x")];
    let (head, outgoing, facts) =
        sent(&request("https://API.example:8443/p?q=1#top", headers, "body")).unwrap();
    let expected = "POST /p?q=1 HTTP/1.1\r\nHost: api.example:8443\r\nX-A: 1\r\n\
                    Content-Length: 4\r\n\r\n";
    assert_eq!((head.as_str(), outgoing.as_str()), (expected, expected));
    assert_eq!(facts.route.tls.as_deref(), Some("api.example"));
    assert_eq!(facts.length, BodyLength::Length(4));
    assert!(!facts.keep_alive);
}

#[test]
fn a_host_that_was_given_stays() {
    let (head, ..) =
        sent(&request("http://127.0.0.1:1/", vec![field("host", "other")], "")).unwrap();
    assert_eq!(head, "POST / HTTP/1.1\r\nhost: other\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn what_a_target_cannot_hold_is_encoded() {
    let (head, ..) = sent(&request("http://h/a b/\u{e9}", Vec::new(), "")).unwrap();
    assert!(head.starts_with("POST /a%20b/%C3%A9 HTTP/1.1\r\n"), "{head}");
}

#[test]
fn nothing_is_smuggled_through_what_a_tool_writes() {
    let refused = |request: &NewRequest| sent(request).unwrap_err();
    let url = "http://h/";
    for (name, value) in [
        ("X", "1\r\nY: 2"),
        ("X", "1\r\n\r\nGET / HTTP/1.1"),
        ("X\r\nY", "1"),
        ("X Y", "1"),
        ("", "1"),
        ("X", "\0"),
        ("X", "a\nb"),
    ] {
        let reason = refused(&request(url, vec![field(name, value)], ""));
        assert!(!reason.is_empty(), "{name:?} {value:?}");
    }
    assert!(refused(&request("/path", Vec::new(), "")).contains("absolute URL"));
    assert!(refused(&request("ftp://h/", Vec::new(), "")).contains("scheme"));
    assert!(refused(&request("http://u:p@h/", Vec::new(), "")).contains("user information"));
    let twice = vec![field("Host", "a"), field("Host", "b")];
    assert!(refused(&request(url, twice, "")).contains("Host"));
    // A URL may hold secrets.
    let reason = refused(&request("https://h:0/reset/4f9d8c", Vec::new(), ""));
    assert!(reason.contains("the URL") && !reason.contains("4f9d8c"), "{reason}");
    for method in [
        "GET / HTTP/1.1\r\nA: b\r\nC:",
        "CONNECT",
        "GET /evil HTTP/1.1\r\nX: y\r\n\r\nGET",
        "",
        "G T",
    ] {
        let bad = NewRequest { method: method.into(), ..request(url, Vec::new(), "") };
        assert!(sent(&bad).is_err(), "{method:?}");
    }
}

#[test]
fn an_edit_keeps_what_it_does_not_name() {
    let (outgoing, route) = edited(RequestEdit::default()).unwrap();
    let expected = "PUT /a?b HTTP/1.1\r\nhost: h.example\r\nX-Old: \u{e9}\r\n\
                    Content-Length: 3\r\n\r\n";
    assert_eq!((outgoing.as_str(), route.as_str()), (expected, "Http h.example:80"));

    let edit = RequestEdit { method: Some("DELETE".into()), ..RequestEdit::default() };
    assert!(edited(edit).unwrap().0.starts_with("DELETE /a?b HTTP/1.1\r\n"));
    let edit = RequestEdit { body: Some("longer".into()), ..RequestEdit::default() };
    assert!(edited(edit).unwrap().0.ends_with("Content-Length: 6\r\n\r\n"));
}

#[test]
fn what_is_repeated_has_the_bytes_of_its_record_where_its_text_is_unchanged() {
    let recorded = b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: h\r\nX: \xc3\xa9\r\nX: \xe9\r\n\r\n";
    let again = |url: &str, headers: Vec<Field>| {
        let recorded_head = Bytes::from_static(recorded);
        let again = NewRequest { recorded_head, method: "GET".into(), ..request(url, headers, "") };
        sent_request(&again, &Options::default(), true, now()).unwrap().outgoing
    };
    let fields = || vec![field("Host", "h"), field("X", "\u{e9}"), field("X", "\u{e9}")];
    assert_eq!(again("http://h/caf\u{e9}", fields()), recorded);
    assert!(again("http://h/caf%C3%A9", fields()).starts_with(b"GET /caf%C3%A9 HTTP/1.1\r\n"));
    assert!(again("http://h/caf\u{e9}?", fields()).starts_with(b"GET /caf%C3%A9? HTTP/1.1\r\n"));
    let mut three = fields();
    three.push(field("X", "\u{e9}"));
    let sent = again("http://h/caf\u{e9}", three);
    assert!(sent.ends_with(b"X: \xe9\r\nX: \xc3\xa9\r\n\r\n"), "{}", sent.escape_ascii());
}

#[test]
fn the_host_follows_a_changed_url() {
    let moved = |headers| {
        let url = Some("https://new.example/x".to_owned());
        edited(RequestEdit { url, headers, ..RequestEdit::default() }).unwrap()
    };
    let (outgoing, route) = moved(None);
    assert!(outgoing.starts_with("PUT /x HTTP/1.1\r\nhost: new.example\r\n"), "{outgoing}");
    assert_eq!(route, "Https new.example:443");
    let same = moved(Some(vec![field("Host", "h.example")]));
    assert!(same.0.contains("Host: new.example\r\n"));
    let other = moved(Some(vec![field("Host", "virtual.example")]));
    assert!(other.0.contains("Host: virtual.example\r\n"));
    assert!(moved(Some(Vec::new())).0.contains("Host: new.example\r\n"));
}

#[test]
fn answers_have_a_status_that_ends_an_exchange() {
    let answer = |status, headers| Answer { status, headers, body: "ok".into() };
    let chunked = answer(404, vec![field("Transfer-Encoding", "chunked")]);
    let head = response(&chunked, BodyLength::Length(2)).unwrap();
    assert_eq!(&head[..], b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n");
    for status in [0, 100, 101, 199, 600] {
        let refused = response(&answer(status, Vec::new()), BodyLength::Length(2));
        assert!(refused.unwrap_err().contains("200 to 599"));
    }
}

#[test]
fn what_a_client_sends_passes_one_proxy_less_and_what_a_tool_sends_as_it_says() {
    for (hops, relayed, is_last) in [("3", "2", false), ("0", "0", true), ("x", "x", false)] {
        let headers = || vec![field("Max-Forwards", hops)];
        let mut request = request("http://h/", headers(), "");
        request.method = "OPTIONS".into();
        let (_, outgoing, facts) = sent(&request).unwrap();
        assert!(outgoing.contains(&format!("\r\nMax-Forwards: {hops}\r\n")), "{outgoing}");
        assert!(!facts.last_hop);

        let edit = RequestEdit {
            method: Some("OPTIONS".to_owned()),
            headers: Some(headers()),
            ..RequestEdit::default()
        };
        let facts = edited_facts(edit).unwrap();
        let outgoing = crate::flow::head::text(&facts.outgoing);
        assert!(outgoing.contains(&format!("\r\nMax-Forwards: {relayed}\r\n")), "{outgoing}");
        assert_eq!(facts.last_hop, is_last, "{hops}");
    }
}
