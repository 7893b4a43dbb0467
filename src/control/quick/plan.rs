//! From a file and what is known of the machine to the steps that bring a tunnel up. Decides, and does nothing.
//!
//! ```text
//! kill switch, link, keys and peers, addresses, up, DNS, routes, then for each default route:
//!     route in a table of its own,  rule: unmarked packets use it,  rule: but for networks that are nearer,  filter
//! ```
//!
//! The order is that of wg-quick. `reload` plans again, with what the machine has by then, and does the difference.
//!
//! Source: wg-quick(8); <https://www.wireguard.com/netns/#improved-rule-based-routing>.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rvpn_uapi::{AllowedIpChange, PeerSet};
use serde::{Deserialize, Serialize};

use super::dns::Manager;
use super::step::{Dns, Firewall, KillSwitch, Step};
use crate::control::config::quick::{Quick, Table};
use crate::platform::linux::network::{Family, MAIN_TABLE, Prefix, Rule};

/// What is known of the machine before anything is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The largest packet, in bytes, on the ways to the endpoints, or on the default way if there are none; `None` if
    /// there is no way.
    pub path_mtu: Option<u32>,
    /// The first routing table from [`FIRST_TABLE`] on without a route in it.
    pub free_table: u32,
    /// The number of the table that the file names, if it does.
    pub named_table: Option<u32>,
    /// The places the kernel would give a next rule: of IPv4 and of IPv6.
    pub preferences: [u32; 2],
    /// Whether sources are checked with regard to marks.
    pub source_valid_mark: bool,
    /// Who is told of DNS servers.
    pub dns_manager: Manager,
}

/// What of the file's part for `wg` matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// `FwMark`; `None` if it is 0 or not there.
    pub mark: Option<u32>,
    /// `ListenPort`; `None` if it is 0 or not there.
    pub listen_port: Option<u16>,
    /// `AllowedIPs` of all peers.
    pub allowed_ips: BTreeSet<Prefix>,
}

impl Peers {
    /// Takes it from what a file says.
    pub fn of<'a>(mark: Option<u32>, listen_port: Option<u16>, peers: impl IntoIterator<Item = &'a PeerSet>) -> Self {
        let mut allowed_ips = BTreeSet::new();
        for change in peers.into_iter().flat_map(|peer| &peer.allowed_ips) {
            match change {
                AllowedIpChange::Add(network) => {
                    allowed_ips.insert(Prefix { address: network.address(), len: network.prefix_len() });
                }
                // Takes from this peer what another one may have; then it has it, and nothing is lost.
                AllowedIpChange::Remove(_) => {}
            }
        }
        Self { mark: mark.filter(|&mark| mark != 0), listen_port: listen_port.filter(|&port| port != 0), allowed_ips }
    }
}

/// Decides on all steps but the commands that come before them.
pub fn plan(interface: &str, quick: &Quick, peers: &Peers, facts: &Facts) -> Vec<Step> {
    let routes = Routes::new(quick, peers, facts);
    let needs_mark = quick.kill_switch || routes.defaults.iter().any(Option::is_some);
    let own_mark = (needs_mark && peers.mark.is_none()).then_some(facts.free_table);
    let mark = peers.mark.or(own_mark).unwrap_or(0);

    let mut steps = Vec::new();
    if quick.kill_switch {
        let trusted_interfaces = quick.trusted_interfaces.clone();
        steps.push(Step::KillSwitch(KillSwitch { mark, listen_port: peers.listen_port, trusted_interfaces }));
    }
    steps.push(Step::Link);
    steps.push(Step::Configure { mark: own_mark });
    steps.extend(quick.addresses.iter().copied().map(Step::Address));
    steps.push(Step::Up { mtu: mtu(quick, facts), has_multicast: quick.multicast });
    if !quick.dns.is_empty() {
        let (servers, search) = (quick.dns.clone(), quick.search.clone());
        steps.push(Step::Dns(Dns { manager: facts.dns_manager, servers, search }));
    }
    steps.extend(routes.plain);
    if quick.multicast {
        steps.push(Step::MulticastRoute);
    }
    for (network, preference) in routes.defaults.into_iter().zip(facts.preferences).rev() {
        let Some(network) = network else { continue };
        steps.extend(default_route(network, preference, mark, quick, facts));
    }
    steps.extend(hooks(&quick.post_up, interface));
    steps
}

