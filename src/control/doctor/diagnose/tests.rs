use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::control::doctor::facts::{LinkFacts, NamedEndpoint, PeerFacts, PeerWatched, Probe, Speed, Watched};
use crate::control::doctor::ruleset::Culprit;
use crate::control::doctor::testimony::{PeerTestimony, SendError, Sighting, Testimony};
use crate::platform::linux::tap::IcmpError;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER: &str = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

fn endpoint() -> SocketAddr {
    "192.0.2.7:51820".parse().expect("an address")
}

fn inner() -> IpAddr {
    "10.9.0.2".parse().expect("an address")
}

fn seen<T>(last: T) -> Option<Sighting<T>> {
    Some(Sighting { count: 3, age: 2_000, last })
}

/// A tunnel with one peer and a session.
fn healthy() -> Facts {
    let peer = PeerFacts {
        public_key: KEY.to_owned(),
        endpoint: Some(endpoint()),
        allowed_ips: vec!["10.9.0.2/32".parse().expect("a network")],
        handshake: Some(Duration::from_secs(10)),
        rx_bytes: 10_000,
        tx_bytes: 10_000,
        testimony: PeerTestimony { completed: Some(10_000), ..PeerTestimony::default() },
        probe: Some(Probe { address: inner(), is_certain: true, answers: true, hole: None }),
        ..PeerFacts::default()
    };
    Facts {
        interface: "wg0".to_owned(),
        calendar: RELEASED + 1,
        link: Some(LinkFacts { is_up: true, mtu: 1420 }),
        public_key: Some(OTHER.to_owned()),
        listen_port: 51821,
        testimony: Some(Testimony { is_up: true, ..Testimony::default() }),
        peers: vec![peer],
        ..Facts::default()
    }
}

/// A tunnel whose peer does not answer.
fn silent() -> Facts {
    let mut facts = healthy();
    facts.peers[0].handshake = None;
    facts.peers[0].testimony = PeerTestimony { unanswered: 4, ..PeerTestimony::default() };
    facts.peers[0].probe = Some(Probe { address: inner(), is_certain: true, answers: false, hole: None });
    facts.watched = Some(Watched { duration: Duration::from_secs(6), ..Watched::default() });
    facts
}

fn with(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    change(&mut facts);
    diagnose(&facts)
}

fn causes(findings: &[Finding]) -> Vec<Cause> {
    findings.iter().map(|finding| finding.cause).collect()
}

#[track_caller]
fn assert_only(findings: &[Finding], cause: Cause, says: &[&str]) {
    assert_eq!(causes(findings), [cause]);
    let Finding { says: said, fact, mend, .. } = &findings[0];
    let text = format!("{said}: {fact} | {mend}");
    says.iter().for_each(|part| assert!(text.contains(part), "no `{part}` in: {text}"));
}

#[test]
fn nothing_is_wrong_with_a_tunnel_that_works_or_rests() {
    assert_eq!(diagnose(&healthy()), []);
    let idle = with(healthy(), |facts| {
        facts.peers[0].handshake = Some(Duration::from_secs(9_000));
        facts.peers[0].testimony.completed = Some(9_000_000);
    });
    assert_eq!(idle, []);
    let not_called_yet = with(healthy(), |facts| {
        facts.peers[0] = PeerFacts { public_key: KEY.to_owned(), ..PeerFacts::default() };
    });
    assert_eq!(not_called_yet, []);
    let of_another_program = with(healthy(), |facts| {
        facts.testimony = None;
        facts.peers[0].testimony = PeerTestimony::default();
    });
    assert_eq!(of_another_program, []);
}

