//! The table of options: the parser of values, what is shown of them, suggestions and the
//! documentation are made of it.

use serde_json::Value;

use crate::flow::filter::Filter;
use crate::flow::redact::{MASK, Redactor};
use crate::limits::{CONNECTIONS_MOST, HELD_FLOWS_MOST, POOL_CONNECTIONS};
use crate::near::nearest;
use crate::options::Options;
use crate::options::error::{OptionError, Reason};
use crate::options::host::HostRegex;
use crate::options::rule::BlockRule;
use crate::options::value::{
    Kind, STRATEGIES, TLS_VERSIONS, choice, count, count_or_null, credentials, detail, flag, list,
    seconds, show_choice, show_seconds, show_size, size, store_size, text,
};

/// One option.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    kind: Kind,
    /// What it does: one sentence without a full stop.
    about: &'static str,
    /// Whether it is shown where nobody asks for it by name.
    usual: bool,
    show: fn(&Options) -> Value,
    write: fn(&mut Options, &Value) -> Result<(), Reason>,
}

/// All options, in the order in which they are documented.
const OPTIONS: &[Spec] = &[
    Spec {
        name: "intercept",
        kind: Kind::Filter,
        about: "Flows that match are held until they are resumed or dropped",
        usual: true,
        show: |it| it.intercept.as_ref().map_or(Value::Null, |filter| filter.text().into()),
        write: |it, value| {
            let parsed = text(value)?.map(Filter::parse).transpose();
            it.intercept = parsed.map_err(|error| Reason::because(error.to_string()))?.flatten();
            Ok(())
        },
    },
    Spec {
        name: "intercept_timeout",
        kind: Kind::Seconds,
        about: "A flow that is held for so long goes on by itself",
        usual: true,
        show: |it| show_seconds(it.intercept_timeout),
        write: |it, value| seconds(value).map(|wait| it.intercept_timeout = wait),
    },
    Spec {
        name: "anticache",
        kind: Kind::Flag,
        about: "Remove If-Modified-Since and If-None-Match from requests, so that servers answer \
                in full",
        usual: true,
        show: |it| it.anticache.into(),
        write: |it, value| flag(value).map(|on| it.anticache = on),
    },
    Spec {
        name: "anticomp",
        kind: Kind::Flag,
        about: "Ask servers for bodies without content coding: Accept-Encoding becomes identity",
        usual: true,
        show: |it| it.anticomp.into(),
        write: |it, value| flag(value).map(|on| it.anticomp = on),
    },
    Spec {
        name: "showhost",
        kind: Kind::Flag,
        about: "Listings show URLs by the Host field instead of the address connected to",
        usual: true,
        show: |it| it.showhost.into(),
        write: |it, value| flag(value).map(|on| it.showhost = on),
    },
    Spec {
        name: "flow_detail",
        kind: Kind::Detail,
        about: "How much the terminal prints for each exchange: 0 nothing, 1 a line, 2 headers \
                too, 3 bodies too, cut when they are long, 4 bodies in full",
        usual: false,
        show: |it| it.flow_detail.into(),
        write: |it, value| detail(value).map(|detail| it.flow_detail = detail),
    },
    Spec {
        name: "body_size_limit",
        kind: Kind::Size,
        about: "A larger body is refused: 413 for a request, 502 for a response",
        usual: true,
        show: |it| show_size(it.body_size_limit),
        write: |it, value| size(value).map(|limit| it.body_size_limit = limit),
    },
    Spec {
        name: "capture_body_limit",
        kind: Kind::Size,
        about: "Beyond it a body goes on flowing, and its captured copy is cut, which the flow \
                records",
        usual: true,
        show: |it| show_size(Some(it.capture_body_limit).filter(|limit| *limit < u64::MAX)),
        write: |it, value| {
            size(value).map(|limit| it.capture_body_limit = limit.unwrap_or(u64::MAX))
        },
    },
    Spec {
        name: "allow_hosts",
        kind: Kind::Hosts,
        about: "Where there are any, intercept only what one of them is found in, on top of -d \
                and -e; the rest passes through untouched",
        usual: true,
        show: |it| it.allow_hosts.iter().map(HostRegex::text).collect(),
        write: |it, value| {
            it.allow_hosts = list(value, &it.allow_hosts, HostRegex::text, HostRegex::new)?;
            Ok(())
        },
    },
    Spec {
        name: "ignore_hosts",
        kind: Kind::Hosts,
        about: "Pass what one of them is found in through untouched; wins over allow_hosts",
        usual: true,
        show: |it| it.ignore_hosts.iter().map(HostRegex::text).collect(),
        write: |it, value| {
            it.ignore_hosts = list(value, &it.ignore_hosts, HostRegex::text, HostRegex::new)?;
            Ok(())
        },
    },
    Spec {
        name: "block_list",
        kind: Kind::BlockRules,
        about: "Answer requests that match with the status and no body; 444 closes the \
                connection; the first character of a rule is its separator",
        usual: true,
        show: |it| it.block_list.iter().map(|rule| rule.text.as_str()).collect(),
        write: |it, value| {
            it.block_list = list(value, &it.block_list, |rule| &rule.text, BlockRule::parse)?;
            Ok(())
        },
    },
    Spec {
        name: "connection_strategy",
        kind: Kind::Strategy,
        about: "Connect to the server at CONNECT (eager), or when the first request is there \
                (lazy)",
        usual: false,
        show: |it| show_choice(it.connection_strategy, &STRATEGIES),
        write: |it, value| choice(value, &STRATEGIES).map(|named| it.connection_strategy = named),
    },
    Spec {
        name: "websocket",
        kind: Kind::Flag,
        about: "Read the messages of WebSockets; false relays them unread",
        usual: false,
        show: |it| it.websocket.into(),
        write: |it, value| flag(value).map(|on| it.websocket = on),
    },
    Spec {
        name: "rawtcp",
        kind: Kind::Flag,
        about: "Relay what is neither TLS nor HTTP inside a tunnel untouched; false closes it",
        usual: false,
        show: |it| it.rawtcp.into(),
        write: |it, value| flag(value).map(|on| it.rawtcp = on),
    },
    Spec {
        name: "proxyauth",
        kind: Kind::Credentials,
        about: "Clients must send these credentials in Proxy-Authorization, and are answered 407 \
                otherwise",
        usual: false,
        show: |it| it.proxyauth.clone().into(),
        write: |it, value| credentials(value).map(|read| it.proxyauth = read),
    },
    Spec {
        name: "tls_version_client_min",
        kind: Kind::TlsVersion,
        about: "The lowest version of TLS that is spoken with clients",
        usual: false,
        show: |it| show_choice(it.tls_version_client_min, &TLS_VERSIONS),
        write: |it, value| choice(value, &TLS_VERSIONS).map(|min| it.tls_version_client_min = min),
    },
    Spec {
        name: "tls_version_server_min",
        kind: Kind::TlsVersion,
        about: "The lowest version of TLS that is spoken with servers",
        usual: false,
        show: |it| show_choice(it.tls_version_server_min, &TLS_VERSIONS),
        write: |it, value| choice(value, &TLS_VERSIONS).map(|min| it.tls_version_server_min = min),
    },
    Spec {
        name: "connect_timeout",
        kind: Kind::Seconds,
        about: "How long looking a server's name up and connecting may take together",
        usual: false,
        show: |it| show_seconds(it.connect_timeout),
        write: |it, value| seconds(value).map(|wait| it.connect_timeout = wait),
    },
    Spec {
        name: "idle_timeout",
        kind: Kind::Seconds,
        about: "How long a client's connection may wait for its next request",
        usual: false,
        show: |it| show_seconds(it.idle_timeout),
        write: |it, value| seconds(value).map(|wait| it.idle_timeout = wait),
    },
    Spec {
        name: "response_timeout",
        kind: Kind::Seconds,
        about: "How long a server may take from the end of the request to its answer's head",
        usual: false,
        show: |it| show_seconds(it.response_timeout),
        write: |it, value| seconds(value).map(|wait| it.response_timeout = wait),
    },
    Spec {
        name: "handshake_timeout",
        kind: Kind::Seconds,
        about: "How long a TLS handshake may take, with a client or a server",
        usual: false,
        show: |it| show_seconds(it.handshake_timeout),
        write: |it, value| seconds(value).map(|wait| it.handshake_timeout = wait),
    },
    Spec {
        name: "request_head_timeout",
        kind: Kind::Seconds,
        about: "How long a request's head may take, from its first byte to its last, however \
                steadily it trickles in",
        usual: false,
        show: |it| show_seconds(it.request_head_timeout),
        write: |it, value| seconds(value).map(|wait| it.request_head_timeout = wait),
    },
    Spec {
        name: "body_timeout",
        kind: Kind::Seconds,
        about: "How long a body may go without progress, whoever is at fault: who sends it, or \
                who does not read it",
        usual: false,
        show: |it| show_seconds(it.body_timeout),
        write: |it, value| seconds(value).map(|wait| it.body_timeout = wait),
    },
    Spec {
        name: "tunnel_timeout",
        kind: Kind::Seconds,
        about: "How long nothing may be said in a tunnel or a WebSocket, by either side",
        usual: false,
        show: |it| show_seconds(it.tunnel_timeout),
        write: |it, value| seconds(value).map(|wait| it.tunnel_timeout = wait),
    },
    Spec {
        name: "connections",
        kind: Kind::CountOrNull(CONNECTIONS_MOST),
        about: "Client connections at the same time; more wait until one has ended. Without a \
                number, as many as the limit of open files allows",
        usual: false,
        show: |it| it.connections.into(),
        write: |it, value| count_or_null(value, CONNECTIONS_MOST).map(|most| it.connections = most),
    },
    Spec {
        name: "connections_per_client",
        kind: Kind::CountOrNull(CONNECTIONS_MOST),
        about: "Connections from one address (of IPv6 the first 64 bits) at the same time; more \
                are answered 503 and closed",
        usual: false,
        show: |it| it.connections_per_client.into(),
        write: |it, value| {
            count_or_null(value, CONNECTIONS_MOST).map(|most| it.connections_per_client = most)
        },
    },
    Spec {
        name: "pooled_connections",
        kind: Kind::Count(0, POOL_CONNECTIONS),
        about: "Idle connections to servers that each event loop keeps, as far as the limit of \
                open files allows; for one more the one that has been idle the longest is closed",
        usual: false,
        show: |it| it.pooled_connections.into(),
        write: |it, value| {
            count(value, 0, POOL_CONNECTIONS).map(|most| it.pooled_connections = most)
        },
    },
    Spec {
        name: "held_flows",
        kind: Kind::Count(1, HELD_FLOWS_MOST),
        about: "Flows that are held at the same time; others that match go on unheld, and a \
                request that a rule of block_list cannot be asked about then is answered 503",
        usual: false,
        show: |it| it.held_flows.into(),
        write: |it, value| count(value, 1, HELD_FLOWS_MOST).map(|most| it.held_flows = most),
    },
    Spec {
        name: "store_bytes",
        kind: Kind::StoreSize,
        about: "Memory for the flows that agents see, the oldest of which make room; decided on \
                at the start",
        usual: false,
        show: |it| show_size(u64::try_from(it.store_bytes).ok()),
        write: |it, value| store_size(value).map(|bytes| it.store_bytes = bytes),
    },
    Spec {
        name: "redact",
        kind: Kind::Flag,
        about: "MCP replies show *** in place of secrets; while the proxy runs it can only be \
                switched on",
        usual: true,
        show: |it| it.redactor.is_on().into(),
        write: |it, value| {
            it.redactor = match flag(value)? {
                true => it.redactor.with(&it.redact_patterns).map_err(Reason::Because)?,
                false => Redactor::off(),
            };
            Ok(())
        },
    },
    Spec {
        name: "redact_patterns",
        kind: Kind::Patterns,
        about: "What else is a secret: a pattern's first group, or all that it matches; while the \
                proxy runs patterns can only be added",
        usual: false,
        show: |it| it.redact_patterns.clone().into(),
        write: |it, value| {
            let patterns =
                list(value, &it.redact_patterns, String::as_str, |text| Ok(text.to_owned()))?;
            let redactor = it.redactor.with(&patterns).map_err(Reason::Because)?;
            if it.redactor.is_on() {
                it.redactor = redactor;
            }
            it.redact_patterns = patterns;
            Ok(())
        },
    },
];

