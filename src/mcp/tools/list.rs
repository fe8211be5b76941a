//! Listing, counting and clearing flows.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use crate::flow::record::Side;
use crate::flow::stored::{FlowState, StoredFlow};
use crate::mcp::tools::Work;
use crate::mcp::tools::reply::{Failure, Outcome, Reply, shorten};
use crate::mcp::tools::select::{going_on, pattern, select};
use crate::mcp::tools::shown::{Brief, held_words, method, status};

/// Characters of a path in a table.
const TABLE_PATH_CHARS: usize = 120;

pub(super) fn get_flows(work: &Work<'_>) -> Outcome {
    let arguments = work.arguments;
    let offset = arguments.size("offset", 0..=usize::MAX)?.unwrap_or(0);
    let limit = arguments.size("limit", 1..=500)?.unwrap_or(100);
    let wanted_method = arguments.text("method")?;
    let urls = arguments.text("url_pattern")?.map(|text| pattern("url_pattern", text));
    let urls = urls.transpose()?;
    let wanted_status = arguments.integer("status_code", 100..=999)?;
    let as_table = is_table(work)?;
    let flows = select(work, |flow| {
        let is_url = |urls: &Regex| urls.is_match(&Brief::new(flow, &work.options).url);
        wanted_method.is_none_or(|wanted| method(flow).eq_ignore_ascii_case(wanted))
            && wanted_status.is_none_or(|wanted| status(flow).map(u64::from) == Some(wanted))
            && urls.as_ref().is_none_or(is_url)
    })?;
    let mut reply = Reply::default();
    let page: Vec<_> = flows.iter().skip(offset).take(limit).collect();
    reply.put("total", flows.len());
    reply.put("offset", offset);
    reply.put("limit", limit);
    reply.put("count", page.len());
    let shown = page.iter().map(|flow| Brief::new(flow, &work.options));
    let is_cut = if as_table {
        put_table(&mut reply, &shown.collect::<Vec<_>>())
    } else {
        let lines: Vec<_> = shown.map(|flow| Value::from(flow.summary())).collect();
        let is_cut = |line: &Value| line["url"].as_str().is_some_and(|url| url.contains("…[+"));
        let any_cut = lines.iter().any(is_cut);
        reply.put("flows", lines);
        any_cut
    };
    reply.untrusted("flows");
    put_rest(work, &mut reply, offset + page.len(), flows.len());
    if is_cut {
        reply.put("note", "URLs that end in …[+N] are cut; get_flow_request with full_heads: true");
    }
    Ok(reply)
}

/// Whether the caller asked for the short form.
fn is_table(work: &Work<'_>) -> Result<bool, Failure> {
    match work.arguments.text("format")? {
        None | Some("objects") => Ok(false),
        Some("table") => Ok(true),
        Some(other) => Err(Failure::new(format!(
            "the argument \"format\" must be \"objects\" or \"table\", not {:?}",
            shorten(other, 40)
        ))),
    }
}

/// Says what a listing left out, and the call that goes on.
fn put_rest(work: &Work<'_>, reply: &mut Reply, end: usize, total: usize) {
    if end < total {
        reply.put("left_out", total - end);
        reply.put("next", going_on(work, &[("offset", end)]));
    } else if total == 0 {
        let kept = work.tools.store().count();
        reply.put("note", format!("nothing matches among the {kept} flows that are kept"));
    }
}

/// The short form: what the URLs begin with stands above them once, and each flow is one line.
fn put_table(reply: &mut Reply, flows: &[Brief<'_>]) -> bool {
    let mut origins: BTreeMap<&str, usize> = BTreeMap::new();
    for flow in flows {
        *origins.entry(origin(&flow.url)).or_default() += 1;
    }
    let common = origins.iter().max_by_key(|(origin, count)| (**count, origin.len()));
    let base = common.filter(|(_, count)| **count > 1).map(|(origin, _)| *origin);
    let mut is_cut = false;
    let lines = flows.iter().map(|flow| {
        let url =
            base.and_then(|base| flow.url.strip_prefix(base).filter(|_| origin(&flow.url) == base));
        let url = url.filter(|path| !path.is_empty()).unwrap_or(&flow.url);
        is_cut |= url.chars().nth(TABLE_PATH_CHARS).is_some();
        table_line(flow, &shorten(url, TABLE_PATH_CHARS))
    });
    let lines: Vec<String> = lines.collect();
    reply.put("columns", "id method status bytes ms url");
    if let Some(base) = base {
        reply.put("base", base);
    }
    reply.put("flows", lines);
    is_cut
}

fn table_line(flow: &Brief<'_>, url: &str) -> String {
    let stored = flow.flow;
    let status = match (stored.state, flow.status) {
        (FlowState::Paused(side), _) => held_words(side).replace(' ', "-"),
        (_, Some(status)) => status.to_string(),
        (FlowState::Ended, None) => "failed".to_owned(),
        (FlowState::UnderWay, None) => "-".to_owned(),
    };
    let bytes = stored.response.as_ref().map_or(0, |response| response.body.size);
    let time = match stored.state {
        FlowState::Ended => (stored.timing.total_us / 1_000).to_string(),
        _ => "-".to_owned(),
    };
    format!("{} {} {status} {bytes} {time} {url}", stored.id.0, flow.method)
}

/// Scheme and authority of a URL.
pub(super) fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(after_scheme..).and_then(|rest| rest.find(['/', '?', '#']));
    path.and_then(|at| url.get(..after_scheme + at)).unwrap_or(url)
}

pub(super) fn get_flow_count(work: &Work<'_>) -> Outcome {
    let mut reply = Reply::default();
    reply.put("count", work.tools.store().count());
    reply.put("max_flows", work.tools.store().limits().flows);
    Ok(reply)
}

pub(super) fn clear_flows(work: &Work<'_>) -> Outcome {
    let cleared = work.tools.store().clear();
    let held = work.tools.store().snapshot().iter().filter(|flow| is_held(flow)).count();
    let mut reply = Reply::default();
    reply.put("cleared", cleared);
    let message = match held {
        0 => format!("{cleared} flows cleared"),
        held => format!("{cleared} flows cleared; {held} are held and stay: see resume_all"),
    };
    reply.put("message", message);
    Ok(reply)
}

pub(super) fn is_held(flow: &Arc<StoredFlow>) -> bool {
    matches!(flow.state, FlowState::Paused(_))
}

/// The side of a flow that is held.
pub(super) fn held_side(flow: &StoredFlow) -> Option<Side> {
    match flow.state {
        FlowState::Paused(side) => Some(side),
        FlowState::UnderWay | FlowState::Ended => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_scheme_and_authority() {
        assert_eq!(origin("https://a.example:8443/p?q"), "https://a.example:8443");
        assert_eq!(origin("http://a?x=/"), "http://a");
        assert_eq!(origin("http://a"), "http://a");
        assert_eq!(origin("odd/path"), "odd");
    }
}
