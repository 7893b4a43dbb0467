//! Why there is no session: what this end knows of its handshakes.

use std::net::SocketAddr;

use super::{RECENT, count, span};
use crate::control::doctor::facts::{Facts, NamedEndpoint, PeerFacts, label};
use crate::control::doctor::finding::{Cause, Finding, Severity};
use crate::control::doctor::ruleset::Culprit;
use crate::control::doctor::testimony::SendError;
use crate::control::endpoint::endpoint_text;
use crate::platform::linux::tap::IcmpError;

/// Finds why `peer`, with whom there is no session, has none.
pub(super) fn of_peer(facts: &Facts, peer: &PeerFacts, findings: &mut Vec<Finding>) {
    let before = findings.len();
    let mut add = |finding: Finding| findings.push(finding.of(peer));
    no_endpoint(facts, peer).into_iter().for_each(&mut add);
    on_the_way_out(facts, peer).into_iter().for_each(&mut add);
    refused(facts, peer).into_iter().for_each(&mut add);
    on_the_wire(facts, peer).into_iter().for_each(&mut add);
    if findings.len() == before && peer.is_trying() {
        findings.push(silence(facts, peer).of(peer));
    }
}

/// Finds why the next handshake with `peer` fails, with whom there is a session: it may be one that the peer has lost.
pub(super) fn of_renewal(facts: &Facts, peer: &PeerFacts, findings: &mut Vec<Finding>) {
    if !peer.probe.is_some_and(|probe| probe.answers) {
        let found = on_the_way_out(facts, peer).into_iter().chain(refused(facts, peer));
        findings.extend(found.map(|finding| finding.of(peer)));
    }
}

fn no_endpoint(facts: &Facts, peer: &PeerFacts) -> Option<Finding> {
    let (name, key) = (&facts.interface, &peer.public_key);
    match (&peer.name, peer.endpoint) {
        (Some(NamedEndpoint { text, addresses: Err(error), .. }), None) => Some(Finding::new(
            Cause::NameNotResolved,
            format!("the name in the endpoint `{text}` has no address"),
            error,
            format!(
                "rvpn set {name} peer {key} endpoint ADDRESS:PORT   (or mend DNS: resolvectl query, /etc/resolv.conf)"
            ),
        )),
        (Some(NamedEndpoint { text, addresses: Ok(addresses), is_followed }), None) => {
            let address = endpoint_text(*addresses.first()?);
            let (fact, endpoint) = match is_followed {
                true => (format!("`{text}` is {address} here, and the daemon has not found that"), &address),
                false => (format!("the file says `{text}`, which is {address} now"), text),
            };
            let mend = format!("rvpn set {name} peer {key} endpoint {endpoint}");
            Some(Finding::new(Cause::NoEndpoint, "the peer has no endpoint", fact, mend))
        }
        // Where the daemon follows the name, it asks there itself.
        (Some(NamedEndpoint { text, addresses: Ok(addresses), is_followed: false }), Some(endpoint))
            if !addresses.contains(&endpoint) =>
        {
            let address = endpoint_text(*addresses.first()?);
            Some(Finding::new(
                Cause::NameMoved,
                format!("the endpoint `{text}` has another address than the one in use"),
                format!("it is {address} now, and {} is asked", endpoint_text(endpoint)),
                format!("rvpn set {name} peer {key} endpoint {text}"),
            ))
        }
        (_, Some(_)) => None,
        (None, None) => {
            // A peer that calls us needs no endpoint; one that we want to call does.
            let dropped = peer.testimony.no_endpoint?;
            Some(Finding::new(
                Cause::NoEndpoint,
                "the peer has no endpoint, so it must call first, and it has not",
                format!(
                    "{} for it had nowhere to go, the last {} ago",
                    count(dropped.count, "packet"),
                    span(dropped.age)
                ),
                format!("rvpn set {name} peer {key} endpoint ADDRESS:PORT"),
            ))
        }
    }
}

/// What keeps our initiations from leaving. What the kernel refused before an attempt that it took says nothing any more;
/// the routing table is asked for what it is now.
fn on_the_way_out(facts: &Facts, peer: &PeerFacts) -> Option<Finding> {
    let endpoint = peer.endpoint?;
    let to = endpoint_text(endpoint);
    if peer.has_no_route {
        let address = endpoint.ip();
        return Some(Finding::new(
            Cause::NoRouteToEndpoint,
            format!("there is no route to the endpoint {to}"),
            "the routing table has none",
            format!("ip route add {address} via GATEWAY   (ip route get {address} shows what is missing)"),
        ));
    }
    let refused = peer.testimony.not_sent.filter(|refused| refused.last == (endpoint, SendError::Filtered))?;
    let is_of_now = refused.age < ATTEMPTS || peer.probe.is_none();
    (is_of_now && peer.is_unmended(refused.age)).then(|| {
        Finding::new(
            Cause::FilterOutgoing,
            format!("a packet filter of this machine drops what is sent to {to}"),
            format!(
                "the kernel refused {}, the last {} ago{}",
                count(refused.count, "datagram"),
                span(refused.age),
                rule_text(facts.drops_outgoing.as_ref())
            ),
            accept(facts.drops_outgoing.as_ref(), &format!("udp sport {}", facts.listen_port)),
        )
    })
}