#[test]
fn the_machine_comes_first() {
    assert_only(&with(healthy(), |facts| facts.link = None), Cause::InterfaceElsewhere, &["ip netns exec"]);
    let down = with(healthy(), |facts| facts.link = Some(LinkFacts { is_up: false, mtu: 1420 }));
    assert_only(&down, Cause::InterfaceDown, &["ip link set wg0 up"]);
    let no_sockets = with(healthy(), |facts| facts.testimony = Some(Testimony::default()));
    assert_only(&no_sockets, Cause::InterfaceDown, &["51821", "listen-port"]);
    assert_only(&with(healthy(), |facts| facts.public_key = None), Cause::NoPrivateKey, &["rvpn genkey"]);
    assert_only(&with(healthy(), |facts| facts.peers.clear()), Cause::NoPeers, &["rvpn set wg0 peer"]);
    let past = with(healthy(), |facts| facts.calendar = RELEASED - 3 * 86_400);
    assert_only(&past, Cause::ClockInThePast, &["3 days before", "set-ntp"]);
    let wound_back = with(healthy(), |facts| facts.peers[0].is_handshake_in_future = true);
    assert_only(&wound_back, Cause::ClockInThePast, &["in its future"]);
}

#[test]
fn silence_is_said_as_such() {
    let parts = ["192.0.2.7:51820", "4 initiations", "no ICMP error", "6 s", OTHER];
    assert_only(&with(silent(), |_| {}), Cause::NothingComesBack, &parts);
    let driver = with(silent(), |facts| {
        facts.testimony = None;
        facts.peers[0].testimony = PeerTestimony::default();
        facts.peers[0].watched.sent = 2;
    });
    assert_only(&driver, Cause::NothingComesBack, &["2 initiations"]);
}

#[test]
fn what_does_not_leave_is_our_own_fault() {
    let filtered = with(silent(), |facts| {
        facts.peers[0].testimony.not_sent = seen((endpoint(), SendError::Filtered));
        facts.drops_outgoing =
            Some(Culprit { chain: "inet filter out".into(), rule: "udp dport 51820 drop".into(), is_sure: true });
    });
    let parts = ["3 datagrams", "`udp dport 51820 drop`", "nft insert rule inet filter out udp sport 51821 accept"];
    assert_only(&filtered, Cause::FilterOutgoing, &parts);
    let no_route = with(silent(), |facts| facts.peers[0].has_no_route = true);
    assert_only(&no_route, Cause::NoRouteToEndpoint, &["routing table", "ip route add 192.0.2.7"]);
    let by_now_there_is_one = with(silent(), |facts| {
        facts.peers[0].testimony.not_sent = seen((endpoint(), SendError::NoRoute));
    });
    assert_eq!(causes(&by_now_there_is_one), [Cause::NothingComesBack]);
    let elsewhere: SocketAddr = "198.51.100.1:1".parse().expect("an address");
    let before = with(silent(), |facts| facts.peers[0].testimony.not_sent = seen((elsewhere, SendError::Filtered)));
    assert_eq!(causes(&before), [Cause::NothingComesBack], "another endpoint's trouble");
}