/// What is decided on when the proxy starts, and why, with what to do instead.
const FIXED: [(&str, &str); 6] = [
    ("listen_host", "it is decided on at the start, by --listen"),
    ("listen_port", "it is decided on at the start, by --port"),
    ("mode", "flowtap is always a regular proxy"),
    ("server", "flowtap serves as long as it runs"),
    ("ssl_insecure", "it is the user's decision at the start, by --insecure-upstream"),
    ("confdir", "it is decided on at the start, by --confdir"),
];

/// Options that hold from the start to the end, and how they are set.
const STARTING: [(&str, &str); 1] = [(
    "store_bytes",
    "the store has its size from the start on; start flowtap with --set store_bytes=SIZE",
)];

/// The names of all options.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.name)
}

/// The options that are shown where nobody asks for others.
pub(super) fn usual() -> impl Iterator<Item = &'static Spec> {
    OPTIONS.iter().filter(|option| option.usual)
}

/// The option of this name.
pub(super) fn find(name: &str) -> Result<&'static Spec, OptionError> {
    if let Some(option) = OPTIONS.iter().find(|option| option.name == name) {
        return Ok(option);
    }
    Err(match FIXED.iter().find(|(fixed, _)| *fixed == name) {
        Some((name, why)) => OptionError::Fixed { name, why },
        None => OptionError::Unknown { name: name.to_owned(), near: nearest(name, names()) },
    })
}

