//! The place of an interface in the network: its link, addresses, routes and policy rules, made and taken away.
//!
//! One change is one message to the kernel, which either does all of it or none.
//!
//! Not here: which changes a tunnel needs and in which order (see `control::quick`), packet filters (see `nftables`).
//!
//! Sources: rtnetlink(7), ip-rule(8); for the attributes, what the kernel's rtnetlink.c, devinet.c, addrconf.c,
//! fib_frontend.c and fib_rules.c read.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol, AddressScope};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::netlink::Netlink;

/// The table of routes that is looked at unless a rule says otherwise.
pub const MAIN_TABLE: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// The network namespace of the thread that opened it.
pub struct Network {
    netlink: Netlink,
}

/// An address, or a network where no bits are set beyond the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// In bits.
    pub len: u8,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A policy rule of the two kinds that send everything but marked packets through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Packets without the mark look at a table: `not fwmark MARK lookup TABLE`.
    UnlessMarked {
        /// The mark.
        mark: u32,
        /// The table.
        table: u32,
    },
    /// The main table counts but for its default route: `lookup main suppress_prefixlength 0`.
    MainButDefault,
}

/// How packets to an address would leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// By which interface.
    pub interface: u32,
    /// The largest packet, in bytes: what the route says, else the interface.
    pub mtu: u32,
}

/// What is known of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface index.
    pub index: u32,
    /// Administratively up.
    pub is_up: bool,
    /// The largest packet, in bytes.
    pub mtu: u32,
}

