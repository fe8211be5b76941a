//! A line, or more, for each flow that ends: as much as the option `flow_detail` asks for.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::sync::Arc;

use crate::cli::lines::{LineStyle, write_flow};
use crate::cli::status::{no_colour, width};
use crate::flow::record::FlowId;
use crate::flow::stored::{FlowState, StoredFlow};
use crate::mcp::store::Store;
use crate::options::SharedOptions;

/// Flows that are printed at once; more are counted. A load test is not for reading along.
const PRINTED_FLOWS: usize = 20;

fn is_enough(options: &SharedOptions, terminal: bool) -> bool {
    options.current().flow_detail >= if terminal { 1 } else { 2 }
}

/// Prints the flows of a store as they end.
#[derive(Debug)]
pub(super) struct FlowLines {
    store: Arc<Store>,
    options: Arc<SharedOptions>,
    terminal: bool,
    /// Flows that were printed and that the store still has.
    printed: HashSet<FlowId>,
}

impl FlowLines {
    /// Prints what this store holds, to standard error.
    pub(super) fn new(store: Arc<Store>, options: Arc<SharedOptions>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        FlowLines { store, options, terminal, printed: HashSet::new() }
    }

    /// Whether anything is printed at all. A line for each flow is for those who look at it; more
    /// than that was asked for, wherever it goes.
    pub(super) fn is_on(&self) -> bool {
        is_enough(&self.options, self.terminal)
    }

    /// Whether anything would be printed.
    pub(super) fn are_wanted(options: &SharedOptions) -> bool {
        is_enough(options, std::io::stderr().is_terminal())
    }

    /// The words for the flows that have ended since the last time.
    pub(super) fn take(&mut self) -> String {
        let flows = self.ended();
        let style = LineStyle {
            detail: self.options.current().flow_detail,
            width: if self.terminal { width() } else { 0 },
            colour: self.terminal && !no_colour(),
        };
        let mut text = Vec::new();
        for flow in flows.iter().take(PRINTED_FLOWS) {
            // Writing to a Vec does not fail.
            let _ = write_flow(flow, style, &mut text);
        }
        let more = flows.len().saturating_sub(PRINTED_FLOWS);
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if more > 0 {
            text.push_str(&format!("… and {more} more flows\n"));
        }
        text
    }

    /// Flows that have ended and were not printed, the oldest first.
    fn ended(&mut self) -> Vec<Arc<StoredFlow>> {
        let mut flows = self.store.snapshot();
        flows.reverse();
        flows.retain(|flow| flow.state == FlowState::Ended);
        let ended: HashSet<_> = flows.iter().map(|flow| flow.id).collect();
        flows.retain(|flow| !self.printed.contains(&flow.id));
        // What the store keeps no more cannot come again.
        self.printed = ended;
        flows
    }
}
