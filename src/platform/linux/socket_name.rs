//! Socket addresses as the kernel lays them out, read and written as bytes.
//!
//! Not here: which address a datagram goes to.
//!
//! Source: ip(7), ipv6(7).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A `sockaddr_in` or `sockaddr_in6`.
///
/// # Layout
/// | offset | IPv4 | IPv6 |
/// |---|---|---|
/// | 0 | family, u16, host order | the same |
/// | 2 | port, u16, network order | the same |
/// | 4 | address, 4 bytes | flow label, u32, network order |
/// | 8 | 8 bytes of zero | address, 16 bytes |
/// | 24 | | scope, u32, host order |
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketName {
    bytes: [u8; Self::ROOM],
    len: u8,
}

impl SocketName {
    /// Bytes of the larger of the two.
    pub(super) const ROOM: usize = 28;

    /// Lays `address` out.
    pub(super) fn new(address: SocketAddr) -> Self {
        let mut name = Self { bytes: [0; Self::ROOM], len: 0 };
        let bytes = &mut name.bytes;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(address) => {
                bytes[..2].copy_from_slice(&INET.to_ne_bytes());
                bytes[4..8].copy_from_slice(&address.ip().octets());
                name.len = 16;
            }
            SocketAddr::V6(address) => {
                bytes[..2].copy_from_slice(&INET6.to_ne_bytes());
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                name.len = 28;
            }
        }
        name
    }

    /// Returns the address; `None` if the kernel gave none, or one of another family.
    ///
    /// The flow label is dropped: it belongs to one direction of one flow, and an answer must not repeat it.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let bytes = self.bytes();
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        match u16::from_ne_bytes(*bytes.first_chunk()?) {
            INET => {
                let octets: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
                Some(SocketAddrV4::new(Ipv4Addr::from(octets), port).into())
            }
            INET6 => {
                let octets: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
                let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
                Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope).into())
            }
            _ => None,
        }
    }

    /// Returns the bytes in use.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns all the room, to be written by the kernel.
    pub(super) fn room(&mut self) -> &mut [u8; Self::ROOM] {
        &mut self.bytes
    }

    /// Says how many bytes of [`SocketName::room`] were written; more than the room is all of it.
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(Self::ROOM) as u8;
    }
}

impl Default for SocketName {
    fn default() -> Self {
        Self { bytes: [0; Self::ROOM], len: 0 }
    }
}

const INET: u16 = libc::AF_INET as u16;
const INET6: u16 = libc::AF_INET6 as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_went_in() {
        for text in ["192.0.2.7:51820", "[2001:db8::7]:1", "[fe80::1%3]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketName::new(address).address(), Some(address));
        }
    }

    #[test]
    fn layout_is_that_of_the_man_page() {
        let name = SocketName::new("192.0.2.7:258".parse().unwrap());
        assert_eq!(name.bytes()[2..], [1, 2, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(SocketName::new("[::1]:0".parse().unwrap()).bytes().len(), 28);
    }

    #[test]
    fn flow_label_is_dropped() {
        let mut name = SocketName::new("[::1]:5".parse().unwrap());
        name.room()[4..8].copy_from_slice(&[0, 1, 2, 3]);
        assert_eq!(name.address(), Some("[::1]:5".parse().unwrap()));
    }

    #[test]
    fn short_long_and_foreign_names_are_no_address() {
        let mut name = SocketName::new("[::1]:5".parse().unwrap());
        for len in 0..SocketName::ROOM {
            name.set_len(len);
            assert_eq!(name.address(), None, "{len}");
        }
        name.set_len(usize::MAX);
        assert!(name.address().is_some());
        name.room()[..2].copy_from_slice(&1_u16.to_ne_bytes());
        assert_eq!(name.address(), None);
    }
}