impl Spec {
    /// Sets it before the proxy runs.
    pub(super) fn set(&self, options: &mut Options, value: &Value) -> Result<(), OptionError> {
        let meant = self.unmasked(options, value);
        (self.write)(options, &meant).map_err(|reason| self.refused(reason, self.shown(options)))
    }

    /// Sets it while the proxy runs: nobody who is shown masked values may unmask them. When it
    /// fails, the options are to be thrown away.
    pub(super) fn set_running(
        &self,
        options: &mut Options,
        value: &Value,
    ) -> Result<(), OptionError> {
        if let Some((name, why)) = STARTING.iter().find(|(name, _)| *name == self.name) {
            return Err(OptionError::Fixed { name, why });
        }
        let (before, shown) = ((self.show)(options), self.shown(options));
        self.set(options, value)?;
        let masks = matches!(self.name, "redact" | "redact_patterns");
        if masks && is_less(&(self.show)(options), &before) {
            let reason = Reason::because("while the proxy runs, masking is not reduced");
            return Err(self.refused(reason, shown));
        }
        Ok(())
    }

    /// The value as users see it.
    pub(super) fn shown(&self, options: &Options) -> Value {
        let mut value = (self.show)(options);
        if !options.redactor.is_on() {
            return value;
        }
        if let (Kind::Credentials, Value::String(text)) = (self.kind, &mut value) {
            let user = text.split_once(':').map_or("", |(user, _)| user);
            *text = format!("{user}:{MASK}");
        }
        options.redactor.json(&mut value);
        value
    }