/// What the peer's messages say, or ours to it.
fn refused(facts: &Facts, peer: &PeerFacts) -> Option<Finding> {
    let (name, key, seen) = (&facts.interface, &peer.public_key, &peer.testimony);
    if let Some(bad) = seen.bad_response.filter(|bad| peer.is_unmended(bad.age)) {
        return Some(Finding::new(
            Cause::PresharedKey,
            "the preshared keys of the two ends differ",
            format!(
                "{} from {} did not verify with ours, the last {} ago",
                count(bad.count, "response"),
                endpoint_text(bad.last),
                span(bad.age)
            ),
            format!("rvpn set {name} peer {key} preshared-key FILE   (the same at both ends; /dev/null for none)"),
        ));
    }
    if let Some(stale) = seen.stale_timestamp.filter(|stale| peer.is_unmended(stale.age)) {
        let (behind, from) = stale.last;
        let how_far =
            if behind == 0 { "is one it has used before".to_owned() } else { format!("is {} behind", span(behind)) };
        return Some(Finding::new(
            Cause::PeerClockInThePast,
            "the peer's clock is in the past, or was ahead before",
            format!(
                "{} from {} had a timestamp that was not new, the last {} ago: it {how_far}",
                count(stale.count, "initiation"),
                endpoint_text(from),
                span(stale.age)
            ),
            format!(
                "timedatectl set-ntp true   (there; if its clock is right now: rvpn set {name} peer {key} remove, and add it again)"
            ),
        ));
    }
    let cookies = seen.cookie_reply.filter(|cookie| peer.is_unmended(cookie.age) && seen.unanswered > 2)?;
    Some(Finding::new(
        Cause::CookiesOnly,
        "the peer is under load and answers with cookies only",
        format!(
            "{}, the last {} ago, and no response",
            count(cookies.count, "cookie reply").replace("replys", "replies"),
            span(cookies.age)
        ),
        "wait, or look at the peer: is it flooded with handshakes?",
    ))
}

/// What was seen on the interfaces of this machine.
fn on_the_wire(facts: &Facts, peer: &PeerFacts) -> Option<Finding> {
    let endpoint = peer.endpoint?;
    let to = endpoint_text(endpoint);
    let (error, from) = peer.watched.error?;
    let (name, key) = (&facts.interface, &peer.public_key);
    let says = |what: &str| format!("ICMP from {from}: {what}");
    match error {
        IcmpError::PortUnreachable => Some(Finding::new(
            Cause::PortClosed,
            format!("nobody listens at {to}"),
            says("port unreachable"),
            format!(
                "rvpn set {name} peer {key} endpoint {}:PORT   (`rvpn show` there tells its listening port)",
                endpoint.ip()
            ),
        )),
        IcmpError::HostUnreachable => Some(Finding::new(
            Cause::HostUnreachable,
            format!("the host of {to} cannot be reached"),
            says("host or network unreachable"),
            format!(
                "ping {}   (is it on, is the address right, is there a route at each hop: tracepath)",
                endpoint.ip()
            ),
        )),
        IcmpError::Prohibited => Some(Finding::new(
            Cause::Prohibited,
            format!("a packet filter on the way to {to} forbids it"),
            says("administratively prohibited"),
            format!("let UDP port {} through at {from}", endpoint.port()),
        )),
        IcmpError::TooBig | IcmpError::Other => None,
    }
}

/// Finds that what comes in for our port never reaches it: it was seen at the interface, and not by the daemon.
pub(super) fn of_port(facts: &Facts, findings: &mut Vec<Finding>) {
    let watched = facts.watched.filter(|watched| watched.arrived > 0 && watched.heard == 0);
    let Some(watched) = watched.filter(|_| facts.is_any_without_session()) else { return };
    let fact = format!(
        "{} came by the interface within {} s, the last from {}, and none reached the socket",
        count(watched.arrived, "handshake message"),
        watched.duration.as_secs().max(1),
        watched.from.map(endpoint_text).unwrap_or_default(),
    );
    if let Some(why) = facts.reverse_path_outside.as_ref().filter(|_| facts.drops_incoming.is_none()) {
        findings.push(Finding::new(
            Cause::ReversePathOutside,
            format!("the reverse path filter drops what comes in for UDP port {}", facts.listen_port),
            format!("{fact}; {why}"),
            "sysctl -w net.ipv4.conf.all.rp_filter=2   (or bring it up by `rvpn up`, which marks what comes back)",
        ));
        return;
    }
    findings.push(Finding::new(
        Cause::FilterIncoming,
        format!("a packet filter of this machine drops what comes in for UDP port {}", facts.listen_port),
        format!("{fact}{}", rule_text(facts.drops_incoming.as_ref())),
        accept(facts.drops_incoming.as_ref(), &format!("udp dport {}", facts.listen_port)),
    ));
}

