//! Allowed IPs: an address with a prefix length, and what a message does with it.
//!
//! Not here: which peer owns a prefix.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::number;

/// A network; the host bits are zero.
///
/// `wg` sends `10.0.0.5/24` as it was typed and expects it back as `10.0.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllowedIp {
    address: IpAddr,
    prefix_len: u8,
}

impl AllowedIp {
    /// Masks `address`; `None` if `prefix_len` is over 32 or 128 bits.
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if prefix_len <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if prefix_len <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { address, prefix_len })
    }

    /// Returns the masked address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the prefix length, in bits.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }
}

/// Reads `address/prefix length`; both must be there.
impl FromStr for AllowedIp {
    type Err = InvalidAllowedIp;

    fn from_str(text: &str) -> Result<Self, InvalidAllowedIp> {
        let (address, prefix_len) = text.split_once('/').ok_or(InvalidAllowedIp)?;
        let address = address.parse().map_err(|_| InvalidAllowedIp)?;
        number::parse(prefix_len.as_bytes()).and_then(|len| Self::new(address, len)).ok_or(InvalidAllowedIp)
    }
}

impl fmt::Display for AllowedIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// What a line `allowed_ip=` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllowedIpChange {
    /// Give the network to this peer, whoever had it.
    Add(AllowedIp),
    /// Take exactly this network from this peer if it has it (`allowed_ip=-…`).
    Remove(AllowedIp),
}

impl FromStr for AllowedIpChange {
    type Err = InvalidAllowedIp;

    fn from_str(text: &str) -> Result<Self, InvalidAllowedIp> {
        match text.strip_prefix('-') {
            Some(rest) => rest.parse().map(Self::Remove),
            None => text.parse().map(Self::Add),
        }
    }
}

impl fmt::Display for AllowedIpChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(network) => write!(f, "{network}"),
            Self::Remove(network) => write!(f, "-{network}"),
        }
    }
}

/// The text is not `address/prefix length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address and a prefix length, as in 10.0.0.0/24 or fd00::/64")]
pub struct InvalidAllowedIp;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_masked() {
        for (given, kept) in [
            ("10.0.0.5/24", "10.0.0.0/24"),
            ("255.255.255.255/0", "0.0.0.0/0"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("fd00::1/64", "fd00::/64"),
            ("ffff::1/0", "::/0"),
            ("fd00::1/128", "fd00::1/128"),
        ] {
            assert_eq!(given.parse::<AllowedIp>().map(|network| network.to_string()).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn what_is_not_a_network_is_refused() {
        for text in ["", "/", "10.0.0.1", "10.0.0.1/", "10.0.0.1/33", "fd00::/129", "10.0.0.1/+8", "10.0.0/8", "x/8"] {
            assert_eq!(text.parse::<AllowedIp>(), Err(InvalidAllowedIp), "{text}");
        }
        assert!("--10.0.0.0/8".parse::<AllowedIpChange>().is_err());
    }

    #[test]
    fn a_minus_removes() {
        let network = "10.0.0.0/8".parse().expect("a network");
        assert_eq!("-10.0.0.0/8".parse(), Ok(AllowedIpChange::Remove(network)));
        assert_eq!("10.0.0.0/8".parse(), Ok(AllowedIpChange::Add(network)));
    }
}
