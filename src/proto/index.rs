//! The table from the 32-bit index in a message to the handshake or keypair it belongs to.
//!
//! Indices are random and unique among the live entries of a device, never structured: an index must not tell how
//! many peers there are. Generic over the entry, so that it can be tested alone; entries are owned by the caller.
//!
//! Not here: which kind of entry a message may use (see `dataplane::handshakes` and `dataplane::receive`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

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
    entries: HashMap<Index, T, BuildHasherDefault<IndexHasher>>,
}

impl<T> IndexTable<T> {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self { entries: HashMap::default() }
    }

    /// Draws an unused index and stores `entry` under it.
    ///
    /// A device has at most 4 x 2^20 live entries, 1/1024 of the space: one draw in a thousand is repeated at the
    /// very worst.
    pub fn insert(&mut self, entry: T, rng: &mut impl Rng) -> Index {
        loop {
            let index = Index(rng.next_u32());
            if let Entry::Vacant(vacant) = self.entries.entry(index) {
                vacant.insert(entry);
                return index;
            }
        }
    }

    /// Stores `entry` under an index that another process drew; false if it is taken.
    pub fn insert_at(&mut self, index: Index, entry: T) -> bool {
        match self.entries.entry(index) {
            Entry::Vacant(vacant) => {
                vacant.insert(entry);
                true
            }
            Entry::Occupied(_) => false,
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

    /// Returns the live entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
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

/// Spreads an index over 64 bits by one multiplication.
///
/// A keyed hash would protect against keys chosen by an attacker. Ours are drawn at random by ourselves, and a lookup
/// stores nothing, so there is nothing to protect, and every batch of packets looks one up. The multiplication is
/// there because the table takes its tag from the upper bits, which are zero in a 32-bit number.
#[derive(Debug, Default)]
struct IndexHasher(u64);

impl Hasher for IndexHasher {
    fn write_u32(&mut self, index: u32) {
        // 2^64 divided by the golden ratio.
        self.0 = u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(self.0 as u32 ^ u32::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
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
    fn a_taken_index_is_drawn_again() {
        let mut table = IndexTable::new();
        let first = table.insert("first", &mut StdRng::seed_from_u64(3));
        let second = table.insert("second", &mut StdRng::seed_from_u64(3));
        assert_ne!(first, second);
        assert_eq!((table.lookup(first), table.lookup(second)), (Some(&"first"), Some(&"second")));
    }

    #[test]
    fn the_tag_bits_of_the_hash_are_used() {
        let tag = |index| {
            let mut hasher = IndexHasher::default();
            hasher.write_u32(index);
            hasher.finish() >> 57
        };
        let mut seen = [false; 128];
        (0..10_000).for_each(|index| seen[tag(index) as usize] = true);
        assert!(seen.iter().all(|seen| *seen));
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
