//! Cryptokey routing: the trie from an address to the peer that owns it. SKELETON: helper fills in (protocol.md 12).

use std::net::IpAddr;

/// An address and a prefix length; host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// Masks `address`; `None` if `len` is over 32 or 128.
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let _ = (address, len);
        unimplemented!()
    }

    /// Returns the masked address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the prefix length, in bits.
    pub fn len(&self) -> u8 {
        self.len
    }
}

/// Two tries (IPv4, IPv6). `T` is a small copyable peer handle; a prefix has at most one owner.
#[derive(Debug)]
pub struct AllowedIps<T> {
    _owner: std::marker::PhantomData<T>,
}

impl<T: Copy + Eq> AllowedIps<T> {
    /// Makes an empty table.
    pub fn new() -> Self {
        unimplemented!()
    }

    /// Gives `prefix` to `owner`; returns the owner it had, if another one.
    pub fn insert(&mut self, prefix: Prefix, owner: T) -> Option<T> {
        let _ = (prefix, owner);
        unimplemented!()
    }

    /// Removes exactly `prefix` if `owner` has it; true if so. O(prefix length); frees leaf and empty inner nodes.
    pub fn remove(&mut self, prefix: Prefix, owner: T) -> bool {
        let _ = (prefix, owner);
        unimplemented!()
    }

    /// Returns the owner of the longest prefix that contains `address`.
    pub fn lookup(&self, address: IpAddr) -> Option<T> {
        let _ = address;
        unimplemented!()
    }

    /// The same for the 4 bytes of an IPv4 address, for the packet path.
    pub fn lookup_v4(&self, address: [u8; 4]) -> Option<T> {
        let _ = address;
        unimplemented!()
    }

    /// The same for the 16 bytes of an IPv6 address, for the packet path.
    pub fn lookup_v6(&self, address: [u8; 16]) -> Option<T> {
        let _ = address;
        unimplemented!()
    }
}
