//! What each option takes, refuses and shows.

use proptest::prelude::*;
use serde_json::json;

use super::error::Reason;
use super::*;
use crate::limits::{OPTION_ITEMS, OPTION_TEXT_BYTES, OPTION_WAIT_LONGEST, OPTION_WAIT_SHORTEST};

fn shared() -> SharedOptions {
    SharedOptions::new(Options::default())
}

fn unmasked() -> SharedOptions {
    let mut options = Options::default();
    options.set_text("redact", "false").unwrap();
    SharedOptions::new(options)
}

fn all(options: &SharedOptions) -> Map<String, Value> {
    let names: Vec<_> = names().map(str::to_owned).collect();
    options.describe(Some(&names)).unwrap()
}

/// Sets an option while the proxy runs, or before that where it is decided on then.
fn set(options: &SharedOptions, name: &str, value: &Value) -> Result<Value, OptionError> {
    if name != "store_bytes" {
        return options.set(name, value);
    }
    options.change(|options| options.set(name, value))?;
    options.current().show(name)
}

/// Two values for each option, as they are given and as they are then shown.
fn examples(name: &str) -> [(Value, Value); 2] {
    let same = |value: Value| (value.clone(), value);
    match name {
        "intercept" => [same(json!("~q")), (json!(" "), json!(null))],
        name if name.ends_with("_timeout") => [same(json!(0.157)), (json!(20.0), json!(20))],
        "anticache" | "anticomp" | "showhost" | "websocket" | "rawtcp" => {
            [same(json!(true)), same(json!(false))]
        }
        "flow_detail" => [same(json!(0)), same(json!(4))],
        "body_size_limit" | "capture_body_limit" => {
            [(json!("512K"), json!("512k")), (json!("none"), json!(null))]
        }
        "allow_hosts" | "ignore_hosts" => {
            [same(json!([r"example\.com:443", "^a"])), same(json!([]))]
        }
        "block_list" => [same(json!(["/~all/404", "|~q|444"])), same(json!([]))],
        "connection_strategy" => [same(json!("eager")), same(json!("lazy"))],
        "proxyauth" => [same(json!("user:pass:word")), same(json!(null))],
        "tls_version_client_min" | "tls_version_server_min" => {
            [same(json!("TLS1_3")), same(json!("TLS1_2"))]
        }
        "connections" | "connections_per_client" => [same(json!(1)), same(json!(null))],
        "pooled_connections" => [same(json!(0)), same(json!(1_024))],
        "held_flows" => [same(json!(1)), same(json!(10_000))],
        "store_bytes" => [same(json!("1m")), (json!("65536k"), json!("64m"))],
        "redact" => [same(json!(true)), same(json!(true))],
        "redact_patterns" => [same(json!([r"s\d+x"])), same(json!([r"s\d+x", r"t(\d)"]))],
        other => panic!("{other} has no examples"),
    }
}

