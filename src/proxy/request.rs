//! From a request's head to the decision what becomes of it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::flow::record::{Authority, Scheme};
use crate::http::body::{BodyLength, request_length};
use crate::http::credentials::{
    PROXY_AUTHORIZATION, logs_connection_in, shows_credentials, without_credentials,
};
use crate::http::field::{FieldKind, has_token, values_of};
use crate::http::head::{RequestHead, Version, values};
use crate::http::hops::max_forwards;
use crate::http::rewrite::{OutgoingRequest, is_upgrade, keep_alive, write_request};
use crate::http::target::{Target, host_value, parse_host, parse_target, request_host};
use crate::options::Options;
use crate::proxy::context::{Context, Now};
use crate::proxy::exchange::{RequestFacts, Route};

/// A tunnel that a CONNECT request opened and that is being intercepted.
#[derive(Clone, Debug)]
pub struct Inside {
    /// Where its requests go.
    pub route: Route,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It goes to a server.
    Forward(Box<RequestFacts>),
    /// It opens a tunnel.
    Connect(Arc<Authority>),
    /// It is for one of the device pages.
    DevicePage {
        /// The method.
        method: Vec<u8>,
        /// The path that was asked for.
        path: Vec<u8>,
        /// The client's HTTP version.
        version: Version,
        /// Whether the connection can go on.
        keep_alive: bool,
    },
    /// It is refused.
    Refuse {
        /// The status of the answer.
        status: u16,
        /// One line that says why.
        reason: String,
        /// Where it was to go, as far as that is known.
        route: Option<Route>,
    },
}

fn refuse(status: u16, reason: impl Into<String>, route: Option<Route>) -> Decision {
    Decision::Refuse { status, reason: reason.into(), route }
}

/// Decides about the request in `cx.heads.request`, whose bytes are `bytes`. `inside` is the
/// tunnel that it came through; `last` is the authority of the request before, so that the same
/// one need not be allocated again.
pub fn decide(
    bytes: &[u8],
    inside: Option<&Inside>,
    last: Option<&Arc<Authority>>,
    began: Now,
    cx: &Context<'_>,
) -> Decision {
    let head = &cx.heads.request;
    let inside_route = || inside.map(|inside| inside.route.clone());
    if inside.is_none()
        && let Some(expected) = &cx.options.proxyauth
        && !shows_credentials(values(&head.fields, bytes, PROXY_AUTHORIZATION), expected)
    {
        return refuse(407, "this proxy wants a user name and password", None);
    }
    let target = match parse_target(head.method.of(bytes), head.target.of(bytes)) {
        Ok(target) => target,
        Err(error) => return refuse(400, error.to_string(), inside_route()),
    };
    let route = inside_route().or_else(|| route_of(&target, last));
    let length = match request_length(head, bytes) {
        Ok(length) => length,
        Err(error) => return refuse(400, error.to_string(), route),
    };
    let known = route.as_ref().map(|route| &*route.authority);
    let host = match request_host(head, bytes, known) {
        Ok(host) => host,
        Err(error) => return refuse(400, error.to_string(), route),
    };
    let Some(route) = route else {
        let host = host.and_then(|host| parse_host(host).ok());
        let path = head.target.of(bytes);
        let page = match &host {
            Some(host) if cx.shared.serves_pages_of(&host.host) => Some(true),
            // What follows on a connection that takes the proxy for a server is not looked at.
            Some(host) if cx.shared.serves_directly(&host.host, path) => Some(false),
            _ => None,
        };
        return direct(bytes, head, length, page);
    };
    let (path, rewrite_host) = match target {
        Target::Authority(_) if inside.is_some() => {
            return refuse(400, "CONNECT inside a tunnel is not supported", Some(route));
        }
        Target::Authority(_) => {
            return match length {
                BodyLength::None | BodyLength::Length(0) => Decision::Connect(route.authority),
                _ => refuse(400, "a CONNECT request has no body", Some(route)),
            };
        }
        Target::Absolute { authority, path, .. } => {
            (path, Some(host_value(route.scheme, &authority)))
        }
        Target::Origin(path) => (Cow::Borrowed(path), host.is_none().then(|| own_host(&route))),
        Target::Asterisk => {
            (Cow::Borrowed(b"*".as_slice()), host.is_none().then(|| own_host(&route)))
        }
    };
    if cx.shared.serves_pages_of(&route.authority.host) {
        return device_page(bytes, head, &path, length);
    }
    let host = rewrite_host.as_deref().map(str::as_bytes);
    // What agents say to the tools is not traffic that anybody looks into.
    let ruled = cx.intercepts(&route.authority, route.tls.as_deref())
        && !cx.shared.is_mcp(&route.authority);
    let recorded = ruled && cx.shared.records;
    let outgoing = Outgoing { route, path: &path, host, length, relayed: true };
    let facts = facts(bytes, head, outgoing, began, recorded, cx.options);
    Decision::Forward(Box::new(RequestFacts { ruled, ..facts }))
}

