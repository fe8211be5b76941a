//! In which order flows go to make room.

use std::collections::VecDeque;

use crate::flow::record::FlowId;

/// Places that nobody has any more, before they are looked for and removed.
const LEFT_PLACES: usize = 1_024;

/// The flows that may go, by when something was heard of them last. Flows come at the end and go
/// at the beginning; where one has left its place in between, the place stays behind for a while.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The places, ascending, and whose they were.
    places: VecDeque<(u64, FlowId)>,
    next: u64,
    taken: usize,
}

impl Order {
    /// How many flows are in it.
    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// Gives a flow the last place.
    pub(super) fn push(&mut self, id: FlowId) -> u64 {
        let place = self.next;
        self.next += 1;
        self.taken += 1;
        self.places.push_back((place, id));
        place
    }

    /// A flow has left its place. `has` tells whether a flow has a place.
    pub(super) fn leave(&mut self, has: impl Fn(FlowId, u64) -> bool) {
        self.taken = self.taken.saturating_sub(1);
        if self.places.len() > 2 * self.taken + LEFT_PLACES {
            self.places.retain(|(place, id)| has(*id, *place));
        }
    }

    /// Takes the first flow out. `has` tells whether a flow has a place.
    pub(super) fn pop(&mut self, has: impl Fn(FlowId, u64) -> bool) -> Option<FlowId> {
        while let Some((place, id)) = self.places.pop_front() {
            if has(id, place) {
                self.taken = self.taken.saturating_sub(1);
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn places_that_were_left_do_not_pile_up() {
        let mut order = Order::default();
        let mut places = HashMap::new();
        for id in [1, 2, 3].map(FlowId) {
            places.insert(id, order.push(id));
        }
        for _ in 0..10 * LEFT_PLACES {
            let place = order.push(FlowId(2));
            places.insert(FlowId(2), place);
            order.leave(|id, place| places.get(&id) == Some(&place));
            assert!(order.places.len() <= 2 * 3 + LEFT_PLACES + 1);
        }
        assert_eq!(order.len(), 3);
        let pop = |order: &mut Order| order.pop(|id, place| places.get(&id) == Some(&place));
        assert_eq!([1, 3, 2].map(|id| Some(FlowId(id))), [(); 3].map(|()| pop(&mut order)));
        assert_eq!((pop(&mut order), order.len()), (None, 0));
    }
}
