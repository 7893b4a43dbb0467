//! Values, as files and `set` spell them. White space has been taken out.
//!
//! An error is what was expected, to be told with the value and its place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rvpn_uapi::{AllowedIp, AllowedIpChange, Candidate, EndpointOrder};

use crate::control::endpoint::{Endpoint, is_port_too_high};
use crate::control::server::interface_index;
use crate::platform::linux::resolver;

/// What is expected of a key.
pub const KEY: &str = "expected a key of 44 characters in base64, as `rvpn genkey` prints";

/// Reads a UDP port: a number, or the name of a service.
///
/// # Errors
/// What was expected. A number over 65535 is refused, of which `wg` keeps the low 16 bits.
pub fn port(value: &[u8]) -> Result<u16, &'static str> {
    let is_possible = |text: &&str| !text.is_empty() && !is_port_too_high(text);
    let text = str::from_utf8(value).ok().filter(is_possible).ok_or(PORT)?;
    // Who has given up opening files reads digits all the same: getaddrinfo opens some for those, too.
    text.parse().or_else(|_| resolver::port(text)).map_err(|_| PORT)
}

const PORT: &str = "expected a UDP port: 1 to 65535, or 0 for any that is free";

/// Reads a firewall mark: decimal, hexadecimal after `0x`, or `off`.
///
/// # Errors
/// What was expected.
pub fn fwmark(value: &[u8]) -> Result<u32, &'static str> {
    let expected = "expected a firewall mark: 1 to 0xffffffff, or `off`";
    if value.eq_ignore_ascii_case(b"off") {
        return Ok(0);
    }
    let (digits, radix) = match value.strip_prefix(b"0x") {
        Some(digits) => (digits, 16),
        None => (value, 10),
    };
    number(digits, radix).and_then(|number| u32::try_from(number).ok()).ok_or(expected)
}

/// Reads an interval in seconds, or `off`.
///
/// # Errors
/// What was expected.
pub fn persistent_keepalive(value: &[u8]) -> Result<u16, &'static str> {
    if value.eq_ignore_ascii_case(b"off") {
        return Ok(0);
    }
    let number = number(value, 10).and_then(|number| u16::try_from(number).ok());
    number.ok_or("expected seconds: 1 to 65535, or `off`")
}

/// Reads a rate in bits a second, with `K`, `M` or `G` for the powers of a thousand, or `off`.
///
/// # Errors
/// What was expected.
pub fn rate(value: &[u8]) -> Result<u64, &'static str> {
    let expected = "expected bits a second, as in 500K, 20M or 1G, or `off`";
    if value.eq_ignore_ascii_case(b"off") {
        return Ok(0);
    }
    let (digits, unit) = match value.split_last() {
        Some((letter, digits)) if letter.is_ascii_alphabetic() => {
            let unit = UNITS.iter().find(|(name, _)| letter.eq_ignore_ascii_case(name));
            (digits, unit.ok_or(expected)?.1)
        }
        _ => (value, 1),
    };
    number(digits, 10).and_then(|number| number.checked_mul(unit)).ok_or(expected)
}

/// Writes a rate as [`rate`] reads it, with the largest unit that it is a multiple of.
pub fn rate_text(rate: u64) -> String {
    match UNITS.iter().find(|(_, unit)| rate.is_multiple_of(*unit)) {
        Some(&(letter, unit)) => format!("{}{}", rate / unit, char::from(letter)),
        None => rate.to_string(),
    }
}

const UNITS: [(u8, u64); 3] = [(b'G', 1_000_000_000), (b'M', 1_000_000), (b'K', 1_000)];

/// Reads an endpoint without asking for its address.
///
/// # Errors
/// What was expected.
pub fn endpoint(value: &[u8]) -> Result<Endpoint, &'static str> {
    let endpoint = str::from_utf8(value).ok().and_then(Endpoint::parse);
    endpoint.ok_or("expected a host and a port, as in vpn.example.com:51820, 192.0.2.1:51820 or [2001:db8::1]:51820")
}

/// Reads one of the places where a peer may be. The port may be the name of a service.
///
/// # Errors
/// What was expected.
pub fn candidate(value: &[u8]) -> Result<Candidate, &'static str> {
    if let Some(candidate) = Candidate::parse(value, &interface_index) {
        return Ok(candidate);
    }
    let expected = "expected a host and a port, as in vpn.example.com:51820, 192.0.2.1:51820 or [2001:db8::1]:51820";
    let (host, service) = str::from_utf8(value).ok().and_then(|text| text.rsplit_once(':')).ok_or(expected)?;
    let port = port(service.as_bytes()).map_err(|_| expected)?;
    Candidate::name(host, port).ok_or(expected)
}

/// Reads which of them is preferred.
///
/// # Errors
/// What was expected.
pub fn endpoint_order(value: &[u8]) -> Result<EndpointOrder, &'static str> {
    EndpointOrder::parse(value).ok_or("expected `fastest` or `strict`")
}

/// Splits a list at its commas; each item with where it begins.
pub fn items(value: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = 0;
    value.split(|&byte| byte == b',').map(move |item| {
        let at = next;
        next += item.len() + 1;
        (at, item)
    })
}

/// One of the allowed IPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedIpItem {
    /// What it asks for.
    pub change: AllowedIpChange,
    /// Whether it has a sign, so that what there is stays.
    pub is_increment: bool,
    /// Whether bits beyond the prefix are set. They do not count.
    pub has_host_bits: bool,
}

