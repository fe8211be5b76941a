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
        let _ = SegmentHeader::take(&bytes);
    }
}
