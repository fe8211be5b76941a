use serde_json::Value;

use crate::flow::redact::Redactor;

fn json(text: &str) -> String {
    Redactor::default().text("application/json", text).into_owned()
}

#[test]
fn values_of_secret_keys_are_masked_in_place() {
    for (text, masked) in [
        (r#"{ "token" : "abc", "n":1.0e2 }"#, r#"{ "token" : "***", "n":1.0e2 }"#),
        (
            r#"{"a":[{"accessToken":"x"},{"user":"bob"}]}"#,
            r#"{"a":[{"accessToken":"***"},{"user":"bob"}]}"#,
        ),
        (r#"{"password":1234,"pin":0,"token":5}"#, r#"{"password":"***","pin":"***","token":5}"#),
        (r#"{"token":null,"secret":true,"jwt":""}"#, r#"{"token":null,"secret":true,"jwt":""}"#),
        (r#"{"authorization":"Bearer x"}"#, r#"{"authorization":"Bearer ***"}"#),
        (r#"{"pass\u0077ord":"x\"y"}"#, r#"{"pass\u0077ord":"***"}"#),
        (r#"{"a":"Bearer abc123","b":"c\/d"}"#, r#"{"a":"Bearer ***","b":"c\/d"}"#),
        (r#"{"url":"https://h/?token=abc&x=1"}"#, r#"{"url":"https://h/?token=***&x=1"}"#),
        (r#"{"token_count":5,"author":"bob"}"#, r#"{"token_count":5,"author":"bob"}"#),
    ] {
        assert_eq!(json(text), masked, "{text}");
        assert_eq!(json(masked), masked, "{masked}");
    }
}

#[test]
fn what_stands_below_a_secret_key_is_secret() {
    for (text, masked) in [
        (r#"{"tokens":["a","b",3]}"#, r#"{"tokens":["***","***",3]}"#),
        (
            r#"{"session":{"id":"a","user":{"name":"bob"},"x":{"y":"z"}},"c":"d"}"#,
            r#"{"session":{"id":"***","user":{"name":"bob"},"x":{"y":"***"}},"c":"d"}"#,
        ),
        (
            r#"[{"name":"Authorization","value":"Bearer a"},{"name":"Host","value":"h"}]"#,
            r#"[{"name":"Authorization","value":"Bearer ***"},{"name":"Host","value":"h"}]"#,
        ),
        (
            r#"{"headers":{"Set-Cookie":["a=b; Path=/"],"cookie":"c=d; e=f"}}"#,
            r#"{"headers":{"Set-Cookie":["a=***; Path=/"],"cookie":"c=***; e=***"}}"#,
        ),
        (r#"{"proxyauth":"me:***"}"#, r#"{"proxyauth":"me:***"}"#),
        (r#"[{"value":"a=b","name":"Cookie"}]"#, r#"[{"value":"a=***","name":"Cookie"}]"#),
        (r#"[["Authorization","a"],["Host","h"]]"#, r#"[["Authorization","***"],["Host","h"]]"#),
        (r#"{"required":["password","email"]}"#, r#"{"required":["password","email"]}"#),
    ] {
        assert_eq!(json(text), masked, "{text}");
        assert_eq!(json(masked), masked, "{masked}");
        // In memory the same is masked.
        let mut value: Value = serde_json::from_str(text).unwrap();
        Redactor::default().json(&mut value);
        let expected: Value = serde_json::from_str(masked).unwrap();
        assert_eq!(value, expected);
    }
}

#[test]
fn texts_in_strings_are_read_as_what_they_are() {
    for (text, masked) in [
        (
            r#"{"body":"{\"password\":\"x\",\"n\":1}"}"#,
            r#"{"body":"{\"password\":\"***\",\"n\":1}"}"#,
        ),
        (r#""{\"token\":\"x\"}""#, r#""{\"token\":\"***\"}""#),
        (
            r#"{"log":"Host: h\nCookie: a=b; c=d\n"}"#,
            r#"{"log":"Host: h\nCookie: a=***; c=***\n"}"#,
        ),
        (
            r#"{"query":"mutation { login(password: \"x\") { id } }"}"#,
            r#"{"query":"mutation { login(password: \"***\") { id } }"}"#,
        ),
        (r#"{"form":"a=b&token=x"}"#, r#"{"form":"a=b&token=***"}"#),
    ] {
        assert_eq!(json(text), masked, "{text}");
    }
    let mut nested = r#"{"password":"deepsecret"}"#.to_owned();
    for _ in 0..5 {
        nested = serde_json::json!({ "inner": nested }).to_string();
    }
    assert!(!json(&nested).contains("deepsecret"));
}

/// What JSON would have as escapes, which would become twice as long with each level.
#[test]
fn raw_control_characters_do_not_grow_with_the_levels() {
    let controls = "\u{2}".repeat(1_000);
    let mut nested = format!(r#"{{"a":"{controls}","password":"deepsecret"}}"#);
    for level in 1..=6 {
        let inner = nested.replace('\\', r"\\").replace('"', r#"\""#);
        nested = format!(r#"{{"inner":"{inner}"}}"#);
        let masked = json(&nested);
        assert!(!masked.contains("deepsecret") && masked.contains(&controls), "level {level}");
        assert!(masked.len() <= nested.len(), "level {level}: {}", masked.len());
    }
    let text = "{\"a\":\"{\\\"token\\\":\\\"x\\\",\\n\u{2}\\t}\"}";
    assert_eq!(json(text), text.replace('x', "***"), "an escape stays one");
}

#[test]
fn nesting_beyond_the_limit_is_masked_as_text() {
    let mut nested = r#"{"password":"deepsecret"}"#.to_owned();
    for _ in 0..crate::limits::MASKED_LEVELS + 4 {
        nested = serde_json::json!([nested]).to_string();
    }
    let masked = json(&nested);
    assert!(!masked.contains("deepsecret"));
    assert!(serde_json::from_str::<serde_json::Value>(&masked).is_ok());
    let brackets = "[".repeat(200_000);
    assert_eq!(json(&brackets), brackets);
    let objects = r#"{"token":"#.repeat(50_000);
    assert_eq!(json(&objects), objects);
}

#[test]
fn streams_of_values_and_what_stands_between() {
    let lines = "{\"token\":\"a\"}\n{\"token\":\"b\"}\n{\"tok";
    assert_eq!(json(lines), "{\"token\":\"***\"}\n{\"token\":\"***\"}\n{\"tok");
    let events = "event: message\ndata: {\"token\":\"a\",\ndata: \"n\":1}\n\ndata: pin=1234\n\n\
                  data: [DONE]\n\n";
    let masked = events.replace("\"a\"", "\"***\"").replace("1234", "***");
    assert_eq!(Redactor::default().text("text/event-stream", events), masked);
    assert_eq!(Redactor::default().text("", events), masked);
    assert_eq!(json(")]}'\n{\"token\":\"a\"}"), ")]}'\n{\"token\":\"***\"}");
    assert_eq!(json("callback({\"token\":\"a\"});"), "callback({\"token\":\"***\"});");
}

#[test]
fn what_is_no_json_is_masked_as_text() {
    assert_eq!(json("{password: 'x', user: 'y'}"), "{password: '***', user: 'y'}");
    assert_eq!(json("<b>token=abc</b> ?token=abc"), "<b>token=abc</b> ?token=***");
    let broken = "{\"a\": \"line\nbreak\", \"token\": \"x\"}";
    assert_eq!(json(broken), broken.replace("\"x\"", "\"***\""));
}

#[test]
fn blanks_that_json_does_not_have_are_passed() {
    assert_eq!(
        json("{\"a\":\u{c}1,\u{b}\"token\":\"x\"}"),
        "{\"a\":\u{c}1,\u{b}\"token\":\"***\"}"
    );
    assert_eq!(json("\u{c}{\u{c}"), "\u{c}{\u{c}");
}

#[test]
fn extra_patterns_leave_json_valid() {
    let redactor = Redactor::new(&[r"\d{4}-\d{4}".to_owned(), r"id:(\w+)".to_owned()]).unwrap();
    let text = r#"{"card":"1234-5678","n":12345678,"x":"id:abc"}"#;
    assert_eq!(
        redactor.text("application/json", text),
        r#"{"card":"***","n":12345678,"x":"id:***"}"#
    );
    let numbers = Redactor::new(&[r"\d{8}".to_owned()]).unwrap();
    assert_eq!(
        numbers.text("application/json", text),
        r#"{"card":"1234-5678","n":"***","x":"id:abc"}"#
    );
    let structure = Redactor::new(&[r#""x":\s*"([^"]*)""#.to_owned()]).unwrap();
    assert!(structure.text("application/json", text).contains(r#""x":"***""#));
    let greedy = Redactor::new(&[r#"card.*n"#.to_owned()]).unwrap();
    let masked = greedy.text("application/json", text).into_owned();
    assert!(serde_json::from_str::<serde_json::Value>(&masked).is_ok(), "{masked}");
}
