//! Steps: each is one change of the machine that is done whole or not at all, and that can be undone.
//!
//! They are written to the state file, so that `down` undoes what `up` did and nothing else. None holds a secret.
//!
//! Not here: which steps a file needs (see `plan`), doing them (see `machine`).

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::dns::Manager;
use crate::platform::linux::network::{Family, MAIN_TABLE, Prefix, Rule};

/// A change of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Run a command of the file. It is not undone: `PreDown` and `PostDown` are for that.
    Hook(String),
    /// Block what is not in the tunnel.
    KillSwitch(KillSwitch),
    /// Make the interface, with all that runs it.
    Link,
    /// Give it keys and peers. What they are is in the file alone.
    Configure {
        /// The mark of encrypted packets, unless it is the file's.
        mark: Option<u32>,
    },
    /// Give it an address.
    Address(Prefix),
    /// Take it up.
    Up {
        /// The largest packet, in bytes.
        mtu: u32,
        /// Whether multicast may be sent on it.
        has_multicast: bool,
    },
    /// Ask these servers for names.
    Dns(Dns),
    /// Send packets to a network into it.
    Route {
        /// The network.
        network: Prefix,
        /// The table.
        table: u32,
    },
    /// Send IPv6 multicast into it.
    MulticastRoute,
    /// Let marked packets around it.
    Rule {
        /// Of IPv4 or IPv6.
        family: Family,
        /// Its place among the rules.
        preference: u32,
        /// The rule.
        rule: Rule,
    },
    /// Let the check of sources know marks: replies to marked packets come by another way than unmarked ones would.
    SourceValidMark,
    /// Drop what comes for an address of the interface by another one, and keep the mark of connections.
    Firewall(Firewall),
}

/// What a kill switch leaves open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillSwitch {
    /// The mark of encrypted packets.
    pub mark: u32,
    /// The UDP port of the tunnel, if the file names one.
    pub listen_port: Option<u16>,
    /// Other interfaces that are as good as the tunnel.
    pub trusted_interfaces: Vec<String>,
}

/// Servers and domains, and who is told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Who is told.
    pub manager: Manager,
    /// The servers.
    pub servers: Vec<IpAddr>,
    /// The domains to search.
    pub search: Vec<String>,
}

/// What the packet filter of a tunnel with a default route protects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The mark of encrypted packets.
    pub mark: u32,
    /// The addresses of the interface.
    pub addresses: Vec<IpAddr>,
}

impl Step {
    /// Returns whether nothing is left of it when the interface is gone.
    pub const fn goes_with_link(&self) -> bool {
        matches!(
            self,
            Self::Configure { .. } | Self::Address(_) | Self::Up { .. } | Self::Route { .. } | Self::MulticastRoute
        )
    }

    /// Returns whether it is undone at all.
    pub const fn is_undone(&self) -> bool {
        !matches!(self, Self::Hook(_) | Self::Configure { .. } | Self::Up { .. })
    }
}

/// As it is printed when it is done.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hook(command) => f.write_str(command),
            Self::KillSwitch(_) => f.write_str("kill switch: nothing leaves but through the tunnel"),
            Self::Link => f.write_str("interface"),
            Self::Configure { mark: None } => f.write_str("keys and peers"),
            Self::Configure { mark: Some(mark) } => write!(f, "keys and peers, mark {mark}"),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Up { mtu, has_multicast } => {
                write!(f, "up, mtu {mtu}{}", if *has_multicast { ", multicast" } else { "" })
            }
            Self::Dns(Dns { manager, servers, search }) => {
                let words: Vec<_> = servers.iter().map(ToString::to_string).chain(search.iter().cloned()).collect();
                write!(f, "dns {} by {manager}", words.join(" "))
            }
            Self::Route { network, table: MAIN_TABLE } => write!(f, "route {network}"),
            Self::Route { network, table } => write!(f, "route {network} table {table}"),
            Self::MulticastRoute => f.write_str("route ff00::/8 table local"),
            Self::Rule { family, preference, rule } => {
                write!(f, "{} rule {preference}: ", version(*family))?;
                match rule {
                    Rule::UnlessMarked { mark, table } => write!(f, "not fwmark {mark} table {table}"),
                    Rule::MainButDefault => f.write_str("table main suppress_prefixlength 0"),
                }
            }
            Self::SourceValidMark => f.write_str("sysctl net.ipv4.conf.all.src_valid_mark=1"),
            Self::Firewall(Firewall { family, .. }) => {
                write!(f, "{} packet filter against spoofed and stray packets", version(*family))
            }
        }
    }
}

const fn version(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}
