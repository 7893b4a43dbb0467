//! Packet filters of a tunnel, as tables: the one that goes with a default route, and the kill switch.
//!
//! Source: wg-quick(8) for the first; for the second, what must stay open: RFC 2131 and RFC 8415 (DHCP), RFC 4861
//! (neighbour discovery) and RFC 3810 (whose reports make switches forward it).

use super::step::{Firewall, KillSwitch};
use crate::platform::linux::network::Family as IpFamily;
use crate::platform::linux::nftables::{Chain, Family, Hook, Table, Term};

/// Returns the table that goes with a default route.
///
/// `preraw` drops what comes for an address of the interface by another one, unless this machine sent it. `postmangle`
/// and `premangle` give replies to encrypted packets their mark, so that the check of sources finds the right way.
pub(super) fn protection(interface: &str, firewall: &Firewall) -> Table {
    let is_foreign = |&address| {
        vec![Term::NotInputInterface(interface.to_owned()), Term::Destination(address), Term::ForeignSource, Term::Drop]
    };
    let save = vec![Term::Protocol(UDP), Term::Mark(firewall.mark), Term::SaveMark];
    let restore = vec![Term::Protocol(UDP), Term::RestoreMark];
    let chain = |name, hook, priority, rules| Chain { name, hook, priority, drops: false, rules };
    let (family, name) = protection_name(interface, firewall.family);
    Table {
        family,
        name,
        chains: vec![
            chain("preraw", Hook::Prerouting, -300, firewall.addresses.iter().map(is_foreign).collect()),
            chain("premangle", Hook::Prerouting, -150, vec![restore]),
            chain("postmangle", Hook::Postrouting, -150, vec![save]),
        ],
    }
}

/// Returns what identifies the table of [`protection`].
pub(super) fn protection_name(interface: &str, family: IpFamily) -> (Family, String) {
    let family = match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    };
    (family, format!("rvpn-{interface}"))
}

/// Returns the table that drops what is not in the tunnel.
///
/// What encrypted packets carry is not looked at; they have the mark, which needs CAP_NET_ADMIN to set, or since
/// Linux 5.17 CAP_NET_RAW.
pub(super) fn kill_switch(interface: &str, switch: &KillSwitch) -> Table {
    let inside = || [interface, "lo"].into_iter().chain(switch.trusted_interfaces.iter().map(String::as_str));
    let accept = |terms: &[Term]| [terms, &[Term::Accept]].concat();

    let mut input: Vec<_> = inside().map(|name| accept(&[Term::InputInterface(name.to_owned())])).collect();
    input.push(accept(&[Term::Established]));
    input.extend(switch.listen_port.map(|port| accept(&[Term::Protocol(UDP), Term::DestinationPort(port)])));
    input.extend(DHCP.map(|(ip, client, server)| {
        accept(&[ip, Term::Protocol(UDP), Term::SourcePort(server), Term::DestinationPort(client)])
    }));
    input
        .extend(NEIGHBOUR_DISCOVERY_IN.map(|kind| accept(&[Term::Ipv6, Term::Protocol(ICMPV6), Term::IcmpType(kind)])));

    let mut output: Vec<_> = inside().map(|name| accept(&[Term::OutputInterface(name.to_owned())])).collect();
    output.push(accept(&[Term::Mark(switch.mark)]));
    output.extend(DHCP.map(|(ip, client, server)| {
        accept(&[ip, Term::Protocol(UDP), Term::SourcePort(client), Term::DestinationPort(server)])
    }));
    output.extend(
        NEIGHBOUR_DISCOVERY_OUT.map(|kind| accept(&[Term::Ipv6, Term::Protocol(ICMPV6), Term::IcmpType(kind)])),
    );

    let forward = inside().flat_map(|from| inside().map(move |to| (from, to)));
    let forward = forward
        .map(|(from, to)| accept(&[Term::InputInterface(from.to_owned()), Term::OutputInterface(to.to_owned())]));
    let chain = |name, hook, rules| Chain { name, hook, priority: 0, drops: true, rules };
    let (family, name) = kill_switch_name(interface);
    Table {
        family,
        name,
        chains: vec![
            chain("input", Hook::Input, input),
            chain("forward", Hook::Forward, forward.collect()),
            chain("output", Hook::Output, output),
        ],
    }
}

/// Returns what identifies the table of [`kill_switch`].
pub(super) fn kill_switch_name(interface: &str) -> (Family, String) {
    (Family::Inet, format!("rvpn-kill-switch-{interface}"))
}

const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// The ports of clients and of servers and relays.
const DHCP: [(Term, u16, u16); 2] = [(Term::Ipv4, 68, 67), (Term::Ipv6, 546, 547)];
/// Router advertisement, neighbour solicitation and advertisement, redirect; multicast listener query.
const NEIGHBOUR_DISCOVERY_IN: [u8; 5] = [134, 135, 136, 137, 130];
/// Router solicitation, neighbour solicitation and advertisement; multicast listener report (version 2).
const NEIGHBOUR_DISCOVERY_OUT: [u8; 4] = [133, 135, 136, 143];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_is_shut_but_for_what_it_lists() {
        let switch = KillSwitch { mark: 7, listen_port: None, trusted_interfaces: vec!["eth1".to_owned()] };
        let table = kill_switch("wg0", &switch);
        assert!(table.chains.iter().all(|chain| chain.drops));
        // Whatever leaves is marked, in the tunnel, trusted, or one of the protocols that keep the link alive.
        for rule in &table.chains[2].rules {
            let is_open = rule.iter().any(|term| match term {
                Term::OutputInterface(name) => ["wg0", "lo", "eth1"].contains(&name.as_str()),
                Term::Mark(mark) => *mark == 7,
                Term::SourcePort(port) => [68, 546].contains(port),
                Term::IcmpType(kind) => (133..=136).contains(kind) || *kind == 143,
                _ => false,
            });
            assert!(is_open && rule.last() == Some(&Term::Accept), "{rule:?}");
        }
        // Nothing is forwarded to or from the outside.
        assert_eq!(table.chains[1].rules.len(), 9);
        assert!(table.chains[1].rules.iter().all(|rule| rule.len() == 3));
    }

    #[test]
    fn a_listen_port_is_open_from_outside() {
        let rules = |listen_port| {
            let switch = KillSwitch { mark: 7, listen_port, trusted_interfaces: Vec::new() };
            kill_switch("wg0", &switch).chains[0].rules.clone()
        };
        let expected = vec![Term::Protocol(UDP), Term::DestinationPort(51820), Term::Accept];
        assert!(rules(Some(51820)).contains(&expected) && !rules(None).contains(&expected));
    }
}