#[test]
fn an_endpoint_must_be_there_and_its_name_be_known() {
    let of = |addresses: Result<&[&str], &str>, is_followed| {
        let addresses = addresses.map(|list| list.iter().map(|text| text.parse().expect("an address")).collect());
        let addresses = addresses.map_err(str::to_owned);
        Some(NamedEndpoint { text: "vpn.example:51820".to_owned(), addresses, is_followed })
    };
    let name = |addresses| of(addresses, false);
    let unresolved = with(silent(), |facts| {
        facts.peers[0].endpoint = None;
        facts.peers[0].name = name(Err("no such name"));
    });
    assert_only(&unresolved, Cause::NameNotResolved, &["vpn.example:51820", "no such name"]);
    let not_set = with(silent(), |facts| {
        facts.peers[0].endpoint = None;
        facts.peers[0].name = name(Ok(&["192.0.2.7:51820"]));
    });
    assert_only(&not_set, Cause::NoEndpoint, &["192.0.2.7:51820", "endpoint vpn.example:51820"]);
    let moved = with(silent(), |facts| {
        facts.peers[0].name = name(Ok(&["192.0.2.8:51820"]));
    });
    assert_only(&moved, Cause::NameMoved, &["192.0.2.8", "192.0.2.7"]);
    let one_of_two = with(silent(), |facts| {
        facts.peers[0].name = name(Ok(&["192.0.2.8:51820", "192.0.2.7:51820"]));
    });
    assert_eq!(causes(&one_of_two), [Cause::NothingComesBack], "it has both addresses");
    let followed = with(silent(), |facts| facts.peers[0].name = of(Ok(&["192.0.2.8:51820"]), true));
    assert_eq!(causes(&followed), [Cause::NothingComesBack], "the daemon asks there itself");
    let not_found = with(silent(), |facts| {
        facts.peers[0].endpoint = None;
        facts.peers[0].name = of(Ok(&["192.0.2.8:51820"]), true);
    });
    assert_only(&not_found, Cause::NoEndpoint, &["the daemon has not found", "endpoint 192.0.2.8:51820"]);
    let wanted = with(silent(), |facts| {
        facts.peers[0].endpoint = None;
        facts.peers[0].testimony = PeerTestimony { no_endpoint: seen(()), ..PeerTestimony::default() };
    });
    assert_only(&wanted, Cause::NoEndpoint, &["3 packets", "2 s ago"]);
}

#[test]
fn what_comes_to_the_interface_and_not_to_the_socket_was_dropped_here() {
    let arrived = |facts: &mut Facts| {
        facts.watched = Some(Watched { arrived: 2, from: Some(endpoint()), ..Watched::default() });
        facts.peers[0].watched = PeerWatched { sent: 1, answered: 2, error: None };
    };
    assert_only(
        &with(silent(), arrived),
        Cause::FilterIncoming,
        &["51821", "2 handshake messages", "nft list ruleset"],
    );
    let named = with(silent(), |facts| {
        arrived(facts);
        facts.drops_incoming =
            Some(Culprit { chain: "ip filter INPUT".into(), rule: "policy drop".into(), is_sure: false });
    });
    assert_only(&named, Cause::FilterIncoming, &["perhaps", "nft insert rule ip filter INPUT udp dport 51821 accept"]);
    let reverse_path = with(silent(), |facts| {
        arrived(facts);
        facts.reverse_path_outside = Some("rp_filter is 1".to_owned());
    });
    assert_only(&reverse_path, Cause::ReversePathOutside, &["rp_filter is 1", "rp_filter=2"]);
    let heard = with(silent(), |facts| {
        arrived(facts);
        facts.watched.as_mut().expect("just set").heard = 2;
    });
    assert_eq!(causes(&heard), [Cause::NothingComesBack]);
}

#[test]
fn the_peers_own_messages_say_most() {
    let keys = with(silent(), |facts| facts.peers[0].testimony.bad_response = seen(endpoint()));
    assert_only(&keys, Cause::PresharedKey, &["3 responses", "192.0.2.7:51820", "preshared-key FILE"]);
    let clock = |behind| {
        with(silent(), |facts| {
            facts.peers[0].testimony =
                PeerTestimony { stale_timestamp: seen((behind, endpoint())), ..PeerTestimony::default() };
        })
    };
    assert_only(&clock(90_000_000), Cause::PeerClockInThePast, &["25 h behind", "set-ntp"]);
    assert_only(&clock(0), Cause::PeerClockInThePast, &["used before"]);
    let cookies = with(silent(), |facts| facts.peers[0].testimony.cookie_reply = seen(()));
    assert_only(&cookies, Cause::CookiesOnly, &["3 cookie replies"]);
    let unconfirmed = with(silent(), |facts| {
        facts.peers[0].testimony = PeerTestimony { unconfirmed: 5, ..PeerTestimony::default() };
    });
    assert_only(&unconfirmed, Cause::Unconfirmed, &["5 responses", "preshared"]);
}