/// Reads `[+|-]address[/prefix length]`; without a length it is the address alone.
///
/// # Errors
/// What was expected.
pub fn allowed_ip(item: &[u8]) -> Result<AllowedIpItem, &'static str> {
    let expected = "expected an address with or without a prefix length, as in 10.0.0.0/24 or fd00::1";
    let (sign, network) = match item.split_first() {
        Some((sign @ (b'+' | b'-'), rest)) => (Some(*sign), rest),
        _ => (None, item),
    };
    let network = str::from_utf8(network).map_err(|_| expected)?;
    let (address, len) = match network.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (network, None),
    };
    let address = address_of(address).ok_or(expected)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let len = match len {
        Some(len) => number(len.as_bytes(), 10).and_then(|len| u8::try_from(len).ok()),
        None => Some(longest),
    };
    let range =
        if longest == 32 { "expected a prefix length of 0 to 32" } else { "expected a prefix length of 0 to 128" };
    let network = len.and_then(|len| AllowedIp::new(address, len)).ok_or(range)?;
    Ok(AllowedIpItem {
        change: if sign == Some(b'-') { AllowedIpChange::Remove(network) } else { AllowedIpChange::Add(network) },
        is_increment: sign.is_some(),
        has_host_bits: network.address() != address,
    })
}

fn address_of(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    } else {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }
}

/// Reads digits and nothing else.
pub(super) fn number_of(word: &str) -> Option<u64> {
    number(word.as_bytes(), 10)
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &byte| {
        let digit = char::from(byte).to_digit(radix)?;
        number.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

/// Returns whether `word` becomes `name` by changing, adding or leaving out at most two letters.
pub(super) fn is_misspelt(word: &[u8], name: &str) -> bool {
    if word.len().abs_diff(name.len()) > 2 {
        return false;
    }
    // Levenshtein: distances[i] is that of the beginning of `word` to the first i letters of `name`.
    let mut distances: Vec<usize> = (0..=name.len()).collect();
    for (row, letter) in word.iter().enumerate() {
        let mut diagonal = distances[0];
        distances[0] = row + 1;
        for (column, other) in name.bytes().enumerate() {
            let change = diagonal + usize::from(!letter.eq_ignore_ascii_case(&other));
            diagonal = distances[column + 1];
            distances[column + 1] = change.min(diagonal + 1).min(distances[column] + 1);
        }
    }
    distances[name.len()] <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_and_no_more_than_16_bits() {
        assert_eq!((port(b"0"), port(b"65535"), port(b"051")), (Ok(0), Ok(65535), Ok(51)));
        for text in ["", "65536", "70000", "-1", "1.5", "0x10", "no-such-service"] {
            assert_eq!(port(text.as_bytes()), Err(PORT), "{text}");
        }
    }

    #[test]
    fn marks_are_decimal_hexadecimal_or_off() {
        for (text, mark) in [("0", 0), ("OFF", 0), ("51820", 51820), ("0xcA6c", 0xca6c), ("0xffffffff", u32::MAX)] {
            assert_eq!(fwmark(text.as_bytes()), Ok(mark), "{text}");
        }
        for text in ["", "0x", "0X10", "4294967296", "0x100000000", "-1", "+1", "ca6c", "none", "0x+1"] {
            assert!(fwmark(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn intervals_are_seconds_or_off() {
        assert_eq!((persistent_keepalive(b"25"), persistent_keepalive(b"Off")), (Ok(25), Ok(0)));
        for text in ["", "65536", "-1", "1s"] {
            assert!(persistent_keepalive(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        for (text, bits) in
            [("7", 7), ("500K", 500_000), ("20M", 20_000_000), ("3G", 3_000_000_000), ("1500M", 1_500_000_000)]
        {
            assert_eq!((rate(text.as_bytes()), rate_text(bits)), (Ok(bits), text.to_owned()));
        }
        assert_eq!((rate(b"20m"), rate(b"off"), rate(b"0")), (Ok(20_000_000), Ok(0), Ok(0)));
        for text in ["", "M", "1.5M", "-1", "1T", "1 M", "20Mbit", "18446744073709551616", "99999999999G"] {
            assert!(rate(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn allowed_ips_have_signs_defaults_and_host_bits() {
        let read = |text: &str| {
            allowed_ip(text.as_bytes()).map(|item| (item.change.to_string(), item.is_increment, item.has_host_bits))
        };
        assert_eq!(read("10.0.0.5"), Ok(("10.0.0.5/32".into(), false, false)));
        assert_eq!(read("fd00::1"), Ok(("fd00::1/128".into(), false, false)));
        assert_eq!(read("10.0.0.5/24"), Ok(("10.0.0.0/24".into(), false, true)));
        assert_eq!(read("+10.0.0.0/8"), Ok(("10.0.0.0/8".into(), true, false)));
        assert_eq!(read("-fd00::/8"), Ok(("-fd00::/8".into(), true, false)));
        for text in ["", "/8", "10.0.0.0/", "10.0.0.0/33", "fd00::/129", "10.0.0.0/8/8", "1.2.3", "01.2.3.4", "--::/0"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn items_know_where_they_begin() {
        assert_eq!(items(b"a,bc,").collect::<Vec<_>>(), [(0, &b"a"[..]), (2, b"bc"), (5, b"")]);
    }

    #[test]
    fn near_misses_are_known() {
        assert!(is_misspelt(b"PubilcKey", "PublicKey") && is_misspelt(b"allowedip", "AllowedIPs"));
        assert!(!is_misspelt(b"Name", "Endpoint"));
    }
}
