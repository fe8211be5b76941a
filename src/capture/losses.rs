//! What should stand in a bundle and does not.

use serde::{Deserialize, Serialize};

use crate::notice::count;

/// How much was lost while a part of a bundle was made, as its manifest says it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct Losses {
    /// Exchanges and WebSocket connections.
    #[serde(rename = "flow_count")]
    pub flows: u64,
    /// Messages that are missing in connections.
    #[serde(rename = "ws_message_count")]
    pub messages: u64,
}

impl Losses {
    /// So many flows.
    pub fn of_flows(flows: u64) -> Self {
        Losses { flows, messages: 0 }
    }

    /// Whether nothing was lost.
    pub fn is_none(&self) -> bool {
        *self == Losses::default()
    }

    /// Counts more.
    pub fn add(&mut self, more: Losses) {
        self.flows = self.flows.saturating_add(more.flows);
        self.messages = self.messages.saturating_add(more.messages);
    }

    /// For the user, as `2 flows and 1 WebSocket message`.
    pub fn shown(self) -> String {
        let kinds = [(self.flows, "flow"), (self.messages, "WebSocket message")];
        let lost = kinds.into_iter().filter(|(number, _)| *number > 0);
        let lost: Vec<_> = lost.map(|(number, one)| count(number, one)).collect();
        lost.join(" and ")
    }
}
