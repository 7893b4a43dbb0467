//! Cryptokey routing: which peer owns an address, by longest prefix.
//!
//! The table is the device's, not a peer's: a prefix has at most one owner, and a packet from a peer is accepted only
//! if the longest prefix of its source address is that peer's. IPv4 and IPv6 have a trie each (`trie.rs`).
//!
//! Not here: the list of prefixes of each peer, in the order `wg` shows them. The caller keeps it, so that removing a
//! peer costs its own entries and not the table's.
//!
//! Updates take `&mut self`, so no lookup runs beside one. Even so, a prefix changes hands by the write of one field:
//! there is no moment at which a moved prefix has no owner.
//!
//! Source: WireGuard whitepaper, section 2.

mod trie;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use trie::Trie;

/// An address and a prefix length; host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// Masks `address`; `None` if `len` is over 32 or 128.
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if len <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if len <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { address, len })
    }

    /// Returns the masked address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the prefix length, in bits.
    // A prefix of length 0 is not an empty one: it holds every address.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u8 {
        self.len
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

/// Two tries (IPv4, IPv6). `T` is a small copyable peer handle; a prefix has at most one owner.
#[derive(Clone, Debug)]
pub struct AllowedIps<T> {
    v4: Trie<u32, T>,
    v6: Trie<u128, T>,
}

impl<T: Copy + Eq> AllowedIps<T> {
    /// Makes an empty table. Allocates nothing.
    pub fn new() -> Self {
        Self { v4: Trie::new(), v6: Trie::new() }
    }

    /// Gives `prefix` to `owner` in one write; returns the owner it had, which may be the same one.
    pub fn insert(&mut self, prefix: Prefix, owner: T) -> Option<T> {
        match prefix.address {
            IpAddr::V4(address) => self.v4.insert(address.to_bits(), prefix.len, owner),
            IpAddr::V6(address) => self.v6.insert(address.to_bits(), prefix.len, owner),
        }
    }

    /// Removes exactly `prefix` if `owner` has it; true if so. O(prefix length); frees leaf and empty inner nodes.
    pub fn remove(&mut self, prefix: Prefix, owner: T) -> bool {
        match prefix.address {
            IpAddr::V4(address) => self.v4.remove(address.to_bits(), prefix.len, owner),
            IpAddr::V6(address) => self.v6.remove(address.to_bits(), prefix.len, owner),
        }
    }

    /// Returns the owner of the longest prefix that contains `address`.
    pub fn lookup(&self, address: IpAddr) -> Option<T> {
        match address {
            IpAddr::V4(address) => self.v4.lookup(address.to_bits()),
            IpAddr::V6(address) => self.v6.lookup(address.to_bits()),
        }
    }

    /// The same for the 4 bytes of an IPv4 address, for the packet path.
    #[inline]
    pub fn lookup_v4(&self, address: [u8; 4]) -> Option<T> {
        self.v4.lookup(u32::from_be_bytes(address))
    }

    /// The same for the 16 bytes of an IPv6 address, for the packet path.
    #[inline]
    pub fn lookup_v6(&self, address: [u8; 16]) -> Option<T> {
        self.v6.lookup(u128::from_be_bytes(address))
    }

    /// Returns the number of prefixes of both families.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Tells whether no prefix has an owner.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Copy + Eq> Default for AllowedIps<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
