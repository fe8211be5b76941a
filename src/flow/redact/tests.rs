use std::time::Duration;

use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::*;

fn masked(media_type: &str, text: &str) -> String {
    Redactor::default().text(media_type, text).into_owned()
}

/// The CPU time that it takes, on which what else the machine does has little influence.
fn work(what: impl FnOnce() -> String) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let began = now();
    drop(what());
    now() - began
}

/// Ways in which a secret is sent; `@` stands for it.
const PLACES: &[(&str, &str)] = &[
    ("application/json", r#"{"user":"bob","password":"@","n":1}"#),
    ("application/json", r#"{"data":{"items":[{"access_token":"@"}]}}"#),
    ("application/json", r#"{"credentials":{"any":["@"]}}"#),
    ("application/json", r#"{"pass\u0077ord":"@"}"#),
    ("application/json", r#"{"inner":"{\"client_secret\":\"@\"}"}"#),
    ("application/json", r#"{"inner":"{\"x\":\"{\\\"apiKey\\\":\\\"@\\\"}\"}"}"#),
    ("application/json", r#"{"link":"https://h.example/cb?code=1&id_token=@&x=1"}"#),
    ("application/json", r#"{"link":"https://bob:@@h.example/"}"#),
    ("application/json", r#"{"note":"Authorization: Bearer @"}"#),
    ("application/json", r#"[{"name":"X-Api-Key","value":"@"}]"#),
    ("application/x-ndjson", "{\"a\":1}\n{\"refreshToken\":\"@\"}\n{\"b\":2}\n"),
    ("text/event-stream", "event: x\ndata: {\"token\":\"@\"}\n\n"),
    ("text/event-stream", "data: {\ndata: \"token\": \"@\"\ndata: }\n\n"),
    ("application/x-www-form-urlencoded", "user=bob&password=@&x=1"),
    ("application/x-www-form-urlencoded", "user%5Bpass%77ord%5D=@&x=1"),
    ("application/x-www-form-urlencoded", "next=https%3A%2F%2Fh%3Ftoken%3D@%26a%3Db&x=1"),
    ("text/xml", "<a><password>@</password></a>"),
    ("text/xml", "<wsse:Password Type=\"x\">@</wsse:Password>"),
    ("text/html", "<input type=\"hidden\" name=\"csrf_token\" value=\"@\">"),
    ("text/html", "<script>window.config = {\"apiKey\":\"@\",\"n\":1};</script>"),
    ("text/javascript", "var config = {apiKey: '@', n: 1};"),
    ("text/plain", "Set-Cookie: sid=@; Path=/\nHost: h\n"),
    ("text/plain", "password = @\n"),
    ("text/plain", "API_KEY=@\nDEBUG=1\n"),
    ("", r#"{"session_id":"@"}"#),
    ("", "a=b&api_key=@"),
    (
        "multipart/form-data; boundary=b",
        "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n@\r\n--b--\r\n",
    ),
];

#[test]
fn secrets_are_masked_wherever_they_stand() {
    for (media_type, place) in PLACES {
        let text = place.replace('@', "Plant3dSecret");
        let text = text.replace("Plant3dSecretPlant3dSecret", "Plant3dSecret@");
        let found = masked(media_type, &text);
        assert!(!found.contains("Plant3d"), "{media_type}: {found}");
        assert!(found.contains(MASK), "{media_type}: {found}");
        assert_eq!(masked(media_type, &found), found);
        // Only the secret is masked.
        let back = found.replace(MASK, "Plant3dSecret");
        assert_eq!(back, text, "{media_type}");
    }
}

#[test]
fn a_text_that_is_cut_shows_nothing_of_the_secret_at_its_end() {
    for (media_type, place) in PLACES.iter().filter(|(_, place)| !place.contains("@@")) {
        let text = place.replace('@', "Plant3dSecret");
        for end in 0..text.len() {
            let found = masked(media_type, &text[..end]);
            assert!(!found.contains("Plant3"), "{media_type}: {found}");
        }
    }
}

#[test]
fn secrets_are_told_by_their_looks_anywhere() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
    for secret in [token, "AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"] {
        for place in [
            format!("{{\"a\":\"{secret}\"}}"),
            format!("{{\"{secret}\":1}}"),
            format!("{{\"a\":\"x\\n{secret}\\n\"}}"),
            format!("https://h/{secret}/x?q={secret}"),
            format!("see {secret}, and <a>{secret}</a>"),
            format!("q=%20{secret}%20"),
        ] {
            for media_type in ["application/json", "", "text/html"] {
                let found = masked(media_type, &place);
                assert!(!found.contains(secret), "{found}");
            }
        }
    }
}

#[test]
fn one_that_is_off_masks_nothing() {
    let off = Redactor::off();
    assert!(!off.is_on() && Redactor::default().is_on());
    let text = "{\"password\":\"x\"}";
    assert_eq!(off.text("application/json", text), text);
    assert_eq!(off.header("Cookie", "a=b"), "a=b");
    assert_eq!(off.url("/?token=x"), "/?token=x");
    let mut value = json!({"password": "x"});
    off.json(&mut value);
    assert_eq!(value, json!({"password": "x"}));
}

#[test]
fn a_bad_pattern_is_shown_where_it_breaks() {
    let error = Redactor::new(&["fine".into(), "a(b".into()]).unwrap_err();
    assert!(error.contains("a(b") && error.contains("unclosed group"), "{error}");
}

/// What a redactor makes of texts in which a secret stands behind `page 1`, in every way to ask.
fn all_ways(redactor: &Redactor) -> Vec<String> {
    let query = "page=1&token=hunter2";
    let members = r#"{"page":1,"token":"hunter2","note":"page=1 token=hunter2","n":5}"#;
    let head = format!("GET /?{query} HTTP/1.1\r\nX-Note: {query}\r\nReferer: /?{query}\r\n\r\n");
    let mut value = json!({ "a": query, "b": [members] });
    redactor.json(&mut value);
    let nested = json!({ "inner": members, "url": format!("/?{query}") }).to_string();
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"page\"\r\n\r\n1\r\n--b\r\n\
                     Content-Disposition: form-data; name=\"token\"\r\n\r\nhunter2\r\n--b--\r\n";
    let mut ways = vec![
        redactor.url(&format!("/p?{query}")).into_owned(),
        redactor.url(&format!("https://h/#/p?{query}")).into_owned(),
        redactor.url(&format!("/go?to=%2F%3F{}", query.replace('=', "%3D"))).into_owned(),
        redactor.header("X-Note", query).into_owned(),
        redactor.header("Location", &format!("/?{query}")).into_owned(),
        redactor.head(&head).into_owned(),
        redactor.named("note", query).into_owned(),
        redactor.words(&format!("page=1 token=hunter2 or {query}")).into_owned(),
        String::from_utf8(redactor.bytes("", query.as_bytes()).into_owned()).unwrap(),
        value.to_string(),
    ];
    for text in [query, members, &nested, multipart, "<p page=1 token='hunter2'>"] {
        let types = ["", "application/json", "text/html", "application/x-www-form-urlencoded"];
        ways.extend(types.map(|media_type| redactor.text(media_type, text).into_owned()));
    }
    ways
}

#[test]
fn extra_patterns_tell_nothing_of_what_is_masked() {
    let shown = |pattern: &str| {
        let mut start = Redactor::default();
        start.settle();
        let ways = all_ways(&start.with(&[pattern.to_owned()]).unwrap());
        assert!(ways.iter().all(|text| !text.contains("hunter")), "{pattern}: {ways:?}");
        ways
    };
    let plain = all_ways(&Redactor::default());
    // Each has a part of the secret, right or wrong, at the end.
    for before in [
        "(?s)(page).*token[^*]*",
        "(page)=1&token=",
        "(page)=1 token=",
        r#"(page)":1,"token":""#,
        r#"(page)\\":1,\\"token\\":\\""#,
        "(page)%3D1&token%3D",
        "(?s)(page)\".*\n",
    ] {
        assert_eq!(shown(&format!("{before}[a-m]unter")), plain, "{before}");
        assert_eq!(shown(&format!("{before}[n-z]unter")), plain, "{before}");
    }
    // What is no secret they find, in each of the ways.
    let found = shown("page");
    assert!(found.iter().all(|text| !text.contains("page")), "{found:?}");
}

#[test]
fn each_extra_pattern_sees_what_those_before_it_have_left() {
    let mut start = Redactor::new(&["ab12".to_owned(), r"id (\d+)".to_owned()]).unwrap();
    start.settle();
    let with = |added: &str| {
        let patterns = [added, "ab12", r"id (\d+)"].map(str::to_owned);
        start.with(&patterns).unwrap()
    };
    for text in ["x ab12, id 345", r#"{"a":"x ab12","b":"id 345"}"#, "n=x+ab12&m=id%20345"] {
        let masked = start.text("", text).into_owned();
        assert_eq!(masked.matches(MASK).count(), 2, "{masked}");
        for guess in ["(x).ab1", "(x).ab2", "ab1", "(id).3", "(id).4", "(?s)x.*345"] {
            assert_eq!(with(guess).text("", text), masked, "{guess}");
        }
        // Neither is anything shown because what stands around it is masked.
        for around in ["id", "x", "[^*]"] {
            let found = with(around).text("", text).into_owned();
            assert!(!found.contains("ab12") && !found.contains("345"), "{around}: {found}");
        }
    }
}

/// None of them hides from another what it needs to see.
#[test]
fn patterns_of_the_user_see_what_the_text_was() {
    for patterns in [[r"\d{4}-", r"acct (\d{4}-\d{6})"], [r"acct (\d{4}-\d{6})", r"\d{4}-"]] {
        let redactor = Redactor::new(&patterns.map(str::to_owned)).unwrap();
        assert_eq!(redactor.text("", "acct 1234-567890"), "acct ***", "{patterns:?}");
    }
    let beside = Redactor::new(&[r"token=\w+ id=(\d+)".to_owned()]).unwrap();
    assert_eq!(beside.text("", "token=abc id=99"), "token=*** id=***");
}

#[test]
fn masks_do_not_grow_with_the_patterns() {
    let any = Redactor::new(&[".", r"\*", "..", r".(\*)", "."].map(str::to_owned)).unwrap();
    for text in ["abc", "/a?b=c", r#"{"ab":"cd","token":"x"}"#, "a%20b=c&d=e"] {
        let found = any.text("", text).into_owned();
        assert!(found.len() <= 3 * text.len() + 9, "{found}");
        assert!(any.url(text).len() <= 3 * text.len() + 9, "{found}");
    }
}

#[test]
fn values_in_memory_are_masked_as_their_text_is() {
    let mut value = json!({
        "password": 1234, "token": "abc", "n": 5, "tokens": ["a", {"id": "b", "type": "c"}],
        "headers": [{"name": "Authorization", "value": "Bearer x"}],
        "body": "{\"secret\":\"x\"}", "key": "name", "author": "bob",
    });
    Redactor::default().json(&mut value);
    let expected = json!({
        "password": "***", "token": "***", "n": 5, "tokens": ["***", {"id": "***", "type": "c"}],
        "headers": [{"name": "Authorization", "value": "Bearer ***"}],
        "body": "{\"secret\":\"***\"}", "key": "name", "author": "bob",
    });
    assert_eq!(value, expected);
}

#[test]
fn work_grows_with_the_text_and_no_faster() {
    let pieces = [
        "token=",
        "\"token\":\"",
        "key=",
        "<token ",
        ":token>",
        "eyJ",
        "://",
        "sk-",
        "a:sk-",
        "Bearer ",
        "basic+",
        "basic%20",
        "password: ",
        "token%3D",
        "token%22%3A%22",
        "key%22%3A%22",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----@",
        "{\"token\":",
        "\\\"token\\\":\\\"",
        "cookie:",
        "token\"",
        "/bot1",
        "monkey=",
        "monkey:'",
        "name=\"token\" ",
        "--b\r\n",
        "[[\"token\",",
        "key=\"",
        "<key>",
        "code:",
        "\u{e9}token ",
        "bearer.authorization.k.io.",
        " -ua:b",
        " -u'",
        " -p",
        "curl -user=",
        "--password ",
        "--password \"",
        "=token ",
        "<i name=token ",
        "(\"token\",",
        "LS0tLS1CRUdJTi",
    ];
    for piece in pieces {
        for media_type in ["", "application/json", "text/html", "multipart/mixed; boundary=b"] {
            let text = piece.repeat((1 << 16) / piece.len());
            let took = work(|| masked(media_type, &text));
            // It takes some milliseconds, and many seconds where it is quadratic.
            assert!(took.as_secs() < 5, "{piece:?} as {media_type:?} took {took:?}");
        }
    }
}

#[test]
fn a_run_behind_a_scheme_is_read_once() {
    for scheme in ["Bearer+", "Basic+"] {
        let text = scheme.repeat((1 << 18) / scheme.len()) + "=\"";
        let took = work(|| masked("text/html", &text));
        assert!(took.as_secs() < 5, "{scheme:?} took {took:?}");
    }
    let long = format!("Bearer {}", "aB3".repeat(1_000));
    assert_eq!(masked("", &long), "Bearer ***");
}

/// JSON of all kinds, with keys that name secrets and keys that do not.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z ]{0,12}",
        "\\PC{0,12}",
        "(token|a|key|pin|password)[=:] ?[a-z\"'0-9]{0,6}",
        "Bearer [a-z0-9.]{0,12}",
        "[\"\\\\/{}\\[\\]:,\\x00-\\x20]{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<i16>().prop_map(|number| json!(f64::from(number) / 8.0)),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[a-z]{1,4}",
        Just("token".to_owned()),
        Just("password".to_owned()),
        Just("name".to_owned()),
        Just("value".to_owned()),
        Just("session".to_owned()),
        "\\PC{0,3}",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Whether two values have the same keys, lengths and kinds; what is masked may be a text.
fn same_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_shape(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| same_shape(a, b))
        }
        (Value::String(_), Value::String(_)) => true,
        (Value::Number(_), Value::String(masked)) => masked == MASK,
        (a, b) => a == b,
    }
}

proptest! {
    #[test]
    fn json_stays_json_of_the_same_shape(value in any_json(), pretty in any::<bool>()) {
        let text = match pretty {
            true => serde_json::to_string_pretty(&value).unwrap(),
            false => value.to_string(),
        };
        let found = masked("application/json", &text);
        let again: Value = serde_json::from_str(&found)
            .map_err(|error| TestCaseError::fail(format!("{error}: {text} -> {found}")))?;
        prop_assert!(same_shape(&value, &again), "{} -> {}", text, found);
        prop_assert_eq!(masked("application/json", &found), found.clone());
        let mut in_memory = value.clone();
        Redactor::default().json(&mut in_memory);
        prop_assert!(same_shape(&value, &in_memory));
    }

    #[test]
    fn a_planted_secret_never_survives(
        value in any_json(), secret in "S3[A-Za-z0-9]{10,20}", key in 0..6_usize,
    ) {
        let keys = ["password", "access_token", "apiKey", "client-secret", "sessionId", "jwt"];
        let value = json!({ "a": value, "b": { keys[key]: [{ "c": secret.clone() }, secret] } });
        let secret = value["b"][keys[key]][1].as_str().unwrap();
        let text = value.to_string();
        prop_assert!(!masked("application/json", &text).contains(secret));
        prop_assert!(!masked("", &text).contains(secret));
        let twice = json!({ "body": text }).to_string();
        prop_assert!(!masked("application/json", &twice).contains(secret));
        let mut in_memory = value.clone();
        Redactor::default().json(&mut in_memory);
        prop_assert!(!in_memory.to_string().contains(secret));
    }

    #[test]
    fn words_without_secrets_stay(text in "([b-df-hj-mw-z]{1,6}[ .,:;=&?/\"'<>{}\\n]{1,2}){0,30}") {
        for media_type in ["", "application/json", "text/html", "text/plain"] {
            prop_assert_eq!(masked(media_type, &text), text.clone());
        }
        prop_assert_eq!(Redactor::default().url(&text), text.clone());
    }

    #[test]
    fn anything_can_be_masked_and_stays_masked(
        text in "((token|password|key|pin|Bearer|cookie|basic|eyJhbGciOi|://|curl -u|--password )?\
                 [ :=\"'{}\\[\\],&;<>/?#%\\\\\\n@.*+-]{0,3}([a-z0-9]{1,6}|\u{e9})?){0,20}",
        media_type in "(application/json|text/html|application/x-www-form-urlencoded|)",
    ) {
        let found = masked(&media_type, &text);
        prop_assert_eq!(masked(&media_type, &found), found.clone(), "from {}", text);
        let url = Redactor::default().url(&text).into_owned();
        prop_assert_eq!(Redactor::default().url(&url), url.clone(), "from {}", text);
        let header = Redactor::default().header("Set-Cookie", &text).into_owned();
        prop_assert_eq!(Redactor::default().header("Set-Cookie", &header), header.clone());
        let header = Redactor::default().header("Sec-WebSocket-Protocol", &text).into_owned();
        let again = Redactor::default().header("Sec-WebSocket-Protocol", &header).into_owned();
        prop_assert_eq!(again, header, "from {}", text);
        let _ = Redactor::default().head(&text);
        let _ = Redactor::default().bytes(&media_type, text.as_bytes());
    }
}
