//! Where a peer may be: addresses and names in a list, `vpn.example:51820,[2001:db8::1]:51820`.
//!
//! Unlike an endpoint, a candidate may be the name of a host, which the server looks up. Only rvpn knows the key.

use std::fmt;
use std::net::SocketAddr;

use crate::endpoint::{self, ScopeOf};
use crate::number;

/// The most candidates of one peer.
pub const MAX_CANDIDATES: usize = 16;

/// An address or the name of a host, and a UDP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// An address, with its port.
    Address(SocketAddr),
    /// A name.
    Name {
        /// As DNS has it: 1 to 253 characters.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Candidate {
    /// Reads one. The names of interfaces, in zones of addresses, are what `scope_of` says.
    pub fn parse(text: &[u8], scope_of: &ScopeOf) -> Option<Self> {
        if let Some(address) = endpoint::parse(text, scope_of) {
            return Some(Self::Address(address));
        }
        let (host, port) = str::from_utf8(text).ok()?.rsplit_once(':')?;
        Self::name(host, number::parse(port.as_bytes())?)
    }

    /// Makes the name of a host and a port a candidate; `None` if it cannot be such a name: more than 253 characters,
    /// a label of more than 63, or anything but letters, digits, hyphens and underscores. Source: RFC 1035, 2.3.4.
    pub fn name(host: &str, port: u16) -> Option<Self> {
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        // Resolvers take a last label of digits for a misspelt address.
        let is_address = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        let is_name = name.len() <= 253 && name.split('.').all(is_label) && !is_address;
        is_name.then(|| Self::Name { host: host.to_owned(), port })
    }
}

/// As it is read.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Which candidate is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointOrder {
    /// `fastest`: the one that answered first, until it is silent.
    #[default]
    Fastest,
    /// `strict`: the first of the list that answers.
    Strict,
}

impl EndpointOrder {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fastest => "fastest",
            Self::Strict => "strict",
        }
    }

    /// Finds the one that is called so.
    pub fn parse(text: &[u8]) -> Option<Self> {
        [Self::Fastest, Self::Strict].into_iter().find(|order| order.as_str().as_bytes() == text)
    }
}

impl fmt::Display for EndpointOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Appends a list to `all`; an empty one is none.
pub(crate) fn parse_list(all: &mut Vec<Candidate>, text: &[u8], scope_of: &ScopeOf) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    for item in text.split(|&byte| byte == b',') {
        if all.len() == MAX_CANDIDATES {
            return None;
        }
        all.push(Candidate::parse(item, scope_of)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::no_scopes;

    #[test]
    fn addresses_and_names_are_told_apart_and_written_as_they_were() {
        for text in ["192.0.2.1:7", "[2001:db8::1]:7", "[fe80::1%4]:7"] {
            let parsed = Candidate::parse(text.as_bytes(), &no_scopes);
            assert_eq!(parsed, Some(Candidate::Address(text.parse().expect("an address"))));
            assert_eq!(parsed.expect("just compared").to_string(), text);
        }
        for text in ["vpn.example:51820", "_vpn.a-b.example.:0", "localhost:1"] {
            let parsed = Candidate::parse(text.as_bytes(), &no_scopes).expect("a name");
            assert!(matches!(parsed, Candidate::Name { .. }));
            assert_eq!(parsed.to_string(), text);
        }
        let long = format!("{}:1", "a".repeat(64));
        for text in ["", ":1", "a", "a:", "a:65536", "a..b:1", "a b:1", "1.2.3:1", "300.1.1.1:1", "::1:1", &long] {
            assert_eq!(Candidate::parse(text.as_bytes(), &no_scopes), None, "{text}");
        }
    }

    #[test]
    fn a_list_is_bounded_and_may_be_empty() {
        let read = |text: &str| {
            let mut list = Vec::new();
            parse_list(&mut list, text.as_bytes(), &no_scopes).map(|()| list.len())
        };
        assert_eq!((read(""), read("a:1"), read("a:1,1.2.3.4:2")), (Some(0), Some(1), Some(2)));
        assert_eq!((read("a:1,"), read(",")), (None, None));
        assert_eq!(read(&["a:1"; 16].join(",")), Some(16));
        assert_eq!(read(&["a:1"; 17].join(",")), None);
    }
}
