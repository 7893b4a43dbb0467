//! What the system's files say of names: `/etc/hosts`, and which servers are to be asked.
//!
//! Read anew for each name: a machine that moves to another network gets other servers.
//!
//! Sources: hosts(5), resolv.conf(5); systemd-resolved.service(8) for the file of its servers.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// What was known when the daemon started.
#[derive(Debug, Default)]
pub(super) struct System {
    /// The servers before the tunnel was there, and may have put others into the files.
    at_start: Vec<SocketAddr>,
}

/// What resolv.conf says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
}

impl System {
    pub(super) fn at_start() -> Self {
        Self { at_start: present(true).servers }
    }

    /// Returns whom to ask. Who keeps out of the tunnel (`is_marked`) does not ask systemd-resolved, which does not, but its
    /// servers; and after the present servers, which may be those within the tunnel, those there were before it.
    pub(super) fn configuration(&self, is_marked: bool) -> Configuration {
        let mut configuration = present(is_marked);
        for server in &self.at_start {
            if !configuration.servers.contains(server) {
                configuration.servers.push(*server);
            }
        }
        configuration.servers.truncate(MAX_SERVERS);
        configuration
    }
}

/// Returns the addresses of `host` in the system's own list.
pub(super) fn hosts(host: &str) -> Vec<IpAddr> {
    fs::read_to_string(HOSTS).map(|text| listed(&text, host)).unwrap_or_default()
}

fn present(is_marked: bool) -> Configuration {
    let read = |path| fs::read_to_string(path).map(|text| Configuration::parse(&text)).unwrap_or_default();
    let mut configuration = read(RESOLV_CONF);
    let is_stub = configuration.servers.iter().all(|server| server.ip().is_loopback());
    if is_marked && is_stub {
        // Behind the stub; the stub itself comes last.
        let behind = read(RESOLVED);
        configuration.servers.splice(..0, behind.servers);
    }
    configuration
}

impl Configuration {
    pub(super) fn parse(text: &str) -> Self {
        let mut configuration = Self::default();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => configuration.servers.extend(words.next().and_then(server)),
                Some("search" | "domain") => configuration.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        configuration
    }
}

/// Reads an address, whose zone may be a number.
fn server(word: &str) -> Option<SocketAddr> {
    if let Some((address, zone)) = word.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        let zone = zone.parse().ok().or_else(|| crate::control::server::interface_index(zone))?;
        return Some(SocketAddrV6::new(address, DNS_PORT, 0, zone).into());
    }
    Some(SocketAddr::new(word.parse().ok()?, DNS_PORT))
}

/// Finds the addresses of `host` in `text`, line by line.
pub(super) fn listed(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    });
    addresses.collect()
}

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The servers behind the stub of systemd-resolved, of all links.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const DNS_PORT: u16 = 53;
/// All are asked within 3 s.
const MAX_SERVERS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_domains_are_read_and_the_rest_is_passed_over() {
        let text = "# c\nnameserver 192.0.2.1 # one\n nameserver 2001:db8::1\nnameserver fe80::1%7\nnameserver x\n\
                    nameserver\ndomain a\nsearch b.example c\noptions ndots:2\n";
        let addresses = ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"];
        let expected = Configuration {
            servers: addresses.map(|address| address.parse().expect("an address")).to_vec(),
            search: vec!["b.example".to_owned(), "c".to_owned()],
        };
        assert_eq!(Configuration::parse(text), expected);
    }

    #[test]
    fn hosts_have_several_names_and_addresses() {
        let text =
            "127.0.0.1 localhost\n# 192.0.2.9 vpn\n192.0.2.1 other VPN.example vpn # x\n2001:db8::1\tvpn\nx vpn\n";
        let expected: Vec<IpAddr> = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().expect("an address")).to_vec();
        assert_eq!((listed(text, "vpn"), listed(text, "x")), (expected.clone(), vec![]));
        assert_eq!(listed(text, "vpn.example."), expected[..1]);
    }
}
