//! Options and status.

use serde_json::json;

use crate::mcp::tools::Work;
use crate::mcp::tools::list::is_held;
use crate::mcp::tools::reply::{Failure, Outcome, Reply};
use crate::mcp::tools::shown::words;
use crate::options::OptionError;

pub(super) fn get_options(work: &Work<'_>) -> Outcome {
    let keys = work.arguments.texts("keys")?;
    let keys: Option<Vec<String>> = keys.map(|keys| keys.into_iter().map(str::to_owned).collect());
    let described = work.tools.options.describe(keys.as_deref());
    Ok(Reply { content: described.map_err(|error| refused(&error))?, ..Reply::default() })
}

pub(super) fn set_option(work: &Work<'_>) -> Outcome {
    let key = work.arguments.required_text("key")?;
    let value = work.arguments.get("value").cloned().unwrap_or_default();
    let now = work.tools.options.set(key, &value).map_err(|error| refused(&error))?;
    let mut reply = Reply::default();
    reply.put("status", "success");
    reply.put("key", key);
    let reach = match key {
        // What is being connected to keeps its own.
        "connect_timeout" | "handshake_timeout" => "for what begins from now on",
        key if key.ends_with("_timeout") => "for what waits already, too",
        _ => "for what begins from now on",
    };
    reply.put("message", format!("{key} is set; it holds {reach}"));
    reply.put("value", now);
    Ok(reply)
}

fn refused(error: &OptionError) -> Failure {
    Failure::new(error.to_string()).then(json!({ "tool": "get_options" }))
}

pub(super) fn get_status(work: &Work<'_>) -> Outcome {
    let (store, around) = (work.tools.store(), &work.tools.surroundings);
    let options = &work.options;
    let flows = store.snapshot();
    let mut reply = Reply::default();
    reply.put("version", env!("CARGO_PKG_VERSION"));
    reply.put("listen_address", around.listen_address.as_str());
    reply.put("mode", around.mode);
    reply.put("flow_count", flows.len());
    reply.put("max_flows", store.limits().flows);
    let filter = options.intercept.as_ref();
    reply.put("intercept_filter", filter.map(|filter| words(&options.redactor, filter.text())));
    reply.put("held_flows", flows.iter().filter(|flow| is_held(flow)).count());
    reply.put("anticache", options.anticache);
    reply.put("anticomp", options.anticomp);
    reply.put("secrets", if options.redactor.is_on() { "masked" } else { "shown" });
    let bundle = around.bundle.as_ref().map(|path| path.display().to_string());
    reply.put("bundle", bundle);
    reply.put("uptime_s", around.started.elapsed().as_secs());
    let stats = &around.stats;
    reply.put("capture_suspended", stats.capture_suspended.get() > 0);
    let counters = [
        ("exchanges", &stats.exchanges),
        ("connections", &stats.connections),
        ("flows_lost", &stats.flows_lost),
        ("messages_lost", &stats.messages_lost),
        ("bodies_cut", &stats.bodies_cut),
        ("messages_left_out", &stats.messages_left_out),
        ("clients_distrusting", &stats.distrusted),
        ("accept_pauses", &stats.accept_pauses),
        ("connections_turned_away", &stats.turned_away),
        ("requests_undecided", &stats.undecided),
        ("faults", &stats.faults),
    ];
    for (name, counter) in counters {
        reply.put(name, counter.get());
    }
    Ok(reply)
}
