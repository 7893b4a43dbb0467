//! Why a session carries nothing: addresses, routes, lengths.

use super::{RECENT, count, span};
use crate::control::doctor::facts::{Facts, PeerFacts};
use crate::control::doctor::finding::{Cause, Finding};
use crate::control::endpoint::address_text;

/// Finds what keeps data from passing between us and `peer`, with whom there is a session.
pub(super) fn of_peer(facts: &Facts, peer: &PeerFacts, findings: &mut Vec<Finding>) {
    let mut add = |finding: Finding| findings.push(finding.of(peer));
    foreign_source(facts, peer).into_iter().for_each(&mut add);
    hole(facts, peer).into_iter().for_each(&mut add);
    only_keepalives(facts, peer).into_iter().for_each(&mut add);
}

/// Finds packets that are for no peer.
pub(super) fn of_nobody(facts: &Facts, findings: &mut Vec<Finding>) {
    let seen = facts.testimony.as_ref().and_then(|testimony| testimony.no_peer).filter(|seen| seen.age < RECENT);
    let Some(seen) = seen.filter(|seen| facts.peer_of(seen.last).is_none()) else { return };
    let (name, address) = (&facts.interface, address_text(seen.last));
    let key = match facts.peers.as_slice() {
        [peer] => &peer.public_key,
        _ => "PUBLIC_KEY",
    };
    findings.push(Finding::new(
        Cause::AllowedIpsHere,
        format!("{address} is in no peer's allowed IPs here"),
        format!("{} into {name} for nobody, the last {} ago", count(seen.count, "packet"), span(seen.age)),
        format!("rvpn set {name} peer {key} allowed-ips +{address}/{}", bits(&seen.last)),
    ));
}

fn foreign_source(facts: &Facts, peer: &PeerFacts) -> Option<Finding> {
    let (name, key) = (&facts.interface, &peer.public_key);
    let seen = peer.testimony.foreign_source.filter(|seen| seen.age < RECENT)?;
    let owner = facts.peer_of(seen.last);
    if owner.is_some_and(|owner| owner.public_key == *key) {
        return None;
    }
    let address = address_text(seen.last);
    let whose = if owner.is_some() { "is another peer's" } else { "is not in its allowed IPs here" };
    Some(Finding::new(
        Cause::AllowedIpsOfPeer,
        format!("the peer sends from {address}, which {whose}"),
        format!("{} dropped, the last {} ago", count(seen.count, "packet"), span(seen.age)),
        format!("rvpn set {name} peer {key} allowed-ips +{address}/{}", bits(&seen.last)),
    ))
}

/// A network of the peer that the machine sends elsewhere. Under a strict reverse path filter nothing comes in from
/// there, either. It counts without a session, too: what does not come here starts none.
pub(super) fn astray(facts: &Facts, peer: &PeerFacts, findings: &mut Vec<Finding>) {
    let name = &facts.interface;
    let Some((network, elsewhere)) = peer.astray.first() else { return };
    let number = peer.astray.len();
    let more = if number > 1 { format!(" ({number} networks of it)") } else { String::new() };
    let fact = match elsewhere {
        Some(other) => format!("the routing table sends it to {other}{more}"),
        None => format!("the routing table has nothing for it{more}"),
    };
    let route = Finding::new(
        Cause::RouteMissing,
        format!("{network} is the peer's, but is not routed into {name}"),
        fact.clone(),
        format!("ip route replace {network} dev {name}"),
    );
    let filter = (facts.is_reverse_path_strict && network.address().is_ipv4()).then(|| {
        Finding::new(
            Cause::ReversePath,
            format!("the reverse path filter drops what comes from {network} by {name}"),
            format!("rp_filter is 1, strict, and {fact}"),
            format!("sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{name}.rp_filter=2"),
        )
    });
    findings.extend(std::iter::once(route).chain(filter).map(|finding| finding.of(peer)));
}

fn hole(facts: &Facts, peer: &PeerFacts) -> Option<Finding> {
    let (name, probe) = (&facts.interface, peer.probe?);
    let passes = probe.hole?;
    let mtu = facts.link.map_or(0, |link| link.mtu);
    Some(Finding::new(
        Cause::MtuHole,
        format!("packets longer than {passes} bytes are lost in the tunnel, and {name} takes up to {mtu}"),
        format!("pings to {} of {passes} bytes come back, longer ones do not", address_text(probe.address)),
        format!("ip link set {name} mtu {passes}   (at both ends; MTU = {passes} in the file)"),
    ))
}

/// The peer hears us: it sends keepalives, as who received data and has none to send. So what is lost is what it would
/// answer, or what we asked, behind it.
fn only_keepalives(facts: &Facts, peer: &PeerFacts) -> Option<Finding> {
    let probe = peer.probe.filter(|probe| !probe.answers)?;
    let seen = &peer.testimony;
    let control = seen.initiations_received * INITIATION + seen.responses_received * RESPONSE;
    let data = peer.rx_bytes.saturating_sub(control + seen.keepalives_received * KEEPALIVE);
    if facts.testimony.is_none() || data > 0 || !(probe.is_certain || seen.keepalives_received > 0) {
        return None;
    }
    Some(Finding::new(
        Cause::OnlyKeepalives,
        "the peer hears us and sends no data: its allowed IPs for us lack our address, or something behind it drops",
        format!(
            "a session, {} and no data from it, {} does not answer a ping",
            count(seen.keepalives_received, "keepalive"),
            address_text(probe.address)
        ),
        format!(
            "there: rvpn doctor; rvpn set INTERFACE peer {} allowed-ips +OUR_ADDRESS",
            facts.public_key.as_deref().unwrap_or_default()
        ),
    ))
}

const fn bits(address: &std::net::IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Bytes of the messages that are no data.
const INITIATION: u64 = 148;
const RESPONSE: u64 = 92;
const KEEPALIVE: u64 = 32;
