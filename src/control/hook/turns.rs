//! Whose turn it is: a bounded queue of which several entries are worked on at once, those of one key never together.
//!
//! Not here: working on them (see `runner`).

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// Entries that wait, and the keys of those that are worked on.
#[derive(Debug)]
pub(super) struct Turns<K, T> {
    waiting: VecDeque<(K, T)>,
    busy: HashSet<K>,
}

impl<K: Clone + Eq + Hash, T> Turns<K, T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), busy: HashSet::new() }
    }

    /// Tells whether another entry may be pushed for which none is lost.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Adds an entry; returns the oldest one if that had to make room.
    pub(super) fn push(&mut self, key: K, entry: T) -> Option<T> {
        let lost = if self.has_room() { None } else { self.waiting.pop_front() };
        self.waiting.push_back((key, entry));
        lost.map(|(_, entry)| entry)
    }

    /// Takes the oldest entry whose key is not worked on, which is the oldest of its key; `None` if there is none, or if
    /// as many are worked on as may be. [`Turns::done`] is to be called for it.
    pub(super) fn next(&mut self) -> Option<(K, T)> {
        if self.busy.len() >= MAX_AT_ONCE {
            return None;
        }
        let place = self.waiting.iter().position(|(key, _)| !self.busy.contains(key))?;
        let (key, entry) = self.waiting.remove(place)?;
        self.busy.insert(key.clone());
        Some((key, entry))
    }

    /// Work on the entry of `key` is done.
    pub(super) fn done(&mut self, key: &K) {
        self.busy.remove(key);
    }

    /// Drops what waits; returns how many that were.
    pub(super) fn forget(&mut self) -> usize {
        std::mem::take(&mut self.waiting).len()
    }
}

/// More would not make a script of a person quicker, and each may be a shell with children.
pub(super) const MAX_AT_ONCE: usize = 4;
const MAX_WAITING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_at_once_and_one_of_a_key() {
        let mut turns = Turns::new();
        for (key, entry) in [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("d", 5), ("e", 6)] {
            turns.push(key, entry);
        }
        let first: Vec<_> = std::iter::from_fn(|| turns.next()).map(|(_, entry)| entry).collect();
        assert_eq!(first, [1, 3, 4, 5]);
        turns.done(&"d");
        assert_eq!(turns.next(), Some(("e", 6)), "the next of `a` has to wait for the first");
        turns.done(&"a");
        assert_eq!(turns.next(), Some(("a", 2)));
        assert_eq!(turns.next(), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut turns = Turns::new();
        while turns.has_room() {
            assert_eq!(turns.push((), 2), None);
        }
        assert_eq!(turns.push((), 3), Some(2), "the oldest makes room");
        assert_eq!(turns.forget(), MAX_WAITING);
        assert_eq!(turns.next(), None);
    }
}
