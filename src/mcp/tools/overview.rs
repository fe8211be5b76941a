//! All traffic in one small reply.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::flow::authentication;
use crate::flow::head::HeadText;
use crate::flow::stored::FlowState;
use crate::flow::template::path_template;
use crate::limits::{REPLY_CHARS, REPLY_MOST_CHARS};
use crate::mcp::tools::Work;
use crate::mcp::tools::list::origin;
use crate::mcp::tools::reply::{Outcome, Reply, json_chars, shorten};
use crate::mcp::tools::select::{going_on, select};
use crate::mcp::tools::shown::Brief;

/// Endpoints that are listed where nothing else is asked for.
const ENDPOINTS: usize = 40;
/// Flows of each kind that are worth a look.
const EXAMPLES: usize = 5;
/// Hosts that are listed even when none of their endpoints is.
const HOSTS: usize = 40;
/// Characters of a URL or an endpoint.
const URL_CHARS: usize = 100;
/// Query keys that are named of an endpoint.
const QUERY_KEYS: usize = 6;

pub(super) fn get_overview(work: &Work<'_>) -> Outcome {
    let limit = work.arguments.size("limit", 1..=500)?.unwrap_or(ENDPOINTS);
    let flows = select(work, |_| true)?;
    let mut summary = Summary::default();
    for flow in &flows {
        summary.add(&Brief::new(flow, &work.options));
    }
    let mut reply = Reply::default();
    reply.put("flows", flows.len());
    if let (Some(newest), Some(oldest)) = (flows.first(), flows.last()) {
        reply.put("from", oldest.timing.began_us / 1_000_000);
        reply.put("to", newest.timing.began_us / 1_000_000);
    }
    summary.put_numbers(&mut reply);
    summary.put_examples(&mut reply);
    let left_out = summary.put_hosts(limit, &mut reply);
    if left_out > 0 {
        reply.put("endpoints_left_out", left_out);
        if limit < 500 {
            reply.put("next", going_on(work, &[("limit", 500)]));
        }
    }
    reply.put("endpoint_form", "METHOD path ×count status×count average-ms #example-flow-id");
    reply.untrusted("hosts failing slowest");
    Ok(reply)
}

#[derive(Default)]
struct Summary {
    hosts: BTreeMap<String, Host>,
    statuses: BTreeMap<String, usize>,
    methods: BTreeMap<String, usize>,
    failing: Vec<String>,
    failures: usize,
    /// The slowest flows: microseconds and line, in no order.
    slowest: Vec<(u64, String)>,
    under_way: usize,
    held: usize,
    websockets: usize,
}

#[derive(Default)]
struct Host {
    flows: usize,
    endpoints: BTreeMap<(String, String), Endpoint>,
    authentication: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Endpoint {
    flows: usize,
    statuses: BTreeMap<String, usize>,
    keys: BTreeSet<String>,
    total_us: u64,
    ended: u64,
    example: u64,
}

impl Summary {
    fn add(&mut self, flow: &Brief<'_>) {
        let stored = flow.flow;
        let status = match (flow.status, &stored.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(_)) => "failed".to_owned(),
            (None, None) => "-".to_owned(),
        };
        *self.statuses.entry(status.clone()).or_default() += 1;
        *self.methods.entry(shorten(&flow.method, 20)).or_default() += 1;
        self.websockets += usize::from(stored.websocket.is_some());
        match stored.state {
            FlowState::UnderWay => self.under_way += 1,
            FlowState::Paused(_) => self.held += 1,
            FlowState::Ended => {}
        }
        let line = || {
            let url = shorten(&flow.url, URL_CHARS);
            format!("#{} {} {url}", stored.id.0, flow.method)
        };
        if flow.status.is_some_and(|status| status >= 400) || stored.error.is_some() {
            self.failures += 1;
            if self.failing.len() < EXAMPLES {
                let error = flow.error().map(|it| format!(": {}", shorten(&it, URL_CHARS)));
                self.failing.push(format!("{} {status}{}", line(), error.unwrap_or_default()));
            }
        }
        let host = self.hosts.entry(origin(&flow.url).to_owned()).or_default();
        host.add(flow, status);
        // How long a WebSocket was open says nothing of how quick a server is.
        if stored.state == FlowState::Ended && stored.websocket.is_none() {
            self.add_time(stored.timing.total_us, line);
        }
    }

    fn add_time(&mut self, us: u64, line: impl FnOnce() -> String) {
        if self.slowest.len() >= EXAMPLES {
            let quickest = self.slowest.iter().enumerate().min_by_key(|(_, (us, _))| *us);
            match quickest {
                Some((at, (least, _))) if *least < us => {
                    self.slowest.swap_remove(at);
                }
                _ => return,
            }
        }
        self.slowest.push((us, format!("{} {}ms", line(), us / 1_000)));
    }

    fn put_numbers(&self, reply: &mut Reply) {
        reply.put("methods", counts(&self.methods));
        reply.put("statuses", counts(&self.statuses));
        for (name, count) in
            [("under_way", self.under_way), ("held", self.held), ("websockets", self.websockets)]
        {
            if count > 0 {
                reply.put(name, count);
            }
        }
    }

