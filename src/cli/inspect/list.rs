//! The flows of a capture that are wanted, in the order that is wanted.
//!
//! Of each flow no more is held than where it stands and what it is sorted by; what is shown of
//! it is read when it is its turn.

use crate::capture::flow::{Bodies, of_read_trace, of_websocket};
use crate::capture::parts::{Parts, Place};
use crate::cli::inspect::row::{Key, Row, Sort};
use crate::cli::inspect::{Failure, Warnings};
use crate::error::Result;
use crate::flow::filter::Filter;

/// Which flows are wanted, and in which order.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) filter: Option<&'a Filter>,
    pub(super) sort: Sort,
    pub(super) reverse: bool,
    pub(super) limit: u64,
}

/// What all flows that match come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Flows that could be read, whether they match or not.
    pub(super) read: u64,
    pub(super) traces: u64,
    pub(super) websockets: u64,
    pub(super) messages: u64,
    pub(super) received_bytes: u64,
    /// Flows that were shown.
    pub(super) shown: u64,
}

impl Totals {
    fn add(&mut self, row: &Row) {
        let kind = if row.websocket { &mut self.websockets } else { &mut self.traces };
        *kind += 1;
        self.messages = self.messages.saturating_add(row.messages.unwrap_or_default());
        self.received_bytes = self.received_bytes.saturating_add(row.response_bytes);
    }

    /// Flows that match.
    pub(super) fn matching(&self) -> u64 {
        self.traces.saturating_add(self.websockets)
    }
}

/// Shows each flow that is wanted with `show`, which gets its place as well. Of a flow that cannot
/// be read a warning is given, and the others are shown.
pub(super) fn each(
    parts: &mut Parts,
    wanted: &Wanted<'_>,
    warnings: &mut Warnings<'_>,
    show: &mut dyn FnMut(&mut Parts, &Place, &Row) -> std::result::Result<(), Failure>,
) -> std::result::Result<Totals, Failure> {
    let mut left_out = parts.missing().to_vec();
    let mut places = parts.places(&mut left_out)?;
    for reason in left_out {
        warnings.give(&reason);
    }
    let is_streamed = wanted.sort == Sort::Time;
    if is_streamed && wanted.reverse {
        places.reverse();
    }
    let mut totals = Totals::default();
    let mut sorted: Vec<(Key, Place)> = Vec::new();
    for place in places {
        let row = match read(parts, &place, wanted.filter)? {
            Ok(Some(row)) => row,
            Ok(None) => {
                totals.read += 1;
                continue;
            }
            Err(error) => {
                warnings.give(&error.to_string());
                continue;
            }
        };
        totals.read += 1;
        totals.add(&row);
        if !is_streamed {
            sorted.push((wanted.sort.key(&row), place));
        } else if totals.shown < wanted.limit {
            totals.shown += 1;
            show(parts, &place, &row)?;
        }
    }
    // What is the same stays in order of time, in either direction.
    match wanted.reverse {
        true => sorted.sort_by(|(one, _), (other, _)| other.cmp(one)),
        false => sorted.sort_by(|(one, _), (other, _)| one.cmp(other)),
    }
    let most = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    for (_, place) in sorted.into_iter().take(most) {
        // It was read before; a file that changes meanwhile is not worth a second warning.
        if let Ok(Some(row)) = read(parts, &place, None)? {
            totals.shown += 1;
            show(parts, &place, &row)?;
        }
    }
    Ok(totals)
}

/// What there is to say of the flow at a place; `None` where the filter does not match it. The
/// inner error is that of this flow alone.
pub(super) fn read(
    parts: &mut Parts,
    place: &Place,
    filter: Option<&Filter>,
) -> Result<Result<Option<Row>>> {
    let id = parts.full_id(place);
    let number = parts.part_number(place.part)?;
    let part = parts.part(place.part)?;
    let bodies = match filter {
        Some(filter) if filter.reads_body() => Bodies::Read,
        _ => Bodies::Left,
    };
    let matching = || -> Result<Option<Row>> {
        if place.is_socket {
            let row = Row::of_websocket(id, number, &part.websocket(&place.id)?);
            let Some(filter) = filter else { return Ok(Some(row)) };
            let matches = of_websocket(part, &place.id, bodies)?.matches(filter);
            return Ok(matches.then_some(row));
        }
        let trace = part.trace(&place.id)?;
        let row = Row::of_trace(id, number, &trace);
        let matches = filter.is_none_or(|it| of_read_trace(part, trace, bodies).matches(it));
        Ok(matches.then_some(row))
    };
    Ok(matching())
}