/// Where a request that did not come through a tunnel goes; nowhere in origin and asterisk form.
fn route_of(target: &Target<'_>, last: Option<&Arc<Authority>>) -> Option<Route> {
    match target {
        Target::Absolute { scheme, authority, .. } => {
            let tls = *scheme == Scheme::Https;
            Some(Route {
                scheme: *scheme,
                authority: shared(authority, last),
                tls: tls.then(|| Arc::from(authority.host.as_str())),
            })
        }
        Target::Authority(authority) => {
            let authority = shared(authority, last);
            Some(Route { scheme: Scheme::Https, authority, tls: None })
        }
        Target::Origin(_) | Target::Asterisk => None,
    }
}

fn own_host(route: &Route) -> String {
    host_value(route.scheme, &route.authority)
}

fn shared(authority: &Authority, last: Option<&Arc<Authority>>) -> Arc<Authority> {
    match last {
        Some(last) if **last == *authority => last.clone(),
        _ => Arc::new(authority.clone()),
    }
}

/// The answer to a request in origin form that did not come through a tunnel, and so was sent to
/// the proxy itself: a page for devices, after which the connection may go on or not, or a refusal.
fn direct(bytes: &[u8], head: &RequestHead, length: BodyLength, page: Option<bool>) -> Decision {
    if let Some(goes_on) = page {
        let path = head.target.of(bytes);
        let mut decision = device_page(bytes, head, path, length);
        if let Decision::DevicePage { keep_alive, .. } = &mut decision {
            *keep_alive &= goes_on;
        }
        return decision;
    }
    let reason = "this is a proxy: set it as your HTTP proxy instead of asking it for pages, or \
                  open http://mitm.it/ through it";
    refuse(400, reason, None)
}

fn device_page(bytes: &[u8], head: &RequestHead, path: &[u8], length: BodyLength) -> Decision {
    let no_body = matches!(length, BodyLength::None | BodyLength::Length(0));
    Decision::DevicePage {
        method: head.method.of(bytes).to_vec(),
        path: path.to_vec(),
        version: head.version,
        keep_alive: no_body && keep_alive(head.version, &head.fields, bytes),
    }
}

/// Where a request goes, and how.
pub(super) struct Outgoing<'a> {
    /// Where it goes.
    pub(super) route: Route,
    /// The request target in origin form, or `*`.
    pub(super) path: &'a [u8],
    /// Replaces or adds the Host field.
    pub(super) host: Option<&'a [u8]>,
    /// How its body is framed.
    pub(super) length: BodyLength,
    /// It comes from a client, and goes on with one hop less.
    pub(super) relayed: bool,
}

/// The facts of a request whose head was parsed, and its outgoing head. Rules apply to what is
/// recorded, unless somebody knows better.
pub(super) fn facts(
    bytes: &[u8],
    head: &RequestHead,
    to: Outgoing<'_>,
    began: Now,
    recorded: bool,
    options: &Options,
) -> RequestFacts {
    let Outgoing { route, path, host, length, relayed } = to;
    let hops = if relayed { max_forwards(head, bytes) } else { None };
    let upgrade = head.version == Version::Http11 && is_upgrade(&head.fields, bytes).is_some();
    let raw = bytes.get(head.start..head.len).unwrap_or(bytes);
    let mut outgoing = Vec::with_capacity(raw.len() + OUTGOING_SPARE_BYTES);
    let request = OutgoingRequest {
        path,
        host,
        body: length,
        upgrade,
        unconditional: options.anticache,
        uncoded: options.anticomp,
        max_forwards: hops.map(|hops| hops.saturating_sub(1)),
    };
    write_request(&mut outgoing, bytes, head, &request);
    RequestFacts {
        outgoing,
        head: kept_head(raw, options),
        method_bytes: head.method.of(bytes).len(),
        version: head.version,
        keep_alive: keep_alive(head.version, &head.fields, bytes),
        expects_continue: has_token(&head.fields, bytes, FieldKind::Expect, "100-continue"),
        upgrade,
        last_hop: hops == Some(0),
        logs_in: logs_connection_in(values_of(&head.fields, bytes, FieldKind::Authorization)),
        length,
        ruled: recorded,
        recorded,
        began,
        route,
    }
}

/// A head as it is recorded. What a client shows to the proxy alone (RFC 9110 section 11.7.2) is
/// not for whoever reads what the proxy has captured, where it asks for credentials.
pub(super) fn kept_head(raw: &[u8], options: &Options) -> Bytes {
    match options.proxyauth {
        None => Bytes::copy_from_slice(raw),
        Some(_) => without_credentials(raw).into(),
    }
}

/// Room for what the outgoing head may have beyond the incoming one: a Host field.
const OUTGOING_SPARE_BYTES: usize = 64;
