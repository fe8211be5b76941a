//! A line, or more, for each flow that ends: as much as the option `flow_detail` asks for.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::sync::Arc;

use crate::cli::colour::is_coloured;
use crate::cli::lines::{LineStyle, write_flow};
use crate::cli::status::width;
use crate::config::Terminal;
use crate::flow::record::FlowId;
use crate::flow::stored::{FlowState, StoredFlow};
use crate::mcp::store::Store;
use crate::options::SharedOptions;

/// Flows that a terminal is given at once; more are counted. A load test is not for reading along.
const PRINTED_FLOWS: usize = 20;

/// A line for each flow is for those who look at it, unless it was asked for. More than that was
/// asked for, wherever it goes.
fn is_enough(options: &SharedOptions, wanted: Terminal, terminal: bool) -> bool {
    options.current().flow_detail >= if terminal || wanted.flows { 1 } else { 2 }
}

/// Prints the flows of a store as they end.
#[derive(Debug)]
pub(super) struct FlowLines {
    store: Arc<Store>,
    options: Arc<SharedOptions>,
    wanted: Terminal,
    terminal: bool,
    /// Flows that were printed and that the store still has.
    printed: HashSet<FlowId>,
}

impl FlowLines {
    /// Prints what this store holds, to standard error.
    pub(super) fn new(store: Arc<Store>, options: Arc<SharedOptions>, wanted: Terminal) -> Self {
        let terminal = std::io::stderr().is_terminal();
        FlowLines { store, options, wanted, terminal, printed: HashSet::new() }
    }

    /// Whether anything is printed at all.
    pub(super) fn is_on(&self) -> bool {
        is_enough(&self.options, self.wanted, self.terminal)
    }

    /// Whether anything would be printed.
    pub(super) fn are_wanted(options: &SharedOptions, wanted: Terminal) -> bool {
        is_enough(options, wanted, std::io::stderr().is_terminal())
    }

    /// The words for the flows that have ended since the last time.
    pub(super) fn take(&mut self) -> String {
        let flows = self.ended();
        let style = LineStyle {
            detail: self.options.current().flow_detail,
            width: if self.terminal { width() } else { 0 },
            colour: is_coloured(self.wanted.colour, &std::io::stderr()),
        };
        let mut text = Vec::new();
        let most = if self.terminal { PRINTED_FLOWS } else { usize::MAX };
        for flow in flows.iter().take(most) {
            // Writing to a Vec does not fail.
            let _ = write_flow(flow, style, &mut text);
        }
        let more = flows.len().saturating_sub(most);
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