    /// The value that a text on the command line stands for.
    pub(super) fn value_of_text(&self, options: &Options, text: &str) -> Value {
        self.kind.value_of_text((self.show)(options), text)
    }

    /// What was shown masked and comes back as it was shown stands for what it was.
    fn unmasked(&self, options: &Options, given: &Value) -> Value {
        match (given, (self.show)(options), self.shown(options)) {
            (Value::Array(given), Value::Array(plain), Value::Array(shown)) => {
                let mut known: Vec<_> = shown.into_iter().zip(plain).collect();
                let items = given.iter().map(|item| {
                    let at = known.iter().position(|(shown, _)| shown == item);
                    at.map_or_else(|| item.clone(), |at| known.remove(at).1)
                });
                items.collect()
            }
            (given, plain, shown) if *given == shown => plain,
            (given, ..) => given.clone(),
        }
    }

    fn refused(&self, reason: Reason, in_force: Value) -> OptionError {
        let expected = self.kind.expected();
        OptionError::Refused { name: self.name, expected, reason, in_force }
    }
}

/// Whether something was switched off, or items are missing.
fn is_less(after: &Value, before: &Value) -> bool {
    match (after, before) {
        (Value::Bool(after), Value::Bool(before)) => *before && !after,
        (Value::Array(after), Value::Array(before)) => {
            before.iter().any(|item| !after.contains(item))
        }
        _ => false,
    }
}

/// The documentation's table of options.
pub fn docs_table() -> String {
    let defaults = Options::default();
    let mut table = String::from("| option | takes | default | effect |\n|---|---|---|---|\n");
    for option in OPTIONS {
        let default = match option.shown(&defaults) {
            Value::Null => String::new(),
            Value::Array(items) if items.is_empty() => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        let Spec { name, kind, about, .. } = option;
        let expected = kind.expected();
        table.push_str(&format!("| `{name}` | {expected} | {default} | {about} |\n"));
    }
    table
}
