use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::*;
use crate::capture::flow::Message;

/// Shells that a command is for. The first two have to be there.
const SHELLS: [&str; 4] = ["sh", "bash", "zsh", "busybox"];

fn flow(method: &str, url: &str, fields: &[(&str, &str)], body: &[u8]) -> Flow {
    let field =
        |(name, value): &(&str, &str)| Field { name: (*name).into(), value: (*value).into() };
    Flow {
        method: method.into(),
        url: url.into(),
        request: Message {
            version: "HTTP/1.1".into(),
            fields: fields.iter().map(field).collect(),
            body: Body { bytes: body.to_vec().into(), ..Body::default() },
            ..Message::default()
        },
        ..Flow::default()
    }
}

fn text(flow: &Flow) -> String {
    command(flow, None, &Redactor::off())
}

/// A request as it came over the wire, transfer coding undone.
#[derive(Debug, PartialEq, Eq)]
struct Arrived {
    line: String,
    /// Host first, and without Content-Length.
    fields: Vec<String>,
    body: Vec<u8>,
}

fn arrived(stream: impl Read) -> Arrived {
    let mut stream = BufReader::new(stream);
    let mut line = || {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).unwrap();
        String::from_utf8(line).unwrap().strip_suffix("\r\n").unwrap().to_owned()
    };
    let first = line();
    let mut fields = Vec::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let field = line();
        if field.is_empty() {
            break;
        }
        match field.strip_prefix("Content-Length: ") {
            Some(bytes) => length = bytes.parse().unwrap(),
            None => fields.push(field.clone()),
        }
        chunked |= field == "Transfer-Encoding: chunked";
    }
    let mut body = Vec::new();
    loop {
        if chunked {
            let mut size = String::new();
            stream.read_line(&mut size).unwrap();
            length = usize::from_str_radix(size.trim(), 16).unwrap();
        }
        let before = body.len();
        body.resize(before + length, 0);
        stream.read_exact(&mut body[before..]).unwrap();
        if !chunked {
            break;
        }
        stream.read_exact(&mut [0; 2]).unwrap();
        if length == 0 {
            break;
        }
    }
    Arrived { line: first, fields, body }
}

/// What comes of a command that a shell runs; `None` where the machine has no such shell.
fn run(shell: &str, command: &str, origin: &TcpListener) -> Option<Arrived> {
    let (told, arrives) = channel();
    let listener = origin.try_clone().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let arrived = arrived(&stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let _ = told.send(arrived);
    });
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".curlrc"), "max-time = 30\nsilent\n").unwrap();
    let mut shell = match shell {
        "busybox" => {
            let mut busybox = Command::new("busybox");
            busybox.arg("sh");
            busybox
        }
        shell => Command::new(shell),
    };
    let running = shell
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("CURL_HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok();
    let Some(mut running) = running else {
        // Ends the thread.
        drop(std::net::TcpStream::connect(origin.local_addr().unwrap()));
        return None;
    };
    let mut script = running.stdin.take().unwrap();
    script.write_all(command.as_bytes()).unwrap();
    drop(script);
    let output = running.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}\n{command}");
    Some(arrives.recv_timeout(Duration::from_secs(30)).unwrap())
}

/// Runs the command of a flow in every shell and compares what arrives with what was recorded.
fn assert_repeats(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = origin.local_addr().unwrap().to_string();
    let fields: Vec<_> = [("Host", authority.as_str())].iter().chain(fields).copied().collect();
    let path = if target == "*" { "" } else { target };
    let flow = flow(method, &format!("http://{authority}{path}"), &fields, body);
    let command = text(&flow);
    let sent = |(name, value): &&(&str, &str)| match *value {
        "" => format!("{name}:"),
        value => format!("{name}: {value}"),
    };
    let counted = |(name, _): &&(&str, &str)| *name != "Content-Length";
    let expected = Arrived {
        line: format!("{method} {target} HTTP/1.1"),
        fields: fields.iter().filter(counted).map(|field| sent(&field)).collect(),
        body: body.to_vec(),
    };
    let mut ran = Vec::new();
    for shell in SHELLS {
        if let Some(arrived) = run(shell, &command, &origin) {
            assert!(arrived == expected, "{shell}: {command}\n{arrived:?}\n{expected:?}");
            ran.push(shell);
        }
    }
    assert!(ran.starts_with(&SHELLS[..2]), "{ran:?}");
}

const CLIENT: [(&str, &str); 2] = [("User-Agent", "x/1"), ("Accept", "*/*")];