impl Network {
    /// Opens it.
    ///
    /// # Errors
    /// The OS's, if there is no netlink.
    pub fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(0)? })
    }

    /// Returns the link called `name`; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        match self.netlink.link(name, None) {
            Ok(link) => Ok(Some(Link { index: link.index, is_up: link.up, mtu: link.mtu })),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an interface of the kernel's WireGuard driver.
    ///
    /// # Errors
    /// EOPNOTSUPP if the kernel has none.
    pub fn add_wireguard_link(&mut self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]),
        ];
        self.create(RouteNetlinkMessage::NewLink(link))
    }

    /// Deletes a link.
    ///
    /// # Errors
    /// ENODEV if there is none of this index.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.change(RouteNetlinkMessage::DelLink(link))
    }

    /// Takes a link up with its largest packet, in bytes, and lets multicast be sent on it if asked to.
    ///
    /// # Errors
    /// EINVAL for a size that the link cannot have.
    pub fn set_link_up(&mut self, index: u32, mtu: u32, has_multicast: bool) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        if has_multicast {
            link.header.flags |= LinkFlags::Multicast;
            link.header.change_mask |= LinkFlags::Multicast;
        }
        link.attributes = vec![LinkAttribute::Mtu(mtu)];
        self.change(RouteNetlinkMessage::SetLink(link))
    }

    /// Gives a link an address.
    ///
    /// # Errors
    /// EEXIST if it has it, EINVAL for one that no link can have.
    pub fn add_address(&mut self, index: u32, address: Prefix) -> io::Result<()> {
        self.create(RouteNetlinkMessage::NewAddress(address_message(index, address)))
    }

    /// Takes an address from a link.
    ///
    /// # Errors
    /// EADDRNOTAVAIL if it has none such.
    pub fn remove_address(&mut self, index: u32, address: Prefix) -> io::Result<()> {
        self.change(RouteNetlinkMessage::DelAddress(address_message(index, address)))
    }

    /// Lists the addresses of a link that somebody gave it, not those that the kernel makes up.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Prefix>> {
        let answers = self.netlink.ask_all(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(answers.into_iter().filter_map(|answer| given_address(&answer, index)).collect())
    }

    /// Adds a route into a link.
    ///
    /// # Errors
    /// EEXIST if there is one to the same network in the same table.
    pub fn add_route(&mut self, index: u32, network: Prefix, table: u32) -> io::Result<()> {
        self.create(RouteNetlinkMessage::NewRoute(route_message(index, network, table)))
    }

    /// Adds the route of all IPv6 multicast into a link. It comes before those that the kernel makes for each link, which
    /// are in the table `local` and so before any default route.
    ///
    /// # Errors
    /// EEXIST if there is one of the same kind.
    pub fn add_multicast_route(&mut self, index: u32) -> io::Result<()> {
        self.create(RouteNetlinkMessage::NewRoute(multicast_route_message(index)))
    }

    /// Removes the route that [`Network::add_multicast_route`] made.
    ///
    /// # Errors
    /// ESRCH if there is none such.
    pub fn remove_multicast_route(&mut self, index: u32) -> io::Result<()> {
        self.change(RouteNetlinkMessage::DelRoute(multicast_route_message(index)))
    }

    /// Removes a route that [`Network::add_route`] made.
    ///
    /// # Errors
    /// ESRCH if there is none such.
    pub fn remove_route(&mut self, index: u32, network: Prefix, table: u32) -> io::Result<()> {
        let mut message = route_message(index, network, table);
        // Any scope.
        message.header.scope = RouteScope::NoWhere;
        self.change(RouteNetlinkMessage::DelRoute(message))
    }

    /// Returns the way of packets to `remote`; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn way(&mut self, remote: SocketAddr) -> io::Result<Option<Way>> {
        self.way_of_marked(remote, 0)
    }

    /// Returns the way of packets with a firewall mark (0 is none) to `remote`; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn way_of_marked(&mut self, remote: SocketAddr, mark: u32) -> io::Result<Option<Way>> {
        let ip = remote.ip().to_canonical();
        let mut question = RouteMessage::default();
        question.header.address_family = Family::of(ip).into();
        question.header.destination_prefix_length = longest_prefix(ip);
        question.attributes.push(RouteAttribute::Destination(RouteAddress::from(ip)));
        if mark != 0 {
            question.attributes.push(RouteAttribute::Mark(mark));
        }
        if let SocketAddr::V6(remote) = remote
            && remote.scope_id() != 0
        {
            question.attributes.push(RouteAttribute::Oif(remote.scope_id()));
        }
        match self.netlink.ask(RouteNetlinkMessage::GetRoute(question), 0) {
            Ok(Some(RouteNetlinkMessage::NewRoute(route))) => self.way_of(&route),
            Ok(_) => Ok(None),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the way of packets that no route of the main table but the IPv4 default is for.
    ///
    /// # Errors
    /// The kernel's.
    pub fn default_way(&mut self) -> io::Result<Option<Way>> {
        for message in self.routes(Family::V4)? {
            let is_default = message.header.destination_prefix_length == 0 && table_of(&message) == MAIN_TABLE;
            if is_default && let Some(way) = self.way_of(&message)? {
                return Ok(Some(way));
            }
        }
        Ok(None)
    }

    /// Returns the tables that have a route in them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tables(&mut self) -> io::Result<HashSet<u32>> {
        let mut tables = HashSet::new();
        for family in [Family::V4, Family::V6] {
            tables.extend(self.routes(family)?.iter().map(table_of));
        }
        Ok(tables)
    }

    /// Adds a policy rule; one with a lower `preference` comes first.
    ///
    /// # Errors
    /// EEXIST if there is the same.
    pub fn add_rule(&mut self, family: Family, preference: u32, rule: Rule) -> io::Result<()> {
        self.create(RouteNetlinkMessage::NewRule(rule_message(family, preference, rule)))
    }

    /// Removes a policy rule that [`Network::add_rule`] made.
    ///
    /// # Errors
    /// ENOENT if there is none such.
    pub fn remove_rule(&mut self, family: Family, preference: u32, rule: Rule) -> io::Result<()> {
        self.change(RouteNetlinkMessage::DelRule(rule_message(family, preference, rule)))
    }

    /// Returns the preference that the kernel would give a new rule: before all but the first.
    ///
    /// # Errors
    /// The kernel's; none if it does not know the family, of which there are no rules then.
    pub fn next_preference(&mut self, family: Family) -> io::Result<u32> {
        let mut question = RuleMessage::default();
        question.header.family = family.into();
        let rules = unless_unsupported(self.netlink.ask_all(RouteNetlinkMessage::GetRule(question)))?;
        // Those without one are at 0, as the rule for the table `local`.
        let preferences = rules.iter().filter_map(|answer| {
            let RouteNetlinkMessage::NewRule(rule) = answer else { return None };
            rule.attributes.iter().find_map(|attribute| match attribute {
                RuleAttribute::Priority(preference) => Some(*preference),
                _ => None,
            })
        });
        Ok(preferences.filter(|&preference| preference > 0).min().unwrap_or(DEFAULT_PREFERENCE).saturating_sub(1))
    }

    fn routes(&mut self, family: Family) -> io::Result<Vec<RouteMessage>> {
        let mut question = RouteMessage::default();
        question.header.address_family = family.into();
        let answers = unless_unsupported(self.netlink.ask_all(RouteNetlinkMessage::GetRoute(question)))?;
        let routes = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        });
        Ok(routes.collect())
    }

    fn way_of(&mut self, route: &RouteMessage) -> io::Result<Option<Way>> {
        let interface = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(interface) => Some(*interface),
            _ => None,
        });
        let Some(interface) = interface else { return Ok(None) };
        let metrics = route.attributes.iter().filter_map(|attribute| match attribute {
            RouteAttribute::Metrics(metrics) => Some(metrics),
            _ => None,
        });
        let mtu = metrics.flatten().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        match mtu.filter(|&mtu| mtu > 0) {
            Some(mtu) => Ok(Some(Way { interface, mtu })),
            None => Ok(Some(Way { interface, mtu: self.link_mtu(interface)? })),
        }
    }

    fn link_mtu(&mut self, index: u32) -> io::Result<u32> {
        let mut question = LinkMessage::default();
        question.header.index = index;
        let answer = self.netlink.ask(RouteNetlinkMessage::GetLink(question), 0)?;
        let Some(RouteNetlinkMessage::NewLink(link)) = answer else { return Err(io::ErrorKind::InvalidData.into()) };
        let mtu = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        mtu.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn create(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.netlink.ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    fn change(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.netlink.ask(message, NLM_F_ACK).map(drop)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl Family {
    /// Returns that of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Inet,
            Family::V6 => Self::Inet6,
        }
    }
}

const fn longest_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A kernel without IPv6 has none of its routes and rules.
fn unless_unsupported(answers: io::Result<Vec<RouteNetlinkMessage>>) -> io::Result<Vec<RouteNetlinkMessage>> {
    match answers {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT)) => Ok(Vec::new()),
        answers => answers,
    }
}

