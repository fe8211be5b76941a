//! The curl command that repeats a flow's request.
//!
//! It is written for sh, bash and zsh alike. Whatever a peer could have put there stays data: it
//! stands in single quotes, or, where it could drive a terminal or end in a shell's prompt as a
//! key (control characters, marks of direction, NUL), as what `printf` makes of octal escapes.

use std::borrow::Cow;
use std::net::{Ipv6Addr, SocketAddrV6};

use crate::capture::flow::{Body, Flow};
use crate::flow::charset::body_text;
use crate::flow::head::Field;
use crate::flow::redact::Redactor;
use crate::limits::CURL_BODY_BYTES;

mod shell;

use shell::{printf, quoted};
pub(crate) use shell::{stands_plain, word};

/// Whether the request's body is too long to be read in a command, or to be here at all.
pub(crate) fn has_long_body(flow: &Flow) -> bool {
    let body = &flow.request.body;
    body.unread_bytes.is_some() || body.bytes.len() > CURL_BODY_BYTES
}

/// The bytes of the request's body that curl is to send: its content coding undone where that is
/// possible, and secrets masked.
fn body<'a>(flow: &'a Flow, redactor: &Redactor) -> Cow<'a, [u8]> {
    let Body { bytes, coding, is_cut, .. } = &flow.request.body;
    if !redactor.is_on() {
        return Cow::Borrowed(bytes);
    }
    if coding.is_some() {
        // What cannot be decoded cannot be masked.
        return Cow::Borrowed(&[]);
    }
    let content_type = value(flow, "content-type").unwrap_or_default();
    match body_text(content_type, bytes, *is_cut) {
        Some(text) => match redactor.text(content_type, &text) {
            masked if masked == text => Cow::Borrowed(bytes),
            masked => Cow::Owned(masked.into_owned().into_bytes()),
        },
        None => redactor.bytes(content_type, bytes),
    }
}

/// The command that sends a flow's request again, to its origin, and through a proxy only where
/// curl is told of one elsewhere; lines that begin with `#` say what it does not repeat. It ends
/// without a line feed. The body stands in it, however long it is, unless it is what the command
/// `source`, in a shell's words, writes to its standard output.
///
/// What was for the proxy alone is left out, and `Content-Length` is left to curl. curl sends no
/// field of its own that the request did not have.
pub(crate) fn command(flow: &Flow, source: Option<&str>, redactor: &Redactor) -> String {
    let url = redactor.url(&flow.url);
    let target = match Target::read(&flow.method, &url) {
        Ok(target) => target,
        Err(reason) => return format!("# not repeated: {reason}"),
    };
    let body = body(flow, redactor);
    let has_body = !body.is_empty() || source.is_some() || says_empty(flow);
    let sent = match flow.request.body.unread_bytes.filter(|_| source.is_some()) {
        Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        None => body.len(),
    };
    let mut command = Command::default();
    command.notes(flow, &target, sent);
    command.request(flow, &target, has_body);
    command.fields(flow, &target, has_body.then_some(sent), redactor);
    if has_body {
        command.body(&body, source);
    }
    command.text()
}

fn value<'a>(flow: &'a Flow, name: &str) -> Option<&'a str> {
    let named = |field: &&Field| field.name.eq_ignore_ascii_case(name);
    flow.request.fields.iter().find(named).map(|field| field.value.as_str())
}

/// Whether the request says that it has a body, even if that is empty.
fn says_empty(flow: &Flow) -> bool {
    value(flow, "content-length").is_some() || value(flow, "transfer-encoding").is_some()
}

/// Where a request goes, as curl is told.
#[derive(Debug)]
struct Target<'a> {
    is_tls: bool,
    /// Whether it is the handshake of a WebSocket.
    is_socket: bool,
    /// Host and port, as the URL has them.
    authority: &'a str,
    /// Path and query.
    path: Cow<'a, str>,
}

