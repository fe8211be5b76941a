//! Whether the flows of a bundle are as they should be.

use std::path::Path;

use crate::capture::flow::Flow;
use crate::capture::parts::{Parts, Place};
use crate::error::Result;
use crate::flow::filter::Filter;
use crate::flow::redact::Redactor;
use crate::limits::CHECK_LISTED;

/// What must hold of a capture.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What the filter is for.
    pub kind: RuleKind,
    /// The filter.
    pub filter: Filter,
}

/// What a rule wants of the flows that its filter matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// There is none.
    FailOn,
    /// There is at least one.
    Require,
}

/// What came of a check.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Flows that were looked at.
    pub(crate) flows: u64,
    /// What came of each rule, in their order.
    pub(crate) outcomes: Vec<Outcome>,
    /// Flows that could not be read: a line for each.
    pub(crate) unread: Vec<String>,
    /// Parts of the capture that could not be read: a line for each.
    pub(crate) missing: Vec<String>,
    /// Flows of which a body or messages are there in part only, when a rule looks at bodies.
    pub(crate) cut: u64,
}

/// What came of one rule.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The rule.
    pub(crate) rule: Rule,
    /// Flows that match it.
    pub(crate) matches: u64,
    /// The first of those, where there should be none; at most [`CHECK_LISTED`].
    pub(crate) offences: Vec<Offence>,
}

/// A flow that should not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offence {
    /// The part's file and the flow's id there, as `capture.zip t_0001`.
    pub(crate) place: String,
    /// Its method.
    pub(crate) method: String,
    /// Its URL, masked.
    pub(crate) url: String,
    /// Its status, if it was answered.
    pub(crate) status: Option<u16>,
    /// Why it failed, masked.
    pub(crate) error: Option<String>,
}

impl Outcome {
    /// Whether the rule holds.
    pub(crate) fn holds(&self) -> bool {
        match self.rule.kind {
            RuleKind::FailOn => self.matches == 0,
            RuleKind::Require => self.matches > 0,
        }
    }
}

/// Checks all flows of a capture, with the parts that stand beside its first one. What is listed
/// is masked by `redactor`.
///
/// # Errors
/// When the bundle cannot be read. A flow or a further part of it that cannot be read is told of in
/// the result.
pub(crate) fn check(bundle: &Path, rules: &[Rule], redactor: &Redactor) -> Result<Report> {
    let mut parts = Parts::open(bundle)?;
    let outcome = |rule: &Rule| Outcome { rule: rule.clone(), matches: 0, offences: Vec::new() };
    let outcomes = rules.iter().map(outcome).collect();
    let missing = parts.missing().to_vec();
    let mut report = Report { outcomes, missing, ..Report::default() };
    let reads_bodies = rules.iter().any(|rule| rule.filter.reads_body());
    for place in parts.places(&mut report.unread)? {
        let flow = match parts.read(&place)? {
            Ok(flow) => flow,
            Err(error) => {
                report.unread.push(error.to_string());
                continue;
            }
        };
        report.flows += 1;
        report.cut += u64::from(reads_bodies && is_cut(&flow));
        for outcome in &mut report.outcomes {
            if !flow.matches(&outcome.rule.filter) {
                continue;
            }
            outcome.matches += 1;
            let is_offence = outcome.rule.kind == RuleKind::FailOn;
            if is_offence && outcome.offences.len() < CHECK_LISTED {
                outcome.offences.push(offence(&flow, &place, &parts, redactor));
            }
        }
    }
    Ok(report)
}

/// Whether a filter for bodies saw less than there was.
fn is_cut(flow: &Flow) -> bool {
    let response = flow.response.as_ref().map(|response| &response.message);
    let is_coded = flow.messages.iter().flatten().any(|message| message.is_coded);
    if is_coded || flow.messages_damaged || flow.messages_left_out > 0 {
        return true;
    }
    [Some(&flow.request), response].into_iter().flatten().any(|message| {
        let body = &message.body;
        body.is_cut || body.note.is_some() || body.coding.is_some()
    })
}

fn offence(flow: &Flow, place: &Place, parts: &Parts, redactor: &Redactor) -> Offence {
    let file = parts.path(place.part).file_name().unwrap_or_default().to_string_lossy();
    Offence {
        place: format!("{file} {}", place.id),
        method: flow.method.clone(),
        url: redactor.url(&flow.url).into_owned(),
        status: flow.response.as_ref().map(|response| response.status),
        error: flow.error.as_deref().map(|error| redactor.words(error).into_owned()),
    }
}
