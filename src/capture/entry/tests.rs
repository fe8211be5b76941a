use super::*;
use proptest::prelude::*;

fn exchange() -> Exchange {
    let tls = Some(Arc::new(TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        server_name: Some("example.com".into()),
        alpn: None,
        resumed: true,
    }));
    Exchange {
        id: FlowId(7),
        scheme: Scheme::Https,
        target: Some(Arc::new(Authority { host: "example.com".into(), port: 443 })),
        client: "127.0.0.1:5000".parse().unwrap(),
        client_tls: tls.clone(),
        upstream: Some(Upstream {
            address: "[2001:db8::1]:443".parse().unwrap(),
            connection: 3,
            reused: true,
            tls,
        }),
        request: Message { head: "GET / HTTP/1.1\r\n\r\n".into(), ..Message::default() },
        response: Some(Message {
            head: "HTTP/1.1 200 OK\r\n\r\n".into(),
            body: Body { tail: "abc".into(), sent_ahead: 70_000, size: 80_000 },
            trailers: "A: b\r\n".into(),
        }),
        timing: Timing { began_us: 1, total_us: 9, ..Timing::default() },
        error: Some("the server closed".into()),
        intervention: Intervention {
            replayed: true,
            origin: Some(FlowId(3)),
            ..Intervention::default()
        },
    }
}

/// The payload of an exchange's frame.
fn put_exchange(out: &mut Vec<u8>, exchange: &Exchange) {
    put_facts(out, exchange);
    tails(exchange).into_iter().for_each(|tail| out.extend_from_slice(tail));
}

#[test]
fn entries_come_back_as_they_went() {
    let mut out = Vec::new();
    put_exchange(&mut out, &exchange());
    let back = take_exchange(&out).unwrap();
    assert_eq!(format!("{back:?}"), format!("{:?}", exchange()));

    let header = SegmentHeader {
        series: "s".into(),
        part: 2,
        created_us: 5,
        app: "shop".into(),
        file_name: "capture-0002.zip".into(),
    };
    let mut out = Vec::new();
    header.put(&mut out);
    assert_eq!(SegmentHeader::take(&out), Some(header));
}

#[test]
fn an_ended_exchange_is_its_frame() {
    for tails in [3, TAILS_COPIED_BYTES, TAILS_COPIED_BYTES + 1, 60_000] {
        let mut exchange = exchange();
        exchange.response.as_mut().unwrap().body.tail = vec![b'x'; tails - 1].into();
        exchange.request.body.tail = "y".into();
        let FlowEvent::Exchange(ended) = ended(&exchange) else { panic!() };
        assert_eq!(ended.tails.is_some(), tails > TAILS_COPIED_BYTES);
        assert_eq!(
            (ended.is_trace, ended.request_ahead, ended.response_ahead),
            (true, false, true)
        );
        assert_eq!(format!("{:?}", take_ended(&ended).unwrap()), format!("{exchange:?}"));
        let mut written = ended.frame.to_vec();
        ended
            .tails
            .iter()
            .flat_map(|it| it.iter())
            .for_each(|tail| written.extend_from_slice(tail));
        assert_eq!(written.len(), ended.weight());
        let mut reader = crate::capture::frame::FrameReader::new(&written[..]);
        let (kind, payload) = reader.next_frame().unwrap().unwrap();
        assert_eq!(kind, FrameType::Exchange);
        assert_eq!(format!("{:?}", take_exchange(payload).unwrap()), format!("{exchange:?}"));
    }
}

#[test]
fn what_is_too_long_for_a_frame_has_none() {
    let mut exchange = exchange();
    exchange.request.body.tail = vec![0; crate::limits::JOURNAL_FRAME_BYTES + 1].into();
    let FlowEvent::Exchange(ended) = ended(&exchange) else { panic!() };
    assert!(ended.frame.is_empty() && ended.tails.is_none() && take_ended(&ended).is_none());
}

#[test]
fn sizes_of_a_damaged_entry_do_not_overflow() {
    let mut exchange = exchange();
    exchange.request.body.sent_ahead = u64::MAX;
    exchange.request.body.tail = Bytes::from_static(b"x");
    let mut out = Vec::new();
    put_exchange(&mut out, &exchange);
    let read = take_exchange(&out).unwrap();
    assert_eq!(read.request.body.captured(), u64::MAX);
    assert!(matches!(ended(&read), FlowEvent::Exchange(_)));
}

#[test]
fn an_entry_cut_anywhere_is_no_entry() {
    let mut out = Vec::new();
    put_exchange(&mut out, &exchange());
    for end in 0..out.len() {
        assert!(take_exchange(&out[..end]).is_none(), "cut at {end}");
    }
    out.push(0);
    assert!(take_exchange(&out).is_none());
}

#[test]
fn a_segment_of_another_version_is_not_read() {
    let mut out = Vec::new();
    let header = SegmentHeader {
        series: "".into(),
        part: 1,
        created_us: 0,
        app: "".into(),
        file_name: "".into(),
    };
    header.put(&mut out);
    out[0] += 1;
    assert_eq!(SegmentHeader::take(&out), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = take_exchange(&bytes);
        let _ = take_open(&bytes);
        let _ = take_message(&bytes);
        let _ = take_close(&bytes);
        let _ = take_losses(&bytes);
        let _ = SegmentHeader::take(&bytes);
    }
}
