//! DNS servers of a tunnel: who is told of them, and how it is taken back.
//!
//! | manager | told by | taken back by |
//! |---|---|---|
//! | `resolvconf` | its program, as wg-quick does | the same |
//! | none | writing /etc/resolv.conf | writing what was in it, kept in /run/rvpn |
//!
//! Source: resolv.conf(5), resolvconf(8).

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::step::Dns;

mod file;
mod resolvconf;

/// Who is told of DNS servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// The program `resolvconf`.
    Resolvconf,
    /// Nobody: the file itself is written.
    File,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolvconf => "resolvconf",
            Self::File => file::PATH,
        })
    }
}

impl Manager {
    /// Finds out who there is.
    pub fn find() -> Self {
        match resolvconf::is_there() {
            true => Self::Resolvconf,
            false => Self::File,
        }
    }
}

/// Tells of the servers. What was in the file is kept in `backup`, if it is the file that is written.
///
/// # Errors
/// Why not, in words.
pub(super) fn set(dns: &Dns, interface: &str, backup: &Path) -> Result<(), String> {
    let mut text: String = dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !dns.search.is_empty() {
        text.push_str(&format!("search {}\n", dns.search.join(" ")));
    }
    match dns.manager {
        Manager::Resolvconf => resolvconf::add(interface, &text),
        Manager::File => file::replace(Path::new(file::PATH), interface, &text, backup),
    }
}

/// Takes it back.
///
/// # Errors
/// Why not, in words.
pub(super) fn unset(dns: &Dns, interface: &str, backup: &Path) -> Result<(), String> {
    match dns.manager {
        Manager::Resolvconf => resolvconf::remove(interface),
        Manager::File => file::restore(Path::new(file::PATH), interface, backup),
    }
}