/// Returns the commands of a file with the name of the interface filled in.
pub fn hooks(commands: &[String], interface: &str) -> impl Iterator<Item = Step> {
    commands.iter().map(move |command| Step::Hook(command.replace("%i", interface)))
}

/// What leaves the machine is longer by an IPv6 header, a UDP header, the message's and the tag.
fn mtu(quick: &Quick, facts: &Facts) -> u32 {
    quick.mtu.unwrap_or_else(|| facts.path_mtu.unwrap_or(USUAL_MTU).saturating_sub(OVERHEAD).max(LEAST_MTU))
}

/// Which networks get a plain route, and which default routes are to be policed.
struct Routes {
    plain: Vec<Step>,
    /// Of IPv4 and of IPv6.
    defaults: [Option<Prefix>; 2],
}

impl Routes {
    fn new(quick: &Quick, peers: &Peers, facts: &Facts) -> Self {
        let mut routes = Self { plain: Vec::new(), defaults: [None, None] };
        let table = match quick.table {
            Some(Table::Off) => return routes,
            None | Some(Table::Auto) => None,
            Some(Table::Number(number)) => Some(number),
            // Facts of this file have its number. Without one, no table is right, the main one least of all.
            Some(Table::Name(_)) => match facts.named_table {
                None => return routes,
                number => number,
            },
        };
        // The narrow ones first, so that a wide one is known to be needed.
        let mut networks: Vec<_> = peers.allowed_ips.iter().copied().collect();
        networks.sort_by_key(|network| std::cmp::Reverse(network.len));
        let mut reached: Vec<Prefix> = quick.addresses.iter().filter_map(|&address| connected(address)).collect();
        for network in networks {
            match table {
                Some(table) => routes.plain.push(Step::Route { network, table }),
                None if network.len == 0 => {
                    routes.defaults[usize::from(network.address.is_ipv6())] = Some(network);
                }
                None if reached.iter().any(|wider| covers(*wider, network)) => {}
                None => {
                    reached.push(network);
                    routes.plain.push(Step::Route { network, table: MAIN_TABLE });
                }
            }
        }
        routes
    }
}

/// Returns the network that the kernel itself routes to an interface with this address.
pub(super) fn connected(address: Prefix) -> Option<Prefix> {
    // Of IPv4, a single address is in the table `local` alone; of IPv6, it is in the main one too.
    (address.len < 32 || address.address.is_ipv6()).then(|| masked(address)).flatten()
}

fn masked(prefix: Prefix) -> Option<Prefix> {
    let network = rvpn_uapi::AllowedIp::new(prefix.address, prefix.len)?;
    Some(Prefix { address: network.address(), len: network.prefix_len() })
}

fn covers(wider: Prefix, network: Prefix) -> bool {
    wider.len <= network.len && masked(Prefix { address: network.address, len: wider.len }) == Some(wider)
}

fn default_route(network: Prefix, preference: u32, mark: u32, quick: &Quick, facts: &Facts) -> Vec<Step> {
    let family = Family::of(network.address);
    // A mark of the file names the table as well, as with wg-quick.
    let table = mark;
    let mut steps = vec![
        Step::Route { network, table },
        Step::Rule { family, preference, rule: Rule::UnlessMarked { mark, table } },
        Step::Rule { family, preference: preference.saturating_sub(1), rule: Rule::MainButDefault },
    ];
    if family == Family::V4 && !facts.source_valid_mark {
        steps.push(Step::SourceValidMark);
    }
    let own = quick.addresses.iter().map(|prefix| prefix.address);
    let addresses: Vec<IpAddr> = own.filter(|&address| Family::of(address) == family).collect();
    steps.push(Step::Firewall(Firewall { family, mark, addresses }));
    steps
}

/// Where the search for a table begins, as with wg-quick.
pub const FIRST_TABLE: u32 = 51820;

/// Of Ethernet.
const USUAL_MTU: u32 = 1500;
/// 40 + 8 + 16 + 16.
const OVERHEAD: u32 = 80;
/// What the kernel takes at least.
const LEAST_MTU: u32 = 68;

#[cfg(test)]
mod tests;