/// Values that each option refuses, beside objects.
fn bad_examples(name: &str) -> Vec<Value> {
    match name {
        "intercept" => vec![json!(1), json!(["~q"]), json!("x".repeat(OPTION_TEXT_BYTES + 1))],
        name if name.ends_with("_timeout") => {
            let long = OPTION_WAIT_LONGEST.as_secs() + 1;
            let short = OPTION_WAIT_SHORTEST.as_secs_f64() * 0.9;
            vec![json!("20"), json!(null), json!(-1), json!(long), json!(short), json!(1e300)]
        }
        "anticache" | "anticomp" | "showhost" | "websocket" | "rawtcp" | "redact" => {
            vec![json!("true"), json!(1), json!(null)]
        }
        "flow_detail" => vec![json!(5), json!(-1), json!(1.5), json!("1"), json!(true)],
        "connections" | "connections_per_client" => {
            vec![json!(0), json!(-1), json!(1.5), json!("1"), json!(1_000_001)]
        }
        "pooled_connections" => vec![json!(-1), json!(1_025), json!(null)],
        "held_flows" => vec![json!(0), json!(10_001), json!(null)],
        "store_bytes" => vec![json!("1023k"), json!("65g"), json!(null), json!("none"), json!("x")],
        "body_size_limit" | "capture_body_limit" => vec![
            json!("1x"),
            json!("m"),
            json!(""),
            json!("-1"),
            json!("+1"),
            json!("99999999999g"),
            json!(1.5),
            json!(u64::MAX),
            json!([]),
        ],
        "allow_hosts" | "ignore_hosts" | "redact_patterns" => {
            let many = vec!["a"; OPTION_ITEMS + 1];
            vec![json!("a"), json!([1]), json!(many), json!(["a".repeat(OPTION_TEXT_BYTES + 1)])]
        }
        "block_list" => vec![json!("/~all/404"), json!(["/~all/99"]), json!(["/~all/404", null])],
        "connection_strategy" => vec![json!("Eager"), json!(null), json!(true)],
        "proxyauth" => vec![json!("any"), json!("a:b\r\nc"), json!("a:***"), json!(["a:b"])],
        "tls_version_client_min" | "tls_version_server_min" => vec![json!("TLS1_1"), json!(1.3)],
        other => panic!("{other} has no examples"),
    }
}

#[test]
fn every_option_takes_and_shows_its_values() {
    for name in names() {
        let options = unmasked();
        for (given, shown) in examples(name) {
            assert_eq!(set(&options, name, &given), Ok(shown.clone()), "{name}: {given}");
            assert_eq!(options.current().show(name), Ok(shown), "{name}: {given}");
        }
    }
}

#[test]
fn every_option_refuses_what_is_not_its_own_and_stays() {
    for name in names() {
        let options = unmasked();
        let [(given, _), _] = examples(name);
        set(&options, name, &given).unwrap();
        let (before, version) = (all(&options), options.version());
        for bad in bad_examples(name).into_iter().chain([json!({"a": 1})]) {
            let error = set(&options, name, &bad).expect_err(&format!("{name}: {bad}"));
            let OptionError::Refused { in_force, .. } = &error else { panic!("{name}: {error:?}") };
            assert_eq!(*in_force, before[name], "{name}: {bad}");
            assert!(error.to_string().starts_with(&format!("{name} takes ")), "{error}");
            assert!(error.to_string().len() < 400, "{error}");
            assert_eq!((all(&options), options.version()), (before.clone(), version));
        }
    }
}

#[test]
fn errors_say_what_was_expected_and_what_is_in_force() {
    let options = shared();
    let error = |name, value: Value| options.set(name, &value).unwrap_err().to_string();
    assert_eq!(
        error("flow_detail", json!(9)),
        "flow_detail takes a whole number from 0 to 4, not 9; it stays 1"
    );
    assert_eq!(
        error("connection_strategy", json!("never")),
        "connection_strategy takes \"eager\" or \"lazy\", not \"never\"; it stays \"lazy\""
    );
    assert_eq!(
        error("connect_timeout", json!("soon")),
        "connect_timeout takes seconds, a number from 0.1 to 86400, not \"soon\"; it stays 30"
    );
    assert_eq!(
        error("block_list", json!(["/~all/7"])),
        "block_list takes a list of rules as \"/filter/status\": '/~all/7': the status is a \
         number from 200 to 599, not '7'; it stays []"
    );
    assert!(error("allow_hosts", json!(["("])).contains("'(': "));
    let unclosed = error("redact_patterns", json!(["("]));
    assert!(unclosed.ends_with("the pattern '(': unclosed group; it stays []"), "{unclosed}");
    assert!(error("capture_body_limit", json!("1x")).ends_with("not \"1x\"; it stays \"16m\""));
}

