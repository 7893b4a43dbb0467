//! The table from the 32-bit index in a message to the handshake or keypair it belongs to.
//!
//! Indices are random and unique among the live entries of a device, never structured: an index must not tell how
//! many peers there are. Generic over the entry, so that it can be tested alone; entries are owned by the caller.
//!
//! Not here: which kind of entry a message may use (see `dataplane::handshakes` and `dataplane::receive`).

use std::collections::HashMap;
use std::fmt;

use rand::Rng;

/// A sender or receiver index, chosen by the side that receives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index(pub u32);

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The live indices of one device.
#[derive(Debug)]
pub struct IndexTable<T> {
    entries: HashMap<Index, T>,
}

impl<T> IndexTable<T> {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self { entries: HashMap::new() }
    }

    /// Draws an unused index and stores `entry` under it.
    ///
    /// A device has at most 4 x 2^20 live entries, 1/1024 of the space: one draw in a thousand is repeated at the
    /// very worst.
    pub fn insert(&mut self, entry: T, rng: &mut impl Rng) -> Index {
        loop {
            let index = Index(rng.next_u32());
            if let std::collections::hash_map::Entry::Vacant(vacant) = self.entries.entry(index) {
                vacant.insert(entry);
                return index;
            }
        }
    }

    /// Converts the entry at `index` in place; false if it is gone.
    pub fn replace(&mut self, index: Index, entry: T) -> bool {
        match self.entries.get_mut(&index) {
            Some(slot) => {
                *slot = entry;
                true
            }
            None => false,
        }
    }

    /// Frees `index`.
    pub fn remove(&mut self, index: Index) -> Option<T> {
        self.entries.remove(&index)
    }

    /// Returns the entry at `index`.
    pub fn lookup(&self, index: Index) -> Option<&T> {
        self.entries.get(&index)
    }

    /// Returns the number of live entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether no index is live.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Default for IndexTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn indices_are_unique_and_freed() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut table = IndexTable::new();
        let indices: Vec<Index> = (0..1000).map(|n| table.insert(n, &mut rng)).collect();
        assert_eq!(table.len(), 1000);
        assert!(indices.iter().enumerate().all(|(n, index)| table.lookup(*index) == Some(&n)));
        assert!(indices.iter().all(|index| table.remove(*index).is_some()));
        assert!(table.is_empty());
    }

    #[test]
    fn a_freed_index_is_not_revived_by_replace() {
        let mut table = IndexTable::new();
        let index = table.insert("handshake", &mut StdRng::seed_from_u64(2));
        assert!(table.replace(index, "keypair"));
        table.remove(index);
        assert!(!table.replace(index, "keypair"));
        assert!(table.lookup(index).is_none());
    }
}
