use super::*;

fn one(text: &str) -> Read {
    match read(text.as_bytes()) {
        Ok(Incoming::One(read)) => read,
        other => panic!("{text}: {other:?}"),
    }
}

fn code_of(text: &str) -> i32 {
    match read(text.as_bytes()) {
        Err(error) => error.code,
        Ok(Incoming::One(Err(rejected))) => rejected.error.code,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn ids_come_back_as_they_came() {
    let ids = ["0", "-1", "7", "123456789012345678901234567890", r#""7""#, r#""""#, r#""a\"b""#];
    for id in ids {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let Ok(Message::Request(request)) = one(&text) else { panic!("{id}") };
        assert_eq!(
            result(&request.id, "{}"),
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
        );
    }
    let Ok(Message::Request(request)) = one(r#"{"jsonrpc":"2.0","id":"\u0041","method":"m"}"#)
    else {
        panic!()
    };
    assert_eq!(request.id, Id::Text("A".to_owned()));
    assert_eq!(Id::from_value(&json!("A")), Some(request.id));
}

#[test]
fn what_is_no_id_is_refused() {
    let long = format!("\"{}\"", "x".repeat(MCP_ID_BYTES));
    for id in ["null", "1.5", "1.0", "1e3", "true", "[]", "{}", &long] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let Err(rejected) = one(&text) else { panic!("{id}") };
        assert_eq!((rejected.id, rejected.error.code), (None, INVALID_REQUEST), "{id}");
    }
}

#[test]
fn messages_are_told_apart() {
    assert!(matches!(
        one(r#" {"method":"m","jsonrpc":"2.0","params":{"a":1},"more":[1]} "#),
        Ok(Message::Notification { method, params }) if method == "m" && params["a"] == 1
    ));
    assert_eq!(one(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Ok(Message::Response));
    assert_eq!(one(r#"{"jsonrpc":"2.0","id":1,"error":{}}"#), Ok(Message::Response));
    assert_eq!(one(r#"{"jsonrpc":"2.0","id":1,"result":null}"#), Ok(Message::Response));
    for params in ["null", "{}"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
        assert!(
            matches!(one(&text), Ok(Message::Request(Request { params, .. })) if params.is_empty())
        );
    }
    // Nor does half of a surrogate pair or too large a number cost the others of a batch theirs.
    for params in ["[1]", r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
        let Err(rejected) = one(&text) else { panic!("{params}") };
        let id = Some(Id::Integer("1".into()));
        assert_eq!((rejected.id, rejected.error.code), (id, INVALID_PARAMS), "{params}");
    }
}

#[test]
fn what_is_no_json_and_what_is_no_message_have_their_codes() {
    for text in ["", "{", "nonsense", "{}{}", "[1", "\u{1}", r#"{"a":1,}"#, "{'a':1}"] {
        assert_eq!(code_of(text), PARSE_ERROR, "{text}");
    }
    assert_eq!(read(b"\xff").unwrap_err().code, PARSE_ERROR);
    for text in [
        "5",
        "null",
        r#""text""#,
        "{}",
        "[]",
        r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
        r#"{"id":1,"method":"m"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#,
    ] {
        assert_eq!(code_of(text), INVALID_REQUEST, "{text}");
    }
}

#[test]
fn batches_keep_their_order_and_their_bad_elements() {
    let text = r#"[{"jsonrpc":"2.0","id":1,"method":"a"},5,{"jsonrpc":"2.0","method":"b"}]"#;
    let Ok(Incoming::Batch(batch)) = read(text.as_bytes()) else { panic!() };
    assert!(matches!(&batch[0], Ok(Message::Request(request)) if request.method == "a"));
    assert!(matches!(&batch[1], Err(rejected) if rejected.error.code == INVALID_REQUEST));
    assert!(matches!(&batch[2], Ok(Message::Notification { .. })));
    let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert!(read(many(MCP_BATCH_MESSAGES).as_bytes()).is_ok());
    assert_eq!(read(many(MCP_BATCH_MESSAGES + 1).as_bytes()).unwrap_err().code, INVALID_REQUEST);
}

#[test]
fn deep_and_wide_messages_are_refused_before_they_are_parsed() {
    let params =
        |inner: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{inner}}}"#);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(code_of(&nested(200_000)), PARSE_ERROR);
    assert_eq!(code_of(&"[".repeat(200_000)), PARSE_ERROR);
    assert_eq!(code_of(&r#"{"a":"#.repeat(200_000)), PARSE_ERROR);
    let within = format!(r#"{{"a":{}}}"#, nested(MCP_JSON_DEPTH - 2));
    assert!(one(&params(&within)).is_ok());
    let beyond = format!(r#"{{"a":{}}}"#, nested(MCP_JSON_DEPTH - 1));
    assert_eq!(code_of(&params(&beyond)), PARSE_ERROR);
    let wide = |count: usize| format!(r#"{{"a":[{}]}}"#, vec!["0"; count].join(","));
    assert!(one(&params(&wide(MCP_JSON_VALUES - 20))).is_ok());
    assert_eq!(code_of(&params(&wide(MCP_JSON_VALUES))), PARSE_ERROR);
    // Marks inside of strings count for nothing.
    let text = params(&format!(r#"{{"a":"{}\""}}"#, "[,".repeat(MCP_JSON_VALUES)));
    assert!(one(&text).is_ok());
}

#[test]
fn replies_are_one_line_for_every_reader() {
    let json = one_line(json!({ "t": "a\u{2028}b\u{85}é\n" }).to_string());
    assert_eq!(json, r#"{"t":"a\u2028b\u0085é\n"}"#);
    let text = result(&Id::Text("\u{2029}".into()), &json);
    assert!(text.starts_with(r#"{"jsonrpc":"2.0","id":"\u2029","result":{"t":"#), "{text}");
    let refused = RpcError::new(PARSE_ERROR, "no").with(json!({ "a": 1 }));
    assert_eq!(
        error(None, &refused),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"data":{"a":1},"message":"no"}}"#
    );
    assert_eq!(notification("n", &json!({})), r#"{"jsonrpc":"2.0","method":"n","params":{}}"#);
    assert_eq!(batch(&["1".into(), "2".into()]), "[1,2]");
}

#[test]
fn errors_quote_only_so_much() {
    for filler in ["x", "\u{1}", "\u{e000}"] {
        let refused = RpcError::new(METHOD_NOT_FOUND, filler.repeat(1_000_000))
            .with(json!({ "requested": filler.repeat(1_000_000) }));
        let text = error(None, &refused);
        assert!(text.len() < 7 * MCP_ERROR_BYTES, "{}", text.len());
        let reply: Value = serde_json::from_str(&text).unwrap();
        assert!(reply["error"]["message"].as_str().unwrap().ends_with('…'));
        assert_eq!(reply["error"].get("data"), None);
    }
}