fn address_message(index: u32, Prefix { address, len }: Prefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = Family::of(address).into();
    message.header.prefix_len = len;
    message.header.index = index;
    message.header.scope = if address.is_loopback() { AddressScope::Host } else { AddressScope::Universe };
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

fn given_address(answer: &RouteNetlinkMessage, index: u32) -> Option<Prefix> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    if message.header.index != index {
        return None;
    }
    let (mut local, mut address, mut is_kernels) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Protocol(AddressProtocol::LinkLocal | AddressProtocol::Loopback) => is_kernels = true,
            _ => {}
        }
    }
    // IPv6 has no local address but between two ends.
    let address = local.or(address).filter(|_| !is_kernels)?;
    Some(Prefix { address, len: message.header.prefix_len })
}

fn route_message(index: u32, Prefix { address, len }: Prefix, table: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = Family::of(address).into();
    message.header.destination_prefix_length = len;
    // What `ip` writes: for the kernel all that is not its own is alike.
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Link;
    message.header.kind = RouteType::Unicast;
    match u8::try_from(table) {
        Ok(table) => message.header.table = table,
        Err(_) => message.attributes.push(RouteAttribute::Table(table)),
    }
    if len > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

fn multicast_route_message(index: u32) -> RouteMessage {
    let all_multicast = Prefix { address: Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), len: 8 };
    let mut message = route_message(index, all_multicast, libc::RT_TABLE_LOCAL.into());
    message.header.kind = RouteType::Multicast;
    // That of the kernel's routes is 256.
    message.attributes.push(RouteAttribute::Priority(128));
    message
}

fn table_of(route: &RouteMessage) -> u32 {
    let attribute = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    attribute.unwrap_or_else(|| route.header.table.into())
}

fn rule_message(family: Family, preference: u32, rule: Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family.into();
    message.header.action = RuleAction::ToTable;
    message.attributes.push(RuleAttribute::Priority(preference));
    match rule {
        Rule::UnlessMarked { mark, table } => {
            message.header.flags = RuleFlags::Invert;
            message.attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::Table(table)]);
        }
        Rule::MainButDefault => {
            message.attributes.extend([RuleAttribute::SuppressPrefixLen(0), RuleAttribute::Table(MAIN_TABLE)]);
        }
    }
    message
}

/// Before the rule for the main table.
const DEFAULT_PREFERENCE: u32 = 32766;

#[cfg(test)]
mod tests;
