//! Numbered places with generations: a key of what was removed never finds what came after it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// Names a place and the generation of what is in it.
pub(super) struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// The key as one number, for tokens of the poller.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that [`Key::to_bits`] made the number of.
    pub(super) fn from_bits(bits: u64) -> Self {
        let [index, generation] = [bits, bits >> 32].map(|half| (half & 0xffff_ffff) as u32);
        Key { index, generation, of: PhantomData }
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.to_bits().cmp(&other.to_bits())
    }
}

impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_bits().hash(state);
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// The places.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// Puts a value into a free place.
    pub(super) fn insert(&mut self, value: T) -> Key<T> {
        self.len += 1;
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.value = Some(value);
            return Key { index, generation: slot.generation, of: PhantomData };
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Key { index, generation: 0, of: PhantomData }
    }

    /// Takes a value out for good; its key finds nothing any more.
    pub(super) fn remove(&mut self, key: Key<T>) -> Option<T> {
        let slot = self.slot(key)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    /// The value, if it is still there.
    pub(super) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        self.slot(key)?.value.as_mut()
    }

    /// Lends a value out; [`Slots::put_back`] brings it back. Until then its key finds nothing.
    pub(super) fn lend(&mut self, key: Key<T>) -> Option<T> {
        self.slot(key)?.value.take()
    }

    /// Brings back what was lent.
    pub(super) fn put_back(&mut self, key: Key<T>, value: T) {
        if let Some(slot) = self.slot(key) {
            slot.value = Some(value);
        }
    }

    /// Gives up the place of what was lent and will not come back.
    pub(super) fn forget(&mut self, key: Key<T>) {
        if let Some(slot) = self.slot(key) {
            slot.value = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(key.index);
            self.len = self.len.saturating_sub(1);
        }
    }

    /// Whether a value is lent out.
    pub(super) fn is_lent(&mut self, key: Key<T>) -> bool {
        self.slot(key).is_some_and(|slot| slot.value.is_none())
    }

    fn slot(&mut self, key: Key<T>) -> Option<&mut Slot<T>> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)
    }

    /// How many values there are, lent ones included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The keys of all values that are not lent.
    pub(super) fn keys(&self) -> Vec<Key<T>> {
        let occupied = self.slots.iter().enumerate().filter(|(_, slot)| slot.value.is_some());
        let key = |(index, slot): (usize, &Slot<T>)| Key {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            generation: slot.generation,
            of: PhantomData,
        };
        occupied.map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_does_not_find_the_next_value() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut "second"));
        assert_eq!(Key::from_bits(second.to_bits()), second);
    }

    #[test]
    fn lent_values_keep_their_place() {
        let mut slots = Slots::default();
        let key = slots.insert(1);
        assert!(!slots.is_lent(key));
        assert_eq!(slots.lend(key), Some(1));
        assert!(slots.is_lent(key));
        let other = slots.insert(2);
        assert_ne!(key, other);
        slots.put_back(key, 3);
        assert_eq!(slots.get_mut(key), Some(&mut 3));
        assert_eq!(slots.lend(key), Some(3));
        slots.forget(key);
        assert!(!slots.is_lent(key));
        slots.put_back(key, 4);
        assert_eq!(slots.get_mut(key), None);
        assert!(!slots.is_empty());
    }
}