#[test]
fn what_arrives_is_what_was_recorded() {
    assert_repeats("GET", "/", &[], b"");
    assert_repeats("GET", "/a?b=c%20d&e='f'!$HOME`id`", &CLIENT, b"");
    assert_repeats("DELETE", "/x", &[("Content-Length", "0")], b"");
    assert_repeats("OPTIONS", "*", &CLIENT, b"");
    assert_repeats("PURGE", "/x", &[("X-Empty", ""), ("x-twice", "1"), ("X-Twice", "2")], b"");
    let json = "{\"it's\": \"100% \\\\ \u{e9}\", \"n\": [1, 2]}\n";
    let fields = [
        CLIENT[0],
        ("Content-Type", "application/json"),
        ("Cookie", "a=b; c='d'"),
        ("Authorization", "Basic YTpi"),
        ("Content-Length", "1"),
    ];
    assert_repeats("POST", "/json", &fields, json.as_bytes());
    assert_repeats("PUT", "/at", &fields, b"@/etc/hostname");
    assert_repeats("POST", "/chunked", &[("Transfer-Encoding", "chunked")], b"in chunks");
    assert_repeats("GET", "/search", &fields, b"{\"query\": 1}");
    assert_repeats("POST", "/empty", &[("Content-Length", "0")], b"");
}

#[test]
fn odd_targets_arrive_as_they_were() {
    for target in [
        "/a/../b/./c?d=/../e",
        "/%2e%2E/x%zz%",
        "/list?a[0]=1&b={x,y}&c=[1-3]",
        "/caf\u{e9}?q=\u{2603}",
        "/a\\b|c\"d<e>^f`g",
        "//double//slash?",
        "/x?a=\u{202e}b",
    ] {
        assert_repeats("GET", target, &[], b"");
    }
}

#[test]
fn bytes_of_any_kind_arrive_as_they_were() {
    let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let binary = [("Content-Type", "application/octet-stream"), ("Content-Length", "1")];
    assert_repeats("POST", "/binary", &binary, &all);
    assert_repeats(
        "PUT",
        "/form",
        &binary,
        b"--b\r\nContent-Disposition: form-data\r\n\r\n%s%n\r\n",
    );
    assert_repeats("POST", "/tabs", &binary, b"\ta\n\n\x1b[2J\x07'\\'\x7f\n");
    assert_repeats("POST", "/newlines", &binary, b"\n\na\n\n");
    // Beyond what systems take as one argument.
    let long = "line 'of' text \u{e9} %s \\n\n".repeat(20_000);
    assert!(long.len() > 3 * 128 * 1024);
    assert_repeats("POST", "/long", &binary, long.as_bytes());
    let noise: Vec<u8> = (0..200_000_u32).map(|it| (it.wrapping_mul(it) >> 7) as u8).collect();
    assert_repeats("POST", "/noise", &binary, &noise);
    let edge = "x".repeat(CURL_BODY_BYTES);
    assert_repeats("POST", "/edge", &binary, edge.as_bytes());
}

#[test]
fn values_that_could_act_at_a_prompt_arrive_as_they_were() {
    let fields = [
        ("X-Quote", "it's $(id) `id` \"!!\" \\ ; rm -rf * # &"),
        ("X-Tab", "a\tb%s\\"),
        ("X-Marks", "a\u{202e}b\u{feff}'"),
        ("X-At", "@/etc/hostname"),
        ("x-o'clock", "1"),
    ];
    assert_repeats("GET", "/x", &fields, b"");
    assert_repeats("IT'S", "/x", &fields, b"");
    let bad =
        flow("G\x1b[0m", "http://h/\x1b]0;x\x07", &[("X", "\x1b[2J"), ("Y\n", "\x07")], b"\x1b");
    for line in text(&bad).lines() {
        assert!(stands_plain(line), "{line:?}");
    }
}

#[test]
fn the_body_may_come_from_elsewhere() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", origin.local_addr().unwrap());
    let flow = flow("POST", &url, &[], b"\0from the bundle");
    let command = command(&flow, Some("{ printf '\\0from \\055'; echo; }"), &Redactor::off());
    assert_eq!(run("sh", &command, &origin).unwrap().body, b"\0from -\n");
}

