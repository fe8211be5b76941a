//! Options and status.

use serde_json::{Map, Value, json};

use crate::mcp::tools::Work;
use crate::mcp::tools::list::is_held;
use crate::mcp::tools::reply::{Failure, Outcome, Reply, shorten};
use crate::mcp::tools::select::parse_filter;
use crate::mcp::tools::shown::words;
use crate::options::Options;

pub(super) fn get_options(work: &Work<'_>) -> Outcome {
    let keys = work.arguments.texts("keys")?;
    let all = describe(&work.options);
    let mut reply = Reply::default();
    match keys {
        None => reply.content = all,
        Some(keys) => {
            for key in keys {
                let value = all.get(key).ok_or_else(|| unknown(key, &all))?;
                reply.put(key, value.clone());
            }
        }
    }
    for (_, value) in &mut reply.content {
        work.options.redactor.json(value);
    }
    Ok(reply)
}

pub(super) fn set_option(work: &Work<'_>) -> Outcome {
    let key = work.arguments.required_text("key")?;
    let value = work.arguments.get("value").cloned().unwrap_or_default();
    let mut now = set(work, key, &value)?;
    work.options.redactor.json(&mut now);
    let mut reply = Reply::default();
    reply.put("status", "success");
    reply.put("key", key);
    reply.put("message", format!("{key} is set; it holds for what begins from now on"));
    reply.put("value", now);
    Ok(reply)
}

/// The options that matter most, and their values.
fn describe(options: &Options) -> Map<String, Value> {
    let filter = options.intercept.as_ref().map(|filter| filter.text());
    let values = [
        ("intercept", json!(filter)),
        ("anticache", json!(options.anticache)),
        ("anticomp", json!(options.anticomp)),
        ("showhost", json!(options.showhost)),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Sets an option; gives the value in force.
fn set(work: &Work<'_>, key: &str, value: &Value) -> Result<Value, Failure> {
    let is_on =
        || value.as_bool().ok_or_else(|| Failure::new(format!("{key} must be true or false")));
    work.tools.options.change(|options| {
        match key {
            "intercept" => {
                options.intercept = parse_filter("value", value.as_str().unwrap_or_default())?;
            }
            "anticache" => options.anticache = is_on()?,
            "anticomp" => options.anticomp = is_on()?,
            "showhost" => options.showhost = is_on()?,
            _ => return Err(unknown(key, &describe(options))),
        }
        Ok(())
    })?;
    let now = describe(&work.tools.options.current());
    Ok(now.get(key).cloned().unwrap_or_default())
}

fn unknown(key: &str, known: &Map<String, Value>) -> Failure {
    let names: Vec<_> = known.keys().map(String::as_str).collect();
    Failure::new(format!(
        "there is no option {:?}; there are {}",
        shorten(key, 60),
        names.join(", ")
    ))
    .then(json!({ "tool": "get_options" }))
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
    let counters = [
        ("exchanges", &stats.exchanges),
        ("connections", &stats.connections),
        ("flows_lost", &stats.flows_lost),
        ("bodies_cut", &stats.bodies_cut),
        ("messages_left_out", &stats.messages_left_out),
        ("clients_distrusting", &stats.distrusted),
    ];
    for (name, counter) in counters {
        reply.put(name, counter.get());
    }
    Ok(reply)
}
