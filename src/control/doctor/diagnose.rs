//! From facts to findings: a pure function, the surest and most fundamental cause first.
//!
//! ```text
//!   machine ─► each peer: has it a session?  no ──► handshake    yes ──► data        ─► speed
//! ```
//! A fact that was mended since says nothing: one about a handshake counts until a handshake completes, one about an
//! address until that address is somebody's.
//!
//! Not here: where facts come from (see `examine`).

mod data;
mod handshake;
mod speed;
#[cfg(test)]
mod tests;

use super::facts::{Facts, PeerFacts};
use super::finding::{Cause, Finding, Severity};

/// Finds what is wrong; nothing if all is well.
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = machine(facts);
    for peer in &facts.peers {
        data::astray(facts, peer, &mut findings);
        if peer.is_connected() {
            handshake::of_renewal(facts, peer, &mut findings);
            data::of_peer(facts, peer, &mut findings);
        } else {
            handshake::of_peer(facts, peer, &mut findings);
        }
    }
    handshake::of_port(facts, &mut findings);
    handshake::of_strangers(facts, &mut findings);
    data::of_nobody(facts, &mut findings);
    speed::of_device(facts, &mut findings);
    without_guesses(facts, &mut findings);
    findings.sort_by_key(|finding| (finding.severity == Severity::Note, finding.cause));
    findings
}

/// What keeps a tunnel from working whoever the peers are.
fn machine(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = &facts.interface;
    match facts.link {
        None => findings.push(Finding::new(
            Cause::InterfaceElsewhere,
            format!("the interface {name} is not here"),
            "its process answers, but no interface of this network namespace has its name",
            format!("ip netns exec NAME rvpn doctor {name}   (in the namespace it was moved to)"),
        )),
        Some(link) if !link.is_up => findings.push(Finding::new(
            Cause::InterfaceDown,
            format!("the interface {name} is down"),
            "so it has no sockets and sends nothing",
            format!("ip link set {name} up"),
        )),
        Some(_) if facts.testimony.as_ref().is_some_and(|testimony| !testimony.is_up) => findings.push(Finding::new(
            Cause::InterfaceDown,
            format!("{name} is up without sockets"),
            format!("UDP port {} could not be had when it went up", facts.listen_port),
            format!("rvpn set {name} listen-port 0   (any port that is free)"),
        )),
        Some(_) => {}
    }
    if facts.public_key.is_none() {
        let mend = format!("rvpn genkey --out key && rvpn set {name} private-key key");
        findings.push(Finding::new(Cause::NoPrivateKey, "there is no private key", "`rvpn show` has none", mend));
    }
    if facts.peers.is_empty() {
        let mend = format!("rvpn set {name} peer PUBLIC_KEY allowed-ips NETWORKS endpoint ADDRESS:PORT");
        findings.push(Finding::new(Cause::NoPeers, "there is no peer to talk to", "`rvpn show` lists none", mend));
    }
    let is_ahead = facts.peers.iter().any(|peer| peer.is_handshake_in_future);
    if facts.calendar < RELEASED || is_ahead {
        let fact = if facts.calendar < RELEASED {
            format!("it is {} before this program was made", span((RELEASED - facts.calendar) * 1_000))
        } else {
            "the last handshake is in its future".to_owned()
        };
        findings.push(Finding::new(
            Cause::ClockInThePast,
            "the clock of this machine is in the past: peers that knew a later time refuse us",
            fact,
            "timedatectl set-ntp true",
        ));
    }
    findings
}

/// A guess is left out where something better is known.
fn without_guesses(facts: &Facts, findings: &mut Vec<Finding>) {
    let sure: Vec<_> = findings.iter().filter(|finding| !is_guess(finding.cause)).cloned().collect();
    let is_known = |key: Option<&str>| {
        let peer = facts.peers.iter().find(|peer| Some(peer.public_key.as_str()) == key);
        peer.is_some_and(|peer| sure.iter().any(|finding| explains(finding, peer)))
    };
    findings.retain(|finding| !is_guess(finding.cause) || !is_known(finding.peer.as_deref()));
}

/// Tells whether for each peer without session there is more than a guess of why.
pub(super) fn is_explained(facts: &Facts) -> bool {
    let findings = diagnose(facts);
    let sure = || findings.iter().filter(|finding| !is_guess(finding.cause));
    let mut without = facts.peers.iter().filter(|peer| !peer.is_connected()).peekable();
    without.peek().is_some() && without.all(|peer| sure().any(|finding| explains(finding, peer)))
}

/// Tells whether `finding` says why `peer` has no session. A stranger whose address is no peer's may be one whose address
/// is not known, and is not one whose address is: anybody can knock, to be taken for a cause.
fn explains(finding: &Finding, peer: &PeerFacts) -> bool {
    let is_stranger = matches!(finding.cause, Cause::UnknownPeer | Cause::WrongPublicKey);
    finding.severity == Severity::Wrong
        && match &finding.peer {
            Some(key) => *key == peer.public_key,
            None => !is_stranger || peer.endpoint.is_none(),
        }
}

const fn is_guess(cause: Cause) -> bool {
    matches!(cause, Cause::Unconfirmed | Cause::NothingComesBack | Cause::OnlyKeepalives)
}

/// 2026-11-01: no clock that is right is before it.
const RELEASED: u64 = 1_793_491_200;

/// `3 s`, `2 min`, `5 h`, `9 days`, of milliseconds.
fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `3 responses`, `1 response`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// How long evidence that no handshake can mend is told.
const RECENT: u64 = 600_000;
