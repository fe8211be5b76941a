use super::*;

fn shown(bytes: &[u8], content_type: &str) -> String {
    let mut out = Vec::new();
    let mut page = Page { out: &mut out, colour: false };
    show(&mut page, bytes, content_type, false).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn json_is_indented_by_its_look_or_its_type() {
    let indented = "{\n  \"b\": [\n    1\n  ]\n}\n";
    for content_type in ["application/json", "application/vnd.api+json; charset=utf-8", ""] {
        assert_eq!(shown(b"{\"b\":[1]}", content_type), indented);
    }
    assert_eq!(shown(b"{not: json}", "application/json"), "{not: json}\n");
    assert_eq!(shown("{\"\u{e9}\u{202e}\":1}".as_bytes(), ""), "{\n  \"\u{e9}\\u{202e}\": 1\n}\n");
}

#[test]
fn what_calls_itself_a_form_is_shown_as_what_it_is() {
    let form = |text: &str| shown(text.as_bytes(), "application/x-www-form-urlencoded");
    assert_eq!(form("{\"a\": 1, \"b\": \"x+y=z&k\"}"), "{\n  \"a\": 1,\n  \"b\": \"x+y=z&k\"\n}\n");
    assert_eq!(form(" [1]\n"), "[\n  1\n]\n");
    for text in
        ["{\"a\": \"x+y", "<a b='1+2'>&lt;</a>", "a=1+2\r\nb=2", "1 + 1 = 2", "a=\"1+2\"", "1+2"]
    {
        assert_eq!(form(text).trim_end(), text.replace('\r', ""), "{text}");
    }
    assert_eq!(form("[a]=1+2&{b}=%22&c=\u{e9}'"), "    [a] = 1 2\n    {b} = \"\n    c = \u{e9}'\n");
}

#[test]
fn forms_are_taken_apart() {
    let form = shown(b"a=1&b%5B%5D=x+y&c=%1b[2J\n", "application/x-www-form-urlencoded");
    assert_eq!(form, "    a = 1\n    b[] = x y\n    c = \\x1b[2J\n");
    let gif = "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n\
        hello\r\nthere\r\n--b\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"\x1bx.gif\"\r\n\
        Content-Type: image/gif\r\n\r\nGIF89a\x02\0\x03\0\0\r\n--b\r\n\r\n{\"a\":1}\r\n--b--\r\n";
    let form = shown(gif.as_bytes(), "multipart/form-data; boundary=b");
    assert_eq!(
        form,
        "--- note, 12 B\nhello\nthere\n--- f, file \\x1bx.gif, image/gif, 11 B\n\
         (GIF picture, 2 \u{d7} 3 pixels, 11 bytes)\n--- (a part without a name), 7 B\n\
         {\n  \"a\": 1\n}\n"
    );
    assert_eq!(shown(b"no part", "multipart/form-data"), "no part\n");
    let many = "--b\r\n\r\nx\r\n".repeat(INSPECTED_PARTS + 2);
    let form = shown(many.as_bytes(), "multipart/mixed; boundary=b");
    assert!(form.ends_with("(2 more parts were left out)\n"), "{form}");
    assert_eq!(form.matches("a part without").count(), INSPECTED_PARTS);
    // Parts inside of parts do not nest without end.
    let inner = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n";
    assert!(shown(inner.as_bytes(), "multipart/mixed; boundary=b").contains("\n--c\n"));
}

#[test]
fn events_are_shown_one_by_one() {
    let stream = b"event: add\nid: 7\ndata: {\"a\":1}\n\ndata: plain\ndata: \x1b[2J\n\n";
    assert_eq!(
        shown(stream, "text/event-stream"),
        "--- event 1, add, id 7\n{\n  \"a\": 1\n}\n--- event 2\nplain\n\\x1b[2J\n"
    );
    let long = "x".repeat(INSPECTED_TEXT_BYTES / 2 - LINE_BYTES);
    let of = |event: &str, number: usize| {
        let shown = shown(event.repeat(number).as_bytes(), "text/event-stream");
        assert!(shown.len() < 2 * INSPECTED_TEXT_BYTES);
        shown
    };
    assert!(of(&format!("data: {long}\n\n"), 4).ends_with("(2 more events were left out)\n"));
    assert!(of(&format!("id: {long}\ndata\n\n"), 3).ends_with("(1 more event was left out)\n"));
    let most = INSPECTED_TEXT_BYTES / LINE_BYTES;
    assert!(of("data\n\n", most + 2).ends_with("(2 more events were left out)\n"));
}

#[test]
fn fields_of_a_form_are_bounded() {
    let form = "application/x-www-form-urlencoded";
    let many = "a=1&".repeat(INSPECTED_TEXT_BYTES / (LINE_BYTES + 2) + 4);
    let made = shown(many.as_bytes(), form);
    assert!(made.len() < INSPECTED_TEXT_BYTES + 200);
    assert!(made.ends_with("(4 more pairs were left out)\n"), "{}", &made[made.len() - 100..]);
    let long = format!("a=1&b={}", "x".repeat(INSPECTED_TEXT_BYTES));
    assert_eq!(shown(long.as_bytes(), form), "    a = 1\n(1 more pair was left out)\n");
}

#[test]
fn pictures_are_told_by_their_bytes() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x06\0\0\0";
    assert_eq!(shown(png, "text/plain"), "(PNG picture, 640 \u{d7} 480 pixels, 29 bytes)\n");
    assert_eq!(shown(b"\xff\xd8\xff\xd9", ""), "(JPEG picture, 4 bytes)\n");
    assert_eq!(shown(b"<svg/>", "image/svg+xml"), "<svg/>\n");
}

#[test]
fn binary_is_dumped_as_hexdump_does() {
    let bytes: Vec<u8> = (0x1c..0x30).collect();
    assert_eq!(
        shown(&[&bytes[..], b"\0"].concat(), "image/x-icon"),
        "00000000  1c 1d 1e 1f 20 21 22 23  24 25 26 27 28 29 2a 2b  |.... !\"#$%&'()*+|\n\
         00000010  2c 2d 2e 2f 00                                    |,-./.|\n\
         (21 bytes, binary)\n"
    );
    let most = shown(&vec![0; INSPECTED_BINARY_BYTES + 3_000], "");
    assert_eq!(most.lines().count(), INSPECTED_BINARY_BYTES / 16 + 1);
    assert!(most.contains("3000 more are left out"), "{most}");
}

#[test]
fn text_is_bounded_and_says_so() {
    let line = format!("{}\n", "\u{e9}".repeat(500));
    let whole = line.repeat(INSPECTED_TEXT_BYTES / line.len());
    assert_eq!(shown(whole.as_bytes(), "text/plain"), whole);
    for long in [line.repeat(INSPECTED_TEXT_BYTES / line.len() + 2), "x".repeat(2 << 20)] {
        let shown = shown(long.as_bytes(), "text/plain");
        assert!(shown.len() < INSPECTED_TEXT_BYTES + 200);
        assert!(shown.ends_with("goes on; --body writes all of it)\n"));
    }
    // Indented, it would be a hundred times as long.
    let deep = format!("{}1{}{}", "[".repeat(100), ",1".repeat(200_000), "]".repeat(100));
    let shown = shown(deep.as_bytes(), "application/json");
    assert!(shown.len() < INSPECTED_TEXT_BYTES + 200 && shown.contains("goes on"));
}