#[test]
fn what_a_handshake_mended_since_is_not_told() {
    let mended = with(healthy(), |facts| {
        let testimony = &mut facts.peers[0].testimony;
        testimony.completed = Some(1_000);
        testimony.bad_response = seen(endpoint());
        testimony.not_sent = seen((endpoint(), SendError::Filtered));
        testimony.stale_timestamp = seen((1, endpoint()));
        facts.testimony.as_mut().expect("healthy").bad_mac1 = seen(endpoint());
    });
    assert_eq!(mended, []);
}

#[test]
fn a_session_that_the_peer_has_lost_does_not_hide_why_the_next_one_fails() {
    let restarted = |facts: &mut Facts| {
        facts.peers[0].testimony.stale_timestamp = seen((90_000_000, endpoint()));
    };
    assert_eq!(with(healthy(), restarted), [], "the tunnel works");
    let lost = with(healthy(), |facts| {
        restarted(facts);
        facts.peers[0].probe.as_mut().expect("healthy").answers = false;
    });
    assert_only(&lost, Cause::PeerClockInThePast, &["25 h behind"]);
}

#[test]
fn errors_on_the_way_are_told_with_who_says_so() {
    for (error, cause, part) in [
        (IcmpError::PortUnreachable, Cause::PortClosed, "nobody listens"),
        (IcmpError::HostUnreachable, Cause::HostUnreachable, "cannot be reached"),
        (IcmpError::Prohibited, Cause::Prohibited, "forbids"),
    ] {
        let found = with(silent(), |facts| facts.peers[0].watched.error = Some((error, endpoint().ip())));
        assert_only(&found, cause, &[part, "ICMP from 192.0.2.7"]);
    }
    let irrelevant = with(silent(), |facts| facts.peers[0].watched.error = Some((IcmpError::TooBig, endpoint().ip())));
    assert_eq!(causes(&irrelevant), [Cause::NothingComesBack]);
}

#[test]
fn strangers_are_a_fault_while_a_peer_is_missing_and_a_note_else() {
    let knock = |facts: &mut Facts| {
        facts.testimony.as_mut().expect("ours").unknown_initiator = seen((OTHER.to_owned(), endpoint()));
    };
    let missing = with(silent(), knock);
    assert_only(&missing, Cause::UnknownPeer, &[OTHER, "192.0.2.7:51820", "rvpn set wg0 peer"]);
    assert_eq!(missing[0].severity, Severity::Wrong);
    assert_eq!(with(healthy(), knock)[0].severity, Severity::Wrong, "it calls from where a peer is");
    let from_elsewhere = with(healthy(), |facts| {
        facts.peers[0].endpoint = Some("198.51.100.1:1".parse().expect("an address"));
        knock(facts);
    });
    assert_eq!(from_elsewhere[0].severity, Severity::Note);
    let hidden_by_nobody = with(silent(), |facts| {
        let elsewhere = "198.51.100.1:1".parse().expect("an address");
        facts.testimony.as_mut().expect("ours").unknown_initiator = seen((OTHER.to_owned(), elsewhere));
        assert!(!is_explained(facts));
    });
    assert_eq!(causes(&hidden_by_nobody), [Cause::UnknownPeer, Cause::NothingComesBack]);
    let known = with(silent(), |facts| {
        facts.testimony.as_mut().expect("ours").unknown_initiator = seen((KEY.to_owned(), endpoint()));
    });
    assert_eq!(causes(&known), [Cause::NothingComesBack], "it is a peer by now");

    let wrong_key = with(silent(), |facts| facts.testimony.as_mut().expect("ours").bad_mac1 = seen(endpoint()));
    assert_only(&wrong_key, Cause::WrongPublicKey, &["3 handshake messages", OTHER]);
}