#[test]
fn what_does_not_exist_is_told_with_what_is_near() {
    let options = shared();
    let error = |name: &str| options.set(name, &json!(true)).unwrap_err().to_string();
    assert_eq!(error("antichache"), "there is no option 'antichache'; did you mean anticache?");
    assert!(error("body-size-limit").ends_with("did you mean body_size_limit?"));
    assert!(error("http2").contains("there are: intercept, "));
    assert!(error(&"x".repeat(1_000_000)).len() < 600);
    let keys = ["anticomp".to_owned(), "shohwost".to_owned()];
    let error = options.describe(Some(&keys)).unwrap_err();
    assert_eq!(error, OptionError::Unknown { name: "shohwost".into(), near: Some("showhost") });
}

#[test]
fn what_is_decided_at_the_start_is_refused_with_the_way_to_do_it() {
    let options = shared();
    let fixed = [
        ("listen_host", "--listen"),
        ("listen_port", "--port"),
        ("mode", "regular"),
        ("server", "serves"),
        ("ssl_insecure", "--insecure-upstream"),
        ("confdir", "--confdir"),
        ("store_bytes", "--set store_bytes=SIZE"),
    ];
    for (name, told) in fixed {
        let error = options.set(name, &json!(1)).unwrap_err();
        assert!(matches!(error, OptionError::Fixed { .. }));
        assert!(error.to_string().starts_with(&format!("{name} cannot be set here: ")));
        assert!(error.to_string().contains(told), "{error}");
        if name == "store_bytes" {
            continue;
        }
        assert!(options.describe(Some(&[name.to_owned()])).is_err());
    }
}

#[test]
fn the_usual_options_are_described_where_none_is_named() {
    let options = shared();
    let usual = options.describe(None).unwrap();
    assert_eq!(usual, options.describe(Some(&[])).unwrap());
    assert!(usual.contains_key("intercept") && usual.contains_key("redact"));
    assert!(!usual.contains_key("proxyauth"));
    assert_eq!(usual["capture_body_limit"], json!("16m"));
}

#[test]
fn a_command_line_gives_text() {
    let mut options = Options::default();
    let line = [
        ("anticache", "true"),
        ("flow_detail", "2"),
        ("idle_timeout", "1.5"),
        ("body_size_limit", "1000"),
        ("capture_body_limit", "none"),
        ("intercept", "~m POST"),
        ("block_list", "/~d a/404"),
        ("block_list", "/~d b/444"),
        ("connection_strategy", "eager"),
        ("proxyauth", "u:1"),
        ("tls_version_server_min", "TLS1_3"),
    ];
    for (name, text) in line {
        options.set_text(name, text).unwrap();
    }
    assert!(options.anticache);
    assert_eq!((options.flow_detail, options.idle_timeout), (2, Duration::from_millis(1_500)));
    assert_eq!((options.body_size_limit, options.capture_body_limit), (Some(1_000), u64::MAX));
    assert_eq!(options.intercept.as_ref().map(Filter::text), Some("~m POST"));
    let blocked: Vec<_> =
        options.block_list.iter().map(|rule| (rule.filter.text(), rule.status)).collect();
    assert_eq!(blocked, [("~d a", 404), ("~d b", 444)]);
    assert_eq!(options.connection_strategy, ConnectionStrategy::Eager);
    assert_eq!(options.proxyauth.as_deref(), Some("u:1"));
    assert_eq!(options.tls_version_server_min, TlsVersion::Tls13);
    for name in ["intercept", "block_list", "proxyauth", "body_size_limit"] {
        options.set_text(name, "").unwrap();
        assert_eq!(options.show(name), Options::default().show(name), "{name}");
    }
    for (name, text) in [("anticache", "yes"), ("flow_detail", "true"), ("idle_timeout", "")] {
        let error = options.set_text(name, text).unwrap_err().to_string();
        assert!(error.contains(&format!("not \"{text}\"")), "{error}");
    }
}

