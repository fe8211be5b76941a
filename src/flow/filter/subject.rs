//! A flow while one expression is evaluated: what takes work is made when it is first asked for,
//! and once.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::Ipv6Addr;

use bytes::Bytes;

use crate::flow::decode::{Caps, codings, decode};
use crate::flow::filter::head;
use crate::flow::head::text;
use crate::flow::record::{Scheme, Side};
use crate::flow::view::{BodyView, FlowView, MessageView};

/// A flow and what was made of it so far.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) view: &'a FlowView<'a>,
    url: OnceCell<String>,
    request: OnceCell<Cow<'a, [u8]>>,
    response: OnceCell<Cow<'a, [u8]>>,
}

/// A body to search.
#[derive(Debug)]
pub(super) enum Body<'s> {
    /// Its bytes, decoded where that was possible.
    Bytes(&'s [u8]),
    /// It is still to come.
    Awaited,
    /// There is none, or it was not kept.
    None,
}

impl<'a> Subject<'a> {
    pub(super) fn new(view: &'a FlowView<'a>) -> Self {
        Subject { view, url: OnceCell::new(), request: OnceCell::new(), response: OnceCell::new() }
    }

    fn message(&self, side: Side) -> Option<MessageView<'a>> {
        match side {
            Side::Request => Some(self.view.request),
            Side::Response => self.view.response,
        }
    }

    /// The heads of one side, or of both.
    pub(super) fn heads(&self, side: Option<Side>) -> [Option<&'a [u8]>; 2] {
        let head = |of| {
            let asked = side.is_none_or(|side| side == of);
            self.message(of).filter(|_| asked).map(|message| message.head)
        };
        [head(Side::Request), head(Side::Response)]
    }

    /// The body of one side.
    pub(super) fn body(&self, side: Side) -> Body<'_> {
        let Some(message) = self.message(side) else { return Body::None };
        let made = match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        };
        match message.body {
            BodyView::Kept(pieces) => {
                Body::Bytes(made.get_or_init(|| decoded(message.head, pieces)))
            }
            BodyView::Decoded(pieces) => Body::Bytes(made.get_or_init(|| joined(pieces))),
            BodyView::Awaited => Body::Awaited,
            BodyView::NotKept => Body::None,
        }
    }

    /// The URL as mitmproxy's `pretty_url` has it: the authority is that of the Host field.
    pub(super) fn url(&self) -> &str {
        self.url.get_or_init(|| url(self.view))
    }

    /// The host of the Host field, if it differs from the one that was asked for.
    pub(super) fn named_host(&self) -> Option<String> {
        let value = host_value(self.view.request.head)?;
        let (host, _) = split_authority(&value).unwrap_or((&value, None));
        Some(host.to_owned())
    }
}

fn joined(pieces: &[Bytes]) -> Cow<'_, [u8]> {
    match pieces {
        [] => Cow::Borrowed(&[]),
        [piece] => Cow::Borrowed(piece),
        pieces => Cow::Owned(pieces.concat()),
    }
}

/// The bytes of a body without its content codings; with them where it cannot be decoded.
fn decoded<'a>(head: &[u8], pieces: &'a [Bytes]) -> Cow<'a, [u8]> {
    let raw = joined(pieces);
    let names = head::values(head, "content-encoding");
    // What is no text names no known coding.
    let names = names.map(|value| std::str::from_utf8(value).unwrap_or("?"));
    let Some(codings) = codings(names).filter(|codings| !codings.is_empty()) else { return raw };
    let mut bytes = Vec::new();
    match decode(&codings, &mut &*raw, &mut bytes, Caps::default()) {
        Ok(_) => Cow::Owned(bytes),
        Err(_) => raw,
    }
}

fn url(view: &FlowView<'_>) -> String {
    let head = view.request.head;
    let target = text(head::request_target(head));
    let asked_for = || view.target.map(|target| (target.host.as_str(), Some(target.port)));
    if head::start_line(head).0.eq_ignore_ascii_case(b"CONNECT") {
        return match asked_for().filter(|_| target.is_empty()) {
            Some((host, port)) => format!("{host}:{}", port.unwrap_or(0)),
            None => target,
        };
    }
    let (scheme, default) = match view.scheme {
        Scheme::Http => ("http", 80),
        Scheme::Https => ("https", 443),
    };
    let (absolute, path) = split_target(&target);
    let named = host_value(head);
    let named = named.as_deref().or(absolute.filter(|_| view.target.is_none()));
    let authority = match named {
        Some(value) => Some(split_authority(value).unwrap_or((value, None))),
        None => asked_for(),
    };
    let (host, port) = authority.unwrap_or(("", None));
    match port.filter(|port| *port != default && *port != 0) {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    }
}

/// The authority, of a target in absolute form, and the path and query.
fn split_target(target: &str) -> (Option<&str>, Cow<'_, str>) {
    if target == "*" {
        return (None, Cow::Borrowed(""));
    }
    let rest = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest,
        _ => return (None, Cow::Borrowed(target)),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let path = match path.starts_with('/') {
        true => Cow::Borrowed(path),
        false => Cow::Owned(format!("/{path}")),
    };
    (Some(authority), path)
}

/// What the Host fields say; `None` where they say nothing.
fn host_value(head: &[u8]) -> Option<String> {
    let value = head::values(head, "host").map(text).reduce(|all, next| all + ", " + &next)?;
    (!value.is_empty()).then_some(value)
}

/// A Host value as host, without brackets, and port; `None` where it is not of that form.
fn split_authority(value: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            (host, Some(port.parse().ok().filter(|_| digits)?))
        }
        _ => (value, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(inside) => inside,
        None if host.contains(':') => return None,
        None => host,
    };
    is_host(host).then_some((host, port))
}

/// Whether this can be a host name or an address; as mitmproxy judges it, underscores may be in
/// a name.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let well = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(well)
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 255 && name.split('.').all(is_label) || host.parse::<Ipv6Addr>().is_ok()
}