/// Nothing speaks: what can be told is what was tried.
fn silence(facts: &Facts, peer: &PeerFacts) -> Finding {
    let seen = &peer.testimony;
    let ours = facts.public_key.clone().unwrap_or_default();
    let Some(endpoint) = peer.endpoint.filter(|_| seen.unanswered > 0 || peer.watched.sent > 0) else {
        return unconfirmed(facts, peer);
    };
    if seen.unconfirmed > seen.unanswered {
        return unconfirmed(facts, peer);
    }
    let watched = facts.watched.map_or(String::new(), |watched| {
        format!(", and no packet from there and no ICMP error was seen for {} s", watched.duration.as_secs())
    });
    let sent = u64::from(seen.unanswered).max(peer.watched.sent);
    Finding::new(
        Cause::NothingComesBack,
        format!("nothing comes back from {}", endpoint_text(endpoint)),
        format!("{} without an answer{watched}", count(sent, "initiation")),
        format!(
            "there: `rvpn doctor`; is it on, does its firewall let in UDP port {}, is its peer {ours}?",
            endpoint.port()
        ),
    )
}

fn unconfirmed(facts: &Facts, peer: &PeerFacts) -> Finding {
    let (name, key) = (&facts.interface, &peer.public_key);
    let to = peer.endpoint.map(endpoint_text).unwrap_or_default();
    Finding::new(
        Cause::Unconfirmed,
        "the peer calls, and takes none of our responses: the preshared keys differ, or nothing reaches it from here",
        format!("{} sent to {to}, none confirmed", count(peer.testimony.unconfirmed.into(), "response")),
        format!(
            "rvpn set {name} peer {key} preshared-key FILE   (the same at both ends; `rvpn doctor` there knows more)"
        ),
    )
}

/// Finds what somebody does who is no peer, or not known as one.
pub(super) fn of_strangers(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(testimony) = &facts.testimony else { return };
    // Who calls from where a peer is may be that peer; others may be one that is missing, or anybody.
    let place = |finding: Finding, from: SocketAddr| {
        let is_there = |peer: &&PeerFacts| peer.endpoint.is_some_and(|known| known.ip() == from.ip());
        match facts.peers.iter().find(is_there) {
            Some(peer) => finding.of(peer),
            None if facts.is_any_without_session() => finding,
            None => finding.being(Severity::Note),
        }
    };
    if let Some(seen) = &testimony.unknown_initiator
        && seen.age < RECENT
        && facts.peers.iter().all(|peer| peer.public_key != seen.last.0)
    {
        let (key, from) = &seen.last;
        let finding = Finding::new(
            Cause::UnknownPeer,
            format!("somebody at {} calls whose public key is no peer's: {}", endpoint_text(*from), label(None, key)),
            format!("{}, the last {} ago, by {key}", count(seen.count, "initiation"), span(seen.age)),
            format!("rvpn set {} peer {key} allowed-ips NETWORKS   (if you know that key)", facts.interface),
        );
        findings.push(place(finding, *from));
    }
    if let Some(seen) = testimony.bad_mac1
        && seen.age < RECENT
        && !facts.peers.iter().any(|peer| {
            peer.is_connected()
                && !peer.is_unmended(seen.age)
                && peer.endpoint.is_some_and(|endpoint| endpoint.ip() == seen.last.ip())
        })
    {
        let ours = facts.public_key.clone().unwrap_or_default();
        let finding = Finding::new(
            Cause::WrongPublicKey,
            format!("{} calls with another public key for us than ours", endpoint_text(seen.last)),
            format!("{} had a bad mac1, the last {} ago", count(seen.count, "handshake message"), span(seen.age)),
            format!("rvpn set INTERFACE peer {ours}   (there, in place of the key it has for us)"),
        );
        findings.push(place(finding, seen.last));
    }
}

fn rule_text(culprit: Option<&Culprit>) -> String {
    culprit.map_or(String::new(), |Culprit { chain, rule, is_sure }| {
        let may = if *is_sure { "" } else { "perhaps " };
        format!("; {may}by `{rule}` in {chain}")
    })
}

fn accept(culprit: Option<&Culprit>, what: &str) -> String {
    match culprit {
        Some(Culprit { chain, .. }) => format!("nft insert rule {chain} {what} accept"),
        None => format!("nft list ruleset; iptables-save   (one of them drops {what})"),
    }
}

/// Milliseconds: twice the time after which an initiation is sent again.
const ATTEMPTS: u64 = 10_000;