#[test]
fn a_list_that_grows_by_an_item_reads_that_alone() {
    let mut known: Vec<String> = Vec::new();
    for items in [json!(["a"]), json!(["a", "b"]), json!(["a", "b", "c"]), json!(["b", "c"])] {
        let reads = std::cell::Cell::new(0);
        let item = |text: &str| {
            reads.set(reads.get() + 1);
            Ok(text.to_owned())
        };
        let moved = items.as_array().unwrap().len() < known.len();
        known = value::list(&items, &known, String::as_str, item).unwrap();
        assert_eq!(json!(known), items);
        assert_eq!(reads.get(), if moved { 2 } else { 1 });
    }
}

#[test]
fn items_that_stay_do_what_they_did() {
    let mut options = Options::default();
    for count in 1..=20 {
        let host = format!("host{count}");
        options.set_text("block_list", &format!("/~d {host}/404")).unwrap();
        options.set_text("ignore_hosts", &format!("^{host}:")).unwrap();
        options.set_text("redact_patterns", &format!("s{count}x")).unwrap();
    }
    assert_eq!((options.block_list.len(), options.ignore_hosts.len()), (20, 20));
    assert!(!options.intercepts("host1", 443, None) && options.intercepts("host0", 443, None));
    assert_eq!(options.redactor.text("", "s1x s20x s0x"), "*** *** s0x");
}

fn host_options(allow: &[&str], ignore: &[&str]) -> Options {
    let mut options = Options::default();
    options.set("allow_hosts", &json!(allow)).unwrap();
    options.set("ignore_hosts", &json!(ignore)).unwrap();
    options
}

#[test]
fn hosts_are_searched_with_their_port_and_without_regard_to_case() {
    let options = host_options(&[r"Example\.com:443$", "^::1:"], &[]);
    assert!(options.intercepts("a.EXAMPLE.com", 443, None));
    assert!(!options.intercepts("a.example.com", 8443, None));
    assert!(options.intercepts("::1", 80, None));
    assert!(options.intercepts("192.0.2.1", 443, Some("example.com")), "either name allows");
    assert!(options.intercepts("example.com", 443, Some("other")));
    assert!(!options.intercepts("192.0.2.1", 443, Some("other")));
    assert!(Options::default().intercepts("any", 1, None));
}

#[test]
fn ignoring_wins_over_allowing() {
    let options = host_options(&["example"], &["secret"]);
    assert!(options.intercepts("a.example", 443, None));
    assert!(!options.intercepts("secret.example", 443, None));
    assert!(!options.intercepts("a.example", 443, Some("secret")));
    assert!(!options.intercepts("other", 443, None));
    assert!(options.needs_server_name() && !Options::default().needs_server_name());
}

#[test]
fn a_password_is_shown_only_where_nothing_is_masked() {
    let set = |options: &SharedOptions| options.set("proxyauth", &json!("user:secret"));
    assert_eq!(set(&unmasked()), Ok(json!("user:secret")));
    let masked = shared();
    assert_eq!(set(&masked), Ok(json!("user:***")));
    let error = masked.set("proxyauth", &json!("hunter2")).unwrap_err().to_string();
    assert!(error.ends_with("it stays \"user:***\"") && !error.contains("hunter2"), "{error}");
    let error = masked.set("proxyauth", &json!("hunter:***")).unwrap_err().to_string();
    assert!(error.contains("*** stands for"), "{error}");
    assert_eq!(masked.set("proxyauth", &json!("user:***")), Ok(json!("user:***")));
    assert_eq!(masked.current().proxyauth.as_deref(), Some("user:secret"));
}

#[test]
fn masking_is_only_ever_added_to_while_the_proxy_runs() {
    let mut options = Options::default();
    options.set_text("redact", "false").unwrap();
    options.set_text("redact_patterns", r"s\d+x").unwrap();
    assert!(!options.redactor.is_on(), "a pattern alone switches nothing on");
    let options = SharedOptions::new(options);
    assert_eq!(options.set("redact", &json!(false)), Ok(json!(false)));
    assert_eq!(options.set("redact", &json!(true)), Ok(json!(true)));
    let more = json!([r"t\d", r"s\d+x"]);
    assert_eq!(options.set("redact_patterns", &more), Ok(more));
    for (name, value) in [("redact", json!(false)), ("redact_patterns", json!([r"t\d"]))] {
        let error = options.set(name, &value).unwrap_err();
        let OptionError::Refused { reason: Reason::Because(reason), .. } = &error else {
            panic!("{error:?}")
        };
        assert!(reason.contains("not reduced"), "{error}");
    }
    let current = options.current();
    assert!(current.redactor.is_on());
    assert_eq!(current.redact_patterns, [r"t\d", r"s\d+x"]);
}