#[test]
fn addresses_are_told_until_they_are_somebodys() {
    let address: IpAddr = "10.9.0.9".parse().expect("an address");
    let here = |facts: &mut Facts| facts.testimony.as_mut().expect("ours").no_peer = seen(address);
    assert_only(&with(healthy(), here), Cause::AllowedIpsHere, &["10.9.0.9", "allowed-ips +10.9.0.9/32", KEY]);
    let there = |facts: &mut Facts| facts.peers[0].testimony.foreign_source = seen(address);
    assert_only(
        &with(healthy(), there),
        Cause::AllowedIpsOfPeer,
        &["10.9.0.9", "3 packets", "allowed-ips +10.9.0.9/32"],
    );
    let mended = with(healthy(), |facts| {
        here(facts);
        there(facts);
        facts.peers[0].allowed_ips.push("10.9.0.0/24".parse().expect("a network"));
    });
    assert_eq!(mended, []);
    let old = with(healthy(), |facts| {
        here(facts);
        facts.testimony.as_mut().expect("ours").no_peer.as_mut().expect("just set").age = RECENT;
    });
    assert_eq!(old, []);
}

#[test]
fn routes_and_what_follows_from_them() {
    let network = "10.9.0.2/32".parse().expect("a network");
    let astray = |facts: &mut Facts| facts.peers[0].astray = vec![(network, Some("eth0".to_owned()))];
    assert_only(&with(healthy(), astray), Cause::RouteMissing, &["eth0", "ip route replace 10.9.0.2/32 dev wg0"]);
    let strict = with(healthy(), |facts| {
        astray(facts);
        facts.is_reverse_path_strict = true;
    });
    assert_eq!(causes(&strict), [Cause::RouteMissing, Cause::ReversePath]);
    let before_any_session = with(silent(), |facts| {
        facts.peers[0].testimony = PeerTestimony::default();
        facts.peers[0].astray = vec![(network, None)];
    });
    assert_only(&before_any_session, Cause::RouteMissing, &["has nothing for it"]);
}

#[test]
fn a_hole_is_told_with_its_size() {
    let hole = with(healthy(), |facts| facts.peers[0].probe.as_mut().expect("healthy").hole = Some(1300));
    assert_only(&hole, Cause::MtuHole, &["1300", "1420", "ip link set wg0 mtu 1300"]);
}

#[test]
fn a_peer_that_hears_and_says_nothing() {
    let one_way = |facts: &mut Facts| {
        let peer = &mut facts.peers[0];
        peer.probe.as_mut().expect("healthy").answers = false;
        peer.testimony.responses_received = 1;
        peer.testimony.keepalives_received = 2;
        peer.rx_bytes = 92 + 2 * 32;
    };
    assert_only(&with(healthy(), one_way), Cause::OnlyKeepalives, &["2 keepalives", "10.9.0.2"]);
    let no_pings_there = with(healthy(), |facts| {
        one_way(facts);
        facts.peers[0].rx_bytes += 1_000;
    });
    assert_eq!(no_pings_there, [], "data came: it does not answer pings, and that is all");
}

#[test]
fn what_is_slow_is_told_as_such() {
    let slow = with(healthy(), |facts| {
        facts.speed = Speed {
            offloads_off: Some("RVPN_OFFLOAD=off".to_owned()),
            busiest: Some(("packets".to_owned(), 0.97)),
            overflown: Some((5, 212_992)),
        };
    });
    assert_eq!(causes(&slow), [Cause::OffloadsOff, Cause::CoreSaturated, Cause::ReceiveBuffer]);
    assert!(slow.iter().all(|finding| finding.severity == Severity::Slow));
    let at_ease = with(healthy(), |facts| {
        facts.speed = Speed { offloads_off: None, busiest: Some(("packets".to_owned(), 0.5)), overflown: Some((0, 1)) };
    });
    assert_eq!(at_ease, []);
}

#[test]
fn spans_are_in_units_that_people_use() {
    for (millis, text) in
        [(0, "0 s"), (119_000, "119 s"), (120_000, "2 min"), (7_200_000, "2 h"), (172_800_000, "2 days")]
    {
        assert_eq!(span(millis), text);
    }
}
