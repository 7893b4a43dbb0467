//! Pings through the tunnel: to which address, whether it answers, and up to which length.
//!
//! Not here: the pings (see `platform::linux::echo`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use rvpn_uapi::AllowedIp;

use crate::control::doctor::facts::{PeerFacts, Probe, contains};
use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;
use crate::platform::linux::echo::Echo;
use crate::platform::linux::network::Prefix;

/// Chooses an address of each peer: one that is its own alone, else the first of a network, which often is that of the
/// machine that routes it. At most [`MAX_PROBES`] peers, those without session first.
pub(super) fn choose(peers: &[PeerFacts], ours: &[Prefix]) -> Vec<Option<Probe>> {
    let mut order: Vec<_> = (0..peers.len()).filter(|&index| peers[index].endpoint.is_some()).collect();
    order.sort_by_key(|&index| peers[index].is_connected());
    let mut chosen = vec![None; peers.len()];
    for index in order.into_iter().take(MAX_PROBES) {
        chosen[index] = of_peer(&peers[index].allowed_ips, ours);
    }
    chosen
}

fn of_peer(networks: &[AllowedIp], ours: &[Prefix]) -> Option<Probe> {
    let probe = |address, is_certain| Probe { address, is_certain, answers: false, hole: None };
    let reachable = |network: &&AllowedIp| ours.iter().any(|own| own.address.is_ipv4() == network.address().is_ipv4());
    let mut reachable = networks.iter().filter(reachable).peekable();
    let first = **reachable.peek()?;
    if let Some(host) = reachable.find(|network| network.prefix_len() == bits(network.address())) {
        return Some(probe(host.address(), true));
    }
    let inside = ours.iter().find(|own| first.prefix_len() == 0 && own.address.is_ipv4() == first.address().is_ipv4());
    let network = match inside {
        Some(own) => AllowedIp::new(own.address, own.len)?,
        None => first,
    };
    let candidates = [1, 2].map(|n| nth(network.address(), n));
    let not_ours = |address: &IpAddr| contains(&network, *address) && ours.iter().all(|own| own.address != *address);
    candidates.into_iter().find(not_ours).map(|address| probe(address, false))
}

/// Pings each of them, all at once.
pub(super) fn run(chosen: &[Option<Probe>], index: u32) -> Vec<Option<Probe>> {
    thread::scope(|scope| {
        let pings: Vec<_> = chosen.iter().map(|probe| scope.spawn(move || ping(probe.as_ref()?, index))).collect();
        pings.into_iter().map(|ping| ping.join().ok().flatten()).collect()
    })
}

/// `None` if this process may not ping, or cannot.
fn ping(probe: &Probe, index: u32) -> Option<Probe> {
    let mut echo = Echo::open(probe.address, index).ok()?;
    // A packet that makes a handshake begin is sent when that is over; so one is enough if nothing is lost.
    let answers = (0..2).any(|_| echo.ping(SHORT, PATIENCE).unwrap_or(false));
    Some(Probe { answers, ..*probe })
}

/// Returns the longest packet that comes back from `address`, if it is shorter than `mtu`.
pub(super) fn hole(address: IpAddr, index: u32, mtu: u32) -> Option<u32> {
    let mut echo = Echo::open(address, index).ok()?;
    let start = LinuxClock.now();
    echo.ping(SHORT, PATIENCE).ok().filter(|&answers| answers)?;
    let patience = (LinuxClock.now().since(start) * 4).clamp(LEAST_PATIENCE, PATIENCE);
    // Lost three times is not by chance.
    let mut passes = |len: u32| (0..3).any(|_| echo.ping(len as usize, patience).unwrap_or(false));
    if passes(mtu) {
        return None;
    }
    let (mut good, mut bad) = (SHORT as u32, mtu);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if passes(middle) { good = middle } else { bad = middle }
    }
    Some(good)
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address `n` after `address`.
pub(super) fn nth(address: IpAddr, n: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(n)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(n.into())).into(),
    }
}

/// Peers that are pinged at once.
const MAX_PROBES: usize = 16;
/// Bytes of a short ping.
const SHORT: usize = 84;
const PATIENCE: Duration = Duration::from_secs(1);
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(networks: &[&str], ours: &[(&str, u8)]) -> Option<(String, bool)> {
        let networks: Vec<AllowedIp> = networks.iter().map(|text| text.parse().expect("a network")).collect();
        let ours: Vec<_> =
            ours.iter().map(|&(address, len)| Prefix { address: address.parse().expect("an address"), len }).collect();
        of_peer(&networks, &ours).map(|probe| (probe.address.to_string(), probe.is_certain))
    }

    #[test]
    fn an_address_of_the_peer_alone_comes_before_one_of_a_network() {
        let ours = [("10.9.0.2", 24)];
        assert_eq!(chosen(&["10.1.0.0/16", "10.9.0.7/32"], &ours), Some(("10.9.0.7".to_owned(), true)));
        assert_eq!(chosen(&["10.1.0.0/16"], &ours), Some(("10.1.0.1".to_owned(), false)));
        assert_eq!(chosen(&["0.0.0.0/0"], &ours), Some(("10.9.0.1".to_owned(), false)));
        assert_eq!(chosen(&["10.9.0.0/24"], &[("10.9.0.1", 24)]), Some(("10.9.0.2".to_owned(), false)));
    }

    #[test]
    fn a_family_without_an_address_of_ours_is_not_pinged() {
        assert_eq!(chosen(&["fd00::2/128"], &[("10.9.0.2", 24)]), None);
        assert_eq!(chosen(&["fd00::2/128", "10.9.0.1/32"], &[("10.9.0.2", 24)]), Some(("10.9.0.1".to_owned(), true)));
        assert_eq!(chosen(&[], &[("10.9.0.2", 24)]), None);
    }
}