/// Who adds a pattern must not see what the others mask, wherever it stands in the list.
#[test]
fn patterns_in_force_come_before_those_that_are_added() {
    let mut options = Options::default();
    options.set_text("redact_patterns", "ab12").unwrap();
    let options = SharedOptions::new(options);
    let mut patterns = vec!["ab12"];
    for guess in ["(x) ab1", "(x) ab2", "ab"] {
        patterns.insert(0, guess);
        options.set("redact_patterns", &json!(patterns)).unwrap();
        options.set("redact", &json!(true)).unwrap();
        assert_eq!(options.current().redactor.words("x ab12"), "x ***", "{guess}");
    }
}

#[test]
fn a_list_that_is_shown_masked_can_be_added_to() {
    let options = shared();
    let mut shown = options.set("redact_patterns", &json!(["hunter2", "hunter3"])).unwrap();
    shown.as_array_mut().unwrap().insert(0, json!(r"t\d"));
    options.set("redact_patterns", &shown).unwrap();
    assert_eq!(options.current().redact_patterns, [r"t\d", "hunter2", "hunter3"]);
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let options = shared();
    let failed = options.change(|options| {
        options.anticache = true;
        Err("no")
    });
    assert_eq!((failed, options.version()), (Err("no"), 0));
    assert!(!options.current().anticache);
    options.set("anticache", &json!(true)).unwrap();
    assert_eq!(options.version(), 1);
}

#[test]
fn every_option_has_its_words() {
    let table = docs_table();
    for name in names() {
        assert!(table.contains(&format!("| `{name}` | ")), "{name}");
    }
    assert!(table.lines().all(|line| !line.ends_with(". |")));
    assert!(table.contains("| \"eager\" or \"lazy\" | lazy |"));
}

proptest! {
    #[test]
    fn what_is_shown_can_be_set_and_changes_nothing(
        picked in proptest::collection::vec(0_usize..3, 32),
        masked: bool,
    ) {
        let options = if masked { shared() } else { unmasked() };
        for (name, pick) in names().zip(picked) {
            // Masking cannot be reduced, and one list of patterns contains the other.
            if name != "redact" && let Some((given, _)) = examples(name).get(pick) {
                set(&options, name, given).unwrap();
            }
        }
        let (before, debug) = (all(&options), format!("{:?}", options.current()));
        for (name, shown) in &before {
            prop_assert_eq!(set(&options, name, shown), Ok(shown.clone()));
        }
        prop_assert_eq!(all(&options), before);
        prop_assert_eq!(format!("{:?}", options.current()), debug);
    }

    #[test]
    fn no_text_panics(name: prop::sample::Index, text in "\\PC{0,30}") {
        let mut options = Options::default();
        let name = *name.get(&names().collect::<Vec<_>>());
        let _ = options.set_text(name, &text);
        let _ = options.set(name, &json!([text]));
    }

    #[test]
    fn sizes_are_shown_as_they_are_read(bytes in 0..u64::MAX) {
        let mut options = Options::default();
        for bytes in [bytes, bytes << 10, bytes << 20 >> 1] {
            options.set("body_size_limit", &json!(bytes)).unwrap_or_default();
            let shown = options.show("body_size_limit").unwrap();
            let before = options.body_size_limit;
            options.set("body_size_limit", &shown).unwrap();
            prop_assert_eq!(options.body_size_limit, before);
        }
    }
}