impl<'a> Target<'a> {
    fn read(method: &str, url: &'a str) -> Result<Self, &'static str> {
        if method.eq_ignore_ascii_case("CONNECT") {
            return Err("CONNECT is a request to a proxy");
        }
        if [method, url].iter().any(|text| text.contains(LINE_ENDS)) {
            return Err("its method or URL has ends of lines, which would begin another request");
        }
        let (scheme, rest) = url.split_once("://").ok_or("its URL has no scheme")?;
        let (is_tls, is_socket) = match scheme {
            "http" => (false, false),
            "https" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            _ => return Err("its scheme is none of http, https, ws and wss"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        // curl would make credentials of user information, which was not sent as such.
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if authority.is_empty() {
            return Err("its host is not known");
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = match path {
            "" if method.eq_ignore_ascii_case("OPTIONS") => Cow::Borrowed("*"),
            path if path.starts_with('/') => Cow::Borrowed(path),
            path => Cow::Owned(format!("/{path}")),
        };
        Ok(Target { is_tls, is_socket, authority, path })
    }

    fn origin(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.authority)
    }

    /// Whether curl makes this Host field of the URL by itself, letter by letter.
    fn makes_host(&self, host: &str) -> bool {
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        };
        let default = if self.is_tls { "443" } else { "80" };
        let is_number = |port: &str| {
            !port.is_empty()
                && !port.starts_with('0')
                && port.bytes().all(|byte| byte.is_ascii_digit())
        };
        host == self.authority
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
            && port.is_none_or(|port| port != default && is_number(port))
    }
}

/// A command as it grows.
#[derive(Debug, Default)]
struct Command {
    /// Lines before it.
    notes: String,
    /// What is piped into it.
    source: String,
    /// Its words, a line each.
    lines: Vec<String>,
}

impl Command {
    fn note(&mut self, words: &str) {
        // A shell that takes no comments at its prompt tries to run the line: it has no signs
        // that could mean anything then.
        self.notes.push_str(&format!("# {words}\n"));
    }

    fn option(&mut self, option: &str) {
        self.lines.push(option.to_owned());
    }

    fn notes(&mut self, flow: &Flow, target: &Target<'_>, sent: usize) {
        let body = &flow.request.body;
        let Body { bytes, wire_bytes, decoded, coding, is_cut, unread_bytes, note } = body;
        if *is_cut {
            let all = wire_bytes.map_or(String::new(), |all| format!(" of {all} bytes"));
            let kept = body.size();
            self.note(&format!("the body is cut: the first {kept}{all} were kept"));
        }
        match (unread_bytes, note) {
            (Some(_), _) if sent > 0 => {}
            (Some(_), _) => self.note("the body is left out: it could not be read"),
            (None, Some(_)) => self.note("the body is damaged: it could not be read back whole"),
            (None, None) => {}
        }
        if *decoded {
            self.note("the body was sent with a content coding, which is undone here");
        }
        if coding.is_some() && sent < bytes.len() {
            self.note("the body cannot be decoded, so that secrets in it cannot be masked");
        }
        if !flow.request.trailers.is_empty() {
            self.note("the request had trailer fields behind its body, which are left out");
        }
        if target.is_socket {
            self.note("the handshake of a WebSocket: curl sends no messages");
        }
    }

    /// The method, the target and how they are sent.
    fn request(&mut self, flow: &Flow, target: &Target<'_>, has_body: bool) {
        let is_url = |byte: u8| byte.is_ascii_alphanumeric() || URL_SIGNS.contains(&byte);
        let is_plain = target.path.starts_with('/') && target.path.bytes().all(is_url);
        let origin = target.origin();
        let url = if is_plain { format!("{origin}{}", target.path) } else { format!("{origin}/") };
        self.option(&format!("curl {}", word(&url)));
        match (flow.method.as_str(), has_body) {
            ("GET", false) | ("POST", true) => {}
            ("HEAD", false) => self.option("--head"),
            // curl would wait for a body of the length that the answer tells.
            ("HEAD", true) => self.option("-X HEAD --max-time 30"),
            (method, _) => self.option(&format!("-X {}", word(method))),
        }
        let version = flow.request.version.as_str();
        match version {
            "HTTP/1.0" => self.option("--http1.0"),
            "HTTP/1.1" if target.is_tls => self.option("--http1.1"),
            _ => {}
        }
        if target.is_socket {
            self.option("--include --no-buffer");
        }
        let path = target.path.split('?').next().unwrap_or_default().to_ascii_lowercase();
        if !is_plain {
            self.option(&format!("--request-target {}", word(&target.path)));
        } else if path.contains("/.") || path.contains("/%2e") {
            self.option("--path-as-is");
        }
        // The brackets of an address are no pattern.
        let is_address = target.authority.parse::<SocketAddrV6>().is_ok()
            || target
                .authority
                .strip_prefix('[')
                .and_then(|it| it.strip_suffix(']'))
                .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        if is_plain && target.path.contains(GLOBS)
            || !is_address && target.authority.contains(GLOBS)
        {
            self.option("--globoff");
        }
    }

    fn fields(
        &mut self,
        flow: &Flow,
        target: &Target<'_>,
        body: Option<usize>,
        redactor: &Redactor,
    ) {
        let mut is_odd = false;
        let mut coded = false;
        // Heads are kept as text, in which bytes that are not UTF-8 stand as these letters.
        let has_latin = |text: &str| text.contains(|it| matches!(it, '\u{80}'..='\u{ff}'));
        let mut is_latin = has_latin(&target.path);
        for Field { name, value } in redactor.fields(&flow.request.fields) {
            if name.starts_with(':') {
                // A pseudo field of HTTP/2, of a capture that others made.
                continue;
            }
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || TOKEN_SIGNS.contains(&byte);
            if name.is_empty() || !name.bytes().all(is_token) || value.contains(LINE_ENDS) {
                is_odd = true;
                continue;
            }
            let is_for_proxy = is("proxy-connection") || is("proxy-authorization");
            let is_undone = is("content-encoding") && flow.request.body.decoded;
            let is_made = is("host") && target.makes_host(&value);
            if is_for_proxy || is_undone || is_made || is("content-length") {
                continue;
            }
            coded |= is("accept-encoding");
            is_latin |= has_latin(&value);
            let field = match value.as_str() {
                "" => format!("{name};"),
                value => format!("{name}: {value}"),
            };
            self.option(&format!("-H {}", word(&field)));
        }
        let lacks = |name: &str| value(flow, name).is_none();
        // An HTTP/1.1 request without Host would be refused.
        for (name, is_made) in [
            ("Host", flow.request.version == "HTTP/1.0"),
            ("User-Agent", true),
            ("Accept", true),
            ("Content-Type", body.is_some()),
            ("Expect", body.is_some_and(|bytes| bytes > EXPECTS_FROM_BYTES)),
        ] {
            if is_made && lacks(name) {
                self.option(&format!("-H '{name}:'"));
            }
        }
        if coded {
            self.option("--compressed");
        }
        if is_latin {
            self.note(
                "letters beyond ASCII are sent in UTF-8: those of the request may have been \
                 ISO-8859-1",
            );
        }
        if is_odd {
            self.note("header fields that are malformed are left out");
        }
    }

    fn body(&mut self, body: &[u8], source: Option<&str>) {
        let text = std::str::from_utf8(body)
            .ok()
            .filter(|text| body.len() <= CURL_BODY_BYTES && text.split('\n').all(stands_plain));
        let option = match (source, text) {
            (Some(command), _) => {
                self.source = format!("{command} |\n");
                "--data-binary @-".to_owned()
            }
            // Unlike --data-binary, this gives no meaning to a sign at the beginning.
            (None, Some(text)) => format!("--data-raw {}", quoted(text)),
            (None, None) => {
                self.source = format!("{} |\n", printf(body));
                "--data-binary @-".to_owned()
            }
        };
        self.option(&option);
    }

    fn text(self) -> String {
        format!("{}{}{}", self.notes, self.source, self.lines.join(" \\\n  "))
    }
}

/// What ends a line of a head, or a text in a program.
const LINE_ENDS: [char; 3] = ['\r', '\n', '\0'];

/// Signs of curl's patterns, of each of which it makes many URLs.
const GLOBS: [char; 4] = ['[', ']', '{', '}'];

/// Signs in a path and query that curl sends as they are; with `--globoff` also the last four.
const URL_SIGNS: &[u8] = b"-._~!$&'()*+,;=:@/?%[]{}";

/// Signs in the name of a field (RFC 9110 section 5.6.2).
const TOKEN_SIGNS: &[u8] = b"!#$%&'*+-.^_`|~";

/// From here on some versions of curl ask first whether a body is welcome.
const EXPECTS_FROM_BYTES: usize = 1_000;

#[cfg(test)]
mod tests;
