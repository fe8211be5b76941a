//! Secrets are masked in what agents see, and nowhere else.

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::flowtap::Setup;
use crate::support::origin::Origin;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn set(agent: &mut Agent, key: &str, value: Value) {
    agent.call("set_option", json!({"key": key, "value": value}));
}

#[test]
fn masking_can_be_switched_on_and_never_off() {
    let tap = Setup::with_mcp().args(["--no-redact"]).start();
    let mut agent = Agent::of(&tap);
    let origin = Origin::answers(OK);
    let to = origin.addr;
    let fields = "Authorization: Bearer abcdef123456\r\nX-Order: order-4711-x\r\n";
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n"));
    client.response();
    let show = |agent: &mut Agent| {
        let list = agent.wait("get_flows", &json!({}), |list| list["total"] == 1);
        let id = list["flows"][0]["id"].clone();
        agent.call("get_flow_request", json!({"flow_id": id})).to_string()
    };
    assert!(show(&mut agent).contains("abcdef123456"));
    set(&mut agent, "redact", json!(true));
    assert!(!show(&mut agent).contains("abcdef123456"));
    assert!(show(&mut agent).contains("order-4711-x"));
    set(&mut agent, "redact_patterns", json!(["order-[0-9]+"]));
    assert!(!show(&mut agent).contains("order-4711"));
    let refused = agent.fails("set_option", json!({"key": "redact", "value": false}));
    assert!(refused.contains("redact"), "{refused}");
    assert!(!show(&mut agent).contains("abcdef123456"));
}