#[test]
fn no_url_becomes_many_and_no_request_two() {
    let has_globoff = |url: &str| text(&flow("GET", url, &[], b"")).contains("--globoff");
    for url in
        ["http://[1-1000000].example/", "http://{a,b}/", "http://{a,b}/\u{e9}", "http://h/[1-9]"]
    {
        assert!(has_globoff(url), "{url}");
    }
    for url in ["http://[::1]/", "http://[::1]:80/a", "http://h/"] {
        assert!(!has_globoff(url), "{url}");
    }
    let other = " / HTTP/1.1\r\n\r\nGET";
    for (method, url) in
        [(format!("GET{other}").as_str(), "http://h/"), ("GET", "http://h/\r\nX: y")]
    {
        let text = text(&flow(method, url, &[], b""));
        assert!(text.starts_with("# not repeated") && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn a_command_is_written_to_be_read() {
    let mut get = flow("GET", "https://h.example/a?b", &[("Host", "h.example"), CLIENT[0]], b"");
    assert_eq!(
        text(&get),
        "curl 'https://h.example/a?b' \\\n  --http1.1 \\\n  -H 'User-Agent: x/1' \\\n  -H 'Accept:'"
    );
    get.request.version = "HTTP/1.0".into();
    get.request.fields.remove(0);
    assert!(text(&get).contains("--http1.0") && text(&get).contains("-H 'Host:'"));
    let head = flow("HEAD", "http://h/", &CLIENT, b"");
    assert_eq!(
        text(&head),
        "curl 'http://h/' \\\n  --head \\\n  -H 'User-Agent: x/1' \\\n  -H 'Accept: */*'"
    );
    let coded = [("Accept-Encoding", "gzip"), CLIENT[0], CLIENT[1]];
    assert!(text(&flow("GET", "http://h/", &coded, b"")).ends_with("--compressed"));
}

#[test]
fn a_host_is_told_where_curl_would_not_make_it() {
    let host = |url: &str, host: &str| {
        let text = text(&flow("GET", url, &[("Host", host)], b""));
        text.contains(&format!("-H 'Host: {host}'"))
    };
    assert!(!host("http://h.example:8080/", "h.example:8080"));
    assert!(!host("https://h.example/", "h.example"));
    assert!(host("https://h.example:443/", "h.example:443"));
    assert!(!host("https://h.example:80/", "h.example:80"));
    assert!(host("http://H.example/", "H.example"));
    assert!(host("http://[::1]:80/", "[::1]:80"));
    assert!(host("http://h.example/", "other.example"));
    assert!(host("http://h.example:/", "h.example:"));
}

#[test]
fn what_was_for_the_proxy_or_cannot_be_repeated_is_left_out() {
    let fields = [
        ("Proxy-Authorization", "Basic c2VjcmV0"),
        ("Proxy-Connection", "keep-alive"),
        ("@/etc/passwd", ""),
        ("no name", "x"),
        (":authority", "h"),
        ("X", "a\r\nInjected: yes"),
    ];
    let shown = text(&flow("GET", "http://user:pass@h/#part", &fields, b""));
    let gone = ["c2VjcmV0", "Proxy", "passwd", "no name", ":auth", "Injected", "user", "part"];
    for word in gone {
        assert!(!shown.contains(word), "{word}: {shown}");
    }
    assert!(shown.starts_with("# header fields that are malformed are left out\ncurl 'http://h/'"));
    for (method, url) in
        [("CONNECT", "https://h:443"), ("GET", "h/x"), ("GET", "http:///x"), ("GET", "ftp://h/")]
    {
        let shown = text(&flow(method, url, &[], b""));
        assert!(shown.starts_with("# not repeated: ") && shown.lines().count() == 1, "{shown}");
    }
}

#[test]
fn what_is_not_as_it_was_is_said() {
    let coding = [("Content-Encoding", "gzip"), ("Host", "h")];
    let mut cut = flow("POST", "http://h/", &coding, b"half");
    cut.request.body.is_cut = true;
    cut.request.body.wire_bytes = Some(8);
    cut.request.body.coding = Some("gzip".into());
    let shown = text(&cut);
    assert!(shown.starts_with("# the body is cut: the first 4 of 8 bytes were kept\n"), "{shown}");
    assert!(shown.contains("-H 'Content-Encoding: gzip'"), "{shown}");
    let mut undone = flow("POST", "http://h/", &coding, b"text");
    undone.request.body.decoded = true;
    undone.request.body.note = Some("damaged".into());
    let shown = text(&undone);
    assert!(shown.contains("# the body is damaged") && shown.contains("undone here"), "{shown}");
    assert!(!shown.contains("gzip"), "{shown}");
    let mut summed = flow("POST", "http://h/", &[], b"body");
    summed.request.trailers = vec![Field { name: "X-Sum".into(), value: "1\n2".into() }];
    let shown = text(&summed);
    assert!(shown.starts_with("# the request had trailer fields behind its body"), "{shown}");
    let mut unread = flow("POST", "http://h/", &[], b"");
    unread.request.body.unread_bytes = Some(70_000_000);
    assert!(has_long_body(&unread));
    assert!(text(&unread).starts_with("# the body is left out"), "{}", text(&unread));
    let piped = command(&unread, Some("cat body"), &Redactor::off());
    assert!(piped.starts_with("cat body |\n") && piped.contains("-H 'Expect:'"), "{piped}");
    let mut socket = flow("GET", "wss://h/s", &[("Upgrade", "websocket")], b"");
    socket.messages = Some(Vec::new());
    let shown = text(&socket);
    assert!(shown.contains("\ncurl 'https://h/s'") && shown.contains("no messages"), "{shown}");
}

#[test]
fn secrets_are_masked_where_that_is_asked_for() {
    let json = [("Authorization", "Bearer abcdef"), ("Content-Type", "application/json")];
    let body = b"{\"password\": \"hunter2\"}";
    let mut flow = flow("POST", "http://h/?api_key=qwerty", &json, body);
    let masked = command(&flow, None, &Redactor::default());
    for secret in ["abcdef", "hunter2", "qwerty"] {
        assert!(!masked.contains(secret) && text(&flow).contains(secret), "{masked}");
    }
    assert!(masked.contains("Bearer ***"), "{masked}");
    flow.request.body.coding = Some("gzip".into());
    let masked = command(&flow, None, &Redactor::default());
    assert!(!masked.contains("hunter2") && masked.contains("cannot be masked"), "{masked}");
}
