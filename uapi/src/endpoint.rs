//! Endpoints as text: `192.0.2.1:51820`, `[2001:db8::1]:51820`, `[fe80::1%eth0]:51820`.
//!
//! Addresses are numeric: names of hosts are resolved by the tools before they send. Names of interfaces are what the
//! caller says they are, because asking the kernel is IO.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::number;

/// Finds the index of the interface with a name, as `if_nametoindex` does.
pub type ScopeOf = dyn Fn(&str) -> Option<u32> + Send + Sync;

/// Knows no interface: only numeric zones are then read.
pub fn no_scopes(_name: &str) -> Option<u32> {
    None
}

/// Reads an endpoint. The standard parser does all but zones that are names, which it refuses.
pub(crate) fn parse(text: &[u8], scope_of: &ScopeOf) -> Option<SocketAddr> {
    let text = str::from_utf8(text).ok()?;
    text.parse().ok().or_else(|| parse_named_zone(text, scope_of).map(SocketAddr::V6))
}

fn parse_named_zone(text: &str, scope_of: &ScopeOf) -> Option<SocketAddrV6> {
    let (host, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
    let (address, zone) = host.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let port = number::parse(port.as_bytes())?;
    if zone.is_empty() {
        return None;
    }
    Some(SocketAddrV6::new(address, port, 0, scope_of(zone)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_of(name: &str) -> Option<u32> {
        (name == "wlan]:0").then_some(4).or_else(|| (name == "lo").then_some(1))
    }

    #[test]
    fn zones_are_names_or_numbers() {
        let expected = Some("[fe80::1%1]:2000".parse().expect("an address"));
        assert_eq!(parse(b"[fe80::1%1]:2000", &scope_of), expected);
        assert_eq!(parse(b"[fe80::1%lo]:2000", &scope_of), expected);
        assert_eq!(parse(b"[fe80::1%wlan]:0]:7", &scope_of), "[fe80::1%4]:7".parse().ok());
    }

    #[test]
    fn what_is_not_an_endpoint_is_refused() {
        for text in [
            &b""[..],
            b"192.0.2.1",
            b"192.0.2.1:",
            b"192.0.2.1:65536",
            b"localhost:1",
            b"fe80::1:2000",
            b"[fe80::1]",
            b"[fe80::1%]:1",
            b"[fe80::1%eth9]:1",
            b"[fe80::1%lo]:+1",
            b"[192.0.2.1%lo]:1",
            b"\xff\xff:1",
        ] {
            assert_eq!(parse(text, &scope_of), None, "{}", text.escape_ascii());
        }
    }
}