    fn put_examples(&mut self, reply: &mut Reply) {
        if self.failures > 0 {
            let newest = &self.failing;
            reply.put("failing", json!({ "count": self.failures, "newest": newest }));
        }
        self.slowest.sort_by_key(|(us, _)| std::cmp::Reverse(*us));
        let slowest: Vec<_> = self.slowest.iter().map(|(_, line)| line.as_str()).collect();
        reply.put("slowest", slowest);
    }

    /// Lists the hosts with the endpoints that were called most; gives how many endpoints were
    /// left out.
    fn put_hosts(&self, limit: usize, reply: &mut Reply) -> usize {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by_key(|(name, host)| (std::cmp::Reverse(host.flows), *name));
        let all = hosts.iter().flat_map(|(_, host)| host.endpoints.values());
        let mut counts: Vec<_> = all.map(|endpoint| endpoint.flows).collect();
        counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        let total = counts.len();
        // Endpoints that were called as often as the last one that fits come in order of hosts.
        let least = counts.get(limit.saturating_sub(1)).copied().unwrap_or(0);
        let (mut lines, mut listed, mut chars) = (Vec::new(), 0, 0);
        // Who asks for many has asked for a long reply.
        let most = if limit > ENDPOINTS { REPLY_MOST_CHARS } else { REPLY_CHARS };
        for (number, (name, host)) in hosts.iter().enumerate() {
            let room = limit - listed;
            let endpoints = host.lines(least, room);
            if endpoints.is_empty() && number >= HOSTS {
                continue;
            }
            let shown = endpoints.len();
            let line = host.line(name, endpoints);
            chars += json_chars(&line);
            if chars > most - 4_000 {
                break;
            }
            listed += shown;
            lines.push(line);
        }
        if lines.len() < hosts.len() {
            reply.put("hosts_left_out", hosts.len() - lines.len());
        }
        reply.put("hosts", lines);
        total - listed
    }
}

impl Host {
    fn add(&mut self, flow: &Brief<'_>, status: String) {
        self.flows += 1;
        let rest = flow.url.strip_prefix(origin(&flow.url)).unwrap_or_default();
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = shorten(&path_template(path), URL_CHARS);
        let endpoint = self.endpoints.entry((shorten(&flow.method, 20), path)).or_default();
        endpoint.flows += 1;
        *endpoint.statuses.entry(status).or_default() += 1;
        // The newest comes first.
        if endpoint.example == 0 {
            endpoint.example = flow.flow.id.0;
        }
        if flow.flow.state == FlowState::Ended {
            endpoint.ended += 1;
            endpoint.total_us = endpoint.total_us.saturating_add(flow.flow.timing.total_us);
        }
        for key in query.split('&').filter_map(|pair| pair.split('=').next()) {
            if endpoint.keys.len() < QUERY_KEYS && !key.is_empty() {
                endpoint.keys.insert(shorten(key, 30));
            }
        }
        let head = HeadText::read(&flow.flow.request.head);
        for place in authentication::places(&head.fields, query) {
            *self.authentication.entry(shorten(&place.to_string(), 50)).or_default() += 1;
        }
    }

    fn lines(&self, least: usize, room: usize) -> Vec<String> {
        let mut endpoints: Vec<_> =
            self.endpoints.iter().filter(|(_, endpoint)| endpoint.flows >= least).collect();
        endpoints.sort_by_key(|(name, endpoint)| (std::cmp::Reverse(endpoint.flows), *name));
        endpoints.iter().take(room).map(|(name, endpoint)| endpoint.line(name)).collect()
    }

    fn line(&self, name: &str, endpoints: Vec<String>) -> Value {
        let mut line = Map::new();
        line.insert("host".to_owned(), shorten(name, URL_CHARS).into());
        line.insert("flows".to_owned(), self.flows.into());
        let left_out = self.endpoints.len() - endpoints.len();
        if left_out > 0 {
            line.insert("endpoints_left_out".to_owned(), left_out.into());
        }
        line.insert("endpoints".to_owned(), endpoints.into());
        let places = self.authentication.iter().take(QUERY_KEYS);
        let places: Vec<_> = places.map(|(place, count)| format!("{place} ×{count}")).collect();
        if !places.is_empty() {
            line.insert("authentication".to_owned(), places.into());
        }
        line.into()
    }
}

impl Endpoint {
    fn line(&self, (method, path): &(String, String)) -> String {
        let keys: Vec<_> = self.keys.iter().map(String::as_str).collect();
        let query = if keys.is_empty() { String::new() } else { format!("?{}", keys.join("&")) };
        let statuses: Vec<_> =
            self.statuses
                .iter()
                .map(|(status, count)| {
                    if *count == self.flows { status.clone() } else { format!("{status}×{count}") }
                })
                .collect();
        let average = match self.ended {
            0 => String::new(),
            ended => format!(" {}ms", self.total_us / ended / 1_000),
        };
        format!(
            "{method} {path}{query} ×{} {}{average} #{}",
            self.flows,
            statuses.join(" "),
            self.example
        )
    }
}

fn counts(counts: &BTreeMap<String, usize>) -> Value {
    counts.iter().take(30).map(|(name, count)| (name.clone(), json!(count))).collect()
}
