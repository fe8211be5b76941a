//! A client that sends exactly the bytes that it is given.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use super::DEADLINE;

/// One connection, with a deadline on every read.
pub(crate) struct Client {
    tcp: TcpStream,
    reader: BufReader<TcpStream>,
}

/// A response, whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }

    /// The body, which is JSON and said to be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.field("content-type").as_deref(), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The code of the JSON-RPC error, and the id.
    #[track_caller]
    pub(crate) fn error(&self) -> (i64, Value) {
        let json = self.json();
        assert!(json.get("result").is_none(), "{json}");
        (json["error"]["code"].as_i64().expect("an error"), json["id"].clone())
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let tcp = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        tcp.set_write_timeout(Some(DEADLINE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let reader = BufReader::new(tcp.try_clone().unwrap());
        Client { tcp, reader }
    }

    /// The server's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.tcp.peer_addr().unwrap()
    }

    /// Sends `bytes` as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends what the server may refuse to take; whether it took all.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.tcp.write_all(bytes.as_ref()).is_ok()
    }

    /// Ends the sending side.
    pub(crate) fn finish(&self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends a request. `head` is the request line and fields; Host and the length are added.
    pub(crate) fn request(&mut self, head: &str, body: &str) {
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let address = self.address();
        let host =
            if has_field(fields, "host") { String::new() } else { format!("Host: {address}\r\n") };
        let length = match (body.is_empty(), has_field(fields, "content-length")) {
            (false, false) => format!("Content-Length: {}\r\n", body.len()),
            _ => String::new(),
        };
        self.send(format!("{line} HTTP/1.1\r\n{host}{length}{fields}\r\n{body}"));
    }

    /// Sends a request and gives its response.
    pub(crate) fn exchange(&mut self, head: &str, body: &str) -> Response {
        self.request(head, body);
        let head_only = head.starts_with("HEAD ");
        self.response(head_only)
    }

    /// Sends a POST to `/mcp` without waiting.
    pub(crate) fn start_post(&mut self, fields: &str, message: &Value) {
        let head = format!(
            "POST /mcp\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{fields}"
        );
        self.request(&head, &message.to_string());
    }

    /// Sends a POST to `/mcp` and gives its response.
    pub(crate) fn post(&mut self, fields: &str, message: &Value) -> Response {
        self.start_post(fields, message);
        self.response(false)
    }

    /// Waits for the first bytes of an answer, which stay unread; false if the server closes.
    pub(crate) fn is_answered(&mut self) -> bool {
        let mut first = [0];
        match self.tcp.peek(&mut first) {
            Ok(count) => count > 0,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer comes in time: {error}"),
        }
    }

    /// The next head.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        loop {
            let before = head.len();
            let count = self.reader.read_line(&mut head).expect("a head comes in time");
            assert!(count > 0, "the connection ended in the head {head:?}");
            if head[before..] == *"\r\n" {
                return head;
            }
        }
    }

    /// The next response. Its body has a length or ends with the connection.
    #[track_caller]
    pub(crate) fn response(&mut self, head_only: bool) -> Response {
        let head = self.head();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let mut body = Vec::new();
        match field(&head, "content-length") {
            _ if head_only => {}
            Some(length) => {
                body.resize(length.parse().unwrap(), 0);
                self.reader.read_exact(&mut body).unwrap();
            }
            None => drop(self.reader.read_to_end(&mut body).unwrap()),
        }
        Response { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// The head of an event stream.
    #[track_caller]
    pub(crate) fn stream_head(&mut self) -> String {
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(field(&head, "content-type").as_deref(), Some("text/event-stream"));
        assert_eq!(field(&head, "cache-control").as_deref(), Some("no-store"));
        assert_eq!(field(&head, "content-length"), None);
        assert_eq!(field(&head, "transfer-encoding"), None);
        head
    }

    /// The next line of an event stream.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.reader.read_line(&mut line).expect("a line comes in time");
        (count > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// The next event, as name and data, comments left out; `None` at the stream's end.
    pub(crate) fn event(&mut self) -> Option<(String, String)> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => data = value.to_owned(),
                Some(("", _)) => assert_eq!(self.line().as_deref(), Some("")),
                None if line.is_empty() => return Some((name, data)),
                _ => panic!("unexpected line {line:?}"),
            }
        }
    }

    /// The next message of an event stream.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Value {
        let (name, data) = self.event().expect("the stream goes on");
        assert_eq!(name, "message");
        serde_json::from_str(&data).unwrap()
    }

    /// All until the server closes, however it does; a deadline fails the test.
    pub(crate) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = self.reader.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the server does not close");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn has_field(fields: &str, name: &str) -> bool {
    fields.lines().any(|line| line.split(':').next().unwrap().eq_ignore_ascii_case(name))
}
