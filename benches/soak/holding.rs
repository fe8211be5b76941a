//! An agent that holds live flows, and lets them go on, answers or drops them.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::agents::Agent;
use super::world::{Dice, Outcome, Route, World, at, status};

/// What becomes of a flow that is held.
#[derive(Clone, Copy)]
enum Decision {
    Resume,
    Answer,
    Edit,
    Drop,
}

/// Holds one flow after the other, this long apart, until the traffic ends.
pub(crate) fn run(world: &World, seed: u64, apart: Duration) {
    let mut dice = Dice::new(seed);
    loop {
        world.ledger.done("held flow", hold(world, &mut dice));
        if !world.pause(apart) {
            return;
        }
    }
}

fn hold(world: &World, dice: &mut Dice) -> Outcome {
    let mut agent = match dice.below(2) {
        0 => Agent::streamable(world)?,
        _ => Agent::events(world)?,
    };
    let decision = match dice.below(4) {
        0 => Decision::Resume,
        1 => Decision::Answer,
        2 => Decision::Edit,
        _ => Decision::Drop,
    };
    let side = if matches!(decision, Decision::Edit) { "~s" } else { "~q" };
    let filter = json!({"filter": format!("~u /held/ & {side}")});
    agent.call("set_intercept_filter", &filter)?;
    let mut own_dice = Dice::new(dice.below(u64::MAX));
    let outcome = thread::scope(|scope| {
        let client = scope.spawn(|| ask(world, &mut own_dice, decision));
        let decided = decide(&mut agent, decision);
        if decided.is_err() {
            // Whatever went wrong, the client must not wait for it.
            agent.call("resume_all", &json!({}))?;
        }
        let asked = client.join().map_err(|_| "the client panicked".to_owned())?;
        decided.and(asked)
    });
    agent.call("set_intercept_filter", &json!({"filter": ""}))?;
    agent.leave(true)?;
    outcome
}

fn decide(agent: &mut Agent<'_>, decision: Decision) -> Outcome {
    let held = agent.wait("get_intercepted_flows", |said| said["count"] == 1)?;
    let id = &held["flows"][0]["id"];
    let (tool, arguments) = match decision {
        Decision::Resume => ("resume_flow", json!({"flow_id": id})),
        Decision::Answer => (
            "resume_flow",
            json!({"flow_id": id, "answer": true, "status": 418, "body": "no coffee"}),
        ),
        Decision::Edit => ("resume_flow", json!({"flow_id": id, "status": 403})),
        Decision::Drop => ("drop_flow", json!({"flow_id": id})),
    };
    agent.call(tool, &arguments)?;
    agent.wait("get_intercepted_flows", |said: &Value| said["count"] == 0)?;
    Ok(())
}

/// The client whose flow is held.
fn ask(world: &World, dice: &mut Dice, decision: Decision) -> Outcome {
    let mut route = Route::any(world, dice)?;
    let id = world.ledger.begin();
    route.ask("GET", &format!("/held/{id}/1000"), "")?;
    match decision {
        Decision::Resume => drop(route.whole(id, 1_000)?),
        Decision::Answer => status(&at("head", route.wire.head())?, 418)?,
        Decision::Edit => status(&at("head", route.wire.head())?, 403)?,
        Decision::Drop => {
            if let Ok(Some(head)) = route.wire.next_head() {
                return Err(format!("a dropped flow was answered: {}", head.text()));
            }
        }
    }
    world.ledger.must(id);
    route.wire.reset();
    Ok(())
}
