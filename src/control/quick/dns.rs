//! DNS servers of a tunnel: who is told of them, and how it is taken back.
//!
//! | manager | told by | taken back by |
//! |---|---|---|
//! | systemd-resolved | D-Bus, as `resolvectl` does | the same, or the end of the interface |
//! | `resolvconf` | its program, as wg-quick does | the same |
//! | none | writing /etc/resolv.conf | writing what was in it, kept there as comments |
//!
//! The first of these that is there is told.
//!
//! Source: resolv.conf(5), resolvconf(8), org.freedesktop.resolve1(5).

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::step::Dns;

mod bus;
mod bus_text;
mod file;
mod resolvconf;
mod resolved;

/// Who is told of DNS servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// systemd-resolved, over D-Bus.
    Resolved,
    /// The program `resolvconf`.
    Resolvconf,
    /// Nobody: the file itself is written.
    File,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolved => "systemd-resolved",
            Self::Resolvconf => "resolvconf",
            Self::File => file::PATH,
        })
    }
}

impl Manager {
    /// Finds out who there is.
    pub fn find() -> Self {
        match () {
            () if resolved::is_there() => Self::Resolved,
            () if resolvconf::is_there() => Self::Resolvconf,
            () => Self::File,
        }
    }
}

/// Takes out of the file what was written for interfaces that are not up: after a power cut, it has outlasted them, and
/// their servers may be out of reach.
///
/// # Errors
/// Why not, in words.
pub(super) fn tidy(is_up: &dyn Fn(&str) -> bool) -> Result<(), String> {
    file::restore(Path::new(file::PATH), &|interface| !is_up(interface))
}

/// Tells of the servers of an interface with the index `link`.
///
/// # Errors
/// Why not, in words.
pub(super) fn set(dns: &Dns, interface: &str, link: u32) -> Result<(), String> {
    let mut text: String = dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !dns.search.is_empty() {
        text.push_str(&format!("search {}\n", dns.search.join(" ")));
    }
    match dns.manager {
        Manager::Resolved => resolved::set(link, &dns.servers, &dns.search),
        Manager::Resolvconf => resolvconf::add(interface, &text),
        Manager::File => file::replace(Path::new(file::PATH), interface, &text),
    }
}

/// Takes it back.
///
/// # Errors
/// Why not, in words.
pub(super) fn unset(dns: &Dns, interface: &str, link: Option<u32>) -> Result<(), String> {
    match dns.manager {
        // Without an interface it knows of no servers of it.
        Manager::Resolved => link.map_or(Ok(()), resolved::unset),
        Manager::Resolvconf => resolvconf::remove(interface),
        Manager::File => file::restore(Path::new(file::PATH), &|name| name == interface),
    }
}
